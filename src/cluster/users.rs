//! How many sockets each user has on all nodes: a hash in Redis a user and namespace, with a field a run of a node.
//!
//! A field holds all that its node has, never a difference: what is written twice, late, or anew after Redis lost it is
//! right again. Fields of nodes that are not there are not counted. Nothing here waits longer than Redis may take.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use compact_str::CompactString;

use super::redis::Failure;
use super::relay::Relay;
use super::{Bus, Cluster};
use crate::hub::Name;

/// Time after which what nobody writes again is forgotten.
pub const COUNTS_LIVE: Duration = Duration::from_hours(1);

/// Adds up the fields of the others, writes as much into ours as fits, and says how much that is.
///
/// Fields of nodes that are not there are kept for a while: they may be there and we may not have heard of them yet.
const SCRIPT: &str = r"
local run, kept, wanted, max, life, now = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6])
local alive, others = {}, 0
for i = 7, #ARGV do alive[ARGV[i]] = true end
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  if all[i] ~= run then
    local sockets, at = string.match(all[i + 1], '^(%d+) (%d+)$')
    if alive[all[i]] then
      others = others + (tonumber(sockets) or 0)
    elseif (tonumber(at) or 0) + 2 * tonumber(life) < now then
      redis.call('HDEL', KEYS[1], all[i])
    end
  end
end
local sockets = math.max(kept, math.min(wanted, max - others))
if sockets > 0 then
  redis.call('HSET', KEYS[1], run, sockets .. ' ' .. ARGV[6])
  redis.call('EXPIRE', KEYS[1], life)
else
  redis.call('HDEL', KEYS[1], run)
end
return sockets";

/// How many sockets a user has here, and is to have at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sockets {
    /// Those that are there.
    pub kept: usize,
    /// With those that want to be.
    pub wanted: usize,
    /// On all nodes.
    pub max: usize,
}

/// What Redis says to that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Counted {
    /// So many may be here, and are counted.
    Now(usize),
    /// It does not know of it.
    Untold,
    /// It may know of it, or not; with what it said, if it said something.
    Unknown(Option<String>),
}

impl Cluster {
    /// Counts a user's sockets here among those of all nodes, these others beside this one.
    pub fn count<'a>(
        &self,
        (namespace, user): (&Name, &Name),
        sockets: Sockets,
        others: impl Iterator<Item = &'a str>,
    ) -> impl Future<Output = Counted> + Send + 'static {
        let redis = match &self.bus {
            Bus::Redis(relay) => Some((Arc::clone(relay), relay.routes.user(namespace, user))),
            Bus::Solo => None,
        };
        let others: Vec<_> = others.map(CompactString::from).collect();
        async move {
            match redis {
                Some((relay, key)) if relay.redis.is_publisher_up() => relay.count(key, sockets, &others).await,
                _ => Counted::Untold,
            }
        }
    }
}

impl Relay {
    async fn count(&self, key: String, sockets: Sockets, others: &[CompactString]) -> Counted {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut arguments = vec![self.run().to_owned()];
        let numbers = [sockets.kept as u64, sockets.wanted as u64, sockets.max as u64];
        arguments.extend(numbers.map(|number| number.to_string()));
        arguments.extend([COUNTS_LIVE.as_secs(), now.as_secs()].map(|number| number.to_string()));
        arguments.extend(others.iter().map(CompactString::to_string));
        let answer = self.redis.eval(SCRIPT, &[key], arguments).await;
        let number = |value: &[u8]| std::str::from_utf8(value).ok()?.parse().ok();
        match answer {
            Ok(values) => match values.first().and_then(|value| number(value.as_deref()?)) {
                Some(sockets) => Counted::Now(sockets),
                None => Counted::Unknown(Some("no number".into())),
            },
            Err(Failure::Refused(words)) => Counted::Unknown(Some(words)),
            Err(Failure::Away | Failure::Timeout) => Counted::Unknown(None),
        }
    }
}
