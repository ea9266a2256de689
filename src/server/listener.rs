//! Addresses that are listened on: TCP, and Unix sockets written `unix:/path`.
//!
//! Nothing here accepts more than it is asked for.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::task::{Context, Poll, ready};

use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, UnixListener};

use super::{ServeError, unavailable};
use crate::proxies::Hop;
use crate::stream::{self, Stream};

/// What an address of a Unix socket begins with.
pub const UNIX_PREFIX: &str = "unix:";

/// Connections that may wait to be accepted: a reconnect storm must not meet refusals.
const BACKLOG: u32 = 4096;

/// Who may connect by a Unix socket: its owner and its group.
const SOCKET_MODE: u32 = 0o660;

/// A socket that is listened on.
#[derive(Debug)]
pub(super) enum Listener {
    /// Over the network.
    Tcp(TcpListener),
    /// From this machine.
    Unix(UnixListener, PathBuf),
}

impl Listener {
    /// Listens on one of `all` addresses. The second is the file of a Unix socket, to be held as long as the gateway runs.
    pub(super) async fn bind(address: &str, all: &[String]) -> Result<(Self, Option<SocketFile>), ServeError> {
        let why = format!("cannot listen on {address}");
        if let Some(path) = address.strip_prefix(UNIX_PREFIX) {
            let (listener, file) = bind_unix(Path::new(path)).map_err(unavailable(&why))?;
            return Ok((Self::Unix(listener, path.into()), Some(file)));
        }
        let mut last = None;
        for resolved in tokio::net::lookup_host(address).await.map_err(unavailable(&why))? {
            match bind_tcp(resolved, all) {
                Ok(listener) => return Ok((Self::Tcp(listener), None)),
                Err(error) => last = Some(error),
            }
        }
        let last = last.unwrap_or_else(|| io::Error::other("the name has no address"));
        Err(unavailable(&why)(last))
    }

    /// The next connection.
    pub(super) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Stream, Hop)>> {
        Poll::Ready(Ok(match self {
            Self::Tcp(listener) => {
                let (stream, peer) = ready!(listener.poll_accept(cx))?;
                (Stream::Tcp(stream), Hop::Address(peer.ip()))
            }
            Self::Unix(listener, _) => (Stream::Unix(ready!(listener.poll_accept(cx))?.0), Hop::Unix),
        }))
    }

    /// The address, where it is one of the network.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(..) => None,
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, self.address()) {
            (Self::Unix(_, path), _) => write!(f, "{UNIX_PREFIX}{}", path.display()),
            (_, Some(address)) => address.fmt(f),
            (_, None) => f.write_str("?"),
        }
    }
}

fn bind_tcp(address: SocketAddr, all: &[String]) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    // Where 0.0.0.0 is asked for too, [::] is for IPv6 alone; else the system decides whether it takes both.
    let ipv4_too = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())).to_string();
    if address.is_ipv6() && address.ip().is_unspecified() && all.contains(&ipv4_too) {
        SockRef::from(&socket).set_only_v6(true)?;
    }
    socket.bind(address)?;
    let listener = socket.listen(BACKLOG)?;
    stream::watch(&listener)?; // accepted connections inherit it
    Ok(listener)
}

fn bind_unix(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    let address = SockAddr::unix(path)?;
    remove_stale(path, &address)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&address)?;
    let file = SocketFile::new(path)?;
    // Before it listens nobody can connect, whatever the mode that it was made with.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE))?;
    socket.listen(BACKLOG.cast_signed())?;
    socket.set_nonblocking(true)?;
    Ok((UnixListener::from_std(socket.into())?, file))
}

/// Removes a socket that nobody listens on: what a node leaves that was killed.
fn remove_stale(path: &Path, address: &SockAddr) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(there) if !there.file_type().is_socket() => {
            return Err(io::Error::new(
                ErrorKind::AlreadyExists,
                "there is a file that is no socket",
            ));
        }
        Ok(_) => {}
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?; // a node with a full backlog is there, too
    match probe.connect(address) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()), // it went meanwhile
        Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
        Ok(()) | Err(_) => Err(ErrorKind::AddrInUse.into()),
    }
}

/// The file of a Unix socket: removed when this is dropped, unless another node's has taken its place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl SocketFile {
    fn new(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.into(),
            identity: identity(path)?,
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            let _ = std::fs::remove_file(&self.path); // the next node replaces it otherwise
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = std::fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// An address that stands for none.
pub(super) fn nowhere() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::stream::{ACKNOWLEDGE_TIMEOUT, KEEPALIVE_INTERVAL, KEEPALIVE_RETRIES, KEEPALIVE_TIME};

    #[tokio::test]
    async fn connections_inherit_what_finds_dead_peers() {
        let (listener, _) = Listener::bind("127.0.0.1:0", &[]).await.unwrap();
        let address = listener.address().unwrap();
        let (client, accepted) = tokio::join!(
            tokio::net::TcpStream::connect(address),
            poll_fn(|cx| listener.poll_accept(cx))
        );
        let (stream, hop) = accepted.unwrap();
        assert_eq!(hop, Hop::Address(client.unwrap().local_addr().unwrap().ip()));
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        assert!(socket.tcp_nodelay().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_TIME);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), KEEPALIVE_INTERVAL);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), KEEPALIVE_RETRIES);
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(ACKNOWLEDGE_TIMEOUT));
    }
}
