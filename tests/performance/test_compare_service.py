"""The script that writes docs/compare-service.md works; its figures need an idle machine."""

import shutil
from pathlib import Path

import pytest

import service
from support.workshop import QUICK_BUILDS, Workshop

WRK = """
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   105.51us   82.93us   3.25ms   98.11%
  Latency Distribution
     50%   98.00us
     75%    1.10ms
     90%    1.20s
     99%    2.50ms
  12345 requests in 1.00s, 1.41MB read
Requests/sec:  12345.67
"""


def test_the_output_of_wrk_is_converted_to_one_unit() -> None:
    assert service.read_wrk(WRK, cpu=24_690) == service.Round(12345.67, 2.0, 0.098, 2.5)


def test_a_round_with_failed_requests_is_rejected() -> None:
    """Error responses are fast, and would improve the figures."""
    with pytest.raises(SystemExit, match="Non-2xx"):
        service.read_wrk(WRK + "  Non-2xx or 3xx responses: 3\n", cpu=1)


def test_all_servers_answer_every_request(workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On both routes, at both log levels, for a second each; without optimisation, since no figure is kept."""
    if missing := [tool for tool in ("wrk", "taskset") if not shutil.which(tool)]:
        pytest.skip(f"NOT TESTED: measure/service.py needs {' and '.join(missing)} (Debian: apt-get install wrk)")
    monkeypatch.setattr(service, "SCRATCH", tmp_path)
    for name in (*QUICK_BUILDS, "CARGO_TARGET_DIR"):
        monkeypatch.setenv(name, workshop.environment[name])
    servers = service.make_servers(tmp_path, profile="dev")
    for path in service.SCRIPTS:
        for level in service.LEVELS:
            seen = service.compare(servers, path, level, rounds=1, seconds=1)
            row = service.rate_row(path, level, seen)
            assert len(row) == len(service.HEADS)
            assert min(one.rate for side in seen.values() for one in side) > 0
