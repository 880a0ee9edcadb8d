//! Decimals with four fraction digits, stored exactly as an integer.
//!
//! # Hot path
//! Part of: aggregate

use crate::error::ParseDecimalError;
use std::fmt;
use std::io::{Cursor, Write as _};
use std::str::{self, FromStr};

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
    /// Returns the decimal of `count` ten-thousandths.
    #[must_use]
    pub const fn from_ten_thousandths(count: i64) -> Self {
        Self(count)
    }

    /// Returns the decimal as a number of ten-thousandths.
    #[must_use]
    pub const fn ten_thousandths(self) -> i64 {
        self.0
    }

    /// Reads a decimal of any length.
    ///
    /// # Errors
    /// [`ParseDecimalError::Malformed`] or [`ParseDecimalError::OutOfRange`].
    pub fn parse(text: &[u8]) -> Result<Self, ParseDecimalError> {
        let (sign, digits) = match text {
            [b'-', digits @ ..] => (-1, digits),
            [b'+', digits @ ..] | digits => (1, digits),
        };
        let point = digits.iter().position(|&byte| byte == b'.');
        let (whole, fraction) = match point {
            Some(at) => (&digits[..at], &digits[at + 1..]),
            None => (digits, &b"0"[..]),
        };
        let counts = !whole.is_empty() && (1..=FRACTION_DIGITS).contains(&fraction.len());
        if !counts || !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
            return Err(ParseDecimalError::Malformed);
        }
        let padding = std::iter::repeat_n(&b'0', FRACTION_DIGITS - fraction.len());
        let count = whole
            .iter()
            .chain(fraction)
            .chain(padding)
            .try_fold(0_i64, |count, digit| {
                let digit = sign * i64::from(digit - b'0');
                count.checked_mul(10)?.checked_add(digit)
            });
        count.map(Self).ok_or(ParseDecimalError::OutOfRange)
    }

    /// Reads the decimal at the low end of `word`, and returns it with its length, at most seven
    /// bytes: what [`Decimal::parse`] reads a byte at a time, here eight at a time.
    ///
    /// The decimal ends before the first byte without the bit 0x20. The caller checks that byte: line
    /// endings lack the bit, but so do other bytes, such as capital letters. Returns `None` if there is
    /// no such byte, or if the bytes before it are no decimal, or one with a `+`.
    #[inline]
    pub(super) fn from_word(word: u64) -> Option<(Self, usize)> {
        // Every byte of a decimal has this bit.
        let ends = !word & (0x20 * LOW_BITS);
        if ends == 0 {
            return None;
        }
        let bits = ends.trailing_zeros() - 5;
        let len = bits as usize / 8;

        // Replacing the sign by a zero changes nothing.
        let negative = word as u8 == b'-';
        let sign_bits = u32::from(negative) * 8;
        let text = if negative {
            word ^ u64::from(b'-' ^ b'0')
        } else {
            word
        };

        // Of the bytes of a decimal, only digits have this bit. The byte after them may have it, too.
        let point = (!text & (0x10 * LOW_BITS) | 1 << 63).trailing_zeros() & !7;
        if point.min(bits) <= sign_bits {
            return None;
        }
        let (digits, digit_bits, scale) = if point < bits {
            // Close the gap that the point leaves, so that whole and fraction are one run of digits.
            if (text >> point) as u8 != b'.' {
                return None;
            }
            let fraction_digits = (bits - point) as usize / 8 - 1;
            let scale = *SCALE_OF_FRACTION.get(fraction_digits.wrapping_sub(1))?;
            let after = u64::MAX << point;
            (text & !after | text >> 8 & after, bits - 8, scale)
        } else {
            (text, bits, SCALE)
        };

        // The first digit is the low byte; shifting left puts zeros before it and drops
        // the bytes that follow the decimal.
        let ascii_zeros = b'0' as u64 * LOW_BITS;
        let values = (digits ^ ascii_zeros) << (64 - digit_bits);
        let above_nine = values.wrapping_add(0x76 * LOW_BITS) | values;
        if above_nine & HIGH_BITS != 0 {
            return None;
        }
        let magnitude = (number_of_digits(values) * scale).cast_signed();
        Some((Self(if negative { -magnitude } else { magnitude }), len))
    }
}

/// The lowest and the highest bit of each byte of a word.
pub(super) const LOW_BITS: u64 = 0x0101_0101_0101_0101;
pub(super) const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// The factor for a number read without its point, for one to four fraction digits.
const SCALE_OF_FRACTION: [u64; FRACTION_DIGITS] = [1_000, 100, 10, 1];

/// The number whose eight digits, the first in the low byte, are the bytes of `values`: digits are
/// joined to pairs, pairs to fours and to the whole, each step for all of them at once.
#[inline]
const fn number_of_digits(values: u64) -> u64 {
    const PAIRS: u64 = 0x0000_00ff_0000_00ff;
    let pairs = values * 10 + (values >> 8);
    let first_and_third = (pairs & PAIRS).wrapping_mul(100 + (1_000_000 << 32));
    let second_and_fourth = (pairs >> 16 & PAIRS).wrapping_mul(1 + (10_000 << 32));
    first_and_third.wrapping_add(second_and_fourth) >> 32
}

impl FromStr for Decimal {
    type Err = ParseDecimalError;

    fn from_str(text: &str) -> Result<Self, ParseDecimalError> {
        Self::parse(text.as_bytes())
    }
}

/// Honors width, fill, alignment, `+` and `0`, as integers do.
impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.unsigned_abs();
        let (whole, mut fraction) = (magnitude / SCALE, magnitude % SCALE);
        let mut digits = FRACTION_DIGITS;
        while digits > 0 && fraction % 10 == 0 {
            fraction /= 10;
            digits -= 1;
        }
        let mut text = Cursor::new([0; "922337203685477.5808".len()]);
        let written = match digits {
            0 => write!(text, "{whole}"),
            _ => write!(text, "{whole}.{fraction:0digits$}"),
        };
        written.map_err(|_| fmt::Error)?;
        let text = &text.get_ref()[..text.position() as usize];
        let text = str::from_utf8(text).map_err(|_| fmt::Error)?;
        f.pad_integral(self.0 >= 0, "", text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::array::uniform8;
    use proptest::prelude::*;
    use proptest::sample::select;

    fn short_way(text: &[u8]) -> Option<Decimal> {
        let mut word = [b'\n'; 8];
        word[..text.len()].copy_from_slice(text);
        let (value, len) = Decimal::from_word(u64::from_le_bytes(word))?;
        assert_eq!(len, text.len());
        Some(value)
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
    fn is_aligned_as_a_number() {
        let [loss, gain] = ["-1.5", "2"].map(|text| text.parse::<Decimal>().expect("a decimal"));
        assert_eq!(format!("{loss:8}|{gain:<4}|{gain:+}"), "    -1.5|2   |+2");
        assert_eq!(format!("{loss:*^7}|{loss:06}"), "*-1.5**|-001.5");
    }

    #[test]
    fn refuses_what_is_no_decimal() {
        for text in [
            "", "-", "+", ".", "1.", ".5", "1.23456", "1,5", "1e5", "--1", " 1", "0x1", "1.2.3",
            "1 ",
        ] {
            assert_eq!(
                Decimal::parse(text.as_bytes()),
                Err(ParseDecimalError::Malformed),
                "{text:?}"
            );
            assert_eq!(short_way(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn refuses_what_does_not_fit() {
        for fits in ["922337203685477.5807", "-922337203685477.5808"] {
            let value = fits.parse().map(|value: Decimal| value.to_string());
            assert_eq!(value, Ok(fits.to_owned()));
        }
        for text in [
            "922337203685477.5808",
            "-922337203685477.5809",
            "1000000000000000000000",
        ] {
            assert_eq!(
                Decimal::parse(text.as_bytes()),
                Err(ParseDecimalError::OutOfRange),
                "{text}"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn any_word_is_read_as_its_start(bytes in uniform8(select(&b"00112589..-+a;AP\r\n\x10\xd0"[..]))) {
            let end = bytes.iter().position(|byte| byte & 0x20 == 0);
            match (Decimal::from_word(u64::from_le_bytes(bytes)), end) {
                (Some((value, len)), _) => {
                    prop_assert_eq!(Some(len), end);
                    prop_assert_eq!(Decimal::parse(&bytes[..len]), Ok(value));
                }
                (None, Some(end)) => {
                    let long_way = Decimal::parse(&bytes[..end]);
                    prop_assert!(long_way.is_err() || bytes[0] == b'+', "{:?}", long_way);
                }
                (None, None) => {}
            }
        }

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
