"""The report of a fleet as one HTML page: no script, no other file."""

from collections.abc import Mapping
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from fast_rust.fleet.outcome import CrateState, Outcome
from fast_rust.fleet.report import FleetReport

# Sizes of the charts, in pixels.
SIZES = {"BAR": 20, "STEP": 28, "NAMES": 260, "WIDTH": 760}
MOST_BARS = 25


@dataclass(frozen=True)
class Bar:
    """A bar of a chart, with its name and number as text, for screen readers."""

    name: str
    count: int
    width: int


@dataclass(frozen=True)
class Chart:
    """Horizontal bars."""

    title: str
    meaning: str
    bars: list[Bar]
    left_out: int


def page(report: FleetReport) -> str:
    """Return the page."""
    environment = Environment(
        loader=PackageLoader("fast_rust.fleet", ""),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    crates = len(report.crates)
    return environment.get_template("page.html.jinja").render(
        SIZES,
        report=report,
        title=f"Fleet of {crates} {'crate' if crates == 1 else 'crates'}",
        states=[(state, count, _tone(state)) for state, count in report.states.items()],
        charts=[
            # The newest releases, and the most frequent files.
            _chart("Releases", "Crates at each release, oldest first", report.releases, slice(-MOST_BARS, None)),
            _chart(
                "Drift by file",
                "Crates in which a file differs from its release",
                report.drifted_files,
                slice(None, MOST_BARS),
            ),
        ],
        rows=[_row(outcome) for outcome in report.crates],
    )


def _tone(state: CrateState) -> str:
    """Return the tone of a state: a crate that is behind, ahead or frozen is neither good nor bad."""
    if state.needs_a_person:
        return "bad"
    return "good" if state in {CrateState.IN_LINE, CrateState.UP_TO_DATE} else "open"


def _row(outcome: Outcome) -> tuple[str, ...]:
    facts = outcome.facts
    known = (facts.ring or "", facts.owner or "", facts.release or "")
    return outcome.crate, *known, str(outcome.state), outcome.detail


def _chart(title: str, meaning: str, counts: Mapping[str, int], shown: slice) -> Chart:
    scale = (SIZES["WIDTH"] - SIZES["NAMES"] - 60) / max(counts.values(), default=1)
    bars = [Bar(_short(name), count, max(2, round(count * scale))) for name, count in list(counts.items())[shown]]
    return Chart(title, meaning, bars, len(counts) - len(bars))


def _short(name: str) -> str:
    longest = 38
    return name if len(name) <= longest else f"...{name[3 - longest :]}"
