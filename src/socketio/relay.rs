//! Publishing: from one client to many, by its rules and in the one order of all broadcasts.

use std::sync::Arc;

use compact_str::CompactString;

use super::announce::{self, Broadcasts};
use super::arguments::{self, Refused, quoted};
use super::client::{Client, Socket};
use super::event::{Call, Outcome};
use super::rules::To;
use crate::hub::{Broadcast, Name, Rooms, Target};
use crate::metrics::{Origin, Refusal};
use crate::protocol::encoded::Encoded;
use crate::protocol::socket;

/// Broadcasts for which the hub had no room, and the answer that goes out once they are on their way.
pub(super) struct Held {
    broadcasts: Broadcasts,
    answer: Option<Arc<Encoded>>,
}

impl Client {
    /// `publish`, rooms, event, …args.
    pub(super) fn publish(&self, socket: &Socket, call: &Call<'_>, echo: bool) -> Result<Outcome, Refused> {
        let rooms = self.rooms(call)?;
        arguments::relayed_event(call.array.element(2))?;
        let forbidden = |what: &str, room: &str| Err((Refusal::Forbidden, format!("{what} {}", quoted(room))));
        for room in &rooms {
            if !socket.rules.may_publish(room, &socket.values()) {
                return forbidden("nothing may be published to the room", room);
            }
            if socket.rules.members_only && !self.shared.hub.is_member(socket.key, room) {
                return forbidden("only members publish to the room", room);
            }
        }
        let only_room = if let [room] = &rooms[..] {
            Some(room.clone())
        } else {
            None
        };
        let Some(rooms) = Rooms::from_list(rooms) else {
            return Err((Refusal::BadRequest, "the list of rooms is empty".into()));
        };
        Ok(relayed(
            socket,
            call,
            2,
            (Target::Rooms(rooms), only_room.as_deref(), echo),
        ))
    }

    /// Any event, to whom its rule says.
    pub(super) fn broadcast(&self, socket: &Socket, call: &Call<'_>, to: &To, echo: bool) -> Result<Outcome, Refused> {
        arguments::relayed_event(call.array.element(0))?;
        let (target, only_room) = match to {
            To::Namespace => (Target::Namespace, None),
            To::Room(room) => (Target::Rooms(Rooms::one(room.as_str())), Some(room.as_str())),
            To::Rooms => {
                let rooms = self.shared.hub.rooms_of(socket.key);
                let rooms = Rooms::from_list(rooms.iter().map(|room| CompactString::from(&**room)));
                let rooms = rooms.ok_or_else(|| (Refusal::Forbidden, "the socket is in no room".to_owned()))?;
                (Target::Rooms(rooms), None)
            }
        };
        Ok(relayed(socket, call, 0, (target, only_room, echo)))
    }

    /// Relays in order, at once as far as there is room; the client is held up until the rest is on its way.
    pub(super) fn send_out(&mut self, broadcasts: Broadcasts, answer: Option<Arc<Encoded>>) {
        let mut broadcasts = broadcasts.into_iter();
        while let Some(broadcast) = broadcasts.next() {
            if let Err(broadcast) = self.shared.hub.try_broadcast(broadcast, Origin::Client) {
                let broadcasts = std::iter::once(broadcast).chain(broadcasts).collect();
                self.held = Some(Box::new(Held { broadcasts, answer }));
                return;
            }
        }
        self.send_answer(answer);
    }

    /// Relays what is held as soon as there is room. Boxed: it is rare, and every client's task would be as large.
    pub(super) async fn relay_held(&mut self) {
        if let Some(held) = self.held.take() {
            self.session.flush(); // what this client is owed must not wait for others
            for broadcast in held.broadcasts {
                Box::pin(self.shared.hub.broadcast(broadcast, Origin::Client)).await;
            }
            self.send_answer(held.answer);
        }
    }
}

/// The event whose name is at `index` of the call's array, with all that follows, on its way to `target`; the sender
/// left out unless it wants an echo. `only_room` is what the stamp says.
fn relayed(
    socket: &Socket,
    call: &Call<'_>,
    index: usize,
    (target, only_room, echo): (Target, Option<&str>, bool),
) -> Outcome {
    let tail = call.array.tail(index);
    let attachments = call.attachments.into();
    let packet = if socket.rules.stamp {
        let open = tail.strip_suffix(']').unwrap_or(tail);
        let stamp = announce::stamp(socket, only_room);
        socket::event(&socket.namespace, &["[", open, &stamp, "]"], attachments)
    } else {
        socket::event(&socket.namespace, &["[", tail], attachments)
    };
    let broadcast = Broadcast {
        namespace: Name::clone(&socket.namespace),
        target,
        except: (!echo).then_some(socket.key),
        packet,
    };
    Outcome::Relay(Broadcasts::from_iter([broadcast]), None)
}
