//! What passes through this node for sessions of other nodes: tunnels, and polls that are parked there.
//!
//! A node that leaves has to let go of these as of its own clients.

use std::sync::Arc;

use parking_lot::Mutex;
use slab::Slab;
use tokio::sync::oneshot;

/// Everything that passes.
#[derive(Debug, Default)]
pub(super) struct Passing(Mutex<Slab<Option<oneshot::Sender<()>>>>);

/// One thing that passes, for as long as it does.
#[derive(Debug)]
pub(super) struct Passage {
    passing: Arc<Passing>,
    key: usize,
}

/// Somebody who is served through this node.
#[derive(Debug)]
pub struct Passenger(oneshot::Sender<()>);

impl Passing {
    /// One thing more. The receiver hears when it has to end.
    pub(super) fn enter(self: &Arc<Self>) -> (Passage, oneshot::Receiver<()>) {
        let (end, ending) = oneshot::channel();
        let key = self.0.lock().insert(Some(end));
        let passing = Arc::clone(self);
        (Passage { passing, key }, ending)
    }

    /// Everybody who has not been asked to leave yet.
    pub(super) fn passengers(&self) -> Vec<Passenger> {
        let mut passing = self.0.lock();
        passing
            .iter_mut()
            .filter_map(|(_, end)| end.take().map(Passenger))
            .collect()
    }

    /// Whether nothing passes any more.
    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}

impl Passenger {
    /// Asks them to leave: their owner answers the poll, or ends the session.
    pub fn end(self) {
        let _ = self.0.send(()); // else they have left already
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        self.passing.0.lock().remove(self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everybody_is_asked_once_and_counted_until_they_are_gone() {
        let passing = Arc::<Passing>::default();
        assert!(passing.is_empty());
        let (first, asked) = passing.enter();
        let (second, _) = passing.enter();
        drop(second);
        let passengers = passing.passengers();
        assert_eq!(passengers.len(), 1);
        assert!(passing.passengers().is_empty() && !passing.is_empty());
        passengers.into_iter().for_each(Passenger::end);
        asked.await.unwrap();
        drop(first);
        assert!(passing.is_empty());
    }
}
