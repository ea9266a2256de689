//! The delivery loops: one a shard, which write to sockets themselves.
//!
//! A loop takes every broadcast that waits, fills the outboxes of its shard's members and then flushes each dirty one
//! once. Under load several broadcasts wait, and their frames leave in one write; that is the only thing that beats one
//! write a delivery. A client's task is woken only where its socket would block.

use std::convert::Infallible;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::shard::Shard;
use super::target::Broadcast;
use super::{Reservation, ShardId};
use crate::metrics::{Metrics, Tally};

/// Units that may wait in the queues: a unit a KiB and at least four a broadcast, so that at most 16,384 broadcasts
/// and 64 MiB wait.
pub const UNITS_MAX: u32 = 65_536;

const UNITS_MIN: u32 = 4;

const UNIT_BYTES: usize = 1024;

/// Broadcasts that are filled in under one lock. More would join longer writes and hold up joins and leaves.
const BATCH_MAX: usize = 16;

/// Writes after which other tasks get their turn, so that a large room does not hold up handshakes.
const WRITES_PER_TURN: usize = 256;

/// What stands in the queues.
#[derive(Debug)]
pub(super) enum Queued {
    /// A broadcast; its room there is free again when the last loop is done with it.
    Broadcast { broadcast: Broadcast, _room: Reservation },
    /// Dropped when all that stands before it is in the outboxes.
    Mark { _reached: oneshot::Sender<Infallible> },
}

impl Queued {
    fn broadcast(&self) -> Option<&Broadcast> {
        match self {
            Self::Broadcast { broadcast, .. } => Some(broadcast),
            Self::Mark { .. } => None,
        }
    }
}

/// Units that so many bytes take in the queues.
pub fn units(bytes: usize) -> u32 {
    let units = u32::try_from(bytes / UNIT_BYTES).unwrap_or(UNITS_MAX);
    units.clamp(UNITS_MIN, UNITS_MAX)
}

/// Delivers to one shard until the hub is gone.
pub(super) async fn deliver(
    id: ShardId,
    shard: Arc<Shard>,
    mut queue: mpsc::UnboundedReceiver<Arc<Queued>>,
    metrics: Arc<Metrics>,
) {
    let (mut batch, mut dirty) = (Vec::with_capacity(BATCH_MAX), Vec::new());
    while queue.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let mut tally = Tally::default();
        let broadcasts = batch.iter().filter_map(|queued: &Arc<Queued>| queued.broadcast());
        let deliveries = shard.fill(id, broadcasts, &mut dirty, &mut tally);
        batch.clear();
        for (index, outbox) in dirty.drain(..).enumerate() {
            outbox.flush(&mut tally);
            if index % WRITES_PER_TURN == WRITES_PER_TURN - 1 {
                tokio::task::yield_now().await;
            }
        }
        metrics.deliveries.inc_by(deliveries as u64);
        metrics.sent(&tally);
        tokio::task::yield_now().await;
    }
}
