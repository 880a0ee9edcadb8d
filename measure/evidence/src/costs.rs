//! Sections 8, 9 and 12: calls through a table, tasks, and system calls.

use std::io::{self, BufReader, BufWriter, Read, Write};

use tokio::runtime::{Builder, Runtime};

use crate::bench::{Bench, count};
use crate::input::{digits, names, random};

pub fn measure(bench: &Bench) {
    dispatch(bench);
    tasks(bench);
    reads();
    writes();
}

trait Step {
    fn apply(&self, value: u64) -> u64;
}

struct Add(u64);
struct Mix(u64);

impl Step for Add {
    fn apply(&self, value: u64) -> u64 {
        value.wrapping_add(self.0)
    }
}

impl Step for Mix {
    fn apply(&self, value: u64) -> u64 {
        value ^ self.0
    }
}

/// A call that is static, but is a call.
#[inline(never)]
fn called(step: &Add, value: u64) -> u64 {
    step.apply(value)
}

const CALLS: usize = 10_000;

/// Measures the cost added to a static call that is inlined, and to one that is not; with one type behind the table,
/// and with two at random.
fn dispatch(bench: &Bench) {
    let numbers = random(CALLS);
    let adds: Vec<Add> = numbers.iter().map(|number| Add(*number)).collect();
    let boxed: Vec<Box<dyn Step>> = numbers
        .iter()
        .map(|number| Box::new(Add(*number)) as Box<dyn Step>)
        .collect();
    let choose = |number: &u64| -> Box<dyn Step> {
        if number.is_multiple_of(2) {
            Box::new(Add(*number))
        } else {
            Box::new(Mix(*number))
        }
    };
    let mixed: Vec<Box<dyn Step>> = numbers.iter().map(choose).collect();
    let through_table =
        |steps: &[Box<dyn Step>]| steps.iter().fold(0, |value, step| step.apply(value));
    let all = (adds, boxed, mixed);
    bench.pair(
        "dyn\tone type, over a static call",
        CALLS,
        &all,
        |(_, boxed, _)| through_table(boxed),
        |(adds, ..)| adds.iter().fold(0, |value, step| called(step, value)),
    );
    bench.pair(
        "dyn\tone type, over inlined code",
        CALLS,
        &all,
        |(_, boxed, _)| through_table(boxed),
        |(adds, ..)| adds.iter().fold(0, |value, step| step.apply(value)),
    );
    bench.pair(
        "dyn\ttwo types by chance, over inlined code",
        CALLS,
        &all,
        |(.., mixed)| through_table(mixed),
        |(adds, ..)| adds.iter().fold(0, |value, step| step.apply(value)),
    );
}

const TASKS: u64 = 1_000;

async fn trivial(number: u64) -> u64 {
    number.rotate_left(7)
}

/// What a task takes on top of the future itself.
fn tasks(bench: &Bench) {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .expect("two threads can be started");
    bench.pair(
        "spawn\tone after the other",
        TASKS as usize,
        &runtime,
        spawned_one_by_one,
        awaited,
    );
    bench.pair(
        "spawn\t1,000 at once",
        TASKS as usize,
        &runtime,
        spawned_at_once,
        awaited,
    );
}

/// Runs within a task, as servers spawn: `block_on` runs outside the workers and would have to wake them.
fn in_task<F: Future<Output = u64> + Send + 'static>(runtime: &Runtime, task: F) -> u64 {
    runtime.block_on(async { tokio::spawn(task).await.expect("it does not panic") })
}

fn awaited(runtime: &Runtime) -> u64 {
    in_task(runtime, async {
        let mut sum = 0_u64;
        for number in 0..TASKS {
            sum = sum.wrapping_add(trivial(number).await);
        }
        sum
    })
}

fn spawned_one_by_one(runtime: &Runtime) -> u64 {
    in_task(runtime, async {
        let mut sum = 0_u64;
        for number in 0..TASKS {
            sum = sum.wrapping_add(
                tokio::spawn(trivial(number))
                    .await
                    .expect("it does not panic"),
            );
        }
        sum
    })
}

fn spawned_at_once(runtime: &Runtime) -> u64 {
    in_task(runtime, async {
        let tasks: Vec<_> = (0..TASKS)
            .map(|number| tokio::spawn(trivial(number)))
            .collect();
        let mut sum = 0_u64;
        for task in tasks {
            sum = sum.wrapping_add(task.await.expect("it does not panic"));
        }
        sum
    })
}

/// Replaces a file or a socket: each of its calls would be a system call.
struct Counted<T> {
    inner: T,
    calls: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.calls += 1;
        self.inner.read(buffer)
    }
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.calls += 1;
        self.inner.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A megabyte, read in pieces of one size.
fn reads() {
    let bytes = vec![b'x'; 1 << 20];
    for size in [1, 20, 100, 1_000, 65_536] {
        let mut plain = Counted {
            inner: &bytes[..],
            calls: 0,
        };
        read_pieces(&mut plain, size);
        let mut buffered = BufReader::new(Counted {
            inner: &bytes[..],
            calls: 0,
        });
        read_pieces(&mut buffered, size);
        let (plain, buffered) = (plain.calls as f64, buffered.into_inner().calls as f64);
        count(
            &format!("reads\treads of {} B", digits(size)),
            plain,
            buffered,
        );
    }
}

fn read_pieces(reader: &mut impl Read, size: usize) {
    let mut piece = vec![0; size];
    while reader.read(&mut piece).expect("memory can be read") > 0 {}
}

/// 20,000 lines by `writeln!`, of a name and a number.
fn writes() {
    let lines = names(20_000);
    let mut plain = Counted {
        inner: io::sink(),
        calls: 0,
    };
    write_lines(&mut plain, &lines);
    let mut buffered = Counted {
        inner: io::sink(),
        calls: 0,
    };
    write_lines(&mut BufWriter::new(&mut buffered), &lines);
    count(
        "writes\t20,000 by `writeln!`",
        plain.calls as f64,
        buffered.calls as f64,
    );
}

fn write_lines(writer: &mut impl Write, lines: &[String]) {
    for (number, line) in lines.iter().enumerate() {
        writeln!(writer, "{line};{number}").expect("nothing is refused");
    }
}
