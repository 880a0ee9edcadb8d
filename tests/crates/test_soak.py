"""Smaller loads of `make soak`: the service withstands each load, and each load detects its kind of bug."""

import asyncio
import socket
from contextlib import closing
from pathlib import Path

import pytest

import soak
from soak import PHASES, QUICK, Phase, Scale, Seen, Service, SoakError


@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.name)
def test_the_service_withstands_the_load(phase: Phase, service_binary: Path) -> None:
    name, statuses, *_ = soak.run(phase, service_binary, QUICK)
    assert name == phase.name
    assert " x 200" in statuses


def test_requests_above_the_concurrency_are_refused(service_binary: Path) -> None:
    overload, *_ = PHASES
    assert " x 503" in soak.run(overload, service_binary, QUICK)[1]


def test_no_request_is_lost_in_a_drain(service_binary: Path) -> None:
    assert " x 200" in soak.drain(service_binary, QUICK)[1]


async def killed(service: Service, seen: Seen, _: Scale) -> str:
    """Kill the service during a request."""
    with closing(soak.Client(service, seen)) as client:
        sent = asyncio.create_task(client.send(soak.post(b"a;1\n", 100)))
        await asyncio.sleep(0.2)
        service.process.kill()
        await sent
    return ""


def test_a_lost_request_is_detected(service_binary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Service, "settle", lambda _: None)
    with pytest.raises(SoakError, match="killed: 1 requests were lost"):
        soak.run(Phase("killed", killed), service_binary, QUICK)


def test_a_request_that_stays_in_use_is_detected(service_binary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "PATIENCE", 1.0)
    held: list[socket.socket] = []

    async def hold(service: Service, _: Seen, __: Scale) -> str:
        held.append(socket.create_connection(("127.0.0.1", service.port)))
        held[0].sendall(soak.post(b"a;1\n", 100))
        return ""

    with pytest.raises(SoakError, match=r"still in use after the load: .*http_server_active_requests"):
        soak.run(Phase("held", hold), service_binary, QUICK)
    held[0].close()


@pytest.mark.parametrize(
    ("name", "scale", "message"),
    [("MEMORY", QUICK, "the service took"), ("", Scale(1, 0.5, 0, 0.0), "/healthz took")],
    ids=["memory", "health"],
)
def test_an_exceeded_limit_is_detected(
    service_binary: Path, monkeypatch: pytest.MonkeyPatch, name: str, scale: Scale, message: str
) -> None:
    if name:
        monkeypatch.setattr(soak, name, 1)
    with pytest.raises(SoakError, match=message):
        soak.run(Phase("resets", soak.resets), service_binary, scale)


def test_an_unexpected_status_is_detected(service_binary: Path) -> None:
    async def malformed(service: Service, seen: Seen, _: Scale) -> str:
        with closing(soak.Client(service, seen)) as client:
            await client.send(soak.post(b"no record\n"))
        return ""

    with pytest.raises(SoakError, match="a request got the status 422"):
        soak.run(Phase("malformed", malformed), service_binary, QUICK)
