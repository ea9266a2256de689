//! Packets of Engine.IO as a client takes them: heartbeats are answered here, messages are given out.

use std::cell::RefCell;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::failure::Failure;
use super::outgoing::Outgoing;
use crate::protocol::Version;

thread_local! {
    /// What base64 stands for; kept, as there may be a million a second.
    static DECODED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What a server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message<'a> {
    /// `0`: the session's settings, in JSON.
    Open(&'a [u8]),
    /// `3`: the answer to a v3 heartbeat or to the test of a transport.
    Pong(&'a [u8]),
    /// `4`: a message.
    Text(&'a [u8]),
    /// The same in binary.
    Binary(&'a [u8]),
}

/// Takes a packet in its text form.
#[inline]
pub(super) fn packet(
    text: &[u8],
    version: Version,
    out: &mut Outgoing,
    on: &mut impl FnMut(Message<'_>, &mut Outgoing),
) -> Result<(), Failure> {
    match text.split_first() {
        Some((b'4', message)) => on(Message::Text(message), out),
        Some((b'0', settings)) => on(Message::Open(settings), out),
        Some((b'2', _)) => out.text(&["3"]),
        Some((b'3', rest)) => on(Message::Pong(rest), out),
        Some((b'1', _)) => return Err(Failure::Closed(None)),
        Some((b'6', _)) => {}
        Some((b'b', base64)) => {
            let base64 = match version {
                Version::V3 => base64.strip_prefix(b"4").unwrap_or(base64),
                Version::V4 => base64,
            };
            return DECODED.with_borrow_mut(|decoded| {
                decoded.clear();
                let broken = |_| Failure::Protocol("a binary message of the server is no base64");
                STANDARD.decode_vec(base64, decoded).map_err(broken)?;
                on(Message::Binary(decoded), out);
                Ok(())
            });
        }
        _ => return Err(Failure::Protocol("a packet of the server is none of Engine.IO")),
    }
    Ok(())
}

/// Takes a binary message of a WebSocket.
pub(super) fn binary(
    bytes: &[u8],
    version: Version,
    out: &mut Outgoing,
    on: &mut impl FnMut(Message<'_>, &mut Outgoing),
) -> Result<(), Failure> {
    let bytes = match version {
        Version::V3 => bytes.strip_prefix(&[4]).unwrap_or(bytes),
        Version::V4 => bytes,
    };
    on(Message::Binary(bytes), out);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heartbeats_are_answered_and_messages_given_out() {
        let mut out = Outgoing::Frames(Vec::new());
        let mut given = Vec::new();
        for text in ["0{}", "2", "3probe", "42[]", "6", "bAQI="] {
            let mut on = |message: Message<'_>, _: &mut Outgoing| given.push(format!("{message:?}"));
            packet(text.as_bytes(), Version::V4, &mut out, &mut on).unwrap();
        }
        let mut on = |message: Message<'_>, _: &mut Outgoing| given.push(format!("{message:?}"));
        packet(b"b4AQI=", Version::V3, &mut out, &mut on).unwrap();
        binary(&[4, 7], Version::V3, &mut out, &mut on).unwrap();
        let messages = [
            Message::Open(b"{}"),
            Message::Pong(b"probe"),
            Message::Text(b"2[]"),
            Message::Binary(&[1, 2]),
            Message::Binary(&[1, 2]),
            Message::Binary(&[7]),
        ];
        assert_eq!(given, messages.map(|message| format!("{message:?}")));
        let Outgoing::Frames(out) = out else { unreachable!() };
        assert_eq!(out.len(), 7, "one pong");
    }

    #[test]
    fn an_end_and_what_is_no_packet_are_failures() {
        for text in ["1", "", "9", "b!"] {
            let mut out = Outgoing::Frames(Vec::new());
            assert!(
                packet(text.as_bytes(), Version::V4, &mut out, &mut |_, _| ()).is_err(),
                "{text}"
            );
        }
    }
}
