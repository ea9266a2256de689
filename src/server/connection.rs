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
use crate::gate::{Gate, HEAD_TIMEOUT};
use crate::http::{HEAD_BYTES_MAX, Lease};
use crate::proxies::Hop;
use crate::stream::Stream;

/// Time for which a kept connection waits for its next request: longer than balancers keep theirs, so that they do not
/// send one into a connection that closes.
const KEPT_TIMEOUT: Duration = Duration::from_secs(75);

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
    let serving = http().serve_connection(TokioIo::new(gate), service).with_upgrades();
    if let Err(error) = serving.await {
        debug!(%peer, "connection ended: {error}");
    }
}

/// How HTTP is spoken. hyper's timer runs from the end of an answer to the end of the next head, and the gate watches the
/// head alone: one that begins in time has its own time.
fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(KEPT_TIMEOUT + HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .half_close(false);
    http
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

#[cfg(test)]
mod tests {
    use hyper::{Request, Response, body::Incoming};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixStream;
    use tokio::time::Instant;

    use super::*;
    use crate::http::Body;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    /// A connection to a server that answers everything with `body`, and the task that serves it.
    fn serve(body: &'static [u8]) -> (UnixStream, tokio::task::JoinHandle<hyper::Result<()>>) {
        let (client, server) = UnixStream::pair().unwrap();
        let gate = Gate::new(Stream::Unix(server), Vec::new());
        let service =
            service_fn(move |_: Request<Incoming>| async move { Ok::<_, Infallible>(Response::new(Body::from(body))) });
        (
            client,
            tokio::spawn(http().serve_connection(TokioIo::new(gate), service)),
        )
    }

    fn connect() -> UnixStream {
        serve(b"").0
    }

    /// Asks, and reads the answer.
    async fn ask(client: &mut UnixStream, request: &[u8]) {
        client.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            assert!(client.read_buf(&mut answer).await.unwrap() > 0, "closed");
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 "));
    }

    /// Seconds until the server ends the connection.
    async fn seconds_left(client: &mut UnixStream) -> u64 {
        let started = Instant::now();
        assert_eq!(client.read_to_end(&mut Vec::new()).await.unwrap(), 0, "nothing is said");
        started.elapsed().as_secs()
    }

    async fn pass(seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_its_time_from_its_first_byte_and_a_kept_connection_a_longer_one_before() {
        assert_eq!(seconds_left(&mut connect()).await, 10, "the first head, not begun");

        let mut half = connect();
        half.write_all(b"GET / HT").await.unwrap();
        pass(9).await;
        half.write_all(b"TP/1.1\r\n").await.unwrap();
        assert_eq!(
            seconds_left(&mut half).await,
            1,
            "from its first byte, not from its last"
        );

        let mut kept = connect();
        for _ in 0..3 {
            ask(&mut kept, REQUEST).await;
            pass(74).await;
        }
        kept.write_all(b"GET").await.unwrap();
        pass(9).await;
        ask(&mut kept, &REQUEST[3..]).await;
        assert_eq!(seconds_left(&mut kept).await, 85, "no head");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_given_up_where_nobody_takes_it_and_not_where_it_is_taken_slowly() {
        static LARGE: [u8; 4 << 20] = [b'x'; 4 << 20];
        let (mut client, server) = serve(&LARGE);
        client.write_all(REQUEST).await.unwrap();
        let (mut taken, mut buffer) = (0, vec![0; 256 << 10]);
        while taken < LARGE.len() / 2 {
            pass(29).await;
            taken += client.read(&mut buffer).await.unwrap();
            assert!(!server.is_finished(), "given up after {taken} bytes");
        }
        let started = Instant::now();
        assert!(server.await.unwrap().is_err());
        assert_eq!(started.elapsed().as_secs(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_kept_connection_that_begins_a_head_must_end_it_in_time() {
        let mut client = connect();
        ask(&mut client, REQUEST).await;
        pass(30).await;
        client.write_all(b"G").await.unwrap();
        assert_eq!(seconds_left(&mut client).await, 10);

        // Empty lines begin no head, and do not make the wait longer.
        let mut client = connect();
        for _ in 0..3 {
            pass(3).await;
            client.write_all(b"\r\n").await.unwrap();
        }
        assert_eq!(seconds_left(&mut client).await, 1);
    }
}
