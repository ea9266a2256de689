//! A connection of the operating system, TCP or Unix, that is read and written by readiness.
//!
//! A closed set, so that the hot path branches instead of calling through a table. Nothing here keeps bytes.

use std::io::{self, IoSlice, Read as _};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A peer that is silent for so long is asked whether it is there: sooner than by the heartbeat's timeout.
pub const KEEPALIVE_TIME: Duration = Duration::from_secs(30);

/// The time between further such questions.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// Questions without an answer after which the connection is over.
pub const KEEPALIVE_RETRIES: u32 = 3;

/// Time in which what was written must be acknowledged, else the connection is over.
#[cfg(target_os = "linux")]
pub const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection.
#[derive(Debug)]
pub enum Stream {
    /// Over the network.
    Tcp(TcpStream),
    /// From this machine.
    Unix(UnixStream),
}

/// The same call on whichever socket it is.
macro_rules! on_each {
    ($stream:expr, $socket:ident => $call:expr) => {
        match $stream {
            Stream::Tcp($socket) => $call,
            Stream::Unix($socket) => $call,
        }
    };
}

impl Stream {
    /// Ready when [`try_read`](Self::try_read) may give bytes.
    ///
    /// # Errors
    /// When the runtime is shutting down.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_each!(self, socket => socket.poll_read_ready(cx))
    }

    /// Ready when [`try_write`](Self::try_write) may take bytes.
    ///
    /// # Errors
    /// When the runtime is shutting down.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_each!(self, socket => socket.poll_write_ready(cx))
    }

    /// Reads what is there. Where that fills less than the buffer no more is there, so the next
    /// [`poll_read_ready`](Self::poll_read_ready) waits, without asking the system in vain.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut read = None;
        let tried = on_each!(self, socket => socket.try_io(Interest::READABLE, || {
            let count = (&*SockRef::from(socket)).read(buffer)?;
            read = Some(count);
            let is_drained = (1..buffer.len()).contains(&count);
            if is_drained { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        }));
        match read {
            Some(count) => Ok(count),
            None => tried.map(|()| 0),
        }
    }

    /// Writes what fits.
    ///
    /// # Errors
    /// `WouldBlock` when nothing fits.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        on_each!(self, socket => socket.try_write(bytes))
    }

    /// Writes what fits, from where it lies.
    ///
    /// # Errors
    /// `WouldBlock` when nothing fits.
    pub fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        on_each!(self, socket => socket.try_write_vectored(slices))
    }

    /// Says that no more will be written.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn shutdown_write(&self) -> io::Result<()> {
        SockRef::from(self).shutdown(Shutdown::Write)
    }

    /// The first byte that comes by the network, which stays to be read; `None` where none does.
    pub async fn peek(&self) -> Option<u8> {
        let Self::Tcp(socket) = self else { return None };
        let mut first = [0];
        let count = socket.peek(&mut first).await.ok()?;
        (count == 1).then_some(first[0])
    }

    /// Closes at once, without a word: the peer sees a reset.
    pub fn reset(self) {
        let _ = SockRef::from(&self).set_linger(Some(Duration::ZERO)); // else it is closed the usual way
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        on_each!(self, socket => socket.as_fd())
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        on_each!(self.get_mut(), socket => Pin::new(socket).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        on_each!(self.get_mut(), socket => Pin::new(socket).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on_each!(self.get_mut(), socket => Pin::new(socket).poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        on_each!(self, socket => socket.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_each!(self.get_mut(), socket => Pin::new(socket).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_each!(self.get_mut(), socket => Pin::new(socket).poll_shutdown(cx))
    }
}

/// Sets what every TCP connection has: nothing waits to be joined, and a peer that is gone is noticed.
///
/// # Errors
/// When the connection is gone.
pub fn watch(socket: &impl AsFd) -> io::Result<()> {
    let socket = SockRef::from(socket);
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_TIME)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_RETRIES);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(ACKNOWLEDGE_TIMEOUT))?;
    socket.set_tcp_nodelay(true)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    /// What is read once that is possible.
    async fn read(stream: &Stream, bytes: usize) -> Vec<u8> {
        let mut buffer = vec![0; bytes];
        poll_fn(|cx| stream.poll_read_ready(cx)).await.unwrap();
        let count = stream.try_read(&mut buffer).unwrap();
        buffer.truncate(count);
        buffer
    }

    /// Whether a read is worth a try.
    async fn is_ready(stream: &Stream) -> bool {
        poll_fn(|cx| Poll::Ready(stream.poll_read_ready(cx).is_ready())).await
    }

    #[tokio::test]
    async fn what_is_drained_is_not_asked_again_until_more_comes() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        let (here, there) = UnixStream::pair().unwrap();
        let pairs = [
            (Stream::Tcp(client.unwrap()), Stream::Tcp(accepted.unwrap().0)),
            (Stream::Unix(here), Stream::Unix(there)),
        ];
        for (mut client, stream) in pairs {
            client.write_all(b"hello").await.unwrap();
            assert_eq!(read(&stream, 4).await, b"hell");
            assert!(is_ready(&stream).await, "the buffer was filled, so there may be more");
            assert_eq!(read(&stream, 4).await, b"o");
            assert!(!is_ready(&stream).await);
            assert_eq!(
                stream.try_read(&mut [0; 4]).unwrap_err().kind(),
                io::ErrorKind::WouldBlock
            );
            client.write_all(b"bye").await.unwrap();
            drop(client);
            assert_eq!(read(&stream, 4).await, b"bye");
            assert_eq!(read(&stream, 4).await, b"", "the end is heard of, too");
        }
    }

    #[test]
    fn every_client_keeps_a_stream_so_it_is_small() {
        assert!(size_of::<Stream>() <= size_of::<TcpStream>() + size_of::<usize>());
    }
}
