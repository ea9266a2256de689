//! Load, leaks and bounds, against the release build in a process of its own (`cargo build --release` makes it).
//!
//! What is promised is asserted as facts: counts, order, what is held. Times are measured and printed, and asserted only
//! with so much room that a busy machine cannot break them. One test runs at a time, else they would measure each other.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod client;
mod gateway;
mod idle;
mod inside;
mod leaks;
mod memory;
mod slow_connections;
mod slow_members;
mod storm;

use std::alloc::System;
use std::time::Duration;

use cap::Cap;
use tokio::sync::{Mutex, MutexGuard};

/// Descriptors that the largest of these tests need in this process.
const DESCRIPTORS: u64 = 12_000;

/// Counts what this process has allocated, for the test that runs a gateway in it.
#[global_allocator]
static ALLOCATED: Cap<System> = Cap::new(System, usize::MAX);

/// Takes the machine for one test.
async fn alone() -> MutexGuard<'static, ()> {
    static MACHINE: Mutex<()> = Mutex::const_new(());
    let machine = MACHINE.lock().await;
    let descriptors = rlimit::increase_nofile_limit(u64::MAX).unwrap();
    assert!(
        descriptors >= DESCRIPTORS,
        "{descriptors} descriptors are too few (ulimit -Hn)"
    );
    machine
}

/// Runs `make` for each number, at most `width` at a time, and returns what came of all.
async fn for_each<T, F>(count: u64, width: usize, make: impl Fn(u64) -> F + Send + Sync + 'static) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send,
{
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    let (make, next) = (Arc::new(make), Arc::new(AtomicU64::new(0)));
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..width {
        let (make, next) = (Arc::clone(&make), Arc::clone(&next));
        workers.spawn(async move {
            let mut done = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return done;
                }
                done.push(make(number).await);
            }
        });
    }
    workers.join_all().await.into_iter().flatten().collect()
}

/// Fails where something takes so long that it will never end.
async fn within_minutes<T>(minutes: u64, future: impl Future<Output = T>) -> T {
    let time = Duration::from_secs(60 * minutes);
    tokio::time::timeout(time, future)
        .await
        .unwrap_or_else(|_| panic!("not done after {time:?}"))
}
