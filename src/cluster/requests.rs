//! What other servers ask on the adapters' request channels, and our answers.
//!
//! A Node server counts who is subscribed and waits for each: whatever is a question is answered, with nothing where we
//! have nothing.

use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;
use tracing::debug;

use super::hearing::{Act, Asker, Command};
use super::relay::Relay;
use super::survey::question_of;
use super::wire::{self, Answer, Ask, Dialect, RemoteSocket, Request, Response};
use crate::hub::{Described, Name, Question, Rooms, Selection, Target};
use crate::metrics::Origin;
use crate::protocol::json;

/// Time for clients' answers where the asking server names none, and the longest that we hold a question open.
const ACKS_TIMEOUT: Duration = Duration::from_secs(5);

const ACKS_TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// A socket of another server's list, for those who do not say more.
const NO_HANDSHAKE: &str = "{}";

impl Relay {
    /// Answers a question, or says what is to be done.
    pub(super) fn asked(self: &Arc<Self>, namespace: &Name, payload: &[u8]) -> Option<Command> {
        let request = match wire::decode_request(payload) {
            Ok(request) => request,
            Err(error) => {
                debug!(%error, "a request that is none");
                return None;
            }
        };
        if request.uid.as_deref() == Some(self.run()) || is_for_node_servers(&request) {
            return None;
        }
        let act = match &request.ask {
            Ask::Join { rooms, .. } => Some(Act::Join(rooms.to_vec())),
            Ask::Leave { rooms, .. } => Some(Act::Leave(rooms.to_vec())),
            Ask::Disconnect { close, .. } => Some(Act::Disconnect { close: *close }),
            _ => None,
        };
        if let Some(act) = act {
            return self.command(namespace, request, act);
        }
        if matches!(request.ask, Ask::Broadcast { .. }) {
            self.ask_clients(namespace, request);
        } else if request.id.is_some()
            && let Some(answer) = self.answer_to(namespace, &request)
        {
            self.respond(namespace, &request, answer);
        }
        None
    }

    /// Says that what was asked for is done.
    pub(super) fn done(&self, namespace: &Name, asker: &Asker) {
        match asker {
            Asker::Server(request) => self.respond(namespace, request, Answer::Done),
            Asker::Gateway(run, id) => self.carried_out(run, *id),
        }
    }

    /// What is to be done; nothing where an old server means one socket that is not here.
    fn command(&self, namespace: &Name, request: Request, act: Act) -> Option<Command> {
        let (Ask::Join { who, .. } | Ask::Leave { who, .. } | Ask::Disconnect { who, .. }) = &request.ask else {
            return None;
        };
        let target = target(&who.rooms);
        if request.id.is_some() && self.find(namespace, &target, &who.except).is_empty() {
            return None;
        }
        Some(Command {
            namespace: Name::clone(namespace),
            target,
            except: who.except.to_vec(),
            act,
            asker: request.id.is_some().then(|| Asker::Server(Box::new(request))),
        })
    }

    fn answer_to(&self, namespace: &Name, request: &Request) -> Option<Answer> {
        let ids = |rooms: &[CompactString]| {
            let found = self.find(namespace, &target(rooms), &[]);
            found.iter().map(|socket| socket.id.as_str().into()).collect()
        };
        Some(match &request.ask {
            Ask::Sockets { rooms } => Answer::Sockets(ids(rooms)),
            Ask::AllRooms => Answer::Rooms(self.hub.room_names(namespace)),
            Ask::RoomsOf { socket } => {
                let room = Target::Rooms(Rooms::one(socket.clone()));
                let mut found = self.find(namespace, &room, &[]).into_iter();
                let found = found.find(|found| *found.id.as_str() == **socket)?; // its own server answers
                Answer::Rooms(all_rooms(&found))
            }
            Ask::Fetch { who } => {
                let found = self.find(namespace, &target(&who.rooms), &who.except);
                Answer::Fetched(found.iter().map(remote).collect())
            }
            Ask::ServerSideEmit { .. } | Ask::Custom { .. } => Answer::Data("null".into()), // no code runs here
            // Those are answered once they are done.
            Ask::Join { .. } | Ask::Leave { .. } | Ask::Disconnect { .. } | Ask::Broadcast { .. } => return None,
        })
    }

    fn find(&self, namespace: &str, target: &Target, except: &[CompactString]) -> Vec<Described> {
        self.hub.describe(&Selection {
            namespace,
            target,
            except,
        })
    }

    fn respond(&self, namespace: &Name, request: &Request, answer: Answer) {
        let Some(id) = request.id.clone() else {
            return;
        };
        let channel = match request.dialect {
            Dialect::Sync => self.routes.sync_response(&id),
            Dialect::Modern | Dialect::Legacy => self.routes.response(namespace),
        };
        let response = Response {
            id,
            dialect: request.dialect,
            answer,
        };
        match wire::encode_response(&response) {
            Ok(payload) => drop(self.say(channel, payload)),
            Err(error) => debug!(%error, "a question that cannot be answered"),
        }
    }

    /// Sends an event to clients here and passes their answers on: first how many there will be.
    fn ask_clients(self: &Arc<Self>, namespace: &Name, request: Request) {
        let Ask::Broadcast { broadcast, timeout_ms } = &request.ask else {
            return;
        };
        let target = target(&broadcast.rooms);
        let (json, attachments) = (&broadcast.json, &broadcast.attachments);
        let question = self
            .hub
            .question(namespace, &target, &broadcast.except, json, attachments);
        let count = question.as_ref().map_or(0, |question| question.count);
        self.respond(namespace, &request, Answer::ClientCount(count as u64));
        let Some(Question {
            broadcast, mut asked, ..
        }) = question.filter(|_| count > 0)
        else {
            return;
        };
        match self.hub.try_reserve_foreign(&broadcast) {
            Ok(reservation) => self.hub.broadcast(broadcast, reservation, Origin::Cluster),
            Err(_) => return self.metrics.relay.lost.inc(),
        }
        let timeout = timeout_ms
            .map_or(ACKS_TIMEOUT, Duration::from_millis)
            .min(ACKS_TIMEOUT_MAX);
        let (relay, namespace) = (Arc::clone(self), Name::clone(namespace));
        tokio::spawn(async move {
            let pass_on = async {
                while let Some(reply) = asked.next().await {
                    relay.respond(&namespace, &request, first_argument(reply));
                }
            };
            let _ = tokio::time::timeout(timeout, pass_on).await; // who asked stops waiting then, too
        });
    }
}

/// Another gateway asks Node servers; it asks gateways by channels of their own.
fn is_for_node_servers(request: &Request) -> bool {
    match (&request.uid, &request.id) {
        (Some(run), Some(id)) => question_of(run, id).is_some(),
        _ => false,
    }
}

/// Of an answer only the first argument travels.
fn first_argument(reply: crate::hub::Reply) -> Answer {
    let array = json::Array::parse(&reply.json).ok();
    let first = array.as_ref().and_then(|array| array.element(0)).unwrap_or("null");
    Answer::Ack {
        json: first.to_owned(),
        attachments: reply.attachments,
    }
}

/// On the wire no rooms means everybody.
fn target(rooms: &[CompactString]) -> Target {
    Rooms::from_list(rooms.iter().cloned()).map_or(Target::Namespace, Target::Rooms)
}

/// A socket's rooms as Node lists them: the private one first.
fn all_rooms(socket: &Described) -> Vec<CompactString> {
    let rooms = socket.rooms.iter().map(|room| CompactString::from(&**room));
    std::iter::once(CompactString::from(socket.id.as_str()))
        .chain(rooms)
        .collect()
}

fn remote(socket: &Described) -> RemoteSocket {
    let handshake = socket.facts.as_ref().map_or_else(
        || NO_HANDSHAKE.to_owned(),
        |facts| {
            let auth = if facts.auth.is_empty() { "{}" } else { &facts.auth };
            let open = facts.record.strip_suffix('}').unwrap_or("{\"headers\":{}"); // an object as we wrote it
            format!("{open},\"auth\":{auth}}}")
        },
    );
    RemoteSocket {
        id: socket.id.as_str().into(),
        handshake,
        rooms: all_rooms(socket),
        data: if socket.data.is_empty() {
            "{}".into()
        } else {
            socket.data.clone().into()
        },
    }
}
