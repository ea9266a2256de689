//! A session over HTTP long polling, request by request.

use std::net::SocketAddr;
use std::time::Instant;

use serde_json::Value;

use super::frames::WebSocket;
use super::http::{Connection, Request, Response};
use super::payload::{Packet, decode, encode, texts};
use super::{DEADLINE, LOOK_AGAIN};

/// A session that polls.
#[derive(Debug)]
pub struct Polling {
    pub address: SocketAddr,
    pub eio: u8,
    pub sid: String,
    /// What the server said when it opened the session.
    pub open: Value,
    /// Packets that came in the same answer as the opening.
    pub first: Vec<Packet>,
    /// One to each node that requests go to in turn.
    connections: Vec<Connection>,
}

/// Reads the packets of an answer to a GET.
#[track_caller]
pub fn packets(eio: u8, response: &Response) -> Vec<Packet> {
    assert_eq!(response.status, 200, "{}", response.text());
    let content_type = response.header("content-type").expect("a content type");
    if content_type != "application/octet-stream" {
        assert_eq!(content_type, "text/plain; charset=UTF-8");
    }
    decode(eio, content_type, &response.body)
}

impl Polling {
    pub async fn open(address: SocketAddr, eio: u8) -> Self {
        Self::open_with(address, eio, "").await
    }

    /// Opens a session with more parameters in the query: `&b64=1`.
    pub async fn open_with(address: SocketAddr, eio: u8, query: &str) -> Self {
        let target = format!("/socket.io/?EIO={eio}&transport=polling{query}");
        Self::open_by(address, eio, &Request::get(&target)).await
    }

    /// Opens a session by this very request.
    pub async fn open_by(address: SocketAddr, eio: u8, request: &Request) -> Self {
        let mut connection = Connection::open(address).await;
        let response = connection.request(request).await;
        let mut packets = packets(eio, &response);
        let open = packets.remove(0);
        let open: Value = serde_json::from_str(open.as_text().strip_prefix('0').expect("an open packet")).unwrap();
        let sid = open["sid"].as_str().expect("a session id").to_owned();
        Self {
            address,
            eio,
            sid,
            open,
            first: packets,
            connections: vec![connection],
        }
    }

    /// From now on its requests go to these nodes in turn.
    pub async fn go_round(&mut self, nodes: &[SocketAddr]) {
        self.connections.clear();
        for node in nodes {
            self.connections.push(Connection::open(*node).await);
        }
    }

    fn connection(&mut self) -> &mut Connection {
        self.connections.rotate_left(1);
        &mut self.connections[0]
    }

    /// The target of this session's polling requests.
    pub fn target(&self) -> String {
        format!("/socket.io/?EIO={}&transport=polling&sid={}", self.eio, self.sid)
    }

    /// The target of this session's upgrade.
    pub fn upgrade_target(&self) -> String {
        format!("/socket.io/?EIO={}&transport=websocket&sid={}", self.eio, self.sid)
    }

    /// Asks for packets and returns the whole answer.
    pub async fn get(&mut self) -> Response {
        let request = Request::get(&self.target());
        self.connection().request(&request).await
    }

    /// Asks for packets.
    pub async fn poll(&mut self) -> Vec<Packet> {
        if !self.first.is_empty() {
            return std::mem::take(&mut self.first);
        }
        let response = self.get().await;
        packets(self.eio, &response)
    }

    /// Asks for packets on a connection of its own, whose answer the caller reads later.
    pub async fn start_poll(&self) -> Connection {
        self.start_poll_at(self.address).await
    }

    /// The same at this node.
    pub async fn start_poll_at(&self, node: SocketAddr) -> Connection {
        let mut connection = Connection::open(node).await;
        connection.send(&Request::get(&self.target())).await;
        connection
    }

    /// Posts bytes as they are.
    pub async fn post_body(&mut self, body: impl Into<Vec<u8>>) -> Response {
        let request = Request::post(&self.target(), body);
        self.connection().request(&request).await
    }

    pub async fn post_packets(&mut self, packets: &[Packet]) -> Response {
        self.post_body(encode(self.eio, packets)).await
    }

    /// Posts text packets, which must be taken.
    pub async fn post(&mut self, packets: &[&str]) {
        self.post_packets(&texts(packets)).await.is_ok();
    }

    /// Sends a request for this session with other headers or another method.
    pub async fn request(&mut self, request: &Request) -> Response {
        self.connection().request(request).await
    }

    /// Joins `/`: asks for it where the version does not do so by itself, and waits for the answer.
    pub async fn join_root(&mut self) {
        if self.eio == 4 {
            self.post(&["40"]).await;
        }
        let packets = self.poll().await;
        assert!(packets[0].as_text().starts_with("40"), "{packets:?}");
        self.first.extend(packets.into_iter().skip(1));
    }

    /// Opens the WebSocket of an upgrade and probes it.
    pub async fn probe(&self) -> WebSocket {
        self.probe_at(self.address).await
    }

    /// The same at this node.
    pub async fn probe_at(&self, node: SocketAddr) -> WebSocket {
        let mut socket = WebSocket::open(node, &self.upgrade_target()).await;
        socket.send_text("2probe").await;
        assert_eq!(socket.text().await, "3probe");
        socket
    }

    /// Waits until the server knows this session no longer.
    pub async fn is_gone(&mut self) {
        let started = Instant::now();
        // A living session takes these and answers nothing, which would also answer a parked poll.
        let harmless = if self.eio == 4 { "3" } else { "5:439[]" };
        loop {
            let response = Connection::open(self.address)
                .await
                .request(&Request::post(&self.target(), harmless))
                .await;
            // A body that its client aborted may still count as being read: then this POST is the second one.
            if response.status == 400 && !response.body.is_empty() {
                response.is_unknown_session();
                return;
            }
            assert!(started.elapsed() < DEADLINE, "the session is still there");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Polls until the server says that it closes, and waits until it knows the session no longer.
    pub async fn is_closed(&mut self) {
        loop {
            let response = self.get().await;
            if response.status != 200 || packets(self.eio, &response).contains(&Packet::text("1")) {
                break;
            }
        }
        self.is_gone().await;
    }

    /// Asserts that the session still takes and gives packets.
    pub async fn is_alive(&mut self) {
        if self.eio == 4 {
            self.post(&["40/marker,"]).await;
        } else {
            self.post(&["40/marker"]).await;
        }
        loop {
            for packet in self.poll().await {
                if packet != Packet::text("6") && packet != Packet::text("40") {
                    assert!(packet.as_text().starts_with("44/marker,"), "{packet:?}");
                    return;
                }
            }
        }
    }
}
