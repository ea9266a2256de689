//! Rooms: who may come, who goes, who is there.

use std::sync::Arc;

use compact_str::CompactString;

use super::announce::{self, Broadcasts, Movement};
use super::answers::Found;
use super::arguments::{self, Refused, quoted};
use super::client::{Client, Socket};
use super::event::{Call, Outcome, refusal_json};
use super::waiting::Settled;
use crate::hub::Name;
use crate::metrics::Refusal;
use crate::protocol::ids::looks_like_socket_id;
use crate::protocol::json;

impl Client {
    /// `join`, rooms.
    pub(super) fn join(&self, socket: &Socket, call: &Call<'_>) -> Result<Outcome, Refused> {
        let rooms = self.rooms(call)?;
        for room in &rooms {
            if looks_like_socket_id(room) {
                let message = format!(
                    "the room {} looks like a socket's id: such rooms are private and no client can join them",
                    quoted(room)
                );
                return Err((Refusal::Forbidden, message));
            }
            if !socket.may_join(room) {
                let message = format!("the room {} may not be joined", quoted(room));
                return Err((Refusal::Forbidden, message));
            }
        }
        let joined = self.shared.hub.join(socket.key, &rooms, socket.rooms_max);
        let joined = joined.map_err(|total| {
            let limit = self.shared.limits.rooms_per_socket;
            let message = format!("this would be {total} rooms, {limit} are allowed");
            (Refusal::TooLarge, message)
        })?;
        let mut answer = answer_with_rooms(&joined.rooms);
        answer.push_str(r#","socket":"#);
        json::write_string(&mut answer, socket.shown_id().as_str());
        answer.push_str("}]");
        Ok(self.joined(socket, joined.changed, answer))
    }

    /// A socket joined rooms; the answer's array follows as soon as these are heard.
    pub(super) fn joined(&self, socket: &Socket, changed: Vec<Name>, answer: String) -> Outcome {
        let presence = announce::presence(socket, Movement::Join, &changed);
        let live = self.shared.cluster.joined(&socket.namespace, &changed);
        let announces = socket.rules.presence;
        let told = self.moved(socket, Movement::Join, &changed);
        if live.is_now() {
            if let Some((line, event)) = told {
                let _ = line.tell(event); // what is lost is counted
            }
            if announces {
                self.shared.follow(&socket.namespace, Movement::Join, &changed);
            }
            return Outcome::Announce(presence, answer);
        }
        let (shared, namespace) = (Arc::clone(&self.shared), Name::clone(&socket.namespace));
        Outcome::Wait(Box::pin(async move {
            if live.confirmed().await {
                if let Some((line, event)) = told {
                    let _ = line.tell(event); // what is lost is counted
                }
                if announces {
                    shared.follow(&namespace, Movement::Join, &changed);
                }
                Settled::Done { presence, answer }
            } else {
                Settled::NotJoined { rooms: changed }
            }
        }))
    }

    /// `leave`, rooms.
    pub(super) fn leave(&self, socket: &Socket, call: &Call<'_>) -> Result<Outcome, Refused> {
        let rooms = self.rooms(call)?;
        let is_own = |room: &&CompactString| ***room == *socket.id.as_str() || ***room == *socket.shown_id().as_str();
        if let Some(room) = rooms.iter().find(is_own) {
            let message = format!("the room {} is the socket's own and cannot be left", quoted(room));
            return Err((Refusal::Forbidden, message));
        }
        let left = self.shared.hub.leave(socket.key, &rooms);
        self.shared.cluster.left(&socket.namespace, &left.changed);
        let mut answer = answer_with_rooms(&left.rooms);
        answer.push_str("}]");
        self.shared.member_answers.forget(&socket.namespace, &left.changed);
        if socket.rules.presence {
            self.shared.follow(&socket.namespace, Movement::Leave, &left.changed);
        }
        self.tell_moved(socket, Movement::Leave, &left.changed);
        let presence = announce::presence(socket, Movement::Leave, &left.changed);
        Ok(Outcome::Announce(presence, answer))
    }

    /// `members`, room.
    pub(super) fn members(&self, socket: &Socket, call: &Call<'_>) -> Result<Outcome, Refused> {
        let rooms = self.rooms(call)?;
        let [room] = &rooms[..] else {
            return Err((Refusal::BadRequest, "members are listed for one room at a time".into()));
        };
        let is_open = !socket.rules.members_only && socket.may_join(room);
        let is_private = looks_like_socket_id(room);
        if !self.shared.hub.is_member(socket.key, room) && (is_private || !is_open) {
            let message = format!("the members of the room {} may not be listed", quoted(room));
            return Err((Refusal::Forbidden, message));
        }
        match self.shared.who_is_in(&socket.namespace, room) {
            Found::Now(answer) => Ok(Outcome::Done(answer.as_ref().to_owned())),
            Found::Soon(soon) => Ok(Outcome::Wait(Box::pin(async move {
                let answer = soon.answer().await.map(|answer| answer.as_ref().to_owned());
                Settled::Done {
                    presence: Broadcasts::new(),
                    answer: answer.unwrap_or_else(|| refusal_json(Refusal::Unavailable, "nobody could be asked")),
                }
            }))),
            Found::Busy => {
                let message = "too many rooms' members are being listed on this node";
                Err((Refusal::RateLimited, message.into()))
            }
        }
    }

    /// The rooms in a call's first argument.
    pub(super) fn rooms(&self, call: &Call<'_>) -> Result<Vec<CompactString>, Refused> {
        arguments::rooms(call.array.element(1), self.shared.limits.room_name_bytes)
    }
}

/// The beginning of an answer that lists rooms: `[{"ok":true,"rooms":["a"]`.
fn answer_with_rooms(rooms: &[Name]) -> String {
    let mut answer = String::from(r#"[{"ok":true,"rooms":["#);
    // Into others' private rooms only the application puts somebody, and their names may be worth a session.
    let shown = rooms.iter().filter(|room| !looks_like_socket_id(room));
    for (index, room) in shown.enumerate() {
        if index > 0 {
            answer.push(',');
        }
        json::write_string(&mut answer, room);
    }
    answer.push(']');
    answer
}
