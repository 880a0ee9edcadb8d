"""Crates with a history, each made once."""

import pytest

from performance.history import History, begin
from support.workshop import NAMES, Workshop


@pytest.fixture(scope="session")
def lib(workshop: Workshop) -> History:
    """A library with a history."""
    crate = workshop.crate(f"{NAMES['lib']}-compared", kind="lib")
    return begin(workshop, crate, crate)
