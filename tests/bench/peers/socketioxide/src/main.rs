//! A Socket.IO server as socketioxide's documentation has it, that answers what the load generator says: `join`, `publish`, `echo`.
//!
//!     socketioxide-peer [REDIS_PORT]
//!
//! It says where it listens on stdout. Nothing is tuned but the backlog, which the default would fill when thousands
//! connect, and delays of small packets, which are off as they are in the other servers.

use std::error::Error;

use axum::Router;
use axum::serve::ListenerExt as _;
use fred::prelude::{Builder, Config};
use fred::types::RespVersion;
use serde_json::Value;
use socketioxide::SocketIo;
use socketioxide::adapter::Adapter;
use socketioxide::extract::{AckSender, Data, SocketRef};
use socketioxide_redis::{FredAdapter, RedisAdapterCtr};
use tokio::net::TcpSocket;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let layer = match std::env::args().nth(1) {
        None => {
            let (layer, io) = SocketIo::builder().build_layer();
            io.ns("/", answer);
            Router::new().layer(layer)
        }
        Some(port) => {
            let mut redis = Config::from_url(&format!("redis://127.0.0.1:{port}"))?;
            redis.version = RespVersion::RESP3; // its adapter subscribes on the connection that publishes
            let client = Builder::from_config(redis).build_subscriber_client()?;
            let adapter = RedisAdapterCtr::new_with_fred(client).await?;
            let (layer, io) = SocketIo::builder()
                .with_adapter::<FredAdapter<_>>(adapter)
                .build_layer();
            io.ns("/", answer).await?;
            Router::new().layer(layer)
        }
    };
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    let listener = socket.listen(BACKLOG)?;
    println!("listening on {}", listener.local_addr()?);
    let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap_or_default()); // else it is gone already
    Ok(axum::serve(listener, layer).await?)
}

/// What a client may say.
async fn answer<A: Adapter>(socket: SocketRef<A>) {
    socket.on(
        "join",
        async |socket: SocketRef<A>, Data::<String>(room), ack: AckSender<A>| {
            socket.join(room);
            ack.send(&()).ok();
        },
    );
    socket.on(
        "publish",
        async |io: SocketIo<A>, Data::<(String, String, Value)>((room, event, payload)), ack: AckSender<A>| {
            if let Err(error) = io.to(room).emit(&event, &payload).await {
                eprintln!("{error}");
            }
            ack.send(&()).ok();
        },
    );
    socket.on("echo", async |Data::<Value>(payload), ack: AckSender<A>| {
        ack.send(&payload).ok();
    });
}
