//! The acknowledgement of something that a client published, which goes out when it is known what came of it.

use std::sync::Arc;

use crate::hub::{Hub, Name, SocketKey};
use crate::metrics::{Metrics, Refusal};
use crate::protocol::encoded::Encoded;
use crate::protocol::ids::SocketId;
use crate::protocol::socket;

/// What came of a broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// The relay has it.
    Relayed,
    /// Redis is away: the members on this node got it.
    Local,
    /// Redis is away, and nothing is done without.
    Unavailable,
    /// Redis did not take it, or did not say so.
    NotTaken,
}

/// Whom to tell what came of a broadcast.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The socket that asks.
    pub key: SocketKey,
    /// Its id.
    pub id: SocketId,
    /// Its namespace.
    pub namespace: Name,
    /// The number under which it waits for the answer.
    pub ack: u64,
    /// It reads acks in their older form.
    pub reads_old_acks: bool,
}

impl Receipt {
    /// The answer's array as written.
    pub const fn json(self) -> &'static str {
        match self {
            Self::Relayed => r#"[{"ok":true}]"#,
            Self::Local => r#"[{"ok":true,"local":true}]"#,
            Self::Unavailable => {
                r#"[{"ok":false,"error":"unavailable","message":"Redis is away: nothing was published"}]"#
            }
            Self::NotTaken => r#"[{"ok":false,"error":"unavailable","message":"Redis did not take the event"}]"#,
        }
    }
}

impl Answer {
    /// The answer as a packet.
    pub fn packet(&self, receipt: Receipt) -> Arc<Encoded> {
        let json = &[receipt.json()];
        socket::answer(&self.namespace, self.ack, self.reads_old_acks, json, Box::default())
    }

    /// Sends it, unless the socket is gone.
    pub(super) fn send(&self, receipt: Receipt, hub: &Hub) {
        hub.send(self.key, &self.id, self.packet(receipt));
    }
}

/// Counts what was not done.
pub(super) fn count(receipt: Receipt, metrics: &Metrics) {
    if matches!(receipt, Receipt::Unavailable | Receipt::NotTaken) {
        metrics.refused(Refusal::Unavailable);
    }
}
