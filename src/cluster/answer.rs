//! The acknowledgement of something that was published, which goes out when it is known what came of it.

use std::sync::Arc;

use tokio::sync::oneshot;

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

/// Who wants to know what came of a broadcast.
#[derive(Debug)]
pub enum Waiter {
    /// A client, which is answered directly.
    Client(Answer),
    /// A task that waits.
    Task(oneshot::Sender<Receipt>),
}

impl From<Answer> for Waiter {
    fn from(answer: Answer) -> Self {
        Self::Client(answer)
    }
}

impl Waiter {
    /// Says what came of it, to whoever is still there.
    pub(super) fn send(self, receipt: Receipt, hub: &Hub) {
        match self {
            Self::Client(answer) => hub.send(answer.key, &answer.id, answer.packet(receipt)),
            Self::Task(task) => drop(task.send(receipt)),
        }
    }
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
        }
    }
}

impl Answer {
    /// The answer as a packet.
    pub fn packet(&self, receipt: Receipt) -> Arc<Encoded> {
        self.packet_of(receipt.json())
    }

    /// The answer as a packet, its array as written.
    pub fn packet_of(&self, json: &str) -> Arc<Encoded> {
        socket::answer(&self.namespace, self.ack, self.reads_old_acks, &[json], Box::default())
    }
}

/// Counts what was not done.
pub(super) fn count(receipt: Receipt, metrics: &Metrics) {
    if receipt == Receipt::Unavailable {
        metrics.refused(Refusal::Unavailable);
    }
}
