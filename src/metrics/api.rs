//! What is counted of the HTTP API: the time of each request, by its route and the status of its answer.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, HistogramVec};

use super::Registrar;

/// Bounds of `api_request_duration_seconds`: from an answer out of memory to one that clients have to give.
const BUCKETS: [f64; 6] = [0.000_1, 0.001, 0.01, 0.1, 1.0, 10.0];

/// A route of the API; the text of its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiRoute {
    /// `/v1/emit`
    Emit,
    /// `/v1/join`
    Join,
    /// `/v1/leave`
    Leave,
    /// `/v1/disconnect`
    Disconnect,
    /// `/v1/batch`
    Batch,
    /// `/v1/sockets`
    Sockets,
    /// `/v1/sockets/{id}`
    Socket,
    /// `/v1/rooms`
    Rooms,
    /// `/v1/rooms/{room}`
    Room,
    /// `/v1/nodes`
    Nodes,
    /// `/v1/drain`
    Drain,
    /// `/openapi.json`
    OpenApi,
    /// None of these.
    Unknown,
}

/// Statuses of what takes a body and does something.
const DOES: &[u16] = &[200, 400, 401, 403, 405, 408, 413, 415, 429, 503];

/// Statuses of what asks all nodes.
const ASKS: &[u16] = &[200, 400, 401, 403, 405, 429];

impl ApiRoute {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 13] = [
        Self::Emit,
        Self::Join,
        Self::Leave,
        Self::Disconnect,
        Self::Batch,
        Self::Sockets,
        Self::Socket,
        Self::Rooms,
        Self::Room,
        Self::Nodes,
        Self::Drain,
        Self::OpenApi,
        Self::Unknown,
    ];

    /// The text in labels and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Emit => "emit",
            Self::Join => "join",
            Self::Leave => "leave",
            Self::Disconnect => "disconnect",
            Self::Batch => "batch",
            Self::Sockets => "sockets",
            Self::Socket => "socket",
            Self::Rooms => "rooms",
            Self::Room => "room",
            Self::Nodes => "nodes",
            Self::Drain => "drain",
            Self::OpenApi => "openapi",
            Self::Unknown => "unknown",
        }
    }

    /// The statuses of its answers.
    pub const fn statuses(self) -> &'static [u16] {
        match self {
            Self::Emit | Self::Join | Self::Leave | Self::Disconnect | Self::Batch => DOES,
            Self::Sockets | Self::Rooms | Self::Room | Self::Nodes => ASKS,
            Self::Socket => &[200, 400, 401, 403, 404, 405, 429],
            Self::Drain => &[200, 400, 401, 403, 404, 405, 408, 409, 413, 415, 503],
            Self::OpenApi => &[200, 400, 401, 403, 405],
            Self::Unknown => &[401, 403, 404],
        }
    }
}

/// The API's numbers.
#[derive(Debug)]
pub struct Api {
    family: HistogramVec,
    /// By route, then by status, as they are listed there.
    known: Vec<Vec<Histogram>>,
}

impl Api {
    pub(super) fn new(new: &Registrar<'_>) -> Result<Self, prometheus::Error> {
        let opts = HistogramOpts::new(
            "roomcast_api_request_duration_seconds",
            "Time from a request of the HTTP API to its answer, by route and status",
        );
        let family = new.register(HistogramVec::new(opts.buckets(BUCKETS.to_vec()), &["route", "status"])?)?;
        let series = |route: ApiRoute| {
            let statuses = route.statuses().iter();
            let series = statuses.map(|status| family.with_label_values(&[route.as_str(), &status.to_string()]));
            series.collect()
        };
        let known = ApiRoute::ALL.map(series).into();
        Ok(Self { family, known })
    }

    /// A request was answered with this status after this time.
    pub fn answered(&self, route: ApiRoute, status: u16, time: Duration) {
        let seconds = time.as_secs_f64();
        match route.statuses().iter().position(|known| *known == status) {
            Some(index) => self.known[route as usize][index].observe(seconds),
            None => {
                let labels = [route.as_str(), &status.to_string()];
                self.family.with_label_values(&labels).observe(seconds);
            }
        }
    }
}
