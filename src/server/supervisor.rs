//! What the service manager hears: systemd's notifications, where `NOTIFY_SOCKET` is set; else nothing.
//!
//! The only module that names sd-notify. A manager that does not listen must never hold up the gateway.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::warn;

/// The gateway listens.
pub(super) fn ready() {
    tell(NotifyState::Ready);
}

/// The gateway is about to leave.
pub(super) fn stopping() {
    tell(NotifyState::Stopping);
}

/// Shows that the runtime still gets things done, twice in each of the manager's intervals (`WatchdogSec=`). Returns
/// only where the manager does not want to know.
pub(super) async fn keep_watched() {
    let Some(interval) = sd_notify::watchdog_enabled().filter(|interval| *interval >= Duration::from_millis(2)) else {
        return;
    };
    let mut ticks = tokio::time::interval(interval / 2);
    loop {
        ticks.tick().await;
        tell(NotifyState::Watchdog);
    }
}

fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        warn!("the service manager cannot be told: {error}");
    }
}
