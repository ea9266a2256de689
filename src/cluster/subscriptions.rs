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
        if channel.users <= 0 {
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
        self.channels.retain(|_, channel| channel.users > 0);
        self.empty.clear();
        self.wanted.clear();
        for (name, channel) in &mut self.channels {
            channel.state = State::Wanted;
            self.wanted.push_back(Arc::clone(name));
        }
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
