"""Files of answers that belong to another template, or that are incomplete or hostile."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from fast_rust.answers import ANSWERS_FILE
from support.files import edit

Act: TypeAlias = Callable[[Path], None]
ANOTHER = "_src_path: /nowhere\n_commit: v1.0.0\nteam: core\n"


def without_answers(crate: Path) -> None:
    (crate / ANSWERS_FILE).unlink()


def without_release(crate: Path) -> None:
    edit(crate / ANSWERS_FILE, "_commit: v0.0.1\n", "")


def unknown_release(crate: Path) -> None:
    edit(crate / ANSWERS_FILE, "_commit: v0.0.1", "_commit: v9.9.9")


def release_like_an_option(crate: Path) -> None:
    edit(crate / ANSWERS_FILE, "_commit: v0.0.1", "_commit: --output=x")


def yaml_that_makes_objects(crate: Path) -> None:
    (crate / ANSWERS_FILE).write_text("_commit: !!python/object/apply:os.system ['touch hacked']\n_src_path: x\n")


def set_address(crate: Path, address: str | Path) -> None:
    text = (crate / ANSWERS_FILE).read_text(encoding="utf-8")
    changed = re.sub(r"(?m)^_src_path: .*$", f"_src_path: {address}", text)
    (crate / ANSWERS_FILE).write_text(changed, encoding="utf-8")


def address_that_runs_a_command(crate: Path) -> None:
    set_address(crate, "ext::sh -c touch% hacked")


def unreachable_template(crate: Path) -> None:
    set_address(crate, "file:///nowhere/at/all")


def relative_template(crate: Path) -> None:
    set_address(crate, ".")


UNCLEAR: dict[Act, str] = {
    without_answers: "is missing, so the crate's template and release are unknown",
    without_release: "lacks `_src_path`, `_commit` or `crate_name`",
    unknown_release: "has no release v9.9.9 (the newest is v0.0.1)",
    release_like_an_option: "has no release --output=x",
    yaml_that_makes_objects: "is damaged",
    address_that_runs_a_command: "is not the address of a template",
    unreachable_template: "git clone: '/nowhere/at/all' does not appear to be a git repository",
    relative_template: "is relative",
}
