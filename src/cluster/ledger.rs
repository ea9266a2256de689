//! What this node published and has not seen come back.
//!
//! With one order for all, a broadcast of ours is delivered to our own members when it comes back from Redis. Redis runs
//! what one connection publishes in order, and another hears it in that order, so what comes back is mostly the first that
//! waits. Each message carries a number of its own: it is never matched by its place alone.

use std::collections::VecDeque;

use compact_str::{CompactString, format_compact};
use rand::distr::{Alphanumeric, SampleString as _};
use tokio::sync::oneshot;

use crate::hub::{Broadcast, Hub, Reservation};
use crate::metrics::Origin;

/// Characters by which one run of one node is known.
const RUN_LENGTH: usize = 8;

/// A broadcast that is to be delivered here as soon as it comes back.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) broadcast: Broadcast,
    pub(super) reservation: Reservation,
    pub(super) origin: Origin,
    /// Who wants to know when it is delivered here, or given up.
    pub(super) witnesses: Vec<oneshot::Sender<()>>,
}

impl Pending {
    /// Delivers it to the members here.
    pub(super) fn deliver(self, hub: &Hub) {
        hub.broadcast(self.broadcast, self.reservation, self.origin);
        for witness in self.witnesses {
            let _ = witness.send(()); // who asked may be gone
        }
    }
}

/// Messages by number, oldest first, and what messages of ours are called.
#[derive(Debug)]
pub(super) struct Ledger {
    run: CompactString,
    /// Counts the times at which everything that waited was settled in another way.
    epoch: u64,
    next: u64,
    pending: VecDeque<(u64, Pending)>,
}

/// Who published a message, by what it says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Publisher {
    /// This run of this node: the epoch, and the number in it.
    Own { epoch: u64, number: u64 },
    /// Another gateway.
    Gateway,
    /// A Node.js server.
    Server,
    /// Something that only publishes.
    Emitter,
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self {
            run: Alphanumeric.sample_string(&mut rand::rng(), RUN_LENGTH).into(),
            epoch: 0,
            next: 0,
            pending: VecDeque::new(),
        }
    }

    /// What this run of the node is called.
    pub(super) fn run(&self) -> &CompactString {
        &self.run
    }

    /// The name of the next message: `run.epoch.number`. No name of a Node server looks like it, as theirs have six
    /// characters and no dot.
    pub(super) fn name(&mut self) -> (u64, CompactString) {
        let number = self.next;
        self.next += 1;
        (number, format_compact!("{}.{:x}.{number:x}", self.run, self.epoch))
    }

    /// The message of this number is to be delivered when it comes back.
    pub(super) fn expect(&mut self, number: u64, pending: Pending) {
        self.pending.push_back((number, pending));
    }

    /// What tells when everything that waits so far is delivered here, or given up; `None` where nothing waits.
    pub(super) fn passed(&mut self) -> Option<oneshot::Receiver<()>> {
        let (_, newest) = self.pending.back_mut()?;
        let (sender, passed) = oneshot::channel();
        newest.witnesses.push(sender);
        Some(passed)
    }

    /// A message of ours came back: everything up to it that waited, in order. `None` where it did not wait, though it was
    /// published in this epoch.
    pub(super) fn returned(&mut self, number: u64) -> Option<impl Iterator<Item = Pending>> {
        let at = self.pending.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        Some(self.pending.drain(..=at).map(|(_, pending)| pending))
    }

    /// One message will not come back.
    pub(super) fn give_up(&mut self, number: u64) -> Option<Pending> {
        let at = self.pending.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        self.pending.remove(at).map(|(_, pending)| pending)
    }

    /// No message before this one will come back any more: those that waited, in order.
    pub(super) fn give_up_before(&mut self, number: u64) -> impl Iterator<Item = Pending> {
        let end = self.pending.partition_point(|(pending, _)| *pending < number);
        self.pending.drain(..end).map(|(_, pending)| pending)
    }

    /// Nothing of what was published so far is waited for any more: all that waited, in order.
    pub(super) fn begin_epoch(&mut self) -> VecDeque<(u64, Pending)> {
        self.epoch += 1;
        std::mem::take(&mut self.pending)
    }

    /// The number of the present epoch.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Who published a message of this name; `None` is that of old emitters, which give none.
    pub(super) fn publisher(&self, name: Option<&str>) -> Publisher {
        let Some(name) = name.filter(|name| *name != "emitter") else {
            return Publisher::Emitter;
        };
        let mut parts = name.split('.');
        let (run, epoch, number) = (parts.next(), hex(parts.next()), hex(parts.next()));
        match (run, epoch, number, parts.next()) {
            (Some(run), Some(epoch), Some(number), None) if *run == *self.run => Publisher::Own { epoch, number },
            (Some(run), Some(_), Some(_), None) if run.len() == RUN_LENGTH => Publisher::Gateway,
            _ => Publisher::Server,
        }
    }
}

fn hex(digits: Option<&str>) -> Option<u64> {
    u64::from_str_radix(digits?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages as they are called, and what the ledger makes of their names.
    #[test]
    fn names_tell_who_published() {
        let (mut one, mut other) = (Ledger::new(), Ledger::new());
        let (number, name) = one.name();
        assert_eq!(one.publisher(Some(&name)), Publisher::Own { epoch: 0, number });
        assert_eq!(other.publisher(Some(&name)), Publisher::Gateway);
        one.begin_epoch();
        let (number, name) = one.name();
        assert_eq!(one.publisher(Some(&name)), Publisher::Own { epoch: 1, number });
        let (_, name) = other.name();
        assert_eq!(one.publisher(Some(&name)), Publisher::Gateway);
        for name in ["6COmGk", "a-b_c1", "short.1.2", "12345678.x.1", "12345678.1.1.1", ""] {
            assert_eq!(one.publisher(Some(name)), Publisher::Server, "{name}");
        }
        for name in [None, Some("emitter")] {
            assert_eq!(one.publisher(name), Publisher::Emitter);
        }
    }
}
