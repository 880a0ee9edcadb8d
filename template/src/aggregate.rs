//! Aggregates `key;value` lines to the count, minimum, mean and maximum of each key.
//!
//! # Input
//! - A record is a line: a key, `;`, a value. Lines end with `\n` or `\r\n`; the last one may end
//!   with the input. Empty lines are passed over, and counted.
//! - A key is one byte or more, any but `;` and `\n`; it need not be UTF-8.
//! - A value is a [`Decimal`] with at most four fraction digits.
//! - A line has at most [`MAX_LINE_BYTES`] before its end.
//!
//! Anything else is an [`Error`] that names the first malformed line and what was expected in it,
//! however the input is cut and however many threads read it.
//!
//! # Output
//! A [`Summary`], sorted by the bytes of the keys. Sums are exact; a mean is rounded to four fraction
//! digits, halves away from zero.
//!
//! # Two ways to pass input, two hashers
//! [`Aggregator::feed`] takes the input in pieces and never blocks, so that a server can serve many
//! clients with few threads; [`Aggregator::read`] reads a reader with several threads.
//! [`Aggregator::new`] is for keys from anywhere. [`TrustedKeys`] hashes faster, but an attacker can
//! choose keys whose hashes all collide.
//!
//! # Hot path
//! Why: runs once for each record, of which inputs have millions.
//! Budget: 300 instructions and 0 heap blocks a record whose key is known.
//! Hasher: the caller chooses it, since only the caller knows where the keys come from.

mod decimal;
mod read;
mod record;

pub use self::decimal::Decimal;

use crate::error::{Error, Expected};
use hashbrown::HashTable;
use std::hash::{BuildHasher, Hasher, RandomState};

/// Builds a fast hasher without a secret key. Use it only for keys from a trusted source.
#[derive(Clone, Copy, Debug, Default)]
pub struct TrustedKeys;

impl BuildHasher for TrustedKeys {
    type Hasher = FastHasher;

    #[inline]
    fn build_hasher(&self) -> FastHasher {
        FastHasher(Default::default())
    }
}

/// The hasher of [`TrustedKeys`]. It wraps the hasher of rustc-hash, whose version is thus not part of
/// the public API.
#[derive(Clone)]
pub struct FastHasher(rustc_hash::FxHasher);

impl Hasher for FastHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0.finish()
    }
}

/// The longest line in bytes, its end not counted: 1 MiB.
pub const MAX_LINE_BYTES: usize = 1 << 20;

/// Limits of an aggregation, which bound its memory. The default is a million keys of 64 MiB in all.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    distinct_keys: usize,
    key_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            distinct_keys: 1_000_000,
            key_bytes: 64 << 20,
        }
    }
}

impl Limits {
    /// Sets the maximum number of distinct keys; one more is [`Error::TooManyKeys`].
    #[must_use]
    pub const fn distinct_keys(mut self, max: usize) -> Self {
        self.distinct_keys = max;
        self
    }

    /// Sets the maximum total length of the distinct keys in bytes; one more is
    /// [`Error::TooManyKeyBytes`].
    #[must_use]
    pub const fn key_bytes(mut self, max: usize) -> Self {
        self.key_bytes = max;
        self
    }
}

/// Count, minimum, mean and maximum of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    count: u64,
    min: Decimal,
    max: Decimal,
    /// In ten-thousandths; 2⁶⁴ values of any size fit.
    sum: i128,
}

impl Stats {
    const fn of(value: Decimal) -> Self {
        Self {
            count: 1,
            min: value,
            max: value,
            sum: value.ten_thousandths() as i128,
        }
    }

    #[inline]
    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.sum += other.sum;
    }

    /// Number of records with the key.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The minimum.
    #[must_use]
    pub const fn min(&self) -> Decimal {
        self.min
    }

    /// The maximum.
    #[must_use]
    pub const fn max(&self) -> Decimal {
        self.max
    }

    /// The mean, rounded to four fraction digits, halves away from zero.
    #[must_use]
    pub const fn mean(&self) -> Decimal {
        let count = self.count as i128;
        let (quotient, remainder) = (self.sum / count, self.sum % count);
        let up = if remainder.unsigned_abs() * 2 >= count.unsigned_abs() {
            self.sum.signum()
        } else {
            0
        };
        // Between the minimum and the maximum, so it fits.
        Decimal::from_ten_thousandths((quotient + up) as i64)
    }
}

#[derive(Debug)]
struct Row {
    key: Box<[u8]>,
    stats: Stats,
}

/// Aggregates an input piece by piece. After an error each call returns that error, so the result for a
/// part of an input is never taken for the result for all of it.
#[derive(Debug)]
pub struct Aggregator<S = RandomState> {
    rows: HashTable<Row>,
    /// Total length of the keys in `rows`.
    key_bytes: usize,
    hasher: S,
    limits: Limits,
    /// Lines taken of the current input.
    lines: u64,
    /// The start of a line whose end is still to come.
    partial: Vec<u8>,
    failed: Option<Error>,
}

impl Aggregator {
    /// Returns an empty aggregation, whose hasher has a random key.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self::with_hasher(limits, Default::default())
    }
}

impl<S: BuildHasher> Aggregator<S> {
    /// Returns an empty aggregation with the given hasher.
    #[must_use]
    pub const fn with_hasher(limits: Limits, hasher: S) -> Self {
        Self {
            rows: HashTable::new(),
            key_bytes: 0,
            hasher,
            limits,
            lines: 0,
            partial: Vec::new(),
            failed: None,
        }
    }

    /// Processes the next bytes of the input, which may be split anywhere.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::TooManyKeys`] or [`Error::TooManyKeyBytes`].
    pub fn feed(&mut self, chunk: &[u8]) -> Result<(), Error> {
        self.unless_failed(|this| this.take_chunk(chunk))
    }

    fn take_chunk(&mut self, chunk: &[u8]) -> Result<(), Error> {
        let Some(last) = memchr::memrchr(b'\n', chunk) else {
            return self.keep(chunk);
        };
        let (mut lines, rest) = chunk.split_at(last + 1);
        if !self.partial.is_empty() {
            let end = memchr::memchr(b'\n', lines).map_or(lines.len(), |at| at + 1);
            self.keep(&lines[..end])?;
            self.end_line()?;
            lines = &lines[end..];
        }
        self.take_lines(lines)?;
        self.keep(rest)
    }

    /// Ends the input and sorts the result.
    ///
    /// # Errors
    /// As [`Aggregator::feed`] for a last line without its end, or the error of an earlier call.
    pub fn finish(mut self) -> Result<Summary, Error> {
        self.unless_failed(Self::end_line)?;
        let mut rows: Vec<_> = self.rows.into_iter().collect();
        rows.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Ok(Summary { rows })
    }

    /// Takes a step and remembers its error, or returns the error of an earlier step.
    fn unless_failed(
        &mut self,
        step: impl FnOnce(&mut Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if self.failed.is_none() {
            self.failed = step(self).err();
        }
        self.failed.clone().map_or(Ok(()), Err)
    }

    /// Remembers the start of a line, unless it is longer than a line may be.
    fn keep(&mut self, start: &[u8]) -> Result<(), Error> {
        self.partial.extend_from_slice(start);
        let line = self.partial.strip_suffix(b"\n").unwrap_or(&self.partial);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > MAX_LINE_BYTES {
            return Err(Error::malformed(self.lines + 1, Expected::ShorterLine));
        }
        Ok(())
    }

    /// Takes the line whose pieces were kept.
    fn end_line(&mut self) -> Result<(), Error> {
        let mut line = std::mem::take(&mut self.partial);
        if line.last().is_some_and(|&byte| byte != b'\n') {
            line.push(b'\n');
        }
        self.take_lines(&line)?;
        line.clear();
        self.partial = line;
        Ok(())
    }

    /// Takes whole lines, each with its `\n`.
    fn take_lines(&mut self, mut text: &[u8]) -> Result<(), Error> {
        while !text.is_empty() {
            self.lines += 1;
            text = match self.take_usual(text) {
                Some(rest) => rest,
                None => self.take_any(text)?,
            };
        }
        Ok(())
    }

    /// Takes the first line of `text` if it is a short record with a known key, as most are, and
    /// returns the rest.
    #[inline]
    fn take_usual<'a>(&mut self, text: &'a [u8]) -> Option<&'a [u8]> {
        let (record, rest) = record::split_usual(text)?;
        let hash = self.hash(record.key);
        self.row(hash, record.key)?
            .stats
            .merge(&Stats::of(record.value));
        Some(rest)
    }

    /// Takes the first line of `text`, of any form, and returns the rest.
    #[inline(never)]
    fn take_any<'a>(&mut self, text: &'a [u8]) -> Result<&'a [u8], Error> {
        let (record, rest) =
            record::split_any(text).map_err(|expected| Error::malformed(self.lines, expected))?;
        if let Some(record) = record {
            self.merge(record.key, &Stats::of(record.value))?;
        }
        Ok(rest)
    }

    /// Copies the key only if it is new and borrowed.
    fn merge<K>(&mut self, key: K, stats: &Stats) -> Result<(), Error>
    where
        K: AsRef<[u8]> + Into<Box<[u8]>>,
    {
        let hash = self.hash(key.as_ref());
        if let Some(row) = self.row(hash, key.as_ref()) {
            row.stats.merge(stats);
            return Ok(());
        }
        if self.rows.len() >= self.limits.distinct_keys {
            return Err(Error::TooManyKeys {
                limit: self.limits.distinct_keys,
            });
        }
        // Neither is more than memory holds, so the sum fits.
        let key_bytes = self.key_bytes + key.as_ref().len();
        if key_bytes > self.limits.key_bytes {
            return Err(Error::TooManyKeyBytes {
                limit: self.limits.key_bytes,
            });
        }
        self.key_bytes = key_bytes;
        let row = Row {
            key: key.into(),
            stats: *stats,
        };
        self.rows
            .insert_unique(hash, row, |row| hash_of(&self.hasher, &row.key));
        Ok(())
    }

    #[inline]
    fn hash(&self, key: &[u8]) -> u64 {
        hash_of(&self.hasher, key)
    }

    #[inline]
    fn row(&mut self, hash: u64, key: &[u8]) -> Option<&mut Row> {
        self.rows.find_mut(hash, |row| {
            #[cfg(test)]
            tests::COMPARISONS.with(|count| count.set(count.get() + 1));
            *row.key == *key
        })
    }
}

/// Hashes only the bytes: `Hash` would add the length, which is unnecessary for a single key.
#[inline]
fn hash_of(hasher: &impl BuildHasher, key: &[u8]) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write(key);
    hasher.finish()
}

/// A finished aggregation.
#[derive(Debug)]
pub struct Summary {
    rows: Vec<Row>,
}

impl Summary {
    /// The keys with their statistics, sorted by the bytes of the keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &Stats)> {
        self.rows.iter().map(|row| (&*row.key, &row.stats))
    }

    /// Number of distinct keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether the input had no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    thread_local! {
        /// How often a key was compared with another one.
        pub(super) static COMPARISONS: Cell<u64> = const { Cell::new(0) };
    }

    const KEYS: u64 = 2_000;

    /// Keys of which rustc-hash makes one and the same hash: their first half cancels its seed.
    fn colliding_keys() -> impl Iterator<Item = [u8; 16]> {
        let cancelling = 0x243f_6a88_85a3_08d3_u64.to_le_bytes();
        (0..KEYS).map(move |key| {
            let mut bytes = [b'a'; 16];
            bytes[..8].copy_from_slice(&cancelling);
            for (at, byte) in bytes[8..].iter_mut().enumerate() {
                *byte += (key >> (4 * at) & 15) as u8;
            }
            bytes
        })
    }

    fn comparisons(mut aggregator: Aggregator<impl BuildHasher>) -> u64 {
        COMPARISONS.set(0);
        for key in colliding_keys() {
            aggregator
                .feed(&key)
                .and_then(|()| aggregator.feed(b";1\n"))
                .expect("a record");
        }
        assert_eq!(aggregator.finish().expect("all records").len() as u64, KEYS);
        COMPARISONS.get()
    }

    /// Counted, not timed: keys that collide on purpose make the trusted hasher quadratic.
    #[test]
    fn only_the_keyed_hasher_stands_colliding_keys() {
        let limits = Limits::default();
        let trusting = Aggregator::with_hasher(limits, TrustedKeys);
        assert_eq!(comparisons(trusting), KEYS * (KEYS - 1) / 2);
        assert!(comparisons(Aggregator::new(limits)) < KEYS);
    }

    #[test]
    fn the_mean_rounds_halves_away_from_zero() {
        for (sum, count, mean) in [
            (5, 2, 3),
            (-5, 2, -3),
            (4, 3, 1),
            (-4, 3, -1),
            (5, 3, 2),
            (0, 7, 0),
        ] {
            let zero = Decimal::from_ten_thousandths(0);
            let stats = Stats {
                count,
                min: zero,
                max: zero,
                sum,
            };
            assert_eq!(stats.mean().ten_thousandths(), mean, "{sum} / {count}");
        }
    }
}
