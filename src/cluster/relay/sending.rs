//! The publisher's end: many messages under way, in order, and what comes of each.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tracing::error;

use super::{Outgoing, Published, Relay};
use crate::cluster::answer::{Receipt, count};
use crate::cluster::redis::Failure;
use crate::hub::{UNITS_MAX, units};

/// Messages whose answers Redis owes. More wait in our own queue, where no timeout runs.
const UNDER_WAY_MAX: usize = 1024;

impl Relay {
    /// Publishes something of our own, behind everything that was published before. False where too much waits already.
    pub(in crate::cluster) fn say(&self, channel: Arc<str>, payload: Bytes) -> bool {
        match Arc::clone(&self.room).try_acquire_many_owned(units(payload.len())) {
            Ok(permit) => self.send(channel, payload, permit),
            Err(_) => {
                self.metrics.relay.lost.inc();
                false
            }
        }
    }

    /// The same, but waits while too much waits; false when time is up before.
    pub(in crate::cluster) async fn say_in_time(
        &self,
        channel: Arc<str>,
        payload: Bytes,
        deadline: tokio::time::Instant,
    ) -> bool {
        let room = Arc::clone(&self.room).acquire_many_owned(units(payload.len()));
        match tokio::time::timeout_at(deadline, room).await {
            Ok(Ok(permit)) => self.send(channel, payload, permit),
            Ok(Err(_)) | Err(_) => false,
        }
    }

    fn send(&self, channel: Arc<str>, payload: Bytes, permit: OwnedSemaphorePermit) -> bool {
        let published = Published {
            epoch: 0,
            number: 0, // nothing of ours waits for it
            waiter: None,
            _room: permit,
        };
        let outgoing = Outgoing {
            channel,
            payload,
            published,
        };
        self.outgoing.send(outgoing).is_ok()
    }

    /// Waits until everything that was published before is delivered here, too, or given up.
    pub(in crate::cluster) async fn passed(&self) {
        let passed = self.state.lock().ledger.passed();
        if let Some(passed) = passed {
            let _ = passed.await; // given up
        }
    }

    /// Waits until everything that was published before is at Redis, or lost.
    pub(in crate::cluster) async fn flushed(&self) {
        let _ = self.room.acquire_many(UNITS_MAX).await;
    }

    /// Publishes in order, many at a time.
    pub(super) async fn publish_all(self: Arc<Self>, mut queue: mpsc::UnboundedReceiver<Outgoing>) {
        let mut under_way = FuturesOrdered::new();
        loop {
            tokio::select! {
                Some(outgoing) = queue.recv(), if under_way.len() < UNDER_WAY_MAX => {
                    let Outgoing { channel, payload, published } = outgoing;
                    let answer = self.redis.publish(channel, payload);
                    under_way.push_back(async move { (answer.await, published) });
                }
                Some((result, published)) = under_way.next() => self.published(result, published),
                else => return,
            }
        }
    }

    /// Redis has answered, or will not.
    fn published(&self, result: Result<u64, Failure>, published: Published) {
        let receipt = match result {
            Ok(_) => {
                self.metrics.relay.published.inc();
                self.answered.fetch_max(published.number + 1, Ordering::AcqRel);
                Receipt::Relayed
            }
            Err(failure) => self.failed(&failure, &published),
        };
        count(receipt, &self.metrics);
        if let Some(waiter) = published.waiter {
            waiter.send(receipt, &self.hub);
        }
    }

    fn failed(&self, failure: &Failure, published: &Published) -> Receipt {
        match failure {
            Failure::Refused(words) => {
                let mut state = self.state.lock();
                let is_pending = published.epoch == state.ledger.epoch() && published.epoch > 0;
                let pending = is_pending.then(|| state.ledger.give_up(published.number)).flatten();
                if let Some(pending) = pending.filter(|_| self.serves_alone) {
                    pending.deliver(&self.hub);
                }
                drop(state);
                self.metrics.relay.lost.inc();
                error!(words, "Redis refuses to publish");
            }
            Failure::Away | Failure::Timeout => {
                self.metrics.relay.lost.inc();
                self.go_away("a message could not be published");
                if *failure == Failure::Timeout {
                    self.redis.reset_publisher();
                    self.redis.reset_subscriber();
                }
            }
        }
        if self.serves_alone {
            Receipt::Local
        } else {
            Receipt::Unavailable
        }
    }
}
