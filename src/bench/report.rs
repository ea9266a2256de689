//! What came of a run, as one line of JSON. A field that does not apply is absent.

use std::collections::BTreeMap;

use serde::Serialize;

use super::quantiles::Quantiles;

/// How often each thing happened, by its name.
pub(super) type Counts = BTreeMap<String, u64>;

/// What came of a run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    pub(super) case: &'static str,
    pub(super) version: &'static str,
    pub(super) urls: Vec<String>,
    pub(super) transport: String,
    pub(super) eio: u8,
    pub(super) parser: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) clients: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rooms: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) publishers: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) window: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) payload_bytes: Option<usize>,
    /// Measured time.
    pub(super) seconds: f64,
    pub(super) connected: u64,
    pub(super) connect_seconds: f64,
    pub(super) connects_per_second: f64,
    /// Connections that were not made, by reason.
    pub(super) failed: Counts,
    /// Connections that ended before the run did, by reason.
    pub(super) closed: Counts,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) connect_latency_us: Option<Quantiles>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) joins: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) join_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) round_trips_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) deliveries_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) publishes_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) publish_ack_us: Option<Quantiles>,
    #[serde(flatten)]
    pub(super) books: Option<Totals>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) latency_us: Option<Quantiles>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stalled_closed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) server: Option<Server>,
    pub(super) bench: Bench,
}

/// What came and what did not, in the whole run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Totals {
    pub(super) expected: u64,
    pub(super) received: u64,
    pub(super) lost: u64,
    pub(super) out_of_order: u64,
    pub(super) stalled_messages: u64,
}

/// What the server's processes used.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Server {
    pub(super) cpu_seconds: f64,
    pub(super) cpu_seconds_by_pid: BTreeMap<u32, f64>,
    /// Cores.
    pub(super) busy: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cpu_seconds_per_million: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cpu_seconds_per_thousand: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) join_cpu_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) connect_cpu_seconds: Option<f64>,
    pub(super) resident_bytes_before: u64,
    pub(super) resident_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bytes_per_client: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bytes_per_client_after_hold: Option<f64>,
}

/// What this process used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Bench {
    /// Share of one core.
    pub(super) busy: f64,
    pub(super) resident_bytes: u64,
}

impl Report {
    /// One line of JSON, without its end.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("maps with texts and numbers as keys are JSON")
    }
}

/// A figure without more digits than it deserves.
pub(super) fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    if value.is_finite() {
        (value * scale).round() / scale
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_apply_is_absent() {
        let json = Report::default().to_json();
        assert!(!json.contains("null") && !json.contains("expected"), "{json}");
        let report = Report {
            books: Some(Totals::default()),
            server: Some(Server {
                cpu_seconds_by_pid: [(7, 0.5)].into(),
                ..Server::default()
            }),
            ..Report::default()
        };
        let json = report.to_json();
        assert!(
            json.contains(r#""stalled_messages":0"#) && json.contains(r#"{"7":0.5}"#),
            "{json}"
        );
    }

    #[test]
    fn figures_are_rounded_and_finite() {
        assert_eq!(rounded(1.23456, 3), 1.235);
        assert_eq!(rounded(f64::INFINITY, 3), 0.0);
    }
}
