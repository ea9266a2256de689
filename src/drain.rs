//! Leaving without being missed: not ready, then connections closed evenly, then whatever is left.

use std::time::Duration;

use rand::seq::SliceRandom as _;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::engine::Engine;
use crate::ops::health::Health;
use crate::reason::Reason;
use crate::units::Span;

/// `[drain]`: three moments, all counted from the signal.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How long connections are still accepted, so that the balancer looks away.
    pub delay: Span,
    /// The time after `delay` over which connections are closed evenly.
    pub spread: Span,
    /// When whatever is left is cut.
    pub timeout: Span,
}

/// How often connections are closed while they are spread: fine enough that no step is a burst.
const STEP: Duration = Duration::from_millis(50);

/// Time for the last words of sessions that are cut.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What somebody wants the node to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// Go on.
    #[default]
    No,
    /// Leave without being missed.
    Drain,
    /// Leave at once.
    Now,
}

/// How the node left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every connection was closed in time.
    Clean,
    /// The deadline, or a second signal, cut connections.
    Cut,
}

/// Takes the node out of service as `config` says; at once when `stop` says so.
pub async fn drain(config: &Config, engine: &Engine, health: &Health, stop: &mut watch::Receiver<Stop>) -> Ended {
    health.draining();
    if *stop.borrow() < Stop::Now {
        let leave = leave(config, engine);
        tokio::select! {
            ended = leave => if ended == Ended::Clean { return ended },
            _ = stop.wait_for(|stop| *stop == Stop::Now) => {}
        }
    }
    let left = end_all(engine, Reason::Shutdown);
    if left == 0 {
        return Ended::Clean;
    }
    warn!(connections = left, "connections are cut");
    let _ = tokio::time::timeout(LAST_WORDS, emptied(engine)).await;
    Ended::Cut
}

/// The three moments of `config`.
async fn leave(config: &Config, engine: &Engine) -> Ended {
    let start = Instant::now();
    info!(connections = engine.directory().len(), delay = %config.delay, spread = %config.spread, "draining");
    tokio::time::sleep_until(start + config.delay.0).await;
    engine.refuse_handshakes();
    let deadline = start + config.timeout.0;
    let _ = tokio::time::timeout_at(deadline, spread(config.spread.0, engine)).await;
    // Whoever was in the middle of a handshake.
    end_all(engine, Reason::Draining);
    match tokio::time::timeout_at(deadline, emptied(engine)).await {
        Ok(()) => Ended::Clean,
        Err(_) => Ended::Cut,
    }
}

/// Closes what is connected now, evenly over `time` and in random order. A node without connections does not wait.
async fn spread(time: Duration, engine: &Engine) {
    let mut outboxes = engine.directory().outboxes();
    outboxes.shuffle(&mut rand::rng());
    let (start, total) = (Instant::now(), outboxes.len());
    while !outboxes.is_empty() {
        let share = if time.is_zero() {
            1.0
        } else {
            start.elapsed().as_secs_f64() / time.as_secs_f64()
        };
        let left = (total as f64 * (1.0 - share.min(1.0))) as usize;
        for outbox in outboxes.drain(left.min(outboxes.len())..) {
            outbox.end(Reason::Draining);
        }
        if !outboxes.is_empty() {
            tokio::time::sleep(STEP.min(time)).await;
        }
    }
}

fn end_all(engine: &Engine, reason: Reason) -> usize {
    let outboxes = engine.directory().outboxes();
    for outbox in &outboxes {
        outbox.end(reason);
    }
    outboxes.len()
}

async fn emptied(engine: &Engine) {
    while !engine.directory().is_empty() {
        tokio::time::sleep(STEP / 5).await;
    }
}
