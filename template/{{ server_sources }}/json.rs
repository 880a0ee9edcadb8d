//! The log as JSON.

use super::Chain;
use serde_json::{Map, Value};
use std::cell::Cell;
use std::error::Error;
use std::fmt::{self, Write as _};
use tracing::field::{Field, Visit};
use tracing::span;
use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
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
        writer.write_str(r#"{"timestamp":""#)?;
        SystemTime.format_time(&mut writer)?;
        writer.write_str(r#"","level":""#)?;
        writer.write_str(level.as_str())?;
        writer.write_str(r#"","target":""#)?;
        writer.write_str(target)?;
        writer.write_char('"')?;
        write_members(writer.by_ref(), event, &RESERVED)?;
        if let Some(scope) = context.event_scope() {
            write_spans::<S, N>(&mut writer, scope)?;
        }
        writer.write_str("}\n")
    }
}

fn write_spans<S, N>(writer: &mut Writer<'_>, mut innermost_first: Scope<'_, S>) -> fmt::Result
where
    S: for<'span> LookupSpan<'span>,
    N: 'static,
{
    let Some(innermost) = innermost_first.next() else {
        return Ok(());
    };
    // In the span of a request there are no others, and no memory is needed for them.
    let mut others = innermost_first.collect::<Vec<_>>();
    writer.write_str(r#","span":"#)?;
    let Some(outermost) = others.pop() else {
        return write_span::<S, N>(writer, &innermost);
    };
    write_span::<S, N>(writer, &outermost)?;
    writer.write_str(r#","inner_spans":["#)?;
    for span in others.iter().rev() {
        write_span::<S, N>(writer, span)?;
        writer.write_char(',')?;
    }
    write_span::<S, N>(writer, &innermost)?;
    writer.write_char(']')
}

fn write_span<S, N>(writer: &mut Writer<'_>, span: &SpanRef<'_, S>) -> fmt::Result
where
    S: for<'span> LookupSpan<'span>,
    N: 'static,
{
    writer.write_str(r#"{"name":""#)?;
    writer.write_str(span.name())?;
    writer.write_char('"')?;
    if let Some(fields) = span.extensions().get::<FormattedFields<N>>() {
        writer.write_str(fields)?;
    }
    writer.write_char('}')
}

impl<'writer> FormatFields<'writer> for Json {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        write_members(writer, fields, &["name"])
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

/// What an event has besides its fields.
const RESERVED: [&str; 5] = ["timestamp", "level", "target", "span", "inner_spans"];

thread_local! {
    /// Memory for the names of one object, kept because each object needs it.
    static NAMES: Cell<Vec<Name>> = const { Cell::new(Vec::new()) };
}

/// The name of a field, and how many underscores make it unique.
type Name = (&'static str, usize);

/// Writes fields as further members of an object that has the names `reserved` already.
fn write_members(
    writer: Writer<'_>,
    fields: impl RecordFields,
    reserved: &[&'static str],
) -> fmt::Result {
    let mut names = NAMES.take();
    names.clear();
    names.extend(reserved.iter().map(|name| (*name, 0)));
    let mut members = Members {
        writer,
        names,
        known: reserved
            .iter()
            .fold(0, |known, name| known | bit(&(name, 0))),
        result: Ok(()),
    };
    fields.record(&mut members);
    NAMES.set(members.names);
    members.result
}

fn is_same((one, more): &Name, (other, more_of_other): &Name) -> bool {
    one.len() + more == other.len() + more_of_other
        && one.trim_end_matches('_') == other.trim_end_matches('_')
}

/// A bit that differs for most names.
fn bit((name, underscores): &Name) -> u64 {
    let first = name.bytes().next().map_or(0, usize::from);
    1 << ((31 * first + name.len() + underscores) % 64)
}

struct Members<'writer> {
    writer: Writer<'writer>,
    names: Vec<Name>,
    /// A bit for each name, so that most names are compared with no other.
    known: u64,
    result: fmt::Result,
}

impl Members<'_> {
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

    /// Adds a member whose value is written by `value`.
    ///
    /// Piece by piece, since the formatting of the standard library costs as much as all the rest.
    fn add(&mut self, field: &Field, value: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        let underscores = self.underscores(field.name());
        let mut write = || {
            // Names of fields, spans and targets are the program's own, so they need no escapes.
            self.writer.write_str(",\"")?;
            self.writer.write_str(field.name())?;
            (0..underscores).try_for_each(|_| self.writer.write_char('_'))?;
            self.writer.write_str("\":")
        };
        let written = write().and_then(|()| value(&mut self.writer));
        self.result = self.result.and(written);
    }

    fn add_text(&mut self, field: &Field, text: impl FnOnce(&mut Escaping<'_, '_>) -> fmt::Result) {
        self.add(field, |writer| {
            writer.write_char('"')?;
            text(&mut Escaping(writer))?;
            writer.write_char('"')
        });
    }
}

impl Visit for Members<'_> {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, |writer| write!(writer, "{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, |writer| write!(writer, "{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, |writer| write_number(writer, value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, |writer| match value.is_finite() {
            true => write!(writer, "{value}"),
            false => writer.write_str("null"),
        });
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

fn write_number(writer: &mut Writer<'_>, mut value: u64) -> fmt::Result {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    writer.write_str(str::from_utf8(&digits[at..]).map_err(|_| fmt::Error)?)
}

/// Escapes text for a string of JSON.
struct Escaping<'a, 'writer>(&'a mut Writer<'writer>);

impl fmt::Write for Escaping<'_, '_> {
    fn write_str(&mut self, mut text: &str) -> fmt::Result {
        let is_special = |byte: &u8| *byte < b' ' || *byte == b'"' || *byte == b'\\';
        while let Some(at) = text.as_bytes().iter().position(is_special) {
            self.0.write_str(&text[..at])?;
            write!(self.0, "\\u{:04x}", text.as_bytes()[at])?;
            text = &text[at + 1..];
        }
        self.0.write_str(text)
    }
}
