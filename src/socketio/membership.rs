//! Rooms: who may come, who goes, who is there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use compact_str::CompactString;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parking_lot::Mutex;

use super::announce::{self, Movement};
use super::arguments::{self, Refused, quoted};
use super::client::{Client, Socket};
use super::event::{Call, Outcome};
use super::waiting::Settled;
use crate::hub::Name;
use crate::metrics::Refusal;
use crate::protocol::ids::looks_like_socket_id;
use crate::protocol::json;

/// Members that one answer names.
const MEMBERS_MAX: usize = 1000;

/// Time for which equal questions share one answer.
const ANSWER_AGE_MAX: Duration = Duration::from_secs(1);

/// Answers that are kept.
const ANSWERS_MAX: usize = 1024;

/// Answers to `members` that are young enough to be given again: a crowd that asks at once costs one walk.
#[derive(Debug, Default)]
pub(super) struct MemberAnswers(Mutex<HashMap<Question, Answer, RandomState>>);

/// A namespace and a room.
type Question = (Name, CompactString);

/// When it was made, and its array as written.
type Answer = (Instant, Arc<str>);

impl MemberAnswers {
    fn get(&self, namespace: &Name, room: &str, make: impl FnOnce() -> String) -> Arc<str> {
        let now = Instant::now();
        let is_young = |made: Instant| now.duration_since(made) < ANSWER_AGE_MAX;
        let key = (Arc::clone(namespace), CompactString::from(room));
        if let Some((made, answer)) = self.0.lock().get(&key)
            && is_young(*made)
        {
            return Arc::clone(answer);
        }
        let answer: Arc<str> = make().into();
        let mut answers = self.0.lock();
        if answers.len() >= ANSWERS_MAX {
            answers.retain(|_, (made, _)| is_young(*made));
        }
        if answers.len() < ANSWERS_MAX {
            answers.insert(key, (now, Arc::clone(&answer)));
        }
        answer
    }
}

impl MemberAnswers {
    /// Somebody left these rooms: who asks from now on must not be told of a member whose leave it will never hear.
    pub(super) fn forget(&self, namespace: &Name, rooms: &[Name]) {
        let mut answers = self.0.lock();
        if !answers.is_empty() {
            for room in rooms {
                answers.remove(&(Arc::clone(namespace), CompactString::from(&**room)));
            }
        }
    }
}

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
            if !socket.rules.may_join(room, &socket.values()) {
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
        let presence = announce::presence(socket, Movement::Join, &joined.changed);
        let live = self.shared.cluster.joined(&socket.namespace, &joined.changed);
        if live.is_now() {
            return Ok(Outcome::Announce(presence, answer));
        }
        let changed = joined.changed;
        Ok(Outcome::Wait(Box::pin(async move {
            if live.confirmed().await {
                Settled::Done { presence, answer }
            } else {
                Settled::NotJoined { rooms: changed }
            }
        })))
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
        let presence = announce::presence(socket, Movement::Leave, &left.changed);
        Ok(Outcome::Announce(presence, answer))
    }

    /// `members`, room.
    pub(super) fn members(&self, socket: &Socket, call: &Call<'_>) -> Result<Outcome, Refused> {
        let rooms = self.rooms(call)?;
        let [room] = &rooms[..] else {
            return Err((Refusal::BadRequest, "members are listed for one room at a time".into()));
        };
        let is_open = !socket.rules.members_only && socket.rules.may_join(room, &socket.values());
        let is_private = looks_like_socket_id(room);
        if !self.shared.hub.is_member(socket.key, room) && (is_private || !is_open) {
            let message = format!("the members of the room {} may not be listed", quoted(room));
            return Err((Refusal::Forbidden, message));
        }
        let make = || {
            let (ids, total) = self.shared.hub.members(&socket.namespace, room, MEMBERS_MAX);
            let mut answer = String::from(r#"[{"ok":true,"members":["#);
            for (index, id) in ids.iter().enumerate() {
                answer.push_str(if index == 0 { "{" } else { ",{" });
                announce::write_who(&mut answer, id);
                answer.push('}');
            }
            answer.push_str(&format!(r#"],"total":{total}}}]"#));
            answer
        };
        let answer = self.shared.member_answers.get(&socket.namespace, room, make);
        Ok(Outcome::Done(answer.as_ref().to_owned()))
    }

    /// The rooms in a call's first argument.
    pub(super) fn rooms(&self, call: &Call<'_>) -> Result<Vec<CompactString>, Refused> {
        arguments::rooms(call.array.element(1), self.shared.limits.room_name_bytes)
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
