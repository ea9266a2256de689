//! Whoever comes and goes, however rudely, leaves nothing behind.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::client::{
    BINARY, CLOSE, CONTINUATION, Connection, POLLING, TEXT, TEXT_START, WEBSOCKET, frame, post_head, promise,
    upgrade_head,
};
use crate::gateway::{Gateway, Holdings, report, until};
use crate::{alone, for_each, within_minutes};

/// Clients in all, and the rounds in which they come. What is forgotten for each shows in every round but the first; what
/// the allocator keeps of the most that was held at a time, which is more on a busy machine, grows in one or another.
const CLIENTS: u64 = 100_000;
const ROUNDS: u64 = 4;

/// Clients at a time.
const WIDTH: usize = 2_000;

/// What each client does follows from this and its number.
const SEED: u64 = 0x526f_6f6d;

/// What is forgotten for each client must be less than this, on average. What the allocator keeps for later would hide
/// some hundred bytes a client, for which there is `inside.rs`.
const BYTES_A_CLIENT_MAX: u64 = 64;

/// Time until everything is gone: a client that left while no poll was under way is waited for for ten seconds.
const QUIET: Duration = Duration::from_secs(60);

/// All timeouts are short, and little fits into an outbox.
pub(crate) const SETTINGS: &str = r#"
engine.ping_interval = "1s"
engine.ping_timeout = "1s"
engine.upgrade_timeout = "1s"
engine.connect_timeout = "5s"
engine.max_payload = "50kB"
limits.outbox = "100kB"
[[namespace]]
name = "/"
presence = true
[[namespace]]
name = "/other-*"
[[namespace.event]]
name = "echo"
action = "ack"
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_clients_leave_nothing_behind() {
    let _alone = alone().await;
    let gateway = Gateway::start(SETTINGS);
    // What is made once, for the first client of each kind, is no leak.
    churn(gateway.address, 0..2_000).await;
    let before = quiet(&gateway, None).await;
    let (mut resident, mut seconds) = (Vec::new(), Vec::new());
    let each = CLIENTS / ROUNDS;
    for round in 0..ROUNDS {
        let started = Instant::now();
        churn(gateway.address, round * each..(round + 1) * each).await;
        seconds.push(started.elapsed().as_secs_f64());
        quiet(&gateway, Some(before)).await;
        resident.push(gateway.resident_bytes());
    }
    let growths = resident.windows(2).map(|pair| pair[1].saturating_sub(pair[0]));
    let grown = growths.min().expect("rounds");
    let mut figures = vec![("clients", CLIENTS as f64), ("cpu_s", gateway.processor_seconds())];
    for (seconds, resident) in seconds.iter().zip(&resident) {
        figures.extend([("s", *seconds), ("MB", *resident as f64 / 1e6)]);
    }
    report("leaks", &figures);
    for reason in [
        "client_left",
        "transport_closed",
        "transport_error",
        "ping_timeout",
        "connect_timeout",
        "malformed",
        "too_slow",
        "too_large",
    ] {
        assert!(gateway.ended(reason) > 0.0, "no client ended as {reason}");
    }
    assert!(
        grown < each * BYTES_A_CLIENT_MAX,
        "{grown} bytes more in every round: {resident:?}"
    );
}

/// Waits until nothing is held but what was held `before`; where that is not given, until no client is left.
async fn quiet(gateway: &Gateway, before: Option<Holdings>) -> Holdings {
    let is_quiet = |now: &Holdings| match before {
        Some(before) => *now == before,
        None => (now.sessions, now.sockets, now.rooms, now.outbox_bytes) == (0, 0, 0, 0) && now.descriptors < 100,
    };
    let state = || format!("{:?}, before {before:?}", gateway.holdings());
    until(QUIET, || Some(gateway.holdings()).filter(is_quiet), state).await
}

pub(crate) async fn churn(address: SocketAddr, numbers: std::ops::Range<u64>) {
    let first = numbers.start;
    let failures = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&failures);
    let all = for_each(numbers.end - first, WIDTH, move |number| {
        let counted = Arc::clone(&counted);
        async move {
            match live(address, first + number).await {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut => panic!("client {}: {error}", first + number),
                Err(_) => {
                    counted.fetch_add(1, Ordering::Relaxed); // the gateway was faster
                }
            }
        }
    });
    within_minutes(5, all).await;
    let failures = failures.load(Ordering::Relaxed);
    assert!(
        failures < (numbers.end - first) / 20,
        "{failures} clients did not get to their end"
    );
}

/// One client, from its first byte to its end.
async fn live(address: SocketAddr, number: u64) -> io::Result<()> {
    let mut dice = StdRng::seed_from_u64(SEED ^ number);
    let mut client = Connection::open(address).await?;
    match dice.random_range(0..100) {
        0..15 => vanish_in_http(&mut client, &mut dice).await?,
        15..30 => vanish_while_polling(&mut client, &mut dice).await?,
        30..40 => vanish_in_an_upgrade(address, &mut client, &mut dice).await?,
        40..95 => on_a_websocket(&mut client, &mut dice).await?,
        95..98 => overflow_without_polls(&mut client).await?,
        _ => be_silent(&mut client, &mut dice).await?,
    }
    if dice.random() {
        client.reset();
    }
    Ok(())
}

/// Stops anywhere in a request.
async fn vanish_in_http(client: &mut Connection, dice: &mut StdRng) -> io::Result<()> {
    let request = match dice.random_range(0..3) {
        0 => format!(
            "GET {POLLING} HTTP/1.1\r\nHost: a\r\nX-Long: {}\r\n\r\n",
            "x".repeat(3_000)
        ),
        1 => upgrade_head(WEBSOCKET),
        _ => post_head(&format!("{POLLING}&sid=AAAAAAAAAAAAAAAAAAAA"), 100),
    };
    let end = dice.random_range(0..=request.len());
    client.write(&request.as_bytes()[..end]).await
}

async fn vanish_while_polling(client: &mut Connection, dice: &mut StdRng) -> io::Result<()> {
    let session = format!("{POLLING}&sid={}", client.open_polling().await?);
    let depth = dice.random_range(0..8);
    if depth == 0 {
        return Ok(()); // behind the handshake
    }
    client.post(&session, b"40").await?;
    client.get(&session).await?;
    if depth > 1 {
        let room = dice.random_range(0..200);
        let join = format!("420[\"join\",[\"room-{room}\",\"own-{}\"]]", dice.random::<u64>());
        client.post(&session, join.as_bytes()).await?;
    }
    match depth {
        2 => {
            let poll = format!("GET {session} HTTP/1.1\r\nHost: a\r\n\r\n"); // nothing will answer it
            client.write(poll.as_bytes()).await
        }
        3 => {
            let half = [&*post_head(&session, 40_000), &"4".repeat(20_000)].concat();
            client.write(half.as_bytes()).await
        }
        4 => client.post(&session, b"1").await.map(drop), // the client's own goodbye
        5 => {
            client.post(&session, b"42[\"x\",").await?;
            client.get(&session).await.map(drop) // the session waits half a minute for whoever does not come to hear this
        }
        6 => client
            .post(&session, b"451-[\"x\",{\"_placeholder\":true,\"num\":0}]")
            .await
            .map(drop),
        7 => client.post(&session, &[b'4'; 60_000]).await.map(drop),
        _ => Ok(()),
    }
}

async fn vanish_in_an_upgrade(address: SocketAddr, client: &mut Connection, dice: &mut StdRng) -> io::Result<()> {
    let sid = client.open_polling().await?;
    let mut probe = Connection::open(address).await?;
    let head = upgrade_head(&format!("{WEBSOCKET}&sid={sid}"));
    let depth = dice.random_range(0..5);
    if depth == 0 {
        probe.write(&head.as_bytes()[..head.len() / 2]).await?;
    } else {
        probe.upgrade(&format!("{WEBSOCKET}&sid={sid}")).await?;
    }
    if depth > 1 {
        probe.send("2probe").await?;
    }
    if depth > 2 {
        probe.message().await?; // 3probe
    }
    if depth > 3 {
        probe.send("5").await?;
        probe.send("40").await?;
    }
    if dice.random() {
        probe.reset();
    }
    Ok(())
}

async fn on_a_websocket(client: &mut Connection, dice: &mut StdRng) -> io::Result<()> {
    let protocol = if dice.random_range(0..4) == 0 { 3 } else { 4 };
    client
        .upgrade(&format!("/socket.io/?EIO={protocol}&transport=websocket"))
        .await?;
    let depth = dice.random_range(0..13);
    if depth == 0 {
        return Ok(()); // without having read anything
    }
    client.message().await?;
    if protocol == 4 {
        client.send("40").await?;
    }
    if depth == 1 {
        return Ok(());
    }
    client.message().await?;
    let room = dice.random_range(0..200);
    let join = format!("[\"join\",[\"room-{room}\",\"own-{}\"]]", dice.random::<u64>());
    client.does(&join).await?;
    let bytes = match depth {
        2 => promise(TEXT, 40_000),
        3 => [promise(BINARY, 40_000), vec![4; dice.random_range(0..40_000)]].concat(),
        4 => [frame(TEXT_START, b"42"), frame(CONTINUATION, &[b'x'; 3_000])].concat(),
        5 => frame(
            TEXT,
            b"452-[\"x\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}]",
        ),
        6 => frame(CLOSE, &1_000_u16.to_be_bytes()),
        7 => frame(TEXT, b"41"),
        8 => frame(TEXT, b"1"),
        9 => frame(TEXT, b"nonsense"),
        10 => promise(TEXT, 60_000), // more than it may
        11 => frame(TEXT, format!("40/other-{},", dice.random_range(0..50)).as_bytes()),
        _ => frame(
            TEXT,
            format!("42[\"publish\",\"room-{room}\",\"x\",\"{}\"]", "x".repeat(2_000)).as_bytes(),
        ),
    };
    client.write(&bytes).await
}

/// Lets more wait than may wait.
async fn overflow_without_polls(client: &mut Connection) -> io::Result<()> {
    let session = format!("{POLLING}&sid={}", client.open_polling().await?);
    client.post(&session, b"40/other-0,").await?;
    let event = format!("42/other-0,1[\"echo\",\"{}\"]", "x".repeat(40_000));
    for _ in 0..3 {
        client.post(&session, event.as_bytes()).await?;
    }
    Ok(())
}

/// Says nothing until the gateway has enough of it.
async fn be_silent(client: &mut Connection, dice: &mut StdRng) -> io::Result<()> {
    client.upgrade(WEBSOCKET).await?;
    if dice.random() {
        client.send("40").await?;
        while client.frame().await.is_ok() {} // reads pings, but answers none
    } else {
        client.idle().await; // answers pings, but enters no namespace
    }
    Ok(())
}
