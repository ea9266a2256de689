//! CONNECT: who may enter which namespace, and under which id.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use compact_str::CompactString;
use serde_json::Value;
use tracing::debug;

use super::SocketIo;
use super::announce::{self, Movement};
use super::arguments::without_query;
use super::client::{Client, ROOT, Socket};
use super::consult::{Admission, Ids};
use super::pass::Pass;
use super::quota::Seat;
use super::relay;
use super::rules::Rules;
use super::waiting::Settled;
use crate::backend::webhook::{Orders, Subject};
use crate::backend::{Claims, Flaw, Judged, Verdict};
use crate::engine;
use crate::hub::{Facts, Name, NewSocket, Source, is_reserved};
use crate::limits::Bucket;
use crate::metrics::Tally;
use crate::protocol::Version;
use crate::protocol::ids::SocketId;
use crate::protocol::socket::{self, Packet};
use crate::reason::Reason;

/// The texts of refusals, which apps branch on.
const INVALID_NAMESPACE: &str = "Invalid namespace";
const TOO_MANY_NAMESPACES: &str = "too many namespaces";
const UNAVAILABLE: &str = "unavailable";
const UNAUTHORIZED: &str = "unauthorized";
pub(super) const FORBIDDEN: &str = "forbidden";

/// Time over which clients are spread that are sent away without a verdict.
const UNAVAILABLE_JITTER: Duration = Duration::from_secs(2);

/// A client that wants to enter a namespace.
pub(super) struct Applicant {
    pub(super) namespace: Name,
    pub(super) rules: Arc<Rules>,
    /// What it connects with, as JSON; empty for nothing.
    pub(super) auth: Box<str>,
    /// What stood behind the namespace's name.
    pub(super) query: Box<str>,
    /// What its token says, while the application is asked.
    pub(super) claims: Option<Claims>,
    /// The ids that the application was told.
    pub(super) ids: Option<Ids>,
    /// Where sockets of users are counted and it is somebody's.
    pub(super) seat: Option<Box<Seat>>,
}

/// A client on its way into a namespace. What was taken for it is given back if it does not get there.
pub(super) struct Entrance {
    shared: Arc<SocketIo>,
    /// It became a socket, which gives everything back itself.
    is_used: bool,
    lists_private_rooms: bool,
    pub(super) namespace: Name,
    rules: Arc<Rules>,
    id: SocketId,
    alias: Option<SocketId>,
    user: Option<Name>,
    pass: Option<Box<Pass>>,
    rooms: Vec<CompactString>,
    data: Box<str>,
    /// The application said it, not a token.
    is_applications: bool,
    facts: Option<Box<Facts>>,
    /// What the application is told of it, and wants to be done once it is in.
    subject: Option<Arc<Subject>>,
    orders: Orders,
    seat: Option<Box<Seat>>,
}

/// How long a client waits that is sent away without a verdict.
pub(super) fn jitter() -> Duration {
    UNAVAILABLE_JITTER.mul_f32(rand::random())
}

/// A socket's private rooms, where the cluster wants them listed.
pub(super) fn private_rooms<'a>(
    are_listed: bool,
    id: &'a SocketId,
    alias: Option<&'a SocketId>,
) -> impl Iterator<Item = &'a str> {
    let ids = std::iter::once(id).chain(alias).map(SocketId::as_str);
    ids.filter(move |_| are_listed)
}

impl Drop for Entrance {
    fn drop(&mut self) {
        if !self.is_used {
            let private = private_rooms(self.lists_private_rooms, &self.id, self.alias.as_ref());
            let rooms = self.rooms.iter().map(|room| &**room).chain(private);
            self.shared.cluster.exit(&self.namespace, rooms);
            self.shared.namespaces.release(&self.namespace, &self.rules);
        }
    }
}

impl Client {
    /// Clients 1.x and 2.x are in `/` without asking, even where nothing can be done there.
    pub(super) fn connect_implicitly(&mut self) -> Result<(), Reason> {
        let name: Name = ROOT.into();
        let rules = self.shared.namespaces.find(&name).cloned();
        let rules = rules.unwrap_or_else(|| self.shared.namespaces.nothing());
        self.apply(name, rules, "", "")
    }

    pub(super) fn on_connect(&mut self, packet: &Packet<'_>) -> Result<(), Reason> {
        if self.sockets.iter().any(|socket| *socket.namespace == *packet.namespace) {
            debug!(namespace = packet.namespace, "entered twice");
            return Err(Reason::Malformed);
        }
        let limit = self.shared.limits.namespaces_per_client;
        if limit > 0 && self.sockets.len() + self.entering() >= limit {
            self.refuse_connect(packet.namespace, TOO_MANY_NAMESPACES);
            return Ok(());
        }
        let name: Name = packet.namespace.into();
        match self.shared.namespaces.find(&name).cloned() {
            Some(rules) => self.apply(name, rules, packet.json, packet.query),
            None => {
                self.refuse_connect(&name, INVALID_NAMESPACE);
                Ok(())
            }
        }
    }

    /// A client wants to enter a namespace that exists: where that reads tokens, its own is judged first.
    fn apply(&mut self, namespace: Name, rules: Arc<Rules>, auth: &str, query: &str) -> Result<(), Reason> {
        let tokens = self.shared.tokens.clone().filter(|_| rules.reads_tokens);
        let applicant = Applicant {
            namespace,
            auth: auth.into(),
            query: query.into(),
            rules,
            claims: None,
            ids: None,
            seat: None,
        };
        let Some(tokens) = tokens else {
            return self.consult(applicant, None);
        };
        let Ok(Some(token)) = self.token(auth, query) else {
            return self.turn_down(&applicant.namespace, UNAUTHORIZED, None, Flaw::Missing.as_str());
        };
        let verdict: Pin<Box<dyn Future<Output = Verdict> + Send>> = match tokens.judge(&token) {
            Judged::Now(Verdict::None) => Box::pin(std::future::ready(Verdict::None)),
            Judged::Now(verdict) => return self.on_verdict(applicant, verdict),
            Judged::Soon(soon) => soon,
        };
        let namespace = Name::clone(&applicant.namespace);
        let settled = async move {
            let verdict = verdict.await;
            if verdict == Verdict::None {
                tokio::time::sleep(jitter()).await;
            }
            Settled::Judged(Box::new(applicant), verdict)
        };
        self.wait_for(&namespace, None, Box::pin(settled));
        Ok(())
    }

    /// The first of the places where a token may be that holds one; an error where what it holds is none.
    fn token(&self, auth: &str, query: &str) -> Result<Option<Box<str>>, ()> {
        match serde_json::from_str::<Value>(auth)
            .ok()
            .as_ref()
            .and_then(|auth| auth.get("token"))
        {
            Some(Value::String(token)) if !token.is_empty() => return Ok(Some(token.as_str().into())),
            Some(Value::String(_) | Value::Null) | None => {}
            Some(_) => return Err(()),
        }
        let in_query = engine::token_in_query(query);
        Ok(in_query.or_else(|| self.session.token().map(Box::from)))
    }

    /// Goes on with an applicant whose token was judged.
    pub(super) fn on_verdict(&mut self, applicant: Applicant, verdict: Verdict) -> Result<(), Reason> {
        match verdict {
            Verdict::Good(claims) if Pass::is_for(&claims, &applicant.namespace) => {
                self.consult(applicant, Some(*claims))
            }
            Verdict::Good(_) => {
                let why = "the token is for other namespaces";
                self.turn_down(&applicant.namespace, FORBIDDEN, None, why)
            }
            Verdict::Bad(flaw) => self.turn_down(&applicant.namespace, UNAUTHORIZED, None, flaw.as_str()),
            Verdict::None => {
                debug!("no verdict: the keys of tokens are not there");
                self.turn_away(&applicant.namespace)
            }
        }
    }

    /// Refuses a client that its token or the application does not let in.
    pub(super) fn turn_down(
        &mut self,
        namespace: &Name,
        message: &str,
        data: Option<&str>,
        why: &str,
    ) -> Result<(), Reason> {
        debug!(namespace = without_query(namespace), why, "no entrance");
        self.refuse_connect_with(namespace, message, data);
        if self.sockets.is_empty() {
            // Clients 1.x and 2.x are in a namespace from the start, and had no time set.
            let by = tokio::time::Instant::now() + self.shared.connect_timeout;
            self.connect_by.get_or_insert(by);
        }
        Ok(())
    }

    /// Lets a client into a namespace as soon as everything for it can be heard.
    pub(super) fn approach(&mut self, mut applicant: Applicant, mut admission: Admission) -> Result<(), Reason> {
        if !self.shared.namespaces.occupy(&applicant.namespace, &applicant.rules) {
            self.refuse_connect(&applicant.namespace, TOO_MANY_NAMESPACES);
            return Ok(());
        }
        let ids = match applicant.ids.take() {
            Some(ids) => ids,
            None => self.new_ids(&applicant.namespace)?,
        };
        let user = admission.user();
        let subject = self.subject(&applicant, &ids, user.clone());
        let Ids { id, alias } = ids;
        let Applicant {
            namespace,
            rules,
            auth,
            seat,
            ..
        } = applicant;
        let values = super::values::Values {
            user: user.as_deref(),
            socket: alias.as_ref().unwrap_or(&id).as_str(),
            namespace: &namespace,
        };
        let mut rooms: Vec<CompactString> = rules.rooms(&values).map(CompactString::from).collect();
        rooms.extend(admission.rooms(&values));
        let mut seen = hashbrown::HashSet::<CompactString, foldhash::fast::RandomState>::default();
        rooms.retain(|room| !is_reserved(room) && seen.insert(room.clone()));
        let (data, is_applications) = admission.data();
        let leeway = self.shared.tokens.as_ref().map_or(0, |tokens| tokens.leeway());
        let entrance = Entrance {
            shared: Arc::clone(&self.shared),
            is_used: false,
            lists_private_rooms: self.shared.cluster.lists_private_rooms(),
            facts: self.session.record().map(|record| {
                Box::new(Facts {
                    record: Arc::clone(record),
                    auth,
                })
            }),
            data,
            is_applications,
            subject,
            orders: admission.orders(),
            namespace,
            rules,
            id,
            alias,
            user,
            pass: admission.pass(leeway),
            rooms,
            seat,
        };
        self.listen(entrance)
    }

    /// Lets a client in as soon as everything for it can be heard.
    fn listen(&mut self, entrance: Entrance) -> Result<(), Reason> {
        let private = private_rooms(entrance.lists_private_rooms, &entrance.id, entrance.alias.as_ref());
        let rooms = entrance.rooms.iter().map(|room| &**room).chain(private);
        let live = self.shared.cluster.enter(&entrance.namespace, rooms);
        if live.is_now() {
            return self.enter(entrance);
        }
        let namespace = Name::clone(&entrance.namespace);
        let settled = async move {
            let is_live = live.confirmed().await;
            if !is_live {
                tokio::time::sleep(jitter()).await;
            }
            Settled::Entrance(Box::new(entrance), is_live)
        };
        self.wait_for(&namespace, None, Box::pin(settled));
        Ok(())
    }

    pub(super) fn enter(&mut self, mut entrance: Entrance) -> Result<(), Reason> {
        entrance.is_used = true;
        let (namespace, id) = (Name::clone(&entrance.namespace), entrance.id.clone());
        let is_v4 = self.session.version() == Version::V4;
        let connect = socket::connect(&namespace, is_v4.then(|| id.as_str()));
        let line = self
            .shared
            .open_line(entrance.subject.clone(), &entrance.data, entrance.is_applications);
        let orders = std::mem::take(&mut entrance.orders);
        let new = NewSocket {
            outbox: self.session.outbox(),
            namespace: &namespace,
            id: &id,
            alias: entrance.alias.as_ref(),
            user: entrance.user.as_ref(),
            rooms: &entrance.rooms,
            source: Source {
                address: self.session.address(),
                version: self.session.version(),
                since: SystemTime::now(),
            },
            data: std::mem::take(&mut entrance.data),
            facts: entrance.facts.take(),
        };
        let mut tally = Tally::default();
        let key = self.shared.hub.add(self.shard, new, connect, &mut tally);
        self.shared.metrics.sent(&tally);
        self.shared.cluster.entered(&namespace, &entrance.rooms);
        let shown_id = entrance.alias.as_ref().unwrap_or(&id).as_str();
        debug!(namespace = &*namespace, socket = shown_id, "entered");
        let rooms_max = match self.shared.limits.rooms_per_socket {
            0 => usize::MAX,
            limit => limit + entrance.rooms.len(),
        };
        let socket = Socket {
            namespace,
            rules: Arc::clone(&entrance.rules),
            key,
            id,
            alias: entrance.alias.take(),
            user: entrance.user.take(),
            pass: entrance.pass.take(),
            subject: entrance.subject.take(),
            _seat: entrance.seat.take(),
            lists_private_rooms: entrance.lists_private_rooms,
            bucket: Bucket::new(self.shared.events_limit().1, Instant::now()),
            line,
            rooms_max,
        };
        self.entered(socket, orders);
        Ok(())
    }

    /// A namespace was entered: the time to do so no longer runs. The application wants this to be done at once.
    fn entered(&mut self, socket: Socket, orders: Orders) {
        let rooms = if socket.rules.presence {
            self.shared.hub.rooms_of(socket.key)
        } else {
            Vec::new()
        };
        self.shared.follow(&socket.namespace, Movement::Join, &rooms);
        let presence = announce::presence(&socket, Movement::Join, &rooms);
        if let Some(index) = socket.rules.index {
            self.shared.metrics.sockets(index).inc();
        }
        self.tell_connected(&socket, orders);
        self.sockets.push(socket);
        self.connect_by = None;
        self.has_left = false;
        self.send_out(presence, relay::Reply::None);
    }

    /// There is no verdict, as Redis does not let us hear the namespace or the keys of tokens are not there. Clients come
    /// back by themselves only where their session ends.
    pub(super) fn turn_away(&mut self, namespace: &Name) -> Result<(), Reason> {
        if self.sockets.is_empty() {
            return Err(Reason::Unavailable);
        }
        self.refuse_connect(namespace, UNAVAILABLE);
        Ok(())
    }

    fn refuse_connect(&mut self, namespace: &str, message: &str) {
        self.refuse_connect_with(namespace, message, None);
    }

    /// Refuses a client; the data is JSON.
    fn refuse_connect_with(&mut self, namespace: &str, message: &str, data: Option<&str>) {
        debug!(namespace = without_query(namespace), why = message, "refused");
        let is_object = self.session.version() == Version::V4;
        self.session
            .send(socket::connect_error(namespace, message, data, is_object));
    }
}
