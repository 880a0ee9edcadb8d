"""Which cases the usual run takes, and which only `--exhaustive` does."""

from collections.abc import Iterable
from typing import Any, TypeVar

import pytest

Case = TypeVar("Case")


def cases(metafunc: pytest.Metafunc, usual: Iterable[Case], every: Iterable[Case]) -> Iterable[Any]:
    """Return the usual cases, or with `--exhaustive` the others alone."""
    usual = list(usual)
    if not metafunc.config.getoption("exhaustive"):
        return usual
    others = dict.fromkeys(case for case in every if case not in usual)
    return [pytest.param(case, marks=pytest.mark.exhaustive) for case in others]


def deselect_other_cases(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the usual tests, or with `--exhaustive` those that the usual run leaves out."""
    exhaustive = bool(config.getoption("exhaustive"))
    deselected = [item for item in items if bool(item.get_closest_marker("exhaustive")) != exhaustive]
    config.hook.pytest_deselected(items=deselected)
    items[:] = [item for item in items if item not in deselected]
