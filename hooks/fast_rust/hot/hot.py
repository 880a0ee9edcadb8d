"""Hot paths of a crate: a module with its benches and its allocation test, added and taken out as one."""

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory

import tomlkit

from fast_rust import git
from fast_rust.answers import Answers, read_answers
from fast_rust.errors import FastRustError
from fast_rust.rendering import render

TEMPLATES = Path(__file__).with_name("skeleton")
LIBRARY = "src/lib.rs"
MANIFEST = "bench/Cargo.toml"
CORPUS = "bench/src/lib.rs"
SAMPLE = "aggregate"
# What the module of the templates takes, with room for what a compiler may change.
BUDGET = 200
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
LONGEST_NAME = 30
KEYWORDS = frozenset(
    """
    abstract as async await become box break const continue crate do dyn else enum extern false final fn for gen if impl
    in let loop macro match mod move mut override priv pub ref return self static struct super trait true try type
    typeof unsafe unsized use virtual where while yield
    """.split()  # noqa: SIM905  Forty words read better as words.
)


class HotPathError(FastRustError):
    """What stands in the way, and what to do; nothing was written."""


@dataclass
class Changes:
    """What is to be done to the files of a crate: all of it, once nothing stands in the way."""

    written: dict[Path, bytes] = field(default_factory=dict)
    deleted: set[Path] = field(default_factory=set)

    def edit(self, path: Path, change: Callable[[str], str]) -> None:
        self.written[path] = change(path.read_text(encoding="utf-8")).encode()

    def apply(self) -> None:
        for path, content in self.written.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        for path in self.deleted:
            path.unlink(missing_ok=True)
            # A folder goes with its last file.
            for folder in path.parents[:2]:
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()


def files_of(crate: Path, name: str) -> dict[str, Path]:
    """Where the files of a hot path are, by the template that they are made from."""
    bench = crate / "bench"
    return {
        "module.rs": crate / "src" / f"{name}.rs",
        "bench.rs": bench / "benches" / f"{name}.rs",
        "instructions.rs": bench / "benches" / f"{name}_instructions.rs",
        "allocations.rs": bench / "tests" / f"{name}_allocations.rs",
    }


def add(crate: Path, name: str) -> Changes:
    """Plan a new hot path.

    Raises HotPathError where the name cannot be taken, or the crate has no place for it.
    """
    package = _check_crate(crate)
    if not NAME.fullmatch(name) or name in KEYWORDS or len(name) > LONGEST_NAME:
        message = f"`{name}` cannot name a module: use up to {LONGEST_NAME} lower-case letters, digits and single `_`"
        raise HotPathError(message)
    files = files_of(crate, name)
    if taken := [path for path in [*files.values(), crate / "src" / name] if path.exists()]:
        message = (
            f"{_relative(crate, taken[0])} is there already: choose another name. To declare code hot that is there,"
        )
        raise HotPathError(f"{message} write a section `# Hot path` into its documentation; `just test` tells the rest")
    names = {"name": name, "crate": package.replace("-", "_"), "budget": str(BUDGET)}
    changes = Changes()
    for source, path in files.items():
        text = (TEMPLATES / source).read_text(encoding="utf-8")
        changes.written[path] = Template(text).substitute(names).encode()
    changes.edit(crate / LIBRARY, lambda text: _with_module(text, name))
    changes.edit(crate / MANIFEST, lambda text: _with_benches(text, package, name))
    return changes


def remove(crate: Path, name: str) -> Changes:
    """Plan to take a hot path out: its module, benches, allocation test and their registration.

    The sample takes with it what else it brought, by the difference of a rendering with it and one without.
    Raises HotPathError where something still uses the module, or was changed where the sample is woven in.
    """
    package = _check_crate(crate)
    files = files_of(crate, name)
    answers = read_answers(crate)
    if name == SAMPLE and answers and answers.choices.get("sample"):
        return _remove_sample(crate, package, answers)
    if not files["module.rs"].exists():
        raise HotPathError(f"there is no {_relative(crate, files['module.rs'])}")
    changes = Changes(deleted={*files.values(), *_files_below(crate / "src" / name)})
    changes.edit(crate / LIBRARY, lambda text: _without_module(text, name))
    needed = _needed_in_manifest(package, name)["dev-dependencies"]
    changes.edit(
        crate / MANIFEST,
        lambda text: _without_unused(_without_benches(text, package, name), needed, crate / "bench", changes),
    )
    if uses := list(_uses(crate, package, name, changes)):
        raise HotPathError(f"{name} is still used, so take it out there first:\n  " + "\n  ".join(uses))
    return changes


def _remove_sample(crate: Path, package: str, answers: Answers) -> Changes:
    changes, conflicts = Changes(), []
    with TemporaryDirectory() as folder:
        before = render(answers, Path(folder) / "before")
        after = render(answers.with_choice("sample", choice=False), Path(folder) / "after")
        # Other hot paths have entries of their own in the manifest, and may use the corpus.
        has_others = (crate / MANIFEST).read_bytes() != before[MANIFEST]
        for name in sorted((before.keys() | after.keys()) - ({MANIFEST, CORPUS} if has_others else set())):
            path = crate / name
            match before.get(name), after.get(name):
                case bytes(), None:
                    changes.deleted.add(path)
                case bytes(old), bytes(new) if old != new and path.exists():
                    if (merged := _merge(path, old, new)) is not None:
                        changes.written[path] = merged
                    # Else its user may have taken the sample out of it.
                    elif re.search(rf"\b{SAMPLE}\b", path.read_text(encoding="utf-8"), re.IGNORECASE):
                        conflicts.append(name)
    if conflicts:
        message = f"you changed lines next to those of the sample. Take all that names `{SAMPLE}` out of these files, "
        raise HotPathError(message + "commit, and type the same again:\n  " + "\n  ".join(conflicts))
    if has_others:
        of_sample = tomllib.loads(before[MANIFEST].decode())["dev-dependencies"]
        changes.edit(
            crate / MANIFEST,
            lambda text: _without_unused(_without_benches(text, package, SAMPLE), of_sample, crate / "bench", changes),
        )
    return changes


def _merge(path: Path, old: bytes, new: bytes) -> bytes | None:
    """The file with the change from old to new; none where that touches the user's own lines."""
    if path.read_bytes() == old:
        return new
    merged, is_conflict = git.merge_file(path.read_bytes(), old, new)
    return None if is_conflict else merged


def _check_crate(crate: Path) -> str:
    """The name of the package, if this is a crate with a library and a bench."""
    for needed in ("Cargo.toml", LIBRARY, MANIFEST):
        if not (crate / needed).is_file():
            raise HotPathError(f"{needed} is not here: type this in the folder of a crate made from copier-fast-rust")
    package: str = tomllib.loads((crate / "Cargo.toml").read_text(encoding="utf-8"))["package"]["name"]
    return package


def _with_module(library: str, name: str) -> str:
    lines = library.splitlines(keepends=True)
    modules = [index for index, line in enumerate(lines) if re.match(r"(pub )?mod \w+;", line)]
    line = f"pub mod {name};\n"
    if not modules:
        # Below the documentation and the attributes of the crate.
        start = max((i + 1 for i, line in enumerate(lines) if re.match(r"//!|#!\[", line)), default=0)
        return "".join([*lines[:start], "\n", line, *lines[start:]])
    # Where rustfmt would have it.
    later = [index for index in modules if lines[index].partition("mod ")[2] > f"{name};"]
    lines.insert(later[0] if later else modules[-1] + 1, line)
    return "".join(lines)


def _without_module(library: str, name: str) -> str:
    without = re.sub(rf"(?m)^(pub(\(\w+\))? )?(mod {name}|use (crate::|self::)?{name}::[^;]*);\n", "", library)
    # No blank lines where rustfmt would have none.
    return re.sub(r"\n{3,}", "\n\n", without).rstrip("\n") + "\n"


def _needed_in_manifest(package: str, name: str) -> tomlkit.TOMLDocument:
    text = (TEMPLATES / "manifest.txt").read_text(encoding="utf-8")
    return tomlkit.parse(Template(text).substitute(package=package, name=name))


def _with_benches(manifest: str, package: str, name: str) -> str:
    document = tomlkit.parse(manifest)
    needed = _needed_in_manifest(package, name)
    dependencies = document.setdefault("dev-dependencies", tomlkit.table())
    for dependency, version in needed["dev-dependencies"].items():
        dependencies.setdefault(dependency, version)
    if "target" not in document:
        document.add(tomlkit.nl())
        document["target"] = needed["target"]
    for target, tables in needed["target"].items():
        document["target"].setdefault(target, tables)
    # At the end, where entries of an array may stand; an array that is extended loses its blank lines.
    entries = tomlkit.dumps(tomlkit.document().add("bench", needed["bench"]))
    return tomlkit.dumps(document).rstrip("\n") + "\n\n" + entries.lstrip("\n")


def _without_benches(manifest: str, package: str, name: str) -> str:
    document = tomlkit.parse(manifest)
    benches = document.get("bench", tomlkit.aot())
    needed = _needed_in_manifest(package, name)
    names = {bench["name"] for bench in needed["bench"]}
    for index in reversed(range(len(benches))):
        if benches[index]["name"] in names:
            del benches[index]
    if not benches:
        # What only benches need would be unused.
        document.pop("bench", None)
        for target in needed["target"]:
            document.get("target", {}).pop(target, None)
        if not document.get("target"):
            document.pop("target", None)
        for dependency in needed["dev-dependencies"]:
            document.get("dev-dependencies", {}).pop(dependency, None)
    return tomlkit.dumps(document).rstrip("\n") + "\n"


def _without_unused(manifest: str, candidates: Iterable[str], bench: Path, changes: Changes) -> str:
    """The manifest without those dependencies that no code of the benches uses any more; messages may name them."""
    document = tomlkit.parse(manifest)
    staying = [path for path in _files_below(bench) if path.suffix == ".rs" and path not in changes.deleted]
    code = "\n".join(path.read_text(encoding="utf-8") for path in staying)
    for name in candidates:
        if not re.search(rf"\b{name.replace('-', '_')}::", code):
            document.get("dev-dependencies", {}).pop(name, None)
    return tomlkit.dumps(document)


def _files_below(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (path for path in folder.rglob("*") if path.is_file())


def _uses(crate: Path, package: str, name: str, changes: Changes) -> Iterator[str]:
    """The lines that name the module, in the files that stay."""
    # `str::parse::<u16>` names something else.
    roots = rf"crate|self|super|{package.replace('-', '_')}"
    named = re.compile(rf"\b({roots})::{name}\b|(?<![\w:.]){name}::(?!<)")
    for folder in ("src", "tests", "examples", "benches", "bench"):
        for path in sorted(_files_below(crate / folder)):
            if path.suffix == ".rs" and path not in changes.deleted:
                text = changes.written.get(path, path.read_bytes()).decode(errors="replace")
                for number, line in enumerate(text.splitlines(), 1):
                    if named.search(line):
                        yield f"{_relative(crate, path)}:{number}: {line.strip()}"


def _relative(crate: Path, path: Path) -> str:
    return path.relative_to(crate).as_posix()
