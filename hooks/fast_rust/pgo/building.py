"""Builds a program, and trains it."""

import hashlib
import json
import shutil
from pathlib import Path

from fast_rust.pgo.programs import PgoError, output
from fast_rust.pgo.workspace import Program, Workspace

TRAINING_ROUNDS = 5


def build_program(workspace: Workspace, program: Program, flag: str | None) -> Path:
    """Build a program as it ships, with one more flag for the compiler."""
    options = ["--release", "--package", program.package, "--bin", program.name]
    if flag:
        # Cargo joins the flags of a target with those of `cfg(...)`, which .cargo/config.toml has. With a target that
        # is named they are not for build scripts, which would be instrumented, too.
        flags = f"target.{workspace.host}.rustflags=[{json.dumps(flag)}]"
        options += ["--target", workspace.host, "--config", flags]
    return build(workspace, *options)


def build(workspace: Workspace, *options: str) -> Path:
    """Build one program, and return where cargo put it."""
    workspace.folder.mkdir(parents=True, exist_ok=True)
    messages = output("cargo", "build", "--message-format=json-render-diagnostics", "--quiet", *options)
    artifacts = (json.loads(line) for line in messages.splitlines() if line.startswith("{"))
    [executable] = [artifact["executable"] for artifact in artifacts if artifact.get("executable")]
    return Path(executable)


def keep(workspace: Workspace, built: Path, folder: str) -> Path:
    """Copy a program away from where the next build replaces it."""
    kept = workspace.folder / folder / built.name
    kept.parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy2(built, kept))


def train(workspace: Workspace, load: Path, instrumented: Path, merger: str) -> Path:
    """Run the load, and merge what was counted into a file whose name tells its content.

    Cargo looks at flags, not into files: if the name stayed, it would not build the dependencies again. Raises PgoError
    where the training left no profile.
    """
    workspace.folder.mkdir(parents=True, exist_ok=True)
    raw = workspace.folder / "raw"
    shutil.rmtree(raw, ignore_errors=True)
    for old in workspace.folder.glob("*.profdata"):
        old.unlink()
    output(load, str(TRAINING_ROUNDS), instrumented, LLVM_PROFILE_FILE=str(raw / "%m-%p.profraw"))
    counted = sorted(raw.glob("*.profraw"))
    if not counted:
        message = (
            f"the training run wrote no profile to {raw}; {instrumented.name} has to"
            " exit by itself, since a killed process writes none"
        )
        raise PgoError(message)
    merged = workspace.folder / "merged.profdata"
    output(merger, "merge", f"--output={merged}", *counted)
    digest = hashlib.sha256(merged.read_bytes()).hexdigest()[:16]
    return merged.rename(merged.with_name(f"{instrumented.stem}-{digest}.profdata"))
