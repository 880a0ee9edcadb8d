//! The open connections of an endpoint, and which of them is closed to make room for another.

use super::metrics::CONNECTIONS;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Idle time after which a connection may be closed to make room for another.
const SPARE_AFTER: Duration = Duration::from_secs(1);
/// Interval at which a connection to close is looked for while all slots are in use.
const SEARCH_EACH: Duration = Duration::from_millis(100);
/// Minimum interval between two log lines about slots.
const REPORT_EACH: Duration = Duration::from_secs(60);

/// The connections of one endpoint; clones share them.
#[derive(Clone, Debug)]
pub(super) struct Connections(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    endpoint: &'static str,
    limit: u32,
    slots: Arc<Semaphore>,
    started: Instant,
    /// Milliseconds from the start to the last log line about slots; 0 before the first.
    reported: AtomicU64,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next_id: u64,
    by_id: HashMap<u64, Arc<Activity>>,
}

impl Connections {
    pub(super) fn new(endpoint: &'static str, limit: u32) -> Self {
        CONNECTIONS.set_limit(endpoint, limit);
        Self(Arc::new(Shared {
            endpoint,
            limit,
            slots: Arc::new(Semaphore::new(limit as usize)),
            started: Instant::now(),
            reported: AtomicU64::new(0),
            open: Mutex::default(),
        }))
    }

    /// Waits for a free slot; until then, idle connections are closed, longest idle first.
    pub(super) async fn slot(&self) -> Option<OwnedSemaphorePermit> {
        let slots = &self.0.slots;
        if let Ok(slot) = slots.clone().try_acquire_owned() {
            return Some(slot);
        }
        self.report_full();
        loop {
            self.close_longest_idle();
            // The connection may need a moment, or send a response first.
            if let Ok(slot) = timeout(SEARCH_EACH, slots.clone().acquire_owned()).await {
                return slot.ok();
            }
        }
    }

    /// Registers a connection until the result is dropped.
    pub(super) fn open(&self, slot: OwnedSemaphorePermit) -> Connection {
        let activity = Arc::new(Activity {
            idle_since: AtomicU64::new(self.now()),
            has_served: AtomicBool::new(false),
            is_spare: AtomicBool::new(false),
            spare: Notify::new(),
        });
        let mut open = self.lock();
        let id = open.next_id;
        open.next_id += 1;
        open.by_id.insert(id, activity.clone());
        CONNECTIONS.count_open(self.0.endpoint, open.by_id.len());
        drop(open);
        Connection {
            connections: self.clone(),
            id,
            activity,
            _slot: slot,
        }
    }

    /// Waits until every connection has ended, at most for `cap`.
    ///
    /// # Errors
    /// How many connections are still open.
    pub(super) async fn finish(&self, cap: Duration) -> Result<(), usize> {
        let all = self.0.slots.acquire_many(self.0.limit);
        if timeout(cap, all).await.is_ok() {
            return Ok(());
        }
        Err(self.0.limit as usize - self.0.slots.available_permits())
    }

    fn close_longest_idle(&self) {
        let open = self.lock();
        let idle_since = |one: &&Arc<Activity>| one.idle_since.load(Ordering::Relaxed);
        let Some(longest) = open.by_id.values().min_by_key(idle_since) else {
            return;
        };
        let idle = self.now().saturating_sub(idle_since(&longest));
        if Duration::from_millis(idle) >= SPARE_AFTER {
            longest.make_room();
        }
    }

    fn report_full(&self) {
        let (now, last) = (self.now(), self.0.reported.load(Ordering::Relaxed));
        if last != 0 && Duration::from_millis(now - last) < REPORT_EACH {
            return;
        }
        self.0.reported.store(now.max(1), Ordering::Relaxed);
        let (endpoint, connections) = (self.0.endpoint, self.0.limit);
        tracing::warn!(
            endpoint,
            connections,
            "all connections in use; closing idle ones"
        );
    }

    fn now(&self) -> u64 {
        // It overflows after 500 million years.
        self.0.started.elapsed().as_millis() as u64
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // Nothing panics while it is locked.
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Connection {
    connections: Connections,
    id: u64,
    activity: Arc<Activity>,
    _slot: OwnedSemaphorePermit,
}

impl Connection {
    /// Notes that a request has arrived.
    pub(super) fn begin_request(&self) {
        self.activity.has_served.store(true, Ordering::Relaxed);
        self.activity.idle_since.store(BUSY, Ordering::Relaxed);
    }

    /// Notes that the response is known.
    pub(super) fn end_request(&self) {
        let now = self.connections.now();
        self.activity.idle_since.store(now, Ordering::Relaxed);
    }

    /// Whether a request has arrived on it.
    pub(super) fn has_served(&self) -> bool {
        self.activity.has_served.load(Ordering::Relaxed)
    }

    /// Whether it must make room for another connection.
    pub(super) fn is_spare(&self) -> bool {
        self.activity.is_spare.load(Ordering::Relaxed)
    }

    /// Waits until it must make room for another connection.
    pub(super) async fn spare(&self) {
        self.activity.spare.notified().await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut open = self.connections.lock();
        open.by_id.remove(&self.id);
        CONNECTIONS.count_open(self.connections.0.endpoint, open.by_id.len());
    }
}

/// An `idle_since` of connections that are not idle.
const BUSY: u64 = u64::MAX;

/// The state of a connection.
#[derive(Debug)]
struct Activity {
    /// Milliseconds from the start of the endpoint to the last response, or to the accept.
    idle_since: AtomicU64,
    has_served: AtomicBool,
    is_spare: AtomicBool,
    spare: Notify,
}

impl Activity {
    fn make_room(&self) {
        // It is not found again: if it sends a response, the next one makes room.
        self.idle_since.store(BUSY, Ordering::Relaxed);
        self.is_spare.store(true, Ordering::Relaxed);
        self.spare.notify_one();
    }
}
