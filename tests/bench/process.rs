//! Programs under measurement, and what the system says of each: processor time, memory, descriptors.
//!
//! Never asks a program for figures that the system knows: that would cost what is being measured. All are killed when
//! they are dropped.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::client::Connection;

/// Ticks of processor time in a second, as the kernel shows them to programs.
const TICKS: f64 = 100.0;

/// The longest time for something to become true, and how often it is looked at.
const DEADLINE: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Ticks that a program which rests may use between two looks.
const TICKS_AT_REST: f64 = 2.0;

/// A program in a process of its own.
pub(crate) struct Process(Child);

/// A Roomcast gateway.
pub(crate) struct Gateway {
    /// Where clients connect.
    pub(crate) address: SocketAddr,
    /// Where its API is.
    pub(crate) admin: SocketAddr,
    pub(crate) process: Process,
}

impl Process {
    /// Starts it; what it says is for nobody.
    fn start(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        Self(child.unwrap_or_else(|error| panic!("{:?}: {error}", command.get_program())))
    }

    /// Starts a Redis server that keeps nothing, on this port.
    pub(crate) async fn redis(port: u16) -> Self {
        let port_text = port.to_string();
        let options = [
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--port",
            &port_text,
        ];
        let process = Self::start(Command::new("redis-server").args(options));
        until("Redis listens", async || {
            Connection::open(SocketAddr::from(([127, 0, 0, 1], port))).await.is_ok()
        })
        .await;
        process
    }

    /// Seconds of processor time so far.
    pub(crate) fn processor_seconds(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks = |at: usize| fields[at].parse::<f64>().unwrap();
        (ticks(11) + ticks(12)) / TICKS
    }

    /// Bytes of memory that are really there.
    pub(crate) fn resident_bytes(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<f64>().unwrap() * 1024.0
    }

    /// Open descriptors.
    pub(crate) fn descriptors(&self) -> f64 {
        fs::read_dir(format!("/proc/{}/fd", self.0.id())).unwrap().count() as f64
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Gateway {
    /// Starts one with this file of settings.
    pub(crate) fn start(binary: &Path, settings: &Path) -> Self {
        let mut process = Process::start(
            Command::new(binary)
                .args([
                    "--listen",
                    "127.0.0.1:0",
                    "--admin-listen",
                    "127.0.0.1:0",
                    "--log-format",
                    "json",
                    "-c",
                ])
                .arg(settings)
                .env_clear()
                .stderr(Stdio::piped()),
        );
        let mut log = BufReader::new(process.0.stderr.take().unwrap())
            .lines()
            .map_while(Result::ok);
        let address = |line: &str, name: &str| {
            let (_, rest) = line.split_once(&format!("\"{name}\":\""))?;
            rest.split('"').next()?.parse().ok()
        };
        let (address, admin) = log
            .find_map(|line| Some((address(&line, "clients")?, address(&line, "admin")?)))
            .expect("a line of the log that says where it listens");
        std::thread::spawn(move || {
            for line in log.filter(|line| line.contains("\"WARN\"") || line.contains("\"ERROR\"")) {
                eprintln!("{line}"); // a figure beside which something went wrong is none
            }
        });
        Self {
            address,
            admin,
            process,
        }
    }

    /// Waits until no client has a WebSocket here any more.
    pub(crate) async fn is_left(&self) {
        until("all WebSockets are gone", async || {
            self.metric("roomcast_connections{transport=\"websocket\"").await == 0.0
        })
        .await;
    }

    /// The sum of all series of its metrics that begin like this.
    pub(crate) async fn metric(&self, start: &str) -> f64 {
        let mut connection = Connection::open(self.admin).await.unwrap();
        let (_, text) = connection.get("/metrics").await.unwrap();
        let lines = text.lines().filter(|line| line.starts_with(start));
        lines
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
            .sum()
    }
}

/// Waits until something is true.
pub(crate) async fn until(what: &str, mut fact: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !fact().await {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    let waited = tokio::time::timeout(DEADLINE, waiting).await;
    waited.unwrap_or_else(|_| panic!("not within {DEADLINE:?}: {what}"));
}

/// Waits until programs have nothing left to do.
pub(crate) async fn rest(processes: &[&Process]) {
    let spent = || processes.iter().map(|process| process.processor_seconds()).sum::<f64>();
    let mut before = 0.0;
    until("the gateways rest", async || {
        let (last, now) = (before, spent());
        before = now;
        (now - last) * TICKS <= TICKS_AT_REST
    })
    .await;
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
