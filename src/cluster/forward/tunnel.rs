//! Bytes from one connection to another and back, unread: a WebSocket whose session is on another node.
//!
//! An idle tunnel holds no buffer. What one side does not take is not read from the other, so nothing piles up here.

use std::cell::RefCell;
use std::future::{Future as _, poll_fn};
use std::io::{self, ErrorKind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::stream::Stream;

/// Bytes that are read at once.
const READ_BYTES: usize = 64 * 1024;

/// Time for what an owner still has to say when its client has ended.
const LAST_WORDS: Duration = Duration::from_secs(30);

/// Time for a client to end its side, too, when its owner has: closed before, it might lose the last words.
const FAREWELL: Duration = Duration::from_secs(1);

thread_local! {
    static READ: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// One end of a tunnel: its connection, and what was read from it before.
#[derive(Debug)]
pub(super) struct End {
    pub(super) stream: Stream,
    pub(super) early: Vec<u8>,
}

/// One direction.
struct Pipe<'a> {
    from: &'a Stream,
    to: &'a Stream,
    /// What was read and not written.
    rest: Vec<u8>,
    /// No more will be read.
    is_at_end: bool,
    is_done: bool,
}

/// Carries bytes both ways until the owner has ended, or one side has broken. Once `hung_up` says so, the owner sees the
/// end of what the client says.
pub(super) async fn join(client: End, owner: End, hung_up: oneshot::Receiver<()>) {
    let mut hung_up = Some(hung_up);
    let mut up = Pipe::new(&client.stream, &owner.stream, client.early);
    let mut down = Pipe::new(&owner.stream, &client.stream, owner.early);
    let mut last_words = pin!(None::<tokio::time::Sleep>);
    poll_fn(|cx| {
        if let Some(Poll::Ready(said)) = hung_up.as_mut().map(|hung_up| Pin::new(hung_up).poll(cx)) {
            hung_up = None;
            up.is_at_end |= said.is_ok();
        }
        if up.poll(cx).is_err() {
            up.is_done = true;
            let _ = owner.stream.shutdown_write(); // it must hear of a client that was reset, and may say something yet
        }
        if down.poll(cx).is_err() || down.is_done {
            return Poll::Ready(());
        }
        if !up.is_done {
            return Poll::Pending;
        }
        if last_words.is_none() {
            last_words.set(Some(tokio::time::sleep(LAST_WORDS)));
        }
        last_words
            .as_mut()
            .as_pin_mut()
            .map_or(Poll::Pending, |timer| timer.poll(cx))
    })
    .await;
    if down.is_done {
        let _ = tokio::time::timeout(FAREWELL, ended(&client.stream)).await;
    }
}

/// Waits until a client ends; what it still says is for nobody.
async fn ended(client: &Stream) {
    while poll_fn(|cx| client.poll_read_ready(cx)).await.is_ok() {
        match READ.with_borrow_mut(|buffer| client.try_read(buffer)) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

impl<'a> Pipe<'a> {
    fn new(from: &'a Stream, to: &'a Stream, early: Vec<u8>) -> Self {
        Self {
            from,
            to,
            rest: early,
            is_at_end: false,
            is_done: false,
        }
    }

    /// Carries what there is; an error ends the tunnel.
    fn poll(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.is_done {
            return Ok(());
        }
        match self.carry(cx) {
            Poll::Pending => Ok(()),
            Poll::Ready(carried) => {
                carried?;
                self.is_done = true;
                self.to.shutdown_write()
            }
        }
    }

    fn carry(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if !self.rest.is_empty() {
                let written = write(self.to, &self.rest)?;
                self.rest.drain(..written);
                if !self.rest.is_empty() {
                    ready!(self.to.poll_write_ready(cx))?;
                    continue;
                }
                self.rest = Vec::new();
            }
            if self.is_at_end {
                return Poll::Ready(Ok(()));
            }
            ready!(self.from.poll_read_ready(cx))?;
            READ.with_borrow_mut(|buffer| self.step(buffer))?;
        }
    }

    /// Reads once, and writes what was read as far as it is taken.
    fn step(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        match self.from.try_read(buffer) {
            Ok(0) => self.is_at_end = true,
            Ok(count) => {
                let written = write(self.to, &buffer[..count])?;
                self.rest.extend_from_slice(&buffer[written..count]);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Writes what is taken now.
fn write(to: &Stream, bytes: &[u8]) -> io::Result<usize> {
    match to.try_write(bytes) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        written => written,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixStream;
    use tokio::task::JoinHandle;

    use super::*;

    /// What is far more than connections buffer.
    const MUCH: usize = 8 << 20;

    /// Both outer ends of a tunnel, into which `early` words have come already.
    fn tunnel(early: [&[u8]; 2]) -> (UnixStream, UnixStream, JoinHandle<()>) {
        let [one, other] = early.map(|early| {
            let (outside, inside) = UnixStream::pair().unwrap();
            let stream = Stream::Unix(inside);
            (
                outside,
                End {
                    stream,
                    early: early.to_vec(),
                },
            )
        });
        (
            one.0,
            other.0,
            tokio::spawn(async move {
                let (_nobody, hung_up) = oneshot::channel();
                join(one.1, other.1, hung_up).await;
            }),
        )
    }

    async fn read(stream: &mut UnixStream, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        stream.read_exact(&mut bytes).await.unwrap();
        bytes
    }

    #[tokio::test]
    async fn bytes_go_both_ways_behind_those_that_came_early() {
        let (mut client, mut owner, _) = tunnel([b"up:", b"down:"]);
        client.write_all(b"hello").await.unwrap();
        owner.write_all(b"welcome").await.unwrap();
        assert_eq!(read(&mut owner, 8).await, b"up:hello");
        assert_eq!(read(&mut client, 12).await, b"down:welcome");
    }

    #[tokio::test]
    async fn what_is_not_taken_is_not_read_and_nothing_of_it_is_lost() {
        let (mut client, mut owner, tunnel) = tunnel([b"", b""]);
        let much: Vec<u8> = (0..MUCH).map(|index| (index % 251) as u8).collect();
        let sent = much.clone();
        let sending = tokio::spawn(async move {
            owner.write_all(&sent).await.unwrap();
            drop(owner);
        });
        let mut first = read(&mut client, 1).await;
        tokio::task::yield_now().await;
        assert!(!sending.is_finished(), "8 MB are held by somebody");
        client.read_to_end(&mut first).await.unwrap();
        assert_eq!(first, much);
        drop((sending, client));
        tunnel.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn the_owner_has_the_last_word_but_not_for_long() {
        let (mut client, mut owner, tunnel) = tunnel([b"", b""]);
        client.shutdown().await.unwrap();
        assert_eq!(owner.read_to_end(&mut Vec::new()).await.unwrap(), 0);
        owner.write_all(b"last words").await.unwrap();
        assert_eq!(read(&mut client, 10).await, b"last words");
        tunnel.await.unwrap(); // though the owner never closes
        assert_eq!(client.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn the_owner_sees_the_end_of_a_tunnel_that_hangs_up_and_its_last_words_arrive() {
        let [(mut client, inside), (mut owner, inner)] = [UnixStream::pair().unwrap(), UnixStream::pair().unwrap()];
        let [one, other] = [inside, inner].map(|stream| End {
            stream: Stream::Unix(stream),
            early: Vec::new(),
        });
        let (hang_up, hung_up) = oneshot::channel();
        let tunnel = tokio::spawn(join(one, other, hung_up));
        client.write_all(b"said").await.unwrap();
        assert_eq!(read(&mut owner, 4).await, b"said");
        hang_up.send(()).unwrap();
        assert_eq!(owner.read_to_end(&mut Vec::new()).await.unwrap(), 0);
        owner.write_all(b"bye").await.unwrap();
        drop(owner);
        let mut last_words = Vec::new();
        client.read_to_end(&mut last_words).await.unwrap();
        assert_eq!(last_words, b"bye");
        tunnel.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_end_when_its_owner_has_is_not_waited_for() {
        let (mut client, mut owner, tunnel) = tunnel([b"", b""]);
        owner.write_all(b"last words").await.unwrap();
        drop(owner);
        client.write_all(b"not heard").await.unwrap();
        tunnel.await.unwrap();
        assert_eq!(read(&mut client, 10).await, b"last words");
    }

    #[tokio::test]
    async fn the_owner_hears_of_a_client_whose_connection_was_reset() {
        let (client, mut owner, _) = tunnel([b"", b""]);
        owner.write_all(b"not taken").await.unwrap();
        client.readable().await.unwrap();
        drop(client); // with bytes unread: a reset
        assert_eq!(owner.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn an_end_that_is_gone_ends_the_other() {
        let (client, mut owner, tunnel) = tunnel([b"", b""]);
        drop(client);
        assert_eq!(owner.read_to_end(&mut Vec::new()).await.unwrap(), 0);
        drop(owner);
        tunnel.await.unwrap();
    }
}
