//! The port of other gateways, by which they pass on requests for sessions that are here.
//!
//! ```text
//! PRI * HTTP/2.0   a link: polls, POSTs and what gateways ask of each other      one connection a gateway
//! GET … HTTP/1.1   an upgrade, whose connection becomes the client's WebSocket   one a WebSocket
//! ```
//!
//! Who cannot show the cluster's secret gets 401 and nothing else. What came by here is never passed on again.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::Notify;
use tracing::{debug, warn};

use super::Parts;
use super::connection::{Closing, Port, serve_http};
use crate::cluster::{Doubt, LINK_WINDOW, Purpose, STREAM_WINDOW, disbelieve, is_disbelief};
use crate::engine::{Peer, Query};
use crate::gate::{Gate, HEAD_TIMEOUT};
use crate::http::{self, Body, HEAD_BYTES_MAX, Lease};
use crate::proxies::Hop;
use crate::reason::Reason;
use crate::stream::Stream;

/// Requests that one gateway may have under way: it has a parked poll for each client that came to it.
const REQUESTS_MAX: u32 = 100_000;

/// Requests on a link that may be broken off for what breaks HTTP/2, in all: each is kept until the other side has read
/// so, which strangers need not do. Those of gateways break nothing but for bodies that come in late.
const RESETS_MAX: usize = 100_000;

/// Links that may be open: twice as many as gateways that are kept count of.
const LINKS_MAX: usize = 2_000;

/// Time for who opens a link to be believed; strangers must not keep gateways out.
const BELIEF_TIMEOUT: Duration = HEAD_TIMEOUT;

/// Requests that are refused on a link before one is believed. A gateway needs two, and the answers.
const DOUBTS_MAX: usize = 8;

/// Bytes of a head as HTTP/2 counts them before it is read. Its code makes the rarest bytes 28 bits long, and a head that
/// is refused for its length ends the link of all.
const CODED_HEAD_BYTES_MAX: u32 = 4 * HEAD_BYTES_MAX as u32;

/// How often a gateway that is silent is asked whether it is there, and how long it may take to answer.
const PING_INTERVAL: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// What a link begins with; what comes by HTTP/1.1 is a GET.
const LINK_BEGINS: u8 = b'P';

/// Serves a connection of another gateway.
pub(super) async fn serve(stream: Stream, peer: Hop, parts: &Arc<Parts>, closing: Closing) {
    let Ok(Some(first)) = tokio::time::timeout(HEAD_TIMEOUT, stream.peek()).await else {
        return;
    };
    if first == LINK_BEGINS {
        return serve_link(stream, peer, parts, closing).await;
    }
    if let Some(lease) = parts.lease(&stream) {
        let gate = Gate::new(stream, Vec::new());
        serve_http(gate, peer, parts, (Port::Peers, Arc::new(lease)), closing).await;
    }
}

async fn serve_link(stream: Stream, peer: Hop, parts: &Arc<Parts>, mut closing: Closing) {
    let Some(lease) = Lease::take(&parts.links, LINKS_MAX).map(Arc::new) else {
        return parts.suspicions.complain(|total| {
            warn!(%peer, total, "a link was refused: {LINKS_MAX} are open");
        });
    };
    let trust = Arc::<Trust>::default();
    let service = service_fn(|request| {
        let (parts, lease, trust) = (Arc::clone(parts), Arc::clone(&lease), Arc::clone(&trust));
        async move {
            let response = parts.respond_to_gateway(request, peer, lease).await;
            trust.answered(!is_disbelief(&response));
            Ok::<_, Infallible>(response)
        }
    });
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .max_concurrent_streams(REQUESTS_MAX)
        // Clients of another gateway may all leave at once: their polls are reset then, which is no attack.
        .max_pending_accept_reset_streams(Some(REQUESTS_MAX as usize))
        .max_local_error_reset_streams(Some(RESETS_MAX))
        .max_header_list_size(CODED_HEAD_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(LINK_WINDOW)
        .max_send_buf_size(STREAM_WINDOW as usize)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    let mut serving = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    let served = tokio::select! {
        served = &mut serving => served,
        () = trust.lost() => return debug!(%peer, "a link was closed: nothing that came by it was believed"),
        () = closing.begins() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        debug!(%peer, "the link of a gateway ended: {error}");
    }
}

/// What is thought of who opened a link.
#[derive(Debug, Default)]
struct Trust {
    is_earned: AtomicBool,
    doubts: AtomicUsize,
    /// Either it is earned, or there are too many doubts.
    decided: Notify,
}

impl Trust {
    /// A request was answered, as it was believed or because it was not.
    fn answered(&self, is_believed: bool) {
        let is_decided = if is_believed {
            !self.is_earned.swap(true, Ordering::Relaxed)
        } else {
            self.doubts.fetch_add(1, Ordering::Relaxed) + 1 == DOUBTS_MAX
        };
        if is_decided {
            self.decided.notify_one();
        }
    }

    /// Waits until it is clear that nobody is there who is believed; a gateway that was believed once stays.
    async fn lost(&self) {
        let _ = tokio::time::timeout(BELIEF_TIMEOUT, self.decided.notified()).await;
        if self.is_earned.load(Ordering::Relaxed) {
            std::future::pending().await
        }
    }
}

impl Parts {
    /// Answers a request that another gateway passed on, or its own.
    pub(super) async fn respond_to_gateway(
        self: &Arc<Self>,
        mut request: Request<Incoming>,
        from: Hop,
        lease: Arc<Lease>,
    ) -> Response<Body> {
        let (purpose, client) = match self.cluster.believe(&mut request) {
            Ok(believed) => believed,
            Err(doubt) => {
                self.distrust(from, doubt);
                return disbelieve();
            }
        };
        let query = Query::of(&request);
        match purpose {
            Purpose::Hello => return self.cluster.welcome(),
            Purpose::Release => {
                if let Some(sid) = query.session() {
                    self.engine.release(&sid);
                }
            }
            Purpose::End => {
                if let Some(sid) = query.session() {
                    self.engine.end(&sid, Reason::Draining);
                }
            }
            Purpose::Request => {
                let peer = Peer {
                    address: client.address,
                    is_secure: client.is_secure,
                    lease,
                };
                return self.engage(request, &query, peer).await;
            }
        }
        http::empty(StatusCode::NO_CONTENT)
    }

    fn distrust(&self, from: Hop, doubt: Doubt) {
        self.suspicions.complain(|total| {
            warn!(%from, total, "a request on the cluster's port was refused: {doubt}");
        });
    }
}
