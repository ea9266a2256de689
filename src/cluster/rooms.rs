//! Which rooms have members on any gateway: a hash in Redis a room, with the occupancy's id and a field a run of a
//! gateway; and for each run a set of its rooms, by which others clear up after it.
//!
//! Each step is one script, so of two gateways one is the first, and one the last. Nothing here waits longer than Redis may.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use compact_str::CompactString;

use super::alive::RETURN_MIN;
use super::changes::Place;
use super::peers::CLAIM_BEATS;
use super::redis::Failure;
use super::relay::Relay;
use super::{Bus, Cluster};

/// Time after which what nobody writes again is forgotten.
pub const ROOMS_LIVE: Duration = Duration::from_hours(24);

/// For how long it is known that somebody has told of something.
const TOLD_LIVES: Duration = Duration::from_hours(1);

/// For how long one gateway has the right to clear up after another, unless it takes it again.
const TURN: Duration = Duration::from_secs(5);

/// Rooms that are cleared up before that is renewed.
const ROOMS_AT_ONCE: usize = 100;

/// Keys: the room, our rooms, all runs, that we were taken for dead. Arguments: our run, the room's name, the id that it
/// has as far as we know, one for a new occupancy, seconds to live.
const OCCUPY: &str = r"
local id = redis.call('HGET', KEYS[1], 'id')
if not id then
  id = ARGV[4]
  if ARGV[3] ~= '' and redis.call('EXISTS', KEYS[4]) == 0 then id = ARGV[3] end
  redis.call('HSET', KEYS[1], 'id', id)
end
redis.call('HSET', KEYS[1], 'run ' .. ARGV[1], '1')
redis.call('SADD', KEYS[2], ARGV[2])
redis.call('SADD', KEYS[3], ARGV[1])
for i = 1, 3 do redis.call('EXPIRE', KEYS[i], ARGV[5]) end
return id";

/// Keys: the room, the rooms of a run. Arguments: the run, the room's name, the id that it has as far as we know where the
/// room is to be vacated even if Redis does not know it, what keys begin with that say who told of what, who tells,
/// milliseconds for which that is known.
const VACATE: &str = r"
redis.call('SREM', KEYS[2], ARGV[2])
local id = redis.call('HGET', KEYS[1], 'id')
if id then
  redis.call('HDEL', KEYS[1], 'run ' .. ARGV[1])
  if redis.call('HLEN', KEYS[1]) > 1 then return 'occupied' end
  redis.call('DEL', KEYS[1])
elseif ARGV[3] == '' then
  return 'unknown'
else
  id = ARGV[3]
end
local teller = ARGV[4] .. id
if redis.call('SET', teller, ARGV[5], 'PX', ARGV[6], 'NX') or redis.call('GET', teller) == ARGV[5] then
  return 'vacated ' .. id
end
return 'occupied'";

/// What came of leaving a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vacated {
    /// Others are in it, or have told that nobody is.
    Occupied,
    /// Nobody is in it any more: it is ours to tell. With the occupancy's id.
    Last(CompactString),
    /// Redis does not know the room.
    Unknown,
}

/// What came of clearing up after a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cleared {
    /// Nothing is left.
    All,
    /// Another gateway is at it.
    ByAnother,
    /// Some rooms are done: those that were vacated by it, with the ids of their occupancies.
    Some(Vec<(Place, CompactString)>),
}

impl Cluster {
    /// We are in a room, whose occupancy has the id `known` as far as we know; a new one gets `fresh`. The id that it has.
    ///
    /// # Errors
    /// When Redis does not do it, or does not say so.
    pub fn occupy(
        &self,
        place: &Place,
        known: Option<CompactString>,
        fresh: CompactString,
    ) -> impl Future<Output = Result<CompactString, Failure>> + Send + 'static {
        let (relay, place) = (self.relay(), place.clone());
        async move {
            let Some(relay) = relay else {
                return Ok(known.unwrap_or(fresh));
            };
            let (name, routes) = (name(&place), &relay.routes);
            let run = relay.run().to_owned();
            let keys = [
                routes.own("room", &name),
                routes.own("rooms", &run),
                routes.own("runs", ""),
                routes.own("lost", &run),
            ];
            let known = known.map_or_else(String::new, CompactString::into_string);
            let life = ROOMS_LIVE.as_secs().to_string();
            let arguments = vec![run, name, known, fresh.into_string(), life];
            text(relay.redis.eval(OCCUPY, &keys, arguments).await?)
        }
    }

    /// We are no longer in a room, whose occupancy has the id `known`. `is_final` where it is vacated even if Redis does
    /// not know it.
    ///
    /// # Errors
    /// When Redis does not do it, or does not say so.
    pub fn vacate(
        &self,
        place: &Place,
        known: CompactString,
        is_final: bool,
    ) -> impl Future<Output = Result<Vacated, Failure>> + Send + 'static {
        let (relay, name) = (self.relay(), name(place));
        async move {
            let Some(relay) = relay else {
                return Ok(Vacated::Last(known));
            };
            let known = if is_final { known } else { CompactString::default() };
            relay.vacate(relay.run(), name, known).await
        }
    }

    /// Whether it is ours to tell that a gateway was lost.
    ///
    /// # Errors
    /// When Redis does not say so.
    pub async fn is_ours_to_tell(&self, run: &str) -> Result<bool, Failure> {
        let Some(relay) = self.relay() else {
            return Ok(true);
        };
        let key = relay.routes.own("lost", run);
        relay.redis.set_nx_px(&key, Bytes::from_static(b"1"), TOLD_LIVES).await
    }

    /// Runs that have been in rooms, other than ours.
    ///
    /// # Errors
    /// When Redis does not say so.
    pub async fn runs_with_rooms(&self) -> Result<Vec<CompactString>, Failure> {
        let Some(relay) = self.relay() else {
            return Ok(Vec::new());
        };
        let mut runs = texts(
            relay
                .redis
                .command(&["SMEMBERS", &relay.routes.own("runs", "")])
                .await?,
        );
        runs.retain(|run| run != relay.run());
        Ok(runs)
    }

    /// Takes a run that is gone out of some of its rooms, if nobody else is at it.
    ///
    /// # Errors
    /// When Redis does not do it, or does not say so; it is to be tried again.
    pub async fn clear_up(&self, run: &str) -> Result<Cleared, Failure> {
        let Some(relay) = self.relay() else {
            return Ok(Cleared::All);
        };
        let (routes, redis) = (&relay.routes, &relay.redis);
        let (turn, index) = (routes.own("turn", run), routes.own("rooms", run));
        let us = Bytes::from(relay.run().to_owned());
        if !redis.set_nx_px(&turn, us.clone(), TURN).await? {
            if redis.get(&turn).await? != Some(us.clone()) {
                return Ok(Cleared::ByAnother);
            }
            redis.set_px(&turn, us, TURN).await?;
        }
        let count = ROOMS_AT_ONCE.to_string();
        let names = texts(redis.command(&["SRANDMEMBER", &index, &count]).await?);
        if names.is_empty() {
            redis.command(&["SREM", &routes.own("runs", ""), run]).await?;
            redis.del(vec![turn]).await?;
            return Ok(Cleared::All);
        }
        let mut vacated = Vec::new();
        for name in names {
            let found = relay.vacate(run, name.to_string(), CompactString::default()).await?;
            if let (Vacated::Last(id), Some(place)) = (found, place(&name)) {
                vacated.push((place, id));
            }
        }
        Ok(Cleared::Some(vacated))
    }

    /// Time after the start in which all other gateways are known for sure: whoever is not there then is gone.
    pub fn acquaintance(&self) -> Duration {
        self.relay()
            .map_or(Duration::ZERO, |relay| relay.peers.heartbeat * CLAIM_BEATS + RETURN_MIN)
    }

    /// Whether a gateway is there.
    pub fn is_alive(&self, run: &str) -> bool {
        self.beats().runs().any(|other| other == run)
    }

    fn relay(&self) -> Option<Arc<Relay>> {
        match &self.bus {
            Bus::Solo => None,
            Bus::Redis(relay) => Some(Arc::clone(relay)),
        }
    }
}

impl Relay {
    async fn vacate(&self, run: &str, name: String, known: CompactString) -> Result<Vacated, Failure> {
        let routes = &self.routes;
        let keys = [routes.own("room", &name), routes.own("rooms", run)];
        let teller = routes.own("vacated", "");
        let told_lives = TOLD_LIVES.as_millis().to_string();
        let us = self.run().to_owned();
        let arguments = vec![run.to_owned(), name, known.into_string(), teller, us, told_lives];
        let answer = text(self.redis.eval(VACATE, &keys, arguments).await?)?;
        Ok(match answer.split_once(' ') {
            Some((_, id)) => Vacated::Last(id.into()),
            None if answer == "unknown" => Vacated::Unknown,
            None => Vacated::Occupied,
        })
    }
}

/// A room's name in Redis. The length says where the namespace ends and the room begins.
fn name((namespace, room): &Place) -> String {
    format!("{}:{namespace}:{room}", namespace.len())
}

/// The room of a name.
fn place(name: &str) -> Option<Place> {
    let (length, rest) = name.split_once(':')?;
    let (namespace, room) = rest.split_at_checked(length.parse().ok()?)?;
    Some((namespace.into(), room.strip_prefix(':')?.into()))
}

fn texts(values: Vec<Option<Bytes>>) -> Vec<CompactString> {
    let texts = values.into_iter().flatten();
    texts.filter_map(|value| CompactString::from_utf8(value).ok()).collect()
}

fn text(values: Vec<Option<Bytes>>) -> Result<CompactString, Failure> {
    let text = texts(values).pop();
    text.ok_or_else(|| Failure::Refused("a script without an answer".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_which_room_they_are_of() {
        for (namespace, room) in [("/", "a"), ("/a:b", "c:d"), ("/é", ":"), ("/x", "")] {
            let own: Place = (namespace.into(), room.into());
            assert_eq!(place(&name(&own)), Some(own));
        }
        for name in ["", "1", "1:", "1:/", "9:/:a", "x:/:a", "2:é", "1:é:a"] {
            assert_eq!(place(name), None, "{name}");
        }
    }
}
