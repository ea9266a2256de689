//! Whether Redis is there: said by connections that are lost, by messages without an answer, and by probes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch;
use tracing::{info, warn};

use super::{Probe, Relay};
use crate::cluster::Node;
use crate::cluster::redis::Failure;

/// How often we publish something to ourselves.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// A probe that is not back after this time says that Redis is away.
const PROBE_PATIENCE: Duration = Duration::from_secs(2);

impl Relay {
    /// Whether what we publish comes back, and every change of that.
    pub(in crate::cluster) fn up(&self) -> watch::Receiver<bool> {
        self.up.subscribe()
    }

    /// A subscriber's connection is there: everything is subscribed anew.
    pub(in crate::cluster) fn subscriber_is_up(&self) {
        let mut state = self.state.lock();
        state.table.reset();
        if state.table.generation() > 1 {
            self.metrics.relay.reconnects.inc();
        }
        state.is_subscribed = false;
        drop(state);
        self.subscribe.notify_one();
    }

    /// The subscriber's connection is lost.
    pub(in crate::cluster) fn subscriber_is_down(&self) {
        self.go_away("the subscriber's connection is lost");
        self.state.lock().table.disconnect();
    }

    /// A publisher's connection is there.
    pub(in crate::cluster) fn publisher_is_up(&self) {
        self.probe.notify_one();
    }

    /// Redis is away: all that waits for it is delivered here, in order, and nobody waits any more.
    pub(in crate::cluster) fn go_away(&self, why: &str) {
        let mut state = self.state.lock();
        if !state.is_up {
            return; // then nobody waits for a subscription either
        }
        state.is_up = false;
        state.table.release();
        state.away_since = Instant::now();
        let pending = state.ledger.begin_epoch();
        self.metrics.relay.lost.inc_by(pending.len() as u64);
        let waiting = pending.len();
        if self.serves_alone {
            for (_, pending) in pending {
                pending.deliver(&self.hub);
            }
        }
        drop(state);
        self.metrics.relay.up.set(0);
        self.metrics.relay.gaps.inc();
        self.up.send_replace(false);
        warn!(why, delivered_here = waiting, "Redis is away: this node goes on alone");
    }

    /// A probe came back: Redis is there, in both directions. True where it was away.
    pub(in crate::cluster) fn probed(&self, payload: &[u8]) -> bool {
        let number = std::str::from_utf8(payload)
            .ok()
            .and_then(|text| text.parse::<u64>().ok());
        let mut state = self.state.lock();
        let now = Instant::now();
        let probe = state.probe;
        if number != Some(probe.number) {
            return false;
        }
        state.probed = now;
        let latency = now.duration_since(probe.sent);
        self.metrics.relay.latency.observe(latency.as_secs_f64());
        for pending in state.ledger.give_up_before(probe.answered) {
            self.metrics.relay.lost.inc();
            pending.deliver(&self.hub);
        }
        if state.is_up || !state.is_subscribed || !self.redis.is_publisher_up() {
            return false;
        }
        state.is_up = true;
        state.ledger.begin_epoch();
        let away = now.duration_since(state.away_since);
        drop(state);
        self.metrics.relay.up.set(1);
        if self.metrics.relay.gaps.get() > 0 {
            self.metrics.relay.gap_seconds.inc_by(away.as_secs_f64());
        } // before the first time there was nothing to miss
        self.up.send_replace(true);
        self.has_lapsed();
        info!(after = ?Duration::from_millis(away.as_millis() as u64), "Redis is there");
        true
    }

    /// Changes when Redis may have lost what we keep there.
    pub(in crate::cluster) fn lapses(&self) -> watch::Receiver<u64> {
        self.lapses.subscribe()
    }

    /// Redis may have lost what we keep there.
    pub(in crate::cluster) fn has_lapsed(&self) {
        self.lapses.send_modify(|times| *times += 1);
    }

    /// A heartbeat of ours came back: gateways that are gone.
    pub(in crate::cluster) fn echoed(&self) -> Vec<Node> {
        let now = Instant::now();
        let mut alive = self.peers.alive.lock();
        if alive.was_silent(now) {
            self.has_lapsed(); // others may have cleared up after us
        }
        alive.echo(now)
    }

    /// Publishes to ourselves, and sees whether it comes back.
    pub(super) async fn keep_probing(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(PROBE_INTERVAL) => {}
                () = self.probe.notified() => {}
            }
            let number = {
                let mut state = self.state.lock();
                let now = Instant::now();
                if state.is_up && now.duration_since(state.probed) > PROBE_PATIENCE {
                    drop(state);
                    self.go_away("a probe did not come back");
                    self.redis.reset_publisher();
                    self.redis.reset_subscriber();
                    continue;
                }
                state.probe = Probe {
                    number: state.probe.number + 1,
                    sent: now,
                    answered: self.answered.load(Ordering::Acquire),
                };
                state.probe.number
            };
            if !self.redis.is_publisher_up() {
                continue;
            }
            let payload = Bytes::from(number.to_string());
            match self.redis.publish(self.routes.probe(), payload).await {
                Ok(_) | Err(Failure::Refused(_)) => {}
                Err(_) => self.go_away("a probe could not be published"),
            }
        }
    }
}
