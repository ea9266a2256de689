//! Which channels this node wants to hear, and which of them it does.
//!
//! Bookkeeping without I/O or a clock: whoever holds the table sends what it says to Redis and tells it what came of that.
//! A channel has users (sockets in its room or namespace). It is subscribed when it gets its first, and stays so for a
//! while after its last is gone, as rooms empty and fill again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use compact_str::CompactString;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use tokio::sync::oneshot;

use crate::hub::Name;

/// Time for which a channel without users stays subscribed.
const LINGER: Duration = Duration::from_secs(10);

/// Channels without users that stay subscribed.
const LINGERING_MAX: usize = 10_000;

/// What comes by a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Broadcasts to a whole namespace or to several of its rooms.
    Namespace(Name),
    /// Broadcasts to one room.
    Room(Name, CompactString),
    /// A pattern: broadcasts to the private rooms of our sockets in a namespace.
    Private,
    /// What other servers ask about a namespace.
    Requests(Name),
    /// What they answer.
    Responses(Name),
    /// What the gateways tell each other.
    Peers,
    /// Our probes.
    Probe,
    /// Broadcasts of the first emitters.
    Old,
    /// A pattern: broadcasts of servers with the first adapters.
    OldNodes,
}

impl Purpose {
    fn is_pattern(&self) -> bool {
        matches!(self, Self::Private | Self::OldNodes)
    }
}

/// All channels that have users, or had some lately.
#[derive(Debug, Default)]
pub(super) struct Table {
    channels: HashMap<Arc<str>, Channel, RandomState>,
    /// To be subscribed, in this order.
    wanted: VecDeque<Arc<str>>,
    /// Without users since then.
    empty: VecDeque<(Instant, Arc<str>)>,
    /// Number of the connection that subscriptions are on.
    generation: u64,
    /// Without it nothing is wanted and nothing lingers: with the next one, what has users then is subscribed.
    is_connected: bool,
}

#[derive(Debug)]
struct Channel {
    purpose: Purpose,
    /// Sockets; below zero for the moment in which a socket that others moved is counted out before it is counted in.
    users: i64,
    state: State,
    empty_since: Option<Instant>,
    waiters: Vec<oneshot::Sender<bool>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nobody asked for it yet.
    Idle,
    /// In `wanted`.
    Wanted,
    /// SUBSCRIBE is on its way.
    Asked,
    Live,
    /// UNSUBSCRIBE is on its way.
    Leaving,
    /// Redis said no.
    Refused,
}

/// Tells whether a channel became live. An error means that nobody knows, as the table is gone.
pub(super) type Confirmation = oneshot::Receiver<bool>;

impl Table {
    /// One more user of a channel. `None` when it is live already, else what tells when it is.
    pub(super) fn enter(&mut self, name: Arc<str>, purpose: Purpose) -> Option<Confirmation> {
        let channel = self
            .channels
            .entry(Arc::clone(&name))
            .or_insert_with(|| Channel::new(purpose));
        channel.users += 1;
        if channel.users <= 0 {
            return None; // counted out already
        }
        channel.empty_since = None;
        if !self.is_connected {
            return None;
        }
        match channel.state {
            State::Live => return None,
            State::Idle | State::Refused => {
                channel.state = State::Wanted;
                self.wanted.push_back(name);
            }
            State::Wanted | State::Asked | State::Leaving => {}
        }
        let (sender, receiver) = oneshot::channel();
        channel.waiters.push(sender);
        Some(receiver)
    }

    /// One user less.
    pub(super) fn leave(&mut self, name: Arc<str>, purpose: Purpose, now: Instant) {
        let channel = self
            .channels
            .entry(Arc::clone(&name))
            .or_insert_with(|| Channel::new(purpose));
        channel.users -= 1;
        if !self.is_connected {
            if channel.users == 0 {
                self.channels.remove(&name);
            }
        } else if channel.users <= 0 {
            channel.empty_since = Some(now);
            self.empty.push_back((now, name));
        }
    }

    /// Whether everything that Redis publishes there from now on is heard.
    pub(super) fn is_live(&self, name: &str) -> bool {
        self.channels
            .get(name)
            .is_some_and(|channel| channel.state == State::Live)
    }

    /// Whether a channel is subscribed, or about to be.
    pub(super) fn is_wanted(&self, name: &str) -> bool {
        self.channels
            .get(name)
            .is_some_and(|channel| channel.users > 0 || matches!(channel.state, State::Asked | State::Live))
    }

    /// What comes by a channel or pattern; `None` for one that nobody wanted. Those without users are told, as nothing
    /// that comes by them needs to be read.
    pub(super) fn purpose(&self, name: &str) -> Option<(&Purpose, bool)> {
        self.channels
            .get(name)
            .map(|channel| (&channel.purpose, channel.users > 0))
    }

    /// A fresh connection: nothing is subscribed on it.
    pub(super) fn reset(&mut self) {
        self.generation += 1;
        self.is_connected = true;
        self.channels.retain(|_, channel| channel.users > 0);
        self.empty.clear();
        self.wanted.clear();
        for (name, channel) in &mut self.channels {
            channel.state = State::Wanted;
            self.wanted.push_back(Arc::clone(name));
        }
    }

    /// The connection is lost, and all subscriptions with it.
    pub(super) fn disconnect(&mut self) {
        self.is_connected = false;
        self.release();
        self.wanted.clear();
        self.empty.clear();
        self.channels.retain(|_, channel| channel.users != 0);
    }

    /// Nobody is to wait while there is nothing to wait for.
    pub(super) fn release(&mut self) {
        for channel in self.channels.values_mut() {
            channel.wake(true);
        }
    }

    /// The number of the connection that subscriptions are on.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether nothing waits to be subscribed.
    pub(super) fn is_settled(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Up to `max` names that are to be subscribed now: those of channels, and those of patterns.
    pub(super) fn take_wanted(&mut self, max: usize) -> (Vec<Arc<str>>, Vec<Arc<str>>) {
        let (mut exact, mut patterns) = (Vec::new(), Vec::new());
        while exact.len() + patterns.len() < max
            && let Some(name) = self.wanted.pop_front()
        {
            let Some(channel) = self.channels.get_mut(&name) else {
                continue;
            };
            if channel.state == State::Wanted {
                channel.state = State::Asked;
                let list = if channel.purpose.is_pattern() {
                    &mut patterns
                } else {
                    &mut exact
                };
                list.push(name);
            }
        }
        (exact, patterns)
    }

    /// Redis has confirmed these on this connection, or refused them.
    pub(super) fn settle(&mut self, names: &[Arc<str>], generation: u64, is_live: bool) {
        if generation != self.generation {
            return;
        }
        for name in names {
            if let Some(channel) = self.channels.get_mut(name)
                && channel.state == State::Asked
            {
                channel.state = if is_live { State::Live } else { State::Refused };
                channel.wake(is_live);
            }
        }
    }

    /// When the first channel without users is to be unsubscribed.
    pub(super) fn next_lapse(&self) -> Option<Instant> {
        let (since, _) = self.empty.front()?;
        Some(if self.empty.len() > LINGERING_MAX {
            *since
        } else {
            *since + LINGER
        })
    }

    /// Up to `max` names that are to be unsubscribed now: those of channels, and those of patterns.
    pub(super) fn take_lapsed(&mut self, now: Instant, max: usize) -> (Vec<Arc<str>>, Vec<Arc<str>>) {
        let (mut exact, mut patterns) = (Vec::new(), Vec::new());
        for _ in 0..self.empty.len() {
            if exact.len() + patterns.len() == max || self.next_lapse().is_none_or(|lapse| lapse > now) {
                break;
            }
            let Some((since, name)) = self.empty.pop_front() else {
                break;
            };
            let Some(channel) = self
                .channels
                .get_mut(&name)
                .filter(|channel| channel.empty_since == Some(since))
            else {
                continue; // it has users again, or is listed once more behind
            };
            match channel.state {
                State::Live => {
                    channel.state = State::Leaving;
                    let list = if channel.purpose.is_pattern() {
                        &mut patterns
                    } else {
                        &mut exact
                    };
                    list.push(name);
                }
                State::Asked | State::Leaving => {
                    channel.empty_since = Some(now); // looked at again once that is settled
                    self.empty.push_back((now, name));
                }
                State::Idle | State::Wanted | State::Refused => drop(self.channels.remove(&name)),
            }
        }
        (exact, patterns)
    }

    /// These are unsubscribed. Those that have users again are wanted again.
    pub(super) fn unsubscribed(&mut self, names: &[Arc<str>], generation: u64) {
        if generation != self.generation {
            return;
        }
        for name in names {
            match self.channels.get_mut(name) {
                Some(channel) if channel.users > 0 => {
                    channel.state = State::Wanted;
                    self.wanted.push_back(Arc::clone(name));
                }
                Some(_) => drop(self.channels.remove(name)),
                None => {}
            }
        }
    }
}

impl Channel {
    fn new(purpose: Purpose) -> Self {
        Self {
            purpose,
            users: 0,
            state: State::Idle,
            empty_since: None,
            waiters: Vec::new(),
        }
    }

    fn wake(&mut self, is_live: bool) {
        for waiter in self.waiters.drain(..) {
            let _ = waiter.send(is_live); // a client that is gone no longer waits
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(name: &str) -> (Arc<str>, Purpose) {
        (name.into(), Purpose::Room("/".into(), name.into()))
    }

    fn connected() -> Table {
        let mut table = Table::default();
        table.reset();
        table
    }

    fn enter(table: &mut Table, name: &str) -> Option<Confirmation> {
        let (name, purpose) = room(name);
        table.enter(name, purpose)
    }

    fn leave(table: &mut Table, name: &str, now: Instant) {
        let (name, purpose) = room(name);
        table.leave(name, purpose, now);
    }

    /// What would be sent to Redis now, confirmed.
    fn subscribe(table: &mut Table) -> Vec<Arc<str>> {
        let (exact, patterns) = table.take_wanted(usize::MAX);
        assert!(patterns.is_empty());
        table.settle(&exact, table.generation(), true);
        exact
    }

    fn is_told(confirmation: Option<Confirmation>) -> Option<bool> {
        confirmation.expect("something to wait for").try_recv().ok()
    }

    #[test]
    fn the_first_user_subscribes_and_all_are_told() {
        let mut table = connected();
        let (first, second) = (enter(&mut table, "a"), enter(&mut table, "a"));
        assert!(!table.is_live("a"));
        assert_eq!(subscribe(&mut table), ["a".into()]);
        assert!(table.is_live("a"));
        assert_eq!((is_told(first), is_told(second)), (Some(true), Some(true)));
        assert!(enter(&mut table, "a").is_none());
        assert!(subscribe(&mut table).is_empty());
    }

    #[test]
    fn a_channel_lingers_and_is_given_up() {
        let (mut table, now) = (connected(), Instant::now());
        enter(&mut table, "a");
        subscribe(&mut table);
        leave(&mut table, "a", now);
        assert_eq!(table.next_lapse(), Some(now + LINGER));
        assert!(table.take_lapsed(now, 10).0.is_empty());
        assert!(enter(&mut table, "a").is_none(), "still live");
        leave(&mut table, "a", now + LINGER / 2);
        assert!(table.take_lapsed(now + LINGER, 10).0.is_empty(), "it had a user since");
        let (names, _) = table.take_lapsed(now + LINGER * 2, 10);
        assert_eq!(names, ["a".into()]);
        assert!(!table.is_live("a"));
        table.unsubscribed(&names, table.generation());
        assert!(table.purpose("a").is_none() && table.next_lapse().is_none());
    }

    #[test]
    fn who_comes_while_a_channel_is_given_up_waits_for_the_next_confirmation() {
        let (mut table, now) = (connected(), Instant::now());
        enter(&mut table, "a");
        subscribe(&mut table);
        leave(&mut table, "a", now);
        let (names, _) = table.take_lapsed(now + LINGER, 10);
        let mut late = enter(&mut table, "a");
        assert!(subscribe(&mut table).is_empty(), "not before Redis has unsubscribed it");
        assert!(late.as_mut().is_some_and(|late| late.try_recv().is_err()));
        table.unsubscribed(&names, table.generation());
        assert_eq!(subscribe(&mut table), ["a".into()]);
        assert_eq!(is_told(late), Some(true));
    }

    #[test]
    fn a_fresh_connection_subscribes_what_has_users() {
        let (mut table, now) = (connected(), Instant::now());
        for name in ["a", "b", "c"] {
            enter(&mut table, name);
        }
        subscribe(&mut table);
        leave(&mut table, "b", now);
        let asked = enter(&mut table, "d");
        let before = table.generation();
        let (names, _) = table.take_wanted(10);
        table.reset();
        table.settle(&names, before, true);
        assert!(!table.is_live("d"), "that was another connection");
        let mut again = subscribe(&mut table);
        again.sort();
        assert_eq!(again, ["a".into(), "c".into(), "d".into()]);
        assert_eq!(is_told(asked), Some(true));
    }

    #[test]
    fn without_a_connection_only_what_has_users_is_kept() {
        let (mut table, now) = (connected(), Instant::now());
        let kept = enter(&mut table, "kept");
        table.disconnect();
        assert_eq!(is_told(kept), Some(true), "nobody waits");
        for number in 0..1000 {
            assert!(enter(&mut table, &number.to_string()).is_none());
            leave(&mut table, &number.to_string(), now);
        }
        assert_eq!((table.channels.len(), table.wanted.len(), table.empty.len()), (1, 0, 0));
        table.reset();
        assert_eq!(subscribe(&mut table), ["kept".into()]);
    }

    #[test]
    fn what_redis_refuses_is_tried_again_by_the_next() {
        let mut table = connected();
        let refused = enter(&mut table, "a");
        let (names, _) = table.take_wanted(10);
        table.settle(&names, table.generation(), false);
        assert_eq!(is_told(refused), Some(false));
        let again = enter(&mut table, "a");
        assert_eq!(subscribe(&mut table), ["a".into()]);
        assert_eq!(is_told(again), Some(true));
    }

    #[test]
    fn nobody_waits_where_there_is_nothing_to_wait_for() {
        let mut table = connected();
        let waiting = enter(&mut table, "a");
        table.release();
        assert_eq!(is_told(waiting), Some(true));
        assert!(!table.is_live("a"));
    }

    #[test]
    fn a_leave_may_be_counted_before_its_join() {
        let (mut table, now) = (connected(), Instant::now());
        leave(&mut table, "a", now);
        assert!(enter(&mut table, "a").is_none());
        assert!(subscribe(&mut table).is_empty(), "nobody is there");
        let joined = enter(&mut table, "a");
        assert_eq!(subscribe(&mut table), ["a".into()]);
        assert_eq!(is_told(joined), Some(true));
        table.take_lapsed(now + LINGER, 10);
        assert!(table.is_live("a"));
    }

    #[test]
    fn too_many_channels_without_users_are_given_up_early() {
        let (mut table, now) = (connected(), Instant::now());
        for number in 0..LINGERING_MAX + 5 {
            enter(&mut table, &number.to_string());
        }
        subscribe(&mut table);
        for number in 0..LINGERING_MAX + 5 {
            leave(&mut table, &number.to_string(), now);
        }
        assert_eq!(table.take_lapsed(now, usize::MAX).0.len(), 5);
    }
}
