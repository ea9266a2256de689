//! Accepts connections, whatever happens: short of descriptors it sheds them instead of spinning or going deaf.

use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tracing::error;

use super::Parts;
use super::connection::{Closing, Port, serve};
use super::listener::Listener;

/// Pause after an accept that failed, mostly for want of descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// Connections that are reset before such a pause.
const SHED_MAX: usize = 256;

/// Time between two complaints.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(1);

/// Accepts connections until it is dropped.
///
/// Not `async`, so that the reserve is there before any listener accepts: once connections have taken all descriptors, one
/// listener's first reserve would be taken from another one's.
pub(super) fn accept(listener: Listener, parts: Arc<Parts>, port: Port, closing: Closing) -> impl Future<Output = ()> {
    let mut reserve = Reserve::default();
    reserve.restore();
    accept_with(reserve, listener, parts, (port, closing))
}

async fn accept_with(mut reserve: Reserve, listener: Listener, parts: Arc<Parts>, (port, closing): (Port, Closing)) {
    let mut last_complaint: Option<Instant> = None;
    loop {
        reserve.restore();
        match poll_fn(|cx| listener.poll_accept(cx)).await {
            Ok((stream, peer)) => {
                let (parts, closing) = (Arc::clone(&parts), closing.clone());
                drop(tokio::spawn(serve(stream, peer, parts, port, closing)));
            }
            Err(error) => {
                let shed = if is_short(&error) {
                    reserve.shed(&listener).await
                } else {
                    0
                };
                if last_complaint.is_none_or(|last| last.elapsed() > COMPLAINT_INTERVAL) {
                    error!(shed, "cannot accept connections on {listener}: {error}");
                    last_complaint = Some(Instant::now());
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Whether the process or the system is out of descriptors.
fn is_short(error: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}

/// A descriptor kept for the time when there are none: given up, it lets one connection in, to be reset.
#[derive(Debug, Default)]
struct Reserve(Option<File>);

impl Reserve {
    /// Takes a descriptor where there is none in reserve.
    fn restore(&mut self) {
        if self.0.is_none() {
            self.0 = File::open("/dev/null").ok();
        }
    }

    /// Resets connections that wait: their clients hear at once that they should try elsewhere, or later.
    async fn shed(&mut self, listener: &Listener) -> usize {
        for count in 0..SHED_MAX {
            if self.0.take().is_none() {
                return count;
            }
            match poll_fn(|cx| Poll::Ready(listener.poll_accept(cx))).await {
                Poll::Ready(Ok((stream, _))) => stream.reset(),
                Poll::Ready(Err(_)) | Poll::Pending => return count,
            }
            self.restore();
        }
        SHED_MAX
    }
}
