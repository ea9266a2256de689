//! Packets into one client's outbox and out of it.

use std::sync::Arc;

use roomcast::metrics::Tally;

use crate::case::Case;
use crate::codecs::{MESSAGE, event, long_event};
use crate::world::{Attached, ids, outbox};

pub(crate) fn cases() -> Vec<Case> {
    let flushed = |count: usize, name: &str, json: String| {
        Case::prepared(
            format!("outbox/push and flush, {name}"),
            move || (Attached::new(), event(&json)),
            |(attached, _)| attached.drain(),
            move |(attached, packet)| {
                let mut tally = Tally::default();
                for _ in 0..count {
                    let _ = attached.outbox.push(Arc::clone(packet), &mut tally);
                }
                attached.outbox.flush(&mut tally);
                tally.bytes
            },
        )
    };
    vec![
        flushed(1, "1 chat message", MESSAGE.into()),
        flushed(4, "4 chat messages", MESSAGE.into()),
        flushed(64, "64 chat messages", MESSAGE.into()),
        flushed(1, "1 of 4 KB", long_event()),
        flushed(8, "8 of 4 KB", long_event()),
        Case::new(
            "outbox/push and take, 16 chat messages",
            || (outbox(&ids()), event(MESSAGE)),
            |(outbox, packet)| {
                let mut tally = Tally::default();
                for _ in 0..16 {
                    let _ = outbox.push(Arc::clone(packet), &mut tally);
                }
                outbox.take(usize::MAX, usize::MAX)
            },
        ),
    ]
}
