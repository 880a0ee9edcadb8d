//! How many instructions and heap blocks a line costs: the same on every run, so the budget of
//! `$name` can be a limit here. Needs valgrind, which is for Linux.

#![cfg_attr(
    target_os = "linux",
    expect(clippy::exit, unreachable_pub, reason = "gungraun's macros have it so")
)]

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
use self::linux::lines;
#[cfg(target_os = "linux")]
gungraun::main!(library_benchmark_groups = lines);

#[cfg(target_os = "linux")]
mod linux {
    use gungraun::{Callgrind, Dhat, DhatMetric, EventKind, LibraryBenchmarkConfig};
    use gungraun::{library_benchmark, library_benchmark_group};
    use std::hint::black_box;

    use ::$crate::$name::$name as hot_path;

    const LINES: u64 = 10_000;

    fn text() -> Vec<u8> {
        b"a line of usual length\n".repeat(LINES as usize)
    }

    fn budget(instructions: u64) -> LibraryBenchmarkConfig {
        let mut config = LibraryBenchmarkConfig::default();
        config
            .tool(Callgrind::default().hard_limits([(EventKind::Ir, instructions * LINES)]))
            .tool(Dhat::default().hard_limits([(DhatMetric::TotalBlocks, 0)]));
        config
    }

    #[library_benchmark(config = budget($budget))]
    #[bench::usual(setup = text)]
    fn counted(text: Vec<u8>) -> (usize, Vec<u8>) {
        // Returns the text too, so that the figures leave out freeing it.
        (hot_path(black_box(&text)), text)
    }

    library_benchmark_group!(name = lines, benchmarks = [counted]);
}
