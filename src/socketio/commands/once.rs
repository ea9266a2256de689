//! What is done once however often it is asked for: the ids of commands, remembered for five minutes.
//!
//! Redis remembers them for all nodes, and each node its own, so that a retry at the same node is safe while Redis is away.

use std::mem;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use hashbrown::HashSet;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;

use crate::cluster::Cluster;

/// How long an id is remembered.
const MEMORY: Duration = Duration::from_secs(5 * 60);

/// Ids in one generation: with more, the oldest are forgotten early. Each takes 17 bytes.
const IDS_MAX: usize = 1_000_000;

/// Ids that were seen here.
#[derive(Debug)]
pub(in crate::socketio) struct Once {
    seen: Mutex<Generations>,
    /// One of those that were being done is so no longer.
    settled: Notify,
}

/// Two generations: an id is in one of them for five to ten minutes.
#[derive(Debug)]
struct Generations {
    young: HashSet<u128, RandomState>,
    old: HashSet<u128, RandomState>,
    began: Instant,
    /// Those that are being done.
    under_way: HashSet<u128, RandomState>,
}

/// Whether something is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// Nobody has asked for it.
    First,
    /// It was done.
    Again,
    /// It is being done at this node, and nobody knows yet what comes of it.
    Meanwhile,
}

impl Default for Once {
    fn default() -> Self {
        let seen = Generations {
            young: HashSet::default(),
            old: HashSet::default(),
            began: Instant::now(),
            under_way: HashSet::default(),
        };
        Self {
            seen: Mutex::new(seen),
            settled: Notify::new(),
        }
    }
}

impl Once {
    /// Whether this is to be done; where it is, [`done`](Self::done) must be said, or [`forget`](Self::forget). While it is
    /// being done here, that is waited for.
    pub(super) async fn is_new(&self, id: &str, cluster: &Cluster) -> bool {
        loop {
            let settled = self.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            let turn = self.seen.lock().begin(digest(id), Instant::now());
            match turn {
                Turn::First => break,
                Turn::Again => return false,
                Turn::Meanwhile => settled.await,
            }
        }
        let is_new = cluster.claim_once(id, MEMORY).await;
        if !is_new {
            self.done(id); // at another node
        }
        is_new
    }

    /// It is done.
    pub(super) fn done(&self, id: &str) {
        self.seen.lock().under_way.remove(&digest(id));
        self.settled.notify_waiters();
    }

    /// It was not done after all.
    pub(super) async fn forget(&self, id: &str, cluster: &Cluster) {
        cluster.forget_once(id).await;
        self.seen.lock().remove(digest(id));
        self.settled.notify_waiters();
    }
}

impl Generations {
    fn begin(&mut self, id: u128, now: Instant) -> Turn {
        if self.under_way.contains(&id) {
            return Turn::Meanwhile;
        }
        if !self.insert(id, now) {
            return Turn::Again;
        }
        self.under_way.insert(id);
        Turn::First
    }

    fn insert(&mut self, id: u128, now: Instant) -> bool {
        if now.duration_since(self.began) >= MEMORY || self.young.len() >= IDS_MAX {
            self.old = mem::take(&mut self.young);
            self.began = now;
        }
        !self.old.contains(&id) && self.young.insert(id)
    }

    fn remove(&mut self, id: u128) {
        self.young.remove(&id);
        self.old.remove(&id);
        self.under_way.remove(&id);
    }
}

/// Half a SHA-256: ids are of any length, and no two that anybody finds are the same.
fn digest(id: &str) -> u128 {
    let digest = Sha256::digest(id.as_bytes());
    let mut half = [0; 16];
    half.copy_from_slice(&digest[..16]);
    u128::from_be_bytes(half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_remembered_for_five_minutes_at_least_and_ten_at_most() {
        let once = Once::default();
        let mut seen = once.seen.lock();
        let start = seen.began;
        let at = |minutes: u64| start + Duration::from_secs(60 * minutes);
        assert!(seen.insert(1, at(4)) && !seen.insert(1, at(4)));
        assert!(seen.insert(2, at(5)));
        assert!(!seen.insert(1, at(9)) && !seen.insert(2, at(9)));
        assert!(seen.insert(1, at(10)));
        assert!(!seen.insert(2, at(10)));
        seen.remove(2);
        assert!(seen.insert(2, at(10)));
        assert_ne!(digest("a"), digest("b"));
        assert_eq!(seen.begin(3, at(10)), Turn::First);
        assert_eq!(seen.begin(3, at(10)), Turn::Meanwhile);
        seen.under_way.remove(&3);
        assert_eq!(seen.begin(3, at(10)), Turn::Again);
    }
}
