//! Requests for sessions of other nodes: ids name their node, so any balancer may send a request anywhere.
//!
//! ```text
//! poll, POST   client ─HTTP─▶ this node ─one HTTP/2 link a node─▶ owner         answers come back as they are
//! upgrade      client ─HTTP─▶ this node ─HTTP/1.1, own connection─▶ owner       then bytes both ways, unread
//! ```
//!
//! The owner treats what comes as if it had come to itself; who asked, and from where, is in the [`seal`]. A request is
//! passed on once at most: what another node passed on is never passed on again.

mod link;
mod passing;
mod seal;
mod standing;
mod tunnel;
mod way;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use compact_str::CompactString;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response, StatusCode};
use parking_lot::Mutex;
use rand::seq::SliceRandom as _;

pub use link::{LINK_WINDOW, STREAM_WINDOW};
pub use passing::Passenger;
pub use seal::{Client, Doubt, Purpose};
pub use way::Way;

use super::config::Config;
use super::gossip::Node;
use super::{Bus, Cluster};
use crate::http::{self, Body};
use crate::metrics::{Forwarded, Metrics};
use crate::protocol::ids::Sid;
use link::Link;
use passing::Passing;
use seal::{SEAL, Secrets, Subject};

/// Whose a session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// This node's, or nobody's any more who was here.
    Here,
    /// That of another gateway.
    Peer(Box<Node>),
    /// No gateway's that is there.
    Nobody,
}

/// What is needed to pass requests on, and to believe those that others do.
#[derive(Debug)]
pub(super) struct Forwarder {
    secrets: Mutex<Secrets>,
    links: Mutex<HashMap<CompactString, Arc<Link>, RandomState>>,
    passing: Arc<Passing>,
    pub(super) metrics: Arc<Metrics>,
    /// Where this node is asked.
    listen: SocketAddr,
    advertise: String,
    /// How others get there; empty until that is known.
    address: Mutex<CompactString>,
    /// The secret is configured.
    has_own_secret: bool,
}

/// Why a request got no answer from its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreachable;

impl Cluster {
    /// Whose a session is, by its id.
    pub fn owner(&self, sid: &Sid) -> Owner {
        let Bus::Redis(relay) = &self.bus else {
            return Owner::Here;
        };
        if relay.peers.made(sid) {
            return Owner::Here;
        }
        let alive = relay.peers.alive.lock();
        let node = alive.nodes().find(|node| node.tag == sid.tag());
        node.map_or(Owner::Nobody, |node| Owner::Peer(Box::new(node.clone())))
    }

    /// Gateways that take new clients, in random order, without this one.
    pub fn heirs(&self) -> Vec<Node> {
        let Bus::Redis(relay) = &self.bus else {
            return Vec::new();
        };
        let alive = relay.peers.alive.lock();
        let mut heirs: Vec<_> = alive.nodes().filter(|node| !node.draining).cloned().collect();
        drop(alive);
        heirs.shuffle(&mut rand::rng());
        heirs
    }

    /// The way to another node; `None` where it is not to be reached now.
    pub async fn reach(&self, node: &Node) -> Option<Way> {
        let Bus::Redis(relay) = &self.bus else {
            return None;
        };
        let forwarder = Arc::clone(&relay.forwarder);
        if node.address.is_empty() {
            return None; // it has not found out itself, or is of a version that does not
        }
        let link = forwarder.link(node);
        let connection = link.connection(&forwarder.secrets).await?;
        Some(Way::new(forwarder, link, connection))
    }

    /// What another node asks, and for whom, where it is one. The request is made to look as if it had come from there.
    ///
    /// # Errors
    /// With the reason why it is not believed.
    pub fn believe<B>(&self, request: &mut Request<B>) -> Result<(Purpose, Client), Doubt> {
        let Bus::Redis(relay) = &self.bus else {
            return Err(Doubt::NoSeal);
        };
        let subject = Subject {
            method: request.method().as_str(),
            target: request.uri().path_and_query().map_or("", |target| target.as_str()),
        };
        let secrets = relay.forwarder.secrets.lock();
        let believed = secrets.open(request.headers().get(SEAL), subject, (link::now(), Instant::now()));
        drop(secrets);
        let (purpose, client) = believed.inspect_err(|_| relay.metrics.forwarded(Forwarded::Refused))?;
        let headers = request.headers_mut();
        headers.remove(SEAL);
        headers.remove(header::HOST);
        if let Some(host) = client.host.as_ref().and_then(|host| HeaderValue::from_str(host).ok()) {
            headers.insert(header::HOST, host);
        }
        Ok((purpose, client))
    }

    /// The answer to a gateway that greets: who is here.
    pub fn welcome(&self) -> Response<Body> {
        let mut response = http::empty(StatusCode::NO_CONTENT);
        if let Bus::Redis(relay) = &self.bus
            && let Ok(tag) = HeaderValue::from_str(&relay.peers.tag())
        {
            response.headers_mut().insert(link::NODE, tag);
        }
        response
    }

    /// Everybody who is served through this node and was not asked to leave yet.
    pub fn passengers(&self) -> Vec<Passenger> {
        match &self.bus {
            Bus::Solo => Vec::new(),
            Bus::Redis(relay) => relay.forwarder.passing.passengers(),
        }
    }

    /// Whether nobody is served through this node.
    pub fn is_deserted(&self) -> bool {
        match &self.bus {
            Bus::Solo => true,
            Bus::Redis(relay) => relay.forwarder.passing.is_empty(),
        }
    }
}

/// The answer to who is not believed: with the time by which it should have been sealed.
pub fn disbelieve() -> Response<Body> {
    let mut response = http::empty(StatusCode::UNAUTHORIZED);
    response.headers_mut().insert(link::TIME, link::now().into());
    response
}

/// Whether an answer says that who asked was not believed.
pub fn is_disbelief<B>(response: &Response<B>) -> bool {
    response.status() == StatusCode::UNAUTHORIZED && response.headers().contains_key(link::TIME)
}

impl Forwarder {
    pub(super) fn new(config: &Config, listen: SocketAddr, metrics: Arc<Metrics>) -> Self {
        let secret = config.secret.expose();
        let mut secrets = Secrets::default();
        if !secret.is_empty() {
            secrets.set(secret, Instant::now());
        }
        Self {
            secrets: Mutex::new(secrets),
            links: Mutex::default(),
            passing: Arc::default(),
            metrics,
            listen,
            advertise: config.advertise.clone(),
            address: Mutex::default(),
            has_own_secret: !secret.is_empty(),
        }
    }

    /// How others reach this node; empty until that is known.
    pub(super) fn address(&self) -> CompactString {
        self.address.lock().clone()
    }

    /// The secret that others must have, too.
    fn secret(&self) -> Option<String> {
        self.secrets.lock().text().map(str::to_owned)
    }

    /// From now on it is this one.
    fn set_secret(&self, secret: &str) {
        self.secrets.lock().set(secret, Instant::now());
    }

    /// A gateway is gone: no more is asked of it. What is under way ends with its connections.
    pub(super) fn gone(&self, run: &str) {
        self.links.lock().remove(run);
    }

    fn link(&self, node: &Node) -> Arc<Link> {
        let mut links = self.links.lock();
        if let Some(link) = links.get(&node.run).filter(|link| link.address() == node.address) {
            return Arc::clone(link);
        }
        let link = Arc::new(Link::new(&node.tag, &node.address));
        links.insert(node.run.clone(), Arc::clone(&link));
        link
    }
}
