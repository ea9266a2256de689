//! A client's life: the namespaces it enters, the rooms it joins, what its events do.

mod arguments;
mod client;
pub mod config;
mod connect;
mod event;
mod pattern;
mod rules;
mod values;

use std::sync::Arc;
use std::time::Duration;

pub use client::serve;

use crate::hub::Hub;
use crate::limits;
use crate::metrics::Metrics;
use crate::protocol::ids::IdGenerator;
use rules::Namespaces;

/// What all clients of a node share.
#[derive(Debug)]
pub struct SocketIo {
    hub: Arc<Hub>,
    ids: Arc<IdGenerator>,
    metrics: Arc<Metrics>,
    limits: limits::Config,
    /// Bytes of one message with its attachments.
    payload_bytes_max: usize,
    /// Time until a client must have entered a namespace.
    connect_timeout: Duration,
    namespaces: Namespaces,
}

impl SocketIo {
    /// Serves clients in these namespaces, by these rules.
    pub fn new(
        config: &crate::socketio::config::Config<'_>,
        hub: Arc<Hub>,
        ids: Arc<IdGenerator>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            hub,
            ids,
            metrics,
            limits: config.limits.clone(),
            payload_bytes_max: config.engine.max_payload.0,
            connect_timeout: config.engine.connect_timeout.0,
            namespaces: Namespaces::new(config.namespaces, config.limits.pattern_namespaces),
        }
    }
}
