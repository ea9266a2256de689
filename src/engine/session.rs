//! One session: a cancel-safe source of what the client does.
//!
//! ```text
//! while let Ok(event) = session.next().await { … }
//! ```
//!
//! Heartbeats, the upgrade and writes that blocked happen while you wait. All progress lives in the session itself,
//! polled by hand: no future is built that could lose bytes when it is dropped.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::Engine;
use super::admission::Place;
use super::directory::{Entry, Mailbox};
use super::handshake::Newcomer;
use super::lifecycle::{Input, Lifecycle, Output};
use super::outbox::Outbox;
use super::polling::Polling;
use super::websocket::{self, Frame, FrameError, FrameReader, Opened};
use crate::http::Lease;
use crate::metrics::{Limit, Tally, Transport};
use crate::protocol::encoded::Encoded;
use crate::protocol::engine::{Message, Packet, PacketError, decode_binary, decode_text};
use crate::protocol::ids::Sid;
use crate::protocol::payload::{PayloadForm, undouble};
use crate::protocol::{PacketType, Version};
use crate::reason::Reason;
use crate::stream::Stream;

/// Bytes read from a socket at once, into a buffer of the thread.
const READ_BYTES: usize = 64 * 1024;

/// Messages of one client after which others get their turn.
const MESSAGES_PER_TURN: u16 = 256;

/// Heartbeats, WebSocket pings and noops of one client in `CONTROLS_WINDOW`: ten a second, many times what any client
/// needs.
const CONTROLS_MAX: u32 = 100;

const CONTROLS_WINDOW: Duration = Duration::from_secs(10);

thread_local! {
    static READ: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// What the client did, or what time did.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// A message came.
    Message(Message),
    /// The time given to [`Session::set_alarm`] is there.
    Alarm,
    /// Somebody called by [`Outbox::call`].
    Called,
}

/// One Engine.IO session, whatever transport carries it. Handed around in a box, as tasks keep room for every place
/// that a value stands in.
#[derive(Debug)]
pub struct Session {
    pub(super) rules: Rules,
    pub(super) link: Link,
    pub(super) clock: Pin<Box<Sleep>>,
    alarm: Option<Instant>,
    turn: u16,
    address: IpAddr,
    /// Counts the session of its address.
    pub(super) place: Option<Box<Place>>,
    pub(super) record: Option<Arc<str>>,
    pub(super) token: Option<Box<str>>,
    /// Counts the session.
    _counted: Lease,
}

/// The transport in use.
#[derive(Debug)]
pub(super) enum Link {
    WebSocket(FrameReader),
    Polling(Box<Polling>),
}

/// Everything of a session but its transport: what packets mean, and what came of them.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) engine: Arc<Engine>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) version: Version,
    /// The client encodes text twice, on WebSocket as well.
    pub(super) double_utf8: bool,
    pub(super) lifecycle: Lifecycle,
    pub(super) tally: Tally,
    ready: VecDeque<Message>,
    /// Packets that carry no message, since `controls_since`.
    controls: u32,
    controls_since: std::time::Instant,
    /// The session is over once `ready` is empty.
    pub(super) ending: Option<Reason>,
    /// The code for the WebSocket's close frame, where there is one.
    pub(super) close_code: Option<u16>,
}

impl Session {
    /// A session that begins with polling; its first packets wait for the answer to the handshake.
    pub(super) fn polling(
        engine: Arc<Engine>,
        sid: Sid,
        form: PayloadForm,
        packets_max: usize,
        client: Newcomer,
    ) -> Box<Self> {
        let mailbox = Arc::new(Mailbox::default());
        let link = Link::Polling(Box::new(Polling::new(Arc::clone(&mailbox), form, packets_max)));
        Self::open(engine, sid, (link, Some(mailbox)), client)
    }

    /// A session that begins on a WebSocket.
    pub(super) fn websocket(engine: Arc<Engine>, sid: Sid, opened: Opened, client: Newcomer) -> Box<Self> {
        let reader = FrameReader::new(engine.config.max_payload.0);
        let mut session = Self::open(engine, sid, (Link::WebSocket(reader), None), client);
        session.rules.double_utf8 = opened.form.double_utf8;
        session.rules.outbox.attach(opened.socket, opened.lease, opened.form);
        session.take_leftover(&opened.leftover);
        session
    }

    fn open(engine: Arc<Engine>, sid: Sid, link: (Link, Option<Arc<Mailbox>>), client: Newcomer) -> Box<Self> {
        let (link, mailbox) = link;
        let version = client.version;
        let now = Instant::now();
        let is_websocket = matches!(link, Link::WebSocket(_));
        let lifecycle = Lifecycle::new(&engine.config, version, is_websocket, rand::random(), now.into_std());
        let outbox = Arc::new(Outbox::new(sid, engine.outbox_bytes_max));
        engine.directory.insert(Entry {
            version,
            outbox: Arc::clone(&outbox),
            mailbox,
        });
        engine.metrics.connections(transport(&link), version).inc();
        let mut rules = Rules {
            engine,
            outbox,
            version,
            double_utf8: false,
            lifecycle,
            tally: Tally::default(),
            ready: VecDeque::new(),
            controls: 0,
            controls_since: now.into_std(),
            ending: None,
            close_code: None,
        };
        rules.push(rules.engine.open_packet(&sid, is_websocket));
        let clock = Box::pin(tokio::time::sleep_until(rules.lifecycle.deadline().into()));
        Box::new(Self {
            rules,
            link,
            clock,
            alarm: None,
            turn: MESSAGES_PER_TURN,
            address: client.address,
            record: client.record,
            token: client.token,
            place: client.admitted.place,
            _counted: client.admitted.session,
        })
    }

    /// The session's id.
    pub fn sid(&self) -> &Sid {
        self.rules.outbox.sid()
    }

    /// The session's protocol.
    pub fn version(&self) -> Version {
        self.rules.version
    }

    /// The client's address, behind trusted proxies.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The transport in use.
    pub fn transport(&self) -> Transport {
        transport(&self.link)
    }

    /// Where packets for the client go.
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.rules.outbox
    }

    /// Sends a packet. It leaves when the session waits for the client next.
    pub fn send(&mut self, packet: Arc<Encoded>) {
        self.rules.push(packet);
    }

    /// From now on Socket.IO's packets leave in MessagePack. Only before the first one was sent.
    pub fn speak_msgpack(&mut self) {
        match &mut self.link {
            Link::WebSocket(_) => self.rules.outbox.speak_msgpack(),
            Link::Polling(polling) => polling.speak_msgpack(),
        }
    }

    /// [`next`](Self::next) gives [`Event::Alarm`] at this time, once.
    pub fn set_alarm(&mut self, alarm: Option<Instant>) {
        self.alarm = alarm;
    }

    /// Waits for the next thing that the client does. Cancel-safe: all progress lives in `self`.
    ///
    /// # Errors
    /// With the reason, when the session is over.
    pub async fn next(&mut self) -> Result<Event, Reason> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Writes what was sent so far, as far as the client takes it. For callers that will not wait for the client soon.
    pub fn flush(&mut self) {
        if matches!(self.link, Link::WebSocket(_)) {
            self.rules.outbox.flush(&mut self.rules.tally);
        }
        self.rules.count();
    }

    /// The same, for those who wait for something else as well.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, Reason>> {
        self.rules.outbox.register(cx);
        loop {
            if self.turn == 0 {
                self.turn = MESSAGES_PER_TURN;
                self.flush();
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if let Some(message) = self.rules.ready.pop_front() {
                self.turn -= 1;
                return Poll::Ready(Ok(Event::Message(message)));
            }
            if let Some(reason) = self.rules.ending.or_else(|| self.told_to_end()) {
                return Poll::Ready(Err(reason));
            }
            if self.rules.outbox.take_call() {
                return Poll::Ready(Ok(Event::Called));
            }
            self.flush();
            if self.poll_link(cx).is_ready() {
                continue;
            }
            match self.poll_clock(cx) {
                Poll::Ready(Some(event)) => return Poll::Ready(Ok(event)),
                Poll::Ready(None) => {}
                Poll::Pending => {
                    self.turn = MESSAGES_PER_TURN;
                    self.rules.ready = VecDeque::new(); // an idle client holds no buffer
                    return Poll::Pending;
                }
            }
        }
    }

    /// Why the session has to end, where somebody else says so. A node that leaves waits for an upgrade that is under way.
    fn told_to_end(&mut self) -> Option<Reason> {
        let reason = self.rules.outbox.ended()?;
        let waits = reason == Reason::Draining && self.rules.lifecycle.finishes_upgrade(Instant::now().into_std());
        (!waits).then_some(reason)
    }

    /// Ready when something came in or changed.
    fn poll_link(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.link {
            Link::WebSocket(reader) => self.rules.poll_websocket(reader, cx),
            Link::Polling(polling) => {
                let switched = ready!(polling.poll(&mut self.rules, cx));
                if let Some(reader) = switched {
                    self.link = Link::WebSocket(reader);
                }
                Poll::Ready(())
            }
        }
    }

    /// Ready when time changed something: with the alarm, or with nothing that the caller needs to know.
    fn poll_clock(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let due = self.due();
        // Deadlines mostly move away: the timer is left to fire early then, which costs less than to move it each time.
        if due < self.clock.deadline() {
            self.clock.as_mut().reset(due);
        }
        ready!(self.clock.as_mut().poll(cx));
        let now = Instant::now();
        if self.alarm.is_some_and(|alarm| alarm <= now) {
            self.alarm = None;
            let due = self.due();
            self.clock.as_mut().reset(due);
            return Poll::Ready(Some(Event::Alarm));
        }
        match self.rules.lifecycle.on(Input::Tick, now.into_std()) {
            Output::Ping => self.rules.push(Arc::clone(&self.rules.engine.packets.ping)),
            Output::Close(reason) => self.rules.ending = Some(reason),
            Output::ExpireProbe => {
                if let Link::Polling(polling) = &mut self.link {
                    polling.expire_probe(&self.rules);
                }
            }
            _ => {}
        }
        let due = self.due();
        self.clock.as_mut().reset(due);
        Poll::Ready(None)
    }

    fn due(&self) -> Instant {
        let heartbeat = self.rules.lifecycle.deadline().into();
        self.alarm.map_or(heartbeat, |alarm| alarm.min(heartbeat))
    }

    fn take_leftover(&mut self, leftover: &[u8]) {
        if let (Link::WebSocket(reader), false) = (&mut self.link, leftover.is_empty()) {
            self.rules.feed(reader, &mut leftover.to_vec());
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let engine = &self.rules.engine;
        engine.directory.remove(self.rules.outbox.sid());
        engine
            .metrics
            .connections(transport(&self.link), self.rules.version)
            .dec();
        self.rules.outbox.close();
    }
}

impl Rules {
    /// Queues a packet; the session flushes before it waits.
    pub(super) fn push(&mut self, packet: Arc<Encoded>) {
        self.outbox.push_own(packet, &mut self.tally);
    }

    /// Adds up what was sent.
    pub(super) fn count(&mut self) {
        if !self.tally.is_empty() {
            self.engine.metrics.sent(&self.tally);
            self.tally = Tally::default();
        }
    }

    fn poll_websocket(&mut self, reader: &mut FrameReader, cx: &mut Context<'_>) -> Poll<()> {
        let outbox = Arc::clone(&self.outbox);
        let _ = outbox.poll_unblock(cx, &mut self.tally); // pending means that the waker is registered
        let Some(socket) = outbox.socket() else {
            return Poll::Pending;
        };
        READ.with_borrow_mut(|buffer| {
            let count = ready!(poll_read(socket, buffer, cx));
            if count == 0 {
                self.ending = Some(Reason::TransportClosed);
            } else {
                self.feed(reader, &mut buffer[..count]);
            }
            Poll::Ready(())
        })
    }

    /// Reads frames off `input` and takes what is in them.
    pub(super) fn feed(&mut self, reader: &mut FrameReader, input: &mut [u8]) {
        let now = std::time::Instant::now();
        self.engine.metrics.bytes_received.inc_by(input.len() as u64);
        let mut ping = None;
        let result = reader.feed(input, |frame| match frame {
            // Of several pings in one go the last one is answered, as RFC 6455 §5.5.3 allows.
            Frame::Ping(payload) => {
                ping = Some(websocket::pong(payload));
                self.control(now);
            }
            other => self.frame(other, now),
        });
        if let Some(pong) = ping {
            self.push(Arc::new(pong));
        }
        if let Err(error) = result {
            self.break_off(error);
        }
    }

    /// Takes one frame of the session's own WebSocket.
    pub(super) fn frame(&mut self, frame: Frame<'_>, now: std::time::Instant) {
        let packet = match frame {
            Frame::Text(text) if self.double_utf8 => decode_text(&undouble(text, &mut true), self.version),
            Frame::Text(text) => decode_text(text, self.version),
            Frame::Binary(bytes) => decode_binary(bytes, self.version),
            Frame::Ping(_) => return,
            Frame::Close(code) => {
                self.close_code = code;
                self.ending.get_or_insert(Reason::TransportClosed);
                return;
            }
        };
        self.packet(packet, now);
    }

    /// Takes one packet. Behind the end of a session there is nothing.
    pub(super) fn packet(&mut self, packet: Result<Packet, PacketError>, now: std::time::Instant) {
        if self.ending.is_some() {
            return;
        }
        let Ok(packet) = packet else {
            self.ending = Some(Reason::Malformed);
            return;
        };
        match self.lifecycle.on(Input::Packet(&packet), now) {
            Output::Deliver => {
                if let Packet::Message(message) = packet {
                    self.ready.push_back(message);
                }
                return; // counted by whoever reads the message
            }
            Output::Pong => {
                let data = if let Packet::Ping(data) = &packet { data } else { "" };
                self.push(Arc::new(Encoded::text(&["3", data])));
            }
            Output::Close(reason) => self.ending = Some(reason),
            _ => {}
        }
        self.engine.metrics.received(kind(&packet));
        self.control(now);
    }

    /// Counts a packet or frame that carries no message; a flood of them ends the session.
    pub(super) fn control(&mut self, now: std::time::Instant) {
        if now.duration_since(self.controls_since) > CONTROLS_WINDOW {
            (self.controls, self.controls_since) = (0, now);
        }
        self.controls += 1;
        if self.controls == CONTROLS_MAX + 1 {
            self.engine.metrics.limited(Limit::ControlPackets);
            self.ending.get_or_insert(Reason::RateLimited);
        }
    }

    pub(super) fn break_off(&mut self, error: FrameError) {
        let reason = if error == FrameError::TooLarge {
            Reason::TooLarge
        } else {
            Reason::Malformed
        };
        if self.ending.is_none() {
            self.ending = Some(reason);
            self.close_code = Some(error.close_code());
        }
    }
}

/// Reads what is there; 0 when the connection is closed or broken.
pub(super) fn poll_read(socket: &Stream, buffer: &mut [u8], cx: &mut Context<'_>) -> Poll<usize> {
    loop {
        if ready!(socket.poll_read_ready(cx)).is_err() {
            return Poll::Ready(0);
        }
        match socket.try_read(buffer) {
            Ok(count) => return Poll::Ready(count),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return Poll::Ready(0),
        }
    }
}

/// Reads and forgets until the connection is closed or broken.
pub(super) fn poll_discard(socket: &Stream, cx: &mut Context<'_>) -> Poll<()> {
    READ.with_borrow_mut(|buffer| {
        while ready!(poll_read(socket, buffer, cx)) > 0 {}
        Poll::Ready(())
    })
}

fn transport(link: &Link) -> Transport {
    match link {
        Link::WebSocket(_) => Transport::WebSocket,
        Link::Polling(_) => Transport::Polling,
    }
}

fn kind(packet: &Packet) -> PacketType {
    match packet {
        Packet::Open => PacketType::Open,
        Packet::Close => PacketType::Close,
        Packet::Ping(_) => PacketType::Ping,
        Packet::Pong => PacketType::Pong,
        Packet::Message(_) => PacketType::Event,
        Packet::Upgrade => PacketType::Upgrade,
        Packet::Noop => PacketType::Noop,
    }
}
