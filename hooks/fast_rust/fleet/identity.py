"""Whether a release accepts the identity of a crate, by the validators of its questions."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import yaml
from jinja2 import FunctionLoader, Template, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from fast_rust.owned import IDENTITY
from fast_rust.releases import Repository

FILTERS = "jinja2_ansible_filters.AnsibleCoreFiltersExtension"


def accepts_identity(repository: Repository, release: str, choices: Mapping[str, Any]) -> bool:
    """Return whether a release certainly accepts the identity in a crate's answers; Copier has to decide otherwise."""
    validators = _validators(repository, release)
    given = {name: choices[name] for name in IDENTITY if name in choices}
    if not all(isinstance(answer, str) for answer in given.values()):
        return False
    try:
        return not any(validators[name].render(choices).strip() for name in given if name in validators)
    except (TemplateError, TypeError, ValueError):
        return False


@cache
def _validators(repository: Repository, release: str) -> dict[str, Template]:
    """Return the validators of the identity's questions, with the filters that Copier has."""
    environment = SandboxedEnvironment(
        loader=FunctionLoader(lambda name: repository.text(release, name)),
        extensions=[FILTERS],
    )
    found = {}
    for document in yaml.safe_load_all(repository.text(release, "copier.yml")):
        for name in IDENTITY:
            question = (document or {}).get(name)
            if isinstance(question, dict) and question.get("validator"):
                found[name] = environment.from_string(str(question["validator"]))
    return found
