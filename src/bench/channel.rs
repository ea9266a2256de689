//! A connection of ours, with TLS or without, and what was read of it and not used.
//!
//! All connections of the process read into one buffer, so an idle one costs nothing here: nothing in this module may
//! hold that buffer across a wait.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;

use super::failure::Failure;
use super::target::Way;
use crate::tls;

/// Bytes that are read at once.
const READ_BYTES: usize = 256 * 1024;

/// Room that an idle connection may keep.
const KEPT_BYTES_MAX: usize = 4 * 1024;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

#[derive(Debug)]
enum Socket {
    Plain(TcpStream),
    Secure(Box<tls::Secure>),
}

/// A connection.
#[derive(Debug)]
pub(super) struct Channel {
    socket: Socket,
    /// The beginning of something that is not complete.
    rest: Vec<u8>,
}

impl Channel {
    /// Connects.
    pub(super) async fn open(way: &Way) -> Result<Self, Failure> {
        let stream = way.connect().await?;
        let place = &way.target.place;
        let socket = if place.is_secure {
            let secure = tls::connect(&place.host, stream).await;
            Socket::Secure(Box::new(secure.map_err(Failure::Tls)?))
        } else {
            Socket::Plain(stream)
        };
        Ok(Self {
            socket,
            rest: Vec::new(),
        })
    }

    /// Reads once. `take` is given all that there is, and says how much of it was used.
    #[inline]
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        take: impl FnOnce(&[u8]) -> Result<usize, Failure>,
    ) -> Poll<Result<(), Failure>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(match &mut self.socket {
                Socket::Plain(socket) => Pin::new(socket).poll_read(cx, &mut buffer),
                Socket::Secure(socket) => Pin::new(socket).poll_read(cx, &mut buffer),
            })?;
            let got = buffer.filled();
            if got.is_empty() {
                return Poll::Ready(Err(Failure::Ended));
            }
            if self.rest.is_empty() {
                let used = take(got)?;
                self.rest.extend_from_slice(&got[used..]);
                return Poll::Ready(Ok(()));
            }
            self.rest.extend_from_slice(got);
            Poll::Ready(self.take_rest(take))
        })
    }

    /// Gives `take` what was read before and not used.
    pub(super) fn take_rest(&mut self, take: impl FnOnce(&[u8]) -> Result<usize, Failure>) -> Result<(), Failure> {
        let used = take(&self.rest)?;
        self.rest.drain(..used);
        if self.rest.is_empty() && self.rest.capacity() > KEPT_BYTES_MAX {
            self.rest = Vec::new();
        }
        Ok(())
    }

    /// Writes what is in `output` and takes it out there; ready when all is written.
    #[inline]
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, output: &mut Vec<u8>) -> Poll<Result<(), Failure>> {
        if output.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let (written, result) = self.write(cx, output);
        if written == output.len() {
            output.clear();
        } else {
            output.drain(..written);
        }
        result.map_err(Failure::from)
    }

    fn write(&mut self, cx: &mut Context<'_>, output: &[u8]) -> (usize, Poll<io::Result<()>>) {
        let mut written = 0;
        while written < output.len() {
            let rest = &output[written..];
            let result = match &mut self.socket {
                Socket::Plain(socket) => Pin::new(socket).poll_write(cx, rest),
                Socket::Secure(socket) => Pin::new(socket).poll_write(cx, rest),
            };
            match result {
                Poll::Ready(Ok(0)) => return (written, Poll::Ready(Err(io::ErrorKind::WriteZero.into()))),
                Poll::Ready(Ok(count)) => written += count,
                Poll::Ready(Err(error)) => return (written, Poll::Ready(Err(error))),
                Poll::Pending => return (written, Poll::Pending),
            }
        }
        match &mut self.socket {
            Socket::Plain(_) => (written, Poll::Ready(Ok(()))),
            Socket::Secure(socket) => (written, Pin::new(socket).poll_flush(cx)),
        }
    }
}
