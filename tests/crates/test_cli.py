"""The program of the sample, built in its release profile, on real files."""

import contextlib
import csv
import fcntl
import json
import os
import pty
import random
import re
import struct
import subprocess
import termios
from collections import defaultdict
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import pytest

from support.git import git
from support.variants import CHECKOUT

FULL = b"error: cannot write to standard output: No space left on device (os error 28)\n"

Totals = dict[str, tuple[int, Decimal, Decimal, Decimal]]


def aggregate(lines: list[str]) -> Totals:
    """Compute count, minimum, mean and maximum of each key with Python's decimals."""
    values: dict[str, list[Decimal]] = defaultdict(list)
    for line in lines:
        key, value = line.split(";")
        values[key].append(Decimal(value))
    fourth = Decimal("0.0001")
    return {
        key: (
            len(of_key),
            min(of_key),
            (sum(of_key, Decimal()) / len(of_key)).quantize(fourth, ROUND_HALF_UP),
            max(of_key),
        )
        for key, of_key in values.items()
    }


def run(program: Path, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run the program until it exits."""
    return subprocess.run([program, *arguments], input=stdin, capture_output=True, check=False, timeout=60)


def run_into(output: int, program: Path, *arguments: str, stdin: bytes = b"") -> tuple[int, bytes]:
    """Run the program with a descriptor as its output, and close the descriptor; return exit code and errors."""
    command: list[str | Path] = [program, *arguments]
    with os.fdopen(output, "wb"):
        done = subprocess.run(command, input=stdin, stdout=output, stderr=subprocess.PIPE, check=False, timeout=60)
    return done.returncode, done.stderr


def without_reader() -> int:
    """Return the end of a pipe whose reader has left, as `| head` does."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def full_disk() -> int:
    """Return a descriptor on which each write fails with `FULL`."""
    return os.open("/dev/full", os.O_WRONLY)


def run_on_terminal(program: Path, *arguments: str | Path, **environment: str) -> bytes:
    """Run the program with a terminal for its output and errors, and return the text of the terminal."""
    shown, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    unset = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "CLICOLOR_FORCE", "CI")}
    environment = {**unset, "TERM": "xterm-256color", **environment}
    command: list[str | Path] = [program, *arguments]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=terminal, stderr=terminal, env=environment
    ) as process:
        os.close(terminal)
        output = b""
        # Linux ends the output of a terminal with an error.
        with contextlib.suppress(OSError):
            while piece := os.read(shown, 65_536):
                output += piece
        assert process.wait(timeout=60) in (0, 2)
    os.close(shown)
    return output


def totals(output: bytes) -> Totals:
    """Read the JSON output with all digits."""
    rows = json.loads(output, parse_float=Decimal, parse_int=Decimal)
    return {row["key"]: (int(row["count"]), row["min"], row["mean"], row["max"]) for row in rows}


@pytest.fixture(scope="module")
def lines() -> list[str]:
    """Return a million lines with every form that a line may have."""
    chance = random.Random(7)
    keys = [f"{name}-{number}" for name in ("oslo", "são paulo", "東京") for number in range(150)]
    return [
        f"{chance.choice(keys)};{chance.randint(-(10**7), 10**7) / 10 ** chance.randint(0, 4):.{chance.randint(1, 4)}f}"
        for _ in range(1_000_000)
    ]


@pytest.fixture(scope="module")
def measurements(lines: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with these lines."""
    path = tmp_path_factory.mktemp("input") / "measurements.txt"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


@pytest.mark.parametrize("threads", ["1", "2", "5"])
def test_it_agrees_with_python_on_a_million_lines_to_the_last_digit(
    cli_binary: Path, measurements: Path, lines: list[str], threads: str
) -> None:
    """For any number of threads."""
    done = run(cli_binary, "--format", "json", "--threads", threads, str(measurements))
    assert (done.returncode, done.stderr) == (0, b"")
    assert totals(done.stdout) == aggregate(lines)


def test_it_reads_standard_input_and_several_files_as_one_input(cli_binary: Path, tmp_path: Path) -> None:
    """The argument `-` is standard input."""
    (tmp_path / "more").write_bytes(b"a;3\r\n\r\nb;1.5")
    done = run(cli_binary, "--format", "json", "-", str(tmp_path / "more"), stdin=b"a;1")
    assert totals(done.stdout) == aggregate(["a;1", "a;3", "b;1.5"])


def test_all_formats_have_the_same_rows(cli_binary: Path) -> None:
    """The table is for people; JSON and CSV are for programs."""
    stdin = b'x;1\n"quoted, key";-2.5\nx;2\n'
    expected = [['"quoted, key"', "1", "-2.5", "-2.5", "-2.5"], ["x", "2", "1", "1.5", "2"]]
    as_csv = run(cli_binary, "--format", "csv", stdin=stdin).stdout.decode().splitlines()
    table = run(cli_binary, stdin=stdin).stdout.decode().splitlines()
    as_json = json.loads(run(cli_binary, "--format", "json", stdin=stdin).stdout, parse_float=str, parse_int=str)
    assert list(csv.reader(as_csv))[1:] == expected
    assert [line.rsplit(maxsplit=4) for line in table][1:] == expected
    assert [list(row.values()) for row in as_json] == expected


def test_a_key_does_not_control_the_terminal(cli_binary: Path) -> None:
    table = run(cli_binary, stdin=b"\x1b[31mred\x07;1\n").stdout.decode()
    assert table.splitlines()[1].split()[0] == "\ufffd[31mred\ufffd"


def test_bytes_that_are_not_utf_8_stay_in_csv_and_are_marked_in_json(cli_binary: Path) -> None:
    """JSON strings cannot contain such bytes."""
    assert b"\ncaf\xe9,1,2,2,2\n" in run(cli_binary, "--format", "csv", stdin=b"caf\xe9;2").stdout
    assert list(totals(run(cli_binary, "--format", "json", stdin=b"caf\xe9;2").stdout)) == ["caf\ufffd"]


def test_an_empty_input_gives_no_rows_and_no_error(cli_binary: Path) -> None:
    """The program exits with code 0."""
    done = run(cli_binary, "--format", "json")
    assert (done.returncode, json.loads(done.stdout)) == (0, [])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"no separator", b"expected `;` between a key and a value"),
        (b";1", b"expected a key before `;`"),
        (b"a;1.23456", b"expected a decimal with at most four fraction digits after `;`"),
        (b"a;99999999999999999999", b"expected a value between -922337203685477.5808 and 922337203685477.5807"),
        (b"a" * 2_000_000, b"expected at most 1048576 bytes before the end of the line"),
    ],
)
def test_a_malformed_line_is_reported(cli_binary: Path, tmp_path: Path, line: bytes, expected: bytes) -> None:
    """The error names the file, the line number and the expected form; the program prints nothing else."""
    path = tmp_path / "faulty.txt"
    path.write_bytes(b"a;1\n\n" + line + b"\na;2\n")
    done = run(cli_binary, str(path))
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"error: %s: line 3: %s\n" % (os.fsencode(path), expected)


def test_a_missing_file_is_reported(cli_binary: Path, tmp_path: Path) -> None:
    """The error has the reason that the system gives."""
    done = run(cli_binary, str(tmp_path / "none"))
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.startswith(b"error: %s: cannot read the input: No such file" % os.fsencode(tmp_path / "none"))


@pytest.mark.parametrize(
    ("flag", "message"),
    [("--max-keys", b"more than 2 distinct keys"), ("--max-key-bytes", b"more than 2 bytes of distinct keys")],
)
def test_too_many_keys_are_refused(cli_binary: Path, flag: str, message: bytes) -> None:
    """The limit on keys, which the user sets, bounds the memory."""
    assert run(cli_binary, flag, "2", stdin=b"a;1\nb;1\na;2\n").returncode == 0
    done = run(cli_binary, flag, "2", stdin=b"a;1\nb;1\nc;1\n")
    assert (done.returncode, done.stdout) == (1, b"")
    assert message in done.stderr


@pytest.mark.parametrize("keys", [1, 100_000])
@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_a_closed_pipe_is_not_an_error(cli_binary: Path, form: str, keys: int) -> None:
    """For example with `| head -1`, even if the last flush is the first write that fails."""
    lines = b"".join(b"key-%d;1\n" % key for key in range(keys))
    assert run_into(without_reader(), cli_binary, "--format", form, stdin=lines) == (0, b"")


def test_a_closed_named_pipe_is_not_an_error(cli_binary: Path, tmp_path: Path) -> None:
    """The same applies to a named pipe as to standard output."""
    lines, pipe = tmp_path / "lines", tmp_path / "pipe"
    lines.write_bytes(b"".join(b"key-%d;1\n" % key for key in range(100_000)))
    os.mkfifo(pipe)
    with subprocess.Popen([cli_binary, "--output", pipe, lines], stderr=subprocess.PIPE) as process:
        with pipe.open("rb") as reader:
            assert reader.read(3) == b"key"
        assert (process.wait(timeout=60), process.communicate()[1]) == (0, b"")


@pytest.mark.parametrize("keys", [1, 100_000])
@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_a_full_disk_is_an_error(cli_binary: Path, form: str, keys: int) -> None:
    """The program reports it even if the last flush is the first write that fails."""
    lines = b"".join(b"key-%d;1\n" % key for key in range(keys))
    assert run_into(full_disk(), cli_binary, "--format", form, stdin=lines) == (1, FULL)


def test_a_dash_is_standard_output(cli_binary: Path, tmp_path: Path) -> None:
    """The argument `-` of `--output` is standard output, as `-` is standard input for an input."""
    done = subprocess.run([cli_binary, "-o", "-"], cwd=tmp_path, input=b"a;1", capture_output=True, check=True)
    assert done.stdout.startswith(b"key")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fault", ["of the input", "of the disk"])
def test_an_output_file_is_replaced_atomically(cli_binary: Path, tmp_path: Path, fault: str) -> None:
    """After an error the old file is unchanged, and the program leaves no other file."""
    output, lines = tmp_path / "totals.csv", b"".join(b"key-%d;1\n" % key for key in range(10_000))
    assert run(cli_binary, "--format", "csv", "--output", str(output), stdin=b"a;1").returncode == 0
    output.chmod(0o640)
    command: list[str | Path] = [cli_binary, "--output", output]
    if fault == "of the input":
        lines += b"no record"
    else:
        command = ["sh", "-c", 'trap "" XFSZ; ulimit -f 8; exec "$@"', "sh", *command]
    assert subprocess.run(command, input=lines, capture_output=True, check=False).returncode == 1
    assert output.read_bytes() == b"key,count,min,mean,max\na,1,1,1,1\n"
    assert list(tmp_path.iterdir()) == [output]


def test_an_output_file_keeps_its_permissions(cli_binary: Path, tmp_path: Path) -> None:
    """A new file gets the permissions of any new file."""
    old, new, usual = tmp_path / "old", tmp_path / "new", tmp_path / "usual"
    old.touch()
    old.chmod(0o604)
    usual.touch()
    before = old.stat().st_ino
    for output in (old, new):
        assert run(cli_binary, "--output", str(output), stdin=b"a;1").returncode == 0
    assert (old.stat().st_mode & 0o777, new.stat().st_mode) == (0o604, usual.stat().st_mode)
    assert old.stat().st_ino != before


def test_an_output_that_is_not_a_regular_file_is_written_in_place(cli_binary: Path, tmp_path: Path) -> None:
    """The output is the target of a symlink, or the device of standard output."""
    link, target = tmp_path / "link", tmp_path / "target"
    target.write_bytes(b"old" * 100)
    link.symlink_to("target")
    assert run(cli_binary, "--output", str(link), stdin=b"a;1").returncode == 0
    assert link.is_symlink()
    assert target.read_bytes() == run(cli_binary, stdin=b"a;1").stdout
    assert run(cli_binary, "--output", "/dev/stdout", stdin=b"a;1").stdout == target.read_bytes()


@pytest.mark.parametrize(
    "arguments", [["--threads", "0"], ["--threads", "1025"], ["--format", "xml"], ["-q", "-v"], ["--none"]]
)
def test_an_invalid_command_line_is_rejected(cli_binary: Path, arguments: list[str]) -> None:
    """The exit code is 2, as the help says."""
    done = run(cli_binary, *arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"--help" in done.stderr


def test_it_prints_help_completions_manual_page_and_version(cli_binary: Path) -> None:
    """The program prints help with exit codes, completions, a manual page, and a version with its commit."""
    assert b"Exit codes:" in run(cli_binary, "--help").stdout
    assert b"complete -F" in run(cli_binary, "--completions", "bash").stdout
    assert b".SH OPTIONS" in run(cli_binary, "--manual").stdout
    assert re.fullmatch(rb"totals-cli 0\.1\.0 \([0-9a-f]+\)\n", run(cli_binary, "--version").stdout)


def test_a_version_has_no_commit_of_a_repository_that_does_not_track_the_crate(tmp_path: Path) -> None:
    """For example the repository around a vendored copy."""
    compile_it = ["rustc", str(CHECKOUT / "template" / "build.rs"), "-o", str(tmp_path / "build")]
    subprocess.run(compile_it, check=True, env=os.environ | {"CARGO_PKG_VERSION": "0.1.0"})
    crate = tmp_path / "repository" / "vendor"
    crate.mkdir(parents=True)
    (crate / "build.rs").touch()
    git(tmp_path / "repository", "init", "--quiet")
    git(tmp_path / "repository", "commit", "--quiet", "--allow-empty", "--message", "Begin")

    def version() -> str:
        printed = subprocess.run([tmp_path / "build"], cwd=crate, check=True, stdout=subprocess.PIPE, text=True).stdout
        return printed.splitlines()[0].removeprefix("cargo::rustc-env=VERSION_WITH_COMMIT=")

    assert version() == "0.1.0"
    git(tmp_path / "repository", "add", "vendor")
    assert re.fullmatch(r"0\.1\.0 \([0-9a-f]{10}\)", version())


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["--manual"],
        *(["--completions", shell] for shell in ("bash", "elvish", "fish", "powershell", "zsh")),
    ],
)
def test_a_description_that_cannot_be_written_is_an_error(cli_binary: Path, arguments: list[str]) -> None:
    """The program does not panic; a closed pipe is not an error."""
    assert run_into(full_disk(), cli_binary, *arguments) == (1, FULL)
    assert run_into(without_reader(), cli_binary, *arguments) == (0, b"")


def test_verbose_logs_more_and_quiet_logs_nothing(cli_binary: Path) -> None:
    """Logs go to standard error, so that the output stays clean."""
    assert b"aggregated" in run(cli_binary, "-v", stdin=b"a;1").stderr
    assert run(cli_binary, "-q", stdin=b"a;1").stderr == b""


@pytest.mark.parametrize("arguments", [["-v"], ["--help"], ["--none"]])
def test_colors_follow_the_flag_the_environment_and_the_terminal(
    cli_binary: Path, tmp_path: Path, arguments: list[str]
) -> None:
    """This applies to the colors of logs, help and errors."""
    path = tmp_path / "lines"
    path.write_bytes(b"a;1\n" * 1_000_000)

    def is_colored(*more: str, **environment: str) -> bool:
        shown = run_on_terminal(cli_binary, *arguments, *more, path, **environment)
        return re.search(rb"\x1b\[[0-9;]*m", shown) is not None

    assert is_colored()
    assert is_colored("--color=always", NO_COLOR="1", TERM="dumb")
    assert not is_colored(NO_COLOR="1")
    assert not is_colored("--color", "never")
    assert not is_colored("--color=never", CLICOLOR_FORCE="1")
    assert b"\x1b" not in run_on_terminal(cli_binary, *arguments, path, TERM="dumb")
    piped = run(cli_binary, *arguments, "--color", "always", str(path))
    assert b"\x1b[" in piped.stdout + piped.stderr
    assert b"\x1b" not in run(cli_binary, *arguments, str(path)).stderr


def test_events_do_not_break_the_progress_bar(cli_binary: Path, tmp_path: Path) -> None:
    """Each event begins on a separate line, and the bar is gone at the end."""
    paths = [tmp_path / name for name in "abcd"]
    for path in paths:
        path.write_bytes(b"a;1\n" * 2_000_000)
    shown = run_on_terminal(cli_binary, "-v", "--color=never", *paths)
    assert b"B/s" in shown
    rows = re.split(rb"\n|\r|\x1b\[2K|\x1b\[[0-9]*A", shown)
    events = [row for row in rows if b"aggregated" in row]
    assert len(events) == 4
    assert all(re.match(rb"\d{4}-", row) for row in events), events
    assert shown.rindex(b"\x1b[2K") > shown.rindex(b"B/s")
