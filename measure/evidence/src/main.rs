//! Measures the claims of the guide, each as a pair of functions: the way to avoid, and the way to prefer.
//!
//! Prints a line for each case, with tabs between: bench, case, nanoseconds an operation of both, how many times as long
//! the first takes, allocations an operation of both. With `--quick` it measures so briefly that the times mean nothing.

mod bench;
mod collections;
mod costs;
mod input;
mod ownership;
mod text;

use bench::Bench;

#[global_allocator]
static ALLOCATOR: bench::Counting = bench::Counting;

fn main() {
    let bench = if std::env::args().any(|argument| argument == "--quick") {
        Bench::QUICK
    } else {
        Bench::FULL
    };
    ownership::measure(&bench);
    collections::measure(&bench);
    text::measure(&bench);
    costs::measure(&bench);
}
