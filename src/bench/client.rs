//! One client: a session by one of the transports, in one namespace.
//!
//! Does nothing by itself. Whoever has it polls it, and is given every message that comes.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use serde::Deserialize;
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::failure::Failure;
use super::frames;
use super::message::Message;
use super::outgoing::Outgoing;
use super::polling::Polling;
use super::talk::{Heard, Talk};
use super::target::Way;
use super::websocket::WebSocket;
use super::{CONNECT_TIMEOUT, Transport};
use crate::protocol::Version;

/// How long a server may take to close a connection that was closed by us.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How clients connect, the same for all of a run.
#[derive(Debug)]
pub(super) struct Manner {
    pub(super) transport: Transport,
    pub(super) talk: Talk,
}

/// A session.
pub(super) struct Client {
    link: Link,
    out: Outgoing,
    beat: Option<Beat>,
}

enum Link {
    WebSocket(Box<WebSocket>),
    Polling(Box<Polling>),
}

/// The heartbeat of v3, which is the client's to begin.
struct Beat {
    interval: Duration,
    due: Pin<Box<Sleep>>,
}

/// What a server says of a session that it opens.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Settings {
    sid: String,
    ping_interval: u64,
}

/// What a server has said before a client is in its namespace: all of it may come at once.
#[derive(Default)]
struct Greeting {
    settings: Option<Settings>,
    entered: Option<Result<(), Failure>>,
}

impl Greeting {
    fn hear(&mut self, talk: &Talk, message: Message<'_>) {
        if let Message::Open(settings) = message {
            self.settings = serde_json::from_slice(settings).ok();
        }
        match talk.hear(message) {
            Heard::Connected => self.entered = Some(Ok(())),
            Heard::Refused(reason) => self.entered = Some(Err(Failure::Refused(reason))),
            _ => {}
        }
    }
}

impl Client {
    /// Connects, and enters the namespace.
    pub(super) async fn open(manner: &Manner, way: Way) -> Result<Self, Failure> {
        let opened = timeout(CONNECT_TIMEOUT, Box::pin(Self::open_in_time(manner, &way))).await;
        opened.unwrap_or(Err(Failure::Late))
    }

    async fn open_in_time(manner: &Manner, way: &Way) -> Result<Self, Failure> {
        let talk = &manner.talk;
        let mut client = match manner.transport {
            Transport::WebSocket => Self::by_websocket(talk, way).await?,
            Transport::Polling | Transport::Upgrade => Self::by_polling(talk, way),
        };
        let mut greeting = Greeting::default();
        client
            .until(|message| {
                greeting.hear(talk, message);
                greeting.settings.is_some().then_some(())
            })
            .await?;
        let Some(settings) = greeting.settings.take() else {
            return Err(Failure::Protocol("the server's first packet opens no session"));
        };
        if let Link::Polling(polling) = &mut client.link {
            polling.continue_as(&settings.sid);
        }
        if talk.version == Version::V3 {
            client.beat = Some(Beat::new(Duration::from_millis(settings.ping_interval.max(1))));
        }
        if !talk.is_implicit() {
            greeting.entered = None; // of the root, where that is another namespace
            talk.connect(&mut client.out);
        }
        if greeting.entered.is_none() {
            client
                .until(|message| {
                    greeting.hear(talk, message);
                    greeting.entered.is_some().then_some(())
                })
                .await?;
        }
        greeting.entered.unwrap_or(Err(Failure::Ended))?;
        if manner.transport == Transport::Upgrade {
            client.upgrade(talk, way, &settings.sid).await?;
        }
        Ok(client)
    }

    async fn by_websocket(talk: &Talk, way: &Way) -> Result<Self, Failure> {
        let line = format!("{}?{}", way.target.place.path, talk.query("websocket"));
        let socket = WebSocket::open(way, &line, talk.version).await?;
        Ok(Self {
            link: Link::WebSocket(Box::new(socket)),
            out: Outgoing::Frames(Vec::new()),
            beat: None,
        })
    }

    fn by_polling(talk: &Talk, way: &Way) -> Self {
        let line = format!("{}?{}", way.target.place.path, talk.query("polling"));
        Self {
            link: Link::Polling(Box::new(Polling::begin(way.clone(), line, talk.version))),
            out: Outgoing::Bodies(talk.version, VecDeque::new()),
            beat: None,
        }
    }

    /// Moves the session to a WebSocket, as stock clients do: tests that first, while the poll goes on.
    async fn upgrade(&mut self, talk: &Talk, way: &Way, sid: &str) -> Result<(), Failure> {
        let line = format!("{}?{}&sid={sid}", way.target.place.path, talk.query("websocket"));
        let mut socket = WebSocket::open(way, &line, talk.version).await?;
        let mut frames = Outgoing::Frames(Vec::new());
        frames.text(&["2probe"]);
        let mut is_probed = false;
        let Link::Polling(polling) = &mut self.link else {
            return Ok(());
        };
        let out = &mut self.out;
        while !is_probed {
            poll_fn(|cx| {
                let heard = |message: Message<'_>, _: &mut Outgoing| is_probed |= message == Message::Pong(b"probe");
                match socket.poll_messages(cx, &mut frames, heard)? {
                    Poll::Ready(()) => Poll::Ready(Ok(())),
                    Poll::Pending => polling.poll_messages(cx, out, |_, _| {}),
                }
            })
            .await?;
        }
        poll_fn(|cx| polling.poll_pause(cx, out, |_, _| {})).await?;
        frames.text(&["5"]);
        self.link = Link::WebSocket(Box::new(socket));
        self.out = frames;
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// What is said to the server goes here.
    pub(super) fn out(&mut self) -> &mut Outgoing {
        &mut self.out
    }

    /// Sends what waits, reads once, and gives out the messages that came; what `on` says in reply is sent, too.
    #[inline]
    pub(super) fn poll_messages(
        &mut self,
        cx: &mut Context<'_>,
        on: impl FnMut(Message<'_>, &mut Outgoing),
    ) -> Poll<Result<(), Failure>> {
        if let Some(beat) = &mut self.beat {
            beat.poll(cx, &mut self.out);
        }
        match &mut self.link {
            Link::WebSocket(socket) => socket.poll_messages(cx, &mut self.out, on),
            Link::Polling(polling) => polling.poll_messages(cx, &mut self.out, on),
        }
    }

    /// The same, to be waited for.
    pub(super) async fn messages(&mut self, mut on: impl FnMut(Message<'_>, &mut Outgoing)) -> Result<(), Failure> {
        poll_fn(|cx| self.poll_messages(cx, &mut on)).await
    }

    /// Sends what waits; ready when that is all.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        match &mut self.link {
            Link::WebSocket(socket) => socket.poll_flush(cx, &mut self.out),
            Link::Polling(polling) => polling.poll_flush(cx, &mut self.out),
        }
    }

    /// Takes messages until one of them is what is waited for; those that come with it are given to `want` as well.
    pub(super) async fn until<T>(&mut self, mut want: impl FnMut(Message<'_>) -> Option<T>) -> Result<T, Failure> {
        let mut found = None;
        let mut on = |message: Message<'_>, _: &mut Outgoing| {
            let wanted = want(message);
            if found.is_none() {
                found = wanted;
            }
        };
        if let Link::WebSocket(socket) = &mut self.link {
            socket.early_messages(&mut self.out, &mut on)?;
        }
        loop {
            if let Some(found) = found {
                return Ok(found);
            }
            let mut on = |message: Message<'_>, _: &mut Outgoing| {
                let wanted = want(message);
                if found.is_none() {
                    found = wanted;
                }
            };
            let result = poll_fn(|cx| self.poll_messages(cx, &mut on)).await;
            if found.is_none() {
                result?;
            }
        }
    }

    /// Closes the session as a client does that leaves, and waits until the server has heard of it.
    pub(super) async fn close(mut self) {
        let goodbye = async {
            match &mut self.link {
                Link::Polling(polling) => polling.close(&mut self.out).await,
                Link::WebSocket(_) => {
                    if let Outgoing::Frames(out) = &mut self.out {
                        frames::push_close(out);
                    }
                    loop {
                        self.messages(|_, _| {}).await?;
                    }
                }
            }
        };
        let _: Result<Result<(), Failure>, _> = timeout(CLOSE_TIMEOUT, goodbye).await; // it is over either way
    }
}

impl Beat {
    fn new(interval: Duration) -> Self {
        Self {
            interval,
            due: Box::pin(sleep(interval)),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, out: &mut Outgoing) {
        while self.due.as_mut().poll(cx).is_ready() {
            out.text(&["2"]);
            self.due.as_mut().reset(Instant::now() + self.interval);
        }
    }
}
