//! Which sockets, rooms and nodes there are on all servers, for the application and operators.
//!
//! Every answer is a page: what a gateway says at once is bounded, in number and in bytes.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use compact_str::CompactString;
use tokio::sync::{Semaphore, SemaphorePermit};
use tracing::info;

use super::found::{
    FoundRoom, FoundSocket, RoomQuery, SocketQuery, own_rooms, own_sockets, remote_socket, rooms_of_server,
};
use super::gossip::{Answer, Node, Question};
use super::pages::Page;
use super::relay::Relay;
use super::survey::{Inquiry, Survey, Surveyed};
use super::wire::{self, Ask, Names, RemoteSocket, Selection};
use super::{Bus, Cluster, NODE_SERVERS};
use crate::hub::Name;
use crate::metrics::{self, Limit, Metrics, Questioned};
use crate::protocol::ids::IdGenerator;
use crate::wish::{Stopper, Wish};

/// Questions of this kind that are under way at once.
const SURVEYS_MAX: usize = 32;

/// Where Node servers hear of everything: there is none without it.
const ROOT: &str = "/";

/// The gateways, and how many others there are.
#[derive(Clone, Debug)]
pub struct Nodes {
    /// The gateways, by their tags; those that did not answer as they were last heard of.
    pub nodes: Vec<Node>,
    /// How many Node servers there are, where that is known.
    pub servers: Option<usize>,
    /// Who did not answer.
    pub partial: Vec<CompactString>,
}

/// Too many such questions are under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{SURVEYS_MAX} questions to all nodes are under way already")]
pub struct Busy;

/// Why another gateway was not made to drain, or to stop that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undrained {
    /// There is none of this tag.
    Unknown,
    /// It did not answer.
    Silent,
}

/// What pages and answers need that a node has on its own.
#[derive(Debug)]
pub(super) struct Surveys {
    ids: Arc<IdGenerator>,
    metrics: Arc<Metrics>,
    started: (Instant, SystemTime),
    room: Semaphore,
}

impl Surveys {
    pub(super) fn new(ids: Arc<IdGenerator>, metrics: Arc<Metrics>) -> Self {
        Self {
            ids,
            metrics,
            started: (Instant::now(), SystemTime::now()),
            room: Semaphore::new(SURVEYS_MAX),
        }
    }

    fn begin(&self, about: metrics::Question) -> Result<SemaphorePermit<'_>, Busy> {
        self.room.try_acquire().map_err(|_| {
            self.metrics.limited(Limit::Questions);
            self.metrics.relay.asked(about, Questioned::RateLimited);
            Busy
        })
    }
}

impl Cluster {
    /// The first sockets that are wanted, on all servers, and who did not answer.
    ///
    /// # Errors
    /// When too many such questions are under way.
    pub async fn find_sockets(&self, query: SocketQuery) -> Result<(Page<FoundSocket>, Vec<CompactString>), Busy> {
        let mut own = own_sockets(&self.hub, &query);
        own.found.iter_mut().for_each(|found| found.node = self.tag());
        let has_it = query.id.is_some() && !own.found.is_empty();
        let Bus::Redis(relay) = &self.bus else {
            return Ok((own, Vec::new()));
        };
        if has_it {
            return Ok((own, Vec::new()));
        }
        let _permit = self.surveys.begin(metrics::Question::Sockets)?;
        let (mut pages, partial) = relay.sockets_elsewhere(&query).await;
        pages.push(own);
        Ok((Page::merge(pages, query.max), partial))
    }

    /// The first rooms that are wanted, on all servers, and who did not answer.
    ///
    /// # Errors
    /// When too many such questions are under way.
    pub async fn find_rooms(&self, query: RoomQuery) -> Result<(Page<FoundRoom>, Vec<CompactString>), Busy> {
        let own = own_rooms(&self.hub, &query);
        let Bus::Redis(relay) = &self.bus else {
            return Ok((own, Vec::new()));
        };
        let _permit = self.surveys.begin(metrics::Question::Rooms)?;
        let (mut pages, partial) = relay.rooms_elsewhere(&query).await;
        pages.push(own);
        Ok((Page::merge(pages, query.max), partial))
    }

    /// All gateways as they are now, and how many other servers there are.
    ///
    /// # Errors
    /// When too many such questions are under way.
    pub async fn find_nodes(&self) -> Result<Nodes, Busy> {
        let Bus::Redis(relay) = &self.bus else {
            return Ok(Nodes {
                nodes: vec![self.node_alone()],
                servers: Some(0),
                partial: Vec::new(),
            });
        };
        let _permit = self.surveys.begin(metrics::Question::Nodes)?;
        Ok(relay.all_nodes().await)
    }

    /// Lets another gateway drain, or serve again; whether it drains then.
    ///
    /// # Errors
    /// When there is none of this tag, or it does not answer.
    pub async fn drain_other(&self, tag: &str, wanted: bool) -> Result<bool, Undrained> {
        let Bus::Redis(relay) = &self.bus else {
            return Err(Undrained::Unknown);
        };
        let run = relay.run_of(tag).ok_or(Undrained::Unknown)?;
        let answer = relay.ask_one(&run, Question::Drain { wanted }).await;
        let (drained, result) = match answer {
            Some(Answer::Drain { draining }) => (Ok(draining), Questioned::Complete),
            _ => (Err(Undrained::Silent), Questioned::Partial),
        };
        self.surveys.metrics.relay.asked(metrics::Question::Drain, result);
        drained
    }

    /// What the ids of this node's sockets begin with: its name.
    pub fn tag(&self) -> CompactString {
        self.surveys.ids.tag().into()
    }

    /// What a node says of itself that is alone.
    fn node_alone(&self) -> Node {
        let (started, started_at) = self.surveys.started;
        let metrics = &self.surveys.metrics;
        Node {
            tag: self.tag(),
            version: env!("CARGO_PKG_VERSION").into(),
            connections: metrics.all_connections(),
            sockets: self.hub.sockets() as u64,
            rooms: self.hub.rooms() as u64,
            uptime: started.elapsed().as_secs(),
            started: seconds(started_at),
            draining: metrics.draining.get() != 0,
            ..Node::default()
        }
    }
}

impl Relay {
    /// The answers to these questions, as far as they are asked of this kind.
    pub(super) fn own_inventory(&self, question: &Question) -> Option<Answer> {
        let is_in = |namespace: &str| self.is_wanted(&self.routes.request(namespace));
        Some(match question {
            Question::Sockets(query) => Answer::Sockets {
                page: own_sockets(&self.hub, query),
                in_namespace: is_in(&query.namespace),
            },
            Question::Rooms(query) => Answer::Rooms {
                page: own_rooms(&self.hub, query),
                in_namespace: is_in(&query.namespace),
            },
            Question::Node => Answer::Node {
                node: self.node_now(),
                in_namespace: is_in(ROOT),
            },
            Question::Drain { wanted } => Answer::Drain {
                draining: obey(&self.peers.stopper, *wanted),
            },
            _ => return None,
        })
    }

    async fn sockets_elsewhere(&self, query: &SocketQuery) -> (Vec<Page<FoundSocket>>, Vec<CompactString>) {
        let room = query.id.as_ref().or(query.room.as_ref());
        let inquiry = if query.user.is_some() {
            Inquiry::Nothing // who their users are only the application knows
        } else {
            let rooms = Names::from_iter(room.cloned());
            let except = Names::new();
            Inquiry::Ask(Ask::Fetch {
                who: Selection { rooms, except },
            })
        };
        let surveyed = self.survey(Survey {
            about: metrics::Question::Sockets,
            question: Question::Sockets(query.clone()),
            namespace: Name::from(&*query.namespace),
            inquiry,
        });
        let Surveyed {
            gateways,
            servers,
            partial,
            ..
        } = surveyed.await;
        let mut pages = Vec::new();
        for (tag, answer) in gateways {
            if let Answer::Sockets { mut page, .. } = answer {
                page.found.iter_mut().for_each(|found| found.node = tag.clone());
                pages.push(page);
            }
        }
        let fetched = servers.into_iter().filter_map(|answer| match answer {
            wire::Answer::Fetched(sockets) => Some(sockets),
            _ => None, // an empty list
        });
        let is_wanted = |socket: &RemoteSocket| {
            query.after.as_ref().is_none_or(|after| socket.id > *after)
                && query.id.as_ref().is_none_or(|id| socket.id == *id)
        };
        let found = fetched.flatten().filter(is_wanted).map(remote_socket).collect();
        pages.push(Page { found, more: false });
        (pages, partial)
    }

    async fn rooms_elsewhere(&self, query: &RoomQuery) -> (Vec<Page<FoundRoom>>, Vec<CompactString>) {
        let ask = match &query.room {
            Some(room) => Ask::Fetch {
                who: Selection {
                    rooms: Names::from_iter([room.clone()]),
                    except: Names::new(),
                },
            },
            None => Ask::AllRooms,
        };
        let surveyed = self.survey(Survey {
            about: metrics::Question::Rooms,
            question: Question::Rooms(query.clone()),
            namespace: Name::from(&*query.namespace),
            inquiry: Inquiry::Ask(ask),
        });
        let surveyed = surveyed.await;
        let pages = surveyed.gateways.into_iter().filter_map(|(_, answer)| match answer {
            Answer::Rooms { page, .. } => Some(page),
            _ => None,
        });
        let mut pages: Vec<_> = pages.collect();
        let servers = surveyed
            .servers
            .into_iter()
            .map(|answer| rooms_of_server(answer, query));
        pages.extend(servers.map(|found| Page { found, more: false }));
        (pages, surveyed.partial)
    }

    async fn all_nodes(&self) -> Nodes {
        let surveyed = self.survey(Survey {
            about: metrics::Question::Nodes,
            question: Question::Node,
            namespace: ROOT.into(),
            inquiry: Inquiry::Count,
        });
        let surveyed = surveyed.await;
        let mut nodes = vec![self.node_now()];
        for (_, answer) in surveyed.gateways {
            if let Answer::Node { node, .. } = answer {
                nodes.push(node);
            }
        }
        let silent: Vec<_> = {
            let alive = self.peers.alive.lock();
            let silent = alive.nodes().filter(|node| surveyed.partial.contains(&node.tag));
            silent.cloned().collect()
        };
        nodes.extend(silent);
        nodes.sort_by(|a, b| a.tag.cmp(&b.tag));
        let is_counted = !surveyed.partial.iter().any(|name| name == NODE_SERVERS);
        Nodes {
            nodes,
            servers: is_counted.then_some(surveyed.servers_count),
            partial: surveyed.partial,
        }
    }

    /// What this node says of itself, its rooms counted now.
    fn node_now(&self) -> Node {
        Node {
            rooms: self.hub.rooms() as u64,
            ..self.node()
        }
    }

    /// The run of the other gateway with a tag.
    fn run_of(&self, tag: &str) -> Option<CompactString> {
        let alive = self.peers.alive.lock();
        let mut nodes = alive.nodes();
        nodes.find(|node| node.tag == tag).map(|node| node.run.clone())
    }
}

/// Drains, or serves again, as another gateway wishes; whether the node drains then.
fn obey(stopper: &Stopper, wanted: bool) -> bool {
    info!(
        wanted,
        "another gateway was asked to let this one drain, or serve again"
    );
    if wanted {
        stopper.drain();
    } else {
        stopper.resume();
    }
    stopper.wish() != Wish::Serve
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
