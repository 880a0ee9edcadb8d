"""Builds programs with profile-guided optimisation (PGO)."""
