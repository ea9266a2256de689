//! What of all webhooks may wait in this node's memory.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// What may wait at once.
const JOBS_MAX: usize = 65_536;
const BYTES_MAX: usize = 64 << 20;

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Budget {
    /// How many, and their bytes.
    taken: Mutex<(usize, usize)>,
    emptied: Notify,
}

/// Room for one; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    /// Room for something of this size, if there is any.
    pub(super) fn take(self: &Arc<Self>, bytes: usize) -> Option<Share> {
        let mut taken = self.taken.lock();
        let (jobs, total) = (taken.0 + 1, taken.1 + bytes);
        if jobs > JOBS_MAX || total > BYTES_MAX {
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
        let budget = Arc::new(Budget::default());
        let mut shares: Vec<_> = (0..JOBS_MAX).map(|_| budget.take(1).unwrap()).collect();
        assert!(budget.take(1).is_none());
        shares.pop();
        assert!(budget.take(BYTES_MAX).is_none());
        shares.push(budget.take(1).unwrap());
        shares.clear();
        assert!(budget.take(BYTES_MAX + 1).is_none() && budget.take(BYTES_MAX).is_some());
        assert_eq!(budget.jobs(), 0);
    }
}
