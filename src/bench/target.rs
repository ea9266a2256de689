//! Where clients connect: URLs, the addresses that they stand for, and from which of our own addresses.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream, lookup_host};

/// Time in which an address must answer that is one of several of a name.
const TRIAL: Duration = Duration::from_secs(3);

/// Where Socket.IO is unless the URL says otherwise.
const PATH: &str = "/socket.io/";

/// A server, as its URL tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) is_secure: bool,
    /// Name or address, without brackets.
    pub(super) host: String,
    port: u16,
    /// What follows `Host:`.
    pub(super) authority: String,
    /// The path of Socket.IO, with a slash at both ends.
    pub(super) path: String,
}

/// A server whose address is known.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) place: Place,
    address: SocketAddr,
}

/// How one client reaches its server: again and again, where it polls.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) target: Rc<Target>,
    /// Number of the client.
    pub(super) index: usize,
    /// Addresses of this machine that connections to itself come from in turn: each has some 28,000 ports of its own.
    pub(super) sources: u8,
    /// Room for what the client does not read, unless it is the system's choice.
    pub(super) receive_bytes: Option<u32>,
}

impl Place {
    /// Reads `http://HOST[:PORT][/PATH]`; the error completes a sentence about the URL.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let is_wrong =
            |why: &str| format!("\"{url}\" {why}: write it as http://HOST:PORT, https://HOST or ws://HOST:PORT/path/");
        let (scheme, rest) = url.split_once("://").ok_or_else(|| is_wrong("is no URL"))?;
        let is_secure = match scheme {
            "http" | "ws" => false,
            "https" | "wss" => true,
            _ => return Err(is_wrong("is of no scheme that is known here")),
        };
        if rest.contains(['@', '?', '#'])
            || !rest.is_ascii()
            || rest.contains(|c: char| c.is_ascii_control() || c == ' ')
        {
            return Err(is_wrong("has more in it than a host, a port and a path"));
        }
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let (host, port) = match authority.rsplit_once(':').filter(|(_, port)| !port.contains(']')) {
            Some((host, port)) => (
                host,
                port.parse().map_err(|_| is_wrong("has no port that is a number"))?,
            ),
            None => (authority, if is_secure { 443 } else { 80 }),
        };
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        if host.is_empty() || port == 0 {
            return Err(is_wrong("names no host"));
        }
        Ok(Self {
            is_secure,
            host: host.to_owned(),
            port,
            authority: authority.to_owned(),
            path: match path {
                "/" => PATH.to_owned(),
                path if path.ends_with('/') => path.to_owned(),
                path => format!("{path}/"),
            },
        })
    }

    /// Finds the address, of several the first that answers; the error ends a sentence that begins with the URL.
    pub(super) async fn resolve(self) -> Result<Target, String> {
        let found = lookup_host((self.host.as_str(), self.port)).await;
        let found: Vec<_> = found.map_err(|error| format!("cannot be found: {error}"))?.collect();
        let mut address = *found.first().ok_or("has no address")?;
        if found.len() > 1 {
            for candidate in found {
                let trial = tokio::time::timeout(TRIAL, TcpStream::connect(candidate)).await;
                if matches!(trial, Ok(Ok(_))) {
                    address = candidate;
                    break;
                }
            }
        }
        Ok(Target { place: self, address })
    }
}

impl Way {
    /// Connects.
    pub(super) async fn connect(&self) -> std::io::Result<TcpStream> {
        let address = self.target.address;
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        if let Some(bytes) = self.receive_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let IpAddr::V4(ip) = address.ip()
            && ip.is_loopback()
            && self.sources > 0
        {
            let source = Ipv4Addr::new(127, 0, 1, 1 + (self.index % usize::from(self.sources)) as u8);
            socket.bind((source, 0).into())?;
        }
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read() {
        for (url, is_secure, host, port, authority, path) in [
            (
                "http://127.0.0.1:3000",
                false,
                "127.0.0.1",
                3000,
                "127.0.0.1:3000",
                "/socket.io/",
            ),
            ("ws://a/", false, "a", 80, "a", "/socket.io/"),
            (
                "wss://chat.example",
                true,
                "chat.example",
                443,
                "chat.example",
                "/socket.io/",
            ),
            ("https://[::1]:8443/live", true, "::1", 8443, "[::1]:8443", "/live/"),
            ("http://[::1]/a/b/", false, "::1", 80, "[::1]", "/a/b/"),
        ] {
            let place = Place::parse(url).unwrap();
            assert_eq!(
                (place.is_secure, &*place.host, place.port),
                (is_secure, host, port),
                "{url}"
            );
            assert_eq!((&*place.authority, &*place.path), (authority, path), "{url}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused_with_its_text() {
        for url in [
            "127.0.0.1:3000",
            "ftp://a",
            "http://",
            "http://:80",
            "http://a:b",
            "http://a:0",
            "http://a:99999",
            "http://user@a",
            "http://a/?x=1",
            "http://a/b c",
        ] {
            assert!(Place::parse(url).unwrap_err().contains(url), "{url}");
        }
    }

    #[tokio::test]
    async fn a_name_with_several_addresses_is_the_one_that_answers() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let place = Place::parse(&format!("http://localhost:{port}")).unwrap();
        let way = Way {
            target: Rc::new(place.resolve().await.unwrap()),
            index: 65,
            sources: 64,
            receive_bytes: None,
        };
        let stream = way.connect().await.unwrap();
        assert_eq!(stream.local_addr().unwrap().ip().to_string(), "127.0.1.2");
        assert_eq!(stream.peer_addr().unwrap(), listener.local_addr().unwrap());
    }
}
