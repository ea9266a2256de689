//! What came of a run, for people: a few lines with their figures in columns.

use std::fmt::Write as _;

use super::quantiles::{Quantiles, Readable};
use super::report::{Counts, Report};

/// Share of a core from which on the generator itself may be what is slow.
const BUSY: f64 = 0.9;

/// Width of the names of lines.
const NAME_WIDTH: usize = 13;

/// A whole number with its thousands apart: `1,234,567`.
pub(super) fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 client`, `2,000 clients`.
fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(number as f64))
}

/// Bytes as people read them.
fn bytes(bytes: f64) -> String {
    match bytes {
        bytes if bytes.abs() < 10e3 => format!("{} bytes", grouped(bytes)),
        bytes if bytes.abs() < 1e6 => format!("{:.1} kB", bytes / 1e3),
        bytes if bytes.abs() < 1e9 => format!("{:.1} MB", bytes / 1e6),
        bytes => format!("{:.2} GB", bytes / 1e9),
    }
}

impl Report {
    /// A few lines for people.
    pub fn summary(&self) -> String {
        let mut text = self.head();
        self.connections(&mut text);
        self.figures(&mut text);
        self.processes(&mut text);
        text
    }

    fn head(&self) -> String {
        let (transport, eio, parser) = (&self.transport, self.eio, &self.parser);
        let mut text = format!("{}\n", self.urls.join(", "));
        line(
            &mut text,
            self.case,
            &format!("{transport}, Engine.IO {eio}, {parser}{}", self.what()),
        );
        text.push('\n');
        text
    }

    /// What was done, in words.
    fn what(&self) -> String {
        let mut words = String::new();
        let mut add = |text: String| words.extend([", ", &text]);
        match (self.case, self.clients) {
            ("fanout", Some(clients)) => {
                add(count(clients, "subscriber"));
                add(count(self.rooms.unwrap_or_default(), "room"));
                add(count(self.publishers.unwrap_or_default(), "publisher"));
            }
            (_, Some(clients)) => add(count(clients, "client")),
            (_, None) => {}
        }
        if let Some(window) = self.window {
            add(format!("{} under way each", grouped(window as f64)));
        }
        if let Some(rate) = self.rate {
            add(format!("{} a second", grouped(rate)));
        }
        if let Some(payload) = self.payload_bytes {
            add(count(payload, "byte"));
        }
        words
    }

    fn connections(&self, text: &mut String) {
        let (connected, rate) = (grouped(self.connected as f64), grouped(self.connects_per_second));
        line(
            text,
            "connected",
            &format!("{connected} in {:.2} s, {rate} a second", self.connect_seconds),
        );
        if let Some(times) = &self.connect_latency_us {
            line(text, "", &quantiles(times));
        }
        for (name, reasons) in [("failed", &self.failed), ("closed", &self.closed)] {
            reasons_lines(text, name, reasons);
        }
        if let (Some(joins), Some(seconds)) = (self.joins, self.join_seconds) {
            line(
                text,
                "joined",
                &format!("{} in {seconds:.2} s", count(joins as usize, "room membership")),
            );
        }
    }

    fn figures(&self, text: &mut String) {
        let seconds = format!("measured for {:.1} s", self.seconds);
        if let Some(rate) = self.round_trips_per_second {
            line(text, "round trips", &format!("{} a second, {seconds}", grouped(rate)));
        }
        if let Some(rate) = self.deliveries_per_second {
            let publishes = grouped(self.publishes_per_second.unwrap_or_default());
            let figures = format!(
                "{} a second, of {publishes} publishes a second, {seconds}",
                grouped(rate)
            );
            line(text, "deliveries", &figures);
        }
        if let Some(times) = &self.latency_us {
            line(text, "latency", &quantiles(times));
        }
        if let Some(times) = &self.publish_ack_us {
            line(text, "publish ack", &quantiles(times));
        }
        if let Some(books) = &self.books {
            let mut figures = format!(
                "{} of {} arrived, {} lost, {} out of order",
                grouped(books.received as f64),
                grouped(books.expected as f64),
                grouped(books.lost as f64),
                grouped(books.out_of_order as f64)
            );
            if books.stalled_messages > 0 {
                let _ = write!(
                    figures,
                    ", {} written off",
                    count(books.stalled_messages as usize, "message")
                );
            }
            line(text, "in all", &figures);
        }
        if let Some(closed) = self.stalled_closed {
            line(
                text,
                "never read",
                &format!("{} cut by the server", grouped(closed as f64)),
            );
        }
    }

    fn processes(&self, text: &mut String) {
        if let Some(server) = &self.server {
            let mut figures = format!("{:.2} cores", server.busy);
            if let Some(cpu) = server.cpu_seconds_per_million {
                let what = if self.case == "echo" {
                    "round trips"
                } else {
                    "deliveries"
                };
                let _ = write!(figures, ", {cpu:.2} processor seconds per million {what}");
            }
            if let Some(cpu) = server.cpu_seconds_per_thousand {
                let _ = write!(figures, ", {cpu:.3} processor seconds per thousand connections");
            }
            line(text, "server", &figures);
            let (before, now) = (server.resident_bytes_before as f64, server.resident_bytes as f64);
            let mut figures = format!("{} resident, {} before", bytes(now), bytes(before));
            if let Some(each) = server.bytes_per_client {
                let _ = write!(figures, ", {} a client", bytes(each));
            }
            if let Some(each) = server.bytes_per_client_after_hold {
                let _ = write!(figures, " ({} after holding)", bytes(each));
            }
            line(text, "", &figures);
        }
        let busy = self.bench.busy;
        let resident = bytes(self.bench.resident_bytes as f64);
        line(
            text,
            "this program",
            &format!("{busy:.2} of a core, {resident} resident"),
        );
        if busy > BUSY {
            line(
                text,
                "",
                "It was busy itself: the server may be faster than this shows. Run several at once.",
            );
        }
    }
}

fn line(text: &mut String, name: &str, figures: &str) {
    let _ = writeln!(text, "{name:NAME_WIDTH$}{figures}"); // a String takes everything
}

/// A line for each reason, the most frequent first.
fn reasons_lines(text: &mut String, name: &str, reasons: &Counts) {
    let mut reasons: Vec<_> = reasons.iter().collect();
    reasons.sort_by_key(|(reason, count)| (std::cmp::Reverse(**count), *reason));
    for (index, (reason, count)) in reasons.into_iter().enumerate() {
        let name = if index == 0 { name } else { "" };
        line(text, name, &format!("{} {reason}", grouped(*count as f64)));
    }
}

fn quantiles(times: &Quantiles) -> String {
    let all = [
        ("p50", times.p50),
        ("p90", times.p90),
        ("p99", times.p99),
        ("p99.9", times.p999),
        ("max", times.max),
    ];
    let columns = all.map(|(name, value)| format!("{name} {:<9}", Readable(value as f64).to_string()));
    columns.join("").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::report::{Server, Totals};
    use super::*;

    #[test]
    fn thousands_are_kept_apart() {
        for (number, expected) in [
            (0.0, "0"),
            (999.4, "999"),
            (1000.0, "1,000"),
            (1_234_567.0, "1,234,567"),
        ] {
            assert_eq!(grouped(number), expected);
        }
        assert_eq!(count(1, "room"), "1 room");
        for (number, expected) in [(2931.0, "2,931 bytes"), (15_465.0, "15.5 kB"), (12.3e6, "12.3 MB")] {
            assert_eq!(bytes(number), expected);
        }
    }

    #[test]
    fn a_summary_says_what_there_is() {
        let report = Report {
            case: "fanout",
            urls: vec!["http://a".into()],
            transport: "websocket".into(),
            eio: 4,
            parser: "json".into(),
            clients: Some(1000),
            rooms: Some(1),
            publishers: Some(2),
            window: Some(4),
            payload_bytes: Some(64),
            connected: 998,
            failed: [("no free port".to_owned(), 2), ("connection refused".to_owned(), 1)].into(),
            deliveries_per_second: Some(592_460.4),
            books: Some(Totals {
                expected: 5_000_000,
                received: 4_999_999,
                lost: 1,
                out_of_order: 0,
                stalled_messages: 1,
            }),
            server: Some(Server {
                busy: 0.98,
                cpu_seconds_per_million: Some(1.661),
                ..Server::default()
            }),
            ..Report::default()
        };
        let summary = report.summary();
        for expected in [
            "fanout       websocket, Engine.IO 4, json, 1,000 subscribers, 1 room, 2 publishers, 4 under way each, 64 bytes\n",
            "failed       2 no free port\n             1 connection refused\n",
            "deliveries   592,460 a second",
            "in all       4,999,999 of 5,000,000 arrived, 1 lost, 0 out of order, 1 message written off\n",
            "server       0.98 cores, 1.66 processor seconds per million deliveries\n",
        ] {
            assert!(summary.contains(expected), "{expected} in\n{summary}");
        }
        assert!(!summary.contains("latency"), "{summary}");
    }
}
