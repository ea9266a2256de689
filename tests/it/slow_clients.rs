//! Crowds that hold their connections by being slow: heads, bodies and answers, byte by byte, while others are served.
//!
//! `slowhttptest` makes the crowds; tests/run installs it.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::process::Command;

use crate::client::http::{Request, request};
use crate::client::polling::Polling;
use crate::client::socket::Client;
use crate::client::{DEADLINE, LOOK_AGAIN};
use crate::gateway::TestGateway;
use crate::process::Process;

/// How long a crowd goes on: longer than a head may take.
const SECONDS: &str = "20";

/// Longer than a crowd goes on.
const CROWD_TIMEOUT: Duration = Duration::from_secs(60);

/// Pause between two clients of the usual kind.
const PAUSE: Duration = Duration::from_millis(100);

/// Runs a crowd, and returns what its tool says at the end.
async fn crowd(kind: &[&str], url: String) -> String {
    let tool = Command::new("slowhttptest")
        .args(kind)
        .args(["-r", "100", "-p", "3", "-l", SECONDS, "-u", &url])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(CROWD_TIMEOUT, tool).await.expect("an end");
    let output = output.expect("slowhttptest, which tests/run installs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "slowhttptest {kind:?}: {}\n{text}",
        output.status
    );
    text
}

/// Clients that come, are answered and go, one after the other, until nobody waits for them any more.
async fn usual_clients(gateway: &TestGateway, served: &mut usize) {
    loop {
        let handshake = Request::get("/socket.io/?EIO=4&transport=polling");
        let response = request(gateway.address, &handshake).await;
        assert_eq!(response.status, 200, "after {served} clients");
        let mut client = Client::new(gateway).await;
        client.does(json!(["join", "room"])).await;
        *served += 1;
        tokio::time::sleep(PAUSE).await;
    }
}

#[tokio::test]
#[ignore = "wants slowhttptest, which tests/run installs"]
async fn slow_crowds_keep_nobody_out_and_leave_nothing_behind() {
    let quick = [
        ("ROOMCAST_ENGINE__PING_INTERVAL", "2s"),
        ("ROOMCAST_ENGINE__PING_TIMEOUT", "2s"),
    ];
    let mut process = Process::start("", &quick).await;
    let gateway = TestGateway::elsewhere(process.address, process.admin);
    assert_eq!(request(gateway.address, &Request::get("/livez")).await.status, 200);
    let before = process.descriptors();
    let polling = Polling::open(gateway.address, 4).await;
    let url = |target: &str| format!("http://{}{target}", gateway.address);
    let mut served = 0;
    let crowds = async {
        tokio::join!(
            crowd(
                &["-H", "-c", "200", "-i", "2", "-x", "24"],
                url("/socket.io/?EIO=4&transport=polling")
            ),
            crowd(&["-B", "-c", "100", "-i", "2", "-s", "8192"], url(&polling.target())),
            crowd(
                &[
                    "-X", "-c", "100", "-w", "5", "-y", "10", "-n", "2", "-z", "5", "-k", "10"
                ],
                url("/")
            ),
        )
    };
    let (heads, ..) = tokio::select! {
        said = crowds => said,
        () = usual_clients(&gateway, &mut served) => unreachable!("they come for ever"),
        () = process.read_log() => panic!("the gateway is gone"),
    };
    assert!(served >= 20, "only {served} clients were served");
    assert!(
        heads.contains("No open connections left"),
        "slow heads are not given up:\n{heads}"
    );
    drop(polling);
    let started = Instant::now();
    let is_over = async || {
        let metrics = gateway.admin_get("/metrics").await;
        let mut sessions = metrics
            .text()
            .lines()
            .filter(|line| line.starts_with("roomcast_connections{"));
        sessions.all(|line| line.ends_with(" 0")) && process.descriptors() <= before
    };
    while !is_over().await {
        let open = process.descriptors();
        assert!(
            started.elapsed() < DEADLINE,
            "{open} descriptors are open, {before} were before"
        );
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
