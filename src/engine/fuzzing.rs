//! What must hold for every stream of frames, every life of a session, and what requests say of themselves.
//!
//! A session's life is followed by a second, simpler account of it; neither clock nor socket is needed.

use std::time::{Duration, Instant};

use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, REFERER};

use super::config::{Config, TransportName};
use super::lifecycle::{Input, Lifecycle, Output};
use super::origin::{Origins, Verdict};
use super::query::Query;
use super::websocket::{Frame, FrameError, FrameReader};
use crate::protocol::Version;
use crate::protocol::engine::{Message, Packet};
use crate::protocol::ids::{SID_LENGTH, Sid};
use crate::units::{ByteSize, Span};

/// Bytes of one message here.
const MESSAGE_BYTES_MAX: usize = 1000;

const INTERVAL: Duration = Duration::from_secs(25);
const TIMEOUT: Duration = Duration::from_secs(20);
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);

/// Frames. The first byte says whether the rest is what a client sent, or what one that obeys the protocol is to send.
pub(crate) fn frames(data: &[u8]) {
    let Some((mode, data)) = data.split_first() else { return };
    if mode % 2 == 1 {
        return sent_frames(data);
    }
    let whole = read(data, [data.len()]);
    assert_eq!(read(data, [1]), whole, "byte by byte");
    assert_eq!(read(data, sizes(data)), whole, "in pieces");
    let (messages, result) = whole;
    if let Err(error) = result {
        assert!(matches!(error.close_code(), 1002 | 1007 | 1008 | 1009));
    }
    let closes = messages.iter().filter(|message| message.starts_with("Close")).count();
    assert!(closes <= 1, "nothing follows a close");
}

fn sizes(data: &[u8]) -> Vec<usize> {
    data.iter().map(|byte| usize::from(byte % 32) + 1).chain([1]).collect()
}

/// Reads frames in pieces: what they say, and how it ended.
fn read<T: IntoIterator<Item = usize, IntoIter: Clone>>(
    data: &[u8],
    sizes: T,
) -> (Vec<String>, Result<(), FrameError>) {
    let (mut reader, mut messages) = (FrameReader::new(MESSAGE_BYTES_MAX), Vec::new());
    let (mut sizes, mut at) = (sizes.into_iter().cycle(), 0);
    while at < data.len() {
        let end = data.len().min(at + sizes.next().unwrap_or(1).max(1));
        let result = reader.feed(&mut data[at..end].to_vec(), |frame| {
            match frame {
                Frame::Text(text) => assert!(text.len() <= MESSAGE_BYTES_MAX),
                Frame::Binary(bytes) => assert!(bytes.len() <= MESSAGE_BYTES_MAX),
                Frame::Ping(bytes) => assert!(bytes.len() <= 125),
                Frame::Close(_) => {}
            }
            messages.push(format!("{frame:?}"));
        });
        if let Err(error) = result {
            return (messages, Err(error));
        }
        assert!(
            reader.held_bytes() <= 2 * MESSAGE_BYTES_MAX + 14,
            "a frame and the message before it are all that is kept"
        );
        at = end;
    }
    (messages, Ok(()))
}

/// Cuts the input into messages and these into fragments, and reads what a client would send for them.
fn sent_frames(data: &[u8]) {
    let (mut sent, mut expected) = (Vec::new(), Vec::new());
    for message in data.chunks(97) {
        let Some((kind, payload)) = message.split_first() else {
            continue;
        };
        let text = std::str::from_utf8(payload);
        match (kind % 4, text) {
            (0, Ok(text)) => expected.push(format!("{:?}", Frame::Text(text))),
            (1, _) => {
                push_frame(&mut sent, 0x89, *kind, payload);
                expected.push(format!("{:?}", Frame::Ping(payload)));
                continue;
            }
            _ => expected.push(format!("{:?}", Frame::Binary(payload))),
        }
        let opcode = if kind % 4 == 0 && text.is_ok() { 1 } else { 2 };
        let pieces: Vec<_> = payload.chunks(usize::from(kind >> 2) + 1).collect();
        for (index, piece) in pieces.iter().enumerate() {
            let is_last = index + 1 == pieces.len();
            let opcode = if index == 0 { opcode } else { 0 };
            push_frame(&mut sent, opcode | if is_last { 0x80 } else { 0 }, *kind, piece);
        }
        if pieces.is_empty() {
            push_frame(&mut sent, opcode | 0x80, *kind, &[]);
        }
    }
    assert_eq!(read(&sent, sizes(data)), (expected, Ok(())));
}

fn push_frame(out: &mut Vec<u8>, first: u8, mask: u8, payload: &[u8]) {
    let mask = [mask, 0x5a, !mask, 7];
    out.extend([first, 0x80 | payload.len() as u8]);
    out.extend(mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// The life of a session: the first byte is how it opens, each pair after it an event and the time before it.
pub(crate) fn lifecycle(data: &[u8]) {
    let Some((mode, data)) = data.split_first() else { return };
    let version = if mode & 1 == 0 { Version::V4 } else { Version::V3 };
    let now = Instant::now();
    let mut life = Life {
        session: Lifecycle::new(&config(), version, mode & 2 != 0, f32::from(mode >> 2) / 63.0, now),
        version,
        now,
        heard: now,
        pinged: now,
        is_websocket: mode & 2 != 0,
        probing_since: None,
        is_answered: false,
    };
    for step in data.chunks_exact(2) {
        if !life.pass(Duration::from_millis(u64::from(step[1]) * 250)) || !life.step(step[0]) {
            return;
        }
    }
}

/// A session, and what a plain account of it knows.
struct Life {
    session: Lifecycle,
    version: Version,
    now: Instant,
    /// When the client was last heard of on its transport.
    heard: Instant,
    /// When it was asked for the last time.
    pinged: Instant,
    is_websocket: bool,
    probing_since: Option<Instant>,
    is_answered: bool,
}

impl Life {
    /// Lets time pass, with a tick at each deadline; false when the session is over.
    fn pass(&mut self, time: Duration) -> bool {
        let until = self.now + time;
        let mut ticks = 0;
        while self.session.deadline() <= until {
            self.now = self.now.max(self.session.deadline());
            if !self.tick() {
                return false;
            }
            ticks += 1;
            assert!(ticks < 1000, "time stands still");
        }
        self.now = until;
        assert!(
            self.now < self.heard + INTERVAL + TIMEOUT,
            "a client that says nothing is found"
        );
        let probed = self
            .probing_since
            .is_none_or(|since| self.now < since + UPGRADE_TIMEOUT);
        assert!(probed, "an upgrade ends in time");
        true
    }

    fn tick(&mut self) -> bool {
        match self.session.on(Input::Tick, self.now) {
            Output::Ping => {
                assert_eq!(self.version, Version::V4);
                self.pinged = self.now;
            }
            Output::ExpireProbe => {
                let since = self.probing_since.take().expect("a probe");
                assert!(since + UPGRADE_TIMEOUT <= self.now, "a probe has its time");
            }
            Output::Close(_) => {
                let since = match self.version {
                    Version::V3 => self.heard + INTERVAL,
                    Version::V4 => self.pinged,
                };
                assert!(since + TIMEOUT <= self.now, "a client has its time");
                return false;
            }
            Output::Nothing => {}
            output => panic!("{output:?} because time passed"),
        }
        true
    }

    /// Something happens; false when the session is over.
    fn step(&mut self, event: u8) -> bool {
        let packet = match event >> 4 {
            0..=3 => Packet::Message(Message::Text("x".into())),
            4..=6 => Packet::Ping("probe".into()),
            7 => Packet::Ping(String::new()),
            8..=10 => Packet::Pong,
            11 | 12 => Packet::Upgrade,
            13 => Packet::Noop,
            14 => Packet::Open,
            _ => Packet::Close,
        };
        match event & 7 {
            0..=2 => self.packet(&packet),
            3 | 4 => {
                self.probe_packet(&packet);
                true
            }
            5 => {
                let output = self.session.on(Input::ProbeOpened, self.now);
                if self.is_websocket || self.probing_since.is_some() {
                    assert_eq!(output, Output::DropProbe, "one upgrade at a time");
                } else {
                    assert_eq!(output, Output::Nothing);
                    (self.probing_since, self.is_answered) = (Some(self.now), false);
                }
                true
            }
            6 => {
                assert_eq!(self.session.on(Input::ProbeLost, self.now), Output::Nothing);
                self.probing_since = None;
                true
            }
            _ => self.tick(), // one that nobody asked for
        }
    }

    fn packet(&mut self, packet: &Packet) -> bool {
        let output = self.session.on(Input::Packet(packet), self.now);
        self.heard = self.now;
        match output {
            Output::Deliver => assert!(matches!(packet, Packet::Message(_))),
            Output::Pong => assert!(matches!(packet, Packet::Ping(_)) && self.version == Version::V3),
            Output::Nothing => assert!(!matches!(packet, Packet::Message(_) | Packet::Close)),
            Output::Close(_) => return false,
            output => panic!("{output:?} for {packet:?}"),
        }
        true
    }

    fn probe_packet(&mut self, packet: &Packet) {
        let output = self.session.on(Input::ProbePacket(packet), self.now);
        match output {
            Output::Nothing => assert!(self.probing_since.is_none(), "a probe is answered or dropped"),
            Output::AnswerProbe => self.is_answered = true,
            Output::Switch => {
                assert!(!self.is_websocket && self.probing_since.is_some(), "one upgrade a life");
                (self.is_websocket, self.probing_since) = (true, None);
            }
            Output::DropProbe => assert!(self.probing_since.take().is_some()),
            output => panic!("{output:?} for {packet:?} on a probe"),
        }
        let hurries = self.probing_since.is_some() && self.is_answered;
        assert_eq!(self.session.hurries_polls(), hurries);
    }
}

fn config() -> Config {
    Config {
        transports: vec![TransportName::Polling, TransportName::Websocket],
        eio3: true,
        ping_interval: Span(INTERVAL),
        ping_timeout: Span(TIMEOUT),
        upgrade_timeout: Span(UPGRADE_TIMEOUT),
        connect_timeout: Span(INTERVAL),
        max_payload: ByteSize(MESSAGE_BYTES_MAX),
        cookie: String::new(),
        http_compression: false,
    }
}

/// What a request says of itself: its query, or the headers that say whose page it comes from, a line each.
pub(crate) fn request(data: &[u8]) {
    let Some((mode, data)) = data.split_first() else { return };
    if mode % 2 == 0 {
        if let Ok(text) = std::str::from_utf8(data) {
            query(text);
        }
    } else {
        origin(data);
    }
}

fn query(text: &str) {
    let parsed = Query::parse(text);
    let is_digits = |text: &String| text.bytes().all(|byte| byte.is_ascii_digit());
    assert!(
        parsed.jsonp.as_ref().is_none_or(is_digits),
        "an index stands in a script"
    );
    if let Some(sid) = parsed.sid.as_deref().and_then(Sid::parse) {
        assert_eq!(
            (Some(sid.as_str()), sid.as_str().len()),
            (parsed.sid.as_deref(), SID_LENGTH)
        );
    }
    let later = Query::parse(&format!("{text}&EIO=4&transport=websocket&t=1-1"));
    assert_eq!(
        (later.version, later.is_eio2, later.is_ancient),
        (Some(Version::V4), false, true)
    );
    assert_eq!(later.transport, Some(TransportName::Websocket));
    assert_eq!(
        (later.sid, later.jsonp, later.base64),
        (parsed.sid, parsed.jsonp, parsed.base64)
    );
}

fn origin(data: &[u8]) {
    const LISTED: &str = "https://app.example";
    let names = [ORIGIN, HOST, REFERER, HeaderName::from_static("sec-fetch-site")];
    let mut headers = HeaderMap::new();
    for (name, line) in names.into_iter().zip(data.split(|byte| *byte == b'\n')) {
        if !line.is_empty()
            && let Ok(value) = HeaderValue::from_bytes(line)
        {
            headers.insert(name, value);
        }
    }
    let origins = Origins::new(&[LISTED.to_owned()]);
    for is_script in [false, true] {
        let verdict = origins.judge(&headers, is_script);
        if let Verdict::Allowed(allowed) = &verdict {
            assert_eq!(Some(allowed), headers.get(ORIGIN));
            let origin = allowed.to_str().unwrap_or_default().to_ascii_lowercase();
            let host = headers
                .get(HOST)
                .and_then(|host| host.to_str().ok())
                .unwrap_or_default();
            let host = host.to_ascii_lowercase();
            let host = host.split(',').next().unwrap_or_default().trim();
            let name = |text: &str| match text.rsplit_once(':') {
                Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => {
                    name.to_owned()
                }
                _ => text.to_owned(),
            };
            let own = origin.split_once("://").map(|(_, authority)| name(authority));
            assert!(
                origin == LISTED || own == Some(name(host)),
                "{origin} may not ask {host}"
            );
        }
    }
}
