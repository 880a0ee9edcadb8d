//! Sends spans and metrics, and counts what is not sent: on separate threads, so that no request waits.

use async_trait::async_trait;
use opentelemetry::Context;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    ExporterBuildError, MetricExporter, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{self, BatchSpanProcessor, Span, SpanData, SpanProcessor};
use server::prometheus_client::metrics::counter::Counter;
use server::prometheus_client::metrics::family::Family;
use server::prometheus_client::registry::Registry;
use std::env;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Milliseconds that a request to the collector may take, retries included; the default of the specification.
const TIMEOUT: u64 = 10_000;
/// Spans that wait to be sent; the default of the specification.
const QUEUE: usize = 2048;
/// Minimum interval between two log lines about the export.
const REPORT_EACH: Duration = Duration::from_secs(60);
const QUEUE_FULL: &str = "queue_full";
const EXPORT_FAILED: &str = "export_failed";

/// What has become of the spans.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// In the queue, or being sent.
    pending: AtomicUsize,
    exported: Counter,
    dropped: Family<[(&'static str, &'static str); 1], Counter>,
    failures: Counter,
    reports: Reports,
}

impl Counts {
    pub(crate) fn register(&self, registry: &mut Registry) {
        for reason in [QUEUE_FULL, EXPORT_FAILED] {
            self.of(reason).inc_by(0);
        }
        registry.register(
            "otel_spans_exported",
            "Spans that the collector accepted",
            self.exported.clone(),
        );
        registry.register(
            "otel_spans_dropped",
            "Spans that were not exported",
            self.dropped.clone(),
        );
        registry.register(
            "otel_export_failures",
            "Requests to the collector that failed",
            self.failures.clone(),
        );
    }

    fn of(&self, reason: &'static str) -> Counter {
        self.dropped.get_or_create_owned(&[("reason", reason)])
    }

    /// Logs what was lost, when the process ends.
    pub(crate) fn report_end(&self) {
        let pending = self.pending.load(Ordering::Relaxed);
        let queue_full = self.of(QUEUE_FULL).get();
        let export_failed = self.of(EXPORT_FAILED).get();
        if pending > 0 || queue_full > 0 || export_failed > 0 {
            tracing::warn!(pending, queue_full, export_failed, "spans not exported");
        }
    }

    fn report_failure(&self, error: &dyn std::fmt::Display) {
        self.failures.inc();
        if self.reports.is_due() {
            let dropped = self.of(QUEUE_FULL).get() + self.of(EXPORT_FAILED).get();
            tracing::warn!(%error, spans_dropped = dropped, "export to the collector failed");
        }
    }
}

/// When something was last reported.
#[derive(Debug)]
struct Reports {
    started: Instant,
    /// Milliseconds from the start to the last report; 0 before the first.
    last: AtomicU64,
}

impl Default for Reports {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            last: AtomicU64::new(0),
        }
    }
}

impl Reports {
    fn is_due(&self) -> bool {
        let now = self.started.elapsed().as_millis() as u64;
        let last = self.last.load(Ordering::Relaxed);
        let is_due = last == 0 || Duration::from_millis(now.saturating_sub(last)) >= REPORT_EACH;
        if is_due {
            self.last.store(now.max(1), Ordering::Relaxed);
        }
        is_due
    }
}

pub(crate) fn spans(counts: &Arc<Counts>) -> Result<SpanExporter, ExporterBuildError> {
    let client = Client::new("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", counts);
    SpanExporter::builder()
        .with_http()
        .with_timeout(client.timeout)
        .with_http_client(client)
        .build()
}

pub(crate) fn metrics(counts: &Arc<Counts>) -> Result<MetricExporter, ExporterBuildError> {
    let client = Client::new("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", counts);
    MetricExporter::builder()
        .with_http()
        .with_timeout(client.timeout)
        .with_http_client(client)
        .build()
}

/// Queues spans for the thread that sends them.
pub(crate) fn batches(spans: SpanExporter, counts: &Arc<Counts>) -> impl SpanProcessor + 'static {
    let exporter = Counted {
        spans,
        counts: counts.clone(),
    };
    Bounded {
        queue: BatchSpanProcessor::builder(exporter).build(),
        capacity: variable("OTEL_BSP_MAX_QUEUE_SIZE").unwrap_or(QUEUE),
        counts: counts.clone(),
    }
}

fn variable<T: FromStr>(name: &str) -> Option<T> {
    env::var(name).ok()?.trim().parse().ok()
}

/// A blocking client, for the threads that export; with few dependencies and without TLS.
#[derive(Debug)]
struct Client {
    agent: ureq::Agent,
    timeout: Duration,
    counts: Arc<Counts>,
}

impl Client {
    fn new(timeout: &str, counts: &Arc<Counts>) -> Self {
        let timeout = variable(timeout).or_else(|| variable("OTEL_EXPORTER_OTLP_TIMEOUT"));
        let timeout = Duration::from_millis(timeout.unwrap_or(TIMEOUT));
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            .build();
        Self {
            agent: config.into(),
            timeout,
            counts: counts.clone(),
        }
    }

    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, ureq::Error> {
        let (head, body) = request.into_parts();
        let request = Request::from_parts(head, body.to_vec());
        let (head, mut body) = self.agent.run(request)?.into_parts();
        Ok(Response::from_parts(head, body.read_to_vec()?.into()))
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let result = self.send(request);
        match &result {
            Ok(response) if response.status().is_success() => {}
            Ok(response) => self.counts.report_failure(&response.status()),
            Err(error) => self.counts.report_failure(error),
        }
        Ok(result?)
    }
}

/// An exporter that counts.
#[derive(Debug)]
struct Counted {
    spans: SpanExporter,
    counts: Arc<Counts>,
}

impl trace::SpanExporter for Counted {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.spans.export(batch).await;
        let counter = match &result {
            Ok(()) => self.counts.exported.clone(),
            Err(_) => self.counts.of(EXPORT_FAILED),
        };
        counter.inc_by(spans as u64);
        self.counts.pending.fetch_sub(spans, Ordering::Relaxed);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.spans.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.spans.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.spans.set_resource(resource);
    }
}

/// A queue that drops and counts items when it is full; it does not block.
#[derive(Debug)]
struct Bounded {
    queue: BatchSpanProcessor,
    capacity: usize,
    counts: Arc<Counts>,
}

impl SpanProcessor for Bounded {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.queue.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.counts.pending.fetch_add(1, Ordering::Relaxed) < self.capacity {
            self.queue.on_end(span);
        } else {
            self.counts.pending.fetch_sub(1, Ordering::Relaxed);
            self.counts.of(QUEUE_FULL).inc();
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.queue.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.queue.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.queue.set_resource(resource);
    }
}
