//! A client's life: the namespaces it enters, the rooms it joins, what its events do.

mod announce;
mod answers;
mod arguments;
mod client;
pub mod commands;
pub mod config;
mod connect;
mod consult;
mod event;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod membership;
mod neighbours;
mod obey;
mod occupancy;
mod parser;
mod partial;
mod pass;
mod pattern;
mod quota;
mod relay;
mod rosters;
mod rules;
mod stream;
mod values;
mod waiting;
mod webhooks;

use std::sync::Arc;
use std::time::Duration;

pub use client::serve;
pub use obey::obey;

use answers::MemberAnswers;
use commands::Once;
use parking_lot::Mutex;
use quota::Quota;
use rosters::Rosters;

use crate::backend::Tokens;
use crate::backend::webhook::Webhooks;
use crate::cluster::Cluster;
use crate::hub::Hub;
use crate::limits;
use crate::metrics::Metrics;
use crate::protocol::ids::IdGenerator;
use rules::Namespaces;

/// What all clients of a node share.
#[derive(Debug)]
pub struct SocketIo {
    hub: Arc<Hub>,
    cluster: Arc<Cluster>,
    ids: Arc<IdGenerator>,
    metrics: Arc<Metrics>,
    limits: limits::Config,
    /// Bytes of one message with its attachments.
    payload_bytes_max: usize,
    /// Time until a client must have entered a namespace.
    connect_timeout: Duration,
    namespaces: Namespaces,
    /// Where a namespace reads them.
    tokens: Option<Arc<Tokens>>,
    /// Where there is an application to ask and tell.
    webhooks: Option<Arc<Webhooks>>,
    /// Where users' sockets are limited.
    quota: Option<Arc<Quota>>,
    member_answers: MemberAnswers,
    rosters: Mutex<Rosters>,
    once: Once,
}

impl SocketIo {
    /// Serves clients in these namespaces, by these rules.
    pub fn new(
        config: &crate::socketio::config::Config<'_>,
        (hub, cluster): (Arc<Hub>, Arc<Cluster>),
        ids: Arc<IdGenerator>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let quota = Quota::new(config.limits.sockets_per_user, &cluster);
        Self {
            hub,
            quota,
            cluster,
            ids,
            metrics,
            limits: config.limits.clone(),
            payload_bytes_max: config.engine.max_payload.0,
            connect_timeout: config.engine.connect_timeout.0,
            namespaces: Namespaces::new(config.namespaces, config.limits.pattern_namespaces),
            tokens: None,
            webhooks: None,
            member_answers: MemberAnswers::default(),
            rosters: Mutex::new(Rosters::new()),
            once: Once::default(),
        }
    }

    /// Judges clients' tokens by these keys.
    #[must_use]
    pub fn reading(mut self, tokens: Option<Arc<Tokens>>) -> Self {
        self.tokens = tokens;
        self
    }

    /// Asks and tells the application.
    #[must_use]
    pub fn calling(mut self, webhooks: Option<Arc<Webhooks>>) -> Self {
        self.webhooks = webhooks;
        self
    }

    /// What keeps the counts of users' sockets, for as long as it is polled; `None` where they are not limited.
    pub fn keep_counts(&self) -> Option<impl Future<Output = ()> + Send + 'static + use<>> {
        self.quota.clone().map(Quota::keep)
    }

    /// Events a second that a socket may send, and how many at once. A rate of 0 is none.
    fn events_limit(&self) -> (u32, u32) {
        let (rate, burst) = (self.limits.events_per_second, self.limits.events_burst);
        (rate, if burst == 0 { rate } else { burst })
    }
}
