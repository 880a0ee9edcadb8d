"""Running services: a process, real sockets, real signals."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import IO, Any

from support.files import replace_only

PATIENCE = 10.0
MIB = 1024 * 1024


class Service:
    """A running service, and the events that it has logged so far."""

    def __init__(self, binary: Path, flags: tuple[str, ...], **environment: str) -> None:
        loopback = ("--address", "127.0.0.1:0", "--admin-address", "127.0.0.1:0")
        self.process = subprocess.Popen(
            [binary, *loopback, "--log-format", "json", *flags],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
        )
        self.events: list[dict[str, Any]] = []
        self.lines: list[str] = []
        self._opened = ExitStack()
        self._changed = threading.Condition()
        assert self.process.stderr is not None
        self._reader = threading.Thread(target=self._read, args=(self.process.stderr,))
        self._reader.start()
        listening = self.event(message="listening")
        self.address = _split(listening["address"])
        self.admin_address = _split(listening["admin_address"])

    def _read(self, stderr: IO[str]) -> None:
        for line in stderr:
            with self._changed:
                self.lines.append(line)
                self.events.append(json.loads(line))
                self._changed.notify_all()

    def event(self, **fields: object) -> dict[str, Any]:
        """Wait for an event that has all these fields."""

        def find() -> dict[str, Any] | None:
            matching = (e for e in self.events if fields.items() <= e.items())
            return next(matching, None)

        with self._changed:
            found = self._changed.wait_for(find, PATIENCE)
        assert found, f"no event {fields} in {self.events}"
        return found

    @contextmanager
    def unread_log(self) -> Iterator[None]:
        """Leave the service's log unread for a while."""
        with self._changed:
            yield

    def connect(self) -> HTTPConnection:
        return self._opened.enter_context(closing(HTTPConnection(*self.address, timeout=PATIENCE)))

    def stream(self) -> socket.socket:
        return self._opened.enter_context(socket.create_connection(self.address, timeout=PATIENCE))

    def request(self, method: str, path: str, body: bytes | Iterator[bytes] | None = None, **headers: str) -> Answer:
        connection = self.connect()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body=body, headers=named)
        return Answer.read(connection.getresponse())

    def ask_admin(self, path: str) -> Answer:
        with closing(HTTPConnection(*self.admin_address, timeout=PATIENCE)) as connection:
            connection.request("GET", path)
            return Answer.read(connection.getresponse())

    def metrics(self) -> str:
        return self.ask_admin("/metrics").body.decode()

    def held(self, length: int = 100) -> socket.socket:
        """Send a request with an incomplete body; the service is known to be handling it."""
        held = self.stream()
        held.sendall(head_of(length) + b"a;1\n")
        return held

    def wait_in_flight(self, count: int) -> None:
        eventually(lambda: f"http_server_active_requests {count}\n" in self.metrics())

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def exit_code(self) -> int:
        code = self.process.wait(PATIENCE)
        self._reader.join()
        return code

    def close(self) -> None:
        self._opened.close()
        with self.process:
            self.process.kill()
            # The reader ends with the process, and the pipe is closed only then.
            self._reader.join()


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @classmethod
    def read(cls, response: HTTPResponse) -> Answer:
        return cls(response.status, response.headers, response.read())

    @classmethod
    def on(cls, stream: socket.socket) -> Answer:
        with closing(HTTPResponse(stream)) as response:
            response.begin()
            return cls.read(response)

    @property
    def error(self) -> dict[str, Any]:
        assert self.headers["content-type"] == "application/json"
        error: dict[str, Any] = json.loads(self.body)["error"]
        assert error["message"]
        return error


Start = Callable[..., Service]


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


def head_of(length: int) -> bytes:
    return b"POST /aggregate HTTP/1.1\r\nhost: test\r\ncontent-length: %d\r\n\r\n" % length


def eventually(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "did not come true"
        time.sleep(0.01)


def run_to_end(binary: Path, *flags: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program until it exits."""
    return subprocess.run(
        [binary, *flags],
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=os.environ | environment,
    )


def add_routes(crate: Path, routes: str) -> None:
    """Add a module `probe` with routes, and its dependencies, to a service."""
    file = crate / "src" / "routes.rs"
    replace_only(file, "post(aggregate))", "post(aggregate)).merge(probe::routes())")
    file.write_text(file.read_text(encoding="utf-8") + routes, encoding="utf-8")
    used = 'futures-util = { version = "0.3", default-features = false }\n'
    replace_only(crate / "Cargo.toml", "\n[dependencies]\n", f"\n[dependencies]\n{used}")
