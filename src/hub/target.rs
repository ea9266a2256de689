//! Whom a broadcast is for.

use std::sync::Arc;

use compact_str::CompactString;
use smallvec::{SmallVec, smallvec};

use super::{Name, SocketKey};
use crate::protocol::encoded::Encoded;

/// Rooms, at least one: an empty list would mean everybody on the wires of others, and never does here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rooms(SmallVec<[CompactString; 1]>);

/// The sockets of a namespace that a packet is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// All of them.
    Namespace,
    /// Those in at least one of these rooms, once each.
    Rooms(Rooms),
}

/// A packet on its way to many.
#[derive(Clone, Debug)]
pub struct Broadcast {
    /// The namespace.
    pub namespace: Name,
    /// Whom in it.
    pub target: Target,
    /// A socket that is left out, mostly the sender.
    pub except: Option<SocketKey>,
    /// What they get.
    pub packet: Arc<Encoded>,
}

impl Target {
    /// Bytes that it takes while it waits, which a list of a thousand rooms makes many.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Namespace => 0,
            Self::Rooms(Rooms(rooms)) => rooms.iter().map(|room| size_of::<CompactString>() + room.len()).sum(),
        }
    }
}

impl Rooms {
    /// One room.
    pub fn one(room: impl Into<CompactString>) -> Self {
        Self(smallvec![room.into()])
    }

    /// These rooms; `None` where there is none.
    pub fn from_list(rooms: impl IntoIterator<Item = CompactString>) -> Option<Self> {
        let rooms: SmallVec<_> = rooms.into_iter().collect();
        (!rooms.is_empty()).then_some(Self(rooms))
    }

    /// The names.
    pub fn as_slice(&self) -> &[CompactString] {
        &self.0
    }
}
