//! The strict gate between a connection and the HTTP parser: what could be read in two ways is not passed on.
//!
//! hyper is lenient where RFC 9112 lets it be: it takes lines that end in a bare line feed, equal lengths given twice,
//! and a length beside chunks. A proxy before us may read each of these differently, and then a request hides in the
//! body of another one. So every head is read here as well, line by line as its bytes go by, before hyper sees them:
//!
//! - every line ends in CR LF, and none continues the line before it;
//! - there is at most one `Content-Length`, of digits alone, and at most one `Transfer-Encoding`, which is `chunked`,
//!   and never both.
//!
//! From these follows where the body ends and the next head begins, so all requests of a kept connection are read, and
//! the lines between chunks too. What is wrong is spoiled: the line feed that would complete the line becomes a zero
//! byte and nothing comes behind it, so hyper answers 400, in its turn, and closes. Everything that can be judged once
//! a request is parsed is `http::is_ambiguous`'s.
//!
//! Whoever begins a head has to end it in time: that is watched here, where its first byte is seen. hyper has one timer
//! for a head and for the wait before it, and kept connections may wait for long. And whoever is given an answer has to
//! take it: for that hyper has no timer at all.
//!
//! A request that asks for a WebSocket ends the reading, as frames may follow it at once; where it is refused, the
//! server closes the connection (`http::asks_for_websocket` tells both). After the upgrade the gate is taken away.
//! It keeps no bytes but the beginning of a line that came in pieces, and must never let pass what it did not read.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use memchr::memchr;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::http::is_websocket;
use crate::stream::Stream;

/// Time from the first byte of a request's head to its end; for the first of a connection, from its beginning.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Time in which a client must take some of an answer that waits for it.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of a line that are looked at: enough for every field that matters here. One of these that is longer is refused.
const LINE_BYTES: usize = 64;

/// Hexadecimal digits of a chunk's size.
const SIZE_DIGITS_MAX: usize = 16;

/// Digits of a body's length that fit.
const LENGTH_DIGITS_MAX: usize = 19;

/// A connection of which only unambiguous requests are read.
#[derive(Debug)]
pub struct Gate {
    stream: Stream,
    /// What was read before the gate was there, and is to be read first.
    early: Vec<u8>,
    scanner: Scanner,
    /// When the head that has begun must have ended.
    head_by: Option<Instant>,
    /// Runs only while more of a head is waited for.
    timer: Option<Pin<Box<Sleep>>>,
    /// Runs only while the client takes nothing.
    stall: Option<Pin<Box<Sleep>>>,
}

impl Gate {
    /// A gate before this connection, of which `early` was read already.
    pub fn new(stream: Stream, early: Vec<u8>) -> Self {
        Self {
            stream,
            early,
            scanner: Scanner::default(),
            head_by: Some(Instant::now() + HEAD_TIMEOUT),
            timer: None,
            stall: None,
        }
    }

    /// The connection alone, once it speaks HTTP no more.
    pub fn into_stream(self) -> Stream {
        self.stream
    }

    /// Waits for more, but for the rest of a head only as long as one may take.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(by) = self.head_by else {
            return Poll::Pending;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(by)));
        timer.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    /// A write that takes no bytes may not take long.
    fn watch_write(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stall = None;
            return written;
        }
        let timer = self
            .stall
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(STALL_TIMEOUT)));
        timer.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Something was read: a head that has ended has no deadline any more, one that has begun has one.
    fn watch_head(&mut self) {
        if std::mem::take(&mut self.scanner.has_ended_head) {
            (self.head_by, self.timer) = (None, None);
        }
        if self.head_by.is_none() && self.scanner.is_in_head() {
            self.head_by = Some(Instant::now() + HEAD_TIMEOUT);
        }
    }
}

impl AsyncRead for Gate {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.scanner.place == Place::Refused {
            return Poll::Ready(Ok(())); // the end, as far as hyper knows
        }
        let before = buffer.filled().len();
        if this.early.is_empty() {
            match Pin::new(&mut this.stream).poll_read(cx, buffer) {
                Poll::Pending => return this.wait(cx),
                Poll::Ready(result) => result?,
            }
        } else {
            let count = this.early.len().min(buffer.remaining());
            buffer.put_slice(&this.early[..count]);
            this.early.drain(..count);
            if this.early.is_empty() {
                this.early = Vec::new();
            }
        }
        let read = &mut buffer.filled_mut()[before..];
        if let Err(at) = this.scanner.scan(read) {
            read[at] = 0;
            buffer.set_filled(before + at + 1);
        }
        this.watch_head();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Gate {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.watch_write(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.watch_write(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// Where in the requests of a connection we are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Before a request line.
    #[default]
    Start,
    /// Among the fields of a head.
    Fields,
    /// So many bytes before the end of a body.
    Body(u64),
    /// Before the size of a chunk.
    ChunkSize,
    /// So many bytes before the end of a chunk.
    Chunk(u64),
    /// Before the line end behind a chunk.
    ChunkEnd,
    /// Behind the last chunk.
    Trailers,
    /// Nothing more is read: a WebSocket may begin.
    Through,
    /// Nothing more is passed on.
    Refused,
}

/// What the fields so far say about the body.
#[derive(Debug, Default)]
struct Framing {
    length: Option<u64>,
    is_chunked: bool,
    is_websocket: bool,
}

/// Reads along. Sans I/O.
#[derive(Debug, Default)]
struct Scanner {
    place: Place,
    framing: Framing,
    /// The beginning of a line whose end is still to come.
    begun: Vec<u8>,
    /// Bytes of that line, kept or not.
    length: usize,
    /// The last of them.
    last: u8,
    /// A head ended, and nobody has looked since.
    has_ended_head: bool,
}

/// One line without its end.
struct Line<'a> {
    /// At most `LINE_BYTES` of it.
    start: &'a [u8],
    /// There is more than `start`.
    is_long: bool,
}

impl Scanner {
    /// Reads on; fails with the place of the line feed that must not be passed on.
    fn scan(&mut self, bytes: &[u8]) -> Result<(), usize> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            match self.place {
                Place::Through => return Ok(()),
                Place::Refused => return Err(at),
                Place::Body(left) => {
                    let (count, left) = skip(left, rest);
                    at += count;
                    self.place = if left == 0 { Place::Start } else { Place::Body(left) };
                }
                Place::Chunk(left) => {
                    let (count, left) = skip(left, rest);
                    at += count;
                    self.place = if left == 0 { Place::ChunkEnd } else { Place::Chunk(left) };
                }
                Place::Start | Place::Fields | Place::ChunkSize | Place::ChunkEnd | Place::Trailers => {
                    let Some(end) = memchr(b'\n', rest) else {
                        self.begin(rest);
                        return Ok(());
                    };
                    self.place = self.complete(&rest[..end]).unwrap_or(Place::Refused);
                    if self.place == Place::Refused {
                        return Err(at + end);
                    }
                    at += end + 1;
                }
            }
        }
        Ok(())
    }

    /// Whether a head has begun and not ended.
    fn is_in_head(&self) -> bool {
        self.place == Place::Fields || (self.place == Place::Start && self.length > 0)
    }

    /// Keeps what matters of a line that has not ended.
    fn begin(&mut self, bytes: &[u8]) {
        // One byte more than a line has: the carriage return before its end.
        let room = (LINE_BYTES + 1).saturating_sub(self.begun.len());
        self.begun.extend_from_slice(&bytes[..room.min(bytes.len())]);
        self.length += bytes.len();
        self.last = bytes.last().copied().unwrap_or(self.last);
    }

    /// Takes the rest of a line, up to its line feed; `None` when it must not be.
    fn complete(&mut self, rest: &[u8]) -> Option<Place> {
        if self.length == 0 {
            let line = rest.strip_suffix(b"\r")?;
            return self.line(&Line {
                start: &line[..line.len().min(LINE_BYTES)],
                is_long: line.len() > LINE_BYTES,
            });
        }
        self.begin(rest);
        let begun = std::mem::take(&mut self.begun); // an idle connection keeps nothing
        let length = std::mem::take(&mut self.length) - 1;
        (self.last == b'\r').then_some(())?;
        self.line(&Line {
            start: &begun[..length.min(LINE_BYTES)],
            is_long: length > LINE_BYTES,
        })
    }

    /// Takes one line; `None` when it must not be.
    fn line(&mut self, line: &Line<'_>) -> Option<Place> {
        let is_empty = line.start.is_empty();
        match self.place {
            // RFC 9112 §2.2: an empty line before a request is skipped.
            Place::Start if is_empty => Some(Place::Start),
            Place::Start => {
                self.framing = Framing::default();
                Some(Place::Fields)
            }
            Place::Fields if is_empty => {
                self.has_ended_head = true;
                Some(self.framing.body())
            }
            Place::Fields => self.framing.field(line).map(|()| Place::Fields),
            Place::ChunkSize => match chunk_size(line.start)? {
                0 => Some(Place::Trailers),
                size => Some(Place::Chunk(size)),
            },
            Place::ChunkEnd => is_empty.then_some(Place::ChunkSize),
            Place::Trailers if is_empty => Some(Place::Start),
            Place::Trailers => (!is_continuation(line)).then_some(Place::Trailers),
            Place::Body(_) | Place::Chunk(_) | Place::Through | Place::Refused => None, // there are no lines
        }
    }
}

impl Framing {
    /// Takes one field; `None` when it must not be.
    fn field(&mut self, line: &Line<'_>) -> Option<()> {
        if is_continuation(line) {
            return None;
        }
        let Some(colon) = memchr(b':', line.start) else {
            return line.is_long.then_some(()); // no field that matters has so long a name
        };
        let (name, value) = line.start.split_at(colon);
        let value = trim(&value[1..]);
        let is = |wanted: &str| trim(name).eq_ignore_ascii_case(wanted.as_bytes());
        if is("content-length") {
            let is_allowed = !line.is_long && self.length.is_none() && !self.is_chunked;
            self.length = Some(length(value).filter(|_| is_allowed)?);
        } else if is("transfer-encoding") {
            let is_allowed = !line.is_long && self.length.is_none() && !self.is_chunked;
            (is_allowed && value.eq_ignore_ascii_case(b"chunked")).then_some(())?;
            self.is_chunked = true;
        } else if is("upgrade") {
            (!line.is_long).then_some(())?;
            self.is_websocket |= is_websocket(value);
        }
        Some(())
    }

    /// What comes behind the head.
    fn body(&self) -> Place {
        match self.length {
            _ if self.is_websocket => Place::Through,
            _ if self.is_chunked => Place::ChunkSize,
            None | Some(0) => Place::Start,
            Some(length) => Place::Body(length),
        }
    }
}

/// How many of `bytes` belong to what has `left` bytes left, and how many it has then.
fn skip(left: u64, bytes: &[u8]) -> (usize, u64) {
    let count = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
    (count, left - count as u64)
}

fn is_continuation(line: &Line<'_>) -> bool {
    line.start.starts_with(b" ") || line.start.starts_with(b"\t")
}

fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

fn length(value: &[u8]) -> Option<u64> {
    let is_number = (1..=LENGTH_DIGITS_MAX).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    is_number.then(|| std::str::from_utf8(value).ok()?.parse().ok())?
}

/// The size of a chunk; extensions behind it mean nothing.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let extension = trim(&line[digits..]);
    if !(1..=SIZE_DIGITS_MAX).contains(&digits) || !(extension.is_empty() || extension.starts_with(b";")) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(&line[..digits]).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads `bytes` in pieces: where it refuses, or where it is then.
    fn scan(bytes: &[u8], piece: usize) -> Result<Place, usize> {
        let mut scanner = Scanner::default();
        for (index, part) in bytes.chunks(piece).enumerate() {
            scanner.scan(part).map_err(|at| index * piece + at)?;
        }
        Ok(scanner.place)
    }

    const POST: &str = "POST / HTTP/1.1\r\n";

    #[test]
    fn requests_of_one_meaning_pass_one_after_the_other() {
        let long = format!("GET /{0} HTTP/1.1\r\nX-{0}: {0}\r\n\r\n", "a".repeat(300));
        for (bytes, expected) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Place::Start),
            (&long, Place::Start),
            ("GET / HTTP/1.1\r\nHost: a\r\n", Place::Fields),
            ("\r\n\r\nGET / HTTP/1.1\r\n\r\n", Place::Start),
            (&format!("{POST}Content-Length: 4\r\n\r\n\n\n\n\n"), Place::Start),
            (&format!("{POST}content-length:\t0 \r\n\r\n"), Place::Start),
            (&format!("{POST}Content-Length: 4\r\n\r\nab"), Place::Body(2)),
            (
                &format!(
                    "{POST}Transfer-Encoding: Chunked\r\n\r\n4;a=b\r\n\n\n\n\n\r\nA \r\n0123456789\r\n0\r\nX: y\r\n\r\n"
                ),
                Place::Start,
            ),
            (
                &format!("{POST}Transfer-Encoding: chunked\r\n\r\nff\r\na"),
                Place::Chunk(254),
            ),
            ("GET / HTTP/1.1\r\nUpgrade: WebSocket\r\n\r\n\x01\n\n", Place::Through),
            ("GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n", Place::Start),
        ] {
            let twice = [bytes.as_bytes(), bytes.as_bytes()].concat();
            for piece in [1, 2, 7, 64, 1000] {
                assert_eq!(scan(bytes.as_bytes(), piece), Ok(expected), "{bytes:?} by {piece}");
                if expected == Place::Start {
                    assert_eq!(scan(&twice, piece), Ok(expected), "twice {bytes:?} by {piece}");
                }
            }
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused_where_it_shows() {
        let long_length = format!("{POST}Content-Length:{}4\r\n", " ".repeat(LINE_BYTES));
        let chunked = format!("{POST}Transfer-Encoding: chunked\r\n\r\n");
        for refused in [
            "\n",
            "GET / HTTP/1.1\n",
            "GET / HTTP/1.1\r\nHost: a\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
            "GET / HTTP/1.1\r\nX: a\r\n b\r\n",
            "GET / HTTP/1.1\r\nX: a\r\n\tb\r\n",
            "GET / HTTP/1.1\r\nX\r\n",
            &format!("{POST}Content-Length: 4\r\nX: y\r\ncontent-length: 4\r\n"),
            &format!("{POST}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"),
            &format!("{POST}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n"),
            &format!("{POST}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
            &format!("{POST}Transfer-Encoding: gzip, chunked\r\n"),
            &format!("{POST}Transfer-Encoding:\x0bchunked\r\n"),
            &format!("{POST}Content-Length : 4\r\nContent-Length: 5\r\n"),
            &format!("{POST}Content-Length: 1, 1\r\n"),
            &format!("{POST}Content-Length: +1\r\n"),
            &format!("{POST}Content-Length:\r\n"),
            &format!("{POST}Content-Length: 99999999999999999999\r\n"),
            &long_length,
            &format!("{chunked}0x4\r\n"),
            &format!("{chunked}\r\n"),
            &format!("{chunked}4\n"),
            &format!("{chunked}4 4\r\n"),
            &format!("{chunked}4;a=b\n"),
            &format!("{chunked}00000000000000004\r\n"),
            &format!("{chunked}4\r\nabcdef\r\n"),
            &format!("{chunked}4\r\nabcd\n"),
            &format!("{chunked}0\r\n\n"),
            &format!("{chunked}0\r\nX: y\r\n z\r\n"),
            &format!("{POST}Content-Length: 4\r\n\r\nabcdGET / HTTP/1.1\n"),
        ] {
            let bytes = [refused.as_bytes(), b"\r\nmore\r\n"].concat();
            for piece in [1, 2, 7, 64, 1000] {
                assert_eq!(scan(&bytes, piece), Err(refused.len() - 1), "{refused:?} by {piece}");
            }
        }
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_the_bytes_come(
            bytes in "(POST / HTTP/1.1\r\n|Content-Length: 3|Transfer-Encoding: chunked|[a-c: \n]{0,70}|\r\n|\r\n\r\n|3\r\n|0){0,14}",
            piece in 1usize..80,
        ) {
            prop_assert_eq!(scan(bytes.as_bytes(), piece), scan(bytes.as_bytes(), bytes.len().max(1)));
        }
    }
}
