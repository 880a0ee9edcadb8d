"""The variants whose compiled code differs, and one run of each of their programs."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from support.services import Service
from support.variants import Variant, all_combinations, cover
from support.workshop import Workshop, program_name

# The answers that change the compiled code; the last one changes only the release profile.
COMPILED = ("kind", "place", "sample", "allocator", "cpu_level", "panic")
# Only one variant has the package otel/, because no other answer affects it.
WITH_OTEL = {"kind": "service", "place": "repository", "sample": True, "allocator": "mimalloc"}


@cache
def compiled_variants() -> tuple[Variant, ...]:
    """Return each combination of the answers that change the compiled code, once."""
    return tuple(sorted({variant.only(COMPILED) for variant in all_combinations()}, key=str))


@cache
def pairwise_compiled() -> tuple[Variant, ...]:
    """Return a pairwise cover of these combinations; one of them has the package otel/, too."""
    covering = sorted(cover(compiled_variants()), key=str)
    first = next(index for index, variant in enumerate(covering) if WITH_OTEL.items() <= variant.answers.items())
    covering[first] = Variant((*covering[first].items, ("otel", True)))
    return tuple(covering)


@contextmanager
def its_command(variant: Variant) -> Iterator[None]:
    """Add the command that renders, builds and runs only this variant to the message of a failure."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"This variant alone: make test-variant VARIANT={variant}")
        raise


def build_release_and_run(workshop: Workshop, variant: Variant, folder: Path, **environment: str) -> None:
    """Build the program or example of a variant in its release profile, and run it."""
    targets = ("--lib", "--examples") if variant.answers["kind"] == "lib" else ("--bins",)
    command = ("cargo", "build", "--release", "--package", program_name(variant), *targets)
    workshop.run(workshop.variant(variant), *command, **_jemalloc_built(workshop), **environment)
    target = environment.get("CARGO_TARGET_DIR", workshop.environment["CARGO_TARGET_DIR"])
    run_once(workshop, variant, Path(target, "release"), folder)


def _jemalloc_built(workshop: Workshop) -> dict[str, str]:
    """Environment with the jemalloc that an earlier test built: its C code takes minutes, and is always the same."""
    builds = Path(workshop.environment["CARGO_TARGET_DIR"], "debug", "build")
    built = sorted(builds.glob("tikv-jemalloc-sys-*/out/lib/libjemalloc_pic.a"))
    return {"JEMALLOC_OVERRIDE": str(built[0])} if built else {}


def run_once(workshop: Workshop, variant: Variant, binaries: Path, folder: Path) -> None:
    """Run the program once, or start the service, send a request and stop it, or run the example of a library."""
    program, sample = binaries / program_name(variant), bool(variant.answers["sample"])
    records = folder / "records"
    records.write_text("a;1\n", encoding="utf-8")
    match variant.answers["kind"]:
        case "service":
            _ask_service(program, sample=sample)
        case "cli" if sample:
            printed = workshop.run(folder, str(program), "--format", "csv", str(records))
            assert printed == "key,count,min,mean,max\na,1,1,1,1\n"
        case "cli":
            assert workshop.run(folder, str(program), "--version") == f"{program.name} 0.1.0\n"
        case "lib" if sample:
            assert workshop.run(folder, str(binaries / "examples" / "totals"), str(records)) == "a 1 x 1\n"


def _ask_service(program: Path, *, sample: bool) -> None:
    """Start a service, check its health, send it a request, and stop it."""
    service = Service(program, ())
    try:
        assert service.request("GET", "/healthz").status == 200
        assert service.request("POST", "/aggregate", b"a;1\n").status == (200 if sample else 404)
        service.terminate()
        assert service.exit_code() == 0
    finally:
        service.close()
