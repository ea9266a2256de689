//! The polling transport, as a client: one GET that is always held, and one POST at a time while there is something to
//! say. Each has a connection of its own, which is kept and opened again where the server has closed it in between.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::channel::Channel;
use super::failure::Failure;
use super::http::{self, Answer};
use super::message::{Message, binary, packet};
use super::outgoing::Outgoing;
use super::payload::{self, Packet};
use super::target::Way;
use crate::protocol::Version;

type Opening = Pin<Box<dyn Future<Output = Result<Channel, Failure>>>>;

/// One session by polling.
pub(super) struct Polling {
    way: Way,
    /// What is asked for: the path and the query with the session's id.
    target_line: String,
    version: Version,
    get: Exchange,
    post: Exchange,
}

/// Requests and their answers, one after the other.
struct Exchange {
    line: Line,
    output: Vec<u8>,
    is_waiting: bool,
}

enum Line {
    Closed,
    Opening(Opening),
    Open(Channel),
}

impl Polling {
    /// Asks for `target_line`, whose answer begins a session.
    pub(super) fn begin(way: Way, target_line: String, version: Version) -> Self {
        Self {
            way,
            target_line,
            version,
            get: Exchange::new(),
            post: Exchange::new(),
        }
    }

    /// From now on asks for the session of this id.
    pub(super) fn continue_as(&mut self, sid: &str) {
        self.target_line.push_str("&sid=");
        self.target_line.push_str(sid);
    }

    /// Does what there is to do and gives out the messages that came; ready after each answer to a poll.
    pub(super) fn poll_messages(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Outgoing,
        on: impl FnMut(Message<'_>, &mut Outgoing),
    ) -> Poll<Result<(), Failure>> {
        if !self.get.is_waiting {
            self.get.request(&self.way, &self.target_line, None);
        }
        self.poll_rest(cx, out, on)
    }

    /// The same without another GET: ready when nothing is under way any more.
    pub(super) fn poll_pause(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Outgoing,
        mut on: impl FnMut(Message<'_>, &mut Outgoing),
    ) -> Poll<Result<(), Failure>> {
        while self.get.is_waiting {
            ready!(self.poll_rest(cx, out, &mut on))?;
        }
        self.poll_flush(cx, out)
    }

    /// Sends what waits; ready when all of it was taken.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>, out: &mut Outgoing) -> Poll<Result<(), Failure>> {
        let Outgoing::Bodies(_, bodies) = out else {
            return Poll::Ready(Ok(()));
        };
        loop {
            if !self.post.is_waiting {
                match bodies.pop_front() {
                    Some(body) => self.post.request(&self.way, &self.target_line, Some(&body)),
                    None => return self.post.poll_idle(cx).map(Ok),
                }
            }
            ready!(self.post.poll_answer(cx, &self.way, |answer| match answer.status {
                200 => Ok(()),
                status => Err(Failure::status(status, &answer.body)),
            }))?;
        }
    }

    fn poll_rest(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Outgoing,
        mut on: impl FnMut(Message<'_>, &mut Outgoing),
    ) -> Poll<Result<(), Failure>> {
        let _ = self.poll_flush(cx, out)?;
        let version = self.version;
        ready!(self.get.poll_answer(cx, &self.way, |answer| {
            if answer.status != 200 {
                return Err(Failure::status(answer.status, &answer.body));
            }
            payload::read(&answer.body, answer.is_binary, version, |read| match read {
                Packet::Text(text) => packet(text, version, out, &mut on),
                Packet::Binary(bytes) => binary(bytes, Version::V4, out, &mut on), // its type is off already
            })
        }))?;
        let _ = self.poll_flush(cx, out)?;
        Poll::Ready(Ok(()))
    }

    /// Says goodbye.
    pub(super) async fn close(&mut self, out: &mut Outgoing) -> Result<(), Failure> {
        out.text(&["1"]);
        poll_fn(|cx| self.poll_flush(cx, out)).await
    }
}

impl Exchange {
    fn new() -> Self {
        Self {
            line: Line::Closed,
            output: Vec::new(),
            is_waiting: false,
        }
    }

    fn request(&mut self, way: &Way, target_line: &str, body: Option<&[u8]>) {
        http::push_request(&mut self.output, &way.target.place.authority, target_line, body);
        self.is_waiting = true;
    }

    /// Ready at once, and meanwhile sees whether the server closes the connection.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Line::Open(channel) = &mut self.line
            && channel.poll_read(cx, |_| Err(Failure::Ended)).is_ready()
        {
            self.line = Line::Closed;
        }
        Poll::Ready(())
    }

    /// Sends the request and gives the answer to `take`.
    fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        way: &Way,
        take: impl FnOnce(&Answer<'_>) -> Result<(), Failure>,
    ) -> Poll<Result<(), Failure>> {
        let mut take = Some(take);
        while self.is_waiting {
            let channel = match &mut self.line {
                Line::Open(channel) => channel,
                Line::Opening(opening) => {
                    self.line = Line::Open(ready!(opening.as_mut().poll(cx))?);
                    continue;
                }
                Line::Closed => {
                    let way = way.clone();
                    let open = async move { Channel::open(&way).await };
                    self.line = Line::Opening(Box::pin(open));
                    continue;
                }
            };
            ready!(channel.poll_write(cx, &mut self.output))?;
            let mut is_last = None;
            ready!(channel.poll_read(cx, |input| {
                let Some((answer, used)) = http::answer(input)? else {
                    return Ok(0);
                };
                is_last = Some(answer.is_last);
                take.take().map_or(Ok(()), |take| take(&answer))?;
                Ok(used)
            }))?;
            if let Some(is_last) = is_last {
                self.is_waiting = false;
                if is_last {
                    self.line = Line::Closed;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}
