//! Exports traces and metrics of the service with OpenTelemetry: OTLP over HTTP to the collector in the variables
//! `OTEL_EXPORTER_OTLP_...`.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod export;
mod requests;

pub use opentelemetry;

use crate::export::Counts;
use crate::requests::{RequestContext, Requests};
use axum::http::HeaderMap;
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{Context, KeyValue, global};
use opentelemetry_http::HeaderInjector;
use opentelemetry_otlp::{ExporterBuildError, MetricExporter, SpanExporter};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use server::telemetry::{InitError, LogFormat, init_with, is_request_span};
use server::{Drain, Endpoint, Lifecycle, Metrics, Outcome, StartError};
use std::env;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::Layer as _;

/// Maximum time to send what is queued when the service ends.
const MOST_FLUSH: Duration = Duration::from_secs(5);
/// Minimum time for it, also if the drain has used up its time.
const LEAST_FLUSH: Duration = Duration::from_millis(100);

/// Why the exporters cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A variable has a value that the exporter does not accept.
    #[error(transparent)]
    Exporter(#[from] ExporterBuildError),
    /// A variable asks for another protocol.
    #[error("{variable} is {protocol}: set it to http/protobuf, which is the default")]
    Protocol {
        /// The variable.
        variable: &'static str,
        /// Its value.
        protocol: String,
    },
}

/// The exporters of spans and metrics, configured by environment variables.
#[derive(Debug)]
pub struct Exporters {
    spans: Option<SpanExporter>,
    metrics: Option<MetricExporter>,
    counts: Arc<Counts>,
}

impl Exporters {
    /// Reads the variables `OTEL_...`, and sends nothing yet.
    ///
    /// # Errors
    /// The variable whose value is not accepted.
    pub fn from_environment() -> Result<Self, ConfigError> {
        let counts = Arc::<Counts>::default();
        let is_disabled = env::var("OTEL_SDK_DISABLED")
            .is_ok_and(|disabled| disabled.trim().eq_ignore_ascii_case("true"));
        let is_on = |exporter: &str| !is_disabled && env::var(exporter).as_deref() != Ok("none");
        for variable in [
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
            "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
        ] {
            let protocol = env::var(variable).unwrap_or_default();
            if !["", "http/protobuf"].contains(&protocol.as_str()) {
                return Err(ConfigError::Protocol { variable, protocol });
            }
        }
        let spans = is_on("OTEL_TRACES_EXPORTER").then(|| export::spans(&counts));
        let metrics = is_on("OTEL_METRICS_EXPORTER").then(|| export::metrics(&counts));
        Ok(Self {
            spans: spans.transpose()?,
            metrics: metrics.transpose()?,
            counts,
        })
    }

    /// Starts the threads that export, and the log, as `server::telemetry::init` does. `service` and `version`
    /// are those of the resource, unless `OTEL_SERVICE_NAME` or `OTEL_RESOURCE_ATTRIBUTES` has others.
    ///
    /// # Errors
    /// The filter is malformed, or the process has a log already.
    pub fn start(
        self,
        service: &'static str,
        version: &'static str,
        log_filter: &str,
        log_format: Option<LogFormat>,
    ) -> Result<Telemetry, InitError> {
        let resource = resource(service, version);
        let tracers = SdkTracerProvider::builder().with_resource(resource.clone());
        let tracers = match self.spans {
            Some(spans) => tracers.with_span_processor(export::batches(spans, &self.counts)),
            // A trace of others is passed on, and none begins here.
            None => tracers.with_sampler(Sampler::AlwaysOff),
        };
        let tracers = tracers.build();
        let meters = SdkMeterProvider::builder().with_resource(resource);
        let meters = match self.metrics {
            Some(metrics) => meters.with_reader(PeriodicReader::builder(metrics).build()),
            None => meters,
        };
        let meters = meters.build();
        // For the metrics and spans of handlers. Globals are never dropped, which would wait for the collector.
        global::set_text_map_propagator(TraceContextPropagator::new());
        global::set_tracer_provider(tracers.clone());
        global::set_meter_provider(meters.clone());
        let tracer = tracers.tracer(service);
        let spans = tracing_opentelemetry::layer()
            .with_tracer(tracer.clone())
            .with_threads(false)
            .with_tracked_inactivity(false)
            // The span of a request is made by `Requests`, since it is not the log's.
            .with_filter(filter_fn(|metadata| !is_request_span(metadata)));
        let log = init_with(spans.and_then(RequestContext), log_filter, log_format)?;
        Ok(Telemetry {
            requests: Requests::new(tracer, &meters.meter(service)),
            counts: self.counts,
            tracers,
            meters,
            _log: log,
        })
    }
}

fn resource(service: &'static str, version: &'static str) -> Resource {
    let resource = Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", service),
            KeyValue::new("service.version", version),
        ])
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_detector(Box::new(EnvResourceDetector::new()));
    match env::var("OTEL_SERVICE_NAME") {
        Ok(name) if !name.is_empty() => resource.with_service_name(name).build(),
        _ => resource.build(),
    }
}

/// The log and the exporters; keep it until the process ends.
#[derive(Debug)]
pub struct Telemetry {
    requests: Requests,
    counts: Arc<Counts>,
    tracers: SdkTracerProvider,
    meters: SdkMeterProvider,
    _log: WorkerGuard,
}

impl Telemetry {
    /// The metrics of the service, with those of the export.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::default();
        self.counts.register(metrics.registry_mut());
        metrics
    }

    /// Does what `server::run` does, traces the requests to `public`, and sends at the end what is queued, within the
    /// time of the drain.
    ///
    /// # Errors
    /// The system refuses to hand over its signals.
    pub async fn run(
        &self,
        mut public: Endpoint,
        admin: Endpoint,
        lifecycle: &Lifecycle,
        drain: Drain,
    ) -> Result<Outcome, StartError> {
        public.app = self.requests.traced(public.app);
        let closing = lifecycle.clone();
        let closed = tokio::spawn(async move {
            closing.closing().await;
            Instant::now()
        });
        let outcome = server::run(public, admin, lifecycle, drain).await?;
        if outcome != Outcome::Interrupted {
            let closed = closed.await.unwrap_or_else(|_| Instant::now());
            let left = drain.cap.saturating_sub(closed.elapsed());
            self.flush(left.clamp(LEAST_FLUSH, MOST_FLUSH)).await;
        }
        self.counts.report_end();
        Ok(outcome)
    }

    async fn flush(&self, time: Duration) {
        let (tracers, meters) = (self.tracers.clone(), self.meters.clone());
        let spans = spawn_blocking(move || tracers.shutdown_with_timeout(time));
        let metrics = spawn_blocking(move || meters.shutdown_with_timeout(time));
        // The threads may wait for longer, but the process does not.
        let _ = timeout(time, async { (spans.await, metrics.await) }).await;
    }
}

/// Adds the headers `traceparent` and `tracestate` of the current span to a request that a handler sends.
pub fn inject(headers: &mut HeaderMap) {
    let context = Context::current();
    TraceContextPropagator::new().inject_context(&context, &mut HeaderInjector(headers));
}
