//! The publisher's end: many messages under way, in order, and what comes of each.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use tokio::sync::mpsc;
use tracing::error;

use super::{Outgoing, Published, Relay};
use crate::cluster::answer::{Receipt, count};
use crate::cluster::redis::Failure;

/// Messages whose answers Redis owes. More wait in our own queue, where no timeout runs.
const UNDER_WAY_MAX: usize = 1024;

impl Relay {
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
