"""How a crate differs from its release, in what the template owns."""
