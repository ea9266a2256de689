//! The composition root: builds the parts, binds, routes by path.

mod accept;
mod bundle;
mod compose;
mod config;
mod connection;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod listener;
mod parts;
mod peers;
mod proxy_protocol;
mod supervisor;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::info;

use accept::accept;
pub use config::{Auto, Config, Demo};
use connection::{Closing, Port};
pub use listener::UNIX_PREFIX;
use listener::{Listener, SocketFile, nowhere};
use parts::Parts;

use crate::drain::Drain;
pub use crate::drain::Ended;
use crate::ops::demo;
pub use crate::wish::Stopper;

/// Why a gateway could not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Something that it needs is not there, in a sentence.
    #[error("{0}")]
    Unavailable(String),
}

/// Descriptors that are no client's connection: listeners, logs, the admin's connections.
const SPARE_DESCRIPTORS: u64 = 256;

/// Time for answers that are on their way when everything else has ended.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// How long a new node waits for Redis before it lets clients in without.
const REDIS_PATIENCE: Duration = Duration::from_secs(2);

/// A gateway that is bound to its addresses.
#[derive(Debug)]
pub struct Server {
    config: crate::config::Config,
    clients: Vec<Listener>,
    admin: Listener,
    /// Where other gateways pass requests on, where there may be any.
    peers: Option<Listener>,
    files: Vec<SocketFile>,
    parts: Arc<Parts>,
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
        let peers = if config.cluster.is_alone() {
            None
        } else {
            Some(Listener::bind(&config.cluster.listen, &[]).await?.0)
        };
        let listen = peers.as_ref().and_then(Listener::address).unwrap_or_else(nowhere);
        let parts = Arc::new(Parts::new(&config, connections_max, listen)?);
        parts.cluster.settle(REDIS_PATIENCE).await;
        info!(
            version = env!("CARGO_PKG_VERSION"),
            node = parts.admin.ids.tag(),
            clients = %addresses(&clients),
            %admin,
            peers = peers.as_ref().map(tracing::field::display),
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
            peers,
            files,
            parts,
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

    /// Where other gateways pass requests on to this one; `None` for a node that is alone.
    pub fn peers_addr(&self) -> Option<SocketAddr> {
        self.peers.as_ref().and_then(Listener::address)
    }

    /// A handle that stops this server.
    pub fn stopper(&self) -> Stopper {
        self.parts.stopper.clone()
    }

    /// Serves until it is stopped, and drained.
    pub async fn run(self) -> Ended {
        let Self {
            config,
            clients,
            admin,
            peers,
            files,
            parts,
        } = self;
        let closing = watch::Sender::new(false);
        let ports = clients.into_iter().map(|listener| (listener, Port::Clients));
        let accepts: Vec<_> = ports
            .chain(peers.map(|listener| (listener, Port::Peers)))
            .chain([(admin, Port::Admin)])
            .map(|(listener, port)| accept(listener, Arc::clone(&parts), port, Closing::new(&closing)))
            .collect();
        let mut listeners = JoinSet::new();
        accepts.into_iter().for_each(|accept| drop(listeners.spawn(accept)));
        parts.health.started();
        let drain = Drain {
            config: config.drain,
            engine: Arc::clone(&parts.engine),
            cluster: Arc::clone(&parts.cluster),
            health: Arc::clone(&parts.health),
            metrics: Arc::clone(&parts.admin.metrics),
            webhooks: parts.webhooks.clone(),
        };
        let ended = drain.run(&mut parts.stopper.wishes()).await;
        listeners.shutdown().await;
        closing.send_replace(true);
        if ended == Ended::Clean {
            tokio::select! {
                () = closing.closed() => {}
                () = drain.let_go_of_the_last() => {}
                () = tokio::time::sleep(LAST_ANSWERS) => {}
            }
        }
        if let Some(webhooks) = &parts.webhooks {
            webhooks.close();
        }
        parts.cluster.leave().await;
        info!(clean = ended == Ended::Clean, "stopped");
        parts.cluster.close();
        drop(files);
        ended
    }
}

fn unavailable<E: std::fmt::Display>(what: &str) -> impl FnOnce(E) -> ServeError {
    move |error| ServeError::Unavailable(format!("{what}: {error}"))
}

fn addresses(listeners: &[Listener]) -> String {
    let addresses: Vec<_> = listeners.iter().map(Listener::to_string).collect();
    addresses.join(" ")
}
