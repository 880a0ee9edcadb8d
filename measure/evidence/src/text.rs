//! Sections 5 and 7: putting text together, and logging it.

use std::fmt::Write;

use log::LevelFilter;

use crate::bench::{Bench, allocations, count};
use crate::input::{digits, names};

pub fn measure(bench: &Bench) {
    joined_texts(bench);
    appended_texts();
    formatted_texts(bench);
    logged_texts();
}

fn added(parts: &[String]) -> String {
    let mut text = String::new();
    for part in parts {
        text = text + part;
    }
    text
}

fn pushed(parts: &[String], mut text: String) -> String {
    for part in parts {
        text.push_str(part);
    }
    text
}

fn sized(parts: &[String]) -> String {
    pushed(
        parts,
        String::with_capacity(parts.iter().map(String::len).sum()),
    )
}

fn joined_texts(bench: &Bench) {
    for size in [10, 1_000, 100_000] {
        let parts = names(size);
        bench.pair(
            &format!("sized-text\t{} parts", digits(size)),
            1,
            &parts[..],
            added,
            sized,
        );
    }
}

fn appended_texts() {
    for size in [1_000, 100_000] {
        let (parts, many) = (names(size), size as f64);
        let added = allocations(&parts[..], added) as f64 / many;
        let pushed = allocations(&parts[..], |parts| pushed(parts, String::new())) as f64 / many;
        count(&format!("appended\t{} parts", digits(size)), added, pushed);
    }
}

fn formatted_texts(bench: &Bench) {
    let length = |text: &str| text.as_bytes()[text.len() - 1] as usize;
    for size in [100, 10_000] {
        bench.pair(
            &format!("format\t{} messages", digits(size)),
            size,
            &size,
            |size| {
                (0..*size)
                    .map(|item| length(&format!("Processing item {item}")))
                    .sum::<usize>()
            },
            |size| {
                let mut buffer = String::with_capacity(50);
                let write = |item| {
                    buffer.clear();
                    write!(buffer, "Processing item {item}").expect("a String takes all");
                    length(&buffer)
                };
                (0..*size).map(write).sum::<usize>()
            },
        );
    }
}

/// Allocations an event, of which the guide says that it has one even where its level is off.
#[expect(clippy::format_in_format_args, reason = "what is measured")]
fn logged_texts() {
    log::set_max_level(LevelFilter::Warn);
    let blocks = allocations(&1_000, |size| {
        for item in 0..*size {
            log::info!("{}", format!("Processing {item}"));
        }
    });
    count("logged\tlevel off", blocks as f64 / 1_000.0, 1.0);
}
