//! A session on long polling: one parked GET, one POST at a time, and the WebSocket that wants to take over.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::sync::oneshot;

use super::directory::{Mail, Mailbox, Post, Reply};
use super::handshake::PACKETS_PER_POLL_MAX_PYTHON;
use super::lifecycle::{Input, Output};
use super::session::{Rules, poll_read};
use super::websocket::{self, Frame, FrameReader, Opened};
use crate::http::Lease;
use crate::metrics::{Tally, Transport, Upgrade};
use crate::protocol::encoded::{Encoded, WebSocketForm};
use crate::protocol::engine::{Packet, decode_binary, decode_text};
use crate::protocol::payload::{self, Payload, PayloadForm, Reader};
use crate::reason::Reason;
use crate::stream::Stream;

/// Bytes of packets in one answer, unless the first is larger alone.
const ANSWER_BYTES_MAX: usize = 1_000_000;

/// Bytes read at once from a probing WebSocket, which has little to say.
const PROBE_READ_BYTES: usize = 4096;

/// Packets of a POST that are read before those before them are done.
const PACKETS_PER_STEP: usize = 64;

/// The polling transport of one session.
#[derive(Debug)]
pub(super) struct Polling {
    mailbox: Arc<Mailbox>,
    form: PayloadForm,
    packets_max: usize,
    /// The GET that waits for packets.
    parked: Option<oneshot::Sender<Reply>>,
    /// The POST that is being read.
    reading: Option<(Reader, oneshot::Sender<Reply>)>,
    probe: Option<Probe>,
}

/// A WebSocket that wants to take over.
#[derive(Debug)]
struct Probe {
    socket: Stream,
    reader: FrameReader,
    form: WebSocketForm,
    lease: Arc<Lease>,
}

impl Polling {
    pub(super) fn new(mailbox: Arc<Mailbox>, form: PayloadForm, packets_max: usize) -> Self {
        Self {
            mailbox,
            form,
            packets_max,
            parked: None,
            reading: None,
            probe: None,
        }
    }

    /// Ready when something changed; with the reader of the WebSocket that took over, when one did.
    pub(super) fn poll(&mut self, rules: &mut Rules, cx: &mut Context<'_>) -> Poll<Option<FrameReader>> {
        if self.reading.is_some() {
            self.read_on(rules);
            return Poll::Ready(None);
        }
        if let Some(mail) = self.mailbox.take() {
            self.open(mail, rules);
            return Poll::Ready(None);
        }
        if self
            .parked
            .as_mut()
            .is_some_and(|parked| parked.poll_closed(cx).is_ready())
        {
            self.parked = None;
            rules.ending = Some(Reason::TransportError); // the client aborted its poll
            return Poll::Ready(None);
        }
        if let Poll::Ready(switched) = self.poll_probe(rules, cx) {
            return Poll::Ready(switched);
        }
        if self.parked.is_some() && (rules.lifecycle.hurries_polls() || !rules.outbox.is_empty()) {
            self.answer(rules, None);
            return Poll::Ready(None);
        }
        rules.outbox.set_parked(self.parked.is_some());
        Poll::Pending
    }

    /// From now on Socket.IO's packets leave in MessagePack.
    pub(super) fn speak_msgpack(&mut self) {
        self.form.msgpack = true;
    }

    fn open(&mut self, mail: Mail, rules: &mut Rules) {
        match mail {
            Mail::Poll(reply) if self.parked.is_some() => {
                // Two polls at once: Node refuses the second and ends the session through the first.
                let _ = reply.send(Reply::Refused);
                rules.ending = Some(Reason::TransportError);
            }
            Mail::Poll(reply) => self.parked = Some(reply),
            Mail::Post(post) => self.receive(post, rules),
            Mail::Probe(opened) => self.open_probe(*opened, rules),
            Mail::Release => self.answer(rules, None),
            Mail::Broken => rules.ending = Some(Reason::TransportError),
        }
    }

    fn receive(&mut self, post: Post, rules: &mut Rules) {
        rules.engine.metrics.bytes_received.inc_by(post.body.len() as u64);
        let reader = Reader::new(post.body, post.is_binary, self.form.version);
        self.reading = Some((reader, post.reply));
        self.read_on(rules);
    }

    /// Takes some packets of the POST; behind the last one it is answered.
    fn read_on(&mut self, rules: &mut Rules) {
        let Some((mut reader, reply)) = self.reading.take() else {
            return;
        };
        let now = Instant::now();
        for _ in 0..PACKETS_PER_STEP {
            let Some(packet) = reader.next(&mut self.form) else {
                let _ = reply.send(Reply::Ok); // a client that is gone is found by its poll or its silence
                return;
            };
            let is_malformed = packet.is_err();
            rules.packet(packet, now);
            if is_malformed {
                let _ = reply.send(Reply::Malformed);
                return;
            }
            if rules.ending.is_some() {
                return self.answer_unread(reader, reply);
            }
        }
        self.reading = Some((reader, reply));
    }

    /// Answers a POST of a session that is over: by what it is, though nothing of it is done any more.
    fn answer_unread(&mut self, mut reader: Reader, reply: oneshot::Sender<Reply>) {
        let mut is_malformed = false;
        while let Some(packet) = reader.next(&mut self.form) {
            is_malformed = packet.is_err();
        }
        let _ = reply.send(if is_malformed { Reply::Malformed } else { Reply::Ok });
    }

    /// Answers the parked poll with what waits and with `last`, or with a noop where there is nothing.
    fn answer(&mut self, rules: &mut Rules, last: Option<&Arc<Encoded>>) {
        let Some(parked) = self.parked.take() else {
            return;
        };
        let mut packets = rules.outbox.take(self.packets_max, ANSWER_BYTES_MAX);
        packets.extend(last.map(Arc::clone));
        if packets.is_empty() {
            packets.push(Arc::clone(&rules.engine.packets.noop));
        }
        let payload = encode_counted(&packets, self.form, rules);
        let _ = parked.send(Reply::Payload(payload));
    }

    fn open_probe(&mut self, opened: Opened, rules: &mut Rules) {
        if rules.lifecycle.on(Input::ProbeOpened, Instant::now()) == Output::DropProbe {
            return Probe::new(opened, 0).close();
        }
        rules.double_utf8 = opened.form.double_utf8; // before the frames that come right behind the upgrade
        let mut leftover = opened.leftover.to_vec();
        let mut probe = Probe::new(opened, rules.engine.config.max_payload.0);
        if leftover.is_empty() || probe.feed(rules, &mut leftover) == Step::Stay {
            self.probe = Some(probe);
        } else {
            // A client that did not wait for our 101 skipped the probe's answer as well.
            rules.lifecycle.on(Input::ProbeLost, Instant::now());
            probe.close();
        }
    }

    fn poll_probe(&mut self, rules: &mut Rules, cx: &mut Context<'_>) -> Poll<Option<FrameReader>> {
        let Some(probe) = &mut self.probe else {
            return Poll::Pending;
        };
        let mut buffer = [0; PROBE_READ_BYTES];
        let count = std::task::ready!(poll_read(&probe.socket, &mut buffer, cx));
        let step = if count == 0 {
            Step::Lose
        } else {
            probe.feed(rules, &mut buffer[..count])
        };
        match (step, self.probe.take()) {
            (Step::Stay, probe) => {
                self.probe = probe;
                Poll::Ready(None)
            }
            (Step::Switch, Some(probe)) => Poll::Ready(Some(self.switch(probe, rules))),
            (Step::Lose, probe) => {
                rules.lifecycle.on(Input::ProbeLost, Instant::now());
                rules.engine.metrics.upgraded(Upgrade::Failed);
                if let Some(probe) = probe {
                    probe.close();
                }
                Poll::Ready(None)
            }
            (Step::Switch, None) => Poll::Ready(None),
        }
    }

    /// The WebSocket takes over, with everything that waits. A poll that is still parked is closed.
    fn switch(&mut self, probe: Probe, rules: &mut Rules) -> FrameReader {
        if let Some(parked) = self.parked.take() {
            let payload = payload::encode(&[Arc::clone(&rules.engine.packets.close)], self.form);
            let _ = parked.send(Reply::Payload(payload));
        }
        let form = WebSocketForm {
            msgpack: self.form.msgpack,
            ..probe.form
        };
        rules.outbox.attach(probe.socket, probe.lease, form);
        tracing::info!(transport = Transport::WebSocket.as_str(), "upgraded");
        let metrics = &rules.engine.metrics;
        metrics.upgraded(Upgrade::Done);
        metrics.connections(Transport::Polling, rules.version).dec();
        metrics.connections(Transport::WebSocket, rules.version).inc();
        probe.reader
    }

    /// The probe's time is over.
    pub(super) fn expire_probe(&mut self, rules: &Rules) {
        if self.close_probe() {
            rules.engine.metrics.upgraded(Upgrade::TimedOut);
        }
    }

    /// Closes the probing WebSocket; false where there is none.
    pub(super) fn close_probe(&mut self) -> bool {
        self.probe.take().map(Probe::close).is_some()
    }

    /// From now on polls alone find this session.
    pub(super) fn end_session(&mut self) {
        self.mailbox.end_session();
        if let Some((reader, reply)) = self.reading.take() {
            self.answer_unread(reader, reply);
        }
        self.close_probe();
    }

    /// Says goodbye to the client: with a noop where it left itself, else with what waits, then a close. Pending while
    /// there is no poll to answer.
    pub(super) fn poll_goodbye(&mut self, rules: &mut Rules, has_left: bool, cx: &mut Context<'_>) -> Poll<()> {
        // After a close packet python-engineio's clients do not come back; after a poll that fails they do.
        let stays_away = !has_left && self.packets_max == PACKETS_PER_POLL_MAX_PYTHON;
        let close = Arc::clone(&rules.engine.packets.close);
        rules.outbox.register(cx);
        loop {
            if self.parked.is_some() {
                // Clients of generation 4 lose events that come in one answer with the close: it comes alone.
                if !has_left && !rules.outbox.is_empty() {
                    self.answer(rules, None);
                    continue;
                }
                if stays_away && let Some(parked) = self.parked.take() {
                    let _ = parked.send(Reply::Gone);
                    return Poll::Ready(());
                }
                self.answer(rules, (!has_left).then_some(&close));
                return Poll::Ready(());
            }
            match self.mailbox.take() {
                Some(Mail::Poll(reply)) => {
                    self.parked = Some(reply);
                    if rules.outbox.is_empty() && !stays_away {
                        rules.push(Arc::clone(&rules.engine.packets.noop)); // as Node's server
                        self.answer(rules, (!has_left).then_some(&close));
                        return Poll::Ready(());
                    }
                }
                Some(Mail::Post(post)) => drop(post.reply.send(Reply::Gone)),
                Some(Mail::Probe(_) | Mail::Release | Mail::Broken) => {}
                None => break,
            }
        }
        // Nobody waits for a client that left, once the node leaves too, nor for anybody when time is over.
        match rules.outbox.ended() {
            Some(Reason::Shutdown) => Poll::Ready(()),
            Some(_) if has_left => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }
}

/// The session is over, or goes on on its WebSocket.
impl Drop for Polling {
    fn drop(&mut self) {
        self.mailbox.close();
    }
}

/// Writes packets as the body of an answer, and counts them as sent.
pub(super) fn encode_counted(packets: &[Arc<Encoded>], form: PayloadForm, rules: &Rules) -> Payload {
    let payload = payload::encode(packets, form);
    let mut tally = Tally {
        bytes: payload.body.len() as u64,
        ..Tally::default()
    };
    for packet in packets {
        tally.count(packet.kind());
    }
    rules.engine.metrics.sent(&tally);
    payload
}

/// What became of a probing WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Stay,
    Switch,
    Lose,
}

impl Probe {
    fn new(opened: Opened, bytes_max: usize) -> Self {
        let Opened {
            socket, form, lease, ..
        } = opened;
        Self {
            socket,
            reader: FrameReader::new(bytes_max),
            form,
            lease,
        }
    }

    /// Takes what the WebSocket says. Behind the packet that makes it the session's own, frames are the session's.
    fn feed(&mut self, rules: &mut Rules, input: &mut [u8]) -> Step {
        let now = Instant::now();
        let mut step = Step::Stay;
        let mut answers = 0;
        let mut pong = None;
        let result = self.reader.feed(input, |frame| match (step, frame) {
            // Of several pings in one go the last one is answered, as RFC 6455 §5.5.3 allows.
            (_, Frame::Ping(payload)) => {
                pong = Some(websocket::pong(payload));
                rules.control(now);
            }
            (Step::Switch, frame) => rules.frame(frame, now),
            (Step::Lose, _) => {}
            (Step::Stay, frame) => {
                let packet = match frame {
                    Frame::Ping(_) => return,
                    Frame::Text(text) => decode_text(text, rules.version),
                    Frame::Binary(bytes) => decode_binary(bytes, rules.version),
                    Frame::Close(_) => return step = Step::Lose,
                };
                let packet = packet.unwrap_or(Packet::Noop); // which no probe may say either
                match rules.lifecycle.on(Input::ProbePacket(&packet), now) {
                    Output::AnswerProbe => answers += 1,
                    Output::Switch => step = Step::Switch,
                    _ => step = Step::Lose,
                }
            }
        });
        if answers > 0 && step != Step::Lose && !self.answer() {
            return Step::Lose;
        }
        match (pong, step) {
            (Some(pong), Step::Switch) => rules.push(Arc::new(pong)),
            (Some(pong), Step::Stay) if !self.write(&pong) => return Step::Lose,
            _ => {}
        }
        match result {
            Ok(()) => step,
            Err(error) if step == Step::Switch => {
                rules.break_off(error);
                step
            }
            Err(_) => Step::Lose,
        }
    }

    /// Answers the probe; false when not even that fits into the socket.
    fn answer(&self) -> bool {
        self.write(&Encoded::text(&["3probe"]))
    }

    fn write(&self, packet: &Encoded) -> bool {
        let frames = packet.frames(self.form);
        self.socket
            .try_write(frames)
            .is_ok_and(|written| written == frames.len())
    }

    /// Closes the WebSocket, politely where it takes a frame.
    fn close(self) {
        let packet = websocket::close_frame(None);
        let _ = self.socket.try_write(packet.frames(self.form));
    }
}
