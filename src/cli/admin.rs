//! Asks a node's admin listener: one request a connection, without a runtime.
//!
//! Never prints a key, nor sends it anywhere but there.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// The most that is read of an answer: a page of sockets, each with its data.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// What the URL of a Unix socket begins with, as in `admin.listen`.
const UNIX_PREFIX: &str = "unix:";

/// Where an admin listener is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// `HOST:PORT`.
    Host(String),
    /// The path of a Unix socket.
    Unix(String),
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    pub(super) target: &'a str,
    pub(super) key: Option<&'a str>,
    /// JSON.
    pub(super) body: Option<&'a str>,
    /// How long the whole answer is waited for.
    pub(super) timeout: Duration,
}

impl<'a> Request<'a> {
    /// A GET, which is answered soon.
    pub(super) fn get(target: &'a str) -> Self {
        Self {
            method: "GET",
            target,
            key: None,
            body: None,
            timeout: Duration::from_secs(3),
        }
    }
}

impl Place {
    /// Reads `http://HOST:PORT`, or `unix:/path`.
    pub(super) fn parse(url: &str) -> Option<Self> {
        if let Some(path) = url.strip_prefix(UNIX_PREFIX) {
            return path.starts_with('/').then(|| Self::Unix(path.to_owned()));
        }
        let host = url.strip_prefix("http://")?;
        let host = host.strip_suffix('/').unwrap_or(host);
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
        if host.is_empty() || !host.chars().all(is_plain) {
            return None;
        }
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        Some(Self::Host(if has_port {
            host.to_owned()
        } else {
            format!("{host}:80")
        }))
    }

    /// The status and the body of the answer.
    pub(super) fn ask(&self, request: &Request<'_>) -> anyhow::Result<(u16, String)> {
        let deadline = Deadline {
            at: Instant::now() + request.timeout,
            timeout: request.timeout,
        };
        match self {
            Self::Host(host) => {
                let stream = connect(host, &deadline)?;
                let set = |stream: &TcpStream, left| {
                    stream.set_read_timeout(Some(left))?;
                    stream.set_write_timeout(Some(left))
                };
                converse(stream, host, request, &deadline, set)
            }
            Self::Unix(path) => {
                let stream = UnixStream::connect(path).with_context(|| format!("nothing answers at {path}"))?;
                let set = |stream: &UnixStream, left| {
                    stream.set_read_timeout(Some(left))?;
                    stream.set_write_timeout(Some(left))
                };
                converse(stream, "localhost", request, &deadline, set)
            }
        }
    }
}

fn connect(host: &str, deadline: &Deadline) -> anyhow::Result<TcpStream> {
    let addresses = host.to_socket_addrs().with_context(|| format!("cannot find {host}"))?;
    let mut connected = None;
    for address in addresses {
        connected = Some(TcpStream::connect_timeout(&address, deadline.left()?));
        if matches!(connected, Some(Ok(_))) {
            break;
        }
    }
    let connected = connected.with_context(|| format!("cannot find {host}"))?;
    connected.with_context(|| format!("nothing answers at {host}"))
}

/// Asks and reads the answer; `set` bounds the next reading and writing.
fn converse<S: Read + Write>(
    mut stream: S,
    host: &str,
    request: &Request<'_>,
    deadline: &Deadline,
    set: impl Fn(&S, Duration) -> std::io::Result<()>,
) -> anyhow::Result<(u16, String)> {
    set(&stream, deadline.left()?)?;
    // A refusal may come before all is written.
    let written = stream.write_all(request.text(host).as_bytes());
    let mut answer = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    while answer.len() < ANSWER_BYTES_MAX {
        set(&stream, deadline.left()?)?;
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
            Err(_) if written.is_err() && !answer.is_empty() => break,
            Err(error) => bail!("no answer from {host}: {error}"),
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    let status = answer
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.get(2..5)?.parse().ok())
        .with_context(|| format!("{host} does not speak HTTP"))?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((status, body.trim().to_owned()))
}

impl Request<'_> {
    fn text(&self, host: &str) -> String {
        let Self { method, target, .. } = self;
        let mut text = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
        // Writing to a text cannot fail.
        if let Some(key) = self.key {
            let _ = write!(text, "Authorization: Bearer {key}\r\n");
        }
        if let Some(body) = self.body {
            let length = body.len();
            let _ = write!(text, "Content-Type: application/json\r\nContent-Length: {length}\r\n");
        }
        text.push_str("\r\n");
        text.push_str(self.body.unwrap_or_default());
        text
    }
}

/// When all must be over.
struct Deadline {
    at: Instant,
    timeout: Duration,
}

impl Deadline {
    /// The time until then.
    fn left(&self) -> anyhow::Result<Duration> {
        let left = self.at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            bail!("no answer within {:?}", self.timeout);
        }
        Ok(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_an_admin_listener_is_found() {
        let host = |host: &str| Some(Place::Host(host.into()));
        for (url, expected) in [
            ("http://127.0.0.1:3001", host("127.0.0.1:3001")),
            ("http://[::1]:3001/", host("[::1]:3001")),
            ("http://[::1]", host("[::1]:80")),
            ("http://gateway", host("gateway:80")),
            (
                "unix:/run/roomcast/admin.sock",
                Some(Place::Unix("/run/roomcast/admin.sock".into())),
            ),
            ("unix:run", None),
            ("https://gateway", None),
            ("http://gateway/admin", None),
            ("http://", None),
            ("127.0.0.1:3001", None),
            ("http://a\r\nb:1", None),
        ] {
            assert_eq!(Place::parse(url), expected, "{url}");
        }
    }
}
