//! Leaks to the byte: a gateway in this process, whose allocations are counted. From outside, what the allocator keeps
//! for later would hide some hundred bytes a client.
//!
//! Clients are in this process, too, so it is looked at only when all of them are gone.

use std::time::Duration;

use roomcast::config::Config;
use roomcast::server::Server;

use crate::gateway::{metrics, report, sum, until};
use crate::leaks::{SETTINGS, churn};
use crate::{ALLOCATED, alone};

/// Clients of a round, and rounds. What is forgotten for each client shows in every round but the first, which makes what
/// is made once; a table that grows, or a thread that sees its first client, shows in one.
const CLIENTS: u64 = 1_000;
const ROUNDS: u64 = 4;

/// What may be forgotten for each client, on average: less than two pointers.
const BYTES_A_CLIENT_MAX: u64 = 16;

/// Time until everything is gone.
const QUIET: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_leave_no_allocation_behind() {
    let _alone = alone().await;
    let ports = "server.listen = \"127.0.0.1:0\"\nadmin.listen = \"127.0.0.1:0\"\n";
    let server = Server::bind(Config::from_toml(&format!("{ports}{SETTINGS}")).unwrap())
        .await
        .unwrap();
    let (address, admin) = (server.client_addr(), server.admin_addr());
    let running = tokio::spawn(server.run());
    let mut allocated = Vec::new();
    for round in 0..ROUNDS {
        churn(address, round * CLIENTS..(round + 1) * CLIENTS).await;
        allocated.push(until(QUIET, || settled(admin), || metrics(admin)).await as u64);
    }
    let growths = allocated.windows(2).map(|pair| pair[1].saturating_sub(pair[0]));
    let grown = growths.min().expect("rounds");
    let figures: Vec<_> = allocated.iter().map(|bytes| ("kB", *bytes as f64 / 1e3)).collect();
    report("allocated", &figures);
    assert!(
        grown < CLIENTS * BYTES_A_CLIENT_MAX,
        "{grown} bytes more in every round: {allocated:?}"
    );
    running.abort();
}

/// What is allocated, once no client is left and nothing changes any more.
fn settled(admin: std::net::SocketAddr) -> Option<usize> {
    let text = metrics(admin);
    let is_empty = [
        "roomcast_connections{",
        "roomcast_sockets{",
        "roomcast_rooms ",
        "roomcast_outbox_bytes ",
    ]
    .iter()
    .all(|start| sum(&text, start) == 0.0);
    let descriptors = std::fs::read_dir("/proc/self/fd").ok()?.count();
    (is_empty && descriptors < 64).then(|| ALLOCATED.allocated())
}
