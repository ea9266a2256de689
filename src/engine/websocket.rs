//! Frames of one WebSocket, read strictly and within bounds.
//!
//! The only place that knows fastwebsockets, of which it takes the upgrade response, opcodes, close codes and unmasking.
//! Its own reader is not cancel-safe, does not check masks, keeps a buffer for every idle connection and has no bound
//! on fragments; this one keeps nothing but an incomplete frame. It must never wait: it is fed with what was read.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fastwebsockets::{CloseCode, OpCode, unmask};
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use crate::gate::Gate;
use crate::http::{self, Body, Lease};
use crate::protocol::encoded::{Encoded, WebSocketForm};
use crate::stream::Stream;

/// Fragments that one message may come in.
const FRAGMENTS_MAX: u32 = 128;

/// Bytes in the payload of a control frame (RFC 6455 §5.5).
const CONTROL_BYTES_MAX: usize = 125;

/// Random bytes in a client's key (RFC 6455 §4.1).
const KEY_BYTES: usize = 16;

/// What a complete message or control frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// To be answered by a pong with the same bytes.
    Ping(&'a [u8]),
    /// The peer closes, with this code if it gave one.
    Close(Option<u16>),
}

/// Why a connection has to be closed, with the code that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    /// Not RFC 6455.
    #[error("a frame breaks RFC 6455")]
    Protocol,
    /// Text that is not UTF-8.
    #[error("text is not UTF-8")]
    Utf8,
    /// A message above the bound.
    #[error("a message is too large")]
    TooLarge,
    /// A message in too many pieces.
    #[error("a message comes in too many fragments")]
    TooManyFragments,
}

impl FrameError {
    /// The close code (RFC 6455 §7.4.1).
    pub(super) fn close_code(self) -> u16 {
        CloseCode::into(match self {
            Self::Protocol => CloseCode::Protocol,
            Self::Utf8 => CloseCode::Invalid,
            Self::TooLarge => CloseCode::Size,
            Self::TooManyFragments => CloseCode::Policy,
        })
    }
}

/// Puts frames together from whatever pieces a socket gives.
#[derive(Debug)]
pub(super) struct FrameReader {
    bytes_max: usize,
    fragments_max: u32,
    /// The beginning of a frame that is not complete.
    partial: Vec<u8>,
    /// A message of which the last fragment is still to come.
    message: Option<Box<Fragments>>,
    is_closed: bool,
}

#[derive(Debug)]
struct Fragments {
    is_text: bool,
    count: u32,
    data: Vec<u8>,
    /// Bytes of `data` known to be UTF-8.
    checked: usize,
}

/// Header fields of one frame.
struct Head {
    is_final: bool,
    opcode: OpCode,
    mask: [u8; 4],
    length: usize,
    payload: usize,
}

impl FrameReader {
    /// A reader of messages of at most `bytes_max` bytes.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            fragments_max: FRAGMENTS_MAX,
            partial: Vec::new(),
            message: None,
            is_closed: false,
        }
    }

    /// A reader of messages in more fragments.
    #[cfg(test)]
    pub(super) fn with_fragments_max(self, fragments_max: u32) -> Self {
        Self { fragments_max, ..self }
    }

    /// Bytes that wait for more.
    #[cfg(any(test, fuzzing))]
    pub(super) fn held_bytes(&self) -> usize {
        self.partial.len() + self.message.as_ref().map_or(0, |message| message.data.len())
    }

    /// Reads what has come in; `input` is unmasked where it lies. Frames behind a close are not read.
    ///
    /// # Errors
    /// When the peer breaks the protocol or a bound. Frames before that were given out.
    pub(super) fn feed(&mut self, input: &mut [u8], mut give: impl FnMut(Frame<'_>)) -> Result<(), FrameError> {
        if self.partial.is_empty() {
            let used = self.frames(input, &mut give)?;
            self.partial.extend_from_slice(&input[used..]);
            return Ok(());
        }
        let mut joined = std::mem::take(&mut self.partial);
        joined.extend_from_slice(input);
        let used = self.frames(&mut joined, &mut give)?;
        // Not drained, as the beginning of a small frame would keep the room of the large one before it.
        self.partial = if used == 0 { joined } else { joined[used..].to_vec() };
        Ok(())
    }

    /// Reads the complete frames of `input` and returns their bytes.
    fn frames(&mut self, input: &mut [u8], give: &mut impl FnMut(Frame<'_>)) -> Result<usize, FrameError> {
        let mut at = 0;
        while !self.is_closed
            && let Some(head) = self.head(&input[at..])?
        {
            let start = at + head.length;
            let Some(payload) = input.get_mut(start..start + head.payload) else {
                break;
            };
            unmask(payload, head.mask);
            at = start + head.payload;
            self.frame(&head, payload, give)?;
        }
        Ok(if self.is_closed { input.len() } else { at })
    }

    /// Reads and checks a frame's header; `None` while it is incomplete.
    fn head(&self, bytes: &[u8]) -> Result<Option<Head>, FrameError> {
        let [first, second, rest @ ..] = bytes else {
            return Ok(None);
        };
        let is_reserved = first & 0x70 != 0;
        let opcode = OpCode::try_from(first & 0x0f).map_err(|_| FrameError::Protocol)?;
        let is_masked = second & 0x80 != 0;
        if is_reserved || !is_masked {
            return Err(FrameError::Protocol);
        }
        let is_final = first & 0x80 != 0;
        let (extra, payload) = match second & 0x7f {
            126 => {
                let Some(length) = rest.first_chunk().copied().map(u16::from_be_bytes) else {
                    return Ok(None);
                };
                (2, u64::from(length))
            }
            127 => {
                let Some(length) = rest.first_chunk().copied().map(u64::from_be_bytes) else {
                    return Ok(None);
                };
                (8, length)
            }
            length => (0, u64::from(length)),
        };
        // Judged by its header, before a byte of it is kept.
        let payload = usize::try_from(payload).map_err(|_| FrameError::TooLarge)?;
        self.check(opcode, is_final, payload)?;
        let Some(mask) = rest.get(extra..).and_then(|rest| rest.first_chunk()) else {
            return Ok(None);
        };
        Ok(Some(Head {
            is_final,
            opcode,
            mask: *mask,
            length: 2 + extra + 4,
            payload,
        }))
    }

    fn check(&self, opcode: OpCode, is_final: bool, payload: usize) -> Result<(), FrameError> {
        let before = match (opcode, &self.message) {
            (OpCode::Close | OpCode::Ping | OpCode::Pong, _) => {
                return if is_final && payload <= CONTROL_BYTES_MAX {
                    Ok(())
                } else {
                    Err(FrameError::Protocol)
                };
            }
            (OpCode::Continuation, Some(message)) => message.data.len(),
            (OpCode::Text | OpCode::Binary, None) => 0,
            (OpCode::Continuation, None) | (OpCode::Text | OpCode::Binary, Some(_)) => {
                return Err(FrameError::Protocol);
            }
        };
        if payload > self.bytes_max.saturating_sub(before) {
            Err(FrameError::TooLarge)
        } else {
            Ok(())
        }
    }

    /// Takes one complete frame and gives out what it completes.
    fn frame(&mut self, head: &Head, payload: &[u8], give: &mut impl FnMut(Frame<'_>)) -> Result<(), FrameError> {
        match head.opcode {
            OpCode::Ping => give(Frame::Ping(payload)),
            OpCode::Pong => {}
            OpCode::Close => {
                self.is_closed = true;
                give(close(payload)?);
            }
            OpCode::Text if head.is_final => give(Frame::Text(utf8(payload)?)),
            OpCode::Binary if head.is_final => give(Frame::Binary(payload)),
            OpCode::Text | OpCode::Binary | OpCode::Continuation => self.fragment(head, payload, give)?,
        }
        Ok(())
    }

    fn fragment(&mut self, head: &Head, payload: &[u8], give: &mut impl FnMut(Frame<'_>)) -> Result<(), FrameError> {
        let is_text = head.opcode == OpCode::Text;
        let message = self.message.get_or_insert_with(|| {
            Box::new(Fragments {
                is_text,
                count: 0,
                data: Vec::new(),
                checked: 0,
            })
        });
        message.count += 1;
        if message.count > self.fragments_max {
            return Err(FrameError::TooManyFragments);
        }
        message.data.extend_from_slice(payload);
        if message.is_text {
            message.check_utf8(head.is_final)?;
        }
        if head.is_final
            && let Some(message) = self.message.take()
        {
            give(if message.is_text {
                Frame::Text(utf8(&message.data)?)
            } else {
                Frame::Binary(&message.data)
            });
        }
        Ok(())
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, FrameError> {
    simdutf8::basic::from_utf8(bytes).map_err(|_| FrameError::Utf8)
}

impl Fragments {
    /// Fails at the first byte that cannot become UTF-8, not at the end of the message.
    fn check_utf8(&mut self, is_final: bool) -> Result<(), FrameError> {
        match simdutf8::compat::from_utf8(&self.data[self.checked..]) {
            Ok(_) => self.checked = self.data.len(),
            Err(error) if error.error_len().is_none() && !is_final => self.checked += error.valid_up_to(),
            Err(_) => return Err(FrameError::Utf8),
        }
        Ok(())
    }
}

/// A close frame is empty, or a code that may be sent with a reason in UTF-8 (RFC 6455 §5.5.1, §7.4).
fn close(payload: &[u8]) -> Result<Frame<'static>, FrameError> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() {
            Ok(Frame::Close(None))
        } else {
            Err(FrameError::Protocol)
        };
    };
    let code = u16::from_be_bytes(*code);
    if !CloseCode::from(code).is_allowed() {
        return Err(FrameError::Protocol);
    }
    utf8(reason)?;
    Ok(Frame::Close(Some(code)))
}

/// The answer to a ping.
pub(super) fn pong(payload: &[u8]) -> Encoded {
    Encoded::control_frame(OpCode::Pong as u8, &payload[..payload.len().min(CONTROL_BYTES_MAX)])
}

/// The frame that closes a connection.
pub(super) fn close_frame(code: Option<u16>) -> Encoded {
    match code {
        Some(code) => Encoded::control_frame(OpCode::Close as u8, &code.to_be_bytes()),
        None => Encoded::control_frame(OpCode::Close as u8, &[]),
    }
}

/// Whether the request asks for a WebSocket, whatever else is wrong with it.
pub(super) fn is_upgrade<B>(request: &Request<B>) -> bool {
    fastwebsockets::upgrade::is_upgrade_request(request)
}

/// A connection that became a WebSocket.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) socket: Stream,
    /// What came behind the request and was read with it.
    pub(super) leftover: Bytes,
    pub(super) form: WebSocketForm,
    pub(super) lease: Arc<Lease>,
}

impl Opened {
    /// Waits for the 101 to be sent and takes the bare socket; `None` where the client is gone.
    pub(super) async fn wait(upgrade: OnUpgrade, form: WebSocketForm, lease: Arc<Lease>) -> Option<Self> {
        let parts = upgrade.await.ok()?.downcast::<TokioIo<Gate>>().ok()?;
        Some(Self {
            socket: parts.io.into_inner().into_stream(),
            leftover: parts.read_buf,
            form,
            lease,
        })
    }
}

/// The answer that makes the connection a WebSocket, and what becomes of it; `None` where key or version are missing or
/// wrong.
pub(super) fn accept<B>(request: &mut Request<B>) -> Option<(Response<Body>, OnUpgrade)> {
    let protocol = request
        .headers()
        .get("sec-websocket-protocol")
        .and_then(|offered| offered.to_str().ok()?.split(',').next()?.trim().parse().ok());
    let key = request.headers().get("sec-websocket-key")?.as_bytes();
    if STANDARD.decode(key).ok()?.len() != KEY_BYTES {
        return None;
    }
    let upgrade = hyper::upgrade::on(&mut *request);
    let (response, _) = fastwebsockets::upgrade::upgrade(request).ok()?;
    let mut response = response.map(|_| http::body(Bytes::new()));
    if let Some(protocol) = protocol {
        response.headers_mut().insert("sec-websocket-protocol", protocol);
    }
    Some((response, upgrade))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match payload.len() {
            length @ 0..126 => frame.push(0x80 | length as u8),
            length @ 126..0x1_0000 => {
                frame.push(0x80 | 126);
                frame.extend((length as u16).to_be_bytes());
            }
            length => {
                frame.push(0x80 | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend(MASK);
        frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    fn read(bytes: &[u8], piece: usize) -> (Vec<String>, Result<(), FrameError>) {
        let (mut reader, mut frames) = (FrameReader::new(1000), Vec::new());
        for piece in bytes.chunks(piece.max(1)) {
            if let Err(error) = reader.feed(&mut piece.to_vec(), |frame| frames.push(format!("{frame:?}"))) {
                return (frames, Err(error));
            }
        }
        (frames, Ok(()))
    }

    #[test]
    fn messages_are_read_in_whatever_pieces_they_come() {
        let bytes = [
            masked(0x81, "hällo".as_bytes()),
            masked(0x01, b"one "),
            masked(0x89, b"ping"),
            masked(0x80, b"two"),
            masked(0x82, &[7; 500]),
            masked(0x8a, b"pong"),
            masked(0x88, &[0x03, 0xe8]),
            masked(0x81, b"too late"),
        ]
        .concat();
        for piece in [1, 2, 3, 7, 100, 10_000] {
            let (frames, result) = read(&bytes, piece);
            assert_eq!(result, Ok(()));
            let expected = [
                Frame::Text("hällo"),
                Frame::Ping(b"ping"),
                Frame::Text("one two"),
                Frame::Binary(&[7; 500]),
                Frame::Close(Some(1000)),
            ]
            .map(|frame| format!("{frame:?}"));
            assert_eq!(frames, expected, "{piece}");
        }
    }

    #[test]
    fn frames_that_break_the_protocol_are_refused() {
        let unmasked = [0x81, 1, b'x'].to_vec();
        let huge = [0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff].to_vec();
        for (bytes, error) in [
            (unmasked, FrameError::Protocol),
            (masked(0xc1, b"rsv1"), FrameError::Protocol),
            (masked(0x91, b"rsv3"), FrameError::Protocol),
            (masked(0x83, b"opcode 3"), FrameError::Protocol),
            (masked(0x8b, b"opcode 11"), FrameError::Protocol),
            (masked(0x09, b"fragmented ping"), FrameError::Protocol),
            (masked(0x89, &[0; 126]), FrameError::Protocol),
            (masked(0x80, b"continues nothing"), FrameError::Protocol),
            ([masked(0x01, b"a"), masked(0x01, b"b")].concat(), FrameError::Protocol),
            (masked(0x88, &[3]), FrameError::Protocol),
            (masked(0x88, &[0x03, 0xed]), FrameError::Protocol),
            (masked(0x88, &[0x03, 0xe8, 0xff]), FrameError::Utf8),
            (masked(0x81, &[0xff]), FrameError::Utf8),
            (masked(0x81, &[0xc3]), FrameError::Utf8),
            (masked(0x01, &[b'a', 0xff]), FrameError::Utf8),
            (
                [masked(0x01, &[0xe2]), masked(0x00, &[0x28])].concat(),
                FrameError::Utf8,
            ),
            ([masked(0x01, &[0xe2]), masked(0x80, &[])].concat(), FrameError::Utf8),
            (masked(0x82, &[0; 1001]), FrameError::TooLarge),
            (huge, FrameError::TooLarge),
            (
                [masked(0x02, &[0; 600]), masked(0x80, &[0; 401])].concat(),
                FrameError::TooLarge,
            ),
            (
                std::iter::once(masked(0x02, b""))
                    .chain(std::iter::repeat_n(masked(0x00, b""), 128))
                    .flatten()
                    .collect(),
                FrameError::TooManyFragments,
            ),
        ] {
            assert_eq!(
                read(&bytes, 10_000).1,
                Err(error),
                "{:?}",
                &bytes[..bytes.len().min(12)]
            );
        }
        assert_eq!(read(&masked(0x82, &[0; 1000]), 10_000).1, Ok(()));
    }

    proptest! {
        #[test]
        fn any_split_of_any_messages_reads_the_same(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..6),
            piece in 1usize..400,
        ) {
            let bytes: Vec<u8> = messages.iter().flat_map(|message| masked(0x82, message)).collect();
            let (frames, result) = read(&bytes, piece);
            prop_assert_eq!(result, Ok(()));
            let expected: Vec<_> = messages.iter().map(|message| format!("{:?}", Frame::Binary(message))).collect();
            prop_assert_eq!(frames, expected);
        }

        #[test]
        fn no_bytes_make_the_reader_fail_badly(bytes in prop::collection::vec(any::<u8>(), 0..400), piece in 1usize..50) {
            let _ = read(&bytes, piece);
        }
    }
}
