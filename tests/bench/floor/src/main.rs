//! The floor: what the load generator asks of a server, for the least that an ordinary asynchronous program spends on it here.
//!
//!     floor [--one-write-a-delivery]
//!
//! It says where it listens on stdout. What the gateway spends above it is the price of everything that this lacks: it
//! believes its clients in all they say, bounds nothing, speaks one transport of one protocol version without heartbeats,
//! and runs on one core. Never a server for anybody.

mod connection;
mod rooms;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpSocket;

use connection::Connection;
use rooms::Rooms;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;

/// Broadcasts that are taken together, so that what they have for one connection goes out in one write.
const JOINED_MAX: usize = 64;

fn main() -> io::Result<()> {
    let joined_max = match std::env::args().nth(1).as_deref() {
        None => JOINED_MAX,
        Some("--one-write-a-delivery") => 1,
        Some(other) => return Err(io::Error::other(format!("unknown option {other}"))),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let listener = socket.listen(BACKLOG)?;
        println!("listening on {}", listener.local_addr()?);
        let (rooms, broadcasts) = Rooms::new();
        tokio::spawn(Arc::clone(&rooms).deliver(broadcasts, joined_max));
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(Connection::serve(stream, Arc::clone(&rooms)));
        }
    })
}
