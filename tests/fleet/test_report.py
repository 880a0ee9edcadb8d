"""The report shows the facts as JSON, as Markdown and in a browser."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

from fast_rust.drift.differences import Difference, State
from fast_rust.fleet.journal import Journal
from fast_rust.fleet.markdown import markdown
from fast_rust.fleet.outcome import CrateState, Facts, Outcome
from fast_rust.fleet.page import page
from fast_rust.fleet.report import FleetReport, read_report
from fast_rust.fleet.written import write_report
from fast_rust.update.merge import MergeResult
from fleet.small import Type, write_manifest

NASTY = '<script>alert(1)</script> & "x" | `y`'
REPORT = FleetReport(
    "v0.3.0",
    "2026-01-02",
    (
        Outcome(
            "orders",
            CrateState.DRIFT,
            NASTY,
            Facts(
                release="v0.1.0",
                owner=NASTY,
                freeze="sold",
                differences=(
                    Difference("justfile", State.CHANGED),
                    Difference(
                        "clippy.toml", State.LOOSENED, "large-error-threshold", "128", "256", NASTY, ("large", "é.x")
                    ),
                ),
            ),
        ),
        Outcome(
            "stock",
            CrateState.CONFLICT,
            "",
            Facts(release="v0.10.0", owner="", touches={"justfile": MergeResult.CONFLICT}, behind=(), notes=("a",)),
        ),
        Outcome("bills", CrateState.UP_TO_DATE, "", Facts(release="v0.3.0", owner="")),
        Outcome("gone", CrateState.ERROR, "no answers"),
    ),
)


class Reader(HTMLParser):
    """Collects the tags and the text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in {"src", "href"}]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_needs_no_other_file_and_runs_no_script(tmp_path: Path) -> None:
    [_, _, page] = write_report(REPORT, tmp_path)
    reader = Reader()
    reader.feed(page.read_text(encoding="utf-8"))
    assert "script" not in reader.tags
    assert reader.links == []
    assert reader.tags.count("svg") == 2
    assert NASTY in reader.text
    assert all(text in reader.text for text in ("v0.10.0", "justfile", "large-error-threshold", "no answers", "sold"))


def test_only_crates_at_the_newest_release_are_marked_as_good() -> None:
    states = (CrateState.UP_TO_DATE, CrateState.BEHIND, CrateState.AHEAD, CrateState.CONFLICT)
    tiles = page(FleetReport("v0.3.0", "2026-01-02", tuple(Outcome(str(state), state) for state in states)))
    found = re.findall(r'<b class="(\w+)">1</b>([\w-]+)', tiles)
    assert found == [("good", "up-to-date"), ("open", "behind"), ("open", "ahead"), ("bad", "conflict")]


def test_releases_are_in_the_order_of_versions() -> None:
    assert list(REPORT.releases) == ["v0.1.0", "v0.3.0", "v0.10.0", "not known"]


def test_texts_of_users_are_escaped_in_the_markdown() -> None:
    text = markdown(REPORT)
    assert "<script" not in text
    [row] = [line for line in text.splitlines() if line.startswith("| orders | clippy.toml")]
    assert row.replace("\\|", "").count("|") == 5


def test_the_reports_of_shards_merge_to_that_of_the_fleet(tmp_path: Path, fleet: Type) -> None:
    for number, part in enumerate((REPORT.crates[:1], REPORT.crates[1:])):
        write_report(FleetReport(REPORT.target, REPORT.made, part, (number + 1, 2)), tmp_path / str(number))
    done = fleet("report", "--merge", "0/fleet.json", "1/fleet.json", "--out", "whole")
    assert done.exit_code == 0, done.output
    joined = read_report(tmp_path / "whole" / "fleet.json")
    assert {one.crate: one for one in joined.crates} == {one.crate: one for one in REPORT.crates}
    assert fleet("report", "--merge", "0/fleet.json", "1/fleet.json", "1/fleet.json").exit_code == 2
    incomplete = fleet("report", "--merge", "0/fleet.json")
    assert incomplete.exit_code == 2
    assert "the report of shard 2/2 is missing" in incomplete.stderr


def test_the_preset_for_renovate_satisfies_its_schema_and_names_each_ring(tmp_path: Path, fleet: Type) -> None:
    rows = """\
orders = { ring = "canary", url = "git@git.example.org:acme/orders.git" }
stock = { ring = "rest", url = "https://git.example.org/acme/core/stock" }
bills = { ring = "rest", url = "ssh://git@git.example.org/acme/bills", freeze = "sold" }
reader = { path = "stock", subdirectory = "reader", url = "https://git.example.org/acme/core/stock", freeze = "old" }
"""
    head = '[defaults]\nring = "rest"\n[rings.canary]\nschedule = ["before 6am on monday"]\n[rings.rest]\n'
    write_manifest(tmp_path, "/somewhere", rows, head)
    done = fleet("renovate")
    assert done.exit_code == 0
    preset = tmp_path / "preset.json"
    preset.write_text(done.stdout, encoding="utf-8")
    checker = str(Path(sys.executable).with_name("check-jsonschema"))
    checked = subprocess.run([checker, "--builtin-schema", "vendor.renovate", str(preset)], check=False, text=True)
    assert checked.returncode == 0
    [canary, rest, frozen, part] = json.loads(done.stdout)["packageRules"]
    assert canary["matchRepositories"] == ["acme/orders"]
    assert canary["schedule"] == ["before 6am on monday"]
    assert rest["matchRepositories"] == ["acme/bills", "acme/core/stock"]
    assert (frozen["matchRepositories"], frozen["enabled"]) == (["acme/bills"], False)
    assert "matchFileNames" not in frozen
    assert (part["matchRepositories"], part["matchFileNames"]) == (["acme/core/stock"], ["reader/*"])


def test_a_report_in_an_older_format_is_rejected(tmp_path: Path, fleet: Type) -> None:
    """The older format has other names of states."""
    [file, _, _] = write_report(REPORT, tmp_path)
    assert read_report(file).states
    content = json.loads(file.read_text(encoding="utf-8"))
    content["form"] = 1
    content["crates"][0]["state"] = "up to date"
    file.write_text(json.dumps(content), encoding="utf-8")
    done = fleet("report", "--merge", file)
    assert done.exit_code == 2
    assert "another fast-rust version; run `fast-rust fleet report` again" in done.stderr


def test_a_journal_in_an_older_format_is_not_resumed(tmp_path: Path) -> None:
    options = {"target": "v1"}
    lines = [{"run": options}, {"crate": "orders", "state": "there already", "detail": "", "facts": {}}]
    file = tmp_path / "update.jsonl"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    assert Journal(file, options).done == {}
    journal = Journal(file, options)
    journal.note(Outcome("orders", CrateState.EXISTS))
    assert list(Journal(file, options).done) == ["orders"]
