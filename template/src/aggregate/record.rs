//! Splits the input into records, and records into key and value, eight bytes at a time.
//!
//! # Hot path
//! Part of: aggregate

use super::MAX_LINE_BYTES;
use super::decimal::{Decimal, HIGH_BITS, LOW_BITS};
use crate::error::Expected;

pub(super) struct Record<'a> {
    pub(super) key: &'a [u8],
    pub(super) value: Decimal,
}

/// Splits the first line off `text`, if it is a record with a value of up to seven bytes. It looks
/// for `;` only: a key with a `\n` in it is for the caller to reject, who knows which keys there are.
#[inline]
pub(super) fn split_usual(text: &[u8]) -> Option<(Record<'_>, &[u8])> {
    // The search for `;` does not stop at line endings, so an empty line must not start one: that
    // would be quadratic. Any other line without `;` is an error, and ends the input.
    if matches!(text.first()?, b'\n' | b'\r') {
        return None;
    }
    let key_len = position_of_separator(text)?;
    if key_len > MAX_LINE_BYTES - 9 {
        return None;
    }
    let (key, after) = (&text[..key_len], &text[key_len + 1..]);
    let (value, len) = Decimal::from_word(u64::from_le_bytes(*after.first_chunk()?))?;
    match &after[len..] {
        [b'\n', rest @ ..] | [b'\r', b'\n', rest @ ..] => Some((Record { key, value }, rest)),
        _ => None,
    }
}

#[inline]
fn position_of_separator(text: &[u8]) -> Option<usize> {
    let mut rest = text;
    while let Some((word, after)) = rest.split_first_chunk() {
        let found = separators(u64::from_le_bytes(*word));
        if found != 0 {
            return Some(text.len() - rest.len() + found.trailing_zeros() as usize / 8);
        }
        rest = after;
    }
    None
}

/// For each byte of `word`, its highest bit is set where the byte is `;`; above the first such byte,
/// bits may be set by mistake.
#[inline]
const fn separators(word: u64) -> u64 {
    let zero_where_equal = word ^ (b';' as u64 * LOW_BITS);
    zero_where_equal.wrapping_sub(LOW_BITS) & !zero_where_equal & HIGH_BITS
}

/// Splits the first line off `text`, which ends with `\n`; an empty line gives no record. Errors are
/// distinguished here.
pub(super) fn split_any(text: &[u8]) -> Result<(Option<Record<'_>>, &[u8]), Expected> {
    let end = memchr::memchr(b'\n', text).unwrap_or(text.len() - 1);
    let (line, rest) = (&text[..end], &text[end + 1..]);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return Ok((None, rest));
    }
    if line.len() > MAX_LINE_BYTES {
        return Err(Expected::ShorterLine);
    }
    let separator = memchr::memchr(b';', line).ok_or(Expected::Separator)?;
    let (key, value) = (&line[..separator], &line[separator + 1..]);
    if key.is_empty() {
        return Err(Expected::Key);
    }
    Ok((
        Some(Record {
            key,
            value: Decimal::parse(value)?,
        }),
        rest,
    ))
}
