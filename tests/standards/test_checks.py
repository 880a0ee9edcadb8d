"""Each check of a crate's files reports its violations, and accepts exceptions with a reason."""

import shutil
from importlib import import_module
from pathlib import Path

import pytest

from fast_rust.checks.everything import MODULES, check_files, find_all
from fast_rust.checks.findings import Finding, Severity
from fast_rust.checks.names import FORMER
from fast_rust.checks.registry import CHECKS
from fast_rust.checks.tables import WorkspaceError
from fast_rust.standards.folder import standards_folder
from fast_rust.standards.lints import lints_of_the_standards, switched_on
from fast_rust.standards.pages import Quality, directives, read_standards
from standards.violations import ALLOWED, VIOLATIONS, AllowedChange, Delete, PlantedViolation, changed
from support.files import edit, replace_only
from support.template import Template
from support.variants import CHECKOUT
from support.workshop import NAMES

MEANT = [violation for violation in VIOLATIONS if violation.gate.startswith("standards::")]
FOREIGN = """\
[workspace]
members = ["joined"]
resolver = "3"

[workspace.lints.clippy]
all = "warn"

[profile.release]
lto = "thin"
codegen-units = 1
panic = "unwind"

[profile.bench]
debug = true
strip = false

[profile.profiling]
inherits = "release"
debug = true
"""

OTHER_SEVERITIES = {
    "standards::every_submodule_of_a_hot_path_is_marked": Severity.WARNING,
    "standards::formatting_has_no_overrides": Severity.ADVICE,
    "standards::no_file_is_of_an_older_release": Severity.WARNING,
    "standards::relaxed_settings_have_reasons": Severity.WARNING,
}


@pytest.fixture(scope="module")
def crates(template: Template, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A crate of each kind, and a workspace that the template did not make, with a program of ours as a member."""
    folder = tmp_path_factory.mktemp("checked")
    found = {"foreign": folder / "foreign"}
    for kind, name in NAMES.items():
        found[kind] = folder / name
        shutil.copytree(template.rendering({"crate_name": name, "kind": kind}), found[kind])
    member = template.rendering({"crate_name": "joined", "kind": "cli", "place": "member", "sample": False})
    shutil.copytree(member, found["foreign"] / "joined")
    (found["foreign"] / "Cargo.toml").write_text(FOREIGN, encoding="utf-8")
    return found


def as_text(finding: Finding) -> str:
    """Return the printed text of a finding."""
    return f"{finding.path}:{finding.line} - {finding.message}\n{finding.next}"


@pytest.mark.parametrize("crate", ["lib", "cli", "service", "foreign"])
def test_a_new_crate_has_no_finding(crates: dict[str, Path], crate: str) -> None:
    assert check_files(crates[crate]) == []


@pytest.mark.parametrize("violation", MEANT, ids=lambda violation: violation.name)
def test_a_violation_is_found(crates: dict[str, Path], violation: PlantedViolation) -> None:
    """The finding has the directives, and says what to do."""
    crate = crates[violation.crate]
    with changed(crate, [violation]):
        found = [one for one in check_files(crate) if one.gate == violation.gate]
        is_there = {one.path for one in found if (crate / one.path).exists()}
    assert found
    assert violation.message in "\n".join(map(as_text, found))
    assert set(violation.directives) <= set(found[0].directives)
    assert {one.severity for one in found} == {OTHER_SEVERITIES.get(violation.gate, Severity.ERROR)}
    assert is_there == {one.path for one in found} - ({violation.path} if violation.edit == Delete() else set())


@pytest.mark.parametrize(
    "allowed", [allowed for allowed in ALLOWED if allowed.gate == "standards"], ids=lambda allowed: allowed.name
)
def test_an_exception_with_a_reason_is_accepted(crates: dict[str, Path], allowed: AllowedChange) -> None:
    with changed(crates[allowed.crate], [allowed]):
        assert check_files(crates[allowed.crate]) == []


def test_every_check_has_a_violation() -> None:
    for name in MODULES:
        import_module(f"fast_rust.checks.{name}")
    assert {violation.gate for violation in MEANT} == {f"standards::{name}" for name in CHECKS}


def test_the_lints_are_those_of_the_pages() -> None:
    """The checks read them from the text, since parsing the pages as Markdown takes longer than all checks."""
    pages = directives(read_standards(standards_folder()))
    gates = {gate for each in pages if each.quality not in {Quality.REVIEW, Quality.PENDING} for gate in each.gates}
    assert lints_of_the_standards().keys() == {gate for gate in gates if gate.startswith(("clippy::", "rustc::"))}
    manifest = (CHECKOUT / "template" / "Cargo.toml.jinja").read_text(encoding="utf-8")
    listed = {gate for gate, by_itself in lints_of_the_standards().items() if not by_itself}
    assert listed == lints_of_the_standards().keys() & switched_on(manifest)
    assert listed


# --- Other ways to write the same, in the manifest and in the sources ---


@pytest.fixture
def lib(crates: dict[str, Path], tmp_path: Path) -> Path:
    """A library to change."""
    return shutil.copytree(crates["lib"], tmp_path / "lib")


def gates(crate: Path) -> list[str]:
    """Return the findings, by the names of the checks."""
    return [one.gate.removeprefix("standards::") for one in check_files(crate)]


PACKAGE = '[package]\nname = "plain"\nversion = "0.1.0"\nedition = "2024"\n'
PROFILES = {
    "dotted": "profile.release.lto = {lto}{reason}\nprofile.release.codegen-units = 1\n",
    "inline": "[profile]\nrelease = {{ lto = {lto}, codegen-units = 1 }}{reason}\n",
    "quoted": '[profile."release"]\n"lto" = {lto}{reason}\ncodegen-units = 1\n',
    "spaced": "[ profile . release ]\n\tlto   =   {lto}{reason}\n\tcodegen-units=1\n",
    "windows": "[profile.release]\r\nlto = {lto}{reason}\r\ncodegen-units = 1\r\n",
}


@pytest.mark.parametrize("form", PROFILES)
@pytest.mark.parametrize(
    ("lto", "reason", "is_found"),
    [
        ('"fat"', "", False),
        ("true", "", False),
        ("false", "", True),
        ("false", " # reason: slow", True),
        ("false", " # it takes too long", True),
        ("false", " # reason: the linker runs out of memory", False),
    ],
)
def test_a_profile_is_read_in_every_notation_of_toml(
    tmp_path: Path, form: str, lto: str, reason: str, *, is_found: bool
) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "main.rs").write_text("fn main() {}\n")
    own = PROFILES[form].format(lto=lto, reason=reason)
    (tmp_path / "Cargo.toml").write_bytes((own + PACKAGE if form == "dotted" else PACKAGE + own).encode())
    assert ("release_profile_is_tuned" in gates(tmp_path)) == is_found


def test_a_hot_path_in_its_own_folder_has_the_name_of_the_folder(lib: Path) -> None:
    (lib / "src" / "aggregate.rs").rename(lib / "src" / "aggregate" / "mod.rs")
    assert gates(lib) == []


def test_a_hot_path_of_another_member_is_measured_by_its_own_bench(lib: Path, template: Template) -> None:
    member = template.rendering({"crate_name": "second", "kind": "lib", "place": "member", "sample": True})
    shutil.copytree(member, lib / "crates" / "second")
    replace_only(
        lib / "Cargo.toml", 'members = ["bench"]', 'members = ["bench", "crates/second", "crates/second/bench"]'
    )
    assert gates(lib) == []
    (lib / "crates" / "second" / "bench" / "tests" / "aggregate_allocations.rs").unlink()
    [found] = check_files(lib)
    assert (found.gate, found.path) == ("standards::every_hot_path_is_measured", "crates/second/src/aggregate.rs")
    assert "crates/second/bench/tests/aggregate_allocations.rs does not exist" in found.message


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("deny.toml", "private = { ignore = true }", "private = { ignore = false }"),
        ("deny.toml", 'multiple-versions = "allow"', 'multiple-versions = "deny"'),
        ("clippy.toml", "large-error-threshold = 128", "large-error-threshold = 64"),
        ("clippy.toml", "large-error-threshold = 128", "large-error-threshold = 256 # reason: two buffers inline"),
        ("Cargo.toml", "\ninstructions = 2.0", "\ninstructions = 1.0"),
    ],
)
def test_a_setting_that_is_stricter_or_has_a_reason_is_accepted(lib: Path, path: str, old: str, new: str) -> None:
    replace_only(lib / path, old, new)
    assert gates(lib) == []


def test_hot_code_is_found_in_a_function_of_an_impl(lib: Path) -> None:
    path = lib / "src" / "error.rs"
    documentation = "    /// Runs often.\n    ///\n    /// # Hot path\n    /// Why: for each record.\n"
    text = path.read_text(encoding="utf-8") + f"impl Error {{\n{documentation}    fn hot(&self) {{}}\n}}\n"
    path.write_text(text, encoding="utf-8")
    line = text.splitlines().index("    /// # Hot path") + 1
    assert {(one.path, one.line) for one in check_files(lib)} == {("src/error.rs", line)}


def test_windows_line_endings_change_no_finding(lib: Path) -> None:
    for path in [*lib.rglob("*.rs"), *lib.rglob("*.toml"), *lib.rglob("*.yml"), lib / "justfile"]:
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert gates(lib) == []


def test_a_source_that_is_not_utf_8_is_read(lib: Path) -> None:
    (lib / "src" / "latin.rs").write_bytes(b"// caf\xe9\n")
    assert gates(lib) == []


@pytest.mark.parametrize("form", ["target-cpu=native", "target-cpu = native", '"-C", "target-cpu=native"'])
def test_a_build_for_this_machine_is_found_in_each_form(lib: Path, form: str) -> None:
    (lib / "local.just").write_text(f"fast:\n    cargo build # target-cpu=native is a comment\n    flags {form}\n")
    [found] = check_files(lib)
    assert (found.gate, found.path, found.line) == ("standards::no_build_uses_the_native_cpu", "local.just", 3)


# --- Staging, and unreadable files ---


def test_a_staged_check_with_a_reason_is_off(lib: Path) -> None:
    (lib / "rust-toolchain.toml").write_text('[toolchain]\nchannel = "stable"\n')
    manifest = lib / "Cargo.toml"
    text = manifest.read_text(encoding="utf-8")
    refused = ["exceptions_in_tables_have_reasons", "toolchain_is_pinned"]
    for reason, expected in (("", refused), ("later", refused), ("until June", [])):
        staged = f'\n[workspace.metadata.staged]\ntoolchain_is_pinned = "{reason}"\n'
        manifest.write_text(text + staged, encoding="utf-8")
        assert gates(lib) == expected, reason
    replace_only(lib / "bench" / "Cargo.toml", "[lints]\nworkspace = true\n", "")
    assert gates(lib) == ["lints_are_inherited"]


def test_a_check_is_staged_by_its_former_name_too(lib: Path) -> None:
    """Manifests of older crates use the former name; an unknown name is still an error."""
    replace_only(lib / "Cargo.toml", "\nunwrap_used = ", "\n# unwrap_used = ")
    assert gates(lib) == ["every_lint_is_enabled"]
    text = (lib / "Cargo.toml").read_text(encoding="utf-8")
    for name in ("every_gate_is_there", "every_lint_is_enabled"):
        (lib / "Cargo.toml").write_text(f'{text}\n[workspace.metadata.staged]\n{name} = "until June"\n')
        assert find_all(lib, advice=False) == []
    (lib / "Cargo.toml").write_text(f'{text}\n[workspace.metadata.staged]\nevery_gate = "until June"\n')
    with pytest.raises(WorkspaceError, match="unknown name 'every_gate'"):
        find_all(lib, advice=False)


def test_a_former_name_belongs_to_a_check() -> None:
    assert FORMER.keys().isdisjoint(CHECKS)
    assert CHECKS.keys() >= set(FORMER.values())


@pytest.mark.parametrize(
    ("before", "after", "gate", "action"),
    [
        ('\nunwrap_used = "warn"', '\nunwrap_used = "allow"', "exceptions_in_tables_have_reasons", "# reason: ..."),
        (
            "\nunwrap_used = ",
            "\n# unwrap_used = ",
            "every_lint_is_enabled",
            'lippy] of Cargo.toml:\n\nunwrap_used = "warn"\n',
        ),
        (
            '\nperf = { level = "warn"',
            '\nperf = { level = "allow"',
            "every_lint_is_enabled",
            '\n\nperf = { level = "warn", priority = -1 }\n',
        ),
    ],
)
def test_a_lint_that_is_off_is_one_error(lib: Path, before: str, after: str, gate: str, action: str) -> None:
    """The error says what to write."""
    replace_only(lib / "Cargo.toml", before, after)
    [finding] = check_files(lib)
    assert finding.gate == f"standards::{gate}"
    assert action in finding.next


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("Cargo.toml", "[package\n", "cargo cannot read the workspace in"),
        ("clippy.toml", "x = [\n", "clippy.toml is not valid TOML: "),
        ("rust-toolchain.toml", "=\n", "could not parse override file"),
    ],
)
def test_a_table_that_cannot_be_read_is_an_error(lib: Path, path: str, text: str, message: str) -> None:
    (lib / path).write_text(text)
    with pytest.raises(WorkspaceError, match=message):
        check_files(lib)


def test_a_folder_without_a_crate_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match=r"could not find `Cargo\.toml`"):
        check_files(tmp_path)


# --- CI on GitLab, the crate's own CI, and CI without the comparison of speed ---


def ci_findings(crate: Path) -> list[str]:
    return [as_text(finding) for finding in check_files(crate) if "ci_runs_every_gate" in finding.gate]


@pytest.fixture
def on_gitlab(template: Template, tmp_path: Path) -> Path:
    """Return a library whose CI is GitLab's."""
    rendering = template.rendering({"crate_name": "log-totals", "kind": "lib", "ci": "gitlab"})
    return Path(shutil.copytree(rendering, tmp_path / "log-totals"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (" doc\n", "\n", "does not run `just doc`"),
        ("    - just perf\n", "", "does not run `just perf`"),
        ("just perf\n", "just perf || true\n", "hides a failure"),
        ("standards:\n", "standards:\n  allow_failure: true\n", "`allow_failure: true` hides a failure"),
        ("    - when: on_success\n", "    - when: manual\n", "`when: manual` hides a failure"),
        ("image:", "image: [", "is not valid YAML"),
    ],
)
def test_a_pipeline_of_gitlab_runs_every_gate(on_gitlab: Path, old: str, new: str, said: str) -> None:
    assert check_files(on_gitlab) == []
    edit(on_gitlab / ".gitlab-ci.yml", old, new)
    assert any(".gitlab-ci.yml" in one and said in one for one in ci_findings(on_gitlab)), ci_findings(on_gitlab)


def test_a_crate_whose_ci_is_its_own_needs_the_recipes_only(template: Template, tmp_path: Path) -> None:
    rendering = template.rendering({"crate_name": "log-totals", "kind": "lib", "ci": "none"})
    crate = Path(shutil.copytree(rendering, tmp_path / "log-totals"))
    assert check_files(crate) == []
    replace_only(crate / "justfile", "lint test doc", "lint test")
    assert len(ci_findings(crate)) == 1


def test_a_crate_may_leave_out_the_comparison_of_speed_and_no_other_gate(template: Template, tmp_path: Path) -> None:
    crate = Path(
        shutil.copytree(template.rendering({"crate_name": "log-totals", "kind": "lib"}), tmp_path / "log-totals")
    )
    (crate / ".github" / "workflows" / "perf.yml").unlink()
    assert len(ci_findings(crate)) == 1
    manifest = crate / "Cargo.toml"
    manifest.write_text(manifest.read_text() + '\n[workspace.metadata.fast-rust]\nwithout = ["perf-workflow"]\n')
    assert ci_findings(crate) == []
    (crate / ".github" / "workflows" / "ci.yml").unlink()
    assert ci_findings(crate) != []
