"""The start and the end of the program `fast-rust`."""

import inspect
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fast_rust import start
from fast_rust.commands.check import command
from support.template import Template

PROGRAM = [sys.executable, "-c", "from fast_rust.start import main; main()"]


def run(*arguments: str, code: str = PROGRAM[-1]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], check=False, capture_output=True, text=True)


def test_check_does_not_import_typer_or_modules_of_other_commands(template: Template) -> None:
    crate = template.rendering({"crate_name": "totals"})
    code = "import sys\nfrom fast_rust.start import main\ntry: main()\nfinally: print(*sys.modules)"
    done = run("check", str(crate), code=code)
    assert (done.returncode, done.stderr) == (0, "No errors.\n")
    slow = {"typer", "pydantic", "rich", "copier", "jinja2", "importlib.metadata", "concurrent.futures"}
    assert slow & set(done.stdout.split()) == set()


def test_each_option_of_check_is_parsed_without_typer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With an option that is unknown to the fast start, it would be slow."""
    taken: list[object] = []

    def report(path: Path, how: str, *, advice: bool) -> int:
        taken.extend((path, how, advice))
        return 7

    monkeypatch.setattr("fast_rust.checks.report.report", report)
    assert list(inspect.signature(command).parameters) == ["path", "advice", "output_format"]
    assert start.check(["--advice", str(tmp_path), "--output-format=json"]) == 7
    assert taken == [tmp_path, "json", True]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--help"], 0, "Check a workspace for violations"),
        (["check", "--help"], 0, "--output-format"),
        (["check", "--no-such"], 2, "No such option: --no-such"),
        (["check", "--adv"], 2, "No such option: --adv"),
        (["check", "--output-format", "xml"], 2, "'xml' is not one of"),
        (["check", "no-such-folder"], 2, "'no-such-folder' does not exist"),
        (["no-such"], 2, "No such command 'no-such'"),
        (["chekc"], 2, "Did you mean 'check'?"),
    ],
)
def test_help_and_invalid_arguments_have_the_usual_output(arguments: list[str], code: int, message: str) -> None:
    done = run(*arguments)
    assert done.returncode == code
    assert message in " ".join((done.stdout + done.stderr).replace("\N{BOX DRAWINGS LIGHT VERTICAL}", " ").split())


@pytest.mark.parametrize("arguments", [["rules"], ["explain", "OWN-1"], ["--help"], ["check", "--help"], ["--version"]])
def test_a_closed_pipe_is_not_an_error(arguments: list[str]) -> None:
    """For example `head`; here the reader stops before the first line."""
    with subprocess.Popen([*PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 0


def test_check_fails_for_errors_that_were_not_read(template: Template, tmp_path: Path) -> None:
    """Otherwise a pipeline with `pipefail` would pass in spite of errors."""
    crate = shutil.copytree(template.rendering({"crate_name": "totals"}), tmp_path / "totals")
    (crate / "rust-toolchain.toml").write_text('[toolchain]\nchannel = "stable"\n')
    with subprocess.Popen(
        [*PROGRAM, "check", str(crate)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 1
