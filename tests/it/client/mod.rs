//! The raw client: HTTP, WebSocket frames, Engine.IO payloads and Socket.IO packets by hand.
//!
//! It never shares code with the gateway, so that a mistake there cannot hide behind the same mistake here.

use std::time::Duration;

pub(crate) mod frames;
pub(crate) mod http;
pub(crate) mod payload;
pub(crate) mod polling;
pub(crate) mod socket;

/// The longest a test waits for any one thing; reaching it is a failure.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// How long to wait before looking at a fact again.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Waits for `future`, but not for ever.
#[track_caller]
pub(crate) fn within<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(DEADLINE, future).await {
            Ok(output) => output,
            Err(_) => panic!("waited {DEADLINE:?} in vain at {caller}"),
        }
    }
}
