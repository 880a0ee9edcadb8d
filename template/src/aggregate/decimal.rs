//! Decimals with four fraction digits, exact in an integer.
//!
//! # Hot path
//! Part of: aggregate

use crate::error::Expected;
use std::fmt;

/// Units of the last fraction digit in one whole.
const SCALE: u64 = 10_000;
const FRACTION_DIGITS: usize = 4;

/// A decimal with at most four fraction digits, held as a count of ten-thousandths.
///
/// Read from `-` or `+` or neither, one digit or more, and, if there is a `.`, one to four digits
/// after it. Written with as few digits as hold the value: `-1.5`, `2`, `0.0001`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal(i64);

impl Decimal {
    /// The decimal that is `count` ten-thousandths.
    #[must_use]
    pub const fn from_ten_thousandths(count: i64) -> Self {
        Self(count)
    }

    /// How many ten-thousandths the decimal is.
    #[must_use]
    pub const fn ten_thousandths(self) -> i64 {
        self.0
    }

    /// Reads a decimal of any length.
    ///
    /// # Errors
    /// [`Expected::Decimal`] where `text` is none, [`Expected::InRange`] where it does not fit.
    pub fn parse(text: &[u8]) -> Result<Self, Expected> {
        let (negative, digits) = match text {
            [b'-', digits @ ..] => (true, digits),
            [b'+', digits @ ..] | digits => (false, digits),
        };
        let point = digits.iter().position(|&byte| byte == b'.');
        let (whole, fraction) = match point {
            Some(at) => (&digits[..at], &digits[at + 1..]),
            None => (digits, &b"0"[..]),
        };
        let counts = !whole.is_empty() && (1..=FRACTION_DIGITS).contains(&fraction.len());
        if !counts || !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
            return Err(Expected::Decimal);
        }
        let padding = std::iter::repeat_n(&b'0', FRACTION_DIGITS - fraction.len());
        let magnitude = whole
            .iter()
            .chain(fraction)
            .chain(padding)
            .try_fold(0_i64, |value, digit| {
                value.checked_mul(10)?.checked_add(i64::from(digit - b'0'))
            });
        let magnitude = magnitude.ok_or(Expected::InRange)?;
        Ok(Self(if negative { -magnitude } else { magnitude }))
    }

    /// Reads the decimal that fills the low `len` bytes of `word`, `len` being at most 7: what
    /// [`Decimal::parse`] reads a byte at a time, here eight at a time.
    ///
    /// `None` says that the bytes are no decimal, or one that wants the long way (a `+`).
    #[inline]
    pub(super) fn from_word(word: u64, len: u32) -> Option<Self> {
        let negative = word as u8 == b'-';
        let sign_bits = u32::from(negative) * 8;
        let text = word >> sign_bits;
        let bits = (len * 8).checked_sub(sign_bits)?;

        // Close the gap that the point leaves, so that whole and fraction are one run of digits.
        let point = super::bytes_equal_to(text, b'.').trailing_zeros() & !7;
        let (digits, digit_bits, fraction_digits) = if point < bits {
            let whole = text & !(u64::MAX << point);
            let fraction = (text >> point >> 8) << point;
            (whole | fraction, bits - 8, (bits - point) / 8 - 1)
        } else {
            (text, bits, 0)
        };
        let faulty_point = point == 0 || (point < bits && fraction_digits == 0);
        if digit_bits == 0 || faulty_point || fraction_digits > FRACTION_DIGITS as u32 {
            return None;
        }

        // The first digit is the low byte; shifting left puts zeros before it, and what is no text
        // out.
        let ascii_zeros = b'0' as u64 * LOW_BITS;
        let values = (digits ^ ascii_zeros) << (64 - digit_bits);
        let above_nine = values.wrapping_add(0x76 * LOW_BITS) | values;
        if above_nine & HIGH_BITS != 0 {
            return None;
        }
        let scale = SCALE_OF_FRACTION[fraction_digits as usize];
        let magnitude = (number_of_digits(values) * scale).cast_signed();
        Some(Self(if negative { -magnitude } else { magnitude }))
    }
}

/// The lowest and the highest bit of each byte of a word.
pub(super) const LOW_BITS: u64 = 0x0101_0101_0101_0101;
pub(super) const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// What a number read without its point has to be multiplied with, by its fraction digits.
const SCALE_OF_FRACTION: [u64; 5] = [SCALE, 1_000, 100, 10, 1];

/// The number whose eight digits, the first in the low byte, are the bytes of `values`: digits are
/// joined to pairs, pairs to fours, fours to the whole, each step for all of them at once.
#[inline]
const fn number_of_digits(values: u64) -> u64 {
    let pairs = (values * 10 + (values >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    (fours * 10_000 + (fours >> 32)) & 0xffff_ffff
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.unsigned_abs();
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, mut fraction) = (magnitude / SCALE, magnitude % SCALE);
        if fraction == 0 {
            return write!(f, "{sign}{whole}");
        }
        let mut width = FRACTION_DIGITS;
        while fraction % 10 == 0 {
            fraction /= 10;
            width -= 1;
        }
        write!(f, "{sign}{whole}.{fraction:0width$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn short_way(text: &[u8]) -> Option<Decimal> {
        let mut word = [b'\n'; 8];
        word[..text.len()].copy_from_slice(text);
        Decimal::from_word(u64::from_le_bytes(word), u32::try_from(text.len()).ok()?)
    }

    #[test]
    fn reads_and_writes() {
        for (text, written) in [
            ("1", "1"),
            ("-0.5", "-0.5"),
            ("+07.10", "7.1"),
            ("0.0001", "0.0001"),
            ("-0", "0"),
        ] {
            let value = Decimal::parse(text.as_bytes()).map(|value| value.to_string());
            assert_eq!(value, Ok(written.to_owned()), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_decimal() {
        for text in [
            "", "-", "+", ".", "1.", ".5", "1.23456", "1,5", "1e5", "--1", " 1", "0x1", "1.2.3",
            "1 ",
        ] {
            assert_eq!(
                Decimal::parse(text.as_bytes()),
                Err(Expected::Decimal),
                "{text:?}"
            );
            assert_eq!(short_way(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let greatest = "922337203685477.5807";
        assert_eq!(Decimal::parse(greatest.as_bytes()), Ok(Decimal(i64::MAX)));
        for text in [
            "922337203685477.5808",
            "-922337203685477.5808",
            "1000000000000000000000",
        ] {
            assert_eq!(
                Decimal::parse(text.as_bytes()),
                Err(Expected::InRange),
                "{text}"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn both_ways_agree(text in "[-+]?[0-9.a]{0,6}") {
            if let Some(value) = short_way(text.as_bytes()) {
                prop_assert_eq!(Decimal::parse(text.as_bytes()), Ok(value));
            } else {
                let long_way = Decimal::parse(text.as_bytes());
                prop_assert!(long_way.is_err() || text.starts_with('+'), "{:?}", long_way);
            }
        }
    }
}
