//! As much of WebSocket, Engine.IO and Socket.IO as the load generator says, in the exact bytes in which it says it.
//!
//! Never checks anything: whoever says something else gets no answer.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

/// What RFC 6455 puts behind a client's key.
const KEY_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Heartbeats so far apart that there are none.
const OPEN: &[u8] =
    br#"0{"sid":"floor","upgrades":[],"pingInterval":3600000,"pingTimeout":20000,"maxPayload":1000000}"#;
const CONNECTED: &[u8] = br#"40{"sid":"floor"}"#;

const CLOSE: u8 = 8;
const MASK_BYTES: usize = 4;

/// A client's frame.
pub(crate) struct Frame<'a> {
    opcode: u8,
    payload: &'a [u8],
}

/// What is to be done about a frame, beside the answer.
pub(crate) enum Said<'a> {
    Nothing,
    Close,
    Join(&'a [u8]),
    Publish { room: &'a [u8], frame: Vec<u8> },
}

/// Answers a handshake, and opens the session.
pub(crate) fn upgrade(request: &[u8], answers: &mut Vec<u8>) -> io::Result<()> {
    let request = String::from_utf8_lossy(request);
    let key = request.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key").then_some(value.trim())
    });
    let key = key.ok_or_else(|| io::Error::other("a request that is no handshake"))?;
    let accept = STANDARD.encode(Sha1::digest(format!("{key}{KEY_SUFFIX}")));
    let head =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ";
    answers.extend_from_slice(format!("{head}{accept}\r\n\r\n").as_bytes());
    put_frame(answers, &[OPEN]);
    Ok(())
}

/// How many bytes the first frame has before its payload, and in it; `None` while not all of them are there.
pub(crate) fn first_frame(bytes: &[u8]) -> Option<(usize, usize)> {
    let (head, length) = match bytes.get(1)? & 0x7f {
        126 => (4, u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?).into()),
        127 => (10, u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?) as usize),
        length => (2, length.into()),
    };
    let head = head + MASK_BYTES;
    (bytes.len() >= head + length).then_some((head, length))
}

/// Takes the mask off a frame that is all there.
pub(crate) fn unmasked(bytes: &mut [u8], head: usize) -> Frame<'_> {
    let opcode = bytes[0] & 0x0f;
    let (before, payload) = bytes.split_at_mut(head);
    let mask: [u8; MASK_BYTES] = *before.last_chunk().expect("a head ends with its mask");
    let (words, tail) = payload.as_chunks_mut();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(mask)).to_ne_bytes();
    }
    for (byte, mask) in tail.iter_mut().zip(mask) {
        *byte ^= mask;
    }
    Frame { opcode, payload }
}

/// Reads a frame, and answers it.
pub(crate) fn said<'a>(frame: &Frame<'a>, answers: &mut Vec<u8>) -> Said<'a> {
    if frame.opcode == CLOSE {
        return Said::Close;
    }
    if frame.payload.starts_with(b"40") {
        put_frame(answers, &[CONNECTED]);
        return Said::Nothing;
    }
    let Some(event) = frame.payload.strip_prefix(b"42") else {
        return Said::Nothing;
    };
    let digits = event.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (id, event) = event.split_at(digits);
    if let Some(arguments) = event.strip_prefix(br#"["echo","#) {
        put_frame(answers, &[b"43", id, b"[", arguments]);
        return Said::Nothing;
    }
    put_frame(answers, &[b"43", id, b"[]"]);
    if let Some(room) = event
        .strip_prefix(br#"["join",""#)
        .and_then(|rest| rest.strip_suffix(br#""]"#))
    {
        return Said::Join(room);
    }
    if let Some(arguments) = event.strip_prefix(br#"["publish",""#)
        && let Some(quote) = arguments.iter().position(|byte| *byte == b'"')
    {
        let (room, rest) = arguments.split_at(quote);
        let mut frame = Vec::with_capacity(rest.len() + 16);
        put_frame(&mut frame, &[b"42[", &rest[r#"","#.len()..]]);
        return Said::Publish { room, frame };
    }
    Said::Nothing
}

/// Appends a frame whose text is these parts.
fn put_frame(bytes: &mut Vec<u8>, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    bytes.push(0x81);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length), _) if length < 126 => bytes.push(length),
        (_, Ok(length)) => {
            bytes.push(126);
            bytes.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            bytes.push(127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    for part in parts {
        bytes.extend_from_slice(part);
    }
}
