//! The measured part of a run: warming up, a reading, the time, another reading, and the stragglers.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::process::Reading;
use super::report::{Bench, Report, Server, rounded};
use super::run::{Run, Stage};

/// Stragglers are waited for so long at most.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// Nobody waits for stragglers when none has come for so long.
const DRAIN_QUIET: Duration = Duration::from_secs(2);

/// How often it is looked whether all have come.
const LOOK: Duration = Duration::from_millis(20);

/// What was measured.
pub(super) struct Measured {
    pub(super) seconds: f64,
    /// What was counted in that time.
    pub(super) count: u64,
    pub(super) server: Option<Server>,
    pub(super) bench: Bench,
}

/// Warms up, and counts for the time of the plan. `switch` is told when it begins and ends.
pub(super) async fn measure(run: &Rc<Run>, count: impl Fn() -> u64, switch: impl Fn(bool)) -> Measured {
    run.pause(run.plan.warmup).await;
    let (server, own, before, start) = (run.server(), Run::own(), count(), Instant::now());
    switch(true);
    run.enter(Stage::Measured);
    run.pause(run.plan.time).await;
    switch(false);
    let seconds = start.elapsed().as_secs_f64().max(1e-6);
    let after: Reading = run.server();
    let measured = Measured {
        seconds,
        count: count() - before,
        server: run.used(&server, &after, seconds),
        bench: Run::own_use(&own, &Run::own(), seconds),
    };
    run.enter(Stage::Over);
    measured
}

/// Waits until nothing is missing, for as long as something still comes.
pub(super) async fn drain(run: &Rc<Run>, missing: impl Fn() -> u64) {
    let start = Instant::now();
    let (mut last, mut moved) = (missing(), start);
    while last > 0 && moved.elapsed() < DRAIN_QUIET && start.elapsed() < DRAIN_MAX && !run.is_hurried() {
        tokio::time::sleep(LOOK).await;
        let now = missing();
        if now != last {
            (last, moved) = (now, Instant::now());
        }
    }
}

impl Measured {
    /// What was counted, a second.
    pub(super) fn rate(&self) -> f64 {
        rounded(self.count as f64 / self.seconds, 1)
    }

    /// Enters what the processes used, and what one million of what was counted cost.
    pub(super) fn enter(self, report: &mut Report, connect_cpu: f64, join_cpu: Option<f64>) {
        let per_million = |cpu: f64| rounded(cpu * 1e6 / self.count as f64, 4);
        report.seconds = rounded(self.seconds, 3);
        report.server = self.server.map(|server| Server {
            cpu_seconds_per_million: (self.count > 0).then(|| per_million(server.cpu_seconds)),
            connect_cpu_seconds: Some(connect_cpu),
            join_cpu_seconds: join_cpu,
            ..server
        });
        report.bench = self.bench;
    }
}
