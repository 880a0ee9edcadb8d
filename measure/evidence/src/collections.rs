//! Sections 2, 3, 4, 11 and 14: capacity, laziness, look-ups, and the stack.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::hint::black_box;

use rustc_hash::{FxBuildHasher, FxHashMap};
use smallvec::SmallVec;

use crate::bench::{Bench, allocations, count};
use crate::input::{digits, names, random};

pub fn measure(bench: &Bench) {
    growing();
    capacity_of_maps();
    sized_vectors(bench);
    black_box_within(bench);
    sized_maps(bench);
    reused_buffers(bench);
    chains(bench);
    early_ends(bench);
    look_ups(bench);
    small_vectors(bench);
    hashers(bench);
    matrices(bench);
}

fn push_all<T: Copy>(values: &[T], mut pushed: Vec<T>) -> Vec<T> {
    for value in values {
        pushed.push(*value);
    }
    pushed
}

fn growing() {
    let grown = allocations(&random(10_000)[..], |numbers| push_all(numbers, Vec::new()));
    count("growing\t10,000 `u64`", grown as f64, 1.0);
}

fn capacity_of_maps() {
    for size in [100, 1_000, 10_000, 1_000_000] {
        let map: HashMap<u64, u64> = HashMap::with_capacity(size);
        count(
            &format!("map-capacity\t{}", digits(size)),
            map.capacity() as f64,
            size as f64,
        );
    }
}

fn sized_vectors(bench: &Bench) {
    for size in [10, 100, 300, 1_000, 10_000, 1_000_000] {
        let numbers = random(size);
        bench.pair(
            &format!("vec-capacity\t{} `u64`", digits(size)),
            1,
            &numbers[..],
            |numbers| push_all(numbers, Vec::new()),
            |numbers| push_all(numbers, Vec::with_capacity(numbers.len())),
        );
        bench.pair(
            &format!("collect\t{} `u64`", digits(size)),
            1,
            &numbers[..],
            |numbers| {
                let mut halves = Vec::with_capacity(numbers.len());
                for number in numbers {
                    halves.push(number / 2);
                }
                halves
            },
            |numbers| numbers.iter().map(|number| number / 2).collect::<Vec<_>>(),
        );
    }
}

/// The pair `collect` again, with `black_box` in the wrong place.
fn black_box_within(bench: &Bench) {
    bench.pair(
        "black-box-within\t1,000 `u64`",
        1,
        &random(1_000)[..],
        |numbers| {
            let mut halves = Vec::with_capacity(numbers.len());
            for number in numbers {
                halves.push(black_box(number / 2));
            }
            halves
        },
        |numbers| {
            numbers
                .iter()
                .map(|number| black_box(number / 2))
                .collect::<Vec<_>>()
        },
    );
}

fn insert_all(keys: &[u64], mut map: HashMap<u64, u64>) -> HashMap<u64, u64> {
    for key in keys {
        map.insert(*key, *key);
    }
    map
}

fn sized_maps(bench: &Bench) {
    for size in [10, 1_000, 100_000] {
        bench.pair(
            &format!("map-sized\t{} `u64`", digits(size)),
            1,
            &random(size)[..],
            |keys| insert_all(keys, HashMap::new()),
            |keys| insert_all(keys, HashMap::with_capacity(keys.len())),
        );
    }
}

fn sum(numbers: &[u64]) -> u64 {
    numbers.iter().fold(0, |sum, number| sum ^ number)
}

/// A thousand batches, each of which is put into a buffer, and read.
fn reused_buffers(bench: &Bench) {
    for size in [10, 100, 1_000] {
        bench.pair(
            &format!("reuse\t{} `u64`", digits(size)),
            1,
            &random(1_000 * size)[..],
            |all| {
                all.chunks(size)
                    .map(|batch| sum(&push_all(batch, Vec::new())))
                    .max()
            },
            |all| {
                let mut buffer = Vec::new();
                let read = |batch| {
                    buffer.clear();
                    buffer = push_all(batch, std::mem::take(&mut buffer));
                    sum(&buffer)
                };
                all.chunks(size).map(read).max()
            },
        );
    }
}

fn chain(numbers: &[u64]) -> u64 {
    numbers
        .iter()
        .filter(|number| number.is_multiple_of(3))
        .map(|number| number >> 8)
        .fold(0, u64::wrapping_add)
}

#[expect(
    clippy::needless_range_loop,
    reason = "as it is written without iterators"
)]
fn hand_written_loop(numbers: &[u64]) -> u64 {
    let mut total = 0_u64;
    for index in 0..numbers.len() {
        if numbers[index].is_multiple_of(3) {
            total = total.wrapping_add(numbers[index] >> 8);
        }
    }
    total
}

fn collected_twice(numbers: &[u64]) -> u64 {
    let kept: Vec<u64> = numbers
        .iter()
        .copied()
        .filter(|number| number.is_multiple_of(3))
        .collect();
    let shifted: Vec<u64> = kept.iter().map(|number| number >> 8).collect();
    shifted
        .iter()
        .fold(0, |sum, number| sum.wrapping_add(*number))
}

fn chains(bench: &Bench) {
    // Of sizes between, the processor learns some branches by heart, other ones in each run.
    for size in [100, 1_000, 1_000_000] {
        let numbers = random(size);
        bench.pair(
            &format!("loop\t{}", digits(size)),
            size,
            &numbers[..],
            hand_written_loop,
            chain,
        );
        bench.pair(
            &format!("collect-between\t{}", digits(size)),
            1,
            &numbers[..],
            collected_twice,
            chain,
        );
    }
}

/// In 100,000 numbers, the one that is looked for stands early, or not so early, and each one behind it matches too.
#[expect(clippy::len_zero, reason = "as the guide writes what to avoid")]
fn early_ends(bench: &Bench) {
    for (first, name) in [
        (100, "after 0.1 %"),
        (1_000, "after 1 %"),
        (10_000, "after 10 %"),
        (99_999, "at the end"),
    ] {
        let numbers: Vec<u64> = (0..100_000)
            .map(|index| u64::from(index >= first))
            .collect();
        bench.pair(
            &format!("any\t{name}"),
            1,
            &numbers[..],
            |numbers| {
                numbers
                    .iter()
                    .filter(|number| **number > 0)
                    .collect::<Vec<_>>()
                    .len()
                    > 0
            },
            |numbers| numbers.iter().any(|number| *number > 0),
        );
    }
}

/// The tree is the slow side, whatever comes out.
fn look_ups(bench: &Bench) {
    for size in [1_000, 100_000, 1_000_000] {
        let numbers = random(size);
        let (tree, map): (BTreeMap<_, _>, HashMap<_, _>) = (
            numbers.iter().map(|key| (*key, 1_u64)).collect(),
            numbers.iter().map(|key| (*key, 1_u64)).collect(),
        );
        let wanted: Vec<u64> = (0..size).map(|index| numbers[index * 619 % size]).collect();
        // Small maps are asked for all they have, large ones for as much, from all over.
        let wanted = &wanted[..size.min(100_000)];
        look_up_all(
            bench,
            &format!("{}, any order", digits(size)),
            wanted,
            &tree,
            &map,
        );
        let mut sorted = wanted.to_vec();
        sorted.sort_unstable();
        look_up_all(
            bench,
            &format!("{}, in order", digits(size)),
            &sorted,
            &tree,
            &map,
        );
    }
}

fn look_up_all(
    bench: &Bench,
    case: &str,
    wanted: &[u64],
    tree: &BTreeMap<u64, u64>,
    map: &HashMap<u64, u64>,
) {
    bench.pair(
        &format!("look-up\t{case}"),
        wanted.len(),
        wanted,
        |wanted| wanted.iter().map(|key| tree[key]).sum::<u64>(),
        |wanted| wanted.iter().map(|key| map[key]).sum::<u64>(),
    );
}

fn small_vectors(bench: &Bench) {
    for size in [3, 8, 32] {
        bench.pair(
            &format!("small-vec\t{size} in room for 8"),
            1,
            &random(size)[..],
            |numbers| push_all(numbers, Vec::new()).len(),
            |numbers| {
                let mut pushed: SmallVec<[u64; 8]> = SmallVec::new();
                for number in numbers {
                    pushed.push(*number);
                }
                black_box(&pushed).len()
            },
        );
    }
}

fn hashers(bench: &Bench) {
    let (strong, fast) = (RandomState::new(), FxBuildHasher);
    let (numbers, texts) = (random(1_000), names(1_000));
    bench.pair(
        "hash\t`u64`, hash alone",
        1_000,
        &numbers[..],
        |numbers| {
            numbers
                .iter()
                .map(|number| strong.hash_one(number))
                .fold(0, u64::wrapping_add)
        },
        |numbers| {
            numbers
                .iter()
                .map(|number| fast.hash_one(number))
                .fold(0, u64::wrapping_add)
        },
    );
    bench.pair(
        "hash\t`str` of 12 bytes, hash alone",
        1_000,
        &texts[..],
        |texts| {
            texts
                .iter()
                .map(|text| strong.hash_one(text))
                .fold(0, u64::wrapping_add)
        },
        |texts| {
            texts
                .iter()
                .map(|text| fast.hash_one(text))
                .fold(0, u64::wrapping_add)
        },
    );
    for size in [1_000, 100_000] {
        let (numbers, texts) = (random(size), names(size));
        let slow_map: HashMap<u64, u64> = numbers.iter().map(|key| (*key, 1)).collect();
        let fast_map: FxHashMap<u64, u64> = numbers.iter().map(|key| (*key, 1)).collect();
        bench.pair(
            &format!("hashed-look-up\t`u64`, look-up among {}", digits(size)),
            size,
            &numbers[..],
            |numbers| numbers.iter().map(|key| slow_map[key]).sum::<u64>(),
            |numbers| numbers.iter().map(|key| fast_map[key]).sum::<u64>(),
        );
        let slow_map: HashMap<&str, u64> = texts.iter().map(|key| (key.as_str(), 1)).collect();
        let fast_map: FxHashMap<&str, u64> = texts.iter().map(|key| (key.as_str(), 1)).collect();
        bench.pair(
            &format!(
                "hashed-look-up\t`str` of 12 bytes, look-up among {}",
                digits(size)
            ),
            size,
            &texts[..],
            |texts| texts.iter().map(|key| slow_map[key.as_str()]).sum::<u64>(),
            |texts| texts.iter().map(|key| fast_map[key.as_str()]).sum::<u64>(),
        );
    }
}

type Matrix<const N: usize> = [[f64; N]; N];

fn add_arrays<const N: usize>((left, right): &(Matrix<N>, Matrix<N>)) -> Matrix<N> {
    std::array::from_fn(|row| std::array::from_fn(|column| left[row][column] + right[row][column]))
}

fn multiply_arrays<const N: usize>((left, right): &(Matrix<N>, Matrix<N>)) -> Matrix<N> {
    let cell = |row: usize, column: usize| {
        (0..N)
            .map(|inner| left[row][inner] * right[inner][column])
            .sum()
    };
    std::array::from_fn(|row| std::array::from_fn(|column| cell(row, column)))
}

fn add_vectors(left: &[Vec<f64>], right: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let add_rows = |(left, right): (&Vec<f64>, &Vec<f64>)| {
        left.iter().zip(right).map(|(a, b)| a + b).collect()
    };
    left.iter().zip(right).map(add_rows).collect()
}

fn multiply_vectors(left: &[Vec<f64>], right: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let size = left.len();
    let cell = |row: usize, column: usize| {
        (0..size)
            .map(|inner| left[row][inner] * right[inner][column])
            .sum()
    };
    (0..size)
        .map(|row| (0..size).map(|column| cell(row, column)).collect())
        .collect()
}

/// Both sides make a new matrix; both have both inputs at hand.
fn matrices(bench: &Bench) {
    matrices_of_size::<4>(bench);
    matrices_of_size::<16>(bench);
}

fn matrices_of_size<const N: usize>(bench: &Bench) {
    let array: Matrix<N> = [[1.5; N]; N];
    let vector = vec![vec![1.5; N]; N];
    let both = ((array, array), (vector.clone(), vector));
    let sum = format!("matrix\t{N}×{N}, sum");
    bench.pair(
        &sum,
        1,
        &both,
        |(_, (left, right))| add_vectors(left, right),
        |(arrays, _)| add_arrays(arrays),
    );
    let product = format!("matrix\t{N}×{N}, product");
    bench.pair(
        &product,
        1,
        &both,
        |(_, (left, right))| multiply_vectors(left, right),
        |(arrays, _)| multiply_arrays(arrays),
    );
}
