//! Sockets and rooms in pages, for operators and the application: in the order of their names, so many behind one.
//!
//! What is found is copied under the lock, so never more than a page of it.

use std::cmp::Ordering;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::{Shard, Socket, Source};
use crate::hub::Name;
use crate::metrics::Transport;
use crate::protocol::ids::SocketId;

/// Which sockets of a namespace are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// The one of this id, or with this alias.
    pub id: Option<&'a str>,
    /// Those in this room, or whose private room this is.
    pub room: Option<&'a str>,
    /// Those of this user.
    pub user: Option<&'a str>,
    /// Those whose ids come behind this one.
    pub after: Option<&'a str>,
}

/// A socket as the application is told of it.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its id.
    pub id: SocketId,
    /// Who the client is, where something says so.
    pub user: Option<Name>,
    /// Its rooms, without its private ones.
    pub rooms: Vec<Name>,
    /// What the application keeps with it, as JSON; empty for nothing.
    pub data: Box<str>,
    /// Where it comes from.
    pub source: Source,
    /// How its packets reach it now.
    pub transport: Transport,
}

impl Shard {
    /// Adds the first `max` sockets that are wanted, in no order.
    pub(in crate::hub) fn list_sockets(
        &self,
        namespace: &str,
        wanted: &Wanted<'_>,
        max: usize,
        found: &mut Vec<Listed>,
    ) {
        let state = self.0.lock();
        let Some(namespace) = state.namespaces.get(namespace) else {
            return;
        };
        let is_wanted = |socket: &&Socket| {
            wanted.after.is_none_or(|after| socket.id.as_str() > after)
                && wanted.user.is_none_or(|user| socket.user.as_deref() == Some(user))
                && wanted.room.is_none_or(|room| socket.is_in(room))
        };
        let take = |slots: &mut dyn Iterator<Item = u32>| {
            let sockets = slots.map(|slot| &state.sockets[slot as usize]);
            sockets.filter(is_wanted).collect::<Vec<_>>()
        };
        // By the shortest of the lists that all who are wanted are on.
        let mut sockets = match (wanted.id, wanted.room, wanted.user) {
            (Some(id), _, _) => take(&mut namespace.private.get(id).copied().into_iter()),
            (_, Some(room), _) => {
                let members = namespace.rooms.get(room).into_iter().flat_map(|members| members.keys());
                let alone = namespace.private.get(room).filter(|slot| {
                    let members = namespace.rooms.get(room);
                    members.is_none_or(|members| !members.contains_key(*slot))
                });
                take(&mut alone.into_iter().chain(members).copied())
            }
            (_, _, Some(user)) => {
                let sockets = namespace.users.get(user).into_iter();
                take(&mut sockets.flat_map(|sockets| sockets.keys()).copied())
            }
            _ => take(&mut namespace.sockets.keys().copied()),
        };
        keep_first(&mut sockets, max, |a, b| a.id.as_str().cmp(b.id.as_str()));
        found.extend(sockets.into_iter().map(Socket::listed));
    }

    /// Adds the members of the first `max` rooms whose names begin with `prefix` and come behind `after`.
    pub(in crate::hub) fn list_rooms(
        &self,
        namespace: &str,
        (prefix, after): (&str, Option<&str>),
        max: usize,
        found: &mut HashMap<Name, usize, RandomState>,
    ) {
        let state = self.0.lock();
        let Some(namespace) = state.namespaces.get(namespace) else {
            return;
        };
        let is_wanted = |room: &Name| room.starts_with(prefix) && after.is_none_or(|after| **room > *after);
        let mut rooms: Vec<_> = namespace.rooms.iter().filter(|(room, _)| is_wanted(room)).collect();
        keep_first(&mut rooms, max, |(a, _), (b, _)| a.cmp(b));
        for (room, members) in rooms {
            *found.entry(Name::clone(room)).or_default() += members.len();
        }
    }

    /// How many are in a room. A private room is none.
    pub(in crate::hub) fn room_size(&self, namespace: &str, room: &str) -> usize {
        let state = self.0.lock();
        let namespace = state.namespaces.get(namespace);
        let members = namespace.and_then(|namespace| namespace.rooms.get(room));
        members.map_or(0, |members| members.len())
    }
}

impl Socket {
    fn is_in(&self, room: &str) -> bool {
        let mut ids = std::iter::once(&self.id).chain(&self.alias);
        self.rooms.iter().any(|name| **name == *room) || ids.any(|id| id.as_str() == room)
    }

    fn listed(&self) -> Listed {
        Listed {
            id: self.id.clone(),
            user: self.user.clone(),
            rooms: self.rooms.clone(),
            data: self.data.clone(),
            source: self.source,
            transport: self.outbox.transport(),
        }
    }
}

/// Keeps the `max` least, in no order.
pub(in crate::hub) fn keep_first<T>(list: &mut Vec<T>, max: usize, order: impl FnMut(&T, &T) -> Ordering) {
    if max == 0 {
        list.clear();
    } else if list.len() > max {
        list.select_nth_unstable_by(max - 1, order);
        list.truncate(max);
    }
}
