//! A packet whose attachments are still to come.
//!
//! One a client, bounded by bytes and by time; it must never hold more than it was told to expect.

use bytes::Bytes;
use tokio::time::{Duration, Instant};
use tracing::debug;

use crate::protocol::Version;
use crate::protocol::json;
use crate::protocol::socket::Packet;
use crate::reason::Reason;

/// Time in which the attachments of a packet must have come.
const ATTACHMENTS_TIMEOUT: Duration = Duration::from_secs(10);

/// The beginning of a binary packet.
#[derive(Debug)]
pub(super) struct Partial {
    text: String,
    /// How many are still to come.
    missing: usize,
    attachments: Vec<Bytes>,
    bytes: usize,
    by: Instant,
}

impl Partial {
    /// A packet that announced so many attachments, at least one.
    pub(super) fn new(text: String, missing: usize) -> Self {
        Self {
            bytes: text.len(),
            text,
            missing,
            attachments: Vec::new(), // what is announced need not come
            by: Instant::now() + ATTACHMENTS_TIMEOUT,
        }
    }

    /// When all attachments must have come.
    pub(super) fn by(&self) -> Instant {
        self.by
    }

    /// Takes the next attachment; true when it was the last. The whole may have `bytes_max` bytes.
    pub(super) fn push(&mut self, attachment: Bytes, bytes_max: usize) -> Result<bool, Reason> {
        self.bytes += attachment.len();
        // Empty ones take room as well, where there is no limit on their number.
        let kept = self.attachments.len() * size_of::<Bytes>();
        if self.bytes.max(kept) > bytes_max {
            return Err(Reason::TooLarge);
        }
        self.attachments.push(attachment);
        self.missing = self.missing.checked_sub(1).ok_or(Reason::Bug)?;
        Ok(self.missing == 0)
    }

    /// The packet, its placeholders checked.
    pub(super) fn packet(&self, version: Version, attachments_max: usize) -> Result<Packet<'_>, Reason> {
        let packet = decode(&self.text, version, attachments_max)?; // again, as its parts are parts of the text
        json::check_placeholders(packet.json, packet.attachments).map_err(|error| {
            debug!("illegal attachments: {error}");
            Reason::Malformed
        })?;
        Ok(packet)
    }

    /// What came behind it.
    pub(super) fn take_attachments(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.attachments)
    }
}

/// Reads the text of a packet.
pub(super) fn decode(text: &str, version: Version, attachments_max: usize) -> Result<Packet<'_>, Reason> {
    Packet::decode(text, version, attachments_max).map_err(|error| {
        debug!("{error}");
        Reason::Malformed
    })
}
