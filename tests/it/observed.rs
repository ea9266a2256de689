//! The built binary in a process of its own, whose whole log at its most talkative is kept for a look.
//!
//! Never left behind: whoever drops it has killed it.

use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use crate::client::{DEADLINE, LOOK_AGAIN, within};
use crate::gateway::TestGateway;

/// A gateway in a process, and what it wrote.
pub(crate) struct Observed {
    child: Child,
    log: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Observed {
    /// Starts the binary with these settings and this format of its log, which holds everything; `name` is used by no
    /// other test.
    pub(crate) async fn start(name: &str, settings: &str, format: &str) -> (Self, TestGateway) {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.toml"));
        std::fs::write(&path, settings).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_roomcast"))
            .args(["serve", "--config", path.to_str().unwrap()])
            .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .args(["--log-level", "trace", "--log-format", format])
            .env_clear()
            .env("ROOMCAST_CLUSTER__LISTEN", "127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut stderr = child.stderr.take().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let writer = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(count @ 1..) = stderr.read(&mut buffer) {
                writer.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        let process = Self {
            child,
            log,
            reader: Some(reader),
        };
        let line = process.line_with("listening").await;
        let gateway = TestGateway::elsewhere(address(&line, "clients"), address(&line, "admin"));
        (process, gateway)
    }

    /// Waits for a line of the log that holds these words.
    pub(crate) async fn line_with(&self, words: &str) -> String {
        let started = Instant::now();
        loop {
            let log = String::from_utf8(self.log.lock().unwrap().clone()).expect("a log in UTF-8");
            let whole = log.rsplit_once('\n').map_or("", |(lines, _)| lines);
            if let Some(line) = whole.lines().find(|line| line.contains(words)) {
                return line.to_owned();
            }
            assert!(started.elapsed() < DEADLINE, "no line with {words:?} in:\n{log}");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Ends the process and returns all that it wrote.
    pub(crate) fn end(mut self) -> String {
        self.kill();
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        let log = std::mem::take(&mut *self.log.lock().unwrap());
        String::from_utf8(log).expect("a log in UTF-8")
    }

    /// `-STOP`: it hangs, its connections stay open; `-CONT`.
    pub(crate) async fn signal(&self, signal: &str) {
        let told = tokio::process::Command::new("kill")
            .args([signal, &self.child.id().to_string()])
            .status();
        assert!(within(told).await.unwrap().success());
        // One of its threads has to run for all to be stopped.
        within(async {
            while signal == "-STOP" && !self.is_stopped() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        })
        .await;
    }

    fn is_stopped(&self) -> bool {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let mut states = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("stat")));
        states.all(|state| state.is_ok_and(|state| state.rsplit(')').next().unwrap().trim_start().starts_with('T')))
    }

    fn kill(&mut self) {
        let _ = self.child.kill(); // it may have ended by itself
        let _ = self.child.wait();
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The address behind a key, in a line of either format: `clients=127.0.0.1:1`, `"clients":"127.0.0.1:1"`.
fn address(line: &str, key: &str) -> SocketAddr {
    let parts: Vec<_> = line.split(['=', '"', ' ', ',', '{', '}']).collect();
    let at = parts.iter().position(|part| *part == key).expect("a key");
    let address = parts[at + 1..].iter().find(|part| part.contains("127.0.0.1:"));
    address
        .and_then(|address| address.parse().ok())
        .unwrap_or_else(|| panic!("no address of {key} in {line}"))
}
