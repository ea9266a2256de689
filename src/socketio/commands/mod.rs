//! What the application may do to sockets: emit, and let them join, leave and go. By the HTTP API, and by its answers to
//! webhooks, in the same words.
//!
//! Everything here is cluster-wide unless it says otherwise, and in order: what the application does one after the other
//! happens to each socket one after the other.

mod emit;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod once;
mod order;
mod parse;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use compact_str::CompactString;
use serde::Serialize;
use serde_json::value::RawValue;

pub(super) use once::Once;
pub use parse::Invalid;

use super::SocketIo;
use super::client::ROOT;
use crate::cluster::Act;
use crate::hub::{Name, Rooms, Target};
use crate::metrics::{Origin, Refusal};
use crate::protocol::ids::SocketId;

/// Something to be done to sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// An event for them.
    Emit(Emit),
    /// They join or leave rooms, or go.
    Order(Order),
}

/// An event for sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emit {
    whom: Whom,
    /// `["name",…]`, with placeholders.
    json: String,
    attachments: Vec<Bytes>,
    is_volatile: bool,
    is_local: bool,
    /// How long their answers are waited for, where they are.
    ack_timeout: Option<Duration>,
    /// Done once, however often it comes.
    id: Option<String>,
}

/// What sockets are to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    whom: Whom,
    act: Act,
}

/// Sockets, as a command names them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Whom {
    namespace: Option<Name>,
    /// A user's among them.
    rooms: Vec<CompactString>,
    all: bool,
    except: Vec<CompactString>,
}

/// Who gives a command: what it means where it names nobody.
#[derive(Clone, Copy, Debug)]
pub enum Caller<'a> {
    /// The HTTP API: an event is for the whole namespace, everything else is refused.
    Api,
    /// An answer about a socket: that one.
    Socket {
        /// Its namespace.
        namespace: &'a Name,
        /// Its id.
        id: &'a SocketId,
    },
    /// An answer about something else, such as a room, in this namespace: it is refused.
    Nobody {
        /// The namespace.
        namespace: &'a Name,
    },
}

/// What came of a command.
#[derive(Debug, Default, Serialize)]
pub struct Done {
    ok: bool,
    /// It was done before, and not again.
    #[serde(skip_serializing_if = "is_false")]
    duplicate: bool,
    /// Redis is away: it was done on this node.
    #[serde(skip_serializing_if = "is_false")]
    local: bool,
    /// How many clients were asked for an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<u64>,
    /// Their answers, each a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    acks: Option<Vec<Box<RawValue>>>,
    /// How many of them did not answer in time.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<u64>,
    /// How many servers did not say in time how many clients they asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    silent: Option<usize>,
    /// Gateways that did not say that they have done it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    partial: Vec<CompactString>,
}

/// Why a command was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failed {
    /// The kind of it: `bad_request`, `too_large`, `rate_limited` or `unavailable`.
    pub refusal: Refusal,
    /// A sentence about it.
    pub message: String,
}

impl Failed {
    fn new(refusal: Refusal, message: impl Into<String>) -> Self {
        Self {
            refusal,
            message: message.into(),
        }
    }

    fn unavailable() -> Self {
        Self::new(Refusal::Unavailable, "Redis is away: nothing was done")
    }
}

impl From<Invalid> for Failed {
    fn from(invalid: Invalid) -> Self {
        Self::new(Refusal::BadRequest, invalid.to_string())
    }
}

impl Caller<'_> {
    /// Who is counted as the origin of its events.
    fn origin(&self) -> Origin {
        match self {
            Self::Api => Origin::Api,
            Self::Socket { .. } | Self::Nobody { .. } => Origin::Backend,
        }
    }
}

impl Whom {
    /// The namespace, and who in it.
    fn resolve(self, caller: &Caller<'_>, is_event: bool) -> Result<Resolved, Failed> {
        let namespace = match (self.namespace, caller) {
            (Some(namespace), _) => namespace,
            (None, Caller::Socket { namespace, .. } | Caller::Nobody { namespace }) => Name::clone(namespace),
            (None, Caller::Api) => ROOT.into(),
        };
        let (target, is_caller) = match (Rooms::from_list(self.rooms), caller) {
            (Some(rooms), _) => (Target::Rooms(rooms), false),
            (None, _) if self.all => (Target::Namespace, false),
            (None, Caller::Socket { id, .. }) => (Target::Rooms(Rooms::one(id.as_str())), true),
            (None, Caller::Api) if is_event => (Target::Namespace, false),
            (None, Caller::Api | Caller::Nobody { .. }) => {
                let message = "`rooms`, `user` or `all: true` must say who is meant";
                return Err(Failed::new(Refusal::BadRequest, message));
            }
        };
        Ok(Resolved {
            namespace,
            target,
            except: self.except,
            is_caller,
        })
    }
}

/// Sockets, as the cluster knows them.
struct Resolved {
    namespace: Name,
    target: Target,
    except: Vec<CompactString>,
    /// It is the calling socket alone, which is on this node or gone.
    is_caller: bool,
}

impl SocketIo {
    /// Does what a command says, and waits until it is done: until Redis has an event, until clients have answered it,
    /// until all gateways have changed their sockets' rooms and hear the new ones.
    ///
    /// # Errors
    /// When nothing was done.
    pub async fn carry(self: &Arc<Self>, command: Command, caller: Caller<'_>) -> Result<Done, Failed> {
        match command {
            Command::Emit(emit) => self.emit(emit, caller).await,
            Command::Order(order) => self.order(order, caller).await,
        }
    }
}

impl Done {
    fn ok() -> Self {
        Self {
            ok: true,
            ..Self::default()
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(value: &bool) -> bool {
    !value
}
