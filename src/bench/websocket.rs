//! The WebSocket transport, as a client.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use super::channel::Channel;
use super::failure::Failure;
use super::frames::{self, Frame, Pieces};
use super::http;
use super::message::{Message, binary, packet};
use super::outgoing::Outgoing;
use super::target::Way;
use crate::protocol::Version;

/// A connection that became a WebSocket.
#[derive(Debug)]
pub(super) struct WebSocket {
    channel: Channel,
    pieces: Pieces,
    version: Version,
}

impl WebSocket {
    /// Connects and asks for `target_line`.
    pub(super) async fn open(way: &Way, target_line: &str, version: Version) -> Result<Self, Failure> {
        let mut channel = Channel::open(way).await?;
        let mut request = Vec::new();
        http::push_upgrade(&mut request, &way.target.place.authority, target_line);
        poll_fn(|cx| channel.poll_write(cx, &mut request)).await?;
        let mut is_open = false;
        while !is_open {
            poll_fn(|cx| {
                channel.poll_read(cx, |input| match http::answer(input)? {
                    Some((answer, used)) if answer.status == 101 => {
                        is_open = true;
                        Ok(used)
                    }
                    Some((answer, _)) => Err(Failure::status(answer.status, &answer.body)),
                    None => Ok(0),
                })
            })
            .await?;
        }
        Ok(Self {
            channel,
            pieces: Pieces::default(),
            version,
        })
    }

    /// Gives out the messages that came with the answer to the request.
    pub(super) fn early_messages(
        &mut self,
        out: &mut Outgoing,
        mut on: impl FnMut(Message<'_>, &mut Outgoing),
    ) -> Result<(), Failure> {
        let Self {
            channel,
            pieces,
            version,
        } = self;
        channel.take_rest(|input| frames::read(input, pieces, |frame| take(frame, *version, out, &mut on)))
    }

    /// Writes what waits, reads once, and gives out the messages that came.
    #[inline]
    pub(super) fn poll_messages(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Outgoing,
        mut on: impl FnMut(Message<'_>, &mut Outgoing),
    ) -> Poll<Result<(), Failure>> {
        let _ = self.poll_flush(cx, out)?; // who cannot write now is woken by the same readiness
        let Self {
            channel,
            pieces,
            version,
        } = self;
        ready!(channel.poll_read(cx, |input| {
            frames::read(input, pieces, |frame| take(frame, *version, out, &mut on))
        }))?;
        let _ = self.poll_flush(cx, out)?;
        Poll::Ready(Ok(()))
    }

    /// Writes what waits; ready when that is all.
    #[inline]
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>, out: &mut Outgoing) -> Poll<Result<(), Failure>> {
        match out {
            Outgoing::Frames(out) => self.channel.poll_write(cx, out),
            Outgoing::Bodies(..) => Poll::Ready(Ok(())),
        }
    }
}

#[inline]
fn take(
    frame: Frame<'_>,
    version: Version,
    out: &mut Outgoing,
    on: &mut impl FnMut(Message<'_>, &mut Outgoing),
) -> Result<(), Failure> {
    match frame {
        Frame::Text(text) => packet(text, version, out, on),
        Frame::Binary(bytes) => binary(bytes, version, out, on),
        Frame::Ping(payload) => {
            if let Outgoing::Frames(out) = out {
                frames::push_pong(out, payload);
            }
            Ok(())
        }
        Frame::Close(code) => Err(Failure::Closed(code)),
    }
}
