"""Disable the lints of clippy, rustc and rustdoc that a crate does not satisfy."""

import re
from functools import partial

from fast_rust.adopt.disabling import disable_lints, lint_table, with_comments
from fast_rust.adopt.gates import Gates
from fast_rust.adopt.merging import rewrite
from fast_rust.adopt.tool_output import Hit, first_error, first_places, lint_hits, places_by, quoted

# An error may hide what comes after it, so a tool is asked again, but not for ever.
ROUNDS = 8
CLIPPY = ("cargo", "clippy", "--workspace", "--all-targets", "--all-features")
DOC = ("cargo", "doc", "--workspace", "--all-features", "--no-deps")
# Lints whose bans are entries of clippy.toml, and the key there on which other lints depend.
BAN_LINTS = re.compile(r"clippy::(disallowed_(macros|methods|names|types)|await_holding_invalid_type)")
EXPORTED = "avoid-breaking-exported-api"


def disable_by_clippy(gates: Gates) -> None:
    """Switch off lints by the crate's own clippy.toml first: what only ours finds is switched off there."""
    file = gates.root / "clippy.toml"
    ours, own = file.read_bytes() if file.is_file() else None, gates.before.get("clippy.toml")
    if ours is None or ours == own:
        disable_warned(gates, *CLIPPY)
        return
    # Cargo sees a change of a file, and not that there is a new one.
    file.write_bytes(own or b"")
    try:
        disable_warned(gates, *CLIPPY)
    finally:
        file.write_bytes(ours)
    if "clippy" not in gates.unjudged:
        _disable_configured(gates)


def disable_warned(gates: Gates, *command: str) -> None:
    """Switch off each lint that a cargo command warns of."""
    tool = "rustdoc" if command == DOC else "clippy"
    for _ in range(ROUNDS):
        hits, broken = find_hits(gates, *command)
        found = places_by(hits, lambda hit: hit.lint)
        bans = {lint for lint in found if BAN_LINTS.fullmatch(lint)}
        new = {lint: places for lint, places in found.items() if lint not in gates.places and lint not in bans}
        for lint, places in new.items():
            gates.add(lint, places)
        if new:
            tables = {f"workspace.lints.{lint_table(lint)}" for lint in new}
            counts = {lint: len(places) for lint, places in new.items()}
            gates.edit("Cargo.toml", partial(disable_lints, found=counts), *sorted(tables))
            continue
        for lint, places in sorted(found.items()):
            why = "your clippy.toml bans" if lint in bans else "an attribute or another [lints] table enables it for"
            gates.left.append(
                f"{lint}: {why} {first_places(places)}; run `{' '.join(command)}`, and fix the code or allow the lint"
            )
        if broken:
            gates.could_not(tool, command, broken)
        return
    gates.could_not(tool, command, f"it still reported new lints after {ROUNDS} runs")


def _disable_configured(gates: Gates) -> None:
    """Switch off what only our part of clippy.toml finds: single bans, and lints of the public interface."""
    for _ in range(ROUNDS):
        hits, broken = find_hits(gates, *CLIPPY)
        bans = places_by((hit for hit in hits if BAN_LINTS.fullmatch(hit.lint)), lambda hit: quoted(hit.message))
        others = [hit for hit in hits if not BAN_LINTS.fullmatch(hit.lint)]
        counts = {f'"{path}"': len(places) for path, places in bans.items()}
        counts |= {EXPORTED: len(others)} if others else {}
        was = (gates.root / "clippy.toml").read_bytes()
        rewrite(gates.root / "clippy.toml", lambda text: with_comments(text, counts))  # noqa: B023  Called at once.
        if (gates.root / "clippy.toml").read_bytes() == was:
            for path, places in bans.items():
                gates.left.append(
                    f"clippy.toml bans {path}, which {first_places(places)} uses; run `{' '.join(CLIPPY)}` for details"
                )
            if others:
                names = first_places({f"{hit.lint} at {hit.place}" for hit in others})
                gates.left.append(
                    f"with the template's clippy.toml, clippy reports {names}; run `{' '.join(CLIPPY)}` for details"
                )
            if broken:
                gates.could_not("clippy", CLIPPY, broken)
            return
        for gate, places in places_by((hit for hit in hits if hit not in others), lambda hit: hit.lint).items():
            gates.add(gate, places)
        if others:
            gates.add(f"clippy.toml::{EXPORTED}", [hit.place for hit in others])


def find_hits(gates: Gates, *command: str) -> tuple[list[Hit], str]:
    """Return what lints warn of, and why the command did not run to its end, if it did not."""
    done = gates.run(*command, "--message-format=json")
    hits, broken = lint_hits(done.stdout)
    if done.returncode and not hits:
        broken = broken or first_error(done.stderr)
    return hits, broken
