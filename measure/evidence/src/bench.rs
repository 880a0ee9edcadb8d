//! How a pair is measured: both sides by turns in one process, so that a slow moment of the machine hits both.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::time::{Duration, Instant};

pub struct Bench {
    rounds: usize,
    /// Minimum time of one side in one round.
    turn: Duration,
}

impl Bench {
    pub const FULL: Self = Self {
        rounds: 31,
        turn: Duration::from_millis(2),
    };
    pub const QUICK: Self = Self {
        rounds: 3,
        turn: Duration::from_micros(20),
    };

    /// Times both sides, of which each call does so many operations.
    ///
    /// The optimiser sees neither where the input comes from nor where the result goes, and all in between.
    pub fn pair<'input, I: ?Sized, A, B>(
        &self,
        id: &str,
        operations: usize,
        input: &'input I,
        slow: impl Fn(&'input I) -> A,
        fast: impl Fn(&'input I) -> B,
    ) {
        let (slow_calls, fast_calls) = (self.calls(input, &slow), self.calls(input, &fast));
        let (mut slow_times, mut fast_times) = (Vec::new(), Vec::new());
        for round in 0..self.rounds {
            // Whoever comes second finds other caches than whoever comes first.
            if round % 2 == 0 {
                slow_times.push(turn(slow_calls, input, &slow));
                fast_times.push(turn(fast_calls, input, &fast));
            } else {
                fast_times.push(turn(fast_calls, input, &fast));
                slow_times.push(turn(slow_calls, input, &slow));
            }
        }
        let ratios = slow_times
            .iter()
            .zip(&fast_times)
            .map(|(slow, fast)| slow / fast)
            .collect();
        let [slow_time, fast_time] =
            [slow_times, fast_times].map(|times| median(times) / operations as f64);
        let [slow_blocks, fast_blocks] = [allocations(input, slow), allocations(input, fast)]
            .map(|blocks| blocks as f64 / operations as f64);
        println!(
            "{id}\t{slow_time}\t{fast_time}\t{}\t{slow_blocks}\t{fast_blocks}",
            median(ratios)
        );
    }

    /// How many calls fill a turn; it warms up on the way.
    fn calls<'input, I: ?Sized, R>(&self, input: &'input I, side: &impl Fn(&'input I) -> R) -> u32 {
        let mut calls = 1;
        loop {
            let took = turn(calls, input, side) * f64::from(calls);
            if took >= self.turn.as_nanos() as f64 {
                return calls;
            }
            calls *= 2;
        }
    }
}

/// Nanoseconds a call.
fn turn<'input, I: ?Sized, R>(calls: u32, input: &'input I, side: &impl Fn(&'input I) -> R) -> f64 {
    let start = Instant::now();
    for _ in 0..calls {
        black_box(side(black_box(input)));
    }
    start.elapsed().as_nanos() as f64 / f64::from(calls)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Allocations of one call in this thread; growing a block counts as one.
pub fn allocations<'input, I: ?Sized, R>(input: &'input I, side: impl Fn(&'input I) -> R) -> u64 {
    let before = ALLOCATIONS.get();
    black_box(side(black_box(input)));
    ALLOCATIONS.get() - before
}

/// Prints a claim that is a count: the count of the guide's way, and the count that it is compared with.
pub fn count(id: &str, counted: f64, compared: f64) {
    println!("{id}\t{counted}\t{compared}\t{}\t0\t0", counted / compared);
}

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The allocator of the system, and a count.
pub struct Counting;

// SAFETY: every call is passed to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the promises of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}
