//! The log as JSON.

use super::Chain;
use serde_json::{Map, Value};
use std::cell::Cell;
use std::error::Error;
use std::fmt::{self, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};
use tracing::field::{Field, Visit};
use tracing::span;
use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{self, FormatTime as _};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::{LookupSpan, Scope, SpanRef};

/// An event as one object a line: `span` is the outermost span, which is that of the request, and
/// `inner_spans` are those within it. So the request id has one place on every line.
///
/// The library's own format parses the text of the span again for each event, which takes longer
/// than all else that the server does for a request.
pub(super) struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let (level, target) = (event.metadata().level(), event.metadata().target());
        let mut line = Members::besides(&["timestamp", "level", "target", "span", "inner_spans"]);
        line.text.push_str(r#"{"timestamp":""#);
        push_time(&mut line.text)?;
        line.text.push_str(r#"","level":""#);
        line.text.push_str(level.as_str());
        line.text.push_str(r#"","target":""#);
        line.text.push_str(target);
        line.text.push('"');
        event.record(&mut line);
        if let Some(scope) = context.event_scope() {
            push_spans::<S, N>(&mut line.text, scope);
        }
        line.text.push_str("}\n");
        line.write_to(&mut writer)
    }
}

fn push_spans<S, N>(text: &mut String, mut innermost_first: Scope<'_, S>)
where
    S: for<'span> LookupSpan<'span>,
    N: 'static,
{
    let Some(innermost) = innermost_first.next() else {
        return;
    };
    // In the span of a request there are no others, and no memory is needed for them.
    let mut others = innermost_first.collect::<Vec<_>>();
    text.push_str(r#","span":"#);
    let Some(outermost) = others.pop() else {
        return push_span::<S, N>(text, &innermost);
    };
    push_span::<S, N>(text, &outermost);
    text.push_str(r#","inner_spans":["#);
    for span in others.iter().rev() {
        push_span::<S, N>(text, span);
        text.push(',');
    }
    push_span::<S, N>(text, &innermost);
    text.push(']');
}

fn push_span<S, N>(text: &mut String, span: &SpanRef<'_, S>)
where
    S: for<'span> LookupSpan<'span>,
    N: 'static,
{
    text.push_str(r#"{"name":""#);
    text.push_str(span.name());
    text.push('"');
    if let Some(fields) = span.extensions().get::<FormattedFields<N>>() {
        text.push_str(fields);
    }
    text.push('}');
}

impl<'writer> FormatFields<'writer> for Json {
    fn format_fields<R: RecordFields>(
        &self,
        mut writer: Writer<'writer>,
        fields: R,
    ) -> fmt::Result {
        let mut members = Members::besides(&["name"]);
        fields.record(&mut members);
        members.write_to(&mut writer)
    }

    fn add_fields(
        &self,
        current: &'writer mut FormattedFields<Self>,
        fields: &span::Record<'_>,
    ) -> fmt::Result {
        self.format_fields(current.as_writer(), fields)?;
        let Some(members) = current.fields.strip_prefix(',') else {
            return Ok(());
        };
        // Of a field that is recorded again, the last value is kept.
        let object = serde_json::from_str::<Map<String, Value>>(&format!("{{{members}}}"));
        let mut unique = String::new();
        for (name, value) in object.map_err(|_| fmt::Error)? {
            write!(unique, ",{}:{value}", Value::from(name))?;
        }
        current.fields = unique;
        Ok(())
    }
}

/// The text of a time up to the second and its point, such as `2026-01-31T23:59:59.`.
type Second = [u8; 20];

thread_local! {
    /// Memory for one object, kept because each object needs it.
    static MEMORY: Cell<(String, Vec<Name>)> = const { Cell::new((String::new(), Vec::new())) };
    /// The last second that was formatted, in seconds since 1970.
    static SECOND: Cell<Option<(u64, Second)>> = const { Cell::new(None) };
}

/// Appends the time, to the microsecond. The library formats it once per second, because that takes
/// longer than the fields of a request.
fn push_time(text: &mut String) -> fmt::Result {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok();
    if let (Some(now), Some((known, second))) = (now, SECOND.get())
        && known == now.as_secs()
    {
        let mut micros = now.subsec_micros();
        let mut digits = *b"000000Z";
        for digit in digits[..6].iter_mut().rev() {
            *digit += (micros % 10) as u8;
            micros /= 10;
        }
        push_ascii(text, &second)?;
        return push_ascii(text, &digits);
    }
    let start = text.len();
    time::SystemTime.format_time(&mut Writer::new(text))?;
    // The clock may have reached the next second since; then no other event has this one.
    let formatted = text.as_bytes()[start..].first_chunk().copied();
    SECOND.set(now.map(|now| now.as_secs()).zip(formatted));
    Ok(())
}

fn push_ascii(text: &mut String, bytes: &[u8]) -> fmt::Result {
    text.push_str(str::from_utf8(bytes).map_err(|_| fmt::Error)?);
    Ok(())
}

/// The name of a field, and how many underscores make it unique.
type Name = (&'static str, usize);

fn is_same((one, more): &Name, (other, more_of_other): &Name) -> bool {
    one.len() + more == other.len() + more_of_other
        && one.trim_end_matches('_') == other.trim_end_matches('_')
}

/// A bit that differs for most names.
fn bit((name, underscores): &Name) -> u64 {
    let first = name.bytes().next().map_or(0, usize::from);
    1 << ((31 * first + name.len() + underscores) % 64)
}

/// The text of an object with the members that fields become.
struct Members {
    text: String,
    names: Vec<Name>,
    /// A bit for each name, so that most names are compared with no other.
    known: u64,
    result: fmt::Result,
}

impl Members {
    /// Returns members whose names differ from those of others.
    fn besides(others: &[&'static str]) -> Self {
        let (mut text, mut names) = MEMORY.take();
        text.clear();
        names.clear();
        names.extend(others.iter().map(|name| (*name, 0)));
        let known = names.iter().fold(0, |known, name| known | bit(name));
        Self {
            text,
            names,
            known,
            result: Ok(()),
        }
    }

    fn write_to(self, writer: &mut Writer<'_>) -> fmt::Result {
        // At once, because each piece costs as much.
        let written = self.result.and_then(|()| writer.write_str(&self.text));
        MEMORY.set((self.text, self.names));
        written
    }

    /// Returns how many underscores make a name unique: a reader of a doubled one may refuse the line.
    fn underscores(&mut self, name: &'static str) -> usize {
        let mut name = (name, 0);
        while self.known & bit(&name) != 0 && self.names.iter().any(|other| is_same(other, &name)) {
            name.1 += 1;
        }
        self.known |= bit(&name);
        self.names.push(name);
        name.1
    }

    /// Appends what stands before a value. Names of fields, spans and targets are the program's own, so
    /// they need no escapes.
    fn begin(&mut self, field: &Field) {
        let underscores = self.underscores(field.name());
        self.text.push_str(",\"");
        self.text.push_str(field.name());
        for _ in 0..underscores {
            self.text.push('_');
        }
        self.text.push_str("\":");
    }

    fn add(&mut self, field: &Field, value: impl fmt::Display) {
        self.begin(field);
        let written = write!(self.text, "{value}");
        self.result = self.result.and(written);
    }

    fn add_text(&mut self, field: &Field, text: impl FnOnce(&mut Escaping<'_>) -> fmt::Result) {
        self.begin(field);
        self.text.push('"');
        let written = text(&mut Escaping(&mut self.text));
        self.text.push('"');
        self.result = self.result.and(written);
    }
}

impl Visit for Members {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.begin(field);
        let written = push_number(&mut self.text, value);
        self.result = self.result.and(written);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        match value.is_finite() {
            true => self.add(field, value),
            false => self.add(field, "null"),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add_text(field, |text| text.write_str(value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.add_text(field, |text| write!(text, "{}", Chain(value)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add_text(field, |text| write!(text, "{value:?}"));
    }
}

/// Appends a number; the formatting of the standard library costs several times as much.
fn push_number(text: &mut String, value: u64) -> fmt::Result {
    let mut digits = [0; 20];
    let start = write_number(&mut digits, value);
    push_ascii(text, &digits[start..])
}

/// Writes a number at the end of `digits`, which must have room for it, and returns where it starts.
pub(super) fn write_number(digits: &mut [u8], mut value: u64) -> usize {
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            return start;
        }
    }
}

/// Escapes text for a string of JSON.
struct Escaping<'text>(&'text mut String);

impl fmt::Write for Escaping<'_> {
    fn write_str(&mut self, mut text: &str) -> fmt::Result {
        let is_special = |byte: u8| (byte < b' ') | (byte == b'"') | (byte == b'\\');
        // Most text has none. Without a branch for each byte the CPU compares many at once.
        let has_special = text.bytes().fold(false, |any, byte| any | is_special(byte));
        if !has_special {
            self.0.push_str(text);
            return Ok(());
        }
        while let Some(at) = text.bytes().position(is_special) {
            self.0.push_str(&text[..at]);
            write!(self.0, "\\u{:04x}", text.as_bytes()[at])?;
            text = &text[at + 1..];
        }
        self.0.push_str(text);
        Ok(())
    }
}
