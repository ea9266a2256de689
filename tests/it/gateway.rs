//! A real gateway in this process, on ports that the system picks.
//!
//! Never waits for a drain when it is dropped: whoever wants to see one stops the gateway by hand.

use std::net::SocketAddr;
use std::time::Instant;

use roomcast::config::Config;
use roomcast::server::{Ended, ServeError, Server, Stopper};
use tokio::task::JoinHandle;

use crate::client::http::{Request, Response, request};
use crate::client::{DEADLINE, LOOK_AGAIN, within};

/// A namespace `/` whose event `echo` is answered with its own arguments.
pub(crate) const ECHO: &str = r#"
[[namespace]]
name = "/"
[[namespace.event]]
name = "echo"
action = "ack"
"#;

/// A running gateway.
pub(crate) struct TestGateway {
    /// Where clients connect.
    pub address: SocketAddr,
    /// Where health and metrics are.
    pub admin: SocketAddr,
    /// Where other gateways pass requests on, where there may be any.
    pub peers: Option<SocketAddr>,
    /// Tells it what to do; `None` where it is not this process's.
    stopper: Option<Stopper>,
    task: Option<JoinHandle<Ended>>,
}

impl TestGateway {
    /// Starts a gateway with the defaults and `settings`: keys in full (`engine.eio3 = false`), `[[namespace]]` last.
    pub(crate) async fn start(settings: &str) -> Self {
        Self::listen("\"127.0.0.1:0\"", settings).await
    }

    /// The same on these addresses, as they are written in TOML.
    pub(crate) async fn listen(addresses: &str, settings: &str) -> Self {
        Self::try_listen(addresses, settings).await.expect("free addresses")
    }

    /// The same; the error is what the gateway cannot do without.
    pub(crate) async fn try_listen(addresses: &str, settings: &str) -> Result<Self, ServeError> {
        let cluster = if settings.contains("[cluster]") {
            "" // says so itself
        } else {
            "cluster.listen = \"127.0.0.1:0\"\n"
        };
        let ports = format!("server.listen = {addresses}\nadmin.listen = \"127.0.0.1:0\"\n{cluster}");
        let config = Config::from_toml(&format!("{ports}{settings}")).expect("settings of a test");
        let server = Server::bind(config).await?;
        Ok(Self {
            address: server.client_addr(),
            admin: server.admin_addr(),
            peers: server.peers_addr(),
            stopper: Some(server.stopper()),
            task: Some(tokio::spawn(server.run())),
        })
    }

    /// A gateway in another process, which is not this one's to stop.
    pub(crate) fn elsewhere(address: SocketAddr, admin: SocketAddr) -> Self {
        Self {
            address,
            admin,
            peers: None,
            stopper: None,
            task: None,
        }
    }

    /// A gateway as it is without any setting.
    pub(crate) async fn plain() -> Self {
        Self::start("").await
    }

    /// Begins to drain, as the first signal does.
    pub(crate) fn stop(&self) {
        self.stopper.iter().for_each(Stopper::stop);
    }

    /// Drains and stays.
    pub(crate) fn drain(&self) {
        self.stopper.iter().for_each(Stopper::drain);
    }

    /// Serves again.
    pub(crate) fn resume(&self) {
        self.stopper.iter().for_each(Stopper::resume);
    }

    /// Stops at once, as the second signal does.
    pub(crate) fn stop_now(&self) {
        self.stopper.iter().for_each(Stopper::stop_now);
    }

    /// Waits until the gateway has stopped by itself.
    pub(crate) async fn ended(&mut self) -> Ended {
        within(self.task.take().expect("a gateway that runs"))
            .await
            .expect("no panic")
    }

    /// A GET on the admin listener.
    pub(crate) async fn admin_get(&self, target: &str) -> Response {
        request(self.admin, &Request::get(target)).await
    }

    /// The value of a series in /metrics, `None` where it is missing.
    pub(crate) async fn metric(&self, series: &str) -> Option<f64> {
        let metrics = self.admin_get("/metrics").await;
        let wanted = sorted(series);
        let mut lines = metrics.text().lines().filter_map(|line| line.rsplit_once(' '));
        lines.find_map(|(series, value)| (sorted(series) == wanted).then(|| value.parse().ok()).flatten())
    }

    /// Waits until a series in /metrics has this value.
    pub(crate) async fn reaches(&self, series: &str, value: f64) {
        let started = Instant::now();
        loop {
            let now = self.metric(series).await;
            if now == Some(value) {
                return;
            }
            assert!(started.elapsed() < DEADLINE, "{series} is {now:?} and not {value}");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Waits until a limit was met this many times.
    pub(crate) async fn has_limited(&self, limit: &str, times: f64) {
        self.reaches(&format!("roomcast_rate_limited_total{{limit=\"{limit}\"}}"), times)
            .await;
    }

    /// Waits until this many sessions have ended for this reason.
    pub(crate) async fn has_ended(&self, reason: &str, sessions: f64) {
        self.reaches(&format!("roomcast_disconnects_total{{reason=\"{reason}\"}}"), sessions)
            .await;
    }
}

impl Drop for TestGateway {
    fn drop(&mut self) {
        self.stopper.iter().for_each(Stopper::stop_now);
    }
}

/// A series with its labels in alphabetical order.
fn sorted(series: &str) -> String {
    let Some((name, labels)) = series.split_once('{') else {
        return series.into();
    };
    let mut labels: Vec<_> = labels.trim_end_matches('}').split(',').collect();
    labels.sort_unstable();
    format!("{name}{{{}}}", labels.join(","))
}
