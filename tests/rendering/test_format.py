"""The Rust sources of a crate are formatted, for names of any length and sort order."""

import shutil
import subprocess

import pytest

from support.template import Template
from support.variants import Answers, domain

NAMES = {"short": "ab", "long": "a" * 29 + "-" + "z" * 28, "first": "aa", "last": "zz-z"}


@pytest.mark.skipif(not shutil.which("rustfmt"), reason="rustfmt is not there: rustup component add rustfmt")
@pytest.mark.parametrize("sample", [True, False], ids=["sample", "bare"])
@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("kind", domain("kind"))
def test_rust_is_formatted(template: Template, kind: str, name: str, *, sample: bool) -> None:
    answers: Answers = {"crate_name": name, "kind": kind, "sample": sample, "cpu_level": "x86-64-v2"}
    crate = template.rendering(answers)
    sources = sorted(str(path.relative_to(crate)) for path in crate.rglob("*.rs"))
    assert "src/lib.rs" in sources
    command = ["rustfmt", "--check", "--edition=2024", *sources]
    done = subprocess.run(command, cwd=crate, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
