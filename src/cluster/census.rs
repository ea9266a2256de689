//! Who is in a room on all other servers: gateways by our own channels, Node servers as the adapters do.

use std::sync::Arc;

use compact_str::{CompactString, format_compact};
use tokio::time::Instant;
use tracing::debug;

use super::MEMBERS_MAX;
use super::asking::{Asked, Given};
use super::gossip::{Answer, Message, Question, Users, VERSION};
use super::relay::Relay;
use super::wire::{self, Ask, Names, RemoteSocket, Selection};
use crate::hub::Name;
use crate::metrics;

/// What Node servers that did not answer are called.
pub const NODE_SERVERS: &str = "node.js";

/// The members of a room on other servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Ids by which clients may know them.
    pub ids: Vec<CompactString>,
    /// Who those of them are that are somebody.
    pub users: Users,
    /// How many there are, with those that are not named.
    pub total: u64,
    /// Who did not answer: tags of gateways, and [`NODE_SERVERS`].
    pub partial: Vec<CompactString>,
}

impl Relay {
    /// Asks all other servers who is in a room.
    pub(super) async fn census(self: Arc<Self>, namespace: Name, room: CompactString) -> Census {
        let deadline = Instant::now() + self.request_timeout;
        let census = if *self.up().borrow() {
            self.ask_all(&namespace, &room, deadline).await
        } else {
            self.nobody_answers()
        };
        self.metrics.relay.asked(
            metrics::Question::Members,
            if census.partial.is_empty() {
                metrics::Questioned::Complete
            } else {
                metrics::Questioned::Partial
            },
        );
        census
    }

    /// Redis is away: all that are known of may have members, and so may Node servers.
    fn nobody_answers(&self) -> Census {
        let mut census = Census::default();
        census
            .partial
            .extend(self.peers.alive.lock().nodes().map(|node| node.tag.clone()));
        census.partial.push(NODE_SERVERS.into());
        census
    }

    async fn ask_all(&self, namespace: &Name, room: &CompactString, deadline: Instant) -> Census {
        let nodes: Vec<_> = {
            let alive = self.peers.alive.lock();
            alive.nodes().map(|node| (node.run.clone(), node.tag.clone())).collect()
        };
        let mut asked = self.asking.begin(nodes.iter().map(|(run, _)| run.clone()).collect(), 0);
        if !nodes.is_empty() {
            let question = Question::Members {
                namespace: (&**namespace).into(),
                room: room.clone(),
                max: MEMBERS_MAX,
            };
            let ask = Message::Ask {
                v: VERSION,
                run: self.run().into(),
                id: asked.id(),
                question,
            };
            self.say(self.routes.peers(), ask.encode());
        }
        let mut gathered = Gathered::default();
        // How many Node servers there are is known when the gateways have answered, or most of them.
        let half = deadline - self.request_timeout / 2;
        gathered.take(&mut asked, half).await;
        let own = usize::from(self.is_wanted(&self.routes.request(namespace)));
        let silent = asked.missing().0.len(); // they may be in the namespace
        let (servers, ()) = tokio::join!(
            self.ask_servers(namespace, room, own + gathered.in_namespace + silent, deadline),
            gathered.take(&mut asked, deadline),
        );
        let (silent, _) = asked.missing();
        let Gathered {
            mut census, puzzled, ..
        } = gathered;
        let partial = nodes
            .into_iter()
            .filter(|(run, _)| silent.contains(run) || puzzled.contains(run));
        census.partial.extend(partial.map(|(_, tag)| tag));
        census.ids.extend(servers.ids); // who their users are only the application knows
        census.total = census.total.saturating_add(servers.total);
        census.partial.extend(servers.partial);
        census
    }

    /// Asks Node servers: whoever hears the adapters' request channel of the namespace and is no gateway.
    async fn ask_servers(&self, namespace: &Name, room: &CompactString, gateways: usize, deadline: Instant) -> Census {
        let mut census = Census::default();
        let channel = self.routes.request(namespace);
        let Ok(listening) = self.redis.numsub(&channel).await else {
            census.partial.push(NODE_SERVERS.into());
            return census;
        };
        let servers = usize::try_from(listening)
            .unwrap_or(usize::MAX)
            .saturating_sub(gateways);
        if servers == 0 {
            return census;
        }
        let mut asked = self.asking.begin(Vec::new(), servers);
        let who = Selection {
            rooms: Names::from_iter([room.clone()]),
            except: Names::new(),
        };
        let id = question_id(self.run(), asked.id());
        match wire::encode_request(Some(self.run()), Some(&id), &Ask::Fetch { who }) {
            Ok(request) => drop(self.say(channel, request)),
            Err(error) => debug!(%error, "a question that cannot be asked"),
        }
        while let Some(Given::Server(answer)) = asked.next(deadline).await {
            let wire::Answer::Fetched(sockets) = answer else {
                continue; // an empty list
            };
            census.total += sockets.len() as u64;
            let shown = sockets.into_iter().filter(may_be_shown).map(|socket| socket.id);
            census.ids.extend(shown);
        }
        if asked.missing().1 > 0 {
            census.partial.push(NODE_SERVERS.into());
        }
        census
    }

    /// An answer of a Node server, perhaps to us.
    pub(super) fn server_says(&self, payload: &[u8]) {
        let run = self.run().as_bytes();
        if self.asking.is_idle() || !payload.windows(run.len()).any(|bytes| bytes == run) {
            return; // most are for others, and may be long
        }
        match wire::decode_response(payload) {
            Ok(response) => {
                let (run, id) = (self.run(), &response.id);
                if let Some(id) = question_of(run, id).or_else(|| ack_question_of(run, id)) {
                    self.asking.server_answered(id, response.answer);
                }
            }
            Err(error) => debug!(%error, "an answer that is none"),
        }
    }
}

/// What gateways have answered so far.
#[derive(Debug, Default)]
struct Gathered {
    census: Census,
    /// Gateways that hear the adapters' request channel of the namespace.
    in_namespace: usize,
    /// Runs of those that did not understand the question.
    puzzled: Vec<CompactString>,
}

impl Gathered {
    /// Takes answers until all are there or time is up.
    async fn take(&mut self, asked: &mut Asked, deadline: Instant) {
        while let Some(Given::Gateway(run, answer)) = asked.next(deadline).await {
            match answer {
                Answer::Members {
                    ids,
                    users,
                    total,
                    in_namespace,
                } => {
                    self.census.ids.extend(ids);
                    self.census.users.extend(users);
                    self.census.total = self.census.total.saturating_add(total);
                    self.in_namespace += usize::from(in_namespace);
                }
                Answer::Done | Answer::Unknown => self.puzzled.push(run),
            }
        }
    }
}

/// What a question is called on the adapters' channels.
pub(super) fn question_id(run: &str, id: u64) -> CompactString {
    format_compact!("{run}.{id:x}")
}

/// What a question to gateways as well is called there.
pub(super) fn ack_question_id(run: &str, id: u64) -> CompactString {
    format_compact!("{run}+{id:x}")
}

/// The number of a question of `run`, by its id on the adapters' channels: one to Node servers alone.
pub(super) fn question_of(run: &str, id: &str) -> Option<u64> {
    number_of(run, '.', id)
}

/// The same for a question to gateways as well.
fn ack_question_of(run: &str, id: &str) -> Option<u64> {
    number_of(run, '+', id)
}

fn number_of(run: &str, mark: char, id: &str) -> Option<u64> {
    let number = id.strip_prefix(run)?.strip_prefix(mark)?;
    u64::from_str_radix(number, 16).ok()
}

/// Knowing the id of a socket of an older client is enough to take its session over: only those of clients 3.x and 4.x
/// are shown.
fn may_be_shown(socket: &RemoteSocket) -> bool {
    #[derive(serde::Deserialize)]
    struct Handshake {
        query: Query,
    }
    #[derive(serde::Deserialize)]
    struct Query {
        #[serde(rename = "EIO")]
        eio: String,
    }
    serde_json::from_str::<Handshake>(&socket.handshake).is_ok_and(|handshake| handshake.query.eio == "4")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sockets_of_new_clients_are_shown() {
        for (handshake, expected) in [
            (r#"{"query":{"EIO":"4","transport":"websocket"},"auth":{}}"#, true),
            (r#"{"query":{"EIO":"3"}}"#, false),
            (r#"{"query":{"EIO":["4","3"]}}"#, false),
            (r#"{"query":{}}"#, false),
            ("{}", false),
            ("null", false),
        ] {
            let socket = RemoteSocket {
                id: "AAAAAAAAAAAAAAAAAAAA".into(),
                handshake: handshake.into(),
                rooms: vec![],
                data: "{}".into(),
            };
            assert_eq!(may_be_shown(&socket), expected, "{handshake}");
        }
    }

    #[test]
    fn questions_are_known_by_their_ids() {
        let id = ack_question_id("abcdefgh", 255);
        assert_eq!(ack_question_of("abcdefgh", &id), Some(255));
        assert_eq!(question_of("abcdefgh", &id), None);
        let id = question_id("abcdefgh", 255);
        assert_eq!(question_of("abcdefgh", &id), Some(255));
        for (run, id) in [
            ("abcdefgi", &*id),
            ("abcdefgh", "abcdefgh"),
            ("abcdefgh", "abcdefgh.x"),
            ("abcdefgh", ""),
        ] {
            assert_eq!(question_of(run, id), None, "{run} {id}");
        }
    }
}
