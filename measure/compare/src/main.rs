//! The input of the comparison, the floor, and the steps from an idiomatic program to ours.
//!
//! `ladder generate ROWS` writes lines to standard output; `ladder STEP FILE` aggregates a file and prints
//! `key,count,min,mean,max` for each key, `ladder floor FILE` how many lines there are.

mod steps;

use std::env;
use std::error::Error;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};

const KEYS: u64 = 413;
/// Values are `-99.9` to `99.9`.
const VALUES: u64 = 1_999;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["generate", rows] => generate(rows.parse()?)?,
        ["floor", path] => println!("{}", steps::count_lines(File::open(path)?)?),
        [step, path] => steps::run(step, File::open(path)?)?,
        _ => return Err("usage: ladder generate ROWS, or ladder STEP FILE".into()),
    }
    Ok(())
}

/// The same lines for the same `rows`: keys of 4 to 20 letters, values with one fraction digit.
fn generate(rows: u64) -> io::Result<()> {
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let keys: Vec<String> = (0..KEYS)
        .map(|key| {
            (0..4 + key % 17)
                .map(|_| char::from(b'a' + chance.below(26) as u8))
                .collect()
        })
        .collect();
    let values: Vec<String> = (0..VALUES)
        .map(|value| format!(";{:.1}\n", (value as f64 - 999.0) / 10.0))
        .collect();
    let mut output = BufWriter::with_capacity(1 << 20, io::stdout().lock());
    for _ in 0..rows {
        output.write_all(keys[chance.below(KEYS) as usize].as_bytes())?;
        output.write_all(values[chance.below(VALUES) as usize].as_bytes())?;
    }
    output.flush()
}

/// Xorshift: fast, and fixed for all time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) % bound
    }
}
