//! What is counted of the way through Redis.

use prometheus::{Counter, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts};

use super::labels::{Publisher, Question, Questioned};
use super::{Registrar, counters};

/// Bounds of `relay_latency_seconds`: from Redis on the same machine to one that is about to be given up.
const LATENCY_BUCKETS: [f64; 10] = [0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.02, 0.1, 0.25, 1.0, 2.0];

/// The relay's numbers; all at 0 on a node that is alone.
#[derive(Debug)]
pub struct Relay {
    /// 1 while what we publish comes back.
    pub up: IntGauge,
    /// Time of a probe to ourselves.
    pub latency: Histogram,
    /// Messages that Redis took.
    pub published: IntCounter,
    received: Vec<IntCounter>,
    /// Messages of ours that failed or were not seen back, and what our subscriber dropped.
    pub lost: IntCounter,
    /// Times in which messages of others may have been missed.
    pub gaps: IntCounter,
    /// How long those were, in seconds.
    pub gap_seconds: Counter,
    /// Connections of the subscriber beyond the first.
    pub reconnects: IntCounter,
    /// Gateways that are there, this one included.
    pub nodes: IntGauge,
    requests: IntCounterVec,
}

impl Relay {
    pub(super) fn new(new: &Registrar<'_>) -> Result<Self, prometheus::Error> {
        let latency = HistogramOpts::new(
            "roomcast_relay_latency_seconds",
            "Time of a probe to ourselves through Redis",
        );
        let gap_seconds = Opts::new(
            "roomcast_relay_gap_seconds_total",
            "Time in which messages of others may have been missed",
        );
        let nodes = new.gauge("cluster_nodes", "Gateways that are there, this one included")?;
        nodes.set(1);
        let requests = new.counter_vec(
            "cluster_requests_total",
            "Questions to all other servers, by what was asked and how it ended",
            &["type", "result"],
        )?;
        for question in Question::LABELS {
            for result in Questioned::LABELS {
                requests.with_label_values(&[*question, *result]);
            }
        }
        Ok(Self {
            nodes,
            requests,
            up: new.gauge("relay_up", "1 while what this node publishes comes back from Redis")?,
            latency: new.register(Histogram::with_opts(latency.buckets(LATENCY_BUCKETS.to_vec()))?)?,
            published: new.counter("relay_published_total", "Messages that Redis took")?,
            received: counters(
                new.counter_vec("relay_received_total", "Messages from Redis, by publisher", &["from"])?,
                Publisher::LABELS,
            ),
            lost: new.counter(
                "relay_lost_total",
                "Messages that failed or were not seen back, and those that the subscriber dropped",
            )?,
            gaps: new.counter(
                "relay_gaps_total",
                "Times in which messages of others may have been missed",
            )?,
            gap_seconds: new.register(Counter::with_opts(gap_seconds)?)?,
            reconnects: new.counter("relay_reconnects_total", "Connections to Redis beyond the first")?,
        })
    }

    /// A question to all other servers ended.
    pub fn asked(&self, question: Question, result: Questioned) {
        let labels = [question.as_str(), result.as_str()];
        self.requests.with_label_values(&labels).inc();
    }

    /// A message came.
    pub fn received(&self, publisher: Publisher) {
        self.received[publisher as usize].inc();
    }
}
