//! What the application is asked and told of sockets, and what comes of its answers.
//!
//! A socket has a line of its own to it: what it says and what happens to it is told in order, one at a time.

use std::pin::Pin;
use std::sync::Arc;

use tracing::debug;

use super::SocketIo;
use super::announce::Movement;
use super::arguments::Refused;
use super::client::{Client, ROOT, Socket};
use super::commands::{Caller, Command, Failed};
use super::event::{Call, Outcome, refusal_json};
use super::waiting::Settled;
use crate::backend::webhook::{Ack, Event, Failure, Handler, Kind, Line, Moment, Orders, Subject, Whose};
use crate::hub::{MovedSocket, Name, Rooms, Selection, SocketKey, Target};
use crate::metrics::{Limit, Refusal};
use crate::protocol::ids::SocketId;
use crate::reason::Reason;

impl SocketIo {
    /// A line for a socket that comes in, where the application wants to hear of any.
    pub(super) fn open_line(&self, subject: Option<Arc<Subject>>, data: &str, is_applications: bool) -> Option<Line> {
        let webhooks = self.webhooks.as_ref()?;
        Some(webhooks.open(subject?, data, is_applications))
    }

    /// Whether the application wants to be told this.
    fn tells(&self, kind: Kind) -> bool {
        self.webhooks.as_ref().is_some_and(|webhooks| webhooks.wants(kind))
    }

    /// Tells the application what others did to a socket of this node.
    pub(super) fn tell_moved(&self, namespace: &Name, moved: &MovedSocket, movement: Movement) {
        let kind = kind_of(movement);
        if !self.tells(kind) {
            return;
        }
        let line = self
            .webhooks
            .as_ref()
            .and_then(|webhooks| webhooks.line(moved.id.as_str()));
        if let (Some(line), Some(moment)) = (line, self.moment(namespace, moved.key, &moved.id)) {
            let _ = line.tell(Event::of(kind, moment).with_names("rooms", &moved.changed)); // what is lost is counted
        }
    }

    /// What of a socket changes, as it is now.
    fn moment(&self, namespace: &Name, key: SocketKey, id: &SocketId) -> Option<Moment> {
        let selection = Selection {
            namespace,
            target: &Target::Rooms(Rooms::one(id.as_str())),
            except: &[],
        };
        let found = self
            .hub
            .describe(&selection)
            .into_iter()
            .find(|found| found.key == key)?;
        Some(Moment {
            rooms: found.rooms,
            transport: found.transport,
        })
    }

    /// Keeps what the application wants to be kept with a socket, where that is here still.
    fn keep(&self, subject: &Subject, data: Box<str>) {
        let selection = Selection {
            namespace: &subject.namespace,
            target: &Target::Rooms(Rooms::one(subject.id.as_str())),
            except: &[],
        };
        let mut found = self.hub.describe(&selection).into_iter();
        if let Some(socket) = found.find(|found| found.id == subject.id) {
            self.hub.set_data(socket.key, &socket.id, data);
        }
    }
}

impl Handler for SocketIo {
    fn obey(self: Arc<Self>, kind: Kind, whose: Whose, orders: Orders) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let root = Name::from(ROOT);
        Box::pin(async move {
            if let (Whose::Socket(subject), Some(data)) = (&whose, orders.data) {
                self.keep(subject, data);
            }
            if orders.actions.is_empty() {
                return;
            }
            for action in &orders.actions {
                let caller = match &whose {
                    Whose::Socket(subject) => Caller::Socket {
                        namespace: &subject.namespace,
                        id: &subject.id,
                    },
                    Whose::Nobody(namespace) => Caller::Nobody {
                        namespace: namespace.as_ref().unwrap_or(&root),
                    },
                };
                let carried = match Command::parse(&action.name, &action.json) {
                    Ok(command) => self.carry(command, caller).await.map(drop),
                    Err(invalid) => Err(invalid.into()),
                };
                if let (Err(Failed { message, .. }), Some(webhooks)) = (carried, &self.webhooks) {
                    webhooks.action_failed(kind, &action.name, &message);
                }
            }
            // What was emitted comes before the answer that its caller waits for.
            self.hub.caught_up().await;
        })
    }
}

impl Client {
    /// Hands an event to the application. A client that wants an answer gets the application's.
    pub(super) fn hand_over(&self, socket: &Socket, call: &Call<'_>) -> Result<Outcome, Refused> {
        let Some(line) = &socket.line else {
            return Err((Refusal::Unavailable, "there is no application to hand it to".into()));
        };
        let name = call.array.element(0).unwrap_or_default();
        let event = Event::of(Kind::Event, self.moment(socket)).with_call(name, call.array.tail(1), call.attachments);
        let full = |_| {
            self.shared.metrics.limited(Limit::WaitingEvents);
            let message = "too many events wait for the application";
            (Refusal::RateLimited, message.into())
        };
        if !call.wants_answer {
            line.tell(event).map_err(full)?;
            return Ok(Outcome::Done(String::new())); // which nobody hears
        }
        let answer = line.ask(event).map_err(full)?;
        Ok(Outcome::Wait(Box::pin(async move {
            Settled::Answered(answer.await.map(|answer| answer.ack))
        })))
    }

    /// Gives a client what the application answered.
    pub(super) fn on_answer(&mut self, namespace: &str, id: Option<u64>, answer: Result<Option<Ack>, Failure>) {
        let (json, attachments) = match answer {
            Ok(Some(ack)) => (ack.json, ack.attachments),
            Ok(None) => (r#"[{"ok":true}]"#.to_owned(), Vec::new()),
            Err(failure) => {
                debug!(why = failure.as_str(), "the application did not answer");
                let (refusal, message) = match failure {
                    Failure::Timeout | Failure::Busy => (Refusal::Timeout, "the application did not answer in time"),
                    _ => (Refusal::Unavailable, "the application gave no answer"),
                };
                self.shared.metrics.refused(refusal);
                (refusal_json(refusal, message), Vec::new())
            }
        };
        let answer = self.ack(namespace, id, &[&json], attachments.into());
        self.send_answer(answer);
    }

    /// Tells the application that a socket is here, behind what its answer wanted to be done.
    pub(super) fn tell_connected(&self, socket: &Socket, orders: Orders) {
        let Some(line) = &socket.line else { return };
        line.obey(Kind::Connect, orders);
        if self.shared.tells(Kind::Connected) {
            let _ = line.tell(Event::of(Kind::Connected, self.moment(socket))); // what is lost is counted
        }
    }

    /// Tells the application which rooms a socket joined or left.
    pub(super) fn tell_moved(&self, socket: &Socket, movement: Movement, rooms: &[Name]) {
        if let Some((line, event)) = self.moved(socket, movement, rooms) {
            let _ = line.tell(event); // what is lost is counted
        }
    }

    /// What the application is to be told of rooms that a socket joined or left, and by which line.
    pub(super) fn moved(&self, socket: &Socket, movement: Movement, rooms: &[Name]) -> Option<(Line, Event)> {
        let kind = kind_of(movement);
        let line = socket.line.as_ref()?;
        if rooms.is_empty() || !self.shared.tells(kind) {
            return None;
        }
        let event = Event::of(kind, self.moment(socket)).with_names("rooms", rooms);
        Some((line.clone(), event))
    }

    /// Tells the application that a socket is gone, which was in these rooms.
    pub(super) fn tell_gone(&self, socket: &Socket, rooms: &[Name], reason: Reason) {
        let Some(line) = socket.line.as_ref().filter(|_| self.shared.tells(Kind::Disconnect)) else {
            return;
        };
        let moment = Moment {
            rooms: rooms.to_vec(),
            transport: self.session.transport(),
        };
        let _ = line.tell(Event::of(Kind::Disconnect, moment).with("reason", reason.as_str())); // what is lost is counted
    }

    fn moment(&self, socket: &Socket) -> Moment {
        Moment {
            rooms: self.shared.hub.rooms_of(socket.key),
            transport: self.session.transport(),
        }
    }
}

fn kind_of(movement: Movement) -> Kind {
    match movement {
        Movement::Join => Kind::Join,
        Movement::Leave => Kind::Leave,
    }
}
