//! From a request to a session: versions, transports, origins, and the protocol's own errors.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::body::Incoming;
use hyper::header::{HOST, HeaderValue, ORIGIN, SET_COOKIE, USER_AGENT};
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response};
use tracing::debug;

use super::Engine;
use super::admission;
use super::config::TransportName;
use super::directory::{Entry, Mail, Mailbox};
use super::origin::{self, Verdict};
use super::query::Query;
use super::refusal::Refusal;
use super::requests::{self, Asker};
use super::session::Session;
use super::websocket::{self, Opened};
use crate::http::{Body, Lease};
use crate::metrics::{Handshake, Transport};
use crate::protocol::Version;
use crate::protocol::encoded::WebSocketForm;
use crate::protocol::ids::Sid;
use crate::protocol::payload::PayloadForm;

/// Packets in one answer to a poll. Far above what waits in practice; it bounds one encoding.
const PACKETS_PER_POLL_MAX: usize = 1024;

/// The same for python-engineio's clients, which refuse an answer with more.
pub(super) const PACKETS_PER_POLL_MAX_PYTHON: usize = 16;

/// Where a request comes from.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The client's address.
    pub address: IpAddr,
    /// It asked by TLS, as a trusted proxy says.
    pub is_secure: bool,
    /// Counts the connection, which a WebSocket takes along.
    pub lease: Arc<Lease>,
}

/// A client that was let in.
#[derive(Debug)]
pub(super) struct Newcomer {
    pub(super) version: Version,
    pub(super) address: IpAddr,
    pub(super) admitted: admission::Admitted,
    /// What is kept of its handshake.
    pub(super) record: Option<Arc<str>>,
    /// The token that came with it.
    pub(super) token: Option<Box<str>>,
}

/// What became of a request.
#[derive(Debug)]
pub struct Handled {
    /// The answer.
    pub response: Response<Body>,
    /// What begins once the answer is on its way.
    pub opening: Option<Opening>,
}

/// A session that begins, or a WebSocket on its way to one.
#[derive(Debug)]
pub struct Opening(Kind);

#[derive(Debug)]
enum Kind {
    Polling(Box<Session>),
    WebSocket {
        engine: Arc<Engine>,
        sid: Sid,
        upgrade: OnUpgrade,
        form: WebSocketForm,
        client: Newcomer,
        lease: Arc<Lease>,
    },
    Probe {
        entry: Entry,
        mailbox: Arc<Mailbox>,
        upgrade: OnUpgrade,
        form: WebSocketForm,
        lease: Arc<Lease>,
    },
    /// For a session that has its WebSocket already: opened and closed again, as Node does.
    Surplus {
        upgrade: OnUpgrade,
        form: WebSocketForm,
        lease: Arc<Lease>,
    },
}

impl Engine {
    /// Answers a request below the engine's path, of which this is the query.
    pub async fn handle(self: &Arc<Self>, mut request: Request<Incoming>, query: &Query, peer: Peer) -> Handled {
        let is_upgrade = websocket::is_upgrade(&request);
        let verdict = self.origins.judge(request.headers(), query.jsonp.is_some());
        let mut handled = if request.method() == Method::OPTIONS {
            match verdict {
                Verdict::Refused => Handled::refuse(Refusal::Forbidden, false),
                _ => Handled::answer(origin::preflight(request.headers())),
            }
        } else {
            match self.admit(&request, query, &verdict, is_upgrade) {
                Err(refusal) => {
                    debug!(
                        address = %peer.address,
                        origin = ?request.headers().get(ORIGIN),
                        host = ?request.headers().get(HOST),
                        why = refusal.message(),
                        "request refused"
                    );
                    if query.sid.is_none() {
                        self.metrics
                            .handshake(query.transport.map(label), query.version, refusal.result());
                    }
                    Handled::refuse(refusal, is_upgrade)
                }
                Ok(Admitted::Handshake(version, transport)) => match self.admission.admit(peer.address) {
                    Ok(admitted) => {
                        let client = Newcomer {
                            version,
                            address: peer.address,
                            admitted,
                            record: self.record(&request, &peer),
                            token: self.token(&request),
                        };
                        match transport {
                            TransportName::Polling => self.open_polling(&request, query, client),
                            TransportName::Websocket => self.open_websocket(&mut request, query, client, peer.lease),
                        }
                    }
                    Err(limit) => {
                        debug!(address = %peer.address, limit = limit.as_str(), "handshake refused");
                        self.metrics
                            .handshake(Some(label(transport)), Some(version), Handshake::Unavailable);
                        Handled::refuse(Refusal::Unavailable, is_upgrade)
                    }
                },
                Ok(Admitted::Probe(entry)) => self.probe(&mut request, query, entry, peer.lease),
                Ok(Admitted::Request(entry, mailbox)) => {
                    Handled::answer(requests::answer(self, request, query, &entry, &mailbox).await)
                }
            }
        };
        origin::add_headers(&mut handled.response, &verdict);
        handled
    }

    /// Checks a request in Node's order.
    fn admit<B>(
        &self,
        request: &Request<B>,
        query: &Query,
        verdict: &Verdict,
        is_upgrade: bool,
    ) -> Result<Admitted, Refusal> {
        let transport = query
            .transport
            .filter(|transport| self.config.transports.contains(transport));
        let transport = transport.ok_or(Refusal::UnknownTransport)?;
        match verdict {
            Verdict::Invalid => return Err(Refusal::BadRequest),
            Verdict::Refused => return Err(Refusal::Forbidden),
            Verdict::NoOrigin | Verdict::Allowed(_) => {}
        }
        match &query.sid {
            Some(sid) => self.admit_to_session(sid, query, transport, (is_upgrade, request.method() == Method::GET)),
            None => self.admit_handshake(request, query, transport, is_upgrade),
        }
    }

    /// `is` says whether the request is an upgrade, which only a GET may ask for, and whether it is a GET.
    fn admit_to_session(
        &self,
        sid: &str,
        query: &Query,
        transport: TransportName,
        (is_upgrade, is_get): (bool, bool),
    ) -> Result<Admitted, Refusal> {
        let is_poll = is_get && !is_upgrade;
        let entry = Sid::parse(sid)
            .and_then(|sid| self.directory.get(&sid))
            .filter(|entry| entry.mailbox.as_ref().is_none_or(|mailbox| mailbox.admits(is_poll)))
            .ok_or(Refusal::UnknownSession)?;
        if query.version != Some(entry.version) {
            return Err(Refusal::BadRequest);
        }
        match (transport, &entry.mailbox) {
            (TransportName::Websocket, _) if is_upgrade && is_get => Ok(Admitted::Probe(entry)),
            (TransportName::Polling, Some(mailbox)) if entry.outbox.socket().is_none() && !is_upgrade => {
                let mailbox = Arc::clone(mailbox);
                Ok(Admitted::Request(entry, mailbox))
            }
            _ => Err(Refusal::BadRequest),
        }
    }

    fn admit_handshake<B>(
        &self,
        request: &Request<B>,
        query: &Query,
        transport: TransportName,
        is_upgrade: bool,
    ) -> Result<Admitted, Refusal> {
        if request.method() != Method::GET {
            return Err(Refusal::BadMethod);
        }
        if (transport == TransportName::Websocket) != is_upgrade {
            return Err(Refusal::BadRequest);
        }
        let version = query
            .version
            .filter(|version| *version == Version::V4 || self.config.eio3);
        let version = version.ok_or(Refusal::UnsupportedProtocol)?;
        if self.refuses_handshakes.load(Ordering::Relaxed) || !self.is_available.load(Ordering::Relaxed) {
            return Err(Refusal::Unavailable);
        }
        Ok(Admitted::Handshake(version, transport))
    }

    fn open_polling(self: &Arc<Self>, request: &Request<Incoming>, query: &Query, client: Newcomer) -> Handled {
        let version = client.version;
        let Ok(sid) = self.ids.next() else {
            return Handled::refuse(Refusal::Unavailable, false);
        };
        let agent = request.headers().get(USER_AGENT);
        let agent = agent.and_then(|agent| agent.to_str().ok()).unwrap_or_default();
        let is_python = agent.to_ascii_lowercase().contains("python");
        let packets_max = if is_python {
            PACKETS_PER_POLL_MAX_PYTHON
        } else {
            PACKETS_PER_POLL_MAX
        };
        let text_only = query.base64 || query.jsonp.is_some();
        let form = PayloadForm {
            version,
            text_only,
            binary_only: query.is_ancient && !text_only,
            double_utf8: false,
            msgpack: false,
        };
        let session = Session::polling(Arc::clone(self), sid, form, packets_max, client);
        let payload = session.first_answer(form);
        let mut response = requests::payload_response(Asker::of(self, request.headers()), query, payload);
        if !self.config.cookie.is_empty() {
            let cookie = format!(
                "{}={}; Path=/; HttpOnly; SameSite=Lax",
                self.config.cookie,
                sid.as_str()
            );
            if let Ok(cookie) = HeaderValue::from_str(&cookie) {
                response.headers_mut().insert(SET_COOKIE, cookie);
            }
        }
        self.metrics
            .handshake(Some(Transport::Polling), Some(version), Handshake::Accepted);
        Handled {
            response,
            opening: Some(Opening(Kind::Polling(session))),
        }
    }

    fn open_websocket(
        self: &Arc<Self>,
        request: &mut Request<Incoming>,
        query: &Query,
        client: Newcomer,
        lease: Arc<Lease>,
    ) -> Handled {
        let version = client.version;
        let Ok(sid) = self.ids.next() else {
            return Handled::refuse(Refusal::Unavailable, true);
        };
        let Some((response, upgrade)) = websocket::accept(request) else {
            self.metrics
                .handshake(Some(Transport::WebSocket), Some(version), Handshake::BadRequest);
            return Handled::refuse(Refusal::BadRequest, true);
        };
        self.metrics
            .handshake(Some(Transport::WebSocket), Some(version), Handshake::Accepted);
        let form = websocket_form(version, query);
        let engine = Arc::clone(self);
        Handled {
            response,
            opening: Some(Opening(Kind::WebSocket {
                engine,
                sid,
                upgrade,
                form,
                client,
                lease,
            })),
        }
    }

    fn probe(&self, request: &mut Request<Incoming>, query: &Query, entry: Entry, lease: Arc<Lease>) -> Handled {
        let Some((response, upgrade)) = websocket::accept(request) else {
            return Handled::refuse(Refusal::BadRequest, true);
        };
        let form = websocket_form(entry.version, query);
        let kind = match &entry.mailbox {
            Some(mailbox) if entry.outbox.socket().is_none() => {
                let mailbox = Arc::clone(mailbox);
                Kind::Probe {
                    entry,
                    mailbox,
                    upgrade,
                    form,
                    lease,
                }
            }
            _ => Kind::Surplus { upgrade, form, lease },
        };
        Handled {
            response,
            opening: Some(Opening(kind)),
        }
    }
}

/// What a checked request is.
enum Admitted {
    Handshake(Version, TransportName),
    Probe(Entry),
    Request(Entry, Arc<Mailbox>),
}

impl Handled {
    fn answer(response: Response<Body>) -> Self {
        Self {
            response,
            opening: None,
        }
    }

    fn refuse(refusal: Refusal, is_upgrade: bool) -> Self {
        Self::answer(refusal.response(is_upgrade))
    }
}

impl Opening {
    /// Waits until the connection is what it becomes. A session to be served, or nothing more to do.
    pub async fn finish(self) -> Option<Box<Session>> {
        match self.0 {
            Kind::Polling(session) => Some(session),
            Kind::WebSocket {
                engine,
                sid,
                upgrade,
                form,
                client,
                lease,
            } => {
                let opened = Opened::wait(upgrade, form, lease).await?;
                Some(Session::websocket(engine, sid, opened, client))
            }
            Kind::Probe {
                entry,
                mailbox,
                upgrade,
                form,
                lease,
            } => {
                let opened = Opened::wait(upgrade, form, lease).await?;
                mailbox.put(Mail::Probe(Box::new(opened)));
                entry.outbox.wake();
                None
            }
            Kind::Surplus { upgrade, form, lease } => {
                let opened = Opened::wait(upgrade, form, lease).await?;
                let _ = opened.socket.try_write(websocket::close_frame(None).frames(form));
                None
            }
        }
    }
}

fn label(transport: TransportName) -> Transport {
    match transport {
        TransportName::Polling => Transport::Polling,
        TransportName::Websocket => Transport::WebSocket,
    }
}

fn websocket_form(version: Version, query: &Query) -> WebSocketForm {
    WebSocketForm {
        version,
        base64: query.base64,
        double_utf8: query.is_eio2,
        msgpack: false,
    }
}
