//! Who is in a room on all other servers: gateways by our own channels, Node servers as the adapters do.

use std::sync::Arc;

use compact_str::CompactString;

use super::MEMBERS_MAX;
use super::gossip::{Answer, Question, Users};
use super::relay::Relay;
use super::survey::{Inquiry, Survey};
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
        let who = Selection {
            rooms: Names::from_iter([room.clone()]),
            except: Names::new(),
        };
        let question = Question::Members {
            namespace: (&*namespace).into(),
            room,
            max: MEMBERS_MAX,
        };
        let surveyed = self.survey(Survey {
            about: metrics::Question::Members,
            question,
            namespace,
            inquiry: Inquiry::Ask(Ask::Fetch { who }),
        });
        let surveyed = surveyed.await;
        let mut census = Census {
            partial: surveyed.partial,
            ..Census::default()
        };
        for (_, answer) in surveyed.gateways {
            if let Answer::Members { ids, users, total, .. } = answer {
                census.ids.extend(ids);
                census.users.extend(users);
                census.total = census.total.saturating_add(total);
            }
        }
        for answer in surveyed.servers {
            let wire::Answer::Fetched(sockets) = answer else {
                continue; // an empty list
            };
            census.total = census.total.saturating_add(sockets.len() as u64);
            let shown = sockets.into_iter().filter(may_be_shown).map(|socket| socket.id);
            census.ids.extend(shown); // who their users are only the application knows
        }
        census
    }
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
}
