//! Bytes to packets and back.
//!
//! Pure: no I/O, no clock, no tokio. Nothing here trusts a length that it was told, and every step of a decoder
//! consumes input or fails.

mod ascii;
pub mod encoded;
pub mod engine;
pub mod ids;
pub mod json;
pub mod payload;
mod payload_v3;
pub mod socket;

/// The two protocols of Engine.IO in the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// Engine.IO 3, below Socket.IO clients 1.x and 2.x.
    V3,
    /// Engine.IO 4, below Socket.IO clients 3.x and 4.x.
    V4,
}

impl Version {
    /// The number in `EIO=`, metric labels and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V3 => "3",
            Self::V4 => "4",
        }
    }
}
