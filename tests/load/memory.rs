//! Clients that make the gateway hold as much as they can, and the sum that it may come to (ARCHITECTURE.md, "What it may
//! hold").

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::client::{BINARY, CONTINUATION, Connection, POLLING, TEXT, TEXT_START, frame, post_head, promise};
use crate::gateway::{Gateway, report};
use crate::{alone, for_each, within_minutes};

const MAX_PAYLOAD: usize = 100_000;
const OUTBOX: usize = 400_000;

/// Bytes of a head, and of what hyper keeps beside it.
const HEAD: usize = 64 * 1024;

/// A session and a connection that wait.
const IDLE: usize = 16 * 1024;

/// Buffers of threads, and what the allocator keeps.
const NODE: usize = 16_000_000;

/// Small limits, so that many hostile clients find room on a small machine.
fn settings() -> String {
    format!(
        "engine.max_payload = \"{MAX_PAYLOAD}B\"\nlimits.outbox = \"{OUTBOX}B\"\n\
         [[namespace]]\nname = \"/\"\n[[namespace.event]]\nname = \"e\"\naction = \"ack\"\n"
    )
}

/// Runs hostile clients, each with its number, and fails where the gateway holds more than `each` for every one of them
/// at any time. They are kept until the end; how many bytes each cost is returned.
async fn hold<F>(name: &str, clients: u64, each: usize, make: impl Fn(SocketAddr, u64) -> F + Send + Sync + 'static)
where
    F: Future<Output = io::Result<Vec<Connection>>> + Send + 'static,
{
    let _alone = alone().await;
    let gateway = Gateway::start(&settings());
    let (address, empty) = (gateway.address, gateway.resident_bytes());
    let all = for_each(clients, clients as usize, move |number| make(address, number));
    let filling = tokio::spawn(within_minutes(2, all));
    let mut peak = 0;
    let mut quiet_since = Instant::now();
    // To the highest point: it is over when nothing was added for a second after the clients were done.
    while !filling.is_finished() || quiet_since.elapsed() < Duration::from_secs(1) {
        let resident = gateway.resident_bytes() - empty;
        if resident > peak || !filling.is_finished() {
            quiet_since = Instant::now();
        }
        peak = peak.max(resident);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let waiting = gateway.holdings();
    let kept: Vec<_> = filling
        .await
        .unwrap()
        .into_iter()
        .map(|client| client.unwrap())
        .collect();
    let bound = clients as usize * each + NODE;
    report(
        &format!("memory of {name}"),
        &[
            ("clients", clients as f64),
            ("connections", kept.iter().map(Vec::len).sum::<usize>() as f64),
            ("kB_each", peak as f64 / clients as f64 / 1e3),
            ("allowed_kB_each", each as f64 / 1e3),
            ("outbox_kB_each", waiting.outbox_bytes as f64 / clients as f64 / 1e3),
        ],
    );
    assert!(peak < bound as u64, "{peak} bytes are more than {bound}");
}

/// What a connection of HTTP may cost: a head, and a body twice, as it grows.
const HTTP: usize = IDLE + HEAD + 2 * MAX_PAYLOAD;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_in_chunks_of_a_byte() {
    hold("bodies in chunks of a byte", 100, HTTP, |address, _| async move {
        let (mut client, session) = polling(address).await?;
        let head = format!(
            "POST {session} HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        client.write(head.as_bytes()).await?;
        client.write("1\r\n4\r\n".repeat(MAX_PAYLOAD - 1).as_bytes()).await?;
        Ok(vec![client])
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_come_byte_by_byte() {
    hold("bodies that come byte by byte", 100, HTTP, |address, _| async move {
        let (mut client, session) = polling(address).await?;
        client.write(post_head(&session, MAX_PAYLOAD).as_bytes()).await?;
        for _ in 0..1_000 {
            client.write(b"4").await?;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(vec![client])
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_that_never_end() {
    hold("heads that never end", 500, IDLE + HEAD, |address, _| async move {
        let mut client = Connection::open(address).await?;
        client.write(b"GET / HTTP/1.1\r\nHost: a\r\n").await?;
        client.write("X-Long: y\r\n".repeat(90).as_bytes()).await?;
        client
            .write(format!("X-Long: {}", "x".repeat(30_000)).as_bytes())
            .await?;
        Ok(vec![client])
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_many_small_packets() {
    hold(
        "bodies of many small packets",
        100,
        HTTP + MAX_PAYLOAD,
        |address, _| async move {
            let (mut client, session) = polling(address).await?;
            client.post(&session, b"40").await?;
            let body = "42[\"x\"]\u{1e}".repeat(MAX_PAYLOAD / 8);
            client.post(&session, body[..body.len() - 1].as_bytes()).await?;
            Ok(vec![client])
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_nobody_polls_for() {
    hold(
        "small answers that nobody polls for",
        50,
        HTTP + OUTBOX,
        |address, _| async move {
            let (mut client, session) = polling(address).await?;
            client.post(&session, b"40").await?;
            let body = "421[\"e\"]\u{1e}".repeat(2_000);
            // Until it is cut, which shows in the answer.
            for _ in 0..40 {
                if client
                    .post(&session, body[..body.len() - 1].as_bytes())
                    .await
                    .map_or(0, |answer| answer.0)
                    != 200
                {
                    break;
                }
            }
            Ok(vec![client])
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_at_once_on_polling() {
    // A full outbox, an answer that is not read and a body that is not complete: each on its own connection.
    let each = 3 * (IDLE + HEAD) + 2 * OUTBOX + OUTBOX + 2 * MAX_PAYLOAD;
    hold("everything at once on polling", 100, each, |address, _| async move {
        let (mut client, session) = polling(address).await?;
        client.post(&session, b"40").await?;
        let echo = format!("421[\"e\",\"{}\"]", "x".repeat(MAX_PAYLOAD - 100));
        let fill = async |client: &mut Connection| -> io::Result<()> {
            for _ in 0..3 {
                client.post(&session, echo.as_bytes()).await?;
            }
            Ok(())
        };
        fill(&mut client).await?;
        let mut deaf = Connection::open_with(address, Some(4096)).await?;
        deaf.write(format!("GET {session} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
            .await?;
        deaf.stream.readable().await?; // the answer has taken what waited
        fill(&mut client).await?;
        let mut posting = Connection::open(address).await?;
        posting.write(post_head(&session, MAX_PAYLOAD).as_bytes()).await?;
        posting.write(&vec![b'4'; MAX_PAYLOAD - 1]).await?;
        Ok(vec![client, deaf, posting])
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_at_once_on_a_websocket() {
    // Attachments whose last is missing, and behind them a fragmented message and a frame that are not complete.
    let each = IDLE + MAX_PAYLOAD + 2 * MAX_PAYLOAD + 2 * OUTBOX;
    hold(
        "everything at once on a WebSocket",
        200,
        each,
        |address, _| async move {
            let mut client = Connection::open_with(address, Some(4096)).await?;
            client.enter().await?;
            // As much as the system's buffers and the outbox take; who sends more is cut.
            let echo = frame(TEXT, format!("421[\"e\",\"{}\"]", "x".repeat(20_000)).as_bytes());
            for _ in 0..10 {
                client.write(&echo).await?;
            }
            client
                .send("452-[\"e\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}]")
                .await?;
            client.write(&frame(BINARY, &vec![7; MAX_PAYLOAD - 1_000])).await?;
            client.write(&frame(TEXT_START, &vec![b'4'; MAX_PAYLOAD / 2])).await?;
            client.write(&promise(CONTINUATION, MAX_PAYLOAD / 2)).await?;
            client.write(&vec![b'x'; MAX_PAYLOAD / 2 - 1]).await?;
            Ok(vec![client])
        },
    )
    .await;
}

async fn polling(address: SocketAddr) -> io::Result<(Connection, String)> {
    let mut client = Connection::open(address).await?;
    let session = format!("{POLLING}&sid={}", client.open_polling().await?);
    Ok((client, session))
}
