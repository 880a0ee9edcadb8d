"""The rules that a crate is checked by, beside clippy's: about its files, and about its code by ast-grep."""
