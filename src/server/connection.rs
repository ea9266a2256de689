//! One connection from its first byte: who is there, then HTTP through the gate, until it becomes a WebSocket.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::{debug, warn};

use super::Parts;
use super::proxy_protocol::{self, V2_BYTES_MAX};
use crate::gate::Gate;
use crate::http::{HEAD_BYTES_MAX, Lease};
use crate::proxies::Hop;
use crate::stream::Stream;

/// Time for the head of a request, for the next request on a kept connection, and for a PROXY header.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Time between two complaints about PROXY headers.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(1);

/// Which port a connection came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Port {
    Clients,
    Admin,
}

/// Serves one connection, until it becomes a WebSocket or the server is gone.
pub(super) async fn serve(
    stream: Stream,
    peer: Hop,
    parts: Arc<Parts>,
    via: (Port, Arc<Lease>),
    mut closed: watch::Receiver<()>,
) {
    let serving = async {
        if !(parts.proxy_protocol && via.0 == Port::Clients) {
            return serve_http(Gate::new(stream, Vec::new()), peer, &parts, via).await;
        }
        match tokio::time::timeout(HEAD_TIMEOUT, read_proxy_header(&stream, peer)).await {
            Ok(Some((client, early))) => serve_http(Gate::new(stream, early), client, &parts, via).await,
            Ok(None) | Err(_) => parts.strangers.complain(peer),
        }
    };
    tokio::select! {
        () = serving => {}
        _ = closed.changed() => {} // the sender is gone
    }
}

/// Serves the requests of a connection.
async fn serve_http(gate: Gate, peer: Hop, parts: &Arc<Parts>, (port, lease): (Port, Arc<Lease>)) {
    let service = service_fn(|request| {
        let (parts, lease) = (Arc::clone(parts), Arc::clone(&lease));
        async move { Ok::<_, Infallible>(parts.respond(request, peer, port, lease).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .half_close(false)
        .serve_connection(TokioIo::new(gate), service)
        .with_upgrades();
    if let Err(error) = serving.await {
        debug!(%peer, "connection ended: {error}");
    }
}

/// Reads the PROXY header: who is there, and what came behind it. `None` where there is no good one.
async fn read_proxy_header(stream: &Stream, peer: Hop) -> Option<(Hop, Vec<u8>)> {
    let mut buffer = vec![0; V2_BYTES_MAX];
    let mut length = 0;
    loop {
        poll_fn(|cx| stream.poll_read_ready(cx)).await.ok()?;
        match stream.try_read(&mut buffer[length..]) {
            Ok(0) => return None,
            Ok(count) => length += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(_) => return None,
        }
        if let Some(header) = proxy_protocol::parse(&buffer[..length]).ok()? {
            let client = header.source.map_or(peer, Hop::Address);
            return Some((client, buffer[header.length..length].to_vec()));
        }
    }
}

/// Counts connections that should have begun with a PROXY header, and complains about them at most once a second.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    count: AtomicU64,
    last_complaint: Mutex<Option<Instant>>,
}

impl Strangers {
    fn complain(&self, peer: Hop) {
        let total = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let mut last = self.last_complaint.lock();
        if last.is_none_or(|last| last.elapsed() > COMPLAINT_INTERVAL) {
            *last = Some(Instant::now());
            warn!(%peer, total, "a connection without a PROXY header was closed");
        }
    }
}
