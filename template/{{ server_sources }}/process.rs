//! Metrics of the process and of its runtime, read at each request of the metrics page.

use super::server::open_files;
use super::{settings, telemetry};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use std::time::{SystemTime, UNIX_EPOCH};
use std::{fmt, fs};
use tokio::runtime::Handle;

/// In a second, in what Linux tells of the time of a process: part of its interface.
const TICKS: f64 = 100.0;

/// What is counted elsewhere: by the log, the runtime and the system. The names of the process are those
/// of Prometheus' client libraries.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let to = &mut encoder;
        let dropped = "Lines of the log that were dropped because it was read too slowly";
        let lines = ConstCounter::new(telemetry::dropped_lines());
        add(to, "log_lines_dropped", dropped, &lines)?;
        let panics = ConstCounter::new(telemetry::panics());
        add(to, "panics", "Panics of all threads and tasks", &panics)?;
        if let Some((name, version)) = settings::build() {
            let info = Info::new([("name", name), ("version", version)]);
            add(to, "build", "What is running", &info)?;
        }
        add_runtime(to)?;
        add_process(to).unwrap_or(Ok(()))
    }
}

fn add(
    to: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metric: &impl EncodeMetric,
) -> fmt::Result {
    metric.encode(to.encode_descriptor(name, help, None, metric.metric_type())?)
}

fn add_gauge(to: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: usize) -> fmt::Result {
    add(to, name, help, &ConstGauge::new(value as u64))
}

fn add_runtime(to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let Ok(runtime) = Handle::try_current() else {
        return Ok(());
    };
    let runtime = runtime.metrics();
    let workers = runtime.num_workers();
    add_gauge(to, "tokio_workers", "Threads that run tasks", workers)?;
    let tasks = runtime.num_alive_tasks();
    add_gauge(to, "tokio_alive_tasks", "Tasks that have not ended", tasks)?;
    let queued = runtime.global_queue_depth();
    let help = "Tasks that wait for a thread";
    add_gauge(to, "tokio_global_queue_depth", help, queued)?;
    #[cfg(target_has_atomic = "64")]
    {
        let busy =
            (0..workers).map(|worker| runtime.worker_total_busy_duration(worker).as_secs_f64());
        let busy = ConstCounter::new(busy.sum::<f64>());
        let help = "Time for which threads ran tasks";
        add(to, "tokio_workers_busy_seconds", help, &busy)?;
    }
    Ok(())
}

/// Adds what Linux tells, and nothing where it is not told.
fn add_process(to: &mut DescriptorEncoder<'_>) -> Option<fmt::Result> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program comes first, and may contain spaces.
    let (_, stat) = stat.rsplit_once(')')?;
    let stat = stat
        .split_whitespace()
        .map(|field| field.parse().unwrap_or(0));
    let stat: Vec<u64> = stat.collect();
    let since_boot = fs::read_to_string("/proc/uptime").ok()?;
    let since_boot: f64 = since_boot.split_whitespace().next()?.parse().ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let files = fs::read_dir("/proc/self/fd").ok()?.count();
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let resident: usize = resident.trim_end_matches("kB").trim().parse().ok()?;
    let (user, system, threads, start) =
        (stat.get(11)?, stat.get(12)?, stat.get(17)?, stat.get(19)?);
    let cpu = ConstCounter::new((user + system) as f64 / TICKS);
    let start = ConstGauge::new(now.as_secs_f64() - since_boot + *start as f64 / TICKS);
    let mut add_all = || {
        add(to, "process_cpu_seconds", "Time on processors", &cpu)?;
        add(to, "process_start_time_seconds", "Start since 1970", &start)?;
        add_gauge(to, "process_threads", "Threads", *threads as usize)?;
        add_gauge(
            to,
            "process_resident_memory_bytes",
            "Memory in use",
            resident * 1024,
        )?;
        add_gauge(to, "process_open_fds", "Open files", files)?;
        let most = open_files().map_or(0, |most| most as usize);
        add_gauge(to, "process_max_fds", "Files that may be open", most)
    };
    Some(add_all())
}
