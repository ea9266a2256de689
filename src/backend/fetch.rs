//! Connections by http or https, and one GET of a small document.
//!
//! Redirects are not followed: what is asked for is what the operator wrote down.

use std::time::Duration;

use bytes::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, HOST, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::{http, tls};

/// Time for the whole of it.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection, with TLS or without.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Gets a document of at most `bytes_max` bytes; the error ends a sentence that begins with its address.
pub(super) async fn get(uri: &Uri, bytes_max: usize) -> Result<Bytes, String> {
    let got = tokio::time::timeout(PATIENCE, get_in_time(uri, bytes_max)).await;
    got.unwrap_or_else(|_| Err(format!("did not answer in {} seconds", PATIENCE.as_secs())))
}

async fn get_in_time(uri: &Uri, bytes_max: usize) -> Result<Bytes, String> {
    ask(connect(uri).await?, uri, bytes_max).await
}

/// What is wrong with this system, where TLS is needed for a URL and cannot be had.
pub(super) fn check(uri: &Uri) -> Result<(), String> {
    if is_secure(uri) { tls::check() } else { Ok(()) }
}

fn is_secure(uri: &Uri) -> bool {
    uri.scheme_str() == Some("https")
}

/// A connection to the host of a URL; the error ends a sentence that begins with the URL.
pub(super) async fn connect(uri: &Uri) -> Result<Box<dyn Stream>, String> {
    let host = uri.host().unwrap_or_default();
    let port = uri.port_u16().unwrap_or(if is_secure(uri) { 443 } else { 80 });
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((bare, port)).await;
    let stream = stream.map_err(|error| format!("cannot be reached: {error}"))?;
    let _ = stream.set_nodelay(true); // slower at worst
    if !is_secure(uri) {
        return Ok(Box::new(stream));
    }
    Ok(Box::new(tls::connect(bare, stream).await?))
}

async fn ask(stream: Box<dyn Stream>, uri: &Uri, bytes_max: usize) -> Result<Bytes, String> {
    let broken = |error: hyper::Error| format!("broke off: {error}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let request = Request::get(target)
        .header(HOST, authority)
        .header(ACCEPT, "application/json")
        .header(USER_AGENT, concat!("roomcast/", env!("CARGO_PKG_VERSION")))
        .body(http::body(Bytes::new()))
        .map_err(|error| format!("cannot be asked: {error}"))?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        match response.status() {
            StatusCode::OK => http::read_body(response.into_body(), bytes_max)
                .await
                .map_err(|error| error.to_string()),
            status => Err(format!("answers {status}")),
        }
    };
    tokio::pin!(answer, connection);
    // Without a task of its own, nothing is left of it when time is up.
    tokio::select! {
        answer = &mut answer => answer,
        ended = &mut connection => match ended {
            Ok(()) => answer.await,
            Err(error) => Err(broken(error)),
        },
    }
}
