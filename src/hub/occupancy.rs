//! Which shards have somebody in a room, so that a broadcast enters no queue in vain.
//!
//! On a machine of many cores most rooms have members in few shards, and waking a delivery loop costs more than a
//! delivery. One word a bucket of rooms, one bit a shard. Rooms that fall into one bucket make a broadcast enter a queue
//! where nobody is; a queue in which somebody waits for it is never left out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::target::Target;

/// Shards that can be told apart, and so the most that a hub has.
pub(super) const SHARDS_MAX: usize = u64::BITS as usize;

/// Buckets for each shard: 64 KiB of them.
const BUCKETS_PER_SHARD: usize = 8192;

/// What a namespace is counted as, beside its rooms. A room of this name shares its bucket.
const EVERYBODY: &str = "";

/// The table, and the number of the next broadcast. Whoever enters sets a bit and then reads the number; a broadcast takes
/// its number and then reads bits. So those from that number on find the bit, and a room gets none of those before it,
/// of which it might miss some.
#[derive(Debug)]
pub(super) struct Occupancy {
    /// A power of two.
    buckets: Box<[AtomicU64]>,
    hasher: RandomState,
    next: AtomicU64,
    /// A bit each.
    shards: u64,
}

/// One shard's part of it, behind that shard's lock.
#[derive(Debug)]
pub(super) struct Presence {
    occupancy: Arc<Occupancy>,
    bit: u64,
    /// Rooms with members in the shard, by bucket.
    rooms: HashMap<u32, u32, RandomState>,
}

/// Shards, the first ones first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ShardSet(u64);

impl Occupancy {
    /// The table of so many shards, [`SHARDS_MAX`] at most, of which all are empty.
    pub(super) fn new(shards: usize) -> Self {
        let buckets = BUCKETS_PER_SHARD * shards.next_power_of_two();
        Self {
            buckets: std::iter::repeat_with(AtomicU64::default).take(buckets).collect(),
            hasher: RandomState::default(),
            next: AtomicU64::new(0),
            shards: u64::MAX >> (SHARDS_MAX - shards),
        }
    }

    /// The number of the broadcast that is about to enter its queues.
    pub(super) fn next_number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::SeqCst)
    }

    /// All of them.
    pub(super) fn all(&self) -> ShardSet {
        ShardSet(self.shards)
    }

    /// Those in which somebody may be in a target.
    pub(super) fn of(&self, namespace: &str, target: &Target) -> ShardSet {
        let in_room = |room: &str| self.bucket(self.index(namespace, room)).load(Ordering::SeqCst);
        let rooms = match target {
            Target::Namespace => return ShardSet(in_room(EVERYBODY)),
            Target::Rooms(rooms) => rooms.as_slice(),
        };
        let mut shards = 0;
        for room in rooms {
            shards |= in_room(room);
            if shards == self.shards {
                break;
            }
        }
        ShardSet(shards)
    }

    fn index(&self, namespace: &str, room: &str) -> u32 {
        use std::hash::BuildHasher as _;
        let hash = self.hasher.hash_one((namespace, room));
        (hash as usize & (self.buckets.len() - 1)) as u32
    }

    fn bucket(&self, index: u32) -> &AtomicU64 {
        &self.buckets[index as usize]
    }
}

impl Presence {
    /// That of shard number `shard`.
    pub(super) fn new(occupancy: Arc<Occupancy>, shard: usize) -> Self {
        Self {
            occupancy,
            bit: 1 << shard,
            rooms: HashMap::default(),
        }
    }

    /// The namespace has its first socket here. Returns as [`enter`](Self::enter) does.
    pub(super) fn enter_namespace(&mut self, namespace: &str) -> u64 {
        self.enter(namespace, EVERYBODY)
    }

    /// Its last socket is gone.
    pub(super) fn exit_namespace(&mut self, namespace: &str) {
        self.exit(namespace, EVERYBODY);
    }

    /// A room, also one that is a socket's or a user's own, has its first member here. Returns the number from which on it
    /// gets all broadcasts.
    pub(super) fn enter(&mut self, namespace: &str, room: &str) -> u64 {
        let index = self.occupancy.index(namespace, room);
        let rooms = self.rooms.entry(index).or_default();
        *rooms += 1;
        if *rooms == 1 {
            self.occupancy.bucket(index).fetch_or(self.bit, Ordering::SeqCst);
        }
        self.occupancy.next.load(Ordering::SeqCst)
    }

    /// Its last member is gone.
    pub(super) fn exit(&mut self, namespace: &str, room: &str) {
        let index = self.occupancy.index(namespace, room);
        let Some(rooms) = self.rooms.get_mut(&index) else {
            debug_assert!(false, "{room} was never entered");
            return;
        };
        *rooms -= 1;
        if *rooms == 0 {
            self.rooms.remove(&index);
            self.occupancy.bucket(index).fetch_and(!self.bit, Ordering::SeqCst);
        }
    }

    /// Whether nothing is left of those who were here.
    #[cfg(any(test, fuzzing))]
    pub(super) fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }
}

impl Iterator for ShardSet {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let first = self.0.trailing_zeros();
        (self.0 != 0).then(|| {
            self.0 &= self.0 - 1;
            first as usize
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Rooms;

    fn room(name: &str) -> Target {
        Target::Rooms(Rooms::one(name))
    }

    #[test]
    fn as_many_shards_as_there_are() {
        for count in [1, 2, 3, 63, 64] {
            let occupancy = Occupancy::new(count);
            assert!(occupancy.all().eq(0..count));
            assert_eq!(occupancy.of("/", &Target::Namespace).count(), 0);
        }
    }

    #[test]
    fn rooms_that_share_a_bucket_are_told_apart_by_their_number() {
        let occupancy = Arc::new(Occupancy::new(2));
        let of = |name: &str| occupancy.of("/", &room(name)).collect::<Vec<_>>();
        let mut names = (0..).map(|number| format!("room {number}"));
        let first = names.next().expect("a name without end");
        let same = |name: &String| occupancy.index("/", name) == occupancy.index("/", &first);
        let second = names.find(same).expect("a name that collides");
        let mut presences = [0, 1].map(|shard| Presence::new(Arc::clone(&occupancy), shard));

        presences[0].enter("/", &first);
        presences[0].enter("/", &second);
        presences[1].enter("/", &second);
        assert_eq!((of(&first), of(&second)), (vec![0, 1], vec![0, 1]));
        presences[0].exit("/", &second);
        assert_eq!(of(&first), [0, 1]);
        presences[1].exit("/", &second);
        assert_eq!(of(&first), [0]);
        presences[0].exit("/", &first);
        assert_eq!(of(&first), [0; 0]);
        assert!(presences.iter().all(Presence::is_empty));
    }
}
