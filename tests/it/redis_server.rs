//! Real Redis servers and Sentinels, each on a port of its own, which can be killed, stopped and started again.
//!
//! Ports are outside of those that the system gives out, so that a server which is down finds its port free when it
//! comes back. What a server must never do is live longer than its test.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::client::{LOOK_AGAIN, within};

/// A port that nobody listens on, and that no other test of this process was given.
pub(crate) async fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Several such processes may run at once.
    let start = (std::process::id() % 997) as u16 * 11;
    for _ in 0..1_000 {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 16_500 + (start.wrapping_add(step)) % 14_000;
        if TcpListener::bind(("127.0.0.1", port)).await.is_ok() {
            return port;
        }
    }
    panic!("no free port");
}

/// A Redis server, killed when it is dropped.
pub(crate) struct TestRedis {
    pub(crate) port: u16,
    options: Vec<String>,
    folder: PathBuf,
    child: Option<Child>,
}

impl TestRedis {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With options of redis-server: `["--requirepass", "secret"]`. `FOLDER` in them is its own folder.
    pub(crate) async fn start_with(options: &[&str]) -> Self {
        let mut redis = Self::down_with(options).await;
        redis.start_again().await;
        redis
    }

    /// One that is not started yet.
    pub(crate) async fn down() -> Self {
        Self::down_with(&[]).await
    }

    /// One that is not started yet, with options.
    pub(crate) async fn down_with(options: &[&str]) -> Self {
        let port = free_port().await;
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("redis-{port}"));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let options = options
            .iter()
            .map(|option| option.replace("FOLDER", folder.to_str().unwrap()));
        Self {
            port,
            options: options.collect(),
            folder,
            child: None,
        }
    }

    /// Its folder, where its files are.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// redis://…, without a password.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts it on its port, with what was saved, if something was. Returns when it answers.
    pub(crate) async fn start_again(&mut self) {
        self.begin_again();
        answers(self.port).await;
    }

    /// Starts it, and does not wait.
    pub(crate) fn begin_again(&mut self) {
        let port = self.port.to_string();
        let child = Command::new("redis-server")
            .args([
                "--port",
                &port,
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
            ])
            .args(["--repl-diskless-sync-delay", "0", "--logfile", "log", "--dir"])
            .arg(&self.folder)
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("redis-server, which tests/run installs");
        self.child = Some(child);
    }

    /// SIGKILL.
    pub(crate) async fn kill(&mut self) {
        let mut child = self.child.take().expect("a server that runs");
        within(child.kill()).await.unwrap();
    }

    /// SIGSTOP: it hangs, its connections stay open, new ones are taken by the kernel.
    pub(crate) async fn hang(&self) {
        self.signal("-STOP").await;
    }

    /// SIGCONT.
    pub(crate) async fn wake(&self) {
        self.signal("-CONT").await;
    }

    async fn signal(&self, signal: &str) {
        let id = self.child.as_ref().and_then(Child::id).expect("a server that runs");
        let told = Command::new("kill").args([signal, &id.to_string()]).status();
        assert!(within(told).await.unwrap().success());
    }

    /// What Redis answers to one command, as it is on the wire, without the end of the line.
    pub(crate) async fn command(&self, words: &[&str]) -> String {
        within(ask(self.port, words)).await.unwrap()
    }

    /// Waits until the answer to a command is this one.
    pub(crate) async fn shows(&self, words: &[&str], answer: &str) {
        within(async {
            while self.command(words).await != answer {
                sleep(LOOK_AGAIN).await;
            }
        })
        .await;
    }
}

impl Drop for TestRedis {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A primary, a replica and three Sentinels, which need a second without answers to act.
pub(crate) struct TestSentinels {
    pub(crate) primary: TestRedis,
    pub(crate) replica: TestRedis,
    ports: Vec<u16>,
    _sentinels: Vec<Child>,
}

/// The name of the service.
pub(crate) const SERVICE: &str = "the-service";

impl TestSentinels {
    pub(crate) async fn start() -> Self {
        let primary = TestRedis::start().await;
        let port = primary.port.to_string();
        let replica = TestRedis::start_with(&["--replicaof", "127.0.0.1", &port]).await;
        let (mut ports, mut sentinels) = (Vec::new(), Vec::new());
        for number in 0..3 {
            let own = free_port().await;
            let file = primary.folder().join(format!("sentinel-{number}.conf"));
            let lines = format!(
                "port {own}\nbind 127.0.0.1\nlogfile sentinel-{number}.log\ndir {folder}\n\
                 sentinel monitor {SERVICE} 127.0.0.1 {port} 2\nsentinel down-after-milliseconds {SERVICE} 1000\n\
                 sentinel failover-timeout {SERVICE} 5000\n",
                folder = primary.folder().display(),
            );
            std::fs::write(&file, lines).unwrap();
            let child = Command::new("redis-sentinel")
                .arg(&file)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .expect("redis-sentinel, which tests/run installs");
            sentinels.push(child);
            ports.push(own);
        }
        let service = Self {
            primary,
            replica,
            ports,
            _sentinels: sentinels,
        };
        service.are_ready().await;
        service
    }

    /// When all Sentinels know of each other and of the replica, and the replica follows.
    async fn are_ready(&self) {
        for port in &self.ports {
            answers(*port).await;
            within(async {
                loop {
                    let info = ask(*port, &["INFO", "sentinel"]).await.unwrap_or_default();
                    if info.contains("slaves=1,sentinels=3") {
                        return;
                    }
                    sleep(LOOK_AGAIN).await;
                }
            })
            .await;
        }
        within(async {
            while !self
                .replica
                .command(&["INFO", "replication"])
                .await
                .contains("master_link_status:up")
            {
                sleep(LOOK_AGAIN).await;
            }
        })
        .await;
    }

    /// redis-sentinel://… with all three.
    pub(crate) fn url(&self) -> String {
        let hosts: Vec<_> = self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        format!("redis-sentinel://{}/{SERVICE}", hosts.join(","))
    }
}

/// Waits until a server speaks to us, if only to say that we may not.
async fn answers(port: u16) {
    within(async {
        while !ask(port, &["PING"])
            .await
            .is_ok_and(|answer| answer.starts_with('+') || answer.starts_with("-NO"))
        {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

async fn ask(port: u16, words: &[&str]) -> std::io::Result<String> {
    let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", port)).await?);
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_line(&mut answer).await?;
    if let Some(length) = answer.strip_prefix('$').and_then(|length| length.trim().parse().ok()) {
        let mut text = vec![0; length];
        stream.read_exact(&mut text).await?;
        return Ok(String::from_utf8_lossy(&text).into_owned());
    }
    if answer.is_empty() {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(answer.trim_end().to_owned())
}

/// A CA in `ca.pem`, and a certificate of it for localhost and 127.0.0.1 in `cert.pem` with `key.pem`.
pub(crate) async fn certificates(folder: &Path) {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    let script = format!(
        "exec 2>&1; set -e; printf 'subjectAltName=DNS:localhost,IP:127.0.0.1' >names
        openssl req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=the-ca
        openssl req {key} -keyout key.pem -out request -subj /CN=the-server
        openssl x509 -req -in request -CA ca.pem -CAkey ca.key -CAcreateserial -out cert.pem -days 2 -extfile names"
    );
    let made = Command::new("sh").args(["-c", &script]).current_dir(folder).output();
    let made = within(made).await.unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
}
