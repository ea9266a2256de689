//! Clients whose session is A's, by polling or on a WebSocket to which they upgraded, and the times of what they do.
//!
//! Never more than one request or event of a client is under way.

use std::net::SocketAddr;
use std::time::Instant;

use crate::Way;
use crate::comparison::client::{Connection, POLLING, WEBSOCKET};
use crate::comparison::microseconds;

/// A client that is in `/`.
pub(crate) struct Client {
    pub(crate) connection: Connection,
    target: String,
}

/// A session of A whose requests from now on go this way.
pub(crate) async fn polling_client(way: Way<'_>) -> Client {
    let sid = session(&mut Connection::open(way.pair.a.address).await.unwrap()).await;
    Client {
        connection: Connection::open(way.address()).await.unwrap(),
        target: format!("{POLLING}&sid={sid}"),
    }
}

/// The same with a WebSocket.
pub(crate) async fn websocket_client(way: Way<'_>) -> Client {
    let sid = session(&mut Connection::open(way.pair.a.address).await.unwrap()).await;
    Client {
        connection: upgraded(way.address(), &sid).await,
        target: String::new(),
    }
}

impl Client {
    /// Times of all requests, in microseconds.
    pub(crate) async fn by_polling(&mut self, turns: usize) -> Vec<f64> {
        let mut times = Vec::with_capacity(2 * turns);
        for turn in 0..turns {
            let started = Instant::now();
            let event = format!(r#"42{turn}["echo","hello"]"#);
            let taken = self.connection.post(&self.target, event.as_bytes()).await.unwrap();
            times.push(microseconds(started));
            assert_eq!(taken, (200, "ok".into()));
            let started = Instant::now();
            let answer = self.connection.get(&self.target).await.unwrap();
            times.push(microseconds(started));
            assert_eq!(answer, (200, format!(r#"43{turn}["hello"]"#)));
        }
        times
    }

    /// Times of all echoes, in microseconds.
    pub(crate) async fn by_websocket(&mut self, turns: usize) -> Vec<f64> {
        let mut times = Vec::with_capacity(turns);
        for turn in 0..turns {
            let started = Instant::now();
            self.connection
                .send(&format!(r#"42{turn}["echo","hello"]"#))
                .await
                .unwrap();
            let answer = self.connection.message().await.unwrap();
            times.push(microseconds(started));
            assert_eq!(answer, format!(r#"43{turn}["hello"]"#));
        }
        times
    }
}

/// Opens a session by polling that is in `/`, and returns its id.
pub(crate) async fn session(connection: &mut Connection) -> String {
    let sid = connection.open_polling().await.unwrap();
    let target = format!("{POLLING}&sid={sid}");
    assert_eq!(connection.post(&target, b"40").await.unwrap(), (200, "ok".into()));
    let (_, entered) = connection.get(&target).await.unwrap();
    assert!(entered.starts_with("40{"), "{entered}");
    sid
}

/// The WebSocket of a session that began with polling.
pub(crate) async fn upgraded(address: SocketAddr, sid: &str) -> Connection {
    let mut connection = Connection::open(address).await.unwrap();
    connection.upgrade(&format!("{WEBSOCKET}&sid={sid}")).await.unwrap();
    connection.send("2probe").await.unwrap();
    assert_eq!(connection.message().await.unwrap(), "3probe");
    connection.send("5").await.unwrap();
    connection
}
