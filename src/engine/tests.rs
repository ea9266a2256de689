//! RFC 6455 by its book: an echo server of our own handshake, frames and encoder, under the cases of the Autobahn suite.
//!
//! The cases are run by `kosoku`, a client, which tests/run installs. Sessions never echo, so this server is here; all
//! that it adds of its own is a loop around one socket. What these cases leave out is in `websocket.rs`.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};

use super::session::{poll_discard, poll_read};
use super::websocket::{self, Frame, FrameReader, Opened};
use super::*;
use crate::gate::Gate;
use crate::http::{self, Body, Lease};
use crate::protocol::Version;
use crate::protocol::encoded::WebSocketForm;
use crate::stream::Stream;

/// The largest message of the cases 9.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Cases there are, without those of compression.
const CASES_MIN: usize = 300;

/// Longer than all cases take.
const CASES_TIMEOUT: Duration = Duration::from_secs(240);

const FORM: WebSocketForm = WebSocketForm {
    version: Version::V4,
    base64: false,
    double_utf8: false,
    msgpack: false,
};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "wants kosoku, which tests/run installs"]
async fn frames_are_read_and_written_as_rfc_6455_says() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(socket));
        }
    });
    let folder = std::env::temp_dir().join(format!("roomcast-kosoku-{}", std::process::id()));
    let status = run_cases(address, &folder).await;
    let report = std::fs::read_to_string(folder.join("index.json")).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    server.abort();
    let failed = summarize(&report);
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(status.success(), "kosoku: {status}");
}

async fn run_cases(address: SocketAddr, folder: &Path) -> std::process::ExitStatus {
    let mut kosoku = tokio::process::Command::new("kosoku")
        .args(["-m", "fuzzingclient", &address.to_string()])
        .arg("-o")
        .arg(folder)
        .args(["-x", "12.*", "-x", "13.*"]) // compression, which is not offered
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("kosoku, which tests/run installs");
    let ended = tokio::time::timeout(CASES_TIMEOUT, kosoku.wait()).await;
    ended.expect("an end of all cases").unwrap()
}

/// Counts how the cases came out, and returns those that failed.
fn summarize(report: &str) -> Vec<String> {
    let report: Value = serde_json::from_str(report).unwrap();
    let servers = report.as_object().unwrap().values();
    let cases: Vec<_> = servers.flat_map(|server| server.as_object().unwrap()).collect();
    assert!(cases.len() >= CASES_MIN, "only {} cases were run", cases.len());
    let mut counts = std::collections::BTreeMap::<_, Vec<_>>::new();
    let mut failed = Vec::new();
    for (name, case) in cases {
        for key in ["behavior", "behaviorClose"] {
            let behavior = case[key].as_str().unwrap();
            counts.entry((key, behavior)).or_default().push(name.as_str());
            if !matches!(behavior, "OK" | "NON-STRICT" | "INFORMATIONAL") {
                failed.push(format!("case {name}: {key} is {behavior}"));
            }
        }
    }
    for ((key, behavior), names) in counts {
        let named = if behavior == "OK" {
            String::new()
        } else {
            format!(": {}", names.join(" "))
        };
        eprintln!("{key} {behavior} {}{named}", names.len());
    }
    failed
}

/// HTTP on one connection, until it becomes a WebSocket.
async fn serve(socket: TcpStream) {
    let count = Arc::new(AtomicUsize::new(0));
    let lease = Arc::new(Lease::take(&count, 1).unwrap());
    let service = service_fn(|request| {
        let lease = Arc::clone(&lease);
        async move { Ok::<_, Infallible>(respond(request, lease)) }
    });
    let gate = Gate::new(Stream::Tcp(socket), Vec::new());
    let serving = http1::Builder::new().serve_connection(TokioIo::new(gate), service);
    let _ = serving.with_upgrades().await; // a client may break off as it likes
}

fn respond(mut request: Request<Incoming>, lease: Arc<Lease>) -> Response<Body> {
    match websocket::accept(&mut request) {
        Some((response, upgrade)) => {
            tokio::spawn(async move {
                if let Some(opened) = Opened::wait(upgrade, FORM, lease).await {
                    echo(opened).await;
                }
            });
            response
        }
        None => http::response(StatusCode::BAD_REQUEST, "text/plain", "no WebSocket\n"),
    }
}

/// Sends every message back, until either side closes.
async fn echo(opened: Opened) {
    let socket = opened.socket;
    let mut reader = FrameReader::new(MESSAGE_BYTES_MAX).with_fragments_max(u32::MAX);
    let mut input = opened.leftover.to_vec();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let (mut answers, mut is_over) = (Vec::new(), false);
        let result = reader.feed(&mut input, |frame| match frame {
            Frame::Text(text) => answers.extend_from_slice(Encoded::text(&[text]).frames(FORM)),
            Frame::Binary(bytes) => {
                let attachment = Box::new([Bytes::copy_from_slice(bytes)]);
                let frames = Encoded::with_attachments(&[], attachment);
                answers.extend_from_slice(&frames.frames(FORM)[2..]); // without the empty text before it
            }
            Frame::Ping(payload) => answers.extend_from_slice(websocket::pong(payload).frames(FORM)),
            Frame::Close(code) => {
                answers.extend_from_slice(websocket::close_frame(code).frames(FORM));
                is_over = true;
            }
        });
        if let Err(error) = result {
            answers.extend_from_slice(websocket::close_frame(Some(error.close_code())).frames(FORM));
            is_over = true;
        }
        if !write(&socket, &answers).await {
            return;
        }
        if is_over {
            let _ = socket2::SockRef::from(&socket).shutdown(std::net::Shutdown::Write); // it may be closed already
            return poll_fn(|cx| poll_discard(&socket, cx)).await;
        }
        let count = poll_fn(|cx| poll_read(&socket, &mut buffer, cx)).await;
        if count == 0 {
            return;
        }
        input = buffer[..count].to_vec();
    }
}

/// Writes everything; false where the connection is gone.
async fn write(socket: &Stream, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        if poll_fn(|cx| socket.poll_write_ready(cx)).await.is_err() {
            return false;
        }
        match socket.try_write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
    }
    true
}
