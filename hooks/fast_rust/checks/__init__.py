"""The checks that clippy does not have: of a crate's files, and of its code by ast-grep."""
