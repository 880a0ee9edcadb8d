//! The graceful shutdown of the service, and the signals that start it.

use std::io;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Running,
    Draining,
    Closing,
}

/// The state of the service: running, draining or closing; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Lifecycle(Arc<watch::Sender<Phase>>);

impl Lifecycle {
    /// Begins the shutdown: tells clients to use another instance, and still serves them.
    pub fn drain(&self) {
        self.0.send_replace(Phase::Draining);
    }

    /// Stops accepting connections, and closes each after its current request.
    pub fn close(&self) {
        self.0.send_replace(Phase::Closing);
    }

    /// Whether the service has begun to stop.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.0.borrow() != Phase::Running
    }

    /// Waits for [`Lifecycle::close`].
    pub async fn closing(&self) {
        // The sender lives as long as `self`, so this cannot fail.
        let _ = self
            .0
            .subscribe()
            .wait_for(|phase| *phase == Phase::Closing)
            .await;
    }
}

/// The signals that ask the process to end.
#[derive(Debug)]
pub struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    /// Takes the signals over from the system's default, which is to die.
    ///
    /// # Errors
    /// What the system answers.
    #[cfg(unix)]
    pub fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next signal and gives its name.
    #[cfg(unix)]
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }

    /// Waits for the next signal that comes at `time` or later, and gives its name.
    pub async fn next_after(&mut self, time: Instant) -> &'static str {
        loop {
            let signal = self.next().await;
            if Instant::now() >= time {
                return signal;
            }
        }
    }

    /// Takes ctrl-c over from the system's default, which is to die.
    ///
    /// # Errors
    /// None on this platform.
    #[cfg(not(unix))]
    pub fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    /// Waits for the next ctrl-c.
    #[cfg(not(unix))]
    pub async fn next(&mut self) -> &'static str {
        match tokio::signal::ctrl_c().await {
            Ok(()) => "ctrl-c",
            // Without a handler the system's default ends the process instead.
            Err(_) => std::future::pending().await,
        }
    }
}
