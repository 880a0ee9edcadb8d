"""Programs to run, built once for all tests of this folder."""

from pathlib import Path

import pytest

from support.workshop import Workshop


@pytest.fixture(scope="session")
def cli_binary(workshop: Workshop) -> Path:
    """The program as it ships."""
    return workshop.release_binary(workshop.ready("cli"))


@pytest.fixture(scope="session")
def service_binary(workshop: Workshop) -> Path:
    """The service as its own tests build it; how fast it is is the claim of others."""
    return workshop.debug_binary(workshop.ready("service"))
