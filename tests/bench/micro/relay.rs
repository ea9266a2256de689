//! Broadcasts as they stand on channels of Redis.

use roomcast::cluster::wire::{Broadcast, decode_broadcast, encode_tail, message, peek_uid};
use roomcast::protocol::encoded::Encoded;

use crate::case::Case;
use crate::codecs::{MESSAGE, binary_event, event, long_event};

/// What this gateway calls a message.
const UID: &str = "AbCdEfGh.1.2f";

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for name in ["chat message", "4 KB", "binary"] {
        let make = move || match name {
            "chat message" => event(MESSAGE),
            "4 KB" => event(&long_event()),
            _ => binary_event(),
        };
        cases.push(Case::new(format!("relay/encode {name}"), make, |packet| {
            written(packet)
        }));
        cases.push(Case::new(
            format!("relay/decode {name}"),
            move || written(&make()),
            |payload| read(payload).json.len(),
        ));
        cases.push(Case::new(
            format!("relay/decode and encode for clients, {name}"),
            move || written(&make()),
            |payload| read(payload).packet(),
        ));
    }
    cases.push(Case::new(
        "relay/peek at who published",
        || written(&event(MESSAGE)),
        |payload| peek_uid(payload).map(str::len),
    ));
    cases
}

fn written(packet: &Encoded) -> bytes::Bytes {
    let tail = encode_tail(packet, &["lobby"], &["AbCd0123456789abcdef"], false).expect("a packet of ours");
    message(UID, tail)
}

fn read(payload: &[u8]) -> Broadcast {
    decode_broadcast(payload).expect("a broadcast")
}
