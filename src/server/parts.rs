//! What requests are answered from: all parts of a gateway, built and joined.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use hyper::body::Incoming;
use hyper::header::HOST;
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tracing::{Instrument as _, info_span};

use super::bundle::Bundle;
use super::config::{Auto, Demo};
use super::connection::{Complaints, Port};
use super::{ServeError, unavailable};
use crate::backend::Tokens;
use crate::backend::webhook::{Handler, Webhooks};
use crate::cluster::{Client, Cluster, Hearing, Owner, Unreachable, Way};
use crate::engine::{self, Engine, Peer, Query};
use crate::http::{self, Body, Lease};
use crate::hub::Hub;
use crate::limits;
use crate::metrics::{Forwarded, Limit, Metrics};
use crate::ops::admin::Admin;
use crate::ops::demo;
use crate::ops::health::Health;
use crate::protocol::ids::{IdGenerator, Sid};
use crate::proxies::{Hop, Proxies};
use crate::socketio::{self, SocketIo};
use crate::stream::Stream;

/// What a client over the limit gets before its connection is closed.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// What requests are answered from.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) path: String,
    pub(super) demo: Option<String>,
    pub(super) bundle: Bundle,
    pub(super) proxies: Proxies,
    pub(super) proxy_protocol: bool,
    /// Connections without a PROXY header.
    pub(super) strangers: Complaints,
    /// Requests on the cluster's port that come from no gateway.
    pub(super) suspicions: Complaints,
    /// How many links of other gateways are open.
    pub(super) links: Arc<AtomicUsize>,
    pub(super) health: Arc<Health>,
    pub(super) engine: Arc<Engine>,
    pub(super) cluster: Arc<Cluster>,
    pub(super) socketio: Arc<SocketIo>,
    pub(super) webhooks: Option<Arc<Webhooks>>,
    _teller: Option<Task>,
    pub(super) admin: Admin,
}

/// A task that ends with this.
#[derive(Debug)]
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Parts {
    /// `listen` is where other gateways pass requests on to this one, where there may be any.
    pub(super) fn new(
        config: &crate::config::Config,
        connections_max: usize,
        listen: SocketAddr,
    ) -> Result<Self, ServeError> {
        let namespaces: Vec<_> = config
            .namespace
            .iter()
            .map(|namespace| namespace.name.as_str())
            .collect();
        let metrics = Arc::new(Metrics::new(&namespaces).map_err(unavailable("the metrics cannot be set up"))?);
        let ids = Arc::new(IdGenerator::new().map_err(unavailable("no ids can be made"))?);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (hub, _) = Hub::new(cores, Arc::clone(&metrics));
        let (cluster, hearing) = Cluster::new(
            &config.cluster,
            listen,
            Arc::clone(&ids),
            Arc::clone(&hub),
            Arc::clone(&metrics),
        )
        .map_err(unavailable("the cluster cannot be joined"))?;
        let needs_redis = !config.cluster.serve_without_redis;
        let health = Arc::new(Health::new(connections_max).with_redis(cluster.up(), needs_redis));
        let server = &config.server;
        let mut engine = engine(config, connections_max, &ids, &metrics);
        let webhooks = webhooks(config, &ids, &metrics)?;
        if cluster.is_shared() || webhooks.is_some() {
            engine = engine.recording(config.webhook.header_names());
        }
        let tokens = tokens(config)?;
        if tokens.is_some() {
            engine = engine.keeping_tokens();
        }
        let engine = Arc::new(engine);
        let settings = socketio::config::Config {
            namespaces: &config.namespace,
            limits: &config.limits,
            engine: &config.engine,
        };
        let (shared, numbers) = ((Arc::clone(&hub), Arc::clone(&cluster)), Arc::clone(&metrics));
        let socketio = SocketIo::new(&settings, shared, Arc::clone(&ids), numbers)
            .reading(tokens)
            .calling(webhooks.clone());
        let socketio = Arc::new(socketio);
        webhooks.iter().for_each(|webhooks| obey(webhooks, &socketio));
        let tells = socketio.tell_of_rooms();
        let teller = tells.map(|tells| Task(tokio::spawn(tells).abort_handle()));
        if let Some(hearing) = hearing {
            join(&cluster, hearing, &socketio, needs_redis.then_some(&engine));
        }
        let admin = Admin {
            ids: Arc::clone(&ids),
            keys: config.admin.keys.clone(),
            health: Arc::clone(&health),
            metrics,
            hub,
            engine: Arc::clone(&engine),
        };
        Ok(Self {
            path: server.path.clone(),
            demo: has_demo(config).then(|| demo::page(&server.path)),
            bundle: Bundle::load(&server.client_bundle)?,
            proxies: Proxies::new(&server.trusted_proxies),
            proxy_protocol: server.proxy_protocol,
            strangers: Complaints::default(),
            suspicions: Complaints::default(),
            links: Arc::default(),
            health,
            engine,
            cluster,
            socketio,
            webhooks,
            _teller: teller,
            admin,
        })
    }

    /// Counts one more connection of a client; where there are too many, says so by it.
    pub(super) fn lease(&self, stream: &Stream) -> Option<Lease> {
        let lease = Lease::take(self.health.connections(), self.health.connections_max());
        if lease.is_none() {
            self.admin.metrics.limited(Limit::Connections);
            drop(stream.try_write(FULL));
        }
        lease
    }

    /// Answers a request of a client or an operator.
    pub(super) async fn respond(
        self: &Arc<Self>,
        request: Request<Incoming>,
        peer: Hop,
        port: Port,
        lease: Arc<Lease>,
    ) -> Response<Body> {
        let asks_for_websocket = http::asks_for_websocket(request.headers());
        let mut response = match http::refuse(&request) {
            Some(refusal) => refusal,
            None => match port {
                Port::Clients => self.route(request, peer, lease).await,
                Port::Peers => self.respond_to_gateway(request, peer, lease).await,
                Port::Admin => self.admin.respond(&request),
            },
        };
        // Behind a WebSocket that was refused comes what has not passed the gate.
        let is_refused = asks_for_websocket && response.status() != StatusCode::SWITCHING_PROTOCOLS;
        if is_refused || (port == Port::Clients && self.health.is_draining() && !asks_for_websocket) {
            http::close(&mut response);
        }
        response
    }

    /// Answers a client by the path that it asks for.
    async fn route(&self, mut request: Request<Incoming>, hop: Hop, lease: Arc<Lease>) -> Response<Body> {
        let path = request.uri().path();
        if let Some(rest) = path.strip_prefix(&*self.path) {
            if Bundle::is_at(rest) {
                return self.bundle.respond(&request);
            }
            let peer = Peer {
                address: self.proxies.client(hop, request.headers()),
                is_secure: self.proxies.is_secure(hop, request.headers()),
                lease,
            };
            self.proxies.name_host(hop, request.headers_mut());
            let query = Query::of(&request);
            return match self.elsewhere(&request, &query).await {
                Ok(Some((way, sid))) => forward(way, sid, request, peer).await,
                Ok(None) => self.engage(request, &query, peer).await,
                Err(Unreachable) => engine::unavailable(http::asks_for_websocket(request.headers())),
            };
        }
        match (path, &self.demo) {
            ("/", Some(page)) => demo::response(page),
            _ => self
                .health
                .respond(path, false)
                .unwrap_or_else(|| http::response(StatusCode::NOT_FOUND, "text/plain", "not found\n")),
        }
    }

    /// The way to the node that a request is for, where that is another one.
    async fn elsewhere(
        &self,
        request: &Request<Incoming>,
        query: &Query,
    ) -> Result<Option<(Way, Option<Sid>)>, Unreachable> {
        let is_passable = match *request.method() {
            Method::GET => true,
            Method::POST => !engine::is_upgrade(request), // which nobody grants
            _ => false,
        };
        if !is_passable || !self.cluster.is_shared() {
            return Ok(None);
        }
        if let Some(sid) = query.session() {
            return match self.cluster.owner(&sid) {
                Owner::Here => Ok(None),
                Owner::Nobody => {
                    self.admin.metrics.forwarded(Forwarded::UnknownOwner);
                    Ok(None)
                }
                Owner::Peer(node) => {
                    let way = self.cluster.reach(&node).await;
                    way.map(|way| Some((way, Some(sid)))).ok_or_else(|| {
                        self.admin.metrics.forwarded(Forwarded::Unreachable);
                        Unreachable
                    })
                }
            };
        }
        // A node that leaves lets others have whom balancers still send.
        if self.engine.refuses_handshakes() && query.is_handshake() {
            for heir in self.cluster.heirs() {
                if let Some(way) = self.cluster.reach(&heir).await {
                    return Ok(Some((way, None)));
                }
            }
        }
        Ok(None)
    }

    /// Gives the engine a request, and serves the session that comes of it.
    pub(super) async fn engage(&self, request: Request<Incoming>, query: &Query, peer: Peer) -> Response<Body> {
        let address = peer.address;
        let handled = self.engine.handle(request, query, peer).await;
        if let Some(opening) = handled.opening {
            let socketio = Arc::clone(&self.socketio);
            tokio::spawn(async move {
                if let Some(session) = opening.finish().await {
                    let span = info_span!("session", sid = session.sid().prefix(), %address);
                    socketio::serve(session, socketio).instrument(span).await;
                }
            });
        }
        handled.response
    }
}

/// What judges tokens, where a namespace reads them.
fn tokens(config: &crate::config::Config) -> Result<Option<Arc<Tokens>>, ServeError> {
    if !config.namespace.iter().any(|namespace| namespace.auth.reads_tokens()) {
        return Ok(None);
    }
    let tokens = Tokens::new(&config.token).map_err(unavailable("tokens cannot be judged"))?;
    Ok(Some(tokens))
}

/// The engine, which bounds its sessions by the connections that there may be.
fn engine(
    config: &crate::config::Config,
    connections_max: usize,
    ids: &Arc<IdGenerator>,
    metrics: &Arc<Metrics>,
) -> Engine {
    let limits = limits::Config {
        connections: connections_max,
        ..config.limits.clone()
    };
    let (settings, origins) = (config.engine.clone(), &config.server.origins);
    Engine::new(settings, origins, &limits, Arc::clone(ids), Arc::clone(metrics))
}

/// What calls the application, where there is one to call.
fn webhooks(
    config: &crate::config::Config,
    ids: &Arc<IdGenerator>,
    metrics: &Arc<Metrics>,
) -> Result<Option<Arc<Webhooks>>, ServeError> {
    let event_bytes_max = config.engine.max_payload.0;
    let webhooks = Webhooks::new(&config.webhook, event_bytes_max, Arc::clone(ids), Arc::clone(metrics));
    webhooks.map_err(unavailable("the webhook cannot be called"))
}

/// Has done what the application's answers want.
fn obey(webhooks: &Webhooks, socketio: &Arc<SocketIo>) {
    let handler: Arc<dyn Handler> = Arc::clone(socketio) as _;
    webhooks.obeyed_by(&handler);
}

fn has_demo(config: &crate::config::Config) -> bool {
    match config.server.demo {
        Demo::Fixed(wanted) => wanted,
        Demo::Auto(Auto::Auto) => config.is_open(),
    }
}

/// Has a request answered by another node.
async fn forward(way: Way, sid: Option<Sid>, request: Request<Incoming>, peer: Peer) -> Response<Body> {
    let is_upgrade = http::asks_for_websocket(request.headers());
    let host = request.headers().get(HOST);
    let client = Client {
        address: peer.address,
        is_secure: peer.is_secure,
        host: host.and_then(|host| host.to_str().ok()).map(str::to_owned),
    };
    let forwarded = way.forward(request, &client, sid, peer.lease).await;
    forwarded.unwrap_or_else(|Unreachable| engine::unavailable(is_upgrade))
}

/// Runs what serves the cluster until it is closed. `dependent` lets new sessions in only while Redis is there.
fn join(cluster: &Cluster, hearing: Hearing, socketio: &Arc<SocketIo>, dependent: Option<&Arc<Engine>>) {
    let obeys = tokio::spawn(socketio::obey(hearing, Arc::clone(socketio)));
    cluster.end_with_us(obeys.abort_handle());
    if let Some(keeps) = socketio.keep_counts() {
        cluster.end_with_us(tokio::spawn(keeps).abort_handle());
    }
    if let (Some(up), Some(engine)) = (cluster.up(), dependent) {
        let follows = tokio::spawn(follow(up, Arc::clone(engine)));
        cluster.end_with_us(follows.abort_handle());
    }
}

/// Lets new sessions in only while Redis is there.
async fn follow(mut redis: watch::Receiver<bool>, engine: Arc<Engine>) {
    loop {
        let is_up = *redis.borrow_and_update();
        engine.set_available(is_up);
        if redis.changed().await.is_err() {
            return;
        }
    }
}
