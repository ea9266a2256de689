//! What is counted of the calls to the application.

use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter};

use super::Registrar;
use super::labels::{Webhook, WebhookFailure};

/// Bounds of `webhook_duration_seconds`: from a backend on the same machine to one that is about to be given up.
const BUCKETS: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 5.0];

/// The numbers of webhooks; all at 0 where there are none.
#[derive(Debug)]
pub struct Webhooks {
    durations: Vec<Histogram>,
    /// By type, then by reason.
    failures: Vec<Vec<IntCounter>>,
}

impl Webhooks {
    pub(super) fn new(new: &Registrar<'_>) -> Result<Self, prometheus::Error> {
        let opts = HistogramOpts::new(
            "roomcast_webhook_duration_seconds",
            "Time of a call to the webhook, by type",
        );
        let durations = new.register(HistogramVec::new(opts.buckets(BUCKETS.to_vec()), &["type"])?)?;
        let failures = new.counter_vec(
            "webhook_failures_total",
            "Calls to the webhook that came to nothing, each try counted, and what else of them was lost",
            &["type", "reason"],
        )?;
        let failures = |kind: &&str| {
            let reasons = WebhookFailure::LABELS.iter();
            reasons
                .map(|reason| failures.with_label_values(&[*kind, *reason]))
                .collect()
        };
        Ok(Self {
            durations: Webhook::LABELS
                .iter()
                .map(|kind| durations.with_label_values(&[kind]))
                .collect(),
            failures: Webhook::LABELS.iter().map(failures).collect(),
        })
    }

    /// A call ended after this time, whatever came of it.
    pub fn called(&self, kind: Webhook, duration: std::time::Duration) {
        self.durations[kind as usize].observe(duration.as_secs_f64());
    }

    /// A call failed, or something of it was lost.
    pub fn failed(&self, kind: Webhook, reason: WebhookFailure) {
        self.failures[kind as usize][reason as usize].inc();
    }
}
