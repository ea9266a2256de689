//! Bytes to packets and back.
//!
//! Pure: no I/O, no clock, no tokio. Nothing here trusts a length that it was told, and every step of a decoder
//! consumes input or fails.

mod ascii;
pub mod encoded;
pub mod engine;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub mod ids;
pub mod json;
pub mod msgpack;
pub mod payload;
mod payload_v3;
mod quote;
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

/// What a packet is, on either level: the closed set that metrics tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PacketType {
    /// Engine.IO `0`.
    Open,
    /// Engine.IO `1`.
    Close,
    /// Engine.IO `2`.
    Ping,
    /// Engine.IO `3`, and the pongs of WebSocket.
    Pong,
    /// Engine.IO `5`.
    Upgrade,
    /// Engine.IO `6`.
    Noop,
    /// Socket.IO `0`.
    Connect,
    /// Socket.IO `1`.
    Disconnect,
    /// Socket.IO `2` and `5`.
    Event,
    /// Socket.IO `3` and `6`.
    Ack,
    /// Socket.IO `4`.
    ConnectError,
}

impl PacketType {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::Open,
        Self::Close,
        Self::Ping,
        Self::Pong,
        Self::Upgrade,
        Self::Noop,
        Self::Connect,
        Self::Disconnect,
        Self::Event,
        Self::Ack,
        Self::ConnectError,
    ];

    /// The name in metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Close => "close",
            Self::Ping => "ping",
            Self::Pong => "pong",
            Self::Upgrade => "upgrade",
            Self::Noop => "noop",
            Self::Connect => "connect",
            Self::Disconnect => "disconnect",
            Self::Event => "event",
            Self::Ack => "ack",
            Self::ConnectError => "connect_error",
        }
    }

    /// Whether it is a packet of Socket.IO, and not of Engine.IO below.
    const fn is_socket_io(self) -> bool {
        matches!(
            self,
            Self::Connect | Self::Disconnect | Self::Event | Self::Ack | Self::ConnectError
        )
    }

    /// The type of a packet that we wrote, by its text.
    fn of_text(text: &[u8]) -> Self {
        match text {
            [b'0', ..] => Self::Open,
            [b'1', ..] => Self::Close,
            [b'2', ..] => Self::Ping,
            [b'5', ..] => Self::Upgrade,
            [b'6', ..] => Self::Noop,
            [b'4', b'0', ..] => Self::Connect,
            [b'4', b'1', ..] => Self::Disconnect,
            [b'4', b'2' | b'5', ..] => Self::Event,
            [b'4', b'3' | b'6', ..] => Self::Ack,
            [b'4', b'4', ..] => Self::ConnectError,
            _ => Self::Pong,
        }
    }
}
