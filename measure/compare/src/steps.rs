//! The steps, each one change away from the one before. All trust the input to be records with one fraction
//! digit, and panic where it is not; they are here to be measured, not used.

use rustc_hash::FxBuildHasher;
use std::collections::HashMap;
use std::fs::File;
use std::hash::BuildHasher;
use std::io::{self, BufRead as _, BufReader, Read as _};

const BLOCK_BYTES: usize = 256 * 1024;

/// Runs the step of a name, and prints what it found.
pub fn run(step: &str, input: File) -> io::Result<()> {
    match step {
        "idiomatic" => print(idiomatic(input)?, |number| number),
        "line-buffer" => print(line_buffer(input)?, |number| number),
        "fixed-point" => print(fixed_point(input, Tenths::default())?, |tenths| {
            tenths as f64 / 10.0
        }),
        "trusted-hash" => print(fixed_point(input, TrustedTenths::default())?, |tenths| {
            tenths as f64 / 10.0
        }),
        "blocks" => print(blocks(input, byte_by_byte)?, |tenths| tenths as f64 / 10.0),
        "memchr" => print(blocks(input, by_memchr)?, |tenths| tenths as f64 / 10.0),
        _ => return Err(io::Error::other(format!("there is no step {step}"))),
    }
    Ok(())
}

/// The floor: reads all, and looks at each byte once.
pub fn count_lines(mut input: File) -> io::Result<usize> {
    let (mut block, mut lines) = (vec![0; BLOCK_BYTES], 0);
    loop {
        match input.read(&mut block)? {
            0 => return Ok(lines),
            read => lines += memchr::memchr_iter(b'\n', &block[..read]).count(),
        }
    }
}

/// Count, minimum, maximum and sum.
type Row<N> = (u64, N, N, N);
type Floats = HashMap<String, Row<f64>>;
type Tenths = HashMap<Box<[u8]>, Row<i64>>;
type TrustedTenths = HashMap<Box<[u8]>, Row<i64>, FxBuildHasher>;

/// What one would write first.
fn idiomatic(input: File) -> io::Result<Floats> {
    let mut rows = Floats::new();
    for line in BufReader::new(input).lines() {
        let line = line?;
        let (key, value) = line.split_once(';').expect("a separator");
        let value: f64 = value.parse().expect("a number");
        let row = rows
            .entry(key.to_owned())
            .or_insert((0, f64::INFINITY, f64::NEG_INFINITY, 0.0));
        *row = (row.0 + 1, row.1.min(value), row.2.max(value), row.3 + value);
    }
    Ok(rows)
}

/// One `String` for all lines, and one for each key that is new.
fn line_buffer(input: File) -> io::Result<Floats> {
    let mut rows = Floats::new();
    let mut input = BufReader::new(input);
    let mut line = String::new();
    while input.read_line(&mut line)? > 0 {
        let (key, value) = line.trim_end().split_once(';').expect("a separator");
        let value: f64 = value.parse().expect("a number");
        if let Some(row) = rows.get_mut(key) {
            *row = (row.0 + 1, row.1.min(value), row.2.max(value), row.3 + value);
        } else {
            rows.insert(key.to_owned(), (1, value, value, value));
        }
        line.clear();
    }
    Ok(rows)
}

/// Bytes without a check for UTF-8, and integers; with SipHash or with rustc-hash.
fn fixed_point<S: BuildHasher>(
    input: File,
    mut rows: HashMap<Box<[u8]>, Row<i64>, S>,
) -> io::Result<HashMap<Box<[u8]>, Row<i64>, S>> {
    let mut input = BufReader::new(input);
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line)? > 0 {
        let end = line.len() - usize::from(line.ends_with(b"\n"));
        let separator = line
            .iter()
            .position(|&byte| byte == b';')
            .expect("a separator");
        add(
            &mut rows,
            &line[..separator],
            tenths(&line[separator + 1..end]),
        );
        line.clear();
    }
    Ok(rows)
}

/// Whole lines in blocks that are read at once; `take_lines` says how the parts of a line are found.
fn blocks(mut input: File, take_lines: fn(&[u8], &mut TrustedTenths)) -> io::Result<TrustedTenths> {
    let mut rows = TrustedTenths::default();
    let (mut block, mut kept) = (vec![0; BLOCK_BYTES], 0);
    loop {
        let read = input.read(&mut block[kept..])?;
        if read == 0 {
            take_lines(&block[..kept], &mut rows);
            return Ok(rows);
        }
        let filled = kept + read;
        let lines = memchr::memrchr(b'\n', &block[..filled]).map_or(0, |last| last + 1);
        take_lines(&block[..lines], &mut rows);
        block.copy_within(lines..filled, 0);
        kept = filled - lines;
    }
}

fn byte_by_byte(lines: &[u8], rows: &mut TrustedTenths) {
    take_lines(lines, rows, |text, wanted| {
        text.iter().position(|&byte| byte == wanted)
    });
}

fn by_memchr(lines: &[u8], rows: &mut TrustedTenths) {
    take_lines(lines, rows, |text, wanted| memchr::memchr(wanted, text));
}

#[inline]
fn take_lines(
    mut lines: &[u8],
    rows: &mut TrustedTenths,
    find: impl Fn(&[u8], u8) -> Option<usize>,
) {
    while !lines.is_empty() {
        let separator = find(lines, b';').expect("a separator");
        let (key, value) = (&lines[..separator], &lines[separator + 1..]);
        let end = find(value, b'\n').unwrap_or(value.len());
        add(rows, key, tenths(&value[..end]));
        lines = value.get(end + 1..).unwrap_or_default();
    }
}

#[inline]
fn add<S: BuildHasher>(rows: &mut HashMap<Box<[u8]>, Row<i64>, S>, key: &[u8], value: i64) {
    if let Some(row) = rows.get_mut(key) {
        *row = (row.0 + 1, row.1.min(value), row.2.max(value), row.3 + value);
    } else {
        rows.insert(key.into(), (1, value, value, value));
    }
}

/// `-12.3` is -123.
#[inline]
fn tenths(text: &[u8]) -> i64 {
    let (sign, digits) = match text {
        [b'-', digits @ ..] => (-1, digits),
        digits => (1, digits),
    };
    let magnitude = digits.iter().fold(0, |number, byte| match byte {
        b'0'..=b'9' => number * 10 + i64::from(byte - b'0'),
        b'.' => number,
        _ => panic!("expected a decimal"),
    });
    sign * magnitude
}

fn print<K: AsRef<[u8]>, N, S>(rows: HashMap<K, Row<N>, S>, as_number: fn(N) -> f64) {
    for (key, (count, min, max, sum)) in rows {
        let [min, max, sum] = [min, max, sum].map(as_number);
        let key = String::from_utf8_lossy(key.as_ref());
        println!("{key},{count},{min:.1},{:.6},{max:.1}", sum / count as f64);
    }
}
