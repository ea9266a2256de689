//! What requests are answered from: all parts of a gateway, built and joined.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::HeaderName;
use hyper::{Request, Response, StatusCode};
use tokio::sync::watch;
use tracing::{Instrument as _, info_span};

use super::bundle::Bundle;
use super::config::{Auto, Demo};
use super::connection::{Port, Strangers};
use super::{ServeError, unavailable};
use crate::cluster::{Cluster, Hearing};
use crate::engine::{Engine, Peer};
use crate::http::{self, Body, Lease};
use crate::hub::Hub;
use crate::limits;
use crate::metrics::Metrics;
use crate::ops::admin::Admin;
use crate::ops::demo;
use crate::ops::health::Health;
use crate::protocol::ids::IdGenerator;
use crate::proxies::{Hop, Proxies};
use crate::socketio::{self, SocketIo};

/// Headers of handshakes that other servers may ask for.
const RECORDED_HEADERS: [&str; 3] = ["cookie", "user-agent", "x-request-id"];

/// What requests are answered from.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) path: String,
    pub(super) demo: Option<String>,
    pub(super) bundle: Bundle,
    pub(super) proxies: Proxies,
    pub(super) proxy_protocol: bool,
    pub(super) strangers: Strangers,
    pub(super) health: Arc<Health>,
    pub(super) engine: Arc<Engine>,
    pub(super) cluster: Arc<Cluster>,
    pub(super) socketio: Arc<SocketIo>,
    pub(super) admin: Admin,
}

impl Parts {
    pub(super) fn new(config: &crate::config::Config, connections_max: usize) -> Result<Self, ServeError> {
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
            Arc::clone(&ids),
            Arc::clone(&hub),
            Arc::clone(&metrics),
        )
        .map_err(unavailable("the cluster cannot be joined"))?;
        let needs_redis = !config.cluster.serve_without_redis;
        let health = Arc::new(Health::new(connections_max).with_redis(cluster.up(), needs_redis));
        let server = &config.server;
        let limits = limits::Config {
            connections: connections_max, // bounds sessions, too
            ..config.limits.clone()
        };
        let (engine, origins) = (config.engine.clone(), &server.origins);
        let mut engine = Engine::new(engine, origins, &limits, Arc::clone(&ids), Arc::clone(&metrics));
        if cluster.is_shared() {
            engine = engine.recording(RECORDED_HEADERS.map(HeaderName::from_static).into());
        }
        let engine = Arc::new(engine);
        let settings = socketio::config::Config {
            namespaces: &config.namespace,
            limits: &config.limits,
            engine: &config.engine,
        };
        let socketio = Arc::new(SocketIo::new(
            &settings,
            (Arc::clone(&hub), Arc::clone(&cluster)),
            Arc::clone(&ids),
            Arc::clone(&metrics),
        ));
        if let Some(hearing) = hearing {
            join(&cluster, hearing, &socketio, needs_redis.then_some(&engine));
        }
        let has_demo = match server.demo {
            Demo::Fixed(wanted) => wanted,
            Demo::Auto(Auto::Auto) => config.is_open(),
        };
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
            demo: has_demo.then(|| demo::page(&server.path)),
            bundle: Bundle::load(&server.client_bundle)?,
            proxies: Proxies::new(&server.trusted_proxies),
            proxy_protocol: server.proxy_protocol,
            strangers: Strangers::default(),
            health,
            engine,
            cluster,
            socketio,
            admin,
        })
    }

    /// Answers a request of a client or an operator.
    pub(super) async fn respond(
        &self,
        request: Request<Incoming>,
        peer: Hop,
        port: Port,
        lease: Arc<Lease>,
    ) -> Response<Body> {
        let asks_for_websocket = http::asks_for_websocket(request.headers());
        let mut response = match http::refuse(&request) {
            Some(refusal) => refusal,
            None if port == Port::Admin => self.admin.respond(&request),
            None => self.route(request, peer, lease).await,
        };
        if asks_for_websocket && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            http::close(&mut response); // what follows has not passed the gate
        }
        response
    }

    /// Answers a client by the path that it asks for.
    async fn route(&self, request: Request<Incoming>, peer: Hop, lease: Arc<Lease>) -> Response<Body> {
        let path = request.uri().path();
        if let Some(rest) = path.strip_prefix(&*self.path) {
            if Bundle::is_at(rest) {
                return self.bundle.respond(&request);
            }
            let peer = Peer {
                address: self.proxies.client(peer, request.headers()),
                behind_proxy: self.proxies.trusts(peer),
                lease,
            };
            return self.engage(request, peer).await;
        }
        match (path, &self.demo) {
            ("/", Some(page)) => demo::response(page),
            _ => self
                .health
                .respond(path, false)
                .unwrap_or_else(|| http::response(StatusCode::NOT_FOUND, "text/plain", "not found\n")),
        }
    }

    /// Gives the engine a request, and serves the session that comes of it.
    async fn engage(&self, request: Request<Incoming>, peer: Peer) -> Response<Body> {
        let address = peer.address;
        let handled = self.engine.handle(request, peer).await;
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

/// Runs what serves the cluster until it is closed. `dependent` lets new sessions in only while Redis is there.
fn join(cluster: &Cluster, hearing: Hearing, socketio: &Arc<SocketIo>, dependent: Option<&Arc<Engine>>) {
    let obeys = tokio::spawn(socketio::obey(hearing, Arc::clone(socketio)));
    cluster.end_with_us(obeys.abort_handle());
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
