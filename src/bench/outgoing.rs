//! What waits to be sent, in the form of the transport that will take it.

use std::collections::VecDeque;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{frames, payload};
use crate::protocol::Version;

/// Bytes from which on a packet goes into a POST of its own. Servers take a megabyte unless they were told otherwise.
const BODY_BYTES: usize = 64 * 1024;

/// Packets of Engine.IO on their way out.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// Frames of a WebSocket.
    Frames(Vec<u8>),
    /// Bodies of POST requests.
    Bodies(Version, VecDeque<Vec<u8>>),
}

impl Outgoing {
    /// A packet in its text form, in pieces.
    #[inline]
    pub(super) fn text(&mut self, pieces: &[&str]) {
        match self {
            Self::Frames(out) => match pieces {
                [one] => frames::push_text(out, &[one.as_bytes()]),
                [one, two] => frames::push_text(out, &[one.as_bytes(), two.as_bytes()]),
                [one, two, three] => frames::push_text(out, &[one.as_bytes(), two.as_bytes(), three.as_bytes()]),
                pieces => frames::push_text(out, &[pieces.concat().as_bytes()]),
            },
            Self::Bodies(version, bodies) => {
                if bodies.back().is_none_or(|body| body.len() > BODY_BYTES) {
                    bodies.push_back(Vec::new());
                }
                if let Some(body) = bodies.back_mut() {
                    payload::push(body, *version, pieces);
                }
            }
        }
    }

    /// A message in binary. Only v4 is spoken so.
    pub(super) fn binary(&mut self, bytes: &[u8]) {
        match self {
            Self::Frames(out) => frames::push_binary(out, &[bytes]),
            Self::Bodies(..) => self.text(&["b", &STANDARD.encode(bytes)]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_packets_do_not_share_a_body() {
        let mut out = Outgoing::Bodies(Version::V4, VecDeque::new());
        out.text(&["4", "a"]);
        out.text(&["4", &"b".repeat(BODY_BYTES)]);
        out.text(&["4c"]);
        out.binary(&[1, 2, 3, 4]);
        let Outgoing::Bodies(_, bodies) = out else {
            unreachable!()
        };
        assert_eq!(bodies.len(), 2);
        assert_eq!(bodies[1], b"4c\x1ebAQIDBA==");
    }
}
