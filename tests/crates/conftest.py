"""Crates to build, made once for all tests of this folder."""

from pathlib import Path

import pytest
from crates.workshop import Workshop


@pytest.fixture(scope="session")
def cli_crate(workshop: Workshop) -> Path:
    """A program with the answers that most give."""
    return workshop.ready("cli")


@pytest.fixture(scope="session")
def service_crate(workshop: Workshop) -> Path:
    """A service with the answers that most give."""
    return workshop.ready("service")


@pytest.fixture(scope="session")
def cli_binary(workshop: Workshop, cli_crate: Path) -> Path:
    """The program as it ships."""
    return workshop.release_binary(cli_crate)


@pytest.fixture(scope="session")
def service_binary(workshop: Workshop, service_crate: Path) -> Path:
    """The service as it ships."""
    return workshop.release_binary(service_crate)
