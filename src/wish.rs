//! What is wished of a running node, by signals, operators and other gateways: to serve, to drain, to leave.
//!
//! Later wishes never undo that the node is to leave.

use tokio::sync::watch;

/// What somebody wants the node to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wish {
    /// To serve clients.
    #[default]
    Serve,
    /// To serve nobody, but to stay.
    Drain,
    /// To leave without being missed.
    Leave,
    /// To leave at once.
    LeaveNow,
}

/// Tells a running node what is wished of it.
#[derive(Clone, Debug, Default)]
pub struct Stopper(watch::Sender<Wish>);

impl Stopper {
    /// What is wished now, and every change of that.
    pub fn wishes(&self) -> watch::Receiver<Wish> {
        self.0.subscribe()
    }

    /// What is wished now.
    pub fn wish(&self) -> Wish {
        *self.0.borrow()
    }

    /// Drains and stays; a node that is about to stop goes on with that.
    pub fn drain(&self) {
        self.change(|wish| *wish == Wish::Serve, Wish::Drain);
    }

    /// Serves again, unless the node is about to stop.
    pub fn resume(&self) {
        self.change(|wish| *wish == Wish::Drain, Wish::Serve);
    }

    /// Drains and stops, as the first signal does.
    pub fn stop(&self) {
        self.change(|wish| *wish < Wish::Leave, Wish::Leave);
    }

    /// Stops at once, as the second signal does.
    pub fn stop_now(&self) {
        self.change(|_| true, Wish::LeaveNow);
    }

    fn change(&self, applies: impl FnOnce(&Wish) -> bool, to: Wish) {
        self.0.send_if_modified(|wish| {
            let applies = applies(wish);
            if applies {
                *wish = to;
            }
            applies
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_to_leave_leaves() {
        let stopper = Stopper::default();
        stopper.resume();
        assert_eq!(stopper.wish(), Wish::Serve);
        stopper.drain();
        assert_eq!(stopper.wish(), Wish::Drain);
        stopper.resume();
        assert_eq!(stopper.wish(), Wish::Serve);
        stopper.stop();
        for change in [Stopper::drain, Stopper::resume, Stopper::stop] {
            change(&stopper);
            assert_eq!(stopper.wish(), Wish::Leave);
        }
        stopper.stop_now();
        stopper.stop();
        assert_eq!(stopper.wish(), Wish::LeaveNow);
    }
}
