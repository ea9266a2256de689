//! Events on their way into streams of Redis: in the order in which they came, many under way at a time.
//!
//! Each is sent once, and is answered when Redis has answered, or after a second. Nothing here waits for a client.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tracing::{debug, error};

use super::answer::Answer;
use super::redis::Failure;
use super::relay::Relay;
use super::{Bus, Cluster};
use crate::hub::{UNITS_MAX, units};
use crate::limits::Seldom;
use crate::metrics::Refusal;

/// Entries that a stream has at most, about.
const ENTRIES_MAX: u32 = 100_000;

/// The field of an entry that holds the event.
const FIELD: &str = "event";

/// Events whose answers Redis owes. More wait in our own queue, where no timeout runs.
const UNDER_WAY_MAX: usize = 1024;

/// The way into streams.
#[derive(Debug)]
pub(super) struct Streams {
    queue: mpsc::UnboundedSender<Entry>, // bounded by `room`
    room: Arc<Semaphore>,
    /// When it was said last that Redis refuses some.
    refused: Seldom,
}

/// What came of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// Redis has it.
    Taken,
    /// Redis did not take it, or did not say so.
    NotTaken,
}

impl Appended {
    /// The answer's array as written.
    pub const fn json(self) -> &'static str {
        match self {
            Self::Taken => r#"[{"ok":true}]"#,
            Self::NotTaken => r#"[{"ok":false,"error":"unavailable","message":"Redis did not take the event"}]"#,
        }
    }
}

/// An event on its way.
#[derive(Debug)]
pub(super) struct Entry {
    stream: Arc<str>,
    event: Bytes,
    answer: Option<Answer>,
    _room: OwnedSemaphorePermit,
}

impl Streams {
    /// The way, and its other end for [`Relay::append_all`].
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Entry>) {
        let (queue, entries) = mpsc::unbounded_channel();
        let streams = Self {
            queue,
            room: Arc::new(Semaphore::new(UNITS_MAX as usize)),
            refused: Seldom::default(),
        };
        (streams, entries)
    }

    /// Waits until everything is at Redis, or lost.
    pub(super) async fn flushed(&self) {
        let _ = self.room.acquire_many(UNITS_MAX).await;
    }
}

impl Cluster {
    /// Appends an event to a stream, behind all that came before. What came of it, where that is known at once; else
    /// `answer` is sent later.
    pub fn append(&self, stream: &Arc<str>, event: Bytes, answer: Option<Answer>) -> Option<Appended> {
        let Bus::Redis(relay) = &self.bus else {
            return Some(Appended::NotTaken); // the configuration does not allow it
        };
        let room = Arc::clone(&relay.streams.room).try_acquire_many_owned(units(event.len()));
        let Ok(room) = room else {
            debug!("too many events wait to be appended to streams");
            relay.metrics.refused(Refusal::Unavailable);
            return Some(Appended::NotTaken);
        };
        let entry = Entry {
            stream: Arc::clone(stream),
            event,
            answer,
            _room: room,
        };
        let _ = relay.streams.queue.send(entry); // its receiver ends with the runtime alone
        None
    }
}

impl Relay {
    /// Appends in order, many at a time.
    pub(super) async fn append_all(self: Arc<Self>, mut entries: mpsc::UnboundedReceiver<Entry>) {
        let mut under_way = FuturesOrdered::new();
        loop {
            tokio::select! {
                Some(entry) = entries.recv(), if under_way.len() < UNDER_WAY_MAX => {
                    let appended = self.redis.xadd(&entry.stream, ENTRIES_MAX, FIELD, entry.event.clone());
                    under_way.push_back(async move { (appended.await, entry) });
                }
                Some((result, entry)) = under_way.next() => self.appended(&result, entry),
                else => return,
            }
        }
    }

    /// Redis has answered, or will not.
    fn appended(&self, result: &Result<(), Failure>, entry: Entry) {
        let appended = match result {
            Ok(()) => Appended::Taken,
            Err(failure) => {
                if let Failure::Refused(words) = failure
                    && self.streams.refused.is_time()
                {
                    error!(words, stream = &*entry.stream, "Redis refuses to append to a stream");
                }
                debug!(%failure, stream = &*entry.stream, "an event was not appended");
                self.metrics.refused(Refusal::Unavailable);
                Appended::NotTaken
            }
        };
        if let Some(answer) = entry.answer {
            self.hub.send(answer.key, &answer.id, answer.packet_of(appended.json()));
        }
    }
}
