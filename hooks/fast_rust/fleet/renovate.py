"""A preset for Renovate: when it may update which repository of a fleet."""

import re
from collections.abc import Iterator
from typing import Any

from fast_rust.fleet.manifest import Crate, Manifest

# https://host/acme/orders.git, ssh://git@host/acme/orders, git@host:acme/orders
ADDRESS = re.compile(r"(?:\w+://[^/]+/|[^/:]+@[^/:]+:)(.+?)(?:\.git)?/?$")
SCHEMA = "https://docs.renovatebot.com/renovate-schema.json"


def preset(manifest: Manifest) -> dict[str, Any]:
    """Return a preset for all repositories of a manifest: a rule for each ring, and for each frozen crate."""
    return {
        "$schema": SCHEMA,
        "description": "Updates of the template, ring by ring; written by `fast-rust fleet renovate`.",
        "packageRules": list(_rules(manifest)),
    }


def _rules(manifest: Manifest) -> Iterator[dict[str, Any]]:
    managers = {"matchManagers": ["copier"]}
    for name, ring in manifest.rings.items():
        if repositories := _repositories(crate for crate in manifest.crates if crate.ring == name):
            yield {
                "description": f"Ring {name}.",
                **managers,
                "matchRepositories": repositories,
                "schedule": list(ring.schedule),
                "addLabels": [f"ring-{name}"],
            }
    for crate in manifest.crates:
        if crate.freeze and (repositories := _repositories(iter([crate]))):
            yield {
                "description": f"Frozen: {crate.freeze}",
                **managers,
                "matchRepositories": repositories,
                # The other crates of its repository are not frozen.
                **({} if crate.subdirectory == "." else {"matchFileNames": [f"{crate.subdirectory}/*"]}),
                "enabled": False,
            }


def _repositories(crates: Iterator[Crate]) -> list[str]:
    """Return the names of repositories as their host has them, such as acme/orders."""
    found = [ADDRESS.match(crate.url) for crate in crates]
    return sorted({match[1] for match in found if match})
