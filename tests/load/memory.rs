//! Clients that make the gateway hold as much as they can, and the sum that it may come to (ARCHITECTURE.md, "What it may
//! hold").

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::client::{BINARY, BINARY_START, CONTINUATION, Connection, POLLING, TEXT, frame, post_head, promise};
use crate::gateway::{Gateway, report, until};
use crate::{alone, for_each, within_minutes};

const MAX_PAYLOAD: usize = 100_000;
const OUTBOX: usize = 400_000;

/// The defaults of `limits`.
const NAMESPACES: usize = 16;
const ROOMS: usize = 128;
const ROOM_NAME: usize = 256;

/// A session and a connection that wait.
const IDLE: usize = 16 * 1024;

/// The head of a request, and what is made of it.
const HEAD: usize = 64 * 1024;

/// What a connection of HTTP holds: a head, and a body, twice while it grows.
const HTTP: usize = IDLE + HEAD + 2 * MAX_PAYLOAD;

/// A room that nobody else is in, beside its name.
const ROOM: usize = 512;

/// Buffers of threads, and what the allocator keeps.
const NODE: usize = 16_000_000;

/// Bytes of an answer that fills outboxes.
const ECHO: usize = 50_000;

/// What buffers of the system take at least.
const SYSTEM_BYTES_MIN: usize = 2_400_000;

/// Small limits, so that many hostile clients find room on a small machine.
fn settings() -> String {
    format!(
        "engine.max_payload = \"{MAX_PAYLOAD}B\"\nlimits.outbox = \"{OUTBOX}B\"\n\
         [[namespace]]\nname = \"/*\"\n[[namespace.event]]\nname = \"e\"\naction = \"ack\"\n"
    )
}

/// What hostile clients come to.
struct Case {
    name: &'static str,
    clients: u64,
    /// Bytes that one may cost, with all its connections.
    bytes_max: usize,
    /// Bytes that wait in its outbox in the end, at least.
    waiting_min: usize,
}

impl Case {
    /// Runs the clients, each with its number, and fails where they cost more at any time. They are kept until then.
    async fn hold<F>(self, make: impl Fn(Arc<Gateway>, u64) -> F + Send + Sync + 'static)
    where
        F: Future<Output = io::Result<Vec<Connection>>> + Send + 'static,
    {
        let _alone = alone().await;
        let gateway = Arc::new(Gateway::start(&settings()));
        let (given, empty) = (Arc::clone(&gateway), gateway.resident_bytes());
        let all = for_each(self.clients, self.clients as usize, move |number| {
            make(Arc::clone(&given), number)
        });
        let filling = tokio::spawn(within_minutes(2, all));
        let (mut peak, mut highest_at) = (0, Instant::now());
        // To the highest point: nothing was added for a second after the clients were done.
        while !filling.is_finished() || highest_at.elapsed() < Duration::from_secs(1) {
            let resident = gateway.resident_bytes() - empty;
            if resident > peak || !filling.is_finished() {
                highest_at = Instant::now();
            }
            peak = peak.max(resident);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let holdings = gateway.holdings();
        let kept: Vec<_> = filling
            .await
            .unwrap()
            .into_iter()
            .map(|client| client.unwrap())
            .collect();
        let each = |bytes: u64| bytes as f64 / self.clients as f64 / 1e3;
        report(
            &format!("memory of {}", self.name),
            &[
                ("clients", self.clients as f64),
                ("connections", kept.iter().map(Vec::len).sum::<usize>() as f64),
                ("kB_each", each(peak)),
                ("kB_max", self.bytes_max as f64 / 1e3),
                ("outbox_kB_each", each(holdings.outbox_bytes)),
            ],
        );
        let bound = self.clients * self.bytes_max as u64 + NODE as u64;
        assert!(peak < bound, "{peak} bytes are more than {bound}");
        assert!(
            holdings.outbox_bytes >= self.clients * self.waiting_min as u64,
            "{holdings:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_in_chunks_of_a_byte() {
    let case = Case {
        name: "bodies in chunks of a byte",
        clients: 100,
        bytes_max: HTTP,
        waiting_min: 0,
    };
    case.hold(|gateway, _| async move {
        let (mut client, session) = polling(gateway.address).await?;
        let head = format!("POST {session} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.write(head.as_bytes()).await?;
        client.write("1\r\n4\r\n".repeat(MAX_PAYLOAD - 1).as_bytes()).await?;
        Ok(vec![client])
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_come_byte_by_byte() {
    let case = Case {
        name: "bodies that come byte by byte",
        clients: 100,
        bytes_max: HTTP,
        waiting_min: 0,
    };
    case.hold(|gateway, _| async move {
        let (mut client, session) = polling(gateway.address).await?;
        client.write(post_head(&session, MAX_PAYLOAD).as_bytes()).await?;
        for _ in 0..1_000 {
            client.write(b"4").await?;
            tokio::time::sleep(Duration::from_millis(2)).await; // or the system joins them
        }
        Ok(vec![client])
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_that_never_end() {
    let case = Case {
        name: "heads that never end",
        clients: 500,
        bytes_max: IDLE + HEAD,
        waiting_min: 0,
    };
    case.hold(|gateway, _| async move {
        let mut client = Connection::open(gateway.address).await?;
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
    let case = Case {
        name: "bodies of many small packets",
        clients: 100,
        bytes_max: HTTP,
        waiting_min: 0,
    };
    case.hold(|gateway, _| async move {
        let (mut client, session) = polling(gateway.address).await?;
        client.post(&session, b"40").await?;
        client.post(&session, &many("42[\"x\"]", MAX_PAYLOAD / 8)).await?;
        Ok(vec![client])
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_answers_that_nobody_polls_for() {
    let case = Case {
        name: "small answers that nobody polls for",
        clients: 50,
        bytes_max: HTTP + OUTBOX,
        waiting_min: 0,
    };
    case.hold(|gateway, _| async move {
        let (mut client, session) = polling(gateway.address).await?;
        client.post(&session, b"40").await?;
        let body = many("421[\"e\"]", 1_000);
        // Until it is cut, which shows in the answer.
        for _ in 0..100 {
            let answer = client.post(&session, &body).await;
            if answer.map_or(0, |answer| answer.0) != 200 {
                break;
            }
        }
        Ok(vec![client])
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_with_long_names() {
    let case = Case {
        name: "rooms with long names",
        clients: 40,
        bytes_max: IDLE + 2 * MAX_PAYLOAD + NAMESPACES * ROOMS * (ROOM + ROOM_NAME),
        waiting_min: 0,
    };
    case.hold(|gateway, number| async move {
        let mut client = Connection::client(gateway.address).await?;
        for namespace in 0..NAMESPACES - 1 {
            client.send(&format!("40/{namespace},")).await?;
            client.message().await?;
            let name = |room| format!("\"{:0>ROOM_NAME$}\"", format!("{number}-{room}"));
            let rooms: Vec<_> = (0..ROOMS).map(name).collect();
            let join = format!("42/{namespace},1[\"join\",[{}]]", rooms.join(","));
            client.send(&join).await?;
            let answer = client.message().await?;
            if !answer.starts_with(&format!("43/{namespace},1[{{\"ok\":true")) {
                return Err(io::Error::other(answer));
            }
        }
        Ok(vec![client])
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_at_once_on_polling() {
    // A full outbox, an answer that is not read and a body that is not complete, each on its own connection.
    let case = Case {
        name: "everything at once on polling",
        clients: 100,
        bytes_max: 3 * (IDLE + HEAD) + OUTBOX + OUTBOX + 2 * MAX_PAYLOAD,
        waiting_min: 3 * (MAX_PAYLOAD - 100),
    };
    case.hold(|gateway, _| async move {
        let (mut client, session) = polling(gateway.address).await?;
        client.post(&session, b"40").await?;
        let echo = format!("421[\"e\",\"{}\"]", "x".repeat(MAX_PAYLOAD - 100));
        let fill = async |client: &mut Connection| -> io::Result<()> {
            for _ in 0..3 {
                client.post(&session, echo.as_bytes()).await?;
            }
            Ok(())
        };
        fill(&mut client).await?;
        let mut deaf = Connection::open_with(gateway.address, Some(4096)).await?;
        let poll = format!("GET {session} HTTP/1.1\r\nHost: a\r\n\r\n");
        deaf.write(poll.as_bytes()).await?;
        deaf.stream.readable().await?; // the answer has taken what waited
        fill(&mut client).await?;
        let mut posting = Connection::open(gateway.address).await?;
        posting.write(post_head(&session, MAX_PAYLOAD).as_bytes()).await?;
        posting.write(&vec![b'4'; MAX_PAYLOAD - 1]).await?;
        Ok(vec![client, deaf, posting])
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_at_once_on_a_websocket() {
    // An outbox, attachments whose last is missing, and behind them a fragmented message and a frame that are not
    // complete.
    let case = Case {
        name: "everything at once on a WebSocket",
        clients: 30, // the system cuts connections that take nothing for 30 seconds
        bytes_max: IDLE + OUTBOX + MAX_PAYLOAD + 2 * MAX_PAYLOAD,
        waiting_min: OUTBOX / 2,
    };
    let one_by_one = Arc::new(Mutex::new(()));
    case.hold(move |gateway, _| {
        let one_by_one = Arc::clone(&one_by_one);
        async move {
            let mut client = Connection::open_with(gateway.address, Some(4096)).await?;
            client.enter().await?;
            fill_outbox(&gateway, &mut client, &one_by_one).await?;
            let header = "452-[\"e\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}]";
            client.send(header).await?;
            client.write(&frame(BINARY, &vec![7; MAX_PAYLOAD - 1_000])).await?;
            client.write(&frame(BINARY_START, &vec![7; MAX_PAYLOAD / 2])).await?;
            client.write(&promise(CONTINUATION, MAX_PAYLOAD / 2)).await?;
            client.write(&vec![7; MAX_PAYLOAD / 2 - 1]).await?;
            Ok(vec![client])
        }
    })
    .await;
}

/// Lets a client ask for answers that it does not read, until the buffers of the system are full and half of its outbox
/// is: metrics tell the sum of all outboxes, so clients do this one by one.
async fn fill_outbox(gateway: &Gateway, client: &mut Connection, one_by_one: &Mutex<()>) -> io::Result<()> {
    let _one = one_by_one.lock().await;
    let echo = frame(TEXT, format!("421[\"e\",\"{}\"]", "x".repeat(ECHO)).as_bytes());
    let figures = || {
        let [events, waiting] = gateway.metrics_of([
            "roomcast_packets_received_total{type=\"event\"}",
            "roomcast_outbox_bytes ",
        ]);
        (events as usize, waiting as usize)
    };
    let (taken, waiting) = figures();
    for sent in 1..10_000 {
        client.write(&echo).await?;
        if sent < SYSTEM_BYTES_MIN / ECHO {
            continue;
        }
        let is_taken = || Some(figures()).filter(|now| now.0 == taken + sent);
        let now = until(Duration::from_secs(30), is_taken, || {
            format!("{:?} after {sent}", figures())
        })
        .await;
        if now.1 > waiting + OUTBOX / 2 {
            return Ok(());
        }
    }
    panic!("nothing ever waits");
}

async fn polling(address: SocketAddr) -> io::Result<(Connection, String)> {
    let mut client = Connection::open(address).await?;
    let session = format!("{POLLING}&sid={}", client.open_polling().await?);
    Ok((client, session))
}

/// A body of so many equal packets.
fn many(packet: &str, count: usize) -> Vec<u8> {
    vec![packet; count].join("\u{1e}").into_bytes()
}
