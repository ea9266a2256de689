//! WebSocket frames as a client writes and reads them.
//!
//! Reads from wherever the bytes lie and copies nothing, as the gateway's own reader cannot: frames of servers are not
//! masked. Judges a server by what it can be used for, not by the letter of RFC 6455.

use super::failure::Failure;

/// The key that hides our frames. It need not be a secret here, and one is as good as another for the server's work.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Bytes of the longest message that is taken: more is no answer to anything that we send.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// First byte of a text message.
const TEXT: u8 = 0x81;

/// First byte of a binary message.
const BINARY: u8 = 0x82;

/// First byte of the frame that ends a connection.
const CLOSE: u8 = 0x88;

/// First byte of a pong.
const PONG: u8 = 0x8a;

/// What comes in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    Text(&'a [u8]),
    Binary(&'a [u8]),
    Ping(&'a [u8]),
    Close(Option<u16>),
}

/// A message that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    is_text: bool,
    data: Vec<u8>,
}

/// Gives out the complete frames of `input` and returns their bytes.
#[inline]
pub(super) fn read(
    input: &[u8],
    pieces: &mut Pieces,
    mut give: impl FnMut(Frame<'_>) -> Result<(), Failure>,
) -> Result<usize, Failure> {
    let mut at = 0;
    while let Some((head, length)) = head(&input[at..])? {
        let Some(payload) = input.get(at + head..at + head + length) else {
            break;
        };
        match input[at] {
            TEXT => give(Frame::Text(payload))?,
            BINARY => give(Frame::Binary(payload))?,
            first => other(first, payload, pieces, &mut give)?,
        }
        at += head + length;
    }
    Ok(at)
}

/// Bytes of a frame's head and of its payload; `None` while the head is not complete.
#[inline]
fn head(bytes: &[u8]) -> Result<Option<(usize, usize)>, Failure> {
    let [_, second, rest @ ..] = bytes else {
        return Ok(None);
    };
    let (head, length) = match second {
        0..126 => return Ok(Some((2, usize::from(*second)))),
        126 => match rest.first_chunk() {
            Some(length) => (4, u64::from(u16::from_be_bytes(*length))),
            None => return Ok(None),
        },
        127 => match rest.first_chunk() {
            Some(length) => (10, u64::from_be_bytes(*length)),
            None => return Ok(None),
        },
        _ => return Err(Failure::Protocol("a frame of the server is masked")),
    };
    match usize::try_from(length) {
        Ok(length) if length <= MESSAGE_BYTES_MAX => Ok(Some((head, length))),
        _ => Err(Failure::Protocol("a frame of the server is too large")),
    }
}

/// Takes control frames and messages in pieces.
fn other(
    first: u8,
    payload: &[u8],
    pieces: &mut Pieces,
    give: &mut impl FnMut(Frame<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    match first {
        CLOSE => give(Frame::Close(
            payload.first_chunk().map(|code| u16::from_be_bytes(*code)),
        )),
        0x89 => give(Frame::Ping(payload)),
        PONG => Ok(()),
        0x01 | 0x02 => {
            pieces.is_text = first == 0x01;
            pieces.data = payload.to_vec();
            Ok(())
        }
        0x00 | 0x80 => {
            if pieces.data.len() + payload.len() > MESSAGE_BYTES_MAX {
                return Err(Failure::Protocol("a message of the server is too large"));
            }
            pieces.data.extend_from_slice(payload);
            if first == 0x00 {
                return Ok(());
            }
            let data = std::mem::take(&mut pieces.data);
            give(if pieces.is_text {
                Frame::Text(&data)
            } else {
                Frame::Binary(&data)
            })
        }
        // Node.js refuses a version of the protocol so.
        b'H' => Err(Failure::Protocol("the server refuses behind its 101 (is --eio right?)")),
        _ => Err(Failure::Protocol("a frame of the server is of no known kind")),
    }
}

/// Appends a text message, in pieces.
pub(super) fn push_text(out: &mut Vec<u8>, pieces: &[&[u8]]) {
    push(out, TEXT, pieces);
}

/// Appends a binary message.
pub(super) fn push_binary(out: &mut Vec<u8>, pieces: &[&[u8]]) {
    push(out, BINARY, pieces);
}

/// Appends the answer to a ping.
pub(super) fn push_pong(out: &mut Vec<u8>, payload: &[u8]) {
    push(out, PONG, &[&payload[..payload.len().min(125)]]);
}

/// Appends the end of the connection, for a normal reason.
pub(super) fn push_close(out: &mut Vec<u8>) {
    push(out, CLOSE, &[&1000u16.to_be_bytes()]);
}

fn push(out: &mut Vec<u8>, first: u8, pieces: &[&[u8]]) {
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    out.push(first);
    match length {
        0..126 => out.push(0x80 | length as u8),
        126..0x1_0000 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    let start = out.len();
    for piece in pieces {
        out.extend_from_slice(piece);
    }
    for four in out[start..].chunks_mut(4) {
        four.iter_mut().zip(MASK).for_each(|(byte, key)| *byte ^= key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that is given out, and how many bytes that took.
    fn all(input: &[u8], pieces: &mut Pieces) -> Result<(Vec<String>, usize), Failure> {
        let mut given = Vec::new();
        let used = read(input, pieces, |frame| {
            given.push(match frame {
                Frame::Text(text) => format!("text {}", String::from_utf8_lossy(text)),
                Frame::Binary(bytes) => format!("binary {bytes:?}"),
                Frame::Ping(payload) => format!("ping {payload:?}"),
                Frame::Close(code) => format!("close {code:?}"),
            });
            Ok(())
        })?;
        Ok((given, used))
    }

    #[test]
    fn complete_frames_are_given_out_and_the_rest_is_left() {
        let input = b"\x81\x02hi\x82\x01\x07\x89\x01x\x8a\x00\x88\x02\x03\xe9\x81\x05hel";
        let (given, used) = all(input, &mut Pieces::default()).unwrap();
        assert_eq!(given, ["text hi", "binary [7]", "ping [120]", "close Some(1001)"]);
        assert_eq!(used, input.len() - 5);
        for cut in [0, 1, 3] {
            assert_eq!(all(&input[..cut], &mut Pieces::default()).unwrap(), (vec![], 0));
        }
    }

    #[test]
    fn lengths_are_read_in_all_three_forms() {
        for length in [125, 126, 65_535, 65_536] {
            let encoded = crate::protocol::encoded::Encoded::text(&[&"a".repeat(length)]);
            let form = crate::protocol::encoded::WebSocketForm {
                version: crate::protocol::Version::V4,
                base64: false,
                double_utf8: false,
                msgpack: false,
            };
            let frame = encoded.frames(form);
            let (given, used) = all(frame, &mut Pieces::default()).unwrap();
            assert_eq!((given[0].len(), used), (5 + length, frame.len()));
            for cut in [1, 3, 5, 9, frame.len() - 1] {
                assert_eq!(all(&frame[..cut], &mut Pieces::default()).unwrap().1, 0);
            }
        }
    }

    #[test]
    fn messages_in_pieces_are_put_together() {
        let mut pieces = Pieces::default();
        let (given, _) = all(b"\x01\x02he\x89\x00\x00\x01l\x80\x02lo\x81\x01!", &mut pieces).unwrap();
        assert_eq!(given, ["ping []", "text hello", "text !"]);
    }

    #[test]
    fn what_cannot_be_used_is_a_failure() {
        for input in [
            b"\x81\x82\0\0\0\0hi".as_slice(),
            b"\xc1\x00",
            b"\x83\x00",
            b"\x81\x7f\xff\0\0\0\0\0\0\0",
        ] {
            assert!(all(input, &mut Pieces::default()).is_err(), "{input:?}");
        }
    }

    #[test]
    fn what_is_written_is_masked_and_read_again_by_unmasking() {
        for length in [0, 3, 125, 126, 70_000] {
            let text = "y".repeat(length);
            let mut out = Vec::new();
            push_text(&mut out, &[b"4", text.as_bytes()]);
            let head = match length + 1 {
                0..126 => 2,
                126..65_536 => 4,
                _ => 10,
            };
            assert_eq!(out[1] & 0x80, 0x80);
            let key: [u8; 4] = out[head..head + 4].try_into().unwrap();
            let payload: Vec<u8> = (out[head + 4..].iter().zip(key.iter().cycle()))
                .map(|(a, b)| a ^ b)
                .collect();
            assert_eq!(payload, format!("4{text}").as_bytes());
        }
        let mut out = Vec::new();
        push_close(&mut out);
        push_pong(&mut out, &[0; 200]);
        assert_eq!(out.len(), 8 + 6 + 125);
    }
}
