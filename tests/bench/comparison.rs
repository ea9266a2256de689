//! What programs that measure two ways of doing something share: rounds in which both take turns, gateways on a Redis of
//! their own, and what is counted while something happens.
//!
//! Never asserts how fast something was.

#[path = "../load/client.rs"]
pub(crate) mod client;
pub(crate) mod process;
pub(crate) mod table;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::Notify;

use client::PATIENCE;
use process::{Gateway, Process, free_port, until};
use table::Table;

/// Rounds, unless the command line says otherwise.
const ROUNDS: usize = 5;

/// Runs all rounds and prints the table. The command line holds the path of the gateway's release build and, for those who
/// want another number, that of the rounds. `round` is told in which order both ways take their turns.
pub(crate) async fn compare(ways: [&str; 2], mut round: impl AsyncFnMut(&mut Table, &Path, [usize; 2])) {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let binary = PathBuf::from(arguments.first().expect("the path of the gateway's release build"));
    let rounds = arguments
        .get(1)
        .map_or(ROUNDS, |rounds| rounds.parse().expect("a number of rounds"));
    let mut table = Table::default();
    for number in 0..rounds {
        eprintln!("round {} of {rounds}", number + 1);
        let order = if number % 2 == 0 { [0, 1] } else { [1, 0] }; // neither is always the second
        round(&mut table, &binary, order).await;
    }
    println!("Medians of {rounds} rounds (and their ranges)\n{}", table.text(ways));
}

/// Gateways that know of each other, and their Redis.
pub(crate) struct Cluster<const GATEWAYS: usize> {
    pub(crate) gateways: [Gateway; GATEWAYS],
    pub(crate) redis: Process,
    pub(crate) redis_port: u16,
}

impl<const GATEWAYS: usize> Cluster<GATEWAYS> {
    /// Starts them with these settings, in which `[cluster]` has no `redis` yet.
    pub(crate) async fn start(binary: &Path, settings: &str) -> Self {
        let redis_port = free_port();
        let redis = Process::redis(redis_port).await;
        let file = std::env::temp_dir().join(format!("roomcast-bench-{}.toml", std::process::id()));
        let url = format!("[cluster]\nredis = \"redis://127.0.0.1:{redis_port}\"");
        std::fs::write(&file, settings.replace("[cluster]", &url)).unwrap();
        let gateways = [(); GATEWAYS].map(|()| Gateway::start(binary, &file));
        std::fs::remove_file(&file).unwrap();
        until("all gateways have their Redis and know of each other", async || {
            for gateway in &gateways {
                let is_up = gateway.metric("roomcast_relay_up ").await == 1.0;
                if !is_up || gateway.metric("roomcast_cluster_nodes ").await != GATEWAYS as f64 {
                    return false;
                }
            }
            true
        })
        .await;
        Self {
            gateways,
            redis,
            redis_port,
        }
    }
}

/// What processes spend while something happens.
pub(crate) struct Meter<'a, const PROCESSES: usize> {
    processes: [&'a Process; PROCESSES],
    before: [f64; PROCESSES],
    started: Instant,
}

impl<'a, const PROCESSES: usize> Meter<'a, PROCESSES> {
    /// From now on.
    pub(crate) fn start(processes: [&'a Process; PROCESSES]) -> Self {
        Self {
            processes,
            before: processes.map(Process::processor_seconds),
            started: Instant::now(),
        }
    }

    /// Seconds of processor time of each, and seconds of the clock.
    pub(crate) fn stop(self) -> ([f64; PROCESSES], f64) {
        let after = self.processes.map(Process::processor_seconds);
        let seconds = self.started.elapsed().as_secs_f64();
        (std::array::from_fn(|at| after[at] - self.before[at]), seconds)
    }
}

/// How many events were heard, and that all of a wave were.
pub(crate) struct Heard {
    count: AtomicUsize,
    wave: usize,
    all: Notify,
}

impl Heard {
    /// Nothing, of waves of so many events.
    pub(crate) fn nothing_of(wave: usize) -> Self {
        Self {
            count: AtomicUsize::new(0),
            wave,
            all: Notify::new(),
        }
    }

    /// One more.
    pub(crate) fn one(&self) {
        if (self.count.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(self.wave) {
            self.all.notify_one();
        }
    }

    /// Waits until a whole wave was heard.
    pub(crate) async fn all(&self) {
        let all = tokio::time::timeout(PATIENCE, self.all.notified()).await;
        all.unwrap_or_else(|_| panic!("{} events were heard", self.count.load(Ordering::Relaxed)));
    }
}

/// Since then.
pub(crate) fn microseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e6
}
