//! Publishing: from one client to many, by its rules and in the one order of all broadcasts.

use std::sync::Arc;

use compact_str::CompactString;

use super::announce::{self, Broadcasts};
use super::arguments::{self, Refused, quoted};
use super::client::{Client, Socket};
use super::event::{Call, Outcome};
use super::rules::To;
use crate::cluster::{Answer, Receipt, Waiter, Waiting};
use crate::hub::{Broadcast, Except, Name, Rooms, Target};
use crate::metrics::{Origin, Refusal};
use crate::protocol::encoded::Encoded;
use crate::protocol::socket;

/// Broadcasts for which there was no room, and what goes out once they are on their way.
pub(super) struct Held {
    first: Waiting,
    rest: Broadcasts,
    reply: Reply,
}

/// What a client hears of an event that was relayed.
pub(super) enum Reply {
    /// Nothing: it did not ask.
    None,
    /// This, as soon as everything is on its way.
    Ready(Arc<Encoded>),
    /// What came of it.
    Receipt(Answer),
}

impl Client {
    /// `publish`, rooms, event, …args.
    pub(super) fn publish(&self, socket: &Socket, call: &Call<'_>, echo: bool) -> Result<Outcome, Refused> {
        let rooms = self.rooms(call)?;
        arguments::relayed_event(call.array.element(2))?;
        let forbidden = |what: &str, room: &str| Err((Refusal::Forbidden, format!("{what} {}", quoted(room))));
        for room in &rooms {
            if !socket.may_publish(room) {
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
    pub(super) fn send_out(&mut self, broadcasts: Broadcasts, reply: Reply) {
        let mut receipt = Some(Receipt::Relayed);
        let mut broadcasts = broadcasts.into_iter();
        while let Some(broadcast) = broadcasts.next() {
            let waiter = reply.for_last(broadcasts.len() == 0);
            match self.shared.cluster.try_broadcast(broadcast, Origin::Client, waiter) {
                Ok(known) => receipt = known,
                Err(first) => {
                    let rest = broadcasts.collect();
                    self.held = Some(Box::new(Held { first, rest, reply }));
                    return;
                }
            }
        }
        self.send_reply(reply, receipt);
    }

    /// Relays what is held as soon as there is room. Boxed: it is rare, and every client's task would be as large.
    pub(super) async fn relay_held(&mut self) {
        while let Some(held) = self.held.take() {
            self.session.flush(); // what this client is owed must not wait for others
            let Held { first, rest, reply } = *held;
            let receipt = Box::pin(self.shared.cluster.broadcast(first, Origin::Client)).await;
            if rest.is_empty() {
                self.send_reply(reply, receipt);
            } else {
                self.send_out(rest, reply);
            }
        }
    }

    fn send_reply(&mut self, reply: Reply, receipt: Option<Receipt>) {
        match (reply, receipt) {
            (Reply::Ready(answer), _) => self.session.send(answer),
            (Reply::Receipt(answer), Some(receipt)) => self.session.send(answer.packet(receipt)),
            (Reply::Receipt(_), None) | (Reply::None, _) => {}
        }
    }
}

impl Reply {
    /// The answer that the last of some broadcasts takes along.
    fn for_last(&self, is_last: bool) -> Option<Waiter> {
        match self {
            Self::Receipt(answer) if is_last => Some(answer.clone().into()),
            _ => None,
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
        except: if echo { Except::default() } else { socket.excepted() },
        packet,
        is_volatile: false,
    };
    Outcome::Relay(broadcast)
}
