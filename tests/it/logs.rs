//! Logs: one line an event, whatever clients are called and call things.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::json;

use crate::client::http::{Request, request};
use crate::client::payload::texts;
use crate::client::socket::{Client, EVERY_CLIENT};
use crate::gateway::TestGateway;
use crate::observed::Observed;
use crate::process::Process;

/// JSON in which no object has a key twice.
struct Strict;

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Walk;
        impl<'de> Visitor<'de> for Walk {
            type Value = Strict;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("JSON")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Strict, A::Error> {
                let mut keys = HashSet::new();
                while let Some(key) = map.next_key::<String>()? {
                    map.next_value::<Strict>()?;
                    if let Some(twice) = keys.replace(key) {
                        return Err(A::Error::custom(format!("the key {twice} is there twice")));
                    }
                }
                Ok(Strict)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Strict, A::Error> {
                while list.next_element::<Strict>()?.is_some() {}
                Ok(Strict)
            }

            fn visit_str<E>(self, _: &str) -> Result<Strict, E> {
                Ok(Strict)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Strict, E> {
                Ok(Strict)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Strict, E> {
                Ok(Strict)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Strict, E> {
                Ok(Strict)
            }

            fn visit_bool<E>(self, _: bool) -> Result<Strict, E> {
                Ok(Strict)
            }

            fn visit_unit<E>(self) -> Result<Strict, E> {
                Ok(Strict)
            }
        }
        deserializer.deserialize_any(Walk)
    }
}

const SETTINGS: &str = "[[namespace]]\nname = \"/*\"\njoin = [\"good\"]\n";

/// Text that would be lines and colours of its own, if it were written as it is.
const EVIL: &str = "evil\r\n2026-01-01T00:00:00Z ERROR forged\u{1b}[31m\u{1b}]0;title\u{7}\u{9b}31m\u{85}\u{2028}\u{0}";

/// A part of it that JSON does not have to escape.
const EVIL_END: &str = "\u{9b}31m\u{85}\u{2028}";

/// Longer than any name that is worth reading.
fn long() -> String {
    "long".repeat(20_000)
}

/// Clients that call everything they can by names like these.
async fn misbehave(gateway: &crate::gateway::TestGateway) {
    let long = long();
    for (transport, eio) in EVERY_CLIENT {
        let mut client = Client::join(gateway, transport, eio).await;
        for name in [EVIL, &long, &"é".repeat(1_000)] {
            for event in [
                json!([name]),
                json!(["join", name]),
                json!(["join", format!("{}{EVIL}", "x".repeat(10))]),
                json!(["publish", "good", name]),
                json!(["members", name]),
            ] {
                assert_eq!(client.call(event).await["ok"], false);
            }
        }
        let raw = EVIL.replace(['\r', '\n', '\0'], "");
        client.send_fatal(&texts(&[&format!("40/{raw},")])).await;
        client
            .send_fatal(&texts(&[&format!("42/not-entered{EVIL},[\"x\"]")]))
            .await;
        let mut client = Client::join(gateway, transport, eio).await;
        client.send_fatal(&texts(&[&format!("42{EVIL}")])).await;
        let mut client = Client::join(gateway, transport, eio).await;
        client.send_fatal(&texts(&[&format!("4{long}")])).await;
    }
    for header in ["Origin", "Host", "User-Agent", "X-Forwarded-For"] {
        for value in ["evil\u{9b}31m\u{85}", "evil\tforged", "é"] {
            let handshake = Request::get("/socket.io/?EIO=4&transport=polling").header(header, value);
            request(gateway.address, &handshake).await;
        }
    }
}

/// Asserts that nothing in the log moves a cursor or begins a line, and that no line is long.
fn is_harmless(log: &str) {
    let is_evil = |it: &char| match it {
        '\t' => false,
        '\u{2028}' | '\u{2029}' => true,
        it => it.is_control(),
    };
    for line in log.split('\n') {
        let control = line.chars().find(is_evil);
        assert_eq!(control, None, "{line:?}");
        assert!(line.len() < 2_000, "{} bytes: {line}", line.len());
    }
    assert!(log.contains("evil"), "the names are in it:\n{log}");
}

#[tokio::test]
async fn a_line_of_json_is_one_object_and_no_key_is_there_twice() {
    let (process, gateway) = Observed::start("logs-json", SETTINGS, "json").await;
    misbehave(&gateway).await;
    gateway.reaches("roomcast_sockets{namespace=\"/*\"}", 0.0).await;
    let log = process.end();
    for line in log.lines() {
        serde_json::from_str::<Strict>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        for key in ["timestamp", "level", "message", "target"] {
            assert!(line[key].is_string(), "no {key} in {line}");
        }
        assert_ne!(line["level"], "ERROR", "{line}");
    }
    is_harmless(&log);
    let said =
        |line: &str| serde_json::from_str::<serde_json::Value>(line).is_ok_and(|it| it.to_string().contains(EVIL_END));
    assert!(log.lines().any(said), "what was escaped reads as it was said:\n{log}");
}

#[tokio::test]
async fn a_line_of_text_is_one_event() {
    let (process, gateway) = Observed::start("logs-text", SETTINGS, "text").await;
    misbehave(&gateway).await;
    gateway.reaches("roomcast_sockets{namespace=\"/*\"}", 0.0).await;
    let log = process.end();
    is_harmless(&log);
    for line in log.lines() {
        let time = line.split(' ').next().unwrap_or_default();
        assert!(humantime::parse_rfc3339(time).is_ok(), "{line}");
        assert!(!line.starts_with("2026-01-01T00:00:00Z"), "{line}");
    }
}

#[tokio::test]
async fn a_log_that_nobody_reads_holds_up_nobody() {
    let process = Process::start("", &[("ROOMCAST_LOG__LEVEL", "trace")]).await;
    let gateway = TestGateway::elsewhere(process.address, process.admin);
    let mut client = Client::new(&gateway).await;
    // Each is some lines; a pipe takes 64 KiB, and what waits inside is bounded.
    for number in 0..20_000 {
        client.send(&format!(r#"42["leave","{number}"]"#)).await;
    }
    client.does(json!(["join", "r"])).await;
    drop(process);
}
