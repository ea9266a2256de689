//! One connection from its first byte: who is there, then HTTP through the gate, until it becomes a WebSocket.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io::ErrorKind;
use std::pin::pin;
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
use super::peers;
use super::proxy_protocol::{self, V2_BYTES_MAX};
use crate::gate::{Gate, HEAD_TIMEOUT};
use crate::http::{HEAD_BYTES_MAX, Lease};
use crate::proxies::Hop;
use crate::stream::Stream;

/// Time for which a kept connection waits for its next request: longer than balancers keep theirs, so that they do not
/// send one into a connection that closes.
const KEPT_TIMEOUT: Duration = Duration::from_secs(75);

/// Time between two complaints of one kind.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(1);

/// Which port a connection came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Port {
    Clients,
    Peers,
    Admin,
}

/// What connections hear when the server goes: first that it is about to, which ends each after the request that it is
/// at, then that it is gone.
#[derive(Clone, Debug)]
pub(super) struct Closing(watch::Receiver<bool>);

impl Closing {
    pub(super) fn new(closing: &watch::Sender<bool>) -> Self {
        Self(closing.subscribe())
    }

    /// The server is about to go.
    pub(super) async fn begins(&mut self) {
        let _ = self.0.wait_for(|is_closing| *is_closing).await;
    }

    /// The server is gone.
    async fn ends(&mut self) {
        while self.0.changed().await.is_ok() {}
    }
}

/// Serves one connection, until it becomes a WebSocket or the server is gone.
pub(super) async fn serve(stream: Stream, peer: Hop, parts: Arc<Parts>, port: Port, closing: Closing) {
    let mut closed = closing.clone();
    let serving = async {
        if port == Port::Peers {
            return peers::serve(stream, peer, &parts, closing).await;
        }
        let lease = match port {
            Port::Clients => parts.lease(&stream),
            Port::Peers | Port::Admin => Some(Lease::free()), // operators are let in at any time
        };
        let Some(lease) = lease else { return };
        let via = (port, Arc::new(lease));
        if !(parts.proxy_protocol && port == Port::Clients) {
            return serve_http(Gate::new(stream, Vec::new()), peer, &parts, via, closing).await;
        }
        match tokio::time::timeout(HEAD_TIMEOUT, read_proxy_header(&stream, peer)).await {
            Ok(Some((client, early))) => serve_http(Gate::new(stream, early), client, &parts, via, closing).await,
            Ok(None) | Err(_) => parts.strangers.complain(|total| {
                warn!(%peer, total, "a connection without a PROXY header was closed");
            }),
        }
    };
    tokio::select! {
        () = serving => {}
        () = closed.ends() => {}
    }
}

/// Serves the requests of a connection.
pub(super) async fn serve_http(
    gate: Gate,
    peer: Hop,
    parts: &Arc<Parts>,
    (port, lease): (Port, Arc<Lease>),
    mut closing: Closing,
) {
    let service = service_fn(|request| {
        let (parts, lease) = (Arc::clone(parts), Arc::clone(&lease));
        async move { Ok::<_, Infallible>(parts.respond(request, peer, port, lease).await) }
    });
    let mut serving = pin!(http().serve_connection(TokioIo::new(gate), service).with_upgrades());
    let served = tokio::select! {
        served = &mut serving => served,
        () = closing.begins() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
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

/// Counts what is wrong with those who connect, and complains about it at most once a second.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    count: AtomicU64,
    last: Mutex<Option<Instant>>,
}

impl Complaints {
    /// One more; `complaint` is made with how many there were, unless there was one just now.
    pub(super) fn complain(&self, complaint: impl FnOnce(u64)) {
        let total = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let mut last = self.last.lock();
        let is_due = last.is_none_or(|last| last.elapsed() > COMPLAINT_INTERVAL);
        if is_due {
            *last = Some(Instant::now());
        }
        drop(last);
        if is_due {
            complaint(total);
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
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    /// A connection to a server that answers everything with `body`, and the task that serves it.
    fn serve(body: &'static [u8]) -> (UnixStream, tokio::task::JoinHandle<hyper::Result<()>>) {
        let (client, server) = UnixStream::pair().unwrap();
        let gate = Gate::new(Stream::Unix(server), Vec::new());
        let service = service_fn(move |_: Request<Incoming>| async move {
            Ok::<_, Infallible>(Response::new(crate::http::body(body)))
        });
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
