"""Commands for many crates, which a manifest lists."""
