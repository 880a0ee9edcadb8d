"""Bringing an existing crate under the standards."""
