"""Selects the cases of the usual run, and those of `--exhaustive`."""

from collections.abc import Iterable
from typing import Any, TypeVar

import pytest

Case = TypeVar("Case")


def cases(metafunc: pytest.Metafunc, usual: Iterable[Case], every: Iterable[Case]) -> Iterable[Any]:
    """Return the usual cases, or with `--exhaustive` only the others."""
    usual = list(usual)
    if not metafunc.config.getoption("exhaustive"):
        return usual
    others = dict.fromkeys(case for case in every if case not in usual)
    return [pytest.param(case, marks=pytest.mark.exhaustive) for case in others]


def deselect_other_cases(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the usual tests, or with `--exhaustive` those that the usual run leaves out."""
    wanted: dict[bool, list[pytest.Item]] = {True: [], False: []}
    for item in items:
        is_exhaustive = item.get_closest_marker("exhaustive") is not None
        wanted[is_exhaustive == config.getoption("exhaustive")].append(item)
    config.hook.pytest_deselected(items=wanted[False])
    items[:] = wanted[True]
