"""Read what the tools of the gates print."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

FIRST_PLACES = 3


@dataclass(frozen=True)
class Hit:
    """A place that a lint warns of."""

    lint: str
    place: str
    message: str
    is_denied: bool
    """Whether the crate denies the lint, and not clippy or rustc by itself."""


def lint_hits(output: str) -> tuple[list[Hit], str]:
    """Return the warnings of lints in the JSON messages of cargo, and the first error that is not of a lint."""
    found: dict[tuple[str, str, int], Hit] = {}
    broken, by_default = "", set()
    for line in output.splitlines():
        match parse_json(line):
            case {"reason": "compiler-message", "message": {"code": {"code": str(code)}} as message}:
                if re.fullmatch(r"E\d{4}", code):
                    broken = broken or f"error[{code}]: {message['message']}{_place_of(message)}"
                    continue
                lint = code if "::" in code else f"rustc::{code}"
                if any("on by default" in child["message"] for child in message["children"]):
                    by_default.add(lint)
                span = next((span for span in message["spans"] if span["is_primary"]), None)
                column = span["column_start"] if span else 0
                hit = Hit(
                    lint, _place_of(message).removeprefix(" at "), message["message"], message["level"] == "error"
                )
                found[lint, hit.place, column] = hit
            case {"reason": "compiler-message", "message": {"code": None, "level": "error", "message": str(text)}}:
                broken = broken or f"error: {text}" if not text.startswith("aborting") else broken
    hits = [replace(hit, is_denied=hit.is_denied and hit.lint not in by_default) for hit in found.values()]
    return hits, broken


def refused_by_deny(fields: Mapping[str, Any]) -> Iterator[str]:
    """Return the licences that a message of cargo-deny rejects, or its text."""
    labels = [label for label in fields.get("labels", ()) if "rejected" in label["message"]]
    if fields.get("code") == "rejected" and labels:
        yield from (str(label["span"]) for label in labels)
    else:
        yield str(fields["message"])


def parse_json(line: str) -> Any:  # noqa: ANN401  What a tool prints.
    try:
        return json.loads(line)
    except ValueError:
        return None


def first_error(*texts: str) -> str:
    """Return the first line that says what is wrong; cargo's error comes before what it was about."""
    lines = [line.strip() for text in texts for line in text.splitlines() if re.search(r"\w{2}", line)]
    failed = [line for line in lines if re.match(r"error|thread '|test .* FAILED", line)]
    real = [line for line in failed if not line.startswith("error: test failed")]
    return next(iter([*real, *failed, *lines]), "no reason given")


def first_places(places: Iterable[str]) -> str:
    """Return the first few of some places."""
    known = sorted({*places})
    more = f" and {len(known) - FIRST_PLACES} more" if len(known) > FIRST_PLACES else ""
    return f"{', '.join(known[:FIRST_PLACES])}{more}"


def places_by(hits: Iterable[Hit], key: Callable[[Hit], str]) -> dict[str, list[str]]:
    """Return the places of hits, by something of each."""
    found: dict[str, list[str]] = {}
    for hit in hits:
        found.setdefault(key(hit), []).append(hit.place)
    return found


def _place_of(message: Mapping[str, Any]) -> str:
    span = next((span for span in message["spans"] if span["is_primary"]), None)
    return f" at {span['file_name']}:{span['line_start']}" if span else ""


def quoted(text: str) -> str:
    """Return the first text in backticks."""
    return "".join(re.findall(r"`([^`]+)`", text)[:1])


def banned_crate(text: str) -> str:
    """Return the crate that cargo-deny bans: `crate 'bincode = 1.3.3' is explicitly banned`."""
    return "".join(re.findall(r"'([\w-]+)", text)[:1])


def last_lines(text: str) -> str:
    # The launcher warns of the variable that we set.
    lines = [line for line in text.strip().splitlines() if not line.startswith("warning: FAST_RUST is set")]
    return "\n".join(f"    {line}" for line in lines[-12:])
