//! The input that all benchmarks and allocation tests share, so that their figures are comparable.

use std::io::Write as _;

/// Number of distinct keys in a corpus.
pub const KEYS: u64 = 400;

/// Returns `rows` lines of the form `key;value`, with keys of 6 to 20 bytes and values from -99.9 to
/// 99.9. The same `rows` give the same bytes.
#[must_use]
pub fn corpus(rows: usize) -> Vec<u8> {
    let mut corpus = Vec::with_capacity(rows * 24);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..rows {
        // Xorshift: a fast random generator that never changes.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let key = state % KEYS;
        let width = 3 + (key * 7 % 15) as usize;
        let tenths = i64::try_from((state >> 32) % 1_999).unwrap_or_default() - 999;
        let sign = if tenths < 0 { "-" } else { "" };
        let (whole, tenth) = (tenths.abs() / 10, tenths.abs() % 10);
        // Writing to a vector cannot fail.
        _ = writeln!(corpus, "st-{key:0width$};{sign}{whole}.{tenth}");
    }
    corpus
}
