//! Every number that we count, in one struct.
//!
//! The only place that knows the metrics crate. All series of a closed set are there from the start, at 0; no label is
//! ever made from what a client sends. Nothing is global: a process may run several gateways.

mod api;
mod labels;
mod relay;
mod webhooks;

use std::time::Duration;

use prometheus::core::{Atomic, GenericCounter, GenericGauge};
use prometheus::{
    Encoder as _, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

pub use api::{Api, ApiRoute};
pub use labels::{
    Action, Forwarded, Handshake, Limit, Origin, Publisher, Question, Questioned, Refusal, Transport, Upgrade, Webhook,
    WebhookFailure,
};
pub use relay::Relay;
pub use webhooks::Webhooks;

use crate::protocol::{PacketType, Version};
use crate::reason::Reason;

/// Bounds of `event_duration_seconds`: from a rule that only reads memory to one that waits for a full queue.
const EVENT_BUCKETS: [f64; 10] = [0.000_005, 0.000_02, 0.000_1, 0.000_5, 0.002, 0.01, 0.05, 0.25, 1.0, 5.0];

/// Labels of a handshake whose transport or protocol is none that we know.
const UNKNOWN: &str = "unknown";

/// What left in one go; counted at its end, not packet by packet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Bytes that sockets took or poll answers hold.
    pub bytes: u64,
    /// Packets by type.
    pub packets: [u64; PacketType::COUNT],
    /// Volatile packets that a client could not take.
    pub dropped: u64,
}

/// Numbers that are read off the parts when somebody asks, not counted along the way.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Rooms with members, private ones left out.
    pub rooms: usize,
    /// Bytes that wait in all outboxes.
    pub outbox_bytes: usize,
}

/// The node's metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    connections: IntGaugeVec,
    handshakes: IntCounterVec,
    sockets: Vec<IntGauge>,
    rooms: IntGauge,
    disconnects: Vec<IntCounter>,
    upgrades: Vec<IntCounter>,
    packets_received: Vec<IntCounter>,
    packets_sent: Vec<IntCounter>,
    /// Bytes read from clients, past HTTP and TLS.
    pub bytes_received: IntCounter,
    bytes_sent: IntCounter,
    broadcasts: Vec<IntCounter>,
    /// Packets handed to members by broadcasts.
    pub deliveries: IntCounter,
    dropped: Vec<IntCounter>,
    rate_limited: Vec<IntCounter>,
    outbox_bytes: IntGauge,
    forwarded: Vec<IntCounter>,
    /// WebSockets that go through this node to sessions of others.
    pub forwarded_connections: IntGauge,
    event_duration: Vec<Histogram>,
    /// 1 while draining.
    pub draining: IntGauge,
    /// The way through Redis.
    pub relay: Relay,
    /// Calls to the application.
    pub webhooks: Webhooks,
    /// The HTTP API.
    pub api: Api,
}

impl Metrics {
    /// All series at 0. `namespaces` are the configured names and patterns, in their order.
    ///
    /// # Errors
    /// When two series have one name, which is a bug.
    pub fn new(namespaces: &[&str]) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        let new = Registrar(&registry);
        new.build_info()?;
        let (connections, handshakes) = new.connections_and_handshakes()?;
        let kinds: Vec<_> = PacketType::ALL.iter().map(|kind| kind.as_str()).collect();
        let reasons: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        let metrics = Self {
            connections,
            handshakes,
            sockets: gauges(
                new.gauge_vec("sockets", "Sockets, by configured namespace", &["namespace"])?,
                namespaces,
            ),
            rooms: new.gauge("rooms", "Rooms with members, without private ones")?,
            disconnects: counters(
                new.counter_vec("disconnects_total", "Sessions that ended", &["reason"])?,
                &reasons,
            ),
            upgrades: counters(
                new.counter_vec("upgrades_total", "Upgrades to WebSocket", &["result"])?,
                Upgrade::LABELS,
            ),
            packets_received: counters(
                new.counter_vec("packets_received_total", "Packets from clients", &["type"])?,
                &kinds,
            ),
            packets_sent: counters(
                new.counter_vec("packets_sent_total", "Packets to clients", &["type"])?,
                &kinds,
            ),
            bytes_received: new.counter("bytes_received_total", "Bytes from clients, past HTTP and TLS")?,
            bytes_sent: new.counter("bytes_sent_total", "Bytes to clients, past HTTP and TLS")?,
            broadcasts: counters(
                new.counter_vec("broadcasts_total", "Broadcasts, by origin", &["origin"])?,
                Origin::LABELS,
            ),
            deliveries: new.counter("deliveries_total", "Packets handed to members by broadcasts")?,
            dropped: counters(
                new.counter_vec("dropped_total", "Events not done, by reason", &["reason"])?,
                Refusal::LABELS,
            ),
            rate_limited: counters(
                new.counter_vec("rate_limited_total", "Times that a limit was met", &["limit"])?,
                Limit::LABELS,
            ),
            outbox_bytes: new.gauge("outbox_bytes", "Bytes that wait for clients")?,
            forwarded: counters(
                new.counter_vec(
                    "forwarded_requests_total",
                    "Requests for sessions of other nodes, by what came of them",
                    &["result"],
                )?,
                Forwarded::LABELS,
            ),
            forwarded_connections: new.gauge(
                "forwarded_connections",
                "WebSockets that go through this node to sessions of others",
            )?,
            event_duration: new.event_duration()?,
            draining: new.gauge("draining", "1 while the node drains")?,
            relay: Relay::new(&new)?,
            webhooks: Webhooks::new(&new)?,
            api: Api::new(&new)?,
            registry,
        };
        Ok(metrics)
    }

    /// A handshake ended; `None` where the transport or protocol is none that we know.
    pub fn handshake(&self, transport: Option<Transport>, version: Option<Version>, result: Handshake) {
        let labels = [
            transport.map_or(UNKNOWN, Transport::as_str),
            version.map_or(UNKNOWN, Version::as_str),
            result.as_str(),
        ];
        self.handshakes.with_label_values(&labels).inc();
    }

    /// The number of open sessions of this kind.
    pub fn connections(&self, transport: Transport, version: Version) -> IntGauge {
        self.connections
            .with_label_values(&[transport.as_str(), version.as_str()])
    }

    /// The number of open sessions of all kinds.
    pub fn all_connections(&self) -> u64 {
        let kinds = [Transport::Polling, Transport::WebSocket].into_iter();
        let kinds = kinds.flat_map(|transport| [Version::V3, Version::V4].map(|version| (transport, version)));
        let open = kinds.map(|(transport, version)| self.connections(transport, version).get());
        open.sum::<i64>().try_into().unwrap_or(0)
    }

    /// The number of sockets of the configured namespace at `index`.
    pub fn sockets(&self, index: usize) -> &IntGauge {
        &self.sockets[index]
    }

    /// A session ended.
    pub fn disconnected(&self, reason: Reason) {
        self.disconnects[reason as usize].inc();
    }

    /// An upgrade ended.
    pub fn upgraded(&self, result: Upgrade) {
        self.upgrades[result as usize].inc();
    }

    /// A packet came from a client.
    pub fn received(&self, kind: PacketType) {
        self.packets_received[kind as usize].inc();
    }

    /// Packets went to clients.
    pub fn sent(&self, tally: &Tally) {
        self.bytes_sent.inc_by(tally.bytes);
        if tally.dropped > 0 {
            self.dropped[Refusal::Volatile as usize].inc_by(tally.dropped);
        }
        for (counter, count) in self.packets_sent.iter().zip(tally.packets) {
            if count > 0 {
                counter.inc_by(count);
            }
        }
    }

    /// A broadcast was accepted.
    pub fn broadcast(&self, origin: Origin) {
        self.broadcasts[origin as usize].inc();
    }

    /// An event was not done.
    pub fn refused(&self, refusal: Refusal) {
        self.dropped[refusal as usize].inc();
    }

    /// A request for a session of another node was passed on, or could not be.
    pub fn forwarded(&self, result: Forwarded) {
        self.forwarded[result as usize].inc();
    }

    /// A limit was met.
    pub fn limited(&self, limit: Limit) {
        self.rate_limited[limit as usize].inc();
    }

    /// An event was done, or refused, after this time.
    pub fn event(&self, action: Action, duration: Duration) {
        self.event_duration[action as usize].observe(duration.as_secs_f64());
    }

    /// Everything in Prometheus' text format.
    ///
    /// # Errors
    /// When a series cannot be written, which is a bug.
    pub fn render(&self, snapshot: &Snapshot) -> Result<Vec<u8>, prometheus::Error> {
        self.rooms.set(as_gauge(snapshot.rooms));
        self.outbox_bytes.set(as_gauge(snapshot.outbox_bytes));
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

impl Tally {
    /// One more packet.
    pub fn count(&mut self, kind: PacketType) {
        self.packets[kind as usize] += 1;
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0 && self.dropped == 0
    }
}

fn as_gauge(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Makes series and registers them under our prefix.
struct Registrar<'a>(&'a Registry);

impl Registrar<'_> {
    fn opts(name: &str, help: &str) -> Opts {
        Opts::new(format!("roomcast_{name}"), help)
    }

    fn connections_and_handshakes(&self) -> Result<(IntGaugeVec, IntCounterVec), prometheus::Error> {
        let connections = self.gauge_vec("connections", "Open sessions", &["transport", "protocol"])?;
        let handshakes = self.counter_vec(
            "handshakes_total",
            "Handshakes, by how they ended",
            &["transport", "protocol", "result"],
        )?;
        for transport in Transport::LABELS.iter().chain(&[UNKNOWN]) {
            for protocol in ["3", "4", UNKNOWN] {
                for result in Handshake::LABELS {
                    handshakes.with_label_values(&[transport, &protocol, result]);
                }
                if protocol != UNKNOWN && *transport != UNKNOWN {
                    connections.with_label_values(&[transport, &protocol]);
                }
            }
        }
        Ok((connections, handshakes))
    }

    fn build_info(&self) -> Result<(), prometheus::Error> {
        let info = self.gauge_vec("build_info", "The version that runs", &["version"])?;
        info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Ok(())
    }

    fn event_duration(&self) -> Result<Vec<Histogram>, prometheus::Error> {
        let opts = HistogramOpts::new(
            "roomcast_event_duration_seconds",
            "Time from an event's arrival to its answer, by action",
        );
        let family = self.register(HistogramVec::new(opts.buckets(EVENT_BUCKETS.to_vec()), &["action"])?)?;
        Ok(Action::LABELS
            .iter()
            .map(|action| family.with_label_values(&[action]))
            .collect())
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.register(GenericCounter::with_opts(Self::opts(name, help))?)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.register(GenericGauge::with_opts(Self::opts(name, help))?)
    }

    fn counter_vec(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
        self.register(IntCounterVec::new(Self::opts(name, help), labels)?)
    }

    fn gauge_vec(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
        self.register(IntGaugeVec::new(Self::opts(name, help), labels)?)
    }

    fn register<C: prometheus::core::Collector + Clone + 'static>(&self, collector: C) -> Result<C, prometheus::Error> {
        self.0.register(Box::new(collector.clone()))?;
        Ok(collector)
    }
}

fn counters<P: Atomic>(family: prometheus::core::GenericCounterVec<P>, labels: &[&str]) -> Vec<GenericCounter<P>> {
    labels.iter().map(|label| family.with_label_values(&[label])).collect()
}

fn gauges<P: Atomic>(family: prometheus::core::GenericGaugeVec<P>, labels: &[&str]) -> Vec<GenericGauge<P>> {
    labels.iter().map(|label| family.with_label_values(&[label])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_is_there_from_the_start() {
        let metrics = Metrics::new(&["/", "/org-*"]).unwrap();
        let text = String::from_utf8(metrics.render(&Snapshot::default()).unwrap()).unwrap();
        for reason in Reason::ALL {
            assert!(
                text.contains(&format!("roomcast_disconnects_total{{reason=\"{reason}\"}} 0")),
                "{reason}"
            );
        }
        for line in [
            "roomcast_sockets{namespace=\"/org-*\"} 0",
            "roomcast_connections{protocol=\"3\",transport=\"polling\"} 0",
            "roomcast_handshakes_total{protocol=\"unknown\",result=\"bad_request\",transport=\"unknown\"} 0",
            "roomcast_packets_sent_total{type=\"connect_error\"} 0",
            "roomcast_event_duration_seconds_count{action=\"publish\"} 0",
            "roomcast_broadcasts_total{origin=\"client\"} 0",
            "roomcast_webhook_duration_seconds_count{type=\"room.occupied\"} 0",
            "roomcast_webhook_failures_total{reason=\"circuit_open\",type=\"node.lost\"} 0",
            "process_open_fds",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }

    #[test]
    fn numbers_of_enums_are_their_places_in_the_families() {
        for (index, route) in ApiRoute::ALL.iter().enumerate() {
            assert_eq!(*route as usize, index);
        }
        for (index, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
        for (index, kind) in PacketType::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, index);
        }
    }
}
