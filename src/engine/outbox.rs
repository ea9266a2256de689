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

use crate::http::Lease;
use crate::metrics::{Tally, Transport};
use crate::protocol::encoded::{Encoded, WebSocketForm};
use crate::protocol::ids::Sid;
use crate::reason::Reason;
use crate::stream::Stream;

/// Packets that may wait for one client, whatever their size: high enough that bytes decide.
const PACKETS_MAX: usize = 65_536;

/// Bytes that a packet takes beside its own, about: else a thousand small answers would take ten times what they count.
const PACKET_BYTES: usize = 128;

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
    socket: OnceLock<(Stream, Arc<Lease>)>,
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
    /// A packet was dropped of which the socket took a part: the client would take whatever comes behind for the rest.
    is_cut: bool,
    route: Route,
    /// Somebody was told to flush and has not yet.
    is_listed: bool,
    /// A poll waits for packets.
    is_parked: bool,
    /// The hub has something for the session's task.
    is_called: bool,
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
                is_cut: false,
                route: Route::Task,
                is_listed: false,
                is_parked: false,
                is_called: false,
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
        if !self.admit(&mut state, packet, tally) {
            self.task.wake();
            return false;
        }
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

    /// The same, but only for a client that can take it now: its last write did not block, or its poll waits.
    pub fn push_volatile(&self, packet: Arc<Encoded>, tally: &mut Tally) -> bool {
        let state = self.state.lock();
        let can_take = matches!(state.route, Route::Socket(_)) || (state.route == Route::Task && state.is_parked);
        drop(state);
        if !can_take {
            tally.dropped += 1;
        }
        can_take && self.push(packet, tally)
    }

    /// A poll waits for packets, or none does.
    pub(super) fn set_parked(&self, is_parked: bool) {
        self.state.lock().is_parked = is_parked;
    }

    /// The hub has something for the session's task.
    pub fn call(&self) {
        self.state.lock().is_called = true;
        self.task.wake();
    }

    /// Whether the task was called since the last time.
    pub(super) fn take_call(&self) -> bool {
        std::mem::take(&mut self.state.lock().is_called)
    }

    /// Puts a packet behind all others for a caller that flushes later in any case.
    pub(super) fn push_own(&self, packet: Arc<Encoded>, tally: &mut Tally) {
        self.admit(&mut self.state.lock(), packet, tally);
    }

    /// Queues a packet; false where that was too much, and the client is ended.
    fn admit(&self, state: &mut State, packet: Arc<Encoded>, tally: &mut Tally) -> bool {
        if !state.has_room(packet.weight(), self.bytes_max) {
            // What the socket would take now does not count against the client.
            self.write(state, tally);
            if !state.has_room(packet.weight(), self.bytes_max) {
                state.end(Reason::TooSlow);
                return false;
            }
        }
        state.accept(packet);
        true
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
    pub(crate) fn ended(&self) -> Option<Reason> {
        self.state.lock().end
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.state.lock().bytes
    }

    /// How packets leave from here at the moment.
    pub fn transport(&self) -> Transport {
        if self.socket().is_some() {
            Transport::WebSocket
        } else {
            Transport::Polling
        }
    }

    /// The session's WebSocket, once it has one.
    pub(super) fn socket(&self) -> Option<&Stream> {
        self.socket.get().map(|(socket, _)| socket)
    }

    /// From now on packets leave through this WebSocket. False when there was one before.
    #[doc(hidden)] // for those who measure what leaves from here
    pub fn attach(&self, socket: Stream, lease: Arc<Lease>, form: WebSocketForm) -> bool {
        let mut state = self.state.lock();
        if self.socket.set((socket, lease)).is_err() {
            return false;
        }
        state.is_listed = false;
        state.route = Route::Socket(form);
        true
    }

    /// From now on Socket.IO's packets leave in MessagePack. None may wait yet, nor one be written in part.
    pub(super) fn speak_msgpack(&self) {
        if let Route::Socket(form) | Route::Blocked(form) = &mut self.state.lock().route {
            form.msgpack = true;
        }
    }

    /// Takes packets for the answer to a poll: at most `packets_max`, and at most `bytes_max` bytes behind the first.
    pub fn take(&self, packets_max: usize, bytes_max: usize) -> Vec<Arc<Encoded>> {
        let mut state = self.state.lock();
        state.is_listed = false;
        state.is_parked = false;
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
        let packets = self.queue.len();
        packets == 0 || (self.bytes + weight + packets * PACKET_BYTES <= bytes_max && packets < PACKETS_MAX)
    }

    fn accept(&mut self, packet: Arc<Encoded>) {
        if self.route != Route::Closed && self.end.is_none() && !self.is_cut {
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
        self.is_cut |= self.written > 0;
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
            && let Some(rest) = self.written.checked_sub(front.frames(form).len())
        {
            self.written = rest;
            self.bytes -= front.weight();
            tally.count(front.kind());
            self.queue.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::Read as _;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};
    use std::thread::JoinHandle;
    use std::time::Duration;

    use proptest::prelude::*;
    use socket2::SockRef;

    use super::*;
    use crate::protocol::Version;
    use crate::protocol::ids::IdGenerator;

    const FORM: WebSocketForm = WebSocketForm {
        version: Version::V4,
        base64: false,
        double_utf8: false,
        msgpack: false,
    };

    /// Time in which whatever a test waits for has happened.
    const DEADLINE: Duration = Duration::from_secs(20);

    /// More than the buffers of both ends of a connection hold.
    const LARGER_THAN_BUFFERS: usize = 8 << 20;

    fn outbox(bytes_max: usize) -> Outbox {
        Outbox::new(IdGenerator::new().unwrap().next().unwrap(), bytes_max)
    }

    /// A packet that weighs this much.
    fn weighing(bytes: usize) -> Arc<Encoded> {
        let packet = Encoded::text(&["4", &"x".repeat(bytes - 3)]);
        assert_eq!(
            packet.weight(),
            bytes,
            "frames of up to 125 bytes have two bytes of header"
        );
        Arc::new(packet)
    }

    fn push(outbox: &Outbox, packet: Arc<Encoded>) -> bool {
        outbox.push(packet, &mut Tally::default())
    }

    /// An outbox with a WebSocket whose send buffer is as small as the system allows, and the client's end of it. The
    /// receive buffer is larger than a segment: below that the kernels wait for each other's timers.
    async fn attached(bytes_max: usize) -> (Outbox, std::net::TcpStream) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        SockRef::from(&listener).set_recv_buffer_size(256 * 1024).unwrap();
        let address = listener.local_addr().unwrap();
        let socket = Stream::Tcp(tokio::net::TcpStream::connect(address).await.unwrap());
        SockRef::from(&socket).set_send_buffer_size(1).unwrap();
        let (client, _) = listener.accept().unwrap();
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        let lease = Lease::take(&Arc::new(AtomicUsize::new(0)), 1).unwrap();
        let outbox = outbox(bytes_max);
        assert!(outbox.attach(socket, Arc::new(lease), FORM));
        (outbox, client)
    }

    /// Everything that the client gets until its connection is closed.
    fn read_to_end(mut client: std::net::TcpStream) -> JoinHandle<Vec<u8>> {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            client.read_to_end(&mut bytes).unwrap();
            bytes
        })
    }

    /// Does what a session's task does until nothing waits and `is_done`.
    async fn run(outbox: &Outbox, is_done: impl Fn() -> bool) -> Tally {
        let mut tally = Tally::default();
        let run = poll_fn(|cx| {
            outbox.register(cx);
            std::task::ready!(outbox.poll_unblock(cx, &mut tally));
            if is_done() && outbox.is_empty() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        tokio::time::timeout(DEADLINE, run).await.expect("an empty outbox");
        tally
    }

    #[test]
    fn an_outbox_holds_what_it_may_to_the_byte() {
        let outbox = outbox(100 + PACKET_BYTES);
        for _ in 0..2 {
            push(&outbox, weighing(50));
        }
        assert_eq!((outbox.bytes(), outbox.ended()), (100, None));
        push(&outbox, weighing(3));
        assert_eq!((outbox.bytes(), outbox.ended()), (0, Some(Reason::TooSlow)));
        push(&outbox, weighing(3));
        assert!(outbox.is_empty(), "nothing enters behind the end");
        outbox.end(Reason::Kicked);
        assert_eq!(outbox.ended(), Some(Reason::TooSlow), "the first reason stays");
    }

    #[test]
    fn an_outbox_holds_so_many_packets_and_no_more() {
        let (outbox, packet) = (outbox(usize::MAX), weighing(3));
        for _ in 0..PACKETS_MAX {
            push(&outbox, Arc::clone(&packet));
        }
        assert_eq!(outbox.ended(), None);
        push(&outbox, packet);
        assert_eq!(outbox.ended(), Some(Reason::TooSlow));
    }

    #[test]
    fn an_empty_outbox_takes_one_packet_of_any_size() {
        for push in [Outbox::push_own, |outbox: &Outbox, packet, tally: &mut Tally| {
            outbox.push(packet, tally);
        }] {
            let outbox = outbox(10);
            push(&outbox, weighing(100), &mut Tally::default());
            assert_eq!((outbox.bytes(), outbox.ended()), (100, None));
            push(&outbox, weighing(3), &mut Tally::default());
            assert_eq!(outbox.ended(), Some(Reason::TooSlow));
        }
    }

    #[test]
    fn a_poll_takes_so_many_packets_and_bytes_behind_the_first() {
        let outbox = outbox(1000);
        for bytes in [100, 10, 10, 10, 5] {
            push(&outbox, weighing(bytes));
        }
        let weights = |taken: Vec<Arc<Encoded>>| taken.iter().map(|packet| packet.weight()).collect::<Vec<_>>();
        assert_eq!(weights(outbox.take(10, 50)), [100], "the first, whatever its size");
        assert_eq!(weights(outbox.take(2, 50)), [10, 10]);
        assert_eq!(weights(outbox.take(10, 14)), [10]);
        assert_eq!(weights(outbox.take(10, 14)), [5]);
        assert_eq!((outbox.bytes(), outbox.take(10, 14).len()), (0, 0));
    }

    #[test]
    fn a_task_is_woken_once_for_all_that_waits() {
        #[derive(Default)]
        struct Wakes(AtomicUsize);
        impl Wake for Wakes {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let (outbox, wakes) = (outbox(1000), Arc::new(Wakes::default()));
        let waker = Waker::from(Arc::clone(&wakes));
        for expected in 1..3 {
            outbox.register(&Context::from_waker(&waker));
            for _ in 0..3 {
                assert!(
                    !push(&outbox, weighing(3)),
                    "nobody else can flush to a client that polls"
                );
            }
            assert_eq!(wakes.0.load(Ordering::Relaxed), expected);
            assert_eq!(outbox.take(10, 100).len(), 3);
        }
    }

    #[tokio::test]
    async fn one_of_many_who_push_is_told_to_flush() {
        let (outbox, client) = attached(1000).await;
        for _ in 0..2 {
            assert!(push(&outbox, weighing(10)));
            assert!(!push(&outbox, weighing(10)));
            outbox.flush(&mut Tally::default());
            assert!(outbox.is_empty());
        }
        drop(outbox);
        assert_eq!(read_to_end(client).join().unwrap().len(), 40);
    }

    #[tokio::test]
    async fn what_a_full_socket_does_not_take_leaves_later_in_order() {
        let (outbox, client) = attached(usize::MAX).await;
        let mut expected = Vec::new();
        let mut tally = Tally::default();
        let mut behind = 0;
        for number in 0.. {
            let packet = Arc::new(Encoded::text(&["4", &number.to_string(), &"x".repeat(number % 3000)]));
            expected.extend_from_slice(packet.frames(FORM));
            if outbox.push(packet, &mut tally) {
                outbox.flush(&mut tally);
            }
            // Some more behind the one that met a full socket: for those nobody is told to flush.
            behind += usize::from(matches!(outbox.state.lock().route, Route::Blocked(_)));
            if behind > 100 {
                break;
            }
            assert!(expected.len() < LARGER_THAN_BUFFERS, "the socket takes everything");
        }
        let received = read_to_end(client);
        tally.bytes += run(&outbox, || true).await.bytes;
        assert_eq!((tally.bytes, outbox.bytes()), (expected.len() as u64, 0));
        drop(outbox);
        assert!(received.join().unwrap() == expected);
    }

    #[tokio::test]
    async fn nothing_is_written_behind_a_frame_that_was_cut() {
        let (outbox, client) = attached(1000).await;
        let text = "x".repeat(LARGER_THAN_BUFFERS);
        let large = Arc::new(Encoded::text(&["4", &text]));
        push(&outbox, Arc::clone(&large));
        outbox.flush(&mut Tally::default());
        assert!(outbox.state.lock().written > 0);
        push(&outbox, weighing(3));
        assert_eq!(outbox.ended(), Some(Reason::TooSlow));
        // The session may end for another reason at the same time, and then says so to a client that still listens.
        outbox.end(Reason::Shutdown);
        let received = read_to_end(client);
        outbox.push_last(weighing(4), &mut Tally::default());
        run(&outbox, || true).await;
        drop(outbox);
        let received = received.join().unwrap();
        assert!(large.frames(FORM).starts_with(&received));
    }

    #[tokio::test]
    async fn a_closed_outbox_holds_nothing() {
        let outbox = outbox(1000);
        push(&outbox, weighing(3));
        outbox.close();
        assert!(!push(&outbox, weighing(3)));
        outbox.end(Reason::Kicked);
        assert_eq!((outbox.bytes(), outbox.ended()), (0, None));
    }

    /// The packets of one thread: sizes for the three ways to write, some with an attachment.
    fn packets() -> impl Strategy<Value = Vec<(usize, Option<usize>)>> {
        let size = || prop_oneof![0..200_usize, 900..1200_usize, 10_000..70_000_usize];
        prop::collection::vec((size(), prop::option::weighted(0.2, size())), 1..40)
    }

    /// Pushes and flushes from a thread for each list, while a client reads. What it got, and what was counted.
    async fn race(lists: &[Vec<Arc<Encoded>>]) -> (Vec<u8>, Tally) {
        let (outbox, client) = attached(usize::MAX).await;
        let (received, outbox) = (read_to_end(client), Arc::new(outbox));
        let running = Arc::new(AtomicUsize::new(lists.len()));
        let threads: Vec<_> = lists
            .iter()
            .map(|list| {
                let (list, outbox, running) = (list.clone(), Arc::clone(&outbox), Arc::clone(&running));
                std::thread::spawn(move || {
                    let mut tally = Tally::default();
                    for packet in list {
                        if outbox.push(packet, &mut tally) {
                            outbox.flush(&mut tally);
                        }
                    }
                    running.fetch_sub(1, Ordering::Release);
                    outbox.wake();
                    tally
                })
            })
            .collect();
        let mut tally = run(&outbox, || running.load(Ordering::Acquire) == 0).await;
        for thread in threads {
            let other = thread.join().unwrap();
            tally.bytes += other.bytes;
            for (own, other) in tally.packets.iter_mut().zip(other.packets) {
                *own += other;
            }
        }
        drop(outbox);
        (received.join().unwrap(), tally)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn what_threads_push_at_once_arrives_whole_and_in_each_ones_order(
            sizes in prop::collection::vec(packets(), 1..4),
        ) {
            let lists: Vec<Vec<_>> = sizes
                .iter()
                .enumerate()
                .map(|(thread, sizes)| {
                    let packet = |(number, (text, attachment)): (usize, &(usize, Option<usize>))| {
                        let attachments = attachment.map(|bytes| vec![number as u8; bytes].into());
                        let name = format!("{thread}.{number}:");
                        let text = "x".repeat(*text);
                        Arc::new(Encoded::with_attachments(&["4", &name, &text], attachments.into_iter().collect()))
                    };
                    sizes.iter().enumerate().map(packet).collect()
                })
                .collect();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let (received, tally) = runtime.block_on(race(&lists));
            prop_assert_eq!(tally.bytes, received.len() as u64);
            prop_assert_eq!(tally.packets.iter().sum::<u64>(), lists.iter().map(Vec::len).sum::<usize>() as u64);
            // No packet is the beginning of another one, so what comes next says whose it is.
            let (mut rest, mut lists) = (&*received, lists.iter().map(|list| &**list).collect::<Vec<_>>());
            while !rest.is_empty() {
                let next = lists.iter_mut().find_map(|list| {
                    let (first, others) = list.split_first()?;
                    let behind = rest.strip_prefix(first.frames(FORM))?;
                    *list = others;
                    Some(behind)
                });
                prop_assert!(next.is_some(), "{} bytes before the end", rest.len());
                rest = next.unwrap_or_default();
            }
            prop_assert!(lists.iter().all(|list| list.is_empty()), "packets are missing");
        }
    }
}
