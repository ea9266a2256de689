//! Clients by the thousand, to measure a server: `roomcast bench`.
//!
//! The other side of the wire: it speaks to whatever server it is pointed at and uses nothing of the gateway but its
//! codecs. One thread by design, so that it can be pinned to a core and its own share of the machine be known; nothing
//! is allocated for a delivery.

mod books;
mod channel;
mod client;
mod connect;
mod crowd;
mod echo;
mod failure;
mod fanout;
mod frames;
mod http;
mod measure;
mod message;
mod outgoing;
mod payload;
mod plan;
mod polling;
mod process;
mod progress;
mod publisher;
mod quantiles;
mod report;
mod run;
mod stamp;
mod subscriber;
mod summary;
mod talk;
mod target;
mod trouble;
mod unanswered;
mod websocket;

use std::time::Duration;

pub use plan::{Case, Fanout, Plan, Transport};
pub use quantiles::Quantiles;
pub use report::Report;
pub use talk::Parser;
pub use trouble::Trouble;

/// Time for a connection, up to the namespace.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// Runs tasks between two looks at the sockets: many, as each look costs a call of the system.
const TASKS_A_LOOK: u32 = 256;

/// Measures what the plan says.
///
/// # Errors
/// When the plan is none, nothing connects, or the server does not answer as it must.
pub fn run(plan: Plan) -> Result<Report, Trouble> {
    plan.check()?;
    // Each client is a connection; who may not have as many sees failures that say so.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .event_interval(TASKS_A_LOOK)
        .build();
    let runtime = runtime.map_err(|error| Trouble::Unavailable(format!("the system gives no runtime: {error}")))?;
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, run::run(plan))
}
