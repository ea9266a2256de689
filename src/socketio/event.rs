//! EVENT: what a client may do, and who hears of it.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use compact_str::CompactString;
use tracing::debug;

use super::arguments::{self, Refused, quoted};
use super::client::{Client, Socket};
use super::rules::{Action, To};
use crate::hub::{Broadcast, Name, Rooms, Target};
use crate::metrics::{Origin, Refusal};
use crate::protocol::encoded::Encoded;
use crate::protocol::ids::looks_like_socket_id;
use crate::protocol::json::{self, Array};
use crate::protocol::socket::{self, Packet};
use crate::reason::Reason;

/// The answer to everything that has nothing more to say.
const OK: &str = r#"[{"ok":true}]"#;

/// What an event comes to.
enum Outcome {
    /// Done; the answer's array as written.
    Done(String),
    /// Done; the answer is the event's own arguments.
    Echo,
    /// Done as soon as this is on its way.
    Relay(Target, Arc<Encoded>, Echo),
}

/// A broadcast, and the answer that goes out once it is on its way.
pub(super) struct Held {
    broadcast: Broadcast,
    answer: Option<Arc<Encoded>>,
}

/// Whether the sender hears its own broadcast.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Echo(bool);

/// One event as its rule sees it.
struct Call<'a> {
    array: Array<'a>,
    attachments: &'a [Bytes],
}

impl Client {
    pub(super) fn on_event(&mut self, packet: &Packet<'_>, attachments: Vec<Bytes>) -> Result<(), Reason> {
        let started = Instant::now();
        let index = self.socket(packet.namespace)?;
        let Some(array) = packet.array else {
            return Err(Reason::Bug);
        };
        let raw = array.element(0).unwrap_or_default();
        let name = json::string(raw).unwrap_or(raw.into());
        let socket = &self.sockets[index];
        let call = Call {
            array,
            attachments: &attachments,
        };
        let action = socket.rules.action(&name);
        let label = action.label();
        match self.decide(socket, action, &name, &call) {
            Ok(Outcome::Done(answer)) => self.answer(packet, &[&answer], Box::default()),
            Ok(Outcome::Echo) => self.answer(packet, &["[", array.tail(1)], attachments.into()),
            Ok(Outcome::Relay(target, encoded, echo)) => {
                let broadcast = Broadcast {
                    namespace: Name::clone(&socket.namespace),
                    target,
                    except: (!echo.0).then_some(socket.key),
                    packet: encoded,
                };
                let answer = self.encode_answer(packet, &[OK], Box::default());
                self.send_out(Held { broadcast, answer });
            }
            Err((refusal, message)) => {
                debug!(event = &*name, refusal = refusal.as_str(), message, "refused");
                self.shared.metrics.refused(refusal);
                let mut text = format!(r#"[{{"ok":false,"error":"{}","message":"#, refusal.as_str());
                json::write_string(&mut text, &message);
                text.push_str("}]");
                self.answer(packet, &[&text], Box::default());
            }
        }
        self.shared.metrics.event(label, started.elapsed());
        Ok(())
    }

    /// What a socket's event comes to, and whether it may.
    fn decide(&self, socket: &Socket, action: &Action, name: &str, call: &Call<'_>) -> Result<Outcome, Refused> {
        match action {
            Action::Join => self.join(socket, call),
            Action::Leave => self.leave(socket, call),
            Action::Publish { echo } => self.publish(socket, call, Echo(*echo)),
            Action::Broadcast { to, echo } => self.broadcast(socket, call, to, Echo(*echo)),
            Action::Ack => Ok(Outcome::Echo),
            Action::Drop => Err((
                Refusal::NoRule,
                format!("no rule does anything with the event {}", quoted(name)),
            )),
        }
    }

    fn join(&self, socket: &Socket, call: &Call<'_>) -> Result<Outcome, Refused> {
        let rooms = self.rooms(call)?;
        for room in &rooms {
            if looks_like_socket_id(room) {
                let message = format!(
                    "the room {} looks like a socket's id: such rooms are private and no client can join them",
                    quoted(room)
                );
                return Err((Refusal::Forbidden, message));
            }
            if !socket.rules.may_join(room, &socket.values()) {
                return Err((
                    Refusal::Forbidden,
                    format!("the room {} may not be joined", quoted(room)),
                ));
            }
        }
        let now_in = self
            .shared
            .hub
            .join(socket.key, &rooms, socket.rooms_max)
            .map_err(|total| {
                let limit = self.shared.limits.rooms_per_socket;
                (
                    Refusal::TooLarge,
                    format!("this would be {total} rooms, {limit} are allowed"),
                )
            })?;
        let mut answer = answer_with_rooms(&now_in);
        answer.push_str(r#","socket":"#);
        json::write_string(&mut answer, socket.shown_id().as_str());
        answer.push_str("}]");
        Ok(Outcome::Done(answer))
    }

    fn leave(&self, socket: &Socket, call: &Call<'_>) -> Result<Outcome, Refused> {
        let rooms = self.rooms(call)?;
        if let Some(room) = rooms
            .iter()
            .find(|room| ***room == *socket.id.as_str() || ***room == *socket.shown_id().as_str())
        {
            return Err((
                Refusal::Forbidden,
                format!("the room {} is the socket's own and cannot be left", quoted(room)),
            ));
        }
        let mut answer = answer_with_rooms(&self.shared.hub.leave(socket.key, &rooms));
        answer.push_str("}]");
        Ok(Outcome::Done(answer))
    }

    fn publish(&self, socket: &Socket, call: &Call<'_>, echo: Echo) -> Result<Outcome, Refused> {
        let rooms = self.rooms(call)?;
        arguments::relayed_event(call.array.element(2))?;
        for room in &rooms {
            if !socket.rules.may_publish(room, &socket.values()) {
                return Err((
                    Refusal::Forbidden,
                    format!("the room {} may not be published to", quoted(room)),
                ));
            }
            if socket.rules.members_only && !self.shared.hub.is_member(socket.key, room) {
                return Err((
                    Refusal::Forbidden,
                    format!("only members publish to the room {}", quoted(room)),
                ));
            }
        }
        let Some(rooms) = Rooms::from_list(rooms) else {
            return Err((Refusal::BadRequest, "the list of rooms is empty".into()));
        };
        let packet = socket::event(&socket.namespace, &["[", call.array.tail(2)], call.attachments.into());
        Ok(Outcome::Relay(Target::Rooms(rooms), packet, echo))
    }

    fn broadcast(&self, socket: &Socket, call: &Call<'_>, to: &To, echo: Echo) -> Result<Outcome, Refused> {
        arguments::relayed_event(call.array.element(0))?;
        let target = match to {
            To::Namespace => Target::Namespace,
            To::Room(room) => Target::Rooms(Rooms::one(room.as_str())),
            To::Rooms => {
                let rooms = self.shared.hub.rooms_of(socket.key);
                let rooms = Rooms::from_list(rooms.iter().map(|room| CompactString::from(&**room)));
                Target::Rooms(rooms.ok_or_else(|| (Refusal::Forbidden, "the socket is in no room".to_owned()))?)
            }
        };
        let packet = socket::event(&socket.namespace, &["[", call.array.tail(0)], call.attachments.into());
        Ok(Outcome::Relay(target, packet, echo))
    }

    fn rooms(&self, call: &Call<'_>) -> Result<Vec<CompactString>, Refused> {
        arguments::rooms(call.array.element(1), self.shared.limits.room_name_bytes)
    }

    /// Relays at once, or holds the client up until there is room.
    fn send_out(&mut self, Held { broadcast, answer }: Held) {
        match self.shared.hub.try_broadcast(broadcast, Origin::Client) {
            Ok(()) => self.send_answer(answer),
            Err(broadcast) => self.held = Some(Box::new(Held { broadcast, answer })),
        }
    }

    /// Relays as soon as there is room. Boxed: rare, and every client's task would be as large as this.
    pub(super) async fn relay(&mut self, Held { broadcast, answer }: Held) {
        Box::pin(self.shared.hub.broadcast(broadcast, Origin::Client)).await;
        self.send_answer(answer);
    }

    /// Answers an event, where the client wants that.
    fn answer(&mut self, packet: &Packet<'_>, json: &[&str], attachments: Box<[Bytes]>) {
        let answer = self.encode_answer(packet, json, attachments);
        self.send_answer(answer);
    }

    fn encode_answer(&self, packet: &Packet<'_>, json: &[&str], attachments: Box<[Bytes]>) -> Option<Arc<Encoded>> {
        let encode = if self.reads_old_acks {
            socket::old_ack
        } else {
            socket::ack
        };
        packet.id.map(|id| encode(packet.namespace, id, json, attachments))
    }

    fn send_answer(&mut self, answer: Option<Arc<Encoded>>) {
        if let Some(answer) = answer {
            self.session.send(answer);
        }
    }
}

/// The beginning of an answer that lists rooms: `[{"ok":true,"rooms":["a"]`.
fn answer_with_rooms(rooms: &[Name]) -> String {
    let mut answer = String::from(r#"[{"ok":true,"rooms":["#);
    for (index, room) in rooms.iter().enumerate() {
        if index > 0 {
            answer.push(',');
        }
        json::write_string(&mut answer, room);
    }
    answer.push(']');
    answer
}
