//! What passes for a Socket.IO server in Node.js, as other servers see it over Redis: it hears what is asked about `/`, and
//! answers what a test says. It has no clients, and broadcasts nothing.

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::client::within;
use crate::redis_server::TestRedis;

/// Starts one that answers each question with what `answer` makes of it, or not at all. Returns when Redis has it.
pub(crate) async fn node_server(
    redis: &TestRedis,
    answer: impl Fn(&Value) -> Option<Value> + Send + 'static,
) -> JoinHandle<()> {
    let port = redis.port;
    let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    stream.write_all(b"SUBSCRIBE socket.io-request#/#\r\n").await.unwrap();
    let mut line = String::new();
    while line.trim() != ":1" {
        line.clear();
        within(stream.read_line(&mut line)).await.unwrap();
    }
    tokio::spawn(async move {
        let mut lines = stream.lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let Ok(request) = serde_json::from_str::<Value>(&line) else {
                continue;
            };
            let (Some(id), Some(mut answer)) = (request.get("requestId"), answer(&request)) else {
                continue;
            };
            answer["requestId"] = id.clone();
            let answer = answer.to_string();
            let mut publisher = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let command = format!(
                "*3\r\n$7\r\nPUBLISH\r\n$21\r\nsocket.io-response#/#\r\n${}\r\n{answer}\r\n",
                answer.len()
            );
            publisher.write_all(command.as_bytes()).await.unwrap();
            let _ = publisher.read(&mut [0; 16]).await;
        }
    })
}
