//! How a client writes its packets: as text, or in MessagePack.
//!
//! Nothing in a handshake says which; the first message of a session does, for all of it. Clients of v3 are sent a
//! packet before they say anything, so they are always taken for text.

use bytes::Bytes;
use tracing::{debug, trace};

use super::client::Client;
use crate::protocol::Version;
use crate::protocol::engine::Message;
use crate::protocol::msgpack::Decoded;
use crate::reason::Reason;

/// The form of a session's packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parser {
    /// Not known before the first message.
    Unknown,
    /// The default parser of all clients.
    Text,
    /// socket.io-msgpack-parser.
    Msgpack,
}

impl Parser {
    /// What is known of a client that said nothing yet.
    pub(super) fn of(version: Version) -> Self {
        match version {
            Version::V3 => Self::Text,
            Version::V4 => Self::Unknown,
        }
    }
}

impl Client {
    /// A first message, or one in MessagePack.
    pub(super) fn on_other_message(&mut self, message: Message) -> Result<(), Reason> {
        match (self.parser, message) {
            (Parser::Unknown | Parser::Text, Message::Text(text)) => {
                self.parser = Parser::Text;
                self.on_text(text)
            }
            (Parser::Msgpack, Message::Text(_)) => {
                debug!("text from a client that speaks MessagePack");
                Err(Reason::Malformed)
            }
            (_, Message::Binary(bytes)) => {
                if self.parser == Parser::Unknown {
                    self.parser = Parser::Msgpack;
                    self.session.speak_msgpack();
                }
                self.on_msgpack(&bytes)
            }
        }
    }

    fn on_msgpack(&mut self, message: &Bytes) -> Result<(), Reason> {
        trace!(bytes = message.len(), "received MessagePack");
        let (decoded, attachments) =
            Decoded::decode(message, self.shared.limits.attachments).map_err(|error| malformed(&error))?;
        // What is short here can be long as text, which is what others are sent.
        let bytes = attachments.iter().map(Bytes::len).sum::<usize>() + decoded.json_bytes();
        if bytes > self.shared.payload_bytes_max {
            return Err(Reason::TooLarge);
        }
        let packet = decoded.packet().map_err(|error| malformed(&error))?;
        self.on_packet(packet, attachments)
    }
}

fn malformed(error: &impl std::fmt::Display) -> Reason {
    debug!("{error}");
    Reason::Malformed
}
