"""Finds the pages of the standards."""

from pathlib import Path


def standards_folder() -> Path:
    """Return the folder of the pages: next to this file if installed, else in the checkout."""
    installed = Path(__file__).with_name("guide")
    return installed if installed.is_dir() else Path(__file__).parents[3] / "standards"
