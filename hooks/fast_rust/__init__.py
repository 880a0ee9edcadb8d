"""The programs that run around Copier: the `fast-rust` command and the pre-commit hooks."""
