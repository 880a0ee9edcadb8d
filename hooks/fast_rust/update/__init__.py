"""Taking a crate to a newer release of the template."""
