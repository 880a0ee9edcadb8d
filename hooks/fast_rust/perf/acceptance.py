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
        return "", f"The label {LABEL} is there; the text has no line `perf: accepted because REASON`."
    if reason:
        return "", f"The reason is there; a maintainer has not set the label {LABEL}."
    return "", f"To accept it: a maintainer's label {LABEL}, and a line `perf: accepted because REASON` in the text."


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
