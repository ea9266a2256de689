//! Pages of sockets and rooms over all parts of the hub.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::shard::{Listed, Wanted, keep_first};
use super::{Hub, Name};

impl Hub {
    /// The first `max` sockets that are wanted, in the order of their ids.
    pub fn list_sockets(&self, namespace: &str, wanted: &Wanted<'_>, max: usize) -> Vec<Listed> {
        let mut found = Vec::new();
        for shard in &self.shards {
            shard.list_sockets(namespace, wanted, max, &mut found);
            keep_first(&mut found, max, |a, b| a.id.as_str().cmp(b.id.as_str()));
        }
        found.sort_unstable_by(|a, b| a.id.as_str().cmp(b.id.as_str()));
        found
    }

    /// The first `max` rooms whose names begin with `prefix` and come behind `after`, in the order of their names, with
    /// the number of their members. Private rooms are left out.
    pub fn list_rooms(&self, namespace: &str, prefix: &str, after: Option<&str>, max: usize) -> Vec<(Name, usize)> {
        let mut found = HashMap::<_, _, RandomState>::default();
        for shard in &self.shards {
            shard.list_rooms(namespace, (prefix, after), max, &mut found);
        }
        let mut found: Vec<_> = found.into_iter().collect();
        keep_first(&mut found, max, |(a, _), (b, _)| a.cmp(b));
        found.sort_unstable();
        found
    }

    /// How many are in a room. A private room is none.
    pub fn room_size(&self, namespace: &str, room: &str) -> usize {
        self.shards.iter().map(|shard| shard.room_size(namespace, room)).sum()
    }
}
