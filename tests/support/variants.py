"""The answers from which crates are made, as copier.yml defines them."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any, TypeAlias

import yaml
from jinja2 import Environment, StrictUndefined, Template

CHECKOUT = Path(__file__).parents[2]

Answer: TypeAlias = str | bool
Answers: TypeAlias = Mapping[str, Answer]

# A question without choices has no domain to read, so these texts represent it: usual, short, and awkward.
TEXTS: dict[str, tuple[str, str, str]] = {
    "crate_name": ("log-totals", "x9", "a" * 20 + "-" + "b" * 20 + "-" + "c" * 16),
    "description": (
        "Aggregates key;value records",
        "x",
        "Adds [up] {{ all }} `a*b_c` & <more> \"so\" 'it' \\ goes # on",
    ),
    "copyright_holder": ("The Log Totals contributors", "x", 'Žofie O\'Neill & "Söhne" <zofie@example.org>'),
    "repository_url": ("https://github.com/acme/log-totals", "", "https://git.example.org:8443/~a/b.c_d/e"),
    "msrv": ("1.88", "1.85", "1.95.0"),
}
USUAL, SHORT, AWKWARD = STYLES = range(3)


@dataclass(frozen=True)
class Variant:
    """Answers to all questions that are asked, in the order of copier.yml."""

    items: tuple[tuple[str, Answer], ...]

    @property
    def answers(self) -> dict[str, Answer]:
        return dict(self.items)

    def only(self, names: tuple[str, ...]) -> "Variant":
        """Drop the answers to all other questions."""
        return Variant(tuple(item for item in self.items if item[0] in names))

    def __str__(self) -> str:
        """Name the choices, for the ids of tests."""
        named = [
            name if value is True else str(value)
            for name, value in self.items
            if name not in TEXTS and value is not False
        ]
        if "crate_name" in self.answers:
            style = TEXTS["crate_name"].index(str(self.answers["crate_name"]))
            named.append("usual short awkward".split()[style])
        return "-".join(re.sub(r"[^a-z0-9]+", "_", name.lower()) for name in named)


@cache
def questions() -> dict[str, dict[str, Any]]:
    """Return all questions that copier.yml asks a person, in its order."""
    documents = yaml.safe_load_all((CHECKOUT / "copier.yml").read_text(encoding="utf-8"))
    entries = {name: entry for document in documents for name, entry in document.items() if not name.startswith("_")}
    return {name: entry for name, entry in entries.items() if False not in (entry.get("when"), entry.get("ask"))}


@cache
def settings() -> dict[str, Any]:
    """Return the settings of copier.yml for Copier itself: its keys that begin with an underscore."""
    documents = yaml.safe_load_all((CHECKOUT / "copier.yml").read_text(encoding="utf-8"))
    return {name: entry for document in documents for name, entry in document.items() if name.startswith("_")}


def domain(question: str, style: int = USUAL) -> list[Answer]:
    """Return the answers that represent all answers to a question."""
    match questions()[question]:
        case {"choices": dict(choices)}:
            return list(choices.values())
        case {"choices": list(choices)}:
            return choices
        case {"type": "bool"}:
            return [False, True]
        case _:
            return [TEXTS[question][style]]


def is_asked(question: str, answers: Mapping[str, Answer]) -> bool:
    """Return whether Copier asks a question for a new crate, given the answers to the questions before it."""
    hidden = {"server_crate": True, "adopted": False}
    return _condition(str(questions()[question].get("when", True))).render({**hidden, **answers}) == "True"


@cache
def _condition(text: str) -> Template:
    return Environment(undefined=StrictUndefined, autoescape=False).from_string(text)  # noqa: S701  No HTML.


def all_combinations(style: int = USUAL) -> Iterator[Variant]:
    """Return every combination of choices, with texts of one style."""

    def complete(names: list[str], given: dict[str, Answer]) -> Iterator[Variant]:
        match names:
            case []:
                yield Variant(tuple(given.items()))
            case [name, *rest] if is_asked(name, given):
                for answer in domain(name, style):
                    yield from complete(rest, {**given, name: answer})
            case [_, *rest]:
                yield from complete(rest, given)

    yield from complete(list(questions()), {})


@cache
def pairwise_cover() -> tuple[Variant, ...]:
    """Return few variants, in which every compatible pair of answers occurs at least once."""
    return cover(variant for style in STYLES for variant in all_combinations(style))


def cover(variants: Iterable[Variant]) -> tuple[Variant, ...]:
    """Return few of these variants, in which every compatible pair of answers occurs at least once.

    The algorithm always adds the variant with the most pairs that no chosen variant has. (The library for this,
    allpairspy, misses pairs of choices here, because questions depend on others.)
    """
    numbers: dict[frozenset[tuple[str, Answer]], int] = {}
    sets: dict[Variant, int] = {}
    for variant in variants:
        pairs = map(frozenset, combinations(variant.items, 2))
        sets[variant] = sum(1 << numbers.setdefault(pair, len(numbers)) for pair in pairs)
    missing = (1 << len(numbers)) - 1
    taken = []
    while missing:
        best = max(sets, key=lambda variant: (sets[variant] & missing).bit_count())
        missing &= ~sets[best]
        taken.append(best)
    return tuple(taken)


def where_asked(question: str) -> dict[str, Answer]:
    """Return a kind and a place with which a question is asked."""
    return next(
        {name: variant.answers[name] for name in ("kind", "place") if name != question}
        for variant in all_combinations()
        if question in variant.answers
    )
