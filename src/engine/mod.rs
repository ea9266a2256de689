//! Engine.IO: HTTP requests and WebSockets in, sessions out.
//!
//! Knows no namespaces and no rooms. A request goes in by [`Engine::handle`]; what comes out is the answer and, for a
//! handshake, a session to be served once the answer is sent.

mod admission;
pub mod config;
mod directory;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod goodbye;
mod handshake;
mod lifecycle;
mod origin;
mod outbox;
mod polling;
mod query;
mod record;
mod refusal;
mod requests;
mod session;
mod websocket;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::header::HeaderName;
use hyper::{Request, Response};
use serde_json::json;

pub use config::Config;
pub use directory::Directory;
pub use handshake::{Handled, Opening, Peer};
pub use outbox::Outbox;
pub use query::Query;
pub use record::token_in_query;
pub use session::{Event, Session};

use crate::http::Body;
use crate::limits;
use crate::metrics::Metrics;
use crate::protocol::encoded::Encoded;
use crate::protocol::ids::{IdGenerator, Sid};
use crate::reason::Reason;
use admission::Admission;
use directory::Mail;
use origin::Origins;
use refusal::Refusal;

/// Serves Engine.IO for one node.
#[derive(Debug)]
pub struct Engine {
    config: Config,
    outbox_bytes_max: usize,
    admission: Admission,
    origins: Origins,
    ids: Arc<IdGenerator>,
    directory: Directory,
    metrics: Arc<Metrics>,
    packets: Packets,
    refuses_handshakes: AtomicBool,
    is_available: AtomicBool,
    /// Headers of handshakes to keep a record of; `None` where nobody asks for records.
    recorded: Option<Box<[HeaderName]>>,
    /// Whether somebody asks for the tokens of handshakes.
    keeps_tokens: bool,
}

/// Packets that are always the same.
#[derive(Debug)]
struct Packets {
    close: Arc<Encoded>,
    ping: Arc<Encoded>,
    noop: Arc<Encoded>,
}

impl Engine {
    /// An engine that admits these origins, within these limits.
    pub fn new(
        config: Config,
        origins: &[String],
        limits: &limits::Config,
        ids: Arc<IdGenerator>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let packet = |text| Arc::new(Encoded::text(&[text]));
        Self {
            config,
            outbox_bytes_max: limits.outbox.0,
            admission: Admission::new(limits, Arc::clone(&metrics)),
            origins: Origins::new(origins),
            ids,
            directory: Directory::default(),
            metrics,
            packets: Packets {
                close: packet("1"),
                ping: packet("2"),
                noop: packet("6"),
            },
            refuses_handshakes: AtomicBool::new(false),
            is_available: AtomicBool::new(true),
            recorded: None,
            keeps_tokens: false,
        }
    }

    /// Keeps a record of each session's handshake, with these of its headers.
    #[must_use]
    pub fn recording(mut self, headers: Box<[HeaderName]>) -> Self {
        self.recorded = Some(headers);
        self
    }

    /// Keeps the token of each session's handshake.
    #[must_use]
    pub fn keeping_tokens(mut self) -> Self {
        self.keeps_tokens = true;
        self
    }

    /// The sessions of this node.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Whether handshakes are answered by 503 from now on; sessions go on.
    pub fn refuse_handshakes(&self, refuses: bool) {
        self.refuses_handshakes.store(refuses, Ordering::Relaxed);
    }

    /// Whether they are.
    pub fn refuses_handshakes(&self) -> bool {
        self.refuses_handshakes.load(Ordering::Relaxed)
    }

    /// Answers the poll that is parked for this session, if one is, so that the client's next one goes another way.
    pub fn release(&self, sid: &Sid) {
        if let Some(entry) = self.directory.get(sid)
            && let Some(mailbox) = &entry.mailbox
            && mailbox.put(Mail::Release)
        {
            entry.outbox.wake();
        }
    }

    /// Ends this session, if it is here.
    pub fn end(&self, sid: &Sid, reason: Reason) {
        if let Some(entry) = self.directory.get(sid) {
            entry.outbox.end(reason);
        }
    }

    /// Whether everything is there that new sessions need; while it is not, handshakes are answered by 503.
    pub fn set_available(&self, is_available: bool) {
        self.is_available.store(is_available, Ordering::Relaxed);
    }

    /// The packet that opens a session, its keys in Node's order.
    fn open_packet(&self, sid: &Sid, is_websocket: bool) -> Arc<Encoded> {
        let can_upgrade = !is_websocket && self.config.transports.contains(&config::TransportName::Websocket);
        let upgrades: &[&str] = if can_upgrade { &["websocket"] } else { &[] };
        let (interval, timeout) = (
            self.config.ping_interval.0.as_millis(),
            self.config.ping_timeout.0.as_millis(),
        );
        let text = format!(
            r#"0{{"sid":"{}","upgrades":{},"pingInterval":{interval},"pingTimeout":{timeout},"maxPayload":{}}}"#,
            sid.as_str(),
            json!(upgrades),
            self.config.max_payload.0
        );
        Arc::new(Encoded::text(&[&text]))
    }
}

/// Whether a request asks for a WebSocket as RFC 6455 wants it.
pub fn is_upgrade<B>(request: &Request<B>) -> bool {
    websocket::is_upgrade(request)
}

/// The answer to a request that cannot be served now: the client should come back in a moment.
pub fn unavailable(is_upgrade: bool) -> Response<Body> {
    Refusal::Unavailable.response(is_upgrade)
}

#[cfg(test)]
mod tests;
