//! One client's connection: a task reads, whoever has something for it writes.
//!
//! Holds no buffer while nothing is said: reading is into one buffer for all, and only what is cut off is kept.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf as _, Bytes};
use tokio::net::TcpStream;

use crate::rooms::{Broadcast, Rooms};
use crate::wire::{self, Said};

/// Bytes that are read, and bytes of small frames that are written, at once.
const BUFFER_BYTES: usize = 65_536;

thread_local! {
    static READ: RefCell<Vec<u8>> = RefCell::new(vec![0; BUFFER_BYTES]);
    static WRITTEN: RefCell<Vec<u8>> = RefCell::default();
}

/// A client's connection.
pub(crate) struct Connection {
    stream: TcpStream,
    outbox: Mutex<Outbox>,
}

/// What waits to be written.
#[derive(Default)]
struct Outbox {
    frames: VecDeque<Bytes>,
    /// Whether somebody is about to write it.
    is_taken_care_of: bool,
}

/// Where a client is in its life.
struct Client {
    connection: Arc<Connection>,
    rooms: Vec<Bytes>,
    is_upgraded: bool,
    /// The beginning of what is not all there yet.
    unread: Vec<u8>,
}

impl Connection {
    /// Answers a client until it is gone.
    pub(crate) async fn serve(stream: TcpStream, rooms: Arc<Rooms>) {
        let outbox = Mutex::default();
        let connection = Arc::new(Self { stream, outbox });
        let mut client = Client {
            connection: Arc::clone(&connection),
            rooms: Vec::new(),
            is_upgraded: false,
            unread: Vec::new(),
        };
        while connection.stream.readable().await.is_ok() && client.read(&rooms).is_ok() {}
        for room in &client.rooms {
            rooms.leave(room, &connection);
        }
    }

    /// Keeps a frame to be written; true when the caller has to see to it.
    pub(crate) fn push(&self, frame: Bytes) -> bool {
        let mut outbox = self.outbox();
        outbox.frames.push_back(frame);
        !std::mem::replace(&mut outbox.is_taken_care_of, true)
    }

    /// Writes what waits; what the system does not take now is written by a task as soon as it does.
    pub(crate) fn flush(self: Arc<Self>) {
        if self.write() == Written::All {
            return;
        }
        tokio::spawn(async move { while self.stream.writable().await.is_ok() && self.write() == Written::Some {} });
    }

    fn write(&self) -> Written {
        let mut outbox = self.outbox();
        while let Some(first) = outbox.frames.front() {
            let written = if outbox.frames.len() == 1 {
                self.stream.try_write(first)
            } else {
                WRITTEN.with_borrow_mut(|joined| self.stream.try_write(outbox.join(joined)))
            };
            match written {
                Ok(bytes) => outbox.take(bytes),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Written::Some,
                Err(_) => outbox.frames.clear(), // it is gone, as its reader learns
            }
        }
        outbox.is_taken_care_of = false;
        Written::All
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How much of what waited is written.
#[derive(PartialEq)]
enum Written {
    All,
    Some,
}

impl Outbox {
    /// The first frames in one piece.
    fn join<'a>(&self, joined: &'a mut Vec<u8>) -> &'a [u8] {
        joined.clear();
        for frame in &self.frames {
            if !joined.is_empty() && joined.len() + frame.len() > BUFFER_BYTES {
                break;
            }
            joined.extend_from_slice(frame);
        }
        joined
    }

    /// Forgets what is written.
    fn take(&mut self, mut bytes: usize) {
        while let Some(first) = self.frames.front_mut()
            && bytes > 0
        {
            let part = bytes.min(first.len());
            first.advance(part);
            bytes -= part;
            if first.is_empty() {
                self.frames.pop_front();
            }
        }
    }
}

impl Client {
    /// Reads what is there, and answers it with one write.
    fn read(&mut self, rooms: &Rooms) -> io::Result<()> {
        let mut answers = Vec::new();
        READ.with_borrow_mut(|read| {
            let bytes = match self.connection.stream.try_read(read) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(bytes) => &mut read[..bytes],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            if self.unread.is_empty() {
                let rest = self.answer(bytes, &mut answers, rooms)?.to_vec();
                self.unread = rest;
            } else {
                let mut all = std::mem::take(&mut self.unread);
                all.extend_from_slice(bytes);
                self.unread = self.answer(&mut all, &mut answers, rooms)?.to_vec();
            }
            Ok(())
        })?;
        if !answers.is_empty() && self.connection.push(answers.into()) {
            Arc::clone(&self.connection).flush();
        }
        Ok(())
    }

    /// Answers all that is complete, and says what is not.
    fn answer<'a>(&mut self, mut bytes: &'a mut [u8], answers: &mut Vec<u8>, rooms: &Rooms) -> io::Result<&'a [u8]> {
        if !self.is_upgraded {
            if bytes.ends_with(b"\r\n\r\n") {
                wire::upgrade(bytes, answers)?;
                self.is_upgraded = true;
                return Ok(&[]);
            }
            return Ok(bytes);
        }
        while let Some((head, length)) = wire::first_frame(bytes) {
            let (frame, rest) = bytes.split_at_mut(head + length);
            match wire::said(&wire::unmasked(frame, head), answers) {
                Said::Nothing => {}
                Said::Close => return Err(io::ErrorKind::UnexpectedEof.into()),
                Said::Join(room) => {
                    let room = Bytes::copy_from_slice(room);
                    self.rooms.push(room.clone());
                    rooms.join(room, Arc::clone(&self.connection));
                }
                Said::Publish { room, frame } => rooms.broadcast(Broadcast {
                    room: Bytes::copy_from_slice(room),
                    frame: frame.into(),
                }),
            }
            bytes = rest;
        }
        Ok(bytes)
    }
}
