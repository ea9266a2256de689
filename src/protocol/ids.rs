//! Ids of nodes, sessions and sockets.
//!
//! A session id is 20 characters of base64url, as Node's are (its adapters take "length 20" for "is a socket id").
//! The first four are the node's tag, so that whoever receives a request for a session it does not own knows whom to
//! ask; the other sixteen are 96 bits from the system's random generator.

use std::borrow::Borrow;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use compact_str::{CompactString, format_compact};
use rand::TryRng as _;
use rand::rngs::SysRng;

/// Characters of a session id.
pub const SID_LENGTH: usize = 20;

/// Random bytes of a node's tag: four characters.
const TAG_BYTES: usize = 3;

/// Characters of a node's tag.
const TAG_LENGTH: usize = TAG_BYTES / 3 * 4;

/// Random bytes of a session id behind the tag: sixteen characters.
const RANDOM_BYTES: usize = 12;

/// The id of one Engine.IO session. Knowing it means being able to take the session over: it is shown to nobody else.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sid([u8; SID_LENGTH]);

/// The id of one socket: a client on one namespace. Also the name of the room in which it is alone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SocketId(CompactString);

/// Makes ids that begin with this node's tag.
#[derive(Debug)]
pub struct IdGenerator {
    /// Three bytes behind a zero.
    tag: AtomicU32,
}

impl Sid {
    /// Reads an id from a query string; `None` where it cannot be one of any node.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; SID_LENGTH] = text.as_bytes().try_into().ok()?;
        bytes.iter().all(|byte| is_id_character(*byte)).then_some(Self(bytes))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default() // ASCII by construction
    }

    /// What it begins with: the tag of its node.
    pub fn tag(&self) -> &str {
        &self.as_str()[..TAG_LENGTH]
    }

    /// The first characters, enough to find a session in a log and too few to take it over.
    pub fn prefix(&self) -> &str {
        &self.as_str()[..8]
    }
}

impl fmt::Debug for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…", self.prefix())
    }
}

impl SocketId {
    /// The id of a v1/v2 client's socket: the session's own id on `/`, behind `namespace#` elsewhere.
    pub fn of_session(sid: &Sid, namespace: &str) -> Self {
        if namespace == "/" {
            Self(CompactString::from(sid.as_str()))
        } else {
            Self(format_compact!("{namespace}#{}", sid.as_str()))
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Sid> for SocketId {
    fn from(sid: Sid) -> Self {
        Self(CompactString::from(sid.as_str()))
    }
}

impl Borrow<str> for SocketId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl IdGenerator {
    /// A generator with a random tag.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn new() -> Result<Self, RandomnessError> {
        let ids = Self { tag: AtomicU32::new(0) };
        ids.renew_tag()?;
        Ok(ids)
    }

    /// Takes another random tag: for a node that has made no id yet.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn renew_tag(&self) -> Result<(), RandomnessError> {
        let mut tag = [0; 1 + TAG_BYTES];
        SysRng.try_fill_bytes(&mut tag[1..]).map_err(|_| RandomnessError)?;
        self.tag.store(u32::from_be_bytes(tag), Ordering::Relaxed);
        Ok(())
    }

    fn tag_bytes(&self) -> [u8; TAG_BYTES] {
        let [_, tag @ ..] = self.tag.load(Ordering::Relaxed).to_be_bytes();
        tag
    }

    /// A new id that nobody can guess.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn next(&self) -> Result<Sid, RandomnessError> {
        let mut bytes = [0; TAG_BYTES + RANDOM_BYTES];
        bytes[..TAG_BYTES].copy_from_slice(&self.tag_bytes());
        SysRng
            .try_fill_bytes(&mut bytes[TAG_BYTES..])
            .map_err(|_| RandomnessError)?;
        let mut text = [0; SID_LENGTH];
        URL_SAFE_NO_PAD
            .encode_slice(bytes, &mut text)
            .map_err(|_| RandomnessError)?;
        Ok(Sid(text))
    }

    /// Whether an id is one of this node's.
    pub fn made(&self, sid: &Sid) -> bool {
        let mut tag = [0; TAG_LENGTH];
        let encoded = URL_SAFE_NO_PAD.encode_slice(self.tag_bytes(), &mut tag);
        encoded.is_ok() && sid.0.starts_with(&tag)
    }

    /// The four characters that this node's ids begin with.
    pub fn tag(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.tag_bytes())
    }
}

/// The system has no randomness to give.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the system's random generator gave nothing")]
pub struct RandomnessError;

/// Whether a room of this name could be some socket's private room, on whatever server: 20 characters of base64url,
/// with or without `/namespace#` before.
pub fn looks_like_socket_id(name: &str) -> bool {
    let id = match name.rsplit_once('#') {
        Some((namespace, id)) if namespace.starts_with('/') => id,
        _ => name,
    };
    id.len() == SID_LENGTH && id.bytes().all(is_id_character)
}

fn is_id_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_twenty_characters_and_begin_with_the_tag() {
        let ids = IdGenerator::new().unwrap();
        let (one, other) = (ids.next().unwrap(), ids.next().unwrap());
        assert_ne!(one, other);
        for id in [one, other] {
            assert_eq!(Sid::parse(id.as_str()), Some(id));
            assert!(id.as_str().starts_with(&ids.tag()));
        }
    }

    #[test]
    fn an_id_in_a_log_is_cut() {
        let id = IdGenerator::new().unwrap().next().unwrap();
        assert!(!format!("{id:?}").contains(id.as_str()));
    }

    #[test]
    fn names_that_could_be_private_rooms_are_known() {
        for name in [
            "AAAAAAAAAAAAAAAAAAAA",
            "/chat#AAAAAAAAAAAAAAAAAAAA",
            "/#abcdefghij-_23456789",
            "/a#b#AAAAAAAAAAAAAAAAAAAA",
        ] {
            assert!(looks_like_socket_id(name), "{name}");
        }
        for name in [
            "",
            "lobby",
            "AAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAA!",
            "chat#AAAAAAAAAAAAAAAAAAAA",
            "éAAAAAAAAAAAAAAAAAA",
        ] {
            assert!(!looks_like_socket_id(name), "{name}");
        }
    }
}
