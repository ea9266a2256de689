//! One request on its way to the node that it is for, and the answer back.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tracing::debug;

use super::link::{self, Connection, Link};
use super::seal::{Client, Purpose};
use super::tunnel::{self, End};
use super::{Forwarder, Unreachable, is_disbelief};
use crate::engine;
use crate::gate::Gate;
use crate::http::{self, Body, Lease};
use crate::metrics::{Forwarded, Metrics};
use crate::protocol::ids::Sid;
use crate::stream::Stream;

/// What every header begins with that is for gateways alone.
const OURS: &str = "roomcast-";

/// Headers of one connection, and those that only we may say: the client's host and address are in the seal.
const NOT_PASSED_ON: [HeaderName; 11] = [
    header::CONNECTION,
    header::EXPECT,
    header::FORWARDED,
    header::HOST,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Time for an owner to say what becomes of an upgrade.
const UPGRADE_PATIENCE: Duration = Duration::from_secs(5);

/// Time after which an owner is told again to let a poll go.
const RELEASE_INTERVAL: Duration = Duration::from_millis(200);

/// The open way to another node.
#[derive(Debug)]
pub struct Way {
    forwarder: Arc<Forwarder>,
    link: Arc<Link>,
    connection: Connection,
}

impl Way {
    pub(super) fn new(forwarder: Arc<Forwarder>, link: Arc<Link>, connection: Connection) -> Self {
        Self {
            forwarder,
            link,
            connection,
        }
    }

    /// Has a request answered by the other node. `sid` where it is for a session, and `lease` counts the client's
    /// connection.
    ///
    /// # Errors
    /// When the node is not there any more, or does not believe us.
    pub async fn forward(
        self,
        request: Request<Incoming>,
        client: &Client,
        sid: Option<Sid>,
        lease: Arc<Lease>,
    ) -> Result<Response<Body>, Unreachable> {
        let mut outcome = Outcome {
            metrics: Arc::clone(&self.forwarder.metrics),
            is_known: false,
        };
        let answered = if engine::is_upgrade(&request) {
            self.tunnel(request, client, sid, lease).await
        } else {
            self.ask(request, client, sid).await
        };
        match answered {
            Some(response) if is_disbelief(&response) => {
                outcome.is(Forwarded::Refused);
                self.link.distrusted(&self.connection).await;
                Err(Unreachable)
            }
            Some(response) => {
                outcome.is(Forwarded::Answered);
                Ok(response)
            }
            None => {
                outcome.is(Forwarded::Broken);
                Err(Unreachable)
            }
        }
    }

    async fn ask(&self, request: Request<Incoming>, client: &Client, sid: Option<Sid>) -> Option<Response<Body>> {
        let (passage, ending) = self.forwarder.passing.enter();
        let is_poll = request.method() == Method::GET;
        let (mut parts, body) = request.into_parts();
        parts.uri = link::uri(parts.uri.path_and_query()?.as_str());
        parts.version = hyper::Version::HTTP_2;
        strip(&mut parts.headers);
        let mut request = Request::from_parts(parts, Body::Right(body));
        let secrets = &self.forwarder.secrets;
        self.connection.seal(&mut request, Purpose::Request, client, secrets)?;
        let mut sender = self.connection.sender.clone();
        let answering = async {
            match sender.try_send_request(request).await {
                Ok(response) => Some(response),
                // The link was closed before the request left by it: once more, by a new one.
                Err(mut error) => {
                    debug!("a request was not answered by its owner: {}", error.error());
                    let request = error.take_message()?;
                    let mut connection = self.link.connection(secrets).await?;
                    connection.sender.send_request(request).await.ok()
                }
            }
        };
        let releasing = self.released(sid.filter(|_| is_poll), ending);
        let response = tokio::select! {
            response = answering => response?,
            never = releasing => match never {},
        };
        drop(passage);
        Some(response.map(Body::Right))
    }

    /// Waits until this node leaves, and lets the owner answer the poll then: again and again, as our word may come to it
    /// before the poll does.
    async fn released(&self, sid: Option<Sid>, ending: oneshot::Receiver<()>) -> std::convert::Infallible {
        if let (Ok(()), Some(sid)) = (ending.await, sid) {
            loop {
                self.link.tell(Purpose::Release, &sid, &self.forwarder.secrets).await;
                tokio::time::sleep(RELEASE_INTERVAL).await;
            }
        }
        std::future::pending().await
    }

    /// Passes an upgrade on, and then what comes both ways.
    async fn tunnel(
        &self,
        mut request: Request<Incoming>,
        client: &Client,
        sid: Option<Sid>,
        lease: Arc<Lease>,
    ) -> Option<Response<Body>> {
        let (passage, ending) = self.forwarder.passing.enter();
        let ours = hyper::upgrade::on(&mut request);
        let (mut parts, _) = request.into_parts();
        strip(&mut parts.headers);
        parts
            .headers
            .insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        parts
            .headers
            .insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        parts.headers.insert(header::HOST, HeaderValue::from_static("roomcast"));
        parts.uri = parts.uri.path_and_query()?.as_str().parse().ok()?;
        let mut request = Request::from_parts(parts, http::body(Bytes::new()));
        self.connection
            .seal(&mut request, Purpose::Request, client, &self.forwarder.secrets)?;
        let stream = self.link.dial().await?;
        let (mut sender, connection) = http1::handshake::<_, Body>(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection.with_upgrades());
        let answering = tokio::time::timeout(UPGRADE_PATIENCE, sender.send_request(request));
        let mut response = answering.await.ok()?.ok()?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            if !is_disbelief(&response) {
                strip(response.headers_mut());
            }
            return Some(response.map(Body::Right));
        }
        let theirs = hyper::upgrade::on(&mut response);
        let (forwarder, link) = (Arc::clone(&self.forwarder), Arc::clone(&self.link));
        tokio::spawn(async move {
            let joined = async {
                let client = ours.await.ok()?.downcast::<TokioIo<Gate>>().ok()?;
                let owner = theirs.await.ok()?.downcast::<TokioIo<TcpStream>>().ok()?;
                let client = End {
                    stream: client.io.into_inner().into_stream(),
                    early: client.read_buf.to_vec(), // not `into`: that would keep hyper's buffer
                };
                let owner = End {
                    stream: Stream::Tcp(owner.io.into_inner()),
                    early: owner.read_buf.to_vec(),
                };
                Some((client, owner))
            };
            if let Some((client, owner)) = joined.await {
                forwarder.metrics.forwarded_connections.inc();
                carry((client, owner), sid, ending, (&link, &forwarder)).await;
                forwarder.metrics.forwarded_connections.dec();
            }
            drop((passage, lease));
        });
        Some(response.map(|_| http::body(Bytes::new())))
    }
}

/// Carries bytes until both sides have ended. When this node leaves, the owner ends the session; where it cannot be told
/// which, it sees the end of what the client says.
async fn carry(
    (client, owner): (End, End),
    sid: Option<Sid>,
    ending: oneshot::Receiver<()>,
    (link, forwarder): (&Link, &Forwarder),
) {
    let (hang_up, hung_up) = oneshot::channel();
    let ends = async {
        if ending.await.is_ok() {
            let is_told = match &sid {
                Some(sid) => Box::pin(link.tell(Purpose::End, sid, &forwarder.secrets)).await,
                None => false,
            };
            if !is_told {
                let _ = hang_up.send(());
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = tunnel::join(client, owner, hung_up) => {}
        () = ends => {}
    }
}

/// Counts how a request ended, also where its client did not wait for that.
struct Outcome {
    metrics: Arc<Metrics>,
    is_known: bool,
}

impl Outcome {
    fn is(&mut self, result: Forwarded) {
        self.is_known = true;
        self.metrics.forwarded(result);
    }
}

impl Drop for Outcome {
    fn drop(&mut self) {
        if !self.is_known {
            self.metrics.forwarded(Forwarded::Aborted);
        }
    }
}

/// Removes what is not for the other side of this node.
fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|names| names.to_str().ok())
        .flat_map(|names| names.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let ours = headers.keys().filter(|name| {
        let name = name.as_str();
        name.starts_with(OURS) || name.starts_with("x-forwarded-")
    });
    let ours: Vec<HeaderName> = ours.cloned().collect();
    for name in NOT_PASSED_ON.iter().chain(&named).chain(&ours) {
        headers.remove(name);
    }
}
