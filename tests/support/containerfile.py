"""Builds the image of a Containerfile without a container engine: each stage has a folder as its root directory."""

import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pathspec import PathSpec
from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

# Runs a shell command in a folder, and raises an error if it fails.
Run = Callable[[Path, str], object]


@dataclass
class Stage:
    """A root directory and the settings of the image."""

    root: Path
    workdir: str = "/"
    settings: dict[str, str] = field(default_factory=dict)

    def path(self, inside: str) -> Path:
        """Return the path on this machine of a path of the image, which may be relative to WORKDIR."""
        return self.root / (Path(self.workdir) / inside).relative_to("/")


@dataclass
class Builder:
    """Executes COPY and RUN; the files of base images are those of this machine."""

    context: Path
    folder: Path
    run: Run
    caches: dict[str, Path] = field(default_factory=dict)
    """Folders that replace cache mounts, by target."""
    stages: dict[str, Stage] = field(default_factory=dict)

    def build(self, text: str) -> Stage:
        """Build all stages, and return the last one."""
        stage = None
        for word, rest in instructions(text):
            if word == "FROM":
                stage = self._begin(rest)
                continue
            assert stage is not None, f"{word} before FROM"
            match word:
                case "WORKDIR":
                    stage.workdir = rest
                    stage.path(".").mkdir(parents=True, exist_ok=True)
                case "COPY":
                    self._copy(stage, rest)
                case "RUN":
                    self._run(stage, rest)
                case _:
                    stage.settings[word] = rest
        assert stage is not None
        return stage

    def _begin(self, rest: str) -> Stage:
        base, _, name = rest.partition(" AS ")
        stage = Stage(self.folder / f"stage{len(self.stages)}", settings={"FROM": base})
        stage.root.mkdir(parents=True)
        self.stages[name] = stage
        return stage

    def _copy(self, stage: Stage, rest: str) -> None:
        *sources, target = rest.split()
        origin = self.context
        if sources[0].startswith("--from="):
            origin = self.stages[sources.pop(0).removeprefix("--from=")].root
            files = [path for path in origin.rglob("*") if path.is_file()]
        else:
            files = files_sent(self.context)
        for source in sources:
            below = origin / source.lstrip("/")
            chosen = [path for path in files if path.is_relative_to(below)]
            assert chosen, f"COPY {rest}: {source} is not found, or excluded by .dockerignore"
            into_folder = below.is_dir() or target.endswith(("/", "."))
            for path in chosen:
                inside = path.relative_to(below if below.is_dir() else below.parent)
                copied = stage.path(target) / inside if into_folder else stage.path(target)
                copied.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, copied)

    def _run(self, stage: Stage, rest: str) -> None:
        mounts = []
        while rest.startswith("--"):
            flag, _, rest = rest.partition(" ")
            rest = rest.lstrip()
            options = dict(option.split("=", 1) for option in flag.removeprefix("--mount=").split(","))
            assert options["type"] == "cache", flag
            mounts.append(options["target"])
        if rest.startswith("apt-get"):
            packages = rest.partition("--no-install-recommends")[2].partition("&&")[0].split()
            assert packages
            assert [package for package in packages if not shutil.which(package)] == []
            return
        # This would be a file of the machine itself.
        assert not re.search(r"(?<![\w.*])/\w", rest), f"an absolute path: {rest}"
        linked = {stage.path(target): self.caches[target] for target in mounts if target in self.caches}
        for link, cache in linked.items():
            cache.mkdir(parents=True, exist_ok=True)
            link.symlink_to(cache)
        self.run(stage.path("."), rest)
        # A cache mount does not belong to the stage.
        for link in linked:
            link.unlink()


def instructions(text: str) -> list[tuple[str, str]]:
    """Return each instruction with its arguments, on one line."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r" *\\\n *", " ", "\n".join(lines))
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines())]


def words(instruction: str) -> list[str]:
    """Return the words of an instruction: quotes are those of a shell, and a dollar sign begins a variable."""
    assert not re.search(r"(?<!\\)\$", instruction), f"a variable: {instruction}"
    return [word.replace(r"\$", "$") for word in shlex.split(instruction)]


def files_sent(context: Path) -> list[Path]:
    """Return the files that .dockerignore does not exclude; its patterns start at the root, unlike those of git."""
    ignored = context / ".dockerignore"
    lines = ignored.read_text(encoding="utf-8").splitlines() if ignored.exists() else []
    patterns = [re.sub(r"^(!?)/?", r"\1/", line) for line in lines if line and not line.startswith("#")]
    spec = PathSpec([GitIgnoreSpecPattern(pattern) for pattern in patterns])
    files = [path for path in context.rglob("*") if path.is_file()]
    return [path for path in files if not spec.match_file(path.relative_to(context).as_posix())]
