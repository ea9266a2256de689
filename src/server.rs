//! The composition root: builds the parts, binds, accepts, routes by path.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{Instrument as _, debug, error, info, info_span};

pub use crate::drain::Ended;
use crate::drain::{Stop, drain};
use crate::engine::{Engine, Peer};
use crate::http::{self, Body, Lease};
use crate::hub::Hub;
use crate::metrics::{Limit, Metrics};
use crate::ops::admin::Admin;
use crate::ops::demo;
use crate::ops::health::Health;
use crate::protocol::ids::IdGenerator;
use crate::proxies::Proxies;
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
    /// Networks whose forwarding headers are believed.
    pub trusted_proxies: Vec<String>,
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

/// Connections that may wait to be accepted: a reconnect storm must not meet refusals.
const BACKLOG: u32 = 4096;

/// Time for the head of a request, and for the next request on a kept connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// Pause after an accept that failed, mostly for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Descriptors that are no client's connection: listeners, logs, the admin's connections.
const SPARE_DESCRIPTORS: u64 = 256;

/// What a client over the limit gets before its connection is closed.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// A gateway that is bound to its addresses.
#[derive(Debug)]
pub struct Server {
    config: crate::config::Config,
    clients: Vec<TcpListener>,
    admin: TcpListener,
    parts: Arc<Parts>,
    stop: watch::Sender<Stop>,
}

/// What requests are answered from.
#[derive(Debug)]
struct Parts {
    path: String,
    demo: Option<String>,
    proxies: Proxies,
    health: Arc<Health>,
    engine: Arc<Engine>,
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
                stopper.stop();
            }
            is_second = true;
        }
    };
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
        let mut clients = Vec::new();
        for address in &config.server.listen {
            clients.push(listen(address).await?);
        }
        let admin = listen(&config.admin.listen).await?;
        let parts = Arc::new(Parts::new(&config, connections_max)?);
        info!(
            version = env!("CARGO_PKG_VERSION"),
            node = parts.admin.node,
            clients = %addresses(&clients),
            admin = %addresses(std::slice::from_ref(&admin)),
            path = config.server.path,
            namespaces = %config.namespace.iter().map(|namespace| &*namespace.name).collect::<Vec<_>>().join(" "),
            connections_max,
            descriptors,
            "listening"
        );
        Ok(Self {
            config,
            clients,
            admin,
            parts,
            stop: watch::Sender::new(Stop::No),
        })
    }

    /// Where clients connect: the first address.
    pub fn client_addr(&self) -> SocketAddr {
        address_of(&self.clients[0])
    }

    /// Where health and metrics are.
    pub fn admin_addr(&self) -> SocketAddr {
        address_of(&self.admin)
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
            parts,
            stop,
        } = self;
        let closed = watch::Sender::new(());
        let mut listeners = JoinSet::new();
        for listener in clients {
            listeners.spawn(accept(listener, Arc::clone(&parts), Port::Clients, closed.subscribe()));
        }
        listeners.spawn(accept(admin, Arc::clone(&parts), Port::Admin, closed.subscribe()));
        parts.health.started();
        let mut stop = stop.subscribe();
        let _ = stop.wait_for(|stop| *stop != Stop::No).await;
        parts.admin.metrics.draining.set(1);
        let ended = drain(&config.drain, &parts.engine, &parts.health, &mut stop).await;
        info!(clean = ended == Ended::Clean, "stopped");
        drop(closed);
        ended
    }
}

/// Which port a connection came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Port {
    Clients,
    Admin,
}

/// Accepts connections until it is dropped with its set.
async fn accept(listener: TcpListener, parts: Arc<Parts>, port: Port, closed: watch::Receiver<()>) {
    let mut last_complaint: Option<Instant> = None;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let _ = stream.set_nodelay(true); // a connection that is gone says so soon enough
                let lease = match port {
                    Port::Clients => Lease::take(parts.health.connections(), parts.health.connections_max()),
                    Port::Admin => Lease::take(&Arc::default(), usize::MAX), // operators are let in at any time
                };
                match lease {
                    Some(lease) => drop(tokio::spawn(connection(
                        stream,
                        peer,
                        Arc::clone(&parts),
                        (port, Arc::new(lease)),
                        closed.clone(),
                    ))),
                    None => {
                        parts.admin.metrics.limited(Limit::Connections);
                        drop(stream.try_write(FULL));
                    }
                }
            }
            Err(error) => {
                if last_complaint.is_none_or(|last| last.elapsed() > Duration::from_secs(1)) {
                    error!("cannot accept connections: {error}");
                    last_complaint = Some(Instant::now());
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves the requests of one connection, until it becomes a WebSocket or the server is gone.
async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    parts: Arc<Parts>,
    via: (Port, Arc<Lease>),
    mut closed: watch::Receiver<()>,
) {
    let (port, lease) = via;
    let service = service_fn(|request| {
        let (parts, lease) = (Arc::clone(&parts), Arc::clone(&lease));
        async move { Ok::<_, Infallible>(parts.respond(request, peer.ip(), port, lease).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .half_close(false)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::select! {
        result = serving => if let Err(error) = result { debug!(%peer, "connection ended: {error}") },
        _ = closed.changed() => {} // the sender is gone
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
        let health = Arc::new(Health::new(connections_max));
        let server = &config.server;
        let engine = Arc::new(Engine::new(
            config.engine.clone(),
            &server.origins,
            &config.limits,
            Arc::clone(&ids),
            Arc::clone(&metrics),
        ));
        let settings = socketio::config::Config {
            namespaces: &config.namespace,
            limits: &config.limits,
            engine: &config.engine,
        };
        let socketio = Arc::new(SocketIo::new(
            &settings,
            Arc::clone(&hub),
            Arc::clone(&ids),
            Arc::clone(&metrics),
        ));
        let has_demo = match server.demo {
            Demo::Fixed(wanted) => wanted,
            Demo::Auto(Auto::Auto) => config.is_open(),
        };
        let admin = Admin {
            node: ids.tag(),
            keys: config.admin.keys.clone(),
            health: Arc::clone(&health),
            metrics,
            hub,
            engine: Arc::clone(&engine),
        };
        Ok(Self {
            path: server.path.clone(),
            demo: has_demo.then(|| demo::page(&server.path)),
            proxies: Proxies::new(&server.trusted_proxies),
            health,
            engine,
            socketio,
            admin,
        })
    }

    async fn respond(&self, request: Request<Incoming>, peer: IpAddr, port: Port, lease: Arc<Lease>) -> Response<Body> {
        if http::is_ambiguous(&request) {
            return http::refuse_ambiguous();
        }
        if port == Port::Admin {
            return self.admin.respond(&request);
        }
        let path = request.uri().path();
        if let Some(rest) = path.strip_prefix(&*self.path) {
            if rest == "socket.io.js" {
                return http::response(StatusCode::NOT_FOUND, "text/plain", BUNDLE_HINT);
            }
            let address = self.proxies.client(peer, request.headers());
            let peer = Peer {
                address,
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

/// What a page gets that looks for the client where a Node server has it.
const BUNDLE_HINT: &str = "This gateway serves no client: load socket.io.min.js from your own site.\n";

async fn listen(address: &str) -> Result<TcpListener, ServeError> {
    let why = format!("cannot listen on {address}");
    let mut last = None;
    for resolved in tokio::net::lookup_host(address).await.map_err(unavailable(&why))? {
        match bind(resolved) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Some(error),
        }
    }
    let last = last.unwrap_or_else(|| std::io::Error::other("the name has no address"));
    Err(unavailable(&why)(last))
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn unavailable<E: std::fmt::Display>(what: &str) -> impl FnOnce(E) -> ServeError {
    move |error| ServeError::Unavailable(format!("{what}: {error}"))
}

fn address_of(listener: &TcpListener) -> SocketAddr {
    listener
        .local_addr()
        .unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)))
}

fn addresses(listeners: &[TcpListener]) -> String {
    listeners
        .iter()
        .map(|listener| address_of(listener).to_string())
        .collect::<Vec<_>>()
        .join(" ")
}
