"""Measures time, processes and memory of a fleet, and tests that a kill does no harm.

`make fleet-bench` measures fleets of 10 and 100 crates, `make fleet-bench N=1000` one of that size, too. Each command
runs separately, first with an empty cache, and also with a filled cache if that makes a difference. `make fleet-kills`
kills runs in each phase, resumes them, and fails where one ends otherwise than an undisturbed run.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from support.fleets import Fleet, make_fleet, picture
from support.releases import make_releases, newest_release, past_releases
from workbench import Usage, measure, table, write_page

COMMAND = Path(sys.executable).with_name("fast-rust")
# In the folder where Copier has its temporary folders, so that both are on the same kind of disk, or both in memory.
HERE = Path(tempfile.gettempdir()) / "fast-rust-fleet-bench"
# Exit code of a fleet with conflicts and broken crates.
SUCCESS = (0, 1)
KILLS, KILLED_CRATES = 50, 4
SEED = 7


def isolate() -> None:
    """Remove the machine's git configuration and caches from the environment."""
    HERE.mkdir(parents=True, exist_ok=True)
    config = HERE / "gitconfig"
    config.write_text("[user]\nname = Tess Tester\nemail = tess@example.org\n[gc]\nauto = 0\n", encoding="utf-8")
    os.environ |= {"GIT_CONFIG_GLOBAL": str(config), "GIT_CONFIG_NOSYSTEM": "1"}


@contextmanager
def cache(*, is_empty: bool = False) -> Iterator[None]:
    """Return the folder of the cache of renderings for these measurements."""
    folder = HERE / "cache"
    if is_empty:
        shutil.rmtree(folder, ignore_errors=True)
    os.environ["FAST_RUST_CACHE_DIR"] = str(folder)
    yield


def place() -> str:
    """Return a description of the file system: Copier writes and deletes so many small files that it matters."""
    return "in memory" if HERE.is_relative_to("/dev/shm") else "on disk"  # noqa: S108  It is looked at only.


def fleet_command(fleet: Fleet, *arguments: str) -> Usage:
    return measure([COMMAND, "fleet", *arguments], folder=fleet.manifest.parent, success=SUCCESS)


def template() -> Path:
    folder = HERE / "template"
    return folder if folder.exists() else make_releases(folder)


def made(count: int, name: str, *, is_broken: bool = True) -> Fleet:
    """Make a new fleet of this size."""
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    return make_fleet(folder, template(), [*past_releases(), newest_release()], count, is_broken=is_broken)


def unmade(count: int) -> Fleet:
    """Return a manifest of crates that do not exist yet."""
    folder = HERE / f"new-{count}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    kinds = ("service", "lib", "cli")
    rows = "".join(f'crate-{n:05} = {{ answers = {{ kind = "{kinds[n % 3]}" }} }}\n' for n in range(count))
    manifest = folder / "fleet.toml"
    manifest.write_text(f'template = "{template()}"\nfolder = "clones"\n\n[crates]\n{rows}', encoding="utf-8")
    return Fleet(manifest, template())


def rows_of(count: int) -> Iterator[list[str]]:
    """Return a row for each command."""
    with cache(is_empty=True):
        yield _row("bootstrap", count, fleet_command(unmade(count), "bootstrap"))
        fleet = made(count, f"fleet-{count}")
    with cache(is_empty=True):
        yield _row("plan, first", count, fleet_command(fleet, "plan"))
    with cache():
        yield _row("plan, again", count, fleet_command(fleet, "plan"))
        yield _row("drift", count, fleet_command(fleet, "drift"))
        yield _row("update", count, fleet_command(fleet, "update"))
        yield _row("update, again", count, fleet_command(fleet, "update"))


def _row(command: str, count: int, used: Usage) -> list[str]:
    row = [command, str(count), f"{used.wall:.1f}", f"{count / used.wall:.1f}", f"{used.cpu:.1f}"]
    row.append(f"{used.memory / 2**20:.0f}")
    print(*row, sep="\t", flush=True)
    return row


def scaling(largest: int) -> list[list[str]]:
    """Measure the same work on one process and on two; a small fleet spends most time on starting them."""
    rows = []
    for command, count in (("drift", largest), ("update", min(100, largest))):
        walls = {}
        for jobs in (1, 2):
            fleet = made(count, "scaling", is_broken=False)
            with cache():
                for warming in ("plan", "drift"):
                    fleet_command(fleet, warming)
                walls[jobs] = fleet_command(fleet, command, "--jobs", str(jobs)).wall
        ratio = walls[1] / walls[2]
        rows.append([command, str(count), f"{walls[1]:.1f}", f"{walls[2]:.1f}", f"{ratio:.2f}", f"{ratio / 2:.0%}"])
        print(*rows[-1], sep="\t", flush=True)
    return rows


def kills(times: int) -> dict[str, int]:
    """Kill runs of each command at random moments, and resume them; how many ended as an undisturbed run does.

    Raises RuntimeError where one did not, with its number.
    """
    chance = random.Random(SEED)  # noqa: S311  It has to repeat.
    counts: dict[str, int] = {}
    for command, start in (("bootstrap", unmade), ("update", _made_for_kills), ("plan", _made_for_kills)):
        undisturbed = _twin(start(KILLED_CRATES), "undisturbed")
        took = fleet_command(undisturbed, command).wall
        wanted = picture(undisturbed) if undisturbed.clones.exists() else {}
        for number in range(times // 3 + (command == "update") * (times % 3)):
            fleet = _twin(start(KILLED_CRATES) if command == "bootstrap" else undisturbed_source(), "killed")
            _kill(fleet, command, chance.uniform(0, took), whole_group=number % 2 == 0)
            fleet_command(fleet, command)
            if picture(fleet) != wanted:
                raise RuntimeError(f"{command} was killed for the {number}th time and ended otherwise: see {fleet}")
            counts[command] = counts.get(command, 0) + 1
            print(f"killed {command} {counts[command]}", flush=True)
    return counts


def _made_for_kills(count: int) -> Fleet:
    return made(count, "kills", is_broken=False)


def undisturbed_source() -> Fleet:
    return Fleet(HERE / "kills" / "fleet.toml", template())


def _twin(fleet: Fleet, name: str) -> Fleet:
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(fleet.manifest.parent, folder, symlinks=True)
    return Fleet(folder / "fleet.toml", fleet.template)


def _kill(fleet: Fleet, command: str, moment: float, *, whole_group: bool) -> None:
    """Kill a run after some seconds: with all its processes, or the parent process only."""
    process = subprocess.Popen(
        [COMMAND, "fleet", command], cwd=fleet.manifest.parent, stdout=subprocess.DEVNULL, start_new_session=True
    )
    time.sleep(moment)
    if process.poll() is None:
        if whole_group:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()


def main(arguments: Sequence[str]) -> None:
    """Measure, and write docs/fleet-figures.md; or kill runs, and report how they ended."""
    isolate()
    if arguments == ["--kills"]:
        print(kills(KILLS))
        return
    largest = int(arguments[0]) if arguments else 100
    sizes = sorted({10, min(100, largest), largest})
    heads = ("command", "crates", "seconds", "crates per second", "CPU seconds", "MiB of the largest process")
    rows = [row for size in sizes for row in rows_of(size)]
    jobs = scaling(largest)
    write_page(
        "fleet-figures.md",
        f"fleet-bench N={largest}",
        "# How long do the commands of a fleet take?\n\n"
        "These are the times of `fast-rust fleet COMMAND`, which works on many crates at once. In these fleets a fifth"
        " of the crates have edits of their users, and six of every fifty crates are broken. *First* is a run with an"
        " empty cache, which renders the template once for each set of answers; *again* is the next run. All files were"
        f" {place()}.\n\n"
        f"{table(heads, rows)}\n\n"
        "## One worker process and two\n\n"
        "The start of a run is not parallel; it takes most of the time of a second `plan` of ten crates. *Of ideal* is"
        " the speed-up divided by two.\n\n"
        f"{table(('command', 'crates', 'one', 'two', 'times as fast', 'of ideal'), jobs)}\n\n"
        "## Killed runs\n\n"
        f"`make fleet-kills` kills {KILLS} runs of `bootstrap`, `update` and `plan` at random moments, every second"
        " time with all their processes, and runs the command again. It fails unless the result is that of an"
        " undisturbed run.\n",
    )


if __name__ == "__main__":
    main(sys.argv[1:])
