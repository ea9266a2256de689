//! The bounded queue between everybody and one session, and the way out of it.
//!
//! The only part of a client that others may touch. It holds what was encoded once and shared, counts its bytes, ends
//! the client that lets too much wait, and writes to a plain WebSocket directly, without waking the session's task.
//! Nothing here awaits, and nothing blocks on a client.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use atomic_waker::AtomicWaker;
use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::net::TcpStream;

use crate::http::Lease;
use crate::metrics::Tally;
use crate::protocol::encoded::{Encoded, WebSocketForm};
use crate::protocol::ids::Sid;
use crate::reason::Reason;

/// Packets that may wait for one client, whatever their size: high enough that bytes decide.
const PACKETS_MAX: usize = 65_536;

/// Bytes that are joined into one write. More gains nothing: the kernel's own buffer is of this order.
const JOINED_BYTES_MAX: usize = 64 * 1024;

/// From this size on frames are gathered where they lie; below, copying them is cheaper than describing them.
const GATHERED_BYTES_MIN: usize = 1024;

/// Frames that one gathering write describes.
const GATHERED_FRAMES_MAX: usize = 64;

/// Slots for packets that an idle outbox may keep.
const IDLE_SLOTS_MAX: usize = 8;

thread_local! {
    /// Where small frames are joined before they are written.
    static JOINED: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(JOINED_BYTES_MAX));
}

/// What waits for one client, and the socket it leaves through.
#[derive(Debug)]
pub struct Outbox {
    sid: Sid,
    bytes_max: usize,
    /// Set once, when the session gets its WebSocket.
    socket: OnceLock<(TcpStream, Arc<Lease>)>,
    /// The session's task.
    task: AtomicWaker,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    queue: VecDeque<Arc<Encoded>>,
    /// Bytes in `queue`.
    bytes: usize,
    /// Bytes of the front packet that the socket took already.
    written: usize,
    route: Route,
    /// Somebody was told to flush and has not yet.
    is_listed: bool,
    /// Why the session has to end, once something says so.
    end: Option<Reason>,
}

/// Who takes packets out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    /// The session's task: it polls, or its WebSocket is not there yet.
    Task,
    /// Whoever flushes, straight into the WebSocket.
    Socket(WebSocketForm),
    /// The session's task, once the WebSocket takes bytes again.
    Blocked(WebSocketForm),
    /// Nobody any more.
    Closed,
}

impl Outbox {
    /// An empty outbox of a session whose task takes packets out.
    pub fn new(sid: Sid, bytes_max: usize) -> Self {
        Self {
            sid,
            bytes_max,
            socket: OnceLock::new(),
            task: AtomicWaker::new(),
            state: Mutex::new(State {
                queue: VecDeque::new(),
                bytes: 0,
                written: 0,
                route: Route::Task,
                is_listed: false,
                end: None,
            }),
        }
    }

    /// The session's id.
    pub fn sid(&self) -> &Sid {
        &self.sid
    }

    /// Puts a packet behind all others. True when the caller must call [`flush`](Self::flush) soon; packets for a
    /// session that is over are dropped. A client for which too much waits is ended as too slow.
    pub fn push(&self, packet: Arc<Encoded>, tally: &mut Tally) -> bool {
        let mut state = self.state.lock();
        if !state.has_room(packet.weight(), self.bytes_max) {
            // What the socket would take now does not count against the client.
            self.write(&mut state, tally);
            if !state.has_room(packet.weight(), self.bytes_max) {
                state.end(Reason::TooSlow);
                self.task.wake();
                return false;
            }
        }
        state.accept(packet);
        match state.route {
            Route::Socket(_) => !std::mem::replace(&mut state.is_listed, true),
            Route::Task => {
                if !std::mem::replace(&mut state.is_listed, true) {
                    self.task.wake();
                }
                false
            }
            Route::Blocked(_) | Route::Closed => false,
        }
    }

    /// Puts a packet behind all others for a caller that flushes later in any case.
    pub(super) fn push_own(&self, packet: Arc<Encoded>, tally: &mut Tally) {
        let mut state = self.state.lock();
        if !state.has_room(packet.weight(), self.bytes_max) {
            self.write(&mut state, tally);
            if !state.has_room(packet.weight(), self.bytes_max) {
                return state.end(Reason::TooSlow);
            }
        }
        state.accept(packet);
    }

    /// Puts the last frame behind all others, even where the session has to end, and writes.
    pub(super) fn push_last(&self, packet: Arc<Encoded>, tally: &mut Tally) {
        let mut state = self.state.lock();
        state.end = None;
        state.accept(packet);
        self.write(&mut state, tally);
    }

    /// Writes what waits, as far as the WebSocket takes it; the rest is left to the session's task.
    pub fn flush(&self, tally: &mut Tally) {
        let mut state = self.state.lock();
        state.is_listed = false;
        self.write(&mut state, tally);
    }

    /// Ends the session: its task closes it for this reason, unless there was one before.
    pub fn end(&self, reason: Reason) {
        self.state.lock().end(reason);
        self.task.wake();
    }

    /// Why the session has to end, if it has.
    pub(super) fn ended(&self) -> Option<Reason> {
        self.state.lock().end
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.state.lock().bytes
    }

    /// The session's WebSocket, once it has one.
    pub(super) fn socket(&self) -> Option<&TcpStream> {
        self.socket.get().map(|(socket, _)| socket)
    }

    /// From now on packets leave through this WebSocket. False when there was one before.
    pub(super) fn attach(&self, socket: TcpStream, lease: Arc<Lease>, form: WebSocketForm) -> bool {
        let mut state = self.state.lock();
        if self.socket.set((socket, lease)).is_err() {
            return false;
        }
        state.is_listed = false;
        state.route = Route::Socket(form);
        true
    }

    /// Takes packets for the answer to a poll: at most `packets_max`, and at most `bytes_max` bytes behind the first.
    pub fn take(&self, packets_max: usize, bytes_max: usize) -> Vec<Arc<Encoded>> {
        let mut state = self.state.lock();
        state.is_listed = false;
        let mut taken = Vec::new();
        let mut bytes = 0;
        while taken.len() < packets_max
            && let Some(packet) = state
                .queue
                .pop_front_if(|next| taken.is_empty() || bytes + next.weight() <= bytes_max)
        {
            bytes += packet.weight();
            state.bytes -= packet.weight();
            taken.push(packet);
        }
        taken
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.state.lock().queue.is_empty()
    }

    /// Drops what waits and everything that still comes.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.route = Route::Closed;
        state.clear();
    }

    /// The session's task is to be woken when something is pushed or the session must end.
    pub(super) fn register(&self, cx: &Context<'_>) {
        self.task.register(cx.waker());
    }

    /// Wakes the session's task.
    pub(super) fn wake(&self) {
        self.task.wake();
    }

    /// Flushes as soon as a blocked WebSocket takes bytes again. Ready when nothing is blocked (any more).
    pub(super) fn poll_unblock(&self, cx: &mut Context<'_>, tally: &mut Tally) -> Poll<()> {
        loop {
            let Route::Blocked(form) = self.state.lock().route else {
                return Poll::Ready(());
            };
            let Some(socket) = self.socket() else {
                return Poll::Ready(());
            };
            std::task::ready!(socket.poll_write_ready(cx)).ok(); // the write below meets the same error
            let mut state = self.state.lock();
            state.route = Route::Socket(form);
            self.write(&mut state, tally);
        }
    }

    /// Writes until nothing waits or the socket is full.
    fn write(&self, state: &mut State, tally: &mut Tally) {
        let (Route::Socket(form), Some(socket)) = (state.route, self.socket()) else {
            return;
        };
        while let Some(front) = state.queue.front() {
            let front = &front.frames(form)[state.written..];
            let result = if state.queue.len() == 1 {
                socket.try_write(front)
            } else if front.len() >= GATHERED_BYTES_MIN {
                let frames = state
                    .queue
                    .iter()
                    .skip(1)
                    .take(GATHERED_FRAMES_MAX - 1)
                    .map(|packet| packet.frames(form));
                let slices: SmallVec<[IoSlice<'_>; GATHERED_FRAMES_MAX]> =
                    std::iter::once(front).chain(frames).map(IoSlice::new).collect();
                socket.try_write_vectored(&slices)
            } else {
                JOINED.with_borrow_mut(|joined| {
                    state.join(form, joined);
                    socket.try_write(joined)
                })
            };
            match result {
                Ok(count) => {
                    tally.bytes += count as u64;
                    state.advance(count, form, tally);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    state.route = Route::Blocked(form);
                    return self.task.wake();
                }
                Err(_) => {
                    state.end(Reason::TransportClosed);
                    return self.task.wake();
                }
            }
        }
        if state.queue.capacity() > IDLE_SLOTS_MAX {
            state.queue.shrink_to(IDLE_SLOTS_MAX / 2);
        }
    }
}

impl State {
    /// Whether `weight` more bytes may wait. An empty outbox takes one packet of any size.
    fn has_room(&self, weight: usize, bytes_max: usize) -> bool {
        self.queue.is_empty() || (self.bytes + weight <= bytes_max && self.queue.len() < PACKETS_MAX)
    }

    fn accept(&mut self, packet: Arc<Encoded>) {
        if self.route != Route::Closed && self.end.is_none() {
            self.bytes += packet.weight();
            self.queue.push_back(packet);
        }
    }

    fn end(&mut self, reason: Reason) {
        // The first reason counts, unless there is no more time for any.
        if (self.end.is_none() || reason == Reason::Shutdown) && self.route != Route::Closed {
            self.end = Some(reason);
            if matches!(reason, Reason::TooSlow | Reason::TransportClosed) {
                self.clear();
            }
        }
    }

    fn clear(&mut self) {
        self.queue = VecDeque::new();
        self.bytes = 0;
        self.written = 0;
    }

    /// Copies the frames at the front into `joined`, as many as fit.
    fn join(&self, form: WebSocketForm, joined: &mut Vec<u8>) {
        joined.clear();
        let mut from = self.written;
        for packet in &self.queue {
            let frame = &packet.frames(form)[from..];
            from = 0;
            if !joined.is_empty() && joined.len() + frame.len() > JOINED_BYTES_MAX {
                break;
            }
            joined.extend_from_slice(frame);
        }
    }

    /// Takes off the queue what `count` written bytes finish.
    fn advance(&mut self, count: usize, form: WebSocketForm, tally: &mut Tally) {
        self.written += count;
        while let Some(front) = self.queue.front()
            && self.written >= front.frames(form).len()
        {
            self.written -= front.frames(form).len();
            self.bytes -= front.weight();
            tally.count(front.kind());
            self.queue.pop_front();
        }
    }
}
