"""Programs to run, built once for all tests of this folder."""

from pathlib import Path

import pytest

from support.workshop import Workshop


@pytest.fixture(scope="session")
def cli_binary(workshop: Workshop) -> Path:
    """The program in its release profile."""
    return workshop.release_binary(workshop.ready("cli"))


@pytest.fixture(scope="session")
def service_binary(workshop: Workshop) -> Path:
    """The service, built as its own tests build it; other tests measure its speed."""
    return workshop.debug_binary(workshop.ready("service"))
