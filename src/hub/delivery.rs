//! The delivery loops: one a shard, which write to sockets themselves.
//!
//! A loop takes every broadcast that waits, fills the outboxes of its shard's members and then flushes each dirty one
//! once. Under load several broadcasts wait, and their frames leave in one write; that is the only thing that beats one
//! write a delivery. A client's task is woken only where its socket would block.
//!
//! A large room takes many turns to flush. What is broadcast meanwhile is filled in between them, and sockets of small
//! rooms are flushed before the rest of the large one: who meets in a small room does not wait for a large one.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::shard::Shard;
use super::target::Broadcast;
use super::{Reservation, ShardId};
use crate::engine::Outbox;
use crate::metrics::{Metrics, Tally};

/// Units that may wait in the queues: a unit a KiB and at least four a broadcast, so that at most 16,384 broadcasts
/// and 64 MiB wait.
pub const UNITS_MAX: u32 = 65_536;

const UNITS_MIN: u32 = 4;

const UNIT_BYTES: usize = 1024;

/// Broadcasts that are filled in under one lock. More would join longer writes and hold up joins and leaves.
const BATCH_MAX: usize = 16;

/// Broadcasts that are filled in while there are sockets to flush: what a socket at the end of a long list may come to
/// hold at most, beside what was in its outbox before.
const AHEAD_MAX: usize = 64;

/// Writes after which other tasks get their turn, so that a large room does not hold up handshakes.
const WRITES_PER_TURN: usize = 256;

/// Those of them that small rooms may take.
const SMALL_WRITES_PER_TURN: usize = 192;

/// A broadcast that makes at most so many sockets dirty is one to a small room.
const SMALL_MAX: usize = 128;

/// What stands in the queues, with its number.
pub(super) type Numbered = (u64, Arc<Queued>);

/// What enters them.
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

/// Outboxes with something to flush, each once; those of a small room that are in a large one's list, too, are in both, and
/// the second flush finds nothing.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    /// Those of small rooms, which come first.
    small: VecDeque<Arc<Outbox>>,
    large: VecDeque<Arc<Outbox>>,
    /// Those of the broadcast that is being filled in.
    fresh: Vec<Arc<Outbox>>,
}

impl Dirty {
    /// How many members a room may have so that they are flushed before others, even where they are among those already.
    pub(super) fn overtaking_max(&self) -> usize {
        if self.large.is_empty() { 0 } else { SMALL_MAX }
    }

    /// The broadcast that is being filled in makes this one dirty.
    pub(super) fn push(&mut self, outbox: &Arc<Outbox>) {
        self.fresh.push(Arc::clone(outbox));
    }

    /// All members have the broadcast.
    pub(super) fn end_broadcast(&mut self) {
        let list = if self.fresh.len() <= SMALL_MAX {
            &mut self.small
        } else {
            &mut self.large
        };
        list.extend(self.fresh.drain(..));
    }

    fn is_empty(&self) -> bool {
        self.small.is_empty() && self.large.is_empty()
    }

    /// Flushes so many of them as others can wait for.
    fn flush_turn(&mut self, tally: &mut Tally) {
        let small = self.small.len().min(SMALL_WRITES_PER_TURN);
        let large = self.large.len().min(WRITES_PER_TURN - small);
        for outbox in self.small.drain(..small).chain(self.large.drain(..large)) {
            outbox.flush(tally);
        }
    }
}

/// Delivers to one shard until the hub is gone.
pub(super) async fn deliver(
    id: ShardId,
    shard: Arc<Shard>,
    mut queue: mpsc::UnboundedReceiver<Numbered>,
    metrics: Arc<Metrics>,
) {
    let (mut batch, mut dirty) = (Vec::with_capacity(BATCH_MAX), Dirty::default());
    while queue.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let mut tally = Tally::default();
        let (mut ahead, mut deliveries) = (0, 0);
        loop {
            ahead += batch.len();
            let broadcasts = batch
                .iter()
                .filter_map(|(number, queued): &Numbered| Some((*number, queued.broadcast()?)));
            deliveries += shard.fill(id, broadcasts, &mut dirty, &mut tally);
            batch.clear();
            dirty.flush_turn(&mut tally);
            tokio::task::yield_now().await;
            if dirty.is_empty() {
                break;
            }
            while ahead + batch.len() < AHEAD_MAX
                && batch.len() < BATCH_MAX
                && let Ok(queued) = queue.try_recv()
            {
                batch.push(queued);
            }
        }
        metrics.deliveries.inc_by(deliveries as u64);
        metrics.sent(&tally);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ids::Sid;

    fn dirty(sizes: &[usize]) -> Dirty {
        let mut dirty = Dirty::default();
        for size in sizes {
            for _ in 0..*size {
                let sid = Sid::parse("AAAAAAAAAAAAAAAAAAAA").unwrap();
                dirty.push(&Arc::new(Outbox::new(sid, 1000)));
            }
            dirty.end_broadcast();
        }
        dirty
    }

    #[test]
    fn small_rooms_do_not_wait_for_large_ones() {
        let mut dirty = dirty(&[5000, 3, 5000, 100]);
        assert_eq!((dirty.small.len(), dirty.large.len()), (103, 10_000));
        dirty.flush_turn(&mut Tally::default());
        assert_eq!((dirty.small.len(), dirty.large.len()), (0, 10_000 - (256 - 103)));
    }

    #[test]
    fn large_rooms_get_their_part_of_each_turn() {
        let mut dirty = dirty(&[&[300][..], &[100; 50]].concat());
        for turn in 1..5 {
            dirty.flush_turn(&mut Tally::default());
            assert_eq!(
                (dirty.small.len(), dirty.large.len()),
                (5000 - turn * 192, 300 - turn * 64)
            );
        }
        let turns = std::iter::repeat_with(|| dirty.flush_turn(&mut Tally::default()));
        turns.take(23).for_each(drop);
        assert!(dirty.is_empty());
    }
}
