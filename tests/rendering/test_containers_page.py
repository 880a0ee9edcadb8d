"""The manifests in docs/containers.md satisfy the schemas of Kubernetes, and fit the defaults of a service."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.variants import CHECKOUT

PAGE = (CHECKOUT / "docs" / "containers.md").read_text(encoding="utf-8")
[RESOURCES] = re.findall(r"(?ms)^```yaml\n(.*?)^```$", PAGE)
CONFIG = (CHECKOUT / "template" / "src" / "config.rs.jinja").read_text(encoding="utf-8")
# Minimum memory of a program in addition to the bodies and responses of its requests; and the time to flush its log.
OWN_MEBIBYTES = 64
LAST_SECONDS = 2


def default(setting: str, unit: str) -> int:
    """Return the default of a flag of the service."""
    found = re.search(rf'default_value = "(\d+){unit}", value_parser = \w+\)\]\n    pub {setting}:', CONFIG)
    assert found, setting
    return int(found[1])


def pod(resources: str) -> dict[str, Any]:
    """Return the pod of the Deployment."""
    found: dict[str, Any] = next(one for one in yaml.safe_load_all(resources) if one["kind"] == "Deployment")["spec"][
        "template"
    ]["spec"]
    return found


def misfits(resources: str) -> list[str]:
    """Return the names of resources that do not fit the defaults of the service."""
    spec = pod(resources)
    [container] = spec["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    probes = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    drain = default("drain_grace", "s") + default("drain_cap", "s")
    memory = int(container["resources"]["limits"]["memory"].removesuffix("Mi"))
    fits = {
        "grace": spec["terminationGracePeriodSeconds"] >= drain + LAST_SECONDS,
        "memory": memory >= default("in_flight_limit", "MiB") + OWN_MEBIBYTES,
        "ports": ports == {"http": 8080, "admin": 9090},
        "liveness": probes["startup"] == probes["liveness"] == {"path": "/healthz", "port": "admin"},
        "readiness": probes["readiness"] == {"path": "/readyz", "port": "http"},
        "read-only": container["securityContext"]["readOnlyRootFilesystem"] and spec["securityContext"]["runAsNonRoot"],
    }
    return [name for name, is_met in fits.items() if not is_met]


def complaints(resources: str, folder: Path) -> str:
    """Return the errors that the schemas of Kubernetes report."""
    (folder / "resources.yml").write_text(resources, encoding="utf-8")
    program = Path(sys.executable).with_name("kubernetes-validate")
    done = subprocess.run([program, "--strict", folder / "resources.yml"], check=False, capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_the_resources_satisfy_the_schemas(tmp_path: Path) -> None:
    assert complaints(RESOURCES, tmp_path) == ""


@pytest.mark.parametrize(
    ("field", "misspelt"),
    [
        ("readinessProbe", "readynessProbe"),
        ("maxUnavailable", "maxUnavailible"),
        ("automountServiceAccountToken", "automountServiceToken"),
    ],
)
def test_a_misspelt_field_is_rejected(tmp_path: Path, field: str, misspelt: str) -> None:
    assert misspelt in complaints(RESOURCES.replace(field, misspelt), tmp_path)


def test_the_resources_fit_the_service() -> None:
    assert misfits(RESOURCES) == []


@pytest.mark.parametrize(
    ("old", "new", "misfit"),
    [
        ("terminationGracePeriodSeconds: 30", "terminationGracePeriodSeconds: 27", "grace"),
        ("memory: 256Mi", "memory: 128Mi", "memory"),
        ("containerPort: 9090", "containerPort: 9091", "ports"),
        ("/healthz, port: admin", "/healthz, port: http", "liveness"),
        ("/readyz", "/healthz", "readiness"),
        ("readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "read-only"),
    ],
)
def test_resources_that_do_not_fit_are_detected(old: str, new: str, misfit: str) -> None:
    assert old in RESOURCES
    assert misfits(RESOURCES.replace(old, new)) == [misfit]
