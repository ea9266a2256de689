//! A Socket.IO client over either transport: sends packets as text, answers heartbeats, matches answers.
//!
//! It checks nothing that a test does not ask for, and drops nothing but heartbeats and noops.

use std::collections::VecDeque;

use serde_json::Value;

use super::frames::WebSocket;
use super::payload::{Packet, SocketPacket, texts};
use super::polling::Polling;
use crate::gateway::TestGateway;

/// What carries a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    WebSocket,
    Polling,
}

/// The four kinds of clients there are.
pub(crate) const EVERY_CLIENT: [(Transport, u8); 4] = [
    (Transport::WebSocket, 4),
    (Transport::Polling, 4),
    (Transport::WebSocket, 3),
    (Transport::Polling, 3),
];

#[derive(Debug)]
enum Link {
    WebSocket(Box<WebSocket>),
    Polling(Box<Polling>),
}

/// A client with one session.
#[derive(Debug)]
pub(crate) struct Client {
    link: Link,
    pub eio: u8,
    /// The Engine.IO session id.
    pub sid: String,
    received: VecDeque<Packet>,
    /// Packets that were read while waiting for something else.
    put_aside: VecDeque<Packet>,
    next_id: u64,
}

impl Client {
    /// Opens a session and joins nothing by itself; the `40` that v3 clients get unasked is still to be read.
    pub(crate) async fn open(gateway: &TestGateway, transport: Transport, eio: u8) -> Self {
        Self::open_with(gateway, transport, eio, "").await
    }

    /// The same with more parameters in the query.
    pub(crate) async fn open_with(gateway: &TestGateway, transport: Transport, eio: u8, query: &str) -> Self {
        let (link, sid) = match transport {
            Transport::WebSocket => {
                let target = format!("/socket.io/?EIO={eio}&transport=websocket{query}");
                let mut socket = WebSocket::open(gateway.address, &target).await;
                let open = socket.text().await;
                let open: Value = serde_json::from_str(open.strip_prefix('0').expect("an open packet")).unwrap();
                let sid = open["sid"].as_str().expect("a session id").to_owned();
                (Link::WebSocket(Box::new(socket)), sid)
            }
            Transport::Polling => {
                let polling = Polling::open_with(gateway.address, eio, query).await;
                let sid = polling.sid.clone();
                (Link::Polling(Box::new(polling)), sid)
            }
        };
        Self {
            link,
            eio,
            sid,
            received: VecDeque::new(),
            put_aside: VecDeque::new(),
            next_id: 0,
        }
    }

    /// Opens a session and joins `/`.
    pub(crate) async fn join(gateway: &TestGateway, transport: Transport, eio: u8) -> Self {
        let mut client = Self::open(gateway, transport, eio).await;
        client.enter("/").await;
        client
    }

    /// The commonest client: v4 over a WebSocket, in `/`.
    pub(crate) async fn new(gateway: &TestGateway) -> Self {
        Self::join(gateway, Transport::WebSocket, 4).await
    }

    /// Joins a namespace and returns the CONNECT packet.
    pub(crate) async fn enter(&mut self, namespace: &str) -> SocketPacket {
        if namespace == "/" && self.eio == 4 {
            self.send("40").await;
        } else if namespace != "/" {
            self.send(&format!("40{namespace},")).await;
        }
        let name = namespace.split('?').next().unwrap_or_default().to_owned();
        self.find(|packet| packet.namespace == name && packet.kind == '0').await
    }

    /// The WebSocket; panics where the client polls.
    pub(crate) fn socket(&mut self) -> &mut WebSocket {
        match &mut self.link {
            Link::WebSocket(socket) => socket,
            Link::Polling(_) => panic!("this client polls"),
        }
    }

    /// The polling session; panics where the client has a WebSocket.
    pub(crate) fn polling(&mut self) -> &mut Polling {
        match &mut self.link {
            Link::Polling(polling) => polling,
            Link::WebSocket(_) => panic!("this client has a WebSocket"),
        }
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.send_packets(&texts(&[text])).await;
    }

    /// Sends packets next to each other.
    pub(crate) async fn send_packets(&mut self, packets: &[Packet]) {
        match &mut self.link {
            Link::WebSocket(socket) => {
                for packet in packets {
                    socket.send_packet(self.eio, packet).await;
                }
            }
            Link::Polling(polling) => polling.post_packets(packets).await.is_ok(),
        }
    }

    /// Sends packets that end the session, whatever the answer to them is.
    pub(crate) async fn send_fatal(&mut self, packets: &[Packet]) {
        match &mut self.link {
            Link::WebSocket(_) => self.send_packets(packets).await,
            Link::Polling(polling) => {
                polling.post_packets(packets).await;
            }
        }
    }

    /// The next packet that is neither a heartbeat (which is answered) nor a noop.
    pub(crate) async fn next(&mut self) -> Packet {
        match self.put_aside.pop_front() {
            Some(packet) => packet,
            None => self.receive().await,
        }
    }

    async fn receive(&mut self) -> Packet {
        loop {
            if self.received.is_empty() {
                match &mut self.link {
                    Link::WebSocket(socket) => self.received.push_back(socket.packet(self.eio).await),
                    Link::Polling(polling) => self.received.extend(polling.poll().await),
                }
            }
            let packet = self.received.pop_front().expect("an answer with packets");
            match &packet {
                Packet::Text(text) if text == "2" => self.send("3").await,
                Packet::Text(text) if text == "6" => {}
                _ => return packet,
            }
        }
    }

    /// The next packet, which must be text.
    pub(crate) async fn text(&mut self) -> String {
        self.next().await.as_text().to_owned()
    }

    /// The next packet, which must be Socket.IO's.
    pub(crate) async fn packet(&mut self) -> SocketPacket {
        SocketPacket::parse(&self.text().await)
    }

    /// The next event's arguments, its name first.
    pub(crate) async fn event(&mut self) -> Value {
        let packet = self.packet().await;
        assert_eq!(packet.kind, '2', "expected an event: {packet:?}");
        packet.data
    }

    /// Asserts what the next event is.
    pub(crate) async fn hears(&mut self, event: Value) {
        assert_eq!(self.event().await, event);
    }

    /// Waits for a packet that `wanted` accepts; others are put aside, in order.
    pub(crate) async fn find(&mut self, wanted: impl Fn(&SocketPacket) -> bool) -> SocketPacket {
        let is_wanted = |packet: &Packet| match packet {
            Packet::Text(text) => Some(SocketPacket::parse(text)).filter(&wanted),
            Packet::Binary(_) => None,
        };
        for at in 0..self.put_aside.len() {
            if let Some(found) = is_wanted(&self.put_aside[at]) {
                self.put_aside.remove(at);
                return found;
            }
        }
        loop {
            let packet = self.receive().await;
            match is_wanted(&packet) {
                Some(found) => return found,
                None => self.put_aside.push_back(packet),
            }
        }
    }

    /// The ids of what is asked from now on begin here: those before were used by hand.
    pub(crate) fn next_id_from(&mut self, id: u64) {
        self.next_id = id;
    }

    /// Emits an event to a namespace and waits for its acknowledgement's arguments.
    pub(crate) async fn ask(&mut self, namespace: &str, event: &Value) -> Value {
        let id = self.next_id;
        self.next_id += 1;
        let prefix = if namespace == "/" {
            String::new()
        } else {
            format!("{namespace},")
        };
        self.send(&format!("42{prefix}{id}{event}")).await;
        let answer = self
            .find(|packet| packet.kind == '3' && packet.namespace == namespace && packet.id == Some(id))
            .await;
        answer.data
    }

    /// Emits an event on `/` and waits for the one argument of its acknowledgement.
    pub(crate) async fn call(&mut self, event: Value) -> Value {
        let mut arguments = self.ask("/", &event).await;
        assert_eq!(arguments.as_array().map(Vec::len), Some(1), "{arguments}");
        arguments[0].take()
    }

    /// Emits an event that must succeed.
    pub(crate) async fn does(&mut self, event: Value) -> Value {
        let answer = self.call(event.clone()).await;
        assert_eq!(answer["ok"], true, "{event}: {answer}");
        answer
    }

    /// Emits an event that must be refused with this code, in a sentence that holds `part`.
    pub(crate) async fn is_refused(&mut self, event: Value, code: &str, part: &str) {
        let answer = self.call(event.clone()).await;
        let message = answer["message"].as_str().unwrap_or_default();
        assert_eq!(answer["ok"], false, "{event}: {answer}");
        assert_eq!(answer["error"], code, "{event}: {answer}");
        assert!(
            !message.is_empty() && message.contains(part),
            "{event}: no {part:?} in {answer}"
        );
        assert_eq!(
            answer.as_object().map(serde_json::Map::len),
            Some(3),
            "{event}: {answer}"
        );
    }

    /// Asserts that the server has ended the session; what it still sends before is read over.
    pub(crate) async fn is_closed(&mut self) {
        match &mut self.link {
            Link::WebSocket(socket) => assert_eq!(socket.close_code().await, None),
            Link::Polling(polling) => polling.is_closed().await,
        }
    }
}
