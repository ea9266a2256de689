//! Which sessions are here: from the id in a request to the session it belongs to.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::outbox::Outbox;
use super::websocket::Opened;
use crate::protocol::Version;
use crate::protocol::ids::Sid;
use crate::protocol::payload::Payload;

/// Independent parts of the table, so that handshakes on different cores rarely meet.
const PARTS: usize = 16;

/// Requests that may lie in one mailbox: a client has one of each kind under way, more is a flood.
const MAIL_MAX: usize = 16;

/// All sessions of this node.
#[derive(Debug, Default)]
pub struct Directory {
    parts: [Mutex<HashMap<Sid, Entry, RandomState>>; PARTS],
}

/// One session as requests find it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) version: Version,
    pub(super) outbox: Arc<Outbox>,
    /// Where polling requests and upgrades go; a session that was born on a WebSocket has none.
    pub(super) mailbox: Option<Arc<Mailbox>>,
}

/// What HTTP requests bring to the task of a session that polls.
#[derive(Debug)]
pub(super) struct Mailbox {
    /// `None` once nobody takes mail out any more.
    mail: Mutex<Option<VecDeque<Mail>>>,
    /// A POST is being read.
    is_posting: AtomicBool,
    /// A rule was broken: the session ends, and no request finds it any more.
    is_broken: AtomicBool,
    /// The session is over; only the poll that shall hear of it is still let in.
    is_over: AtomicBool,
}

/// One thing that a request brings.
#[derive(Debug)]
pub(super) enum Mail {
    /// A GET waits for packets.
    Poll(oneshot::Sender<Reply>),
    /// A POST brought packets.
    Post(Post),
    /// A WebSocket wants to take over.
    Probe(Box<Opened>),
    /// The parked poll is to be answered, whatever there is.
    Release,
    /// The client broke a rule of polling, or broke off: the session ends.
    Broken,
}

/// The body of a POST.
#[derive(Debug)]
pub(super) struct Post {
    pub(super) body: Bytes,
    /// Its content type was that of a v3 binary payload.
    pub(super) is_binary: bool,
    pub(super) reply: oneshot::Sender<Reply>,
}

/// What a session's task answers to a request.
#[derive(Debug)]
pub(super) enum Reply {
    /// 200 with packets.
    Payload(Payload),
    /// 200 `ok`.
    Ok,
    /// 400 without a body.
    Refused,
    /// 400 and the error "bad request".
    Malformed,
    /// 400 and the error "session unknown".
    Gone,
}

impl Directory {
    fn part(&self, sid: &Sid) -> &Mutex<HashMap<Sid, Entry, RandomState>> {
        let random = sid.as_str().as_bytes()[SID_RANDOM_AT];
        &self.parts[usize::from(random) % PARTS]
    }

    pub(super) fn insert(&self, entry: Entry) {
        let sid = *entry.outbox.sid();
        self.part(&sid).lock().insert(sid, entry);
    }

    pub(super) fn get(&self, sid: &Sid) -> Option<Entry> {
        self.part(sid).lock().get(sid).cloned()
    }

    pub(super) fn remove(&self, sid: &Sid) {
        self.part(sid).lock().remove(sid);
    }

    /// The outboxes of all sessions.
    pub fn outboxes(&self) -> Vec<Arc<Outbox>> {
        let outboxes = |part: &Mutex<HashMap<Sid, Entry, RandomState>>| -> Vec<_> {
            part.lock().values().map(|entry| Arc::clone(&entry.outbox)).collect()
        };
        self.parts.iter().flat_map(outboxes).collect()
    }

    /// The number of sessions.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.lock().len()).sum()
    }

    /// Whether there is no session.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A character of a session id behind the node's tag.
const SID_RANDOM_AT: usize = 10;

impl Default for Mailbox {
    fn default() -> Self {
        Self {
            mail: Mutex::new(Some(VecDeque::new())),
            is_posting: AtomicBool::default(),
            is_broken: AtomicBool::default(),
            is_over: AtomicBool::default(),
        }
    }
}

impl Mailbox {
    /// Leaves mail; false when the box is full. In one that is closed it is dropped, and whoever waits for the answer
    /// hears that there is none.
    pub(super) fn put(&self, mail: Mail) -> bool {
        match &mut *self.mail.lock() {
            Some(mails) if mails.len() >= MAIL_MAX => return false,
            Some(mails) => mails.push_back(mail),
            None => {}
        }
        true
    }

    pub(super) fn take(&self) -> Option<Mail> {
        self.mail.lock().as_mut()?.pop_front()
    }

    /// Drops what lies here and whatever still comes: a request that found the session just before its end must not wait
    /// for an answer for ever.
    pub(super) fn close(&self) {
        let mails = self.mail.lock().take();
        drop(mails); // without the lock
    }

    /// Claims the session's one POST; false when another one is being read.
    pub(super) fn begin_post(&self) -> bool {
        !self.is_posting.swap(true, Ordering::AcqRel)
    }

    /// Ends the session, as a request broke a rule or broke off.
    pub(super) fn break_session(&self) {
        self.is_broken.store(true, Ordering::Release);
        self.put(Mail::Broken); // a full mailbox holds a flood, which ends the session as well
    }

    /// From now on polls alone are let in.
    pub(super) fn end_session(&self) {
        self.is_over.store(true, Ordering::Release);
    }

    /// Whether requests find the session, `GET`s or others.
    pub(super) fn admits(&self, is_get: bool) -> bool {
        !self.is_broken.load(Ordering::Acquire) && (is_get || !self.is_over.load(Ordering::Acquire))
    }

    pub(super) fn end_post(&self) {
        self.is_posting.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_an_answer_from_a_mailbox_that_is_closed() {
        let mailbox = Mailbox::default();
        let (early, mut waiting) = oneshot::channel();
        assert!(mailbox.put(Mail::Poll(early)));
        assert!(
            waiting
                .try_recv()
                .is_err_and(|error| error == oneshot::error::TryRecvError::Empty)
        );
        mailbox.close();
        assert!(
            waiting
                .try_recv()
                .is_err_and(|error| error == oneshot::error::TryRecvError::Closed)
        );
        let (late, mut waiting) = oneshot::channel();
        assert!(mailbox.put(Mail::Poll(late)));
        assert!(
            waiting
                .try_recv()
                .is_err_and(|error| error == oneshot::error::TryRecvError::Closed)
        );
        assert!(mailbox.take().is_none());
    }
}
