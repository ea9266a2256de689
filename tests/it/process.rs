//! The built binary as a process of its own, for what concerns a whole process: descriptors, signals, its environment.

use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

use crate::client::within;

/// A gateway in a process, killed when it is dropped.
pub(crate) struct Process {
    /// Where clients connect.
    pub(crate) address: SocketAddr,
    /// Where health and metrics are.
    pub(crate) admin: SocketAddr,
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
}

impl Process {
    /// Starts the binary in a shell after `before` (`ulimit -n 64;`), with these variables.
    pub(crate) async fn start(before: &str, variables: &[(&str, &str)]) -> Self {
        let line = format!("{before} exec \"$0\" --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 --log-format json");
        let mut child = Command::new("sh")
            .args(["-c", &line, env!("CARGO_BIN_EXE_roomcast")])
            .env_clear()
            .env("ROOMCAST_CLUSTER__LISTEN", "127.0.0.1:0")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut process = Self {
            address,
            admin: address,
            child,
            log,
        };
        let listening = process.log_line("listening").await;
        let address = |key: &str| listening[key].as_str().expect("an address").parse().unwrap();
        (process.address, process.admin) = (address("clients"), address("admin"));
        process
    }

    /// How many descriptors it has open.
    pub(crate) fn descriptors(&self) -> usize {
        let id = self.child.id().expect("a process that runs");
        std::fs::read_dir(format!("/proc/{id}/fd")).unwrap().count()
    }

    /// Reads the log up to a message that begins like this.
    pub(crate) async fn log_line(&mut self, message: &str) -> Value {
        loop {
            let line = within(self.log.next_line()).await.unwrap();
            let line = line.unwrap_or_else(|| panic!("no line says {message:?}"));
            let line: Value = serde_json::from_str(&line).unwrap();
            let text = line["message"].as_str().or(line["fields"]["message"].as_str());
            if text.is_some_and(|text| text.starts_with(message)) {
                return line;
            }
        }
    }

    /// Reads the log to its end, so that a long one does not fill the pipe and stop the gateway.
    pub(crate) async fn read_log(&mut self) {
        while self.log.next_line().await.unwrap().is_some() {}
    }

    /// Asks the process to leave, and waits until it has.
    pub(crate) async fn stop(mut self) -> ExitStatus {
        let id = self.child.id().expect("a process that runs").to_string();
        let told = Command::new("kill").args(["-TERM", &id]).status();
        assert!(within(told).await.unwrap().success());
        within(self.child.wait()).await.unwrap()
    }
}
