"""The report of a fleet as one HTML page: no script, no other file."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from fast_rust.fleet.outcome import Outcome, State
from fast_rust.fleet.report import Report

BAR, STEP, NAMES, WIDTH = 20, 28, 260, 760
MOST_BARS = 25

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #59636e; --line: #d1d9e0; --bar: #2f6fde; --bad: #b3261e;
  --good: #1a7f37; --paper: #ffffff; --band: #f4f6f8 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9aa7b4; --line: #3a424c; --bar: #6ea1ff;
  --bad: #ff8a80; --good: #56d364; --paper: #0f1318; --band: #181e25 } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto;
  max-width: 72rem; padding: 1.5rem }
h1 { font-size: 1.5rem; margin: 0 }
h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem } p { color: var(--soft); margin: .2rem 0 }
.states { display: flex; flex-wrap: wrap; gap: .6rem; margin-top: 1rem; padding: 0; list-style: none }
.states li { background: var(--band); border: 1px solid var(--line); border-radius: .5rem; padding: .5rem .9rem }
.states b { display: block; font-size: 1.4rem }
.bad { color: var(--bad) } .good { color: var(--good) }
svg { max-width: 100%; height: auto }
svg text { fill: var(--ink); font: 13px system-ui, sans-serif } rect { fill: var(--bar) }
.wide { overflow-x: auto } table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .35rem .7rem; border-bottom: 1px solid var(--line);
  overflow-wrap: anywhere }
th { color: var(--soft); font-weight: 600; white-space: nowrap } tbody tr:nth-child(even) { background: var(--band) }
"""


def page(report: Report) -> str:
    """Return the page."""
    crates = len(report.crates)
    sections = [
        f"<h1>Fleet of {crates} {'crate' if crates == 1 else 'crates'}</h1>",
        f"<p>{escape(report.made)}; newest release: {escape(report.target)}</p>",
        _states(report),
        _chart("Releases", "Crates at each release, oldest first", report.releases),
        _chart("Drift by file", "Crates in which a file differs from its release", report.drifted_files),
        _table("Conflicts of an update", ("crate", "owner", "files"), report.conflicts),
        _table("Loosened with a reason", ("crate", "key", "value", "reason"), report.loosened),
        _table("Frozen", ("crate", "owner", "reason"), report.frozen),
        _table("All crates", ("crate", "ring", "owner", "release", "state", "detail"), map(_row, report.crates)),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Fleet of {crates} crates</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(sections)
        + "\n</body>\n</html>\n"
    )


def _states(report: Report) -> str:
    items = [f'<li><b class="{_tone(State(state))}">{count}</b>{state}</li>' for state, count in report.states.items()]
    return f'<ul class="states">{"".join(items)}</ul>'


def _tone(state: State) -> str:
    """Return the tone of a state: a crate that is behind, ahead or frozen is neither good nor bad."""
    if state.needs_a_person:
        return "bad"
    return "good" if state in {State.IN_LINE, State.UP_TO_DATE} else "open"


def _row(one: Outcome) -> tuple[str, ...]:
    facts = [str(one.facts.get(name, "")) for name in ("ring", "owner", "release")]
    return one.crate, *facts, str(one.state), one.detail


def _chart(title: str, meaning: str, counts: Mapping[str, int]) -> str:
    """Return horizontal bars, each with its name and number as text, for screen readers."""
    if not counts:
        return f"<h2>{title}</h2>\n<p>None.</p>"
    shown = list(counts.items())
    # The newest releases and the most frequent files are shown; the number of the others is below.
    shown = shown[-MOST_BARS:] if title == "Releases" else shown[:MOST_BARS]
    scale = (WIDTH - NAMES - 60) / max(counts.values())
    bars = []
    for place, (name, count) in enumerate(shown):
        top, width = place * STEP, max(2, round(count * scale))
        bars.append(
            f'<text x="{NAMES - 10}" y="{top + 15}" text-anchor="end">{escape(_short(name))}</text>'
            f'<rect x="{NAMES}" y="{top}" width="{width}" height="{BAR}" rx="2"/>'
            f'<text x="{NAMES + width + 8}" y="{top + 15}">{count}</text>'
        )
    height = len(shown) * STEP
    left_out = f"<p>{len(counts) - len(shown)} more are not shown.</p>" if len(shown) < len(counts) else ""
    return (
        f"<h2>{title}</h2>\n<p>{meaning}</p>\n"
        f'<svg role="img" aria-label="{escape(meaning)}" width="{WIDTH}" height="{height}"'
        f' viewBox="0 0 {WIDTH} {height}">{"".join(bars)}</svg>{left_out}'
    )


def _short(name: str) -> str:
    longest = 38
    return name if len(name) <= longest else f"...{name[3 - longest :]}"


def _table(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    if not lines:
        return f"<h2>{title}</h2>\n<p>None.</p>"
    head = "".join(f'<th scope="col">{one}</th>' for one in heads)
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return (
        f"<h2>{title} ({len(lines)})</h2>\n"
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'
    )
