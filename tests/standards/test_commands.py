"""`fast-rust explain` and `fast-rust standards`, as people type them."""

import json
import re
import subprocess
import sys
import zipfile
from importlib import import_module
from pathlib import Path

import pytest

from fast_rust.checks.everything import MODULES
from fast_rust.checks.registry import CHECKS
from fast_rust.commands import standards as standards_command
from fast_rust.standards.documents import TAKE_A_REASON
from fast_rust.standards.pages import directives, read_standards
from support.command import fast_rust, invoke
from support.variants import CHECKOUT

IDS = [directive.id for directive in directives(read_standards(CHECKOUT / "standards"))]


@pytest.mark.parametrize(
    "name", ["OWN-1", "own-1", "clippy::large_types_passed_by_value", "large_types_passed_by_value"]
)
def test_it_explains_a_directive_by_its_id_or_a_gate(name: str) -> None:
    done = fast_rust("explain", name)
    assert (done.returncode, done.stderr) == (0, "")
    assert "### OWN-1 · MUST" in done.stdout
    assert "Bad, found by `clippy::large_types_passed_by_value`:\n\n```rust\n" in done.stdout


@pytest.mark.parametrize("name", ["every_gate_is_there", "standards::every_gate_is_there", "every_lint_is_enabled"])
def test_it_explains_a_check_by_its_former_name(name: str) -> None:
    done = fast_rust("explain", name)
    assert (done.returncode, done.stderr) == (0, "")
    assert "`standards::every_lint_is_enabled`" in done.stdout


def test_only_a_check_of_keys_accepts_a_reason_on_a_line() -> None:
    """An unmeasured hot path has no line for a reason. Each name in TAKE_A_REASON is the name of a check."""
    for name in MODULES:
        import_module(f"fast_rust.checks.{name}")
    assert CHECKS.keys() >= TAKE_A_REASON
    printed = fast_rust("explain", "BENCH-5", "BUILD-2").stdout
    assert "`[workspace.metadata.staged]`" in printed
    assert "# reason:" not in printed
    assert "# reason: ..." in fast_rust("explain", "BUILD-1").stdout


def test_an_explanation_says_how_to_make_an_exception() -> None:
    printed = fast_rust("explain", "OWN-1", "HASH-3", "OWN-3").stdout
    assert "- Enforced in the common cases by `ast-grep::own-parameter-only-read`" in printed
    assert "- Exception, by the check that fails:\n  - `clippy::large_types_passed_by_value`: add `#[expect(" in printed
    assert "`// ast-grep-ignore: own-parameter-only-read -- reason` on the line above.\n" in printed
    assert '#[expect(clippy::large_types_passed_by_value, reason = "...")]' in printed
    assert "- Exception: none; with the comment, any hasher is allowed.\n" in printed
    assert "- Enforced by reviewers, because " in printed
    # These commands are for maintainers of the standards.
    assert "Guide:" not in printed
    assert "Violations:" not in printed


def test_an_unknown_name_is_rejected_with_a_hint(tmp_path: Path) -> None:
    done = fast_rust("explain", "OWN-99", folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "OWN-99" in done.stderr
    assert "OWN-1, OWN-2" in done.stderr


def test_it_lists_all_directives() -> None:
    head, *lines = fast_rust("standards", "list").stdout.splitlines()
    assert head.split() == ["RULE", "LEVEL", "ENFORCED", "REQUIREMENT"]
    assert [line.split()[0] for line in lines] == IDS
    listed = json.loads(fast_rust("standards", "list", "--json").stdout)
    assert [one["id"] for one in listed] == IDS
    assert listed[IDS.index("OWN-1")]["gates"][1] == "clippy::large_types_passed_by_value"


def test_it_prints_the_coverage_that_the_readme_has() -> None:
    table = fast_rust("standards", "coverage").stdout.strip()
    assert table
    assert table in (CHECKOUT / "README.md").read_text(encoding="utf-8")


def test_the_rendered_documents_are_not_stale() -> None:
    done = fast_rust("standards", "render", "--check")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    "arguments", [["explain", "OWN-1"], *(["standards", name] for name in ("list", "coverage", "render"))]
)
def test_a_malformed_page_is_reported_by_every_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    (tmp_path / "template").mkdir()
    (tmp_path / "standards").mkdir()
    (tmp_path / "standards" / "01-ownership.md").write_text("# Ownership\n")
    monkeypatch.setattr(standards_command, "standards_folder", lambda: tmp_path / "standards")
    done = invoke(*arguments)
    assert done.exit_code == 2
    assert done.stderr.startswith("error: standards/01-ownership.md:1: expected a title")


def test_the_installed_command_has_the_pages(tmp_path: Path) -> None:
    """Installed as pre-commit installs it: from a copy, without this checkout."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*command, "--no-build-isolation", f"--wheel-dir={tmp_path}", str(CHECKOUT)], check=True)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    guide = tmp_path / "installed" / "fast_rust" / "standards" / "guide"
    for pattern in ("*.md", "*.yml", "utils/*.yml"):
        assert {p.name for p in guide.glob(pattern)} == {p.name for p in (CHECKOUT / "standards").glob(pattern)}
    assert {p.name for p in guide.glob("*.toml*")} == {"Cargo.toml.jinja", "clippy.toml", "deny.toml"}
    code = f"import sys; sys.path.insert(0, {str(tmp_path / 'installed')!r}); sys.argv[1:] = ['explain', 'OWN-1']; "
    code += "from fast_rust.main import application; application()"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert "### OWN-1 · MUST" in done.stdout
    assert (
        str(tmp_path)
        in subprocess.run(
            [sys.executable, "-c", code.partition("sys.argv")[0] + "import fast_rust; print(fast_rust.__file__)"],
            cwd=tmp_path,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    )


@pytest.mark.parametrize("name", ["OP-4", "standards::every_hot_path_is_measured"])
def test_the_criteria_of_a_hot_path_are_printed_on_request(name: str) -> None:
    printed = fast_rust("explain", name).stdout
    assert "more than 5 % of the CPU time of a realistic run" in printed
    assert "for each of thousands of requests, messages or records" in printed


def readable() -> dict[str, str]:
    """Return the texts for readers: what `explain` prints, and the pages."""
    pages = {path.name: path.read_text(encoding="utf-8") for path in (CHECKOUT / "docs").glob("*.md")}
    return {**pages, "explain": fast_rust("explain", *IDS).stdout}


def test_no_text_cites_a_place_in_the_guide() -> None:
    """Readers of the text have no copy of the guide."""
    places = (
        r"- Guide: \d|Erratum: \d+(?:-\d+)?: ",
        r"\| \d+(?:-\d+)?(?:, \d+)* \| [A-Z]+-\d",
        r"^\| (?:directive \| )?line \|",
        r"\b[Ss]ection \d+ (?:defines|says)|figure of line \d|example below it \(\d",
    )
    place = re.compile("|".join(places), re.MULTILINE)
    found = {name: hit[0] for name, text in readable().items() if (hit := place.search(text))}
    assert found == {}
