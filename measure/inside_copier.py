"""Runs the `copier` command in this process, and prints its time by part, as JSON in the last line of standard error.

Seconds, each counted once: `import` of Copier and all that it needs; `git`, and waiting for it; `templates`, compiling
and rendering; `folders`, removing temporary ones; `rest`. `processes` is how many times git was started.
"""

import functools
import json
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

STARTED = time.perf_counter()


class Watch:
    """Assigns each moment to a part of the work: to the innermost function that is watched."""

    def __init__(self) -> None:
        self.spent: defaultdict[str, float] = defaultdict(float)
        self.calls: defaultdict[str, int] = defaultdict(int)
        self.parts = ["import"]
        self.since = STARTED

    def turn(self) -> None:
        """Add the time since the last turn to the current part."""
        now = time.perf_counter()
        self.spent[self.parts[-1]] += now - self.since
        self.since = now

    def function(self, owner: Any, name: str, part: str) -> None:  # noqa: ANN401  A module or a class.
        """Measure a function under the name of a part."""
        function: Callable[..., Any] = getattr(owner, name)

        @functools.wraps(function)
        def watched(*arguments: object, **options: object) -> Any:  # noqa: ANN401  The type of the result.
            self.turn()
            self.parts.append(part)
            self.calls[name] += 1
            try:
                return function(*arguments, **options)
            finally:
                self.turn()
                self.parts.pop()

        setattr(owner, name, watched)


def main() -> None:
    """Watch the functions, and run the command with our arguments."""
    watch = Watch()
    for method in ("__init__", "communicate", "wait"):
        watch.function(subprocess.Popen, method, "git")
    # Must run before Copier is imported, since Copier imports some of these by name.
    watch.function(shutil, "rmtree", "folders")
    import jinja2  # noqa: PLC0415  It counts for the import.

    for owner, method in ((jinja2.Environment, "compile"), (jinja2.Template, "render")):
        watch.function(owner, method, "templates")
    [script] = entry_points(group="console_scripts", name="copier")
    run = script.load()
    watch.turn()
    watch.parts = ["rest"]
    sys.argv[0] = "copier"
    try:
        run()
    finally:
        watch.turn()
        print(json.dumps({**watch.spent, "processes": watch.calls["__init__"]}), file=sys.stderr)


if __name__ == "__main__":
    main()
