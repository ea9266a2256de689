//! The end of a session on its transport: what waits still leaves, then the client is told.
//!
//! Always on the level of Engine.IO, where clients come back by themselves, and always bounded in time.

use std::future::poll_fn;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::time::{Instant, Sleep};

use super::polling::Polling;
use super::session::{Link, Rules, Session, poll_discard};
use super::websocket;
use crate::reason::Reason;

/// Time for what waits to leave through a WebSocket.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// Time for the client to close its side; what it still sends meanwhile is read, or the kernel would reset the connection
/// and could take our last words with it.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);

/// Time for a client without a parked poll to come and hear that its session is closed.
const POLL_TIMEOUT: Duration = Duration::from_secs(30);

/// The same while the node drains, which must not wait for a client that is gone: one that is there polls within a round
/// trip.
const DRAIN_POLL_TIMEOUT: Duration = Duration::from_secs(3);

/// Time for the poll that was under way when the client left.
const LATE_POLL_TIMEOUT: Duration = Duration::from_secs(10);

/// The close code of a node that goes away (RFC 6455 §7.4.1).
const GOING_AWAY: u16 = 1001;

impl Session {
    /// Ends the session on its transport.
    pub async fn close(&mut self, reason: Reason) {
        self.rules.engine.metrics.disconnected(reason);
        self.place = None; // who comes back at once must not meet its own goodbye
        let Self { rules, link, clock, .. } = self;
        match link {
            Link::WebSocket(_) => close_websocket(rules, clock, reason).await,
            Link::Polling(polling) => close_polling(rules, polling, clock, reason).await,
        }
        rules.count();
    }
}

async fn close_websocket(rules: &mut Rules, clock: &mut Pin<Box<Sleep>>, reason: Reason) {
    let outbox = Arc::clone(&rules.outbox);
    let Some(socket) = outbox.socket() else {
        return;
    };
    if reason != Reason::TooSlow {
        let code = match reason {
            Reason::Draining | Reason::Shutdown => Some(GOING_AWAY),
            _ => rules.close_code,
        };
        outbox.push_last(Arc::new(websocket::close_frame(code)), &mut rules.tally);
        let tally = &mut rules.tally;
        within(FLUSH_TIMEOUT, clock, |cx| outbox.poll_unblock(cx, tally)).await;
    }
    let _ = SockRef::from(socket).shutdown(Shutdown::Write); // it may be closed already
    if !matches!(reason, Reason::TransportClosed | Reason::TooSlow | Reason::PingTimeout) {
        within(LINGER_TIMEOUT, clock, |cx| poll_discard(socket, cx)).await;
    }
}

async fn close_polling(rules: &mut Rules, polling: &mut Polling, clock: &mut Pin<Box<Sleep>>, reason: Reason) {
    let has_left = reason == Reason::ClientLeft;
    let time = match reason {
        Reason::ClientLeft => LATE_POLL_TIMEOUT,
        Reason::TooSlow | Reason::Shutdown => Duration::ZERO,
        // The transport itself broke or was used wrongly: a poll that is parked is answered, none is waited for.
        _ if rules.ending.is_some() => Duration::ZERO,
        Reason::Draining => DRAIN_POLL_TIMEOUT,
        _ => POLL_TIMEOUT,
    };
    polling.end_session();
    let (mut is_done, mut is_hurried) = (false, false);
    within(time, clock, |cx| {
        is_done = polling.poll_goodbye(rules, has_left, cx).is_ready();
        is_hurried = reason != Reason::Draining && rules.outbox.ended().is_some();
        if is_done || is_hurried {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    if !is_done && is_hurried {
        // The node leaves meanwhile.
        let time = time.min(DRAIN_POLL_TIMEOUT);
        within(time, clock, |cx| polling.poll_goodbye(rules, has_left, cx)).await;
    }
}

/// Polls until ready, or until `time` is over.
async fn within(time: Duration, clock: &mut Pin<Box<Sleep>>, mut poll: impl FnMut(&mut Context<'_>) -> Poll<()>) {
    clock.as_mut().reset(Instant::now() + time);
    poll_fn(|cx| {
        if poll(cx).is_ready() {
            Poll::Ready(())
        } else {
            clock.as_mut().poll(cx)
        }
    })
    .await;
}
