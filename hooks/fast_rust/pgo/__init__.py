"""Builds programs with a profile of their own work (PGO)."""
