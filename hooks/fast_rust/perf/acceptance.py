"""Finds out whether somebody accepted what is beyond a limit."""

import json
import os
import re

LABEL = "perf-accepted"
REASON = re.compile(r"(?m)^perf: accepted because (\S.*?)\s*$")


def acceptance(argument: str) -> tuple[str, str]:
    """Return why a figure beyond its limit was accepted, or a hint at how to accept it."""
    if argument.strip():
        return argument.strip(), ""
    reason = REASON.search(_description().replace("\r", ""))
    is_labelled = LABEL in _labels()
    if is_labelled and reason:
        return reason[1], ""
    if is_labelled:
        return "", f"The pull request has the label {LABEL}, but its text has no line `perf: accepted because REASON`."
    if reason:
        return "", f"The pull request gives a reason, but a maintainer has not added the label {LABEL}."
    return "", (
        "To accept the change, write a line `perf: accepted because REASON` into the text of the pull request;"
        f" a maintainer then adds the label {LABEL}."
    )


def _description() -> str:
    """Return the description of the pull or merge request."""
    return os.environ.get("PERF_BODY") or os.environ.get("CI_MERGE_REQUEST_DESCRIPTION", "")


def _labels() -> list[str]:
    """Return the labels of the pull or merge request; GitLab separates them by commas."""
    try:
        labels = json.loads(os.environ.get("PERF_LABELS") or "[]")
    except ValueError:
        labels = []
    of_gitlab = os.environ.get("CI_MERGE_REQUEST_LABELS", "").split(",")
    return [*(labels if isinstance(labels, list) else []), *map(str.strip, of_gitlab)]
