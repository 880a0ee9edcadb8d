"""What a request costs in a service is held: the bench is green as it is made, and red where a layer grows."""

import re
from pathlib import Path

import pytest

from fast_rust.perf.counting import read_counts
from support.workshop import Workshop

# The faults stand where every request passes, and are of the kind that a review overlooks. Both are planted at once,
# since a build takes a minute: the bench without the layer of one grows by the other alone.
FAULTS = {
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
    """The one whose benches CI's own step has built."""
    return workshop.ready("service")


def test_a_service_keeps_to_its_limits(workshop: Workshop, crate: Path, tmp_path: Path) -> None:
    """By the recipe that CI runs, with every layer, and without each."""
    printed = workshop.run(crate, "just", "instructions", GUNGRAUN_SAVE_SUMMARY="json", GUNGRAUN_HOME=str(tmp_path))
    measured = set(re.findall(r"requests::(\w+ \w+):", printed))
    layers = {f"{bench} without_{layer}" for bench in ("empty", "of_64_kib") for layer in ("limits", "log", "record")}
    expected = {"empty all_layers", "of_64_kib all_layers", "counted metrics"} | layers
    assert expected <= measured
    # These are what `just perf` compares.
    counted = read_counts(tmp_path, (), many=False).figures
    assert {f"request_instructions::requests::{bench}" for bench in expected} <= counted.keys()
    assert min(figures["instructions"] for figures in counted.values()) > 0


def test_a_layer_that_grows_is_refused(workshop: Workshop, crate: Path) -> None:
    """With the exit code of gungraun for a regression, not that of a failure to build."""
    before = {crate / name: (crate / name).read_text(encoding="utf-8") for name, *_ in FAULTS.values()}
    try:
        for name, line, planted in FAULTS.values():
            text = before[crate / name]
            assert text.count(line) == 1
            (crate / name).write_text(text.replace(line, planted + line), encoding="utf-8")
        # Of a request without a body, since callgrind takes a second for each bench.
        done = workshop.try_to(crate, *BENCH, GUNGRAUN_FILTER="*::empty::without_*")
    finally:
        for path, text in before.items():
            path.write_text(text, encoding="utf-8")
    assert done.returncode != 0
    benches = re.split(r"(?m)^\S*requests::(\w+ \w+):", done.stdout)[1:]
    said = dict(zip(benches[::2], benches[1::2], strict=True))
    for layer in FAULTS:
        report = said[f"empty without_{layer}"]
        assert re.search(r"(Instructions|Total blocks) \(\d+\) exceeds limit", report), report[-2_000:]
