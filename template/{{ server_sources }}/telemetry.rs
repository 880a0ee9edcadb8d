//! Sets up the log: its destination, format and filter.

use super::json::Json;
pub use super::record::{is_request_span, observed};
use std::backtrace::{Backtrace, BacktraceStatus};
use std::env;
use std::error::Error;
use std::io::{self, IsTerminal as _};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use tracing::level_filters::LevelFilter;
use tracing::{Subscriber, field};
use tracing_appender::non_blocking::{ErrorCounter, WorkerGuard};
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, reload};

/// Format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[non_exhaustive]
pub enum LogFormat {
    /// Text for people.
    Pretty,
    /// One JSON object per line.
    Json,
}

/// The log could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the log: {0}")]
pub struct InitError(#[from] Box<dyn Error + Send + Sync>);

/// Logs events to standard error; without a `format`, as text on a terminal, else as JSON.
///
/// A separate thread writes the events, so that a slow reader of the log delays no request. Its
/// queue is bounded: if it is full, events are dropped. Keep the guard until the program ends:
/// dropping it writes the queued events.
///
/// # Errors
/// The filter is malformed, or the process has a log already.
pub fn init(filter: &str, format: Option<LogFormat>) -> Result<WorkerGuard, InitError> {
    init_on(Registry::default(), filter, format)
}

/// Does what [`init`] does, and gives `layer` the spans and events that the filter admits.
///
/// # Errors
/// The filter is malformed, or the process has a log already.
pub fn init_with<L>(
    layer: L,
    filter: &str,
    format: Option<LogFormat>,
) -> Result<WorkerGuard, InitError>
where
    L: Layer<Registry> + Send + Sync,
{
    init_on(Registry::default().with(layer), filter, format)
}

fn init_on<S>(spans: S, filter: &str, format: Option<LogFormat>) -> Result<WorkerGuard, InitError>
where
    S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync + 'static,
{
    let terminal = io::stderr().is_terminal();
    let colors = terminal && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let by_terminal = if terminal {
        LogFormat::Pretty
    } else {
        LogFormat::Json
    };
    // The thread flushes when its queue is empty, so one system call writes several lines of a burst:
    // whole lines, since a pipe takes up to 4 KiB at once.
    let writer = io::BufWriter::with_capacity(4096, io::stderr());
    let (writer, guard) = tracing_appender::non_blocking(writer);
    let _ = DROPPED.set(writer.error_counter());
    log_to(writer, spans, filter, format.unwrap_or(by_terminal), colors)?;
    // The default hook writes text for people between the lines for machines.
    std::panic::set_hook(Box::new(|panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        let message = panic
            .payload_as_str()
            .unwrap_or("a payload that is no text");
        let location = panic.location().map(field::display);
        // It costs nothing unless RUST_BACKTRACE asks for it.
        let trace = Backtrace::capture();
        let is_captured = trace.status() == BacktraceStatus::Captured;
        let backtrace = is_captured.then(|| field::display(&trace));
        tracing::error!(panic = message, location, backtrace, "panicked");
    }));
    Ok(guard)
}

/// Whether `text` is a filter that [`init`] accepts. A word alone has to be a level: as the name of a
/// target, a misspelt level would silence the log.
#[must_use]
pub fn is_filter(text: &str) -> bool {
    let is_level = |word: &str| word.trim().parse::<LevelFilter>().is_ok();
    let mut directives = text.split(',');
    EnvFilter::try_new(text).is_ok()
        && directives.all(|directive| directive.contains(['=', '[', ']']) || is_level(directive))
}

/// Counts the panics of all threads and tasks.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// Returns how often something has panicked.
pub(super) fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// Counts the lines that are dropped because the log is read too slowly.
static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

/// Returns how many lines of the log were dropped.
pub(super) fn dropped_lines() -> u64 {
    DROPPED
        .get()
        .map_or(0, |dropped| dropped.dropped_lines() as u64)
}

/// Sends events to any writer, for benches: what [`init`] writes, without its thread.
///
/// # Errors
/// The filter is malformed, or the process has a log already.
pub fn init_to<W>(writer: W, filter: &str, format: LogFormat, ansi: bool) -> Result<(), InitError>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    log_to(writer, Registry::default(), filter, format, ansi)
}

fn log_to<W, S>(
    writer: W,
    spans: S,
    filter: &str,
    format: LogFormat,
    ansi: bool,
) -> Result<(), InitError>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
    S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(filter).map_err(|error| InitError(error.into()))?;
    let log = fmt::layer().with_writer(writer).with_ansi(ansi);
    match format {
        LogFormat::Pretty => start(spans.with(log), filter),
        LogFormat::Json => start(spans.with(log.fmt_fields(Json).event_format(Json)), filter),
    }
}

fn start<S>(log: S, filter: EnvFilter) -> Result<(), InitError>
where
    S: Subscriber + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(filter);
    keep(handle);
    log.with(filter)
        .try_init()
        .map_err(|error| InitError(error.into()))
}

/// Replaces the filter of the log, if there is a new one, and returns the one in force.
type Filter = Box<dyn Fn(Option<EnvFilter>) -> Result<String, reload::Error> + Send + Sync>;
static FILTER: OnceLock<Filter> = OnceLock::new();

fn keep<S: 'static>(handle: reload::Handle<EnvFilter, S>) {
    let _ = FILTER.set(Box::new(move |new| {
        new.map_or(Ok(()), |new| handle.reload(new))?;
        handle.with_current(EnvFilter::to_string)
    }));
}

/// Returns the filter of the log.
pub(super) async fn filter() -> String {
    let filter = FILTER.get().and_then(|filter| filter(None).ok());
    filter.unwrap_or_default()
}

/// Replaces the filter of the log, and returns the new one.
///
/// # Errors
/// It is malformed, or the process has another log.
pub(super) fn set_filter(text: &str) -> Result<String, Box<dyn Error + Send + Sync>> {
    if !is_filter(text) {
        return Err("type a level such as info, or a filter such as warn,hyper=debug".into());
    }
    tracing::info!(filter = text, "log filter changed");
    let new = EnvFilter::try_new(text)?;
    let filter = FILTER.get().ok_or("another log is set up")?;
    Ok(filter(Some(new))?)
}
