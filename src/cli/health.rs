//! Asks a node whether it is ready: one request, without a runtime.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// How long the whole answer is waited for.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(3);

/// The most that is read of an answer.
const HEALTH_BYTES_MAX: u64 = 64 * 1024;

/// `HOST:PORT` of a URL such as `http://HOST:PORT/`.
pub(super) fn host_of(url: &str) -> Option<String> {
    let host = url.strip_prefix("http://")?;
    let host = host.strip_suffix('/').unwrap_or(host);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    if host.is_empty() || !host.chars().all(is_plain) {
        return None;
    }
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
    Some(if has_port {
        host.to_owned()
    } else {
        format!("{host}:80")
    })
}

/// `GET /readyz`: the status and the body.
pub(super) fn ask_readiness(host: &str) -> anyhow::Result<(u16, String)> {
    let deadline = Instant::now() + HEALTH_TIMEOUT;
    let addresses = host.to_socket_addrs().with_context(|| format!("cannot find {host}"))?;
    let mut connected = None;
    for address in addresses {
        connected = Some(TcpStream::connect_timeout(&address, left(deadline)?));
        if matches!(connected, Some(Ok(_))) {
            break;
        }
    }
    let connected = connected.with_context(|| format!("cannot find {host}"))?;
    let mut stream = connected.with_context(|| format!("nothing answers at {host}"))?;
    stream.set_write_timeout(Some(left(deadline)?))?;
    write!(
        stream,
        "GET /readyz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while (answer.len() as u64) < HEALTH_BYTES_MAX {
        stream.set_read_timeout(Some(left(deadline)?))?;
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
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

/// The time until `deadline`.
fn left(deadline: Instant) -> anyhow::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        bail!("no answer within {HEALTH_TIMEOUT:?}");
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_an_admin_url_is_found() {
        for (url, expected) in [
            ("http://127.0.0.1:3001", Some("127.0.0.1:3001")),
            ("http://[::1]:3001/", Some("[::1]:3001")),
            ("http://[::1]", Some("[::1]:80")),
            ("http://gateway", Some("gateway:80")),
            ("https://gateway", None),
            ("http://gateway/admin", None),
            ("http://", None),
            ("127.0.0.1:3001", None),
            ("http://a\r\nb:1", None),
        ] {
            assert_eq!(host_of(url).as_deref(), expected, "{url}");
        }
    }
}
