//! Leaving without being missed: not ready, then connections closed evenly, then whatever is left.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rand::seq::SliceRandom as _;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::backend::webhook::Webhooks;
use crate::cluster::{Cluster, Passenger};
use crate::engine::{Engine, Outbox};
use crate::metrics::Metrics;
use crate::ops::health::Health;
use crate::reason::Reason;
use crate::units::Span;
use crate::wish::Wish;

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

/// How often sessions are looked for whose handshake was let in before and has ended only now.
const LATECOMERS_INTERVAL: Duration = Duration::from_millis(500);

/// Time for the last words of sessions that are cut.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How the node left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every connection was closed in time.
    Clean,
    /// The deadline, or a second signal, cut connections.
    Cut,
}

/// What there is to take out of service.
#[derive(Debug)]
pub struct Drain {
    /// When.
    pub config: Config,
    /// Its own sessions.
    pub engine: Arc<Engine>,
    /// What goes through it to sessions of other nodes.
    pub cluster: Arc<Cluster>,
    /// What balancers ask.
    pub health: Arc<Health>,
    /// What operators see.
    pub metrics: Arc<Metrics>,
    /// What the application is still to be told, where it is told anything.
    pub webhooks: Option<Arc<Webhooks>>,
}

/// Somebody whom a node that leaves has to let go.
enum Leaver {
    Session(Arc<Outbox>),
    Passenger(Passenger),
}

impl Drain {
    /// Does what is wished until the node has left.
    pub async fn run(&self, wish: &mut watch::Receiver<Wish>) -> Ended {
        loop {
            let _ = wish.wait_for(|wish| *wish != Wish::Serve).await;
            self.set(true);
            if let Some(ended) = self.drain(wish).await {
                return ended;
            }
            info!("serving again");
            self.set(false);
        }
    }

    fn set(&self, is_draining: bool) {
        self.health.set_draining(is_draining);
        self.metrics.draining.set(is_draining.into());
        if !is_draining {
            self.engine.refuse_handshakes(false);
        }
    }

    /// Drains until the node may leave; `None` where it is to serve again before that.
    async fn drain(&self, wish: &mut watch::Receiver<Wish>) -> Option<Ended> {
        let mut leaving = pin!(self.leave(self.config.delay.0));
        let mut left = None;
        loop {
            let wished = *wish.borrow_and_update();
            match (wished, left) {
                (Wish::Serve, _) => return None,
                (Wish::LeaveNow, _) => return Some(self.cut().await),
                (Wish::Leave, Some(_)) if self.is_empty() => {
                    tokio::select! {
                        _ = tokio::time::timeout(self.config.timeout.0, self.told()) => return Some(Ended::Clean),
                        _ = wish.wait_for(|wish| *wish == Wish::LeaveNow) => continue,
                    }
                }
                (Wish::Leave, Some(_)) => {
                    leaving.set(self.leave(Duration::ZERO)); // who came while the node stayed
                    left = None;
                }
                (Wish::Drain, _) | (Wish::Leave, None) => {}
            }
            tokio::select! {
                ended = &mut leaving, if left.is_none() => {
                    if wished == Wish::Leave {
                        return Some(ended);
                    }
                    left = Some(ended);
                }
                changed = wish.changed() => if changed.is_err() { return Some(self.cut().await) },
            }
        }
    }

    /// The three moments of `config`, the first of them after `delay`.
    async fn leave(&self, delay: Duration) -> Ended {
        let start = Instant::now();
        let (connections, config) = (self.engine.directory().len(), &self.config);
        info!(connections, delay = %Span(delay), spread = %config.spread, "draining");
        tokio::time::sleep_until(start + delay).await;
        self.engine.refuse_handshakes(true);
        let deadline = start + config.timeout.0;
        let _ = tokio::time::timeout_at(deadline, self.spread(config.spread.0)).await;
        match tokio::time::timeout_at(deadline, self.emptied()).await {
            Ok(()) => {
                let _ = tokio::time::timeout_at(deadline, self.told()).await;
                Ended::Clean
            }
            Err(_) => self.cut().await,
        }
    }

    /// Lets go of everybody who is there now, evenly over `time` and in random order. A node without anybody does not
    /// wait.
    async fn spread(&self, time: Duration) {
        let mut leavers: Vec<_> = self.passengers().chain(self.sessions()).collect();
        leavers.shuffle(&mut rand::rng());
        let (start, total) = (Instant::now(), leavers.len());
        while !leavers.is_empty() {
            let share = if time.is_zero() {
                1.0
            } else {
                start.elapsed().as_secs_f64() / time.as_secs_f64()
            };
            let left = (total as f64 * (1.0 - share.min(1.0))) as usize;
            for leaver in leavers.drain(left.min(leavers.len())..) {
                leaver.end(Reason::Draining);
            }
            if !leavers.is_empty() {
                tokio::time::sleep(STEP.min(time)).await;
            }
        }
    }

    /// Ends what is left, without waiting for anybody.
    async fn cut(&self) -> Ended {
        if self.is_empty() {
            return Ended::Clean;
        }
        let left = self.end_all(Reason::Shutdown);
        warn!(connections = left, "connections are cut");
        let last_words = async {
            self.emptied().await;
            self.told().await;
        };
        let _ = tokio::time::timeout(LAST_WORDS, last_words).await;
        Ended::Cut
    }

    fn end_all(&self, reason: Reason) -> usize {
        let leavers = self.passengers().chain(self.sessions());
        leavers.map(|leaver| leaver.end(reason)).count()
    }

    fn sessions(&self) -> impl Iterator<Item = Leaver> {
        self.engine.directory().outboxes().into_iter().map(Leaver::Session)
    }

    fn passengers(&self) -> impl Iterator<Item = Leaver> {
        self.cluster.passengers().into_iter().map(Leaver::Passenger)
    }

    fn is_empty(&self) -> bool {
        self.engine.directory().is_empty() && self.cluster.is_deserted()
    }

    /// Waits until the application knows who has gone.
    async fn told(&self) {
        if let Some(webhooks) = &self.webhooks {
            self.cluster.told().await; // of rooms that are vacated
            webhooks.emptied().await;
        }
    }

    async fn emptied(&self) {
        let mut look_again = Instant::now();
        while !self.is_empty() {
            self.passengers().for_each(|late| late.end(Reason::Draining));
            if Instant::now() >= look_again {
                self.sessions().for_each(|late| late.end(Reason::Draining));
                look_again += LATECOMERS_INTERVAL;
            }
            tokio::time::sleep(STEP / 5).await;
        }
    }

    /// Lets go of whoever still comes to go through this node, for as long as it is polled: balancers that ask nobody send
    /// requests for sessions of other nodes until the end.
    pub async fn let_go_of_the_last(&self) {
        loop {
            self.passengers().for_each(|late| late.end(Reason::Draining));
            tokio::time::sleep(STEP).await;
        }
    }
}

impl Leaver {
    fn end(self, reason: Reason) {
        match self {
            Self::Session(outbox) => outbox.end(reason),
            Self::Passenger(passenger) => passenger.end(),
        }
    }
}
