"""Counts what each rule of ast-grep finds in the crates of `measure_lints`, and writes its table in docs/lints.md.

The counts are in `rules_counted.json`. The judgements of a person are in `rules_read.toml`; to judge, read
`build/measure-lints/rules.json`. A rule for hot paths is counted without its condition.
"""

import json
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

from fast_rust.checks.rules import UNUSED, find_ast_grep, rule_files, util_files, write_configuration
from fast_rust.commands.rules import read_rules
from standards.measure_lints import CRATES, PAGE, SCRATCH, Hit, count_lines, mixed, with_rows
from workbench import fetch

HERE = Path(__file__).parent
COUNTED, READ = HERE / "rules_counted.json", HERE / "rules_read.toml"
MARKS = ("<!-- rules: made by `make measure-rules` -->\n", "<!-- end of rules -->\n")
HOT = "hot"
EVERYWHERE = f"id: {HOT}\nlanguage: rust\nrule: {{ regex: . }}\n"
Hits: TypeAlias = Mapping[str, Sequence[Hit]]


def main() -> int:
    """Fetch the crates, run the rules, and write the table."""
    sources = fetch(SCRATCH / "fetch", CRATES)
    hits = all_hits(sources)
    rules = [rule["id"] for rule in read_rules()]
    lines = sum(count_lines(file) for source in sources.values() for file in source.rglob("*.rs"))
    counted = {"crates": len(CRATES), "lines": lines, "hits": {rule: len(hits.get(rule, ())) for rule in sorted(rules)}}
    COUNTED.write_text(json.dumps(counted, indent=2) + "\n", encoding="utf-8")
    to_read = {rule: [hit._asdict() for hit in mixed(list(hits[rule]))] for rule in sorted(hits)}
    SCRATCH.mkdir(parents=True, exist_ok=True)
    (SCRATCH / "rules.json").write_text(json.dumps(to_read, indent=1), encoding="utf-8")
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"{PAGE}\n{COUNTED}\n{SCRATCH / 'rules.json'}")
    return 0


def all_hits(sources: Mapping[str, Path]) -> Hits:
    """Return the hits of each rule; rules for hot paths treat all code as hot."""
    hot, cold = (scan(sources, everything_is_hot=hot) for hot in (True, False))
    # If all code is hot, advice on code that is not hot finds nothing.
    return {rule: max(hot.get(rule, []), cold.get(rule, []), key=len) for rule in hot.keys() | cold.keys()}


def scan(sources: Mapping[str, Path], *, everything_is_hot: bool) -> Hits:
    """Run all rules over the crates, which are in one folder."""
    [root] = {source.parent for source in sources.values()}
    crates = {source.name: name for name, source in sources.items()}
    hits: dict[str, list[Hit]] = defaultdict(list)
    with TemporaryDirectory() as folder:
        utils = util_files()
        if everything_is_hot:
            everywhere = Path(folder, f"{HOT}.yml")
            everywhere.write_text(EVERYWHERE, encoding="utf-8")
            utils = [str(everywhere) if Path(path).stem == HOT else path for path in utils]
        config = Path(folder, "sgconfig.yml")
        write_configuration(config, map(str, rule_files()), utils)
        command = [find_ast_grep(), "scan", f"--config={config}", "--json=stream", *crates]
        done = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, text=True, check=False)
    for record in map(json.loads, done.stdout.splitlines()):
        crate, _, file = record["file"].partition("/")
        start = record["range"]["start"]
        if record["ruleId"] != UNUSED:
            place = Hit(crates[crate], file, start["line"] + 1, start["column"] + 1, record["lines"])
            hits[record["ruleId"]].append(place)
    return hits


def with_table(page: str) -> str:
    """Return the page with a table of the counts and the judgements."""
    counted = json.loads(COUNTED.read_text(encoding="utf-8"))
    read = tomllib.loads(READ.read_text(encoding="utf-8"))
    about = f"Over {counted['crates']} crates, {counted['lines']:,} lines, by `make measure-rules`."
    return with_rows(page, MARKS, about, rows(counted["hits"], read))


def rows(hits: Mapping[str, int], read: Mapping[str, Mapping[str, Any]]) -> Iterator[Sequence[object]]:
    """Yield the rows of the table: gates, gates on hot paths, advice."""
    for used, name, directives in sorted(map(described, read_rules())):
        judged = read[name]
        yield f"`{name}`", directives, hits[name], judged["read"], judged["right"], USES[used], judged["wrong"]


USES = ("gate", "gate, on hot paths", "advice")


def described(rule: Mapping[str, Any]) -> tuple[int, str, str]:
    """Return how a rule is used, as an index of USES, its name, and the directives that its message names."""
    is_for_hot_paths = f"{{'matches': '{HOT}'}}" in str(rule)
    used = 2 if rule["severity"] == "warning" else 1 if is_for_hot_paths else 0
    return used, rule["id"], ", ".join(rule["message"].partition(":")[0].split())


if __name__ == "__main__":
    sys.exit(main())
