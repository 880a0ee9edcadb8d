"""Programs to run, built once for all tests of this folder."""

from pathlib import Path

import pytest
from crates.workshop import QUICK_RELEASE, Workshop


@pytest.fixture(scope="session")
def cli_binary(workshop: Workshop) -> Path:
    """The program as it ships."""
    return workshop.release_binary(workshop.ready("cli"))


@pytest.fixture(scope="session")
def service_binary(workshop: Workshop) -> Path:
    """The service, optimised."""
    return workshop.release_binary(workshop.ready("service"), **QUICK_RELEASE)
