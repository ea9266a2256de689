//! The connection to one other node, by which it is asked to answer requests: HTTP/2, so that thousands of parked polls
//! need one.
//!
//! It is opened when it is needed first. Who asks while it cannot be opened is told so at once, not after a wait of its
//! own. Nothing here is a client's: a link must never break because of what one of them does.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use compact_str::CompactString;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::header::HeaderMap;
use hyper::{Method, Request, Response, StatusCode, body::Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::seal::{Client, Purpose, SEAL, Secrets, Subject};
use crate::http::{self, Body};
use crate::protocol::ids::Sid;
use crate::stream;

/// Name of the header in which a node that is not believed says what time it is.
pub(super) const TIME: &str = "roomcast-time";

/// Name of the header in which a node that is greeted says who it is.
pub(super) const NODE: &str = "roomcast-node";

/// Time for a connection to be there, and believed.
const PATIENCE: Duration = Duration::from_secs(1);

/// Time after which a node that could not be reached is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Bytes of one body that may be under way: what one stalled client can make a node hold.
pub const STREAM_WINDOW: u32 = 256 * 1024;

/// Bytes of all bodies together: as many as HTTP/2 can say, so that stalled clients do not hold up the others.
pub const LINK_WINDOW: u32 = (1 << 31) - 1;

/// Requests that clients broke off and whose answers may still come: an answer to one that is forgotten counts as an
/// error, and after a thousand of these HTTP/2 gives the link up.
const ABORTS_MAX: usize = 100_000;

/// How often a link is tried, and how long that may take, until it is taken for broken: as for heartbeats.
const PING_INTERVAL: Duration = Duration::from_secs(1);
const PING_TIMEOUT: Duration = Duration::from_secs(4);

/// The way to another node.
#[derive(Debug)]
pub(super) struct Link {
    /// What its ids begin with.
    tag: CompactString,
    address: CompactString,
    state: AsyncMutex<State>,
}

#[derive(Debug)]
enum State {
    Idle,
    Open(Connection),
    Failed(Instant),
}

/// An open link.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) sender: SendRequest<Body>,
    /// Seconds by which the other node's clock is ahead of ours.
    offset: i64,
    opened: Instant,
}

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("it did not answer in a second")]
    Late,
    #[error("there is no secret to show")]
    NoSecret,
    #[error("it does not believe this node: do both have the same `cluster.secret`?")]
    Denied,
    #[error("it answers {0}: is it a gateway?")]
    Strange(StatusCode),
}

impl Link {
    pub(super) fn new(tag: &str, address: &str) -> Self {
        Self {
            tag: tag.into(),
            address: address.into(),
            state: AsyncMutex::new(State::Idle),
        }
    }

    /// Where it leads.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// The open link; `None` where it cannot be opened.
    pub(super) async fn connection(&self, secrets: &Mutex<Secrets>) -> Option<Connection> {
        let mut state = self.state.lock().await; // one opens it, the others wait for what comes of that
        let was_failing = match &*state {
            State::Open(connection) if !connection.sender.is_closed() => return Some(connection.clone()),
            State::Failed(at) if at.elapsed() < RETRY => return None,
            State::Failed(_) => true,
            State::Idle | State::Open(_) => false,
        };
        let opening = tokio::time::timeout(PATIENCE, self.open(secrets)).await;
        match opening.unwrap_or(Err(Failure::Late)) {
            Ok(connection) => {
                if was_failing {
                    info!(
                        node = &*self.tag,
                        address = &*self.address,
                        "a gateway is reached again"
                    );
                }
                *state = State::Open(connection.clone());
                Some(connection)
            }
            Err(failure) => {
                *state = State::Failed(Instant::now());
                let (node, address) = (&*self.tag, &*self.address);
                if was_failing {
                    debug!(node, address, "a gateway is still not reached: {failure}");
                } else {
                    warn!(
                        node,
                        address, "a gateway is not reached by requests for its sessions: {failure}"
                    );
                }
                None
            }
        }
    }

    /// The other node did not believe a request by this connection: its clock was set, or the secret was changed. One
    /// that was opened since stays.
    pub(super) async fn distrusted(&self, by: &Connection) {
        let mut state = self.state.lock().await;
        if matches!(&*state, State::Open(current) if current.opened == by.opened) {
            *state = State::Idle;
        }
    }

    /// Tells the other node something about one of its sessions; whether it has heard.
    pub(super) async fn tell(&self, purpose: Purpose, sid: &Sid, secrets: &Mutex<Secrets>) -> bool {
        let Some(mut connection) = self.connection(secrets).await else {
            return false;
        };
        let target = format!("/?sid={}", sid.as_str());
        let said = connection.say(purpose, &target, secrets);
        let said = tokio::time::timeout(PATIENCE, said).await;
        matches!(said, Ok(Ok(response)) if response.status() == StatusCode::NO_CONTENT)
    }

    /// A bare connection, for one tunnel.
    pub(super) async fn dial(&self) -> Option<TcpStream> {
        let dialled = tokio::time::timeout(PATIENCE, connect(&self.address)).await;
        match dialled {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err(error)) => {
                debug!(node = &*self.tag, "no connection for a tunnel: {error}");
                None
            }
            Err(_) => None,
        }
    }

    async fn open(&self, secrets: &Mutex<Secrets>) -> Result<Connection, Failure> {
        let stream = connect(&self.address).await?;
        let (sender, driver) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(LINK_WINDOW)
            .max_send_buf_size(STREAM_WINDOW as usize)
            .max_concurrent_reset_streams(ABORTS_MAX)
            .reset_stream_duration(PING_INTERVAL + PING_TIMEOUT)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(stream))
            .await?;
        let node = self.tag.clone();
        tokio::spawn(async move {
            if let Err(error) = driver.await {
                debug!(node = &*node, "the link to a gateway broke: {error}");
            }
        });
        let mut connection = Connection {
            sender,
            offset: 0,
            opened: Instant::now(),
        };
        for _ in 0..2 {
            let response = connection.say(Purpose::Hello, "/", secrets).await?;
            match response.status() {
                StatusCode::NO_CONTENT => {
                    self.recognise(response.headers());
                    return Ok(connection);
                }
                StatusCode::UNAUTHORIZED => connection.offset = offset(response.headers()).ok_or(Failure::Denied)?,
                status => return Err(Failure::Strange(status)),
            }
        }
        Err(Failure::Denied)
    }

    /// Who answers should be who was asked for. Sessions of another one are unknown there, which its answers say, so the
    /// link is used all the same.
    fn recognise(&self, headers: &HeaderMap) {
        let there = headers.get(NODE).and_then(|tag| tag.to_str().ok());
        if let Some(there) = there.filter(|there| *there != self.tag) {
            warn!(
                node = &*self.tag,
                address = &*self.address,
                there,
                "another gateway is where one says to be: was that restarted, or is its cluster.advertise wrong?"
            );
        }
    }
}

impl Connection {
    /// Seals a request by the other node's clock.
    pub(super) fn seal<B>(
        &self,
        request: &mut Request<B>,
        purpose: Purpose,
        client: &Client,
        secrets: &Mutex<Secrets>,
    ) -> Option<()> {
        let subject = Subject {
            method: request.method().as_str(),
            target: request.uri().path_and_query()?.as_str(),
        };
        let t = now().saturating_add_signed(self.offset);
        let seal = secrets
            .lock()
            .seal(purpose, client, subject, (t, std::time::Instant::now()))?;
        request.headers_mut().insert(SEAL, seal);
        Some(())
    }

    /// Asks something of our own.
    async fn say(
        &mut self,
        purpose: Purpose,
        target: &str,
        secrets: &Mutex<Secrets>,
    ) -> Result<Response<Incoming>, Failure> {
        let mut request = Request::new(http::body(Bytes::new()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri(target);
        let nobody = Client {
            address: std::net::Ipv4Addr::UNSPECIFIED.into(),
            is_secure: false,
            host: None,
        };
        self.seal(&mut request, purpose, &nobody, secrets)
            .ok_or(Failure::NoSecret)?;
        Ok(self.sender.send_request(request).await?)
    }
}

/// The target of a request by HTTP/2, which wants an authority; the client's host is in the seal.
pub(super) fn uri(target: &str) -> hyper::Uri {
    format!("http://roomcast{target}").parse().unwrap_or_default()
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// By how much another node's clock is ahead, by what it said in its answer.
fn offset(headers: &HeaderMap) -> Option<i64> {
    let theirs: u64 = headers.get(TIME)?.to_str().ok()?.parse().ok()?;
    theirs.checked_signed_diff(now())
}

async fn connect(address: &str) -> std::io::Result<TcpStream> {
    let socket = TcpStream::connect(address).await?;
    stream::watch(&socket)?;
    Ok(socket)
}
