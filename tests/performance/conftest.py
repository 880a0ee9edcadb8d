"""Crates with a history, made once."""

import pytest

from performance.history import History, begin
from support.workshop import NAMES, Workshop


@pytest.fixture(scope="session")
def lib(workshop: Workshop) -> History:
    """A library."""
    crate = workshop.crate(f"{NAMES['lib']}-compared", kind="lib")
    return begin(workshop, crate, crate)
