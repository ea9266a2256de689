//! The composition of a gateway: its parts are built from the bottom up, and joined.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::bundle::Bundle;
use super::config::{Auto, Demo};
use super::connection::Complaints;
use super::parts::Parts;
use super::{ServeError, unavailable};
use crate::backend::Tokens;
use crate::backend::webhook::{Handler, Webhooks};
use crate::cluster::{Cluster, Hearing};
use crate::config::Config;
use crate::engine::Engine;
use crate::hub::Hub;
use crate::limits;
use crate::metrics::Metrics;
use crate::ops::admin::Admin;
use crate::ops::api::Api;
use crate::ops::demo;
use crate::ops::health::Health;
use crate::protocol::ids::IdGenerator;
use crate::proxies::Proxies;
use crate::socketio::{self, SocketIo};
use crate::wish::Stopper;

/// A task that ends with this.
#[derive(Debug)]
pub(super) struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What all parts are built on.
struct Base<'a> {
    config: &'a Config,
    ids: Arc<IdGenerator>,
    metrics: Arc<Metrics>,
    hub: Arc<Hub>,
}

impl Parts {
    /// `listen` is where other gateways pass requests on to this one, where there may be any.
    pub(super) fn new(config: &Config, connections_max: usize, listen: SocketAddr) -> Result<Self, ServeError> {
        let base = Base::new(config)?;
        let stopper = Stopper::default();
        let (cluster, hearing) = base.cluster(listen, &stopper)?;
        let needs_redis = !config.cluster.serve_without_redis;
        let health = Arc::new(Health::new(connections_max).with_redis(cluster.up(), needs_redis));
        let webhooks = base.webhooks()?;
        let tokens = base.tokens()?;
        let mut engine = base.engine(connections_max);
        if cluster.is_shared() || webhooks.is_some() {
            engine = engine.recording(config.webhook.header_names());
        }
        if tokens.is_some() {
            engine = engine.keeping_tokens();
        }
        let engine = Arc::new(engine);
        let socketio = base.socketio(&cluster, tokens, webhooks.clone());
        let tells = socketio.tell_of_rooms();
        let teller = tells.map(|tells| Task(tokio::spawn(tells).abort_handle()));
        if let Some(hearing) = hearing {
            join(&cluster, hearing, &socketio, needs_redis.then_some(&engine));
        }
        let api = Api {
            keys: config.admin.keys.clone(),
            cluster: Arc::clone(&cluster),
            socketio: Arc::clone(&socketio),
            metrics: Arc::clone(&base.metrics),
            stopper: stopper.clone(),
            payload_bytes_max: config.engine.max_payload.0,
        };
        let admin = Admin {
            api,
            ids: base.ids,
            health: Arc::clone(&health),
            metrics: base.metrics,
            hub: base.hub,
            engine: Arc::clone(&engine),
        };
        let server = &config.server;
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
            stopper,
        })
    }
}

impl<'a> Base<'a> {
    fn new(config: &'a Config) -> Result<Self, ServeError> {
        let namespaces = config.namespace.iter().map(|namespace| namespace.name.as_str());
        let namespaces: Vec<_> = namespaces.collect();
        let metrics = Arc::new(Metrics::new(&namespaces).map_err(unavailable("the metrics cannot be set up"))?);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (hub, _) = Hub::new(cores, Arc::clone(&metrics));
        Ok(Self {
            config,
            ids: Arc::new(IdGenerator::new().map_err(unavailable("no ids can be made"))?),
            metrics,
            hub,
        })
    }

    fn cluster(&self, listen: SocketAddr, stopper: &Stopper) -> Result<(Arc<Cluster>, Option<Hearing>), ServeError> {
        let (ids, hub, metrics) = (Arc::clone(&self.ids), Arc::clone(&self.hub), Arc::clone(&self.metrics));
        let cluster = Cluster::new(&self.config.cluster, listen, ids, hub, metrics, stopper.clone());
        cluster.map_err(unavailable("the cluster cannot be joined"))
    }

    fn engine(&self, connections_max: usize) -> Engine {
        let limits = limits::Config {
            connections: connections_max, // bounds sessions, too
            ..self.config.limits.clone()
        };
        let (ids, metrics) = (Arc::clone(&self.ids), Arc::clone(&self.metrics));
        Engine::new(
            self.config.engine.clone(),
            &self.config.server.origins,
            &limits,
            ids,
            metrics,
        )
    }

    /// What judges tokens, where a namespace reads them.
    fn tokens(&self) -> Result<Option<Arc<Tokens>>, ServeError> {
        if !self
            .config
            .namespace
            .iter()
            .any(|namespace| namespace.auth.reads_tokens())
        {
            return Ok(None);
        }
        let tokens = Tokens::new(&self.config.token).map_err(unavailable("tokens cannot be judged"))?;
        Ok(Some(tokens))
    }

    /// What asks and tells the application, where there is one.
    fn webhooks(&self) -> Result<Option<Arc<Webhooks>>, ServeError> {
        let (ids, metrics) = (Arc::clone(&self.ids), Arc::clone(&self.metrics));
        let event_bytes_max = self.config.engine.max_payload.0;
        let webhooks = Webhooks::new(&self.config.webhook, event_bytes_max, ids, metrics);
        webhooks.map_err(unavailable("the webhook cannot be called"))
    }

    fn socketio(
        &self,
        cluster: &Arc<Cluster>,
        tokens: Option<Arc<Tokens>>,
        webhooks: Option<Arc<Webhooks>>,
    ) -> Arc<SocketIo> {
        let settings = socketio::config::Config {
            namespaces: &self.config.namespace,
            limits: &self.config.limits,
            engine: &self.config.engine,
        };
        let shared = (Arc::clone(&self.hub), Arc::clone(cluster));
        let (ids, metrics) = (Arc::clone(&self.ids), Arc::clone(&self.metrics));
        let socketio = SocketIo::new(&settings, shared, ids, metrics);
        let socketio = Arc::new(socketio.reading(tokens).calling(webhooks.clone()));
        if let Some(webhooks) = webhooks {
            let handler: Arc<dyn Handler> = Arc::clone(&socketio) as _;
            webhooks.obeyed_by(&handler);
        }
        socketio
    }
}

fn has_demo(config: &Config) -> bool {
    match config.server.demo {
        Demo::Fixed(wanted) => wanted,
        Demo::Auto(Auto::Auto) => config.is_open(),
    }
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
