//! What must hold for every message on a Redis channel, whoever published it.

use super::wire::{self, Response};
use crate::protocol::json;

/// A message as a broadcast, a request and an answer. What is read of it can be passed on, and says the same there.
pub(crate) fn wire(data: &[u8]) {
    if let Ok(broadcast) = wire::decode_broadcast(data) {
        assert!(json::Array::parse(&broadcast.json).is_ok(), "{}", broadcast.json);
        assert_eq!(wire::peek_uid(data), broadcast.uid.as_deref());
        passed_on(&broadcast);
    }
    if let Ok(request) = wire::decode_request(data)
        && let wire::Ask::Broadcast { broadcast, .. } = &request.ask
    {
        passed_on(broadcast);
    }
    if let Ok(response) = wire::decode_response(data)
        && let Ok(written) = wire::encode_response(&response)
        && response.answer != wire::Answer::Done
    {
        let read = wire::decode_response(&written).map(|read: Response| read.id);
        assert_eq!(read.as_deref(), Ok(&*response.id), "{written:?}");
    }
}

/// A broadcast as other gateways and servers are sent it.
fn passed_on(broadcast: &wire::Broadcast) {
    let packet = broadcast.packet();
    let Ok(tail) = wire::encode_tail(&packet, &broadcast.rooms, &broadcast.except, broadcast.volatile) else {
        return; // attachments that are named again and again are cut
    };
    let message = wire::message("run.0.1", tail);
    let Ok(read) = wire::decode_broadcast(&message) else {
        return; // a level deeper than is read
    };
    assert_eq!(
        (&read.rooms, &read.except, read.volatile),
        (&broadcast.rooms, &broadcast.except, broadcast.volatile)
    );
    assert_eq!(read.namespace, broadcast.namespace);
}
