"""Many crates at once: a manifest of them, and what can be done to all."""
