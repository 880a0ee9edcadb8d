"""Advice reports the code that it is about, and does not report well-written code."""

from pathlib import Path

import pytest

from fast_rust.checks.findings import Severity
from fast_rust.checks.rules import run_rules

BAD = [
    (
        "iter-collect-then-count",
        """\
pub fn long_words(text: &str) -> usize {
    let words = text.split(' ').filter(|word| word.len() > 9);
    words.collect::<Vec<_>>().len()
}
""",
    ),
    (
        "iter-collect-then-count",
        """\
pub fn most_columns(lines: &[String]) -> Option<usize> {
    let columns = |line: &String| {
        let columns: Vec<&str> = line.split(',').collect();
        columns.len()
    };
    lines.iter().map(columns).max()
}
""",
    ),
    (
        "io-unbuffered-read-in-loop",
        """\
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

pub fn first_field(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let mut field = Vec::new();
    let mut byte = [0];
    while file.read(&mut byte)? == 1 && byte != *b"," {
        field.extend_from_slice(&byte);
    }
    Ok(field)
}
""",
    ),
    (
        "io-unbuffered-read-in-loop",
        """\
use std::io::{self, Read};
use std::net::TcpStream;

pub fn sizes(stream: &mut TcpStream, count: usize) -> io::Result<Vec<u32>> {
    let mut sizes = Vec::with_capacity(count);
    for _ in 0..count {
        let mut size = [0; 4];
        stream.read_exact(&mut size)?;
        sizes.push(u32::from_le_bytes(size));
    }
    Ok(sizes)
}
""",
    ),
    (
        "str-append-by-plus",
        """\
pub fn joined(parts: &[String]) -> String {
    let mut result = String::with_capacity(64);
    for part in parts {
        result = result + part + ",";
    }
    result
}
""",
    ),
    (
        "err-expect-without-reason",
        """\
pub fn port(text: &str) -> u16 {
    text.parse().expect("failed to parse the port")
}
""",
    ),
    (
        "err-expect-without-reason",
        """\
pub fn port(text: &str) -> u16 {
    text.parse().expect("")
}
""",
    ),
    (
        "err-panic-without-reason",
        """\
pub fn port(text: &str) -> u16 {
    text.parse().unwrap_or_else(|_| panic!())
}
""",
    ),
    (
        "err-panic-in-result",
        """\
pub fn port(text: &str) -> Result<u16, ParseIntError> {
    if text.is_empty() {
        panic!("no text");
    }
    text.parse()
}
""",
    ),
]
GOOD = [
    """\
pub fn port(text: &str) -> u16 {
    text.parse().expect("checked by the caller")
}
""",
    """\
pub fn long(text: &str) -> usize {
    let words: Vec<&str> = text.split(' ').collect();
    words.len() + words.first().map_or(0, |word| word.len())
}
""",
    """\
pub fn sum(a: u32, b: u32, c: u32) -> u32 {
    let mut sum = a;
    sum = sum + b + c;
    sum
}
""",
    """\
pub fn header(file: File) -> io::Result<[u8; 4]> {
    let mut file = BufReader::new(file);
    let mut header = [0; 4];
    for _ in 0..2 {
        file.read_exact(&mut header)?;
    }
    Ok(header)
}
""",
    """\
pub fn once(file: &mut File) -> io::Result<[u8; 4]> {
    let mut header = [0; 4];
    file.read_exact(&mut header)?;
    Ok(header)
}
""",
    """\
const DAY: u64 = match hours(24) {
    Some(day) => day,
    None => panic!("a day has 24 hours"),
};
""",
]


def advice(folder: Path, code: str) -> list[str]:
    """Return the rules that report something in a library with this code."""
    (folder / "src").mkdir()
    (folder / "src" / "lib.rs").write_text(code, encoding="utf-8")
    found = run_rules(folder, off=(), advice=True)
    assert {one.severity for one in found} <= {Severity.ADVICE}
    return [one.gate.removeprefix("ast-grep::") for one in found]


@pytest.mark.parametrize(("rule", "code"), BAD)
def test_advice_reports_the_code_that_it_is_about(tmp_path: Path, rule: str, code: str) -> None:
    assert advice(tmp_path, code) == [rule]


@pytest.mark.parametrize("code", GOOD)
def test_advice_does_not_report_other_code(tmp_path: Path, code: str) -> None:
    assert advice(tmp_path, code) == []
