//! Sections 1 and 6: borrowing, cloning, counting references, and the size of a `Result`.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::{io, thread};

use crate::bench::{Bench, count};
use crate::input::{digits, names, random};

pub fn measure(bench: &Bench) {
    clone_or_borrow(bench);
    clone_or_borrow_and_read(bench);
    own_each_or_cow(bench);
    counted_references(bench);
    sizes_of_results();
}

fn clone_or_borrow(bench: &Bench) {
    let bytes = vec![1_u8; 10_000];
    bench.pair("clone\t10,000 `u8`", 1, &bytes, Vec::clone, Vec::as_slice);
    bench.pair(
        "clone\t10,000 `u64`",
        1,
        &random(10_000),
        Vec::clone,
        Vec::as_slice,
    );
    bench.pair(
        "clone\t10,000 `String`",
        1,
        &names(10_000),
        Vec::clone,
        Vec::as_slice,
    );
}

/// Measures the same with a callee that reads its argument.
fn clone_or_borrow_and_read(bench: &Bench) {
    let by_value = |numbers: Vec<u64>| {
        numbers
            .iter()
            .fold(0_u64, |sum, number| sum.wrapping_add(*number))
    };
    let by_reference = |numbers: &[u64]| {
        numbers
            .iter()
            .fold(0_u64, |sum, number| sum.wrapping_add(*number))
    };
    for size in [100, 10_000, 1_000_000] {
        let id = format!("clone-and-sum\t{} `u64`, summed", digits(size));
        bench.pair(
            &id,
            1,
            &random(size),
            |all| by_value(all.clone()),
            |all| by_reference(all),
        );
    }
}

fn always_owned(line: &str) -> String {
    if line.contains('\t') {
        line.replace('\t', " ")
    } else {
        line.to_owned()
    }
}

fn sometimes_owned(line: &str) -> Cow<'_, str> {
    if line.contains('\t') {
        Cow::Owned(line.replace('\t', " "))
    } else {
        Cow::Borrowed(line)
    }
}

/// A thousand lines, of which every tenth is changed.
fn own_each_or_cow(bench: &Bench) {
    for length in [16, 64, 256] {
        let line = |number| {
            if number % 10 == 0 {
                "a\t".repeat(length / 2)
            } else {
                "ab".repeat(length / 2)
            }
        };
        let lines: Vec<String> = (0..1000).map(line).collect();
        bench.pair(
            &format!("cow\t{length} bytes a line"),
            lines.len(),
            &lines,
            |lines| {
                lines
                    .iter()
                    .map(|line| always_owned(line).len())
                    .sum::<usize>()
            },
            |lines| {
                lines
                    .iter()
                    .map(|line| sometimes_owned(line).len())
                    .sum::<usize>()
            },
        );
    }
}

/// Drops each clone again; the time of a borrow in the same loop is subtracted.
fn counted_references(bench: &Bench) {
    bench.pair("rc\tone thread", 1, &Rc::new(1_u64), Rc::clone, |shared| {
        &**shared as *const u64
    });
    let shared = Arc::new(1_u64);
    bench.pair("arc\tone thread", 1, &shared, Arc::clone, |shared| {
        &**shared as *const u64
    });
    let (start, stop) = (Barrier::new(2), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            start.wait();
            while !stop.load(Ordering::Relaxed) {
                drop(std::hint::black_box(Arc::clone(&shared)));
            }
        });
        start.wait();
        bench.pair(
            "arc\ttwo threads at once",
            1,
            &shared,
            Arc::clone,
            |shared| &**shared as *const u64,
        );
        stop.store(true, Ordering::Relaxed);
    });
}

/// Bytes; two registers hold sixteen.
fn sizes_of_results() {
    #[expect(dead_code, reason = "only its size counts")]
    enum Kind {
        Missing,
        Malformed,
    }
    #[expect(dead_code, reason = "only its size counts")]
    enum Told {
        Missing(String),
        Malformed(u64),
    }
    let sizes = [
        ("an enum without fields", size_of::<Result<u64, Kind>>()),
        ("`io::Error`", size_of::<Result<u64, io::Error>>()),
        ("`String`", size_of::<Result<u64, String>>()),
        ("an enum with a `String`", size_of::<Result<String, Told>>()),
    ];
    for (error, size) in sizes {
        count(&format!("result\t{error}"), size as f64, 16.0);
    }
}
