"""`fast-rust explain` and `fast-rust standards`."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markdown import Markdown

from fast_rust.checks.names import current_name
from fast_rust.standards import documents
from fast_rust.standards.folder import standards_folder
from fast_rust.standards.pages import Directive, Page, Quality, directives, read_standards

application = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="List the rules of the coding standards for crates, and render their documents.",
)

# How a list says it in a word or two.
ENFORCED = {
    Quality.DECIDED: "always",
    Quality.COMMON_CASES: "in common cases",
    Quality.REASON_DEMANDED: "by a reason",
    Quality.PENDING: "not yet",
    Quality.REVIEW: "by reviewers",
}


def _pages() -> tuple[Page, ...]:
    return read_standards(standards_folder())


def _directives() -> list[Directive]:
    return list(directives(_pages()))


def explain(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME", help="Rules, such as `OWN-6`, or checks, such as `clippy::ptr_arg`."),
    ],
) -> None:
    """Print what a rule of the coding standards requires, why, how to make an exception, and examples."""
    known = _directives()
    found = [(name, _named(name, known)) for name in names]
    for name, those in found:
        if not those:
            ids = ", ".join(
                directive.id for directive in known if directive.id.partition("-")[0] == name.upper().partition("-")[0]
            )
            section = name.upper().partition("-")[0]
            lists = "`fast-rust standards list` lists the rules, and `fast-rust rules` the checks of ast-grep"
            hint = f"the rules of {section} are: {ids}" if ids else lists
            message = f"unknown rule or check: {name}; {hint}."
            raise typer.BadParameter(message, param_hint="NAME")
    for directive in dict.fromkeys(directive for _, those in found for directive in those):
        _show(documents.explanation(directive, known))


def _named(name: str, known: Sequence[Directive]) -> list[Directive]:
    by_id = [directive for directive in known if directive.id == name.upper()]
    tool, colons, check = name.rpartition("::")
    name = f"{tool}{colons}{current_name(check)}"
    return by_id or [
        directive for directive in known if any(name in {gate, gate.partition("::")[2]} for gate in directive.gates)
    ]


def _show(markdown: str) -> None:
    # Piped or redirected, the source is what people want.
    if sys.stdout.isatty():
        Console().print(Markdown(markdown), "")
    else:
        typer.echo(markdown + "\n")


@application.command("list")
def list_standards(*, as_json: Annotated[bool, typer.Option("--json", help="Print all data as JSON.")] = False) -> None:
    """List all rules of the coding standards: ID, level (such as MUST), how each is enforced, and what it requires."""
    if as_json:
        typer.echo(json.dumps([_as_json(directive) for directive in _directives()], indent=2, ensure_ascii=False))
        return
    typer.echo(f"{'RULE':8} {'LEVEL':6} {'ENFORCED':15} REQUIREMENT")
    for directive in _directives():
        title = f"{'Avoid: ' if directive.level == 'AVOID' else ''}{directive.title}"
        typer.echo(f"{directive.id:8} {directive.level:6} {ENFORCED[directive.quality]:15} {title}")


def _as_json(directive: Directive) -> dict[str, Any]:
    known = asdict(directive)
    del known["path"], known["text"]
    for example in known["examples"]:
        example["kinds"] = sorted(example["kinds"])
    return {**known, "page": directive.path.name, "proven": documents.is_proven(directive)}


@application.command()
def coverage() -> None:
    """Count the rules by level (MUST, SHOULD, AVOID), and by how far automatic checks enforce them."""
    _show(documents.coverage(_pages()))


@application.command()
def render(
    *,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit with 1 if a document is stale.")] = False,
) -> None:
    """In a checkout of the template, write the documents generated from standards/: two in docs/, a table in README."""
    checkout = standards_folder().parent
    if not (checkout / "template").is_dir():
        message = (
            "error: this command writes to a checkout of copier-fast-rust, and fast-rust is not installed from one"
        )
        typer.echo(f"{message}; run `pip install -e .` in a checkout first.", err=True)
        raise typer.Exit(2)
    stale = [(path, text) for path, text in documents.documents(_pages(), checkout) if _read(path) != text]
    for path, text in stale:
        if not check:
            path.write_text(text, encoding="utf-8")
        typer.echo(f"{'stale' if check else 'written'}: {path.relative_to(checkout)}")
    if check and stale:
        typer.echo("Run: fast-rust standards render", err=True)
        raise typer.Exit(1)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""
