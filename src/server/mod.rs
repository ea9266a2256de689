//! The composition root: builds the parts, binds, routes by path.

mod accept;
mod bundle;
mod connection;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod listener;
mod proxy_protocol;
mod supervisor;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::HeaderName;
use hyper::{Request, Response, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{Instrument as _, info, info_span};

use accept::accept;
use bundle::Bundle;
use connection::{Port, Strangers};
pub use listener::UNIX_PREFIX;
use listener::{Listener, SocketFile, nowhere};

use crate::cluster::Cluster;
pub use crate::drain::Ended;
use crate::drain::{Stop, drain};
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

/// `[server]`: where clients connect.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Addresses for clients.
    #[serde(with = "crate::config::one_or_many")]
    pub listen: Vec<String>,
    /// Path that Socket.IO clients use, with slashes on both ends.
    pub path: String,
    /// Origins that may connect beside our own host.
    pub origins: Vec<String>,
    /// Networks whose forwarding headers are believed; `unix` stands for Unix sockets.
    pub trusted_proxies: Vec<String>,
    /// Every connection of a client begins with a PROXY header.
    pub proxy_protocol: bool,
    /// The script of the client to serve; `""` = none.
    pub client_bundle: String,
    /// Whether the demo page is served at `/`.
    pub demo: Demo,
}

/// Whether the demo page is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged, expecting = "must be true, false or \"auto\"")]
pub enum Demo {
    /// Always or never.
    Fixed(bool),
    /// `"auto"`: while no namespace is configured.
    Auto(Auto),
}

/// The word `"auto"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Auto {
    /// While no namespace is configured.
    Auto,
}

/// Why a gateway could not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Something that it needs is not there, in a sentence.
    #[error("{0}")]
    Unavailable(String),
}

/// Descriptors that are no client's connection: listeners, logs, the admin's connections.
const SPARE_DESCRIPTORS: u64 = 256;

/// Headers of handshakes that other servers may ask for.
const RECORDED_HEADERS: [&str; 3] = ["cookie", "user-agent", "x-request-id"];

/// How long a new node waits for Redis before it lets clients in without.
const REDIS_PATIENCE: Duration = Duration::from_secs(2);

/// A gateway that is bound to its addresses.
#[derive(Debug)]
pub struct Server {
    config: crate::config::Config,
    clients: Vec<Listener>,
    admin: Listener,
    files: Vec<SocketFile>,
    parts: Arc<Parts>,
    stop: watch::Sender<Stop>,
}

/// What requests are answered from.
#[derive(Debug)]
struct Parts {
    path: String,
    demo: Option<String>,
    bundle: Bundle,
    proxies: Proxies,
    proxy_protocol: bool,
    strangers: Strangers,
    health: Arc<Health>,
    engine: Arc<Engine>,
    cluster: Arc<Cluster>,
    socketio: Arc<SocketIo>,
    admin: Admin,
}

/// Asks a running server to stop.
#[derive(Clone, Debug)]
pub struct Stopper(watch::Sender<Stop>);

impl Stopper {
    /// Drains, as the first signal does.
    pub fn stop(&self) {
        self.0.send_if_modified(|stop| {
            *stop == Stop::No && {
                *stop = Stop::Drain;
                true
            }
        });
    }

    /// Stops at once, as the second signal does.
    pub fn stop_now(&self) {
        self.0.send_replace(Stop::Now);
    }
}

/// Runs a gateway until a signal ends it.
///
/// # Errors
/// When an address cannot be listened on.
pub async fn serve(config: crate::config::Config) -> Result<Ended, ServeError> {
    let server = Server::bind(config).await?;
    let stopper = server.stopper();
    let mut interrupt = signal(SignalKind::interrupt()).map_err(unavailable("signals cannot be received"))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(unavailable("signals cannot be received"))?;
    let signals = async {
        let mut is_second = false;
        loop {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            if is_second {
                stopper.stop_now();
            } else {
                info!("stopping (a second signal stops at once)");
                supervisor::stopping();
                stopper.stop();
            }
            is_second = true;
        }
    };
    supervisor::ready(); // who connects from now on waits at most until the next line
    tokio::spawn(supervisor::keep_watched());
    tokio::select! {
        ended = server.run() => Ok(ended),
        () = signals => Ok(Ended::Cut), // never: signals keep coming
    }
}

impl Server {
    /// Builds the gateway and binds its addresses. Must be called on a tokio runtime.
    ///
    /// # Errors
    /// When an address cannot be listened on, or the system has no randomness.
    pub async fn bind(config: crate::config::Config) -> Result<Self, ServeError> {
        let descriptors = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(1024);
        let connections_max = match config.limits.connections {
            0 => usize::try_from(descriptors.saturating_sub(SPARE_DESCRIPTORS)).unwrap_or(usize::MAX),
            limit => limit,
        };
        let (mut clients, mut files) = (Vec::new(), Vec::new());
        for address in &config.server.listen {
            let (listener, file) = Listener::bind(address, &config.server.listen).await?;
            clients.push(listener);
            files.extend(file);
        }
        let (admin, file) = Listener::bind(&config.admin.listen, &[]).await?;
        files.extend(file);
        let parts = Arc::new(Parts::new(&config, connections_max)?);
        parts.cluster.settle(REDIS_PATIENCE).await;
        info!(
            version = env!("CARGO_PKG_VERSION"),
            node = parts.admin.ids.tag(),
            clients = %addresses(&clients),
            %admin,
            path = config.server.path,
            namespaces = %config.namespace.iter().map(|namespace| &*namespace.name).collect::<Vec<_>>().join(" "),
            connections_max,
            descriptors,
            "listening"
        );
        let server = Self {
            config,
            clients,
            admin,
            files,
            parts,
            stop: watch::Sender::new(Stop::No),
        };
        if let Some(url) = server.parts.demo.as_ref().and_then(|_| demo::url(server.client_addr())) {
            info!("the demo page is at {url}");
        }
        Ok(server)
    }

    /// Where clients connect: the first address of the network, `0.0.0.0:0` where there is none.
    pub fn client_addr(&self) -> SocketAddr {
        self.clients.iter().find_map(Listener::address).unwrap_or_else(nowhere)
    }

    /// Where health and metrics are; `0.0.0.0:0` for a Unix socket.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin.address().unwrap_or_else(nowhere)
    }

    /// A handle that stops this server.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.stop.clone())
    }

    /// Serves until it is stopped, and drained.
    pub async fn run(self) -> Ended {
        let Self {
            config,
            clients,
            admin,
            files,
            parts,
            stop,
        } = self;
        let closed = watch::Sender::new(());
        let ports = clients.into_iter().map(|listener| (listener, Port::Clients));
        let accepts: Vec<_> = ports
            .chain([(admin, Port::Admin)])
            .map(|(listener, port)| accept(listener, Arc::clone(&parts), port, closed.subscribe()))
            .collect();
        let mut listeners = JoinSet::new();
        accepts.into_iter().for_each(|accept| drop(listeners.spawn(accept)));
        parts.health.started();
        let mut stop = stop.subscribe();
        let _ = stop.wait_for(|stop| *stop != Stop::No).await;
        parts.admin.metrics.draining.set(1);
        let ended = drain(&config.drain, &parts.engine, &parts.health, &mut stop).await;
        parts.cluster.leave().await;
        info!(clean = ended == Ended::Clean, "stopped");
        parts.cluster.close();
        drop(files);
        drop(closed);
        ended
    }
}

impl Parts {
    fn new(config: &crate::config::Config, connections_max: usize) -> Result<Self, ServeError> {
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
        let engine = Engine::new(
            config.engine.clone(),
            &server.origins,
            &limits,
            Arc::clone(&ids),
            Arc::clone(&metrics),
        );
        let engine = Arc::new(if cluster.is_shared() {
            engine.recording(RECORDED_HEADERS.map(HeaderName::from_static).into())
        } else {
            engine
        });
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
            let obeys = tokio::spawn(socketio::obey(hearing, Arc::clone(&socketio)));
            cluster.end_with_us(obeys.abort_handle());
        }
        if let Some(up) = cluster.up().filter(|_| needs_redis) {
            cluster.end_with_us(tokio::spawn(follow(up, Arc::clone(&engine))).abort_handle());
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
    async fn respond(&self, request: Request<Incoming>, peer: Hop, port: Port, lease: Arc<Lease>) -> Response<Body> {
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

fn unavailable<E: std::fmt::Display>(what: &str) -> impl FnOnce(E) -> ServeError {
    move |error| ServeError::Unavailable(format!("{what}: {error}"))
}

fn addresses(listeners: &[Listener]) -> String {
    let addresses: Vec<_> = listeners.iter().map(Listener::to_string).collect();
    addresses.join(" ")
}
