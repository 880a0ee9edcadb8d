"""Whether a merged file can still be read: two changes that merge by their lines may not fit by their meaning."""

import json
import tomllib
from collections.abc import Callable
from pathlib import PurePath


def problem_of(name: str, own: bytes, after: bytes, merged: bytes) -> str:
    """Return why a merged file cannot be read, where both sides of the merge could be; empty where it can."""
    check = _check_for(name)
    if check is None or merged in {own, after} or check(own) or check(after):
        return ""
    return check(merged)


def _check_for(name: str) -> Callable[[bytes], str] | None:
    match PurePath(name).suffix:
        case ".toml":
            return _toml
        case ".json":
            return _json
        case _:
            return None


def _toml(content: bytes) -> str:
    try:
        tomllib.loads(content.decode())
    except ValueError as error:
        return f"the merged file is not valid TOML: {error}"
    return ""


def _json(content: bytes) -> str:
    try:
        json.loads(content)
    except ValueError as error:
        return f"the merged file is not valid JSON: {error}"
    return ""
