//! What must hold for every command that the application can write.

use super::Command;
use crate::cluster::Act;
use crate::hub::is_reserved;
use crate::protocol::json::{self, Array};
use crate::protocol::socket::RESERVED_EVENTS;

/// The first byte picks the command, the rest is its JSON: what is read of it harms no client, and is never for everybody by
/// mistake.
pub(crate) fn commands(data: &[u8]) {
    let Some((which, json)) = data.split_first() else {
        return;
    };
    let Ok(json) = std::str::from_utf8(json) else { return };
    let name = ["emit", "join", "leave", "disconnect"][usize::from(which % 4)];
    let command = match Command::parse(name, json) {
        Ok(command) => command,
        Err(invalid) => return assert!(!invalid.problem.is_empty()),
    };
    let whom = match &command {
        Command::Emit(emit) => {
            let array = Array::parse(&emit.json).expect("a list");
            let event = array.element(0).and_then(json::string).expect("a name");
            assert!(!event.is_empty() && !RESERVED_EVENTS.contains(&&*event));
            if !emit.attachments.is_empty() {
                json::check_placeholders(&emit.json, emit.attachments.len()).expect("placeholders of its own");
            }
            &emit.whom
        }
        Command::Order(order) => {
            if let Act::Join(rooms) | Act::Leave(rooms) = &order.act {
                assert!(!rooms.is_empty() && !rooms.iter().any(|room| is_reserved(room)));
            }
            &order.whom
        }
    };
    assert!(!whom.all || whom.rooms.is_empty());
    assert!(whom.namespace.as_ref().is_none_or(|name| name.starts_with('/')));
}
