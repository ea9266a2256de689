//! EVENT: finds the rule, does what it says, answers.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tracing::debug;

use super::announce::Broadcasts;
use super::arguments::{Refused, logged, quoted};
use super::client::{Client, Socket};
use super::relay::Reply;
use super::rules::Action;
use super::waiting::Settled;
use crate::backend::Verdict;
use crate::cluster::Answer;
use crate::hub::{Broadcast, Name};
use crate::metrics::{self, Limit, Refusal};
use crate::protocol::encoded::Encoded;
use crate::protocol::json::{self, Array};
use crate::protocol::socket::{self, Packet};
use crate::reason::Reason;

/// What an event comes to.
pub(super) enum Outcome {
    /// Done; the answer's array as written.
    Done(String),
    /// Done; the answer is the event's own arguments.
    Echo,
    /// Relayed as soon as there is room; the answer says what came of it.
    Relay(Broadcast),
    /// Appended to a stream in Redis; the answer says what came of it.
    Append(Name, Bytes),
    /// Done; the answer's array as written. Others are told of it.
    Announce(Broadcasts, String),
    /// A new token was looked at.
    Renew(Verdict),
    /// Not done yet: what the socket sends meanwhile waits.
    Wait(Pin<Box<dyn Future<Output = Settled> + Send>>),
}

/// One event as its rule sees it.
pub(super) struct Call<'a> {
    pub(super) array: Array<'a>,
    pub(super) attachments: &'a [Bytes],
    /// Whether the client waits for an answer.
    pub(super) wants_answer: bool,
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
        let is_allowed = self.take_token(index, started);
        let socket = &self.sockets[index];
        let call = Call {
            array,
            attachments: &attachments,
            wants_answer: packet.id.is_some(),
        };
        let action = socket.rules.action(&name);
        let label = action.label();
        let is_over = socket.pass.as_ref().is_some_and(|pass| pass.is_over());
        let outcome = if !is_allowed {
            Err(self.too_fast())
        } else if is_over && *action != Action::Refresh {
            Err((
                Refusal::Expired,
                "the token has expired: send a new one by `refresh`".into(),
            ))
        } else {
            self.decide(socket, action, &name, &call)
        };
        match outcome {
            Ok(Outcome::Done(answer)) => self.answer(packet, &[&answer], Box::default()),
            Ok(Outcome::Echo) => self.answer(packet, &["[", array.tail(1)], attachments.into()),
            Ok(Outcome::Relay(broadcast)) => {
                let reply = self.receipt(index, packet.id);
                self.send_out(Broadcasts::from_iter([broadcast]), reply);
            }
            Ok(Outcome::Append(stream, event)) => {
                let reply = self.receipt(index, packet.id);
                self.append(&stream, event, reply);
            }
            Ok(Outcome::Announce(broadcasts, answer)) => self.tell(packet.namespace, packet.id, broadcasts, &answer),
            Ok(Outcome::Renew(verdict)) => self.renew(packet.namespace, packet.id, verdict),
            Ok(Outcome::Wait(settled)) => self.wait_for(packet.namespace, packet.id, settled),
            Err((refusal, message)) => {
                debug!(
                    event = logged(&name),
                    refusal = refusal.as_str(),
                    why = message,
                    "refused"
                );
                self.refuse(packet, refusal, &message);
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
            Action::Publish { echo } => self.publish(socket, call, *echo),
            Action::Broadcast { to, echo } => self.broadcast(socket, call, to, *echo),
            Action::Members => self.members(socket, call),
            Action::Refresh => self.refresh(socket, call),
            Action::Ack => Ok(Outcome::Echo),
            Action::Webhook => self.hand_over(socket, call),
            Action::Stream(stream) => self.stream(socket, call, stream),
            Action::Drop => {
                let message = format!("no rule does anything with the event {}", quoted(name));
                Err((Refusal::NoRule, message))
            }
        }
    }

    /// Sends what others are to hear of an event, and then its answer.
    pub(super) fn tell(&mut self, namespace: &str, id: Option<u64>, broadcasts: Broadcasts, answer: &str) {
        let answer = self.ack(namespace, id, &[answer], Box::default());
        self.send_out(broadcasts, answer.map_or(Reply::None, Reply::Ready));
    }

    /// Whether the socket at `index` may send one more event now.
    fn take_token(&mut self, index: usize, now: Instant) -> bool {
        let (rate, burst) = self.shared.events_limit();
        rate == 0 || self.sockets[index].bucket.take(rate, burst, now)
    }

    fn too_fast(&self) -> Refused {
        self.shared.metrics.limited(Limit::EventsPerSecond);
        let (rate, _) = self.shared.events_limit();
        (Refusal::RateLimited, format!("more than {rate} events a second"))
    }

    fn refuse(&mut self, packet: &Packet<'_>, refusal: metrics::Refusal, message: &str) {
        self.shared.metrics.refused(refusal);
        self.answer(packet, &[&refusal_json(refusal, message)], Box::default());
    }

    /// The answer of the socket at `index` that says what came of a broadcast.
    fn receipt(&self, index: usize, id: Option<u64>) -> Reply {
        let socket = &self.sockets[index];
        id.map_or(Reply::None, |ack| {
            Reply::Receipt(Answer {
                key: socket.key,
                id: socket.id.clone(),
                namespace: Arc::clone(&socket.namespace),
                ack,
                reads_old_acks: self.reads_old_acks,
            })
        })
    }

    /// Answers an event, where the client wants that.
    fn answer(&mut self, packet: &Packet<'_>, json: &[&str], attachments: Box<[Bytes]>) {
        let answer = self.encode_answer(packet, json, attachments);
        self.send_answer(answer);
    }

    fn encode_answer(&self, packet: &Packet<'_>, json: &[&str], attachments: Box<[Bytes]>) -> Option<Arc<Encoded>> {
        self.ack(packet.namespace, packet.id, json, attachments)
    }

    /// The answer to the event of this number, where it has one.
    pub(super) fn ack(
        &self,
        namespace: &str,
        id: Option<u64>,
        json: &[&str],
        attachments: Box<[Bytes]>,
    ) -> Option<Arc<Encoded>> {
        id.map(|id| socket::answer(namespace, id, self.reads_old_acks, json, attachments))
    }

    pub(super) fn send_answer(&mut self, answer: Option<Arc<Encoded>>) {
        if let Some(answer) = answer {
            self.session.send(answer);
        }
    }
}

/// The answer of an event that was not done, its array as written.
pub(super) fn refusal_json(refusal: Refusal, message: &str) -> String {
    let mut text = format!(r#"[{{"ok":false,"error":"{}","message":"#, refusal.as_str());
    json::write_string(&mut text, message);
    text.push_str("}]");
    text
}
