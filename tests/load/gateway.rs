//! The release build as a process, and what can be seen of it from outside: its metrics and the system's numbers.
//!
//! Never asks for anything else than what an operator could see. The process is killed when it is dropped.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::Value;

/// How long to wait before looking at a fact again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Time for the process to start and for an answer of its admin port.
const DEADLINE: Duration = Duration::from_secs(30);

/// Ticks of processor time in a second, as the kernel shows them to programs.
const TICKS: f64 = 100.0;

/// A gateway in a process of its own.
pub(crate) struct Gateway {
    /// Where clients connect.
    pub(crate) address: SocketAddr,
    admin: SocketAddr,
    child: Child,
    complaints: Arc<Mutex<Vec<String>>>,
}

/// What a process has: nothing of it may grow with the number of clients that came and went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holdings {
    pub(crate) sessions: u64,
    pub(crate) sockets: u64,
    pub(crate) rooms: u64,
    pub(crate) outbox_bytes: u64,
    pub(crate) descriptors: usize,
    pub(crate) threads: u64,
}

impl Gateway {
    /// Starts the release build with these settings.
    pub(crate) fn start(settings: &str) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), settings)
    }

    /// The same where clients connect to this address.
    pub(crate) fn start_at(address: SocketAddr, settings: &str) -> Self {
        let binary = binary();
        let file = std::env::temp_dir().join(format!(
            "roomcast-load-{}-{:x}.toml",
            std::process::id(),
            rand::random::<u64>()
        ));
        std::fs::write(&file, settings).unwrap();
        let mut child = Command::new(&binary)
            .args([
                "--listen",
                &address.to_string(),
                "--admin-listen",
                "127.0.0.1:0",
                "--log-format",
                "json",
                "-c",
            ])
            .arg(&file)
            .env_clear()
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; `cargo build --release` makes it", binary.display()));
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let listening = log.by_ref().find_map(|line| listening(&line.unwrap()));
        std::fs::remove_file(&file).unwrap();
        let (address, admin) = listening.expect("a line of the log that says where it listens");
        let complaints = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&complaints);
        // Nobody reads the rest, but a pipe that is full would stop the gateway.
        std::thread::spawn(move || {
            for line in log.map_while(Result::ok) {
                if !(line.contains("\"INFO\"") || line.contains("\"DEBUG\"")) {
                    kept.lock().push(line);
                }
            }
        });
        Self {
            address,
            admin,
            child,
            complaints,
        }
    }

    /// Lines of the log above "info".
    pub(crate) fn complaints(&self) -> Vec<String> {
        self.complaints.lock().clone()
    }

    /// The text of the metrics.
    pub(crate) fn metrics(&self) -> String {
        metrics(self.admin)
    }

    /// The sum of all series that begin like this.
    pub(crate) fn metric(&self, start: &str) -> f64 {
        sum(&self.metrics(), start)
    }

    /// Several such sums at one time.
    pub(crate) fn metrics_of<const N: usize>(&self, starts: [&str; N]) -> [f64; N] {
        let metrics = self.metrics();
        starts.map(|start| sum(&metrics, start))
    }

    /// How many sessions ended for this reason.
    pub(crate) fn ended(&self, reason: &str) -> f64 {
        self.metric(&format!("roomcast_disconnects_total{{reason=\"{reason}\"}}"))
    }

    /// What is held now.
    pub(crate) fn holdings(&self) -> Holdings {
        let metrics = self.metrics();
        let whole = |start: &str| sum(&metrics, start) as u64;
        Holdings {
            sessions: whole("roomcast_connections{"),
            sockets: whole("roomcast_sockets{"),
            rooms: whole("roomcast_rooms "),
            outbox_bytes: whole("roomcast_outbox_bytes "),
            descriptors: self.descriptors(),
            threads: self.status("Threads:"),
        }
    }

    /// Open descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))
            .unwrap()
            .count()
    }

    /// Bytes of memory that are really there.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.status("VmRSS:") * 1024
    }

    /// Seconds of processor time so far.
    pub(crate) fn processor_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks = |at: usize| fields[at].parse::<f64>().unwrap();
        (ticks(11) + ticks(12)) / TICKS
    }

    fn status(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        if !std::thread::panicking() {
            assert!(
                self.complaints().is_empty(),
                "the gateway complains: {:#?}",
                self.complaints()
            );
        }
    }
}

/// Waits until `fact` gives something, asking again and again; `state` is shown where that takes too long.
pub(crate) async fn until<T>(time: Duration, mut fact: impl FnMut() -> Option<T>, state: impl Fn() -> String) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = fact() {
            return found;
        }
        assert!(started.elapsed() < time, "after {time:?}: {}", state());
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// The release build, beside the build that tests use.
fn binary() -> PathBuf {
    let debug = PathBuf::from(env!("CARGO_BIN_EXE_roomcast"));
    debug
        .parent()
        .unwrap()
        .with_file_name("release")
        .join(debug.file_name().unwrap())
}

/// The addresses in the line of the log that tells them.
fn listening(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let address = |name: &str| line[name].as_str().and_then(|address| address.parse().ok());
    Some((address("clients")?, address("admin")?))
}

/// The text of the metrics at this admin port.
pub(crate) fn metrics(admin: SocketAddr) -> String {
    let mut stream = TcpStream::connect(admin).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    text
}

pub(crate) fn sum(metrics: &str, start: &str) -> f64 {
    let values: Vec<f64> = metrics
        .lines()
        .filter(|line| line.starts_with(start))
        .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
        .collect();
    assert!(!values.is_empty(), "there is no series {start}");
    values.iter().sum()
}

/// One line of figures for people, whatever the test says.
pub(crate) fn report(name: &str, figures: &[(&str, f64)]) {
    let mut line = format!("measured {name}:");
    for (label, value) in figures {
        write!(line, " {label} {value:.3}").unwrap();
    }
    let _ = writeln!(std::io::stderr().lock(), "{line}"); // even where the output of tests is captured
}
