//! What of all webhooks may wait in this node's memory.
//!
//! A part of it is kept for what clients cannot make at will: whoever fills the rest with events must never make the
//! application miss who comes and goes.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// What may wait at once.
const JOBS_MAX: usize = 65_536;
const BYTES_MAX: usize = 64 << 20;

/// What of that whatever is ordinary may fill.
const ORDINARY_JOBS_MAX: usize = JOBS_MAX / 4 * 3;
const ORDINARY_BYTES_MAX: usize = BYTES_MAX / 4 * 3;

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Budget {
    /// How many, and their bytes.
    taken: Mutex<(usize, usize)>,
    emptied: Notify,
}

/// How much it matters that something is not lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// What clients do as often as they like.
    Ordinary,
    /// What the application counts on: who is there and who is not.
    Vital,
}

/// Room for one; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    /// Room for something of this size, if there is any.
    pub(super) fn take(self: &Arc<Self>, weight: Weight, bytes: usize) -> Option<Share> {
        let (jobs_max, bytes_max) = match weight {
            Weight::Ordinary => (ORDINARY_JOBS_MAX, ORDINARY_BYTES_MAX),
            Weight::Vital => (JOBS_MAX, BYTES_MAX),
        };
        let mut taken = self.taken.lock();
        let (jobs, total) = (taken.0 + 1, taken.1 + bytes);
        if jobs > jobs_max || total > bytes_max {
            return None;
        }
        *taken = (jobs, total);
        drop(taken);
        Some(Share {
            budget: Arc::clone(self),
            bytes,
        })
    }

    /// How many wait.
    pub(super) fn jobs(&self) -> usize {
        self.taken.lock().0
    }

    /// Waits until nothing waits.
    pub(super) async fn emptied(&self) {
        loop {
            let emptied = self.emptied.notified(); // before the look, so that nothing is missed
            if self.jobs() == 0 {
                return;
            }
            emptied.await;
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.budget.taken.lock();
        taken.0 -= 1;
        taken.1 -= self.bytes;
        let is_empty = taken.0 == 0;
        drop(taken);
        if is_empty {
            self.budget.emptied.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_bounded_by_number_and_by_bytes() {
        for (weight, jobs_max, bytes_max) in [
            (Weight::Ordinary, ORDINARY_JOBS_MAX, ORDINARY_BYTES_MAX),
            (Weight::Vital, JOBS_MAX, BYTES_MAX),
        ] {
            let budget = Arc::new(Budget::default());
            let mut shares: Vec<_> = (0..jobs_max).map(|_| budget.take(weight, 1).unwrap()).collect();
            assert!(budget.take(weight, 1).is_none());
            shares.pop();
            assert!(budget.take(weight, bytes_max).is_none());
            shares.push(budget.take(weight, 1).unwrap());
            shares.clear();
            assert!(budget.take(weight, bytes_max + 1).is_none() && budget.take(weight, bytes_max).is_some());
            assert_eq!(budget.jobs(), 0);
        }
    }

    #[test]
    fn whatever_is_ordinary_leaves_room_for_what_is_vital() {
        let budget = Arc::new(Budget::default());
        let all: Vec<_> = (0..ORDINARY_JOBS_MAX)
            .map(|_| budget.take(Weight::Ordinary, 1).unwrap())
            .collect();
        assert!(budget.take(Weight::Ordinary, 1).is_none() && budget.take(Weight::Vital, 1).is_some());
        drop(all);
        let _large = budget.take(Weight::Ordinary, ORDINARY_BYTES_MAX).unwrap();
        assert!(budget.take(Weight::Ordinary, 1).is_none());
        assert!(budget.take(Weight::Vital, BYTES_MAX - ORDINARY_BYTES_MAX).is_some());
    }
}
