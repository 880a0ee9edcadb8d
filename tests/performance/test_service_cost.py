"""The cost of a request in a service is limited: the bench passes in a new crate, and fails if a layer gets slower."""

import re
from pathlib import Path

import pytest

from fast_rust.perf.counting import read_counts
from support.workshop import Workshop

# The planted code runs for every request, and is easy to overlook in a review. Both regressions are planted at once,
# since a build takes a minute: a bench without the layer of one regression grows by the other one only.
REGRESSIONS = {
    "limits": (
        "server/src/record.rs",
        "            let id = request_id(request.headers());\n",
        "            std::hint::black_box(request.headers().clone());\n",
    ),
    "record": (
        "server/src/limits.rs",
        "        let Ok(running) = self.0.running.clone().try_acquire_owned() else {\n",
        '        std::hint::black_box((0..3).map(|_| format!("{:?}", request.uri())).count());\n',
    ),
}
BENCH = ("cargo", "bench", "--workspace", "--bench", "request_instructions")


@pytest.fixture(scope="module")
def crate(workshop: Workshop) -> Path:
    """The crate whose benches the test of the CI step has built."""
    return workshop.ready("service")


def test_a_service_stays_within_its_limits(workshop: Workshop, crate: Path, tmp_path: Path) -> None:
    """The recipe of CI measures all layers together, and with each layer left out."""
    printed = workshop.run(crate, "just", "instructions", GUNGRAUN_SAVE_SUMMARY="json", GUNGRAUN_HOME=str(tmp_path))
    measured = set(re.findall(r"requests::(\w+ \w+):", printed))
    layers = {f"{bench} without_{layer}" for bench in ("empty", "of_64_kib") for layer in ("limits", "log", "record")}
    expected = {"empty all_layers", "of_64_kib all_layers", "counted metrics"} | layers
    assert expected <= measured
    # `just perf` compares these figures.
    counted = read_counts(tmp_path, (), many=False).figures
    assert {f"request_instructions::requests::{bench}" for bench in expected} <= counted.keys()
    assert min(figures["instructions"] for figures in counted.values()) > 0


def test_a_layer_that_gets_slower_is_rejected(workshop: Workshop, crate: Path) -> None:
    """The exit code of gungraun is the one for a regression, not for a failed build."""
    before = {crate / name: (crate / name).read_text(encoding="utf-8") for name, *_ in REGRESSIONS.values()}
    try:
        for name, line, planted in REGRESSIONS.values():
            text = before[crate / name]
            assert text.count(line) == 1
            (crate / name).write_text(text.replace(line, planted + line), encoding="utf-8")
        # Only requests without a body, since callgrind takes a second for each bench.
        done = workshop.try_to(crate, *BENCH, GUNGRAUN_FILTER="*::empty::without_*")
    finally:
        for path, text in before.items():
            path.write_text(text, encoding="utf-8")
    assert done.returncode != 0
    benches = re.split(r"(?m)^\S*requests::(\w+ \w+):", done.stdout)[1:]
    reports = dict(zip(benches[::2], benches[1::2], strict=True))
    for layer in REGRESSIONS:
        report = reports[f"empty without_{layer}"]
        assert re.search(r"(Instructions|Total blocks) \(\d+\) exceeds limit", report), report[-2_000:]
