//! `roomcast bench`: what it counts is what happened, on every transport.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::{Output, Stdio};
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::client::within;
use crate::gateway::{ECHO, TestGateway};
use crate::tokens;

/// Every way to speak that there is.
const WAYS: [&str; 8] = [
    "--transport websocket",
    "--transport polling",
    "--transport upgrade",
    "--transport websocket --eio 3",
    "--transport polling --eio 3",
    "--transport upgrade --eio 3",
    "--transport websocket --parser msgpack",
    "--transport polling --parser msgpack",
];

/// A short run.
pub(crate) const SHORT: &str = "--time 100ms --warmup 10ms --quiet --json";

fn command(words: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
    command.arg("bench").args(words.split_whitespace()).env_clear();
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

pub(crate) async fn bench(words: &str) -> Output {
    within(command(words).output()).await.unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// What a run says that succeeded.
pub(crate) fn report(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
    assert_eq!(stderr(output), "");
    let text = std::str::from_utf8(&output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(text).unwrap()
}

pub(crate) async fn measured(gateway: &TestGateway, words: &str) -> Value {
    report(&bench(&format!("{words} --url http://{} {SHORT}", gateway.address)).await)
}

/// What a run says that did not succeed.
pub(crate) async fn complaint(words: &str, code: i32) -> String {
    let output = bench(words).await;
    assert_eq!(output.status.code(), Some(code), "{words}: {}", stderr(&output));
    assert_eq!(output.stdout, b"", "{words}");
    stderr(&output).to_owned()
}

/// That all came which was to come, in order.
#[track_caller]
pub(crate) fn check_books(report: &Value, words: &str) {
    let books = ["lost", "out_of_order", "stalled_messages"].map(|key| report[key].as_u64());
    assert_eq!(books, [Some(0); 3], "{words}: {report}");
    assert_eq!(report["received"], report["expected"], "{words}: {report}");
    assert!(report["received"].as_u64() > Some(0), "{words}: {report}");
    assert_eq!(
        [&report["failed"], &report["closed"]],
        [&json!({}); 2],
        "{words}: {report}"
    );
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn echoes_are_counted_on_every_transport() {
    let gateway = TestGateway::start(ECHO).await;
    for way in WAYS {
        let report = measured(&gateway, &format!("echo --clients 3 --window 4 {way}")).await;
        check_books(&report, way);
        assert_eq!(report["connected"], 3, "{way}");
        assert!(report["latency_us"]["p50"].as_f64() <= report["latency_us"]["max"].as_f64());
    }
}

#[tokio::test]
async fn deliveries_are_counted_on_every_transport() {
    // Publishers must be members here, and nobody counts what they hear themselves.
    let gateway = TestGateway::plain().await;
    for way in WAYS {
        let words = format!("fanout --clients 6 --rooms 3 --rooms-per-client 2 --publishers 2 {way}");
        let report = measured(&gateway, &words).await;
        check_books(&report, way);
        assert_eq!([&report["connected"], &report["joins"]], [6, 12], "{way}");
        // Each room has four members.
        assert_eq!(report["received"].as_u64().unwrap() % 4, 0, "{way}: {report}");
    }
}

#[tokio::test]
async fn connections_are_counted_on_every_transport() {
    let gateway = TestGateway::start("admin.keys = []").await;
    for way in WAYS {
        let report = measured(&gateway, &format!("connect --churn --parallel 4 {way}")).await;
        assert_eq!(report["case"], "churn", "{way}");
        assert!(report["connected"].as_u64() > Some(0), "{way}: {report}");
        assert_eq!(
            [&report["failed"], &report["closed"]],
            [&json!({}); 2],
            "{way}: {report}"
        );
    }
    let stayed = measured(&gateway, "connect --clients 25 --hold 10ms --transport upgrade").await;
    assert_eq!(stayed["connected"], 25);
    let words = format!(
        "connect --churn --rate 50 --time 200ms --sources 0 --url http://{}",
        gateway.address
    );
    let report = report(&bench(&format!("{words} --json")).await);
    let connected = report["connected"].as_u64().unwrap();
    assert!((1..=10).contains(&connected), "{report}");
}

#[tokio::test]
async fn a_rate_is_kept_and_large_payloads_arrive() {
    let gateway = TestGateway::start("[[namespace]]\nname = \"/chat\"\nmembers_only = false").await;
    for way in [
        "--transport websocket",
        "--transport polling",
        "--parser msgpack",
        "--eio 3",
    ] {
        let words = format!("fanout --namespace /chat --clients 2 --rate 40 --payload 70000 --event x --room é {way}");
        let report = measured(&gateway, &words).await;
        check_books(&report, way);
        assert_eq!(report["rate"], 40.0);
        assert!(report.get("window").is_none(), "{report}");
        // 110 ms at 40 a second, two subscribers.
        assert!(
            (2..=40).contains(&report["received"].as_u64().unwrap()),
            "{way}: {report}"
        );
    }
}

/// In every report.
const FIELDS: &str = "bench case closed connect_latency_us connect_seconds connected connects_per_second eio failed parser \
    seconds server transport urls version";

/// Where events are counted.
const BOOKS: &str = "clients expected latency_us lost out_of_order payload_bytes received stalled_messages window";

/// Of the server, in every report.
const SERVER: &str = "busy cpu_seconds cpu_seconds_by_pid resident_bytes resident_bytes_before";

/// A case, its further fields, and those of the server.
const CASES: [(&str, &str, &str); 4] = [
    (
        "connect --clients 20 --hold 10ms",
        "clients",
        "bytes_per_client bytes_per_client_after_hold connect_cpu_seconds cpu_seconds_per_thousand",
    ),
    ("connect --churn --rate 100", "rate", "cpu_seconds_per_thousand"),
    (
        "echo --clients 2",
        "round_trips_per_second",
        "connect_cpu_seconds cpu_seconds_per_million",
    ),
    (
        "fanout --clients 2 --stalled 1",
        "deliveries_per_second join_seconds joins publish_ack_us publishers publishes_per_second rooms stalled_closed",
        "connect_cpu_seconds cpu_seconds_per_million join_cpu_seconds",
    ),
];

#[tokio::test]
async fn a_report_has_the_fields_that_apply() {
    let gateway = TestGateway::start(ECHO).await;
    let pid = std::process::id().to_string();
    let words = |lists: [&'static str; 3]| {
        lists
            .into_iter()
            .flat_map(str::split_whitespace)
            .collect::<BTreeSet<_>>()
    };
    for (case, more, of_server) in CASES {
        let report = measured(&gateway, &format!("{case} --pid {pid}")).await;
        let books = if case.starts_with("connect") { "" } else { BOOKS };
        assert_eq!(keys(&report), words([FIELDS, books, more]), "{case}");
        assert_eq!(keys(&report["server"]), words([SERVER, of_server, ""]), "{case}");
        assert_eq!(keys(&report["server"]["cpu_seconds_by_pid"]), [&*pid].into());
        assert_eq!(keys(&report["bench"]), words(["busy resident_bytes", "", ""]));
        let quantiles = words(["max mean p50 p90 p99 p999", "", ""]);
        assert_eq!(keys(&report["connect_latency_us"]), quantiles);
    }
}

#[tokio::test]
async fn subscribers_that_never_read_are_told_apart() {
    let limits = "engine.max_payload = \"20kB\"\nlimits.outbox = \"40kB\"\n";
    let gateway = TestGateway::start(&format!("{limits}[[namespace]]\nname = \"/\"\nmembers_only = false")).await;
    let words = "fanout --clients 1 --stalled 2 --payload 15000 --window 64";
    let url = format!("--url http://{} --time 3s --warmup 0s --quiet --json", gateway.address);
    let report = report(&bench(&format!("{words} {url}")).await);
    assert_eq!(
        [&report["stalled_closed"], &report["lost"], &report["connected"]],
        [2, 0, 3],
        "{report}"
    );
}

#[tokio::test]
async fn clients_are_spread_over_servers_and_paths() {
    let gateway = TestGateway::plain().await;
    let elsewhere = TestGateway::start("server.path = \"/live/\"").await;
    let [first, second] = [gateway.address, elsewhere.address];
    let words = format!(
        "connect --clients 10 --hold 0s --url ws://localhost:{}/ --url http://{second}/live",
        first.port()
    );
    let report = report(&bench(&format!("{words} --quiet --json")).await);
    assert_eq!([&report["connected"], &report["failed"]], [&json!(10), &json!({})]);
    for gateway in [gateway, elsewhere] {
        gateway
            .reaches(
                "roomcast_handshakes_total{transport=\"websocket\",protocol=\"4\",result=\"accepted\"}",
                5.0,
            )
            .await;
    }
}

#[tokio::test]
async fn a_token_is_shown_in_both_versions() {
    let gateway = TestGateway::start(tokens::SETTINGS).await;
    for way in ["--eio 4", "--eio 3", "--parser msgpack", "--transport polling"] {
        let words = format!(
            "connect --churn --parallel 2 {way} --namespace /chat --url http://{} {SHORT}",
            gateway.address
        );
        let shown = report(&bench(&format!("{words} --token {}", tokens::plain("alice"))).await);
        assert_eq!(shown["failed"], json!({}), "{way}");
        let refused = complaint(&format!("{words} --token no"), 69).await;
        assert!(refused.contains("refused: unauthorized"), "{way}: {refused}");
    }
}

#[tokio::test]
async fn an_interrupted_run_prints_what_there_is() {
    let gateway = TestGateway::plain().await;
    let words = format!(
        "fanout --clients 3 --time 1h --json --quiet --url http://{}",
        gateway.address
    );
    let child = command(&words)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let id = child.id().unwrap().to_string();
    // Subscribers and the publisher are members, and what they publish is heard.
    gateway.reaches("roomcast_rooms", 1.0).await;
    gateway.reaches("roomcast_sockets{namespace=\"/\"}", 4.0).await;
    assert!(
        within(Command::new("kill").args(["-INT", &id]).status())
            .await
            .unwrap()
            .success()
    );
    let report = report(&within(child.wait_with_output()).await.unwrap());
    assert_eq!([&report["connected"], &report["lost"]], [3, 0]);
}

/// One of two servers takes connections and says nothing.
#[tokio::test]
async fn who_is_connected_answers_heartbeats_and_an_end_waits_for_nobody_else() {
    let gateway = TestGateway::start(&format!("engine.ping_interval = \"1s\"\n{ECHO}")).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let urls = [gateway.address, silent.local_addr().unwrap()].map(|address| format!("--url http://{address}"));
    let words = format!("echo --clients 2 --parallel 1 --json --quiet {}", urls.join(" "));
    let mut command = command(&words);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let _hanging = within(silent.accept()).await.unwrap();
    gateway
        .reaches("roomcast_packets_received_total{type=\"pong\"}", 2.0)
        .await;
    let id = child.id().unwrap().to_string();
    let killed = within(Command::new("kill").args(["-INT", &id]).status()).await.unwrap();
    assert!(killed.success());
    let report = report(&within(child.wait_with_output()).await.unwrap());
    assert_eq!(report["connected"], 1);
    assert_eq!([&report["failed"], &report["closed"]], [&json!({}); 2]);
}

#[tokio::test]
async fn people_see_how_it_goes_and_a_summary() {
    let gateway = TestGateway::start(ECHO).await;
    let words = format!(
        "echo --clients 2 --time 100ms --warmup 0s --url http://{}",
        gateway.address
    );
    let output = bench(&words).await;
    assert_eq!(output.status.code(), Some(0));
    let summary = String::from_utf8(output.stdout).unwrap();
    for expected in [
        "2 clients, 16 under way each, 64 bytes",
        "round trips",
        "0 lost, 0 out of order",
    ] {
        assert!(summary.contains(expected), "{summary}");
    }
    assert_eq!(output.stderr, b"", "there is no terminal");
    for (quiet, is_told) in [("", true), ("--quiet", false)] {
        let line = format!("{} bench {words} {quiet} >/dev/null", env!("CARGO_BIN_EXE_roomcast"));
        let mut script = Command::new("script");
        let script = script.args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()).output();
        let terminal = String::from_utf8(within(script).await.unwrap().stdout).unwrap();
        assert_eq!(terminal.contains("connecting: 0 of 2"), is_told, "{terminal:?}");
    }
}

/// Takes TLS off connections to a gateway, for ever.
async fn tls(gateway: SocketAddr) -> SocketAddr {
    let key = |name: &str| format!("{}/tests/keys/tls.{name}.pem", env!("CARGO_MANIFEST_DIR"));
    let chain = vec![CertificateDer::from_pem_file(key("cert")).unwrap()];
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key("key")).unwrap())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut secure = acceptor.accept(stream).await.ok()?;
                let mut plain = TcpStream::connect(gateway).await.ok()?;
                tokio::io::copy_bidirectional(&mut secure, &mut plain).await.ok()
            });
        }
    });
    address
}

#[tokio::test]
async fn tls_is_spoken_to_those_whom_the_system_trusts() {
    let gateway = TestGateway::start(ECHO).await;
    let port = tls(gateway.address).await.port();
    let certificate = format!("{}/tests/keys/tls.cert.pem", env!("CARGO_MANIFEST_DIR"));
    for (scheme, way) in [
        ("wss", ""),
        ("https", "--transport polling"),
        ("https", "--transport upgrade"),
    ] {
        let words = format!("echo --clients 2 --url {scheme}://localhost:{port} {way} {SHORT}");
        let output = within(command(&words).env("SSL_CERT_FILE", &certificate).output())
            .await
            .unwrap();
        check_books(&report(&output), way);
    }
    let words = format!("echo --clients 1 --url https://127.0.0.1:{port}");
    let text = complaint(&words, 69).await;
    assert!(
        text.contains("TLS: is not trusted") || text.contains("trusts no certificate authority"),
        "{text}"
    );
}
