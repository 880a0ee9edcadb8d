"""The Containerfile of a crate builds, and its image has what a container needs."""

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml

from support.containerfile import Builder, Stage, instructions, words
from support.exhaustive import cases
from support.files import read_tree
from support.git import start_history
from support.services import PATIENCE, Service
from support.variants import CHECKOUT, Answers, Variant, all_combinations, cover
from support.workshop import QUICK_RELEASE, Workshop

CHOICES = ("kind", "place", "sample", "allocator", "cpu_level", "container", "otel")
# Cargo plans the build, for which it reads all manifests and the lockfile, but compiles nothing.
PLANNING_CARGO = """#!/bin/sh
if [ "$1" = build ]; then
    RUSTC_BOOTSTRAP=1 "$CARGO_ITSELF" "$@" -Zunstable-options --unit-graph >/dev/null || exit
    mkdir -p target/release && cp "$(command -v env)" "target/release/$PROGRAM"
else
    exec "$CARGO_ITSELF" "$@"
fi
"""


@cache
def with_an_image() -> tuple[Variant, ...]:
    """Return each combination of the answers that change an image or its build context, once."""
    found = {variant.only(CHOICES) for variant in all_combinations() if variant.answers.get("container")}
    return tuple(sorted(found, key=str))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run for a pairwise cover of the variants, or with --exhaustive for all."""
    if "variant_with_image" in metafunc.fixturenames:
        usual = sorted(cover(with_an_image()), key=str)
        metafunc.parametrize("variant_with_image", cases(metafunc, usual, with_an_image()), ids=str)


@dataclass(frozen=True)
class Images:
    """Builds images with a cargo that plans the build but does not compile."""

    workshop: Workshop
    folder: Path

    def crate(self, name: str, **answers: str | bool) -> Path:
        """Return a separate crate with a Containerfile and a lockfile."""
        crate = self.workshop.crate(name, **{**answers, "container": True})
        self.workshop.run(crate, "cargo", "generate-lockfile")
        return crate

    def build(self, crate: Path) -> Stage:
        """Build the image, and check the properties that all images share."""
        programs = self.folder / "programs"
        if not programs.exists():
            programs.mkdir(parents=True)
            (programs / "cargo").write_text(PLANNING_CARGO, encoding="utf-8")
            (programs / "cargo").chmod(0o755)
        environment = {
            "CARGO_ITSELF": str(shutil.which("cargo")),
            "PROGRAM": crate.name,
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        }
        builder = Builder(crate, self.folder / crate.name, shell(self.workshop, **environment))
        return checked(builder.build((crate / "Containerfile").read_text(encoding="utf-8")))


def shell(workshop: Workshop, **environment: str) -> Callable[[Path, str], str]:
    """Return a function that runs a RUN command, with cargo's default target folder."""
    own = {name: value for name, value in workshop.environment.items() if name != "CARGO_TARGET_DIR"}
    return lambda folder, command: Workshop(workshop.template, workshop.folder, own).run(
        folder, "sh", "-c", command, **environment
    )


def checked(image: Stage) -> Stage:
    """Check that an image has its program and no other file, and that the program runs without root."""
    [program] = json.loads(image.settings["ENTRYPOINT"])
    assert list(read_tree(image.root)) == [program.lstrip("/")]
    assert os.access(image.path(program), os.X_OK)
    assert image.settings["FROM"] == "gcr.io/distroless/cc-debian13:nonroot"
    assert image.settings["USER"] == "65532:65532"
    return image


@pytest.fixture
def images(workshop: Workshop, tmp_path: Path) -> Images:
    """The images of crates of this test."""
    return Images(workshop, tmp_path)


# --- The build ---


def test_every_copy_and_run_works(images: Images, variant_with_image: Variant) -> None:
    name = f"image-{variant_with_image}".replace("_", "-").replace("-repository", "").replace("-container", "")
    image = images.build(images.crate(name, **variant_with_image.answers))
    is_service = variant_with_image.answers["kind"] == "service"
    assert ("HEALTHCHECK" in image.settings) == is_service


@pytest.mark.parametrize("kind", ["cli", "service"])
def test_a_new_hot_path_and_a_new_package_need_no_change(images: Images, kind: str) -> None:
    crate = images.crate(f"grown-{kind}", kind=kind, sample=False)
    start_history(crate)
    images.workshop.run(crate, "just", "fast-rust", "hot", "add", "parse")
    (crate / "further" / "src").mkdir(parents=True)
    (crate / "further" / "src" / "lib.rs").write_text("//! A further package.\n", encoding="utf-8")
    package = '[package]\nname = "further"\nversion = "0.1.0"\nedition = "2024"\n'
    (crate / "further" / "Cargo.toml").write_text(package, encoding="utf-8")
    manifest = (crate / "Cargo.toml").read_text(encoding="utf-8")
    further = '[dependencies]\nfurther = { path = "further" }\n'
    (crate / "Cargo.toml").write_text(manifest.replace("[dependencies]\n", further), encoding="utf-8")
    images.workshop.run(crate, "cargo", "generate-lockfile")
    images.build(crate)


@pytest.mark.parametrize(
    ("file", "old", "new", "complaint"),
    [
        ("Containerfile", "COPY . .\n", "", "Cargo.lock is missing"),
        ("Containerfile", "COPY . .\n", "COPY Cargo.toml Cargo.lock ./\nCOPY src src\n", "failed to load manifest"),
        ("Containerfile", "COPY --from=build /src/dist/{name} /usr", "#", r"\[\] == \["),
        ("Containerfile", "COPY --from=build /src/dist/{name}.debug", "COPY --from=build /src/{name}", "is not found"),
        (".dockerignore", ".git\n", ".git\nsrc\n", "can't find library"),
        (".dockerignore", ".git\n", ".git\nbench\n", "failed to load manifest"),
        (".dockerignore", ".git\n", ".git\nbench/benches\n", "can't find `aggregate` bench"),
        (".dockerignore", ".git\n", ".git\nCargo.lock\n", "run 'cargo generate-lockfile' and commit it"),
        ("Cargo.toml", 'serde_json = "1.0"\n', 'serde_json = "1.0"\nitoa = "1.0"\n', "--locked"),
    ],
)
def test_a_missing_file_is_an_error(images: Images, file: str, old: str, new: str, complaint: str) -> None:
    crate = images.crate(f"incomplete-{zlib.crc32(repr((file, old, new)).encode())}", kind="service")
    text = (crate / file).read_text(encoding="utf-8")
    old = old.format(name=crate.name)
    assert old in text
    (crate / file).write_text(text.replace(old, new.format(name=crate.name)), encoding="utf-8")
    with pytest.raises(AssertionError, match=complaint):
        images.build(crate)


def test_hadolint_has_no_finding(images: Images, variant_with_image: Variant) -> None:
    """The test ignores one rule: Debian packages have no version, because those of the base image have none either."""
    crate = images.workshop.template.rendering({"crate_name": "linted", **variant_with_image.answers})
    images.workshop.run(crate, "hadolint", "--ignore", "DL3008", "Containerfile")


@pytest.mark.parametrize("description", ["x", 'Adds $HOME & "so" \\ goes `on`'])
def test_labels_describe_the_image(images: Images, description: str) -> None:
    url = "https://github.com/acme/labelled"
    answers: Answers = {"kind": "cli", "container": True, "description": description, "repository_url": url}
    crate = images.workshop.template.rendering({"crate_name": "labelled", **answers})
    labels = dict(instructions((crate / "Containerfile").read_text(encoding="utf-8")))["LABEL"]
    assert dict(label.split("=", 1) for label in words(labels)) == {
        "org.opencontainers.image.title": "labelled",
        "org.opencontainers.image.source": url,
        "org.opencontainers.image.licenses": "MIT OR Apache-2.0",
        "org.opencontainers.image.description": description,
    }


def test_renovate_pins_the_base_images() -> None:
    """The preset of Renovate sets `docker:pinDigests`."""
    configuration = json.loads((CHECKOUT / "template" / ".github" / "renovate.json").read_text(encoding="utf-8"))
    assert "config:best-practices" in configuration["extends"]


WORKFLOW = CHECKOUT / "template" / ".github" / "workflows" / "image.yml"
# The container is healthy at the second check.
DOCKER = """#!/bin/sh
echo "docker $*" >> calls
case "$*" in
    "inspect --format {{.State.ExitCode}} service") echo "$EXIT_CODE" ;;
    inspect*) [ "$(grep -c "$*" calls)" -gt 1 ] && echo "\\"Status\\": \\"$STATUS\\"" || echo '"Status": "starting"' ;;
esac
"""


@pytest.mark.parametrize(
    ("status", "exit_code", "refused"),
    [("healthy", "0", ""), ("unhealthy", "0", "Wait"), ("healthy", "1", "Stop the service")],
)
def test_the_workflow_requires_health_and_a_clean_exit(
    workshop: Workshop, tmp_path: Path, status: str, exit_code: str, refused: str
) -> None:
    """The step runs unchanged, with a docker that only prints."""
    for name, text in (("docker", DOCKER), ("curl", "#!/bin/sh\necho curl $4 >> calls\n"), ("pipx", ""), ("just", "")):
        (tmp_path / name).write_text(text or "#!/bin/sh\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "Cargo.lock").touch()
    environment = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "STATUS": status, "EXIT_CODE": exit_code}
    failed = []
    for step in yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]["image"]["steps"]:
        command = step.get("run", "").replace("timeout 60", "timeout 3")
        if workshop.try_to(tmp_path, "bash", "-e", "-c", command, **environment).returncode:
            failed.append(step["name"])
    assert [name[: len(refused)] for name in failed] == [refused] * bool(refused)
    calls = (tmp_path / "calls").read_text(encoding="utf-8").splitlines()
    assert calls[0] == "docker build --file Containerfile --tag image ."
    assert calls[1].startswith("docker run --detach --name service --read-only")
    assert "curl http://127.0.0.1:8080/healthz" in calls


# --- The service in it ---


@dataclass(frozen=True)
class Shipped:
    """The files of the image of a service, and its symbols, which are separate."""

    image: Stage
    program: Path
    symbols: Path


@pytest.fixture(scope="module")
def shipped(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Shipped:
    """The image is built by the Containerfile, without the optimisation that takes most of the build time."""
    folder = tmp_path_factory.mktemp("image")
    images = Images(workshop, folder)
    crate = images.crate("shipped-service", kind="service")
    # Cargo also reads this file, which is above the root. The tests need only the crate's own symbols, and no fast
    # program.
    configuration = folder / "root" / ".cargo" / "config.toml"
    configuration.parent.mkdir(parents=True)
    own = f'[profile.release]\nopt-level = 0\n[profile.release.package.{crate.name}]\ndebug = "line-tables-only"\n'
    configuration.write_text(own, encoding="utf-8")
    caches = {"/src/target": Path(workshop.environment["CARGO_TARGET_DIR"])}
    builder = Builder(crate, folder / "root", shell(workshop, **QUICK_RELEASE), caches)
    image = checked(builder.build((crate / "Containerfile").read_text(encoding="utf-8")))
    symbols = builder.stages["symbols"].root / f"{crate.name}.debug"
    return Shipped(image, image.path(f"/usr/local/bin/{crate.name}"), symbols)


def test_the_program_has_function_names_but_no_lines(shipped: Shipped, workshop: Workshop) -> None:
    program, symbols = (
        workshop.run(path.parent, "readelf", "-SWn", path.name) for path in (shipped.program, shipped.symbols)
    )
    assert (".debug_line" in program, ".symtab" in program, ".gnu_debuglink" in program) == (False, True, True)
    assert ".debug_line" in symbols
    builds = {next(line for line in text.splitlines() if "Build ID" in line) for text in (program, symbols)}
    assert len(builds) == 1


def test_the_symbols_resolve_an_address_to_a_line(shipped: Shipped, workshop: Workshop) -> None:
    """The shipped program has the address of a function, and its symbols have the line."""
    listed = workshop.run(shipped.program.parent, "nm", "-C", shipped.program.name)
    [address] = [line.split()[0] for line in listed.splitlines() if line.endswith(" shipped_service::main")]
    without, line = (
        workshop.run(path.parent, "addr2line", "-e", path.name, f"0x{address}")
        for path in (shipped.program, shipped.symbols)
    )
    assert without.startswith("??")
    assert "src/main.rs:" in line


@pytest.fixture
def service(shipped: Shipped) -> Iterator[Service]:
    """The running program of the image."""
    running = Service(shipped.program, ())
    yield running
    running.close()


def health(shipped: Shipped, admin_address: str) -> tuple[int, str, float]:
    """Run the image's health check with the address in the image's variable; return exit code, message and time."""
    words_of_check = words(shipped.image.settings["HEALTHCHECK"].partition(" CMD ")[0])
    assert words_of_check == ["--interval=10s", "--timeout=3s"]
    command = json.loads(shipped.image.settings["HEALTHCHECK"].partition(" CMD ")[2])
    environment = dict(word.split("=") for word in words(shipped.image.settings["ENV"]))
    assert environment["SHIPPED_SERVICE_ADMIN_ADDRESS"] == "0.0.0.0:9090"
    environment["SHIPPED_SERVICE_ADMIN_ADDRESS"] = admin_address
    began = time.monotonic()
    done = subprocess.run(
        [shipped.image.path(command[0]), *command[1:]],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr, time.monotonic() - began


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])  # noqa: S104  It is asked, not listened on.
def test_a_running_service_is_healthy(shipped: Shipped, service: Service, address: str) -> None:
    assert health(shipped, f"{address}:{service.admin_address[1]}")[:2] == (0, "")


def test_a_draining_service_is_healthy(shipped: Shipped, service: Service) -> None:
    """Otherwise the engine would kill it before the drain ends."""
    service.terminate()
    service.event(message="draining")
    assert health(shipped, f"0.0.0.0:{service.admin_address[1]}")[:2] == (0, "")


def test_a_missing_service_is_unhealthy(shipped: Shipped) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    code, message, _ = health(shipped, address)
    assert (code, message) == (1, "error: not healthy: Connection refused (os error 111)\n")


def test_a_service_that_does_not_respond_is_soon_unhealthy(shipped: Shipped) -> None:
    """The check fails before the timeout of the container engine."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        code, message, took = health(shipped, f"127.0.0.1:{silent.getsockname()[1]}")
    assert (code, message[:20]) == (1, "error: not healthy: ")
    assert took < 3


@pytest.mark.parametrize(("status", "outcome"), [(200, (0, "")), (503, (1, "error: not healthy: HTTP/1.1 503\n"))])
@pytest.mark.parametrize(("host", "asked"), [("127.0.0.1", "127.0.0.1"), ("127.0.0.1", "0.0.0.0"), ("::1", "[::]")])  # noqa: S104
def test_the_health_check_depends_on_the_status(
    shipped: Shipped, host: str, asked: str, status: int, outcome: tuple[int, str]
) -> None:
    """The check uses loopback if the service listens on all addresses."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    class Server(HTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

    with Server((host, 0), Handler) as server:
        threading.Thread(target=server.handle_request).start()
        assert health(shipped, f"{asked}:{server.server_port}")[:2] == outcome


def test_the_first_process_of_a_container_ends_by_sigterm(shipped: Shipped) -> None:
    """The system sends it no signal without a handler; `unshare` makes such a process."""
    isolated = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child")
    if subprocess.run([*isolated, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine does not let `unshare` make a namespace of processes")
    flags = ("--address=127.0.0.1:0", "--admin-address=127.0.0.1:0", "--log-format=json", "--drain-grace=0s")
    command = [*isolated, str(shipped.program), *flags]
    # Otherwise a failed assertion would wait for a program that nothing stops.
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process, ExitStack() as ending:
        ending.callback(process.kill)
        assert process.stderr is not None
        assert "listening" in (json.loads(line)["message"] for line in process.stderr)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="utf-8")
        first = int(children)
        assert Path(f"/proc/{first}/status").read_text(encoding="utf-8").partition("NSpid:")[2].split()[1] == "1"
        os.kill(first, signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
