"""Compares the speed of two commits."""
