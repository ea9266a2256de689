//! A relay on a loopback port, so that the raw client reaches gateways that listen elsewhere or want to hear more.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Where a bridge leads.
#[derive(Clone, Debug)]
pub(crate) enum To {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A relay that runs until it is dropped.
pub(crate) struct Bridge {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Bridge {
    /// Relays every connection, and says `first` at its beginning.
    pub(crate) async fn open(to: To, first: &[u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let first = first.to_vec();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                tokio::spawn(relay(stream, to.clone(), first.clone()));
            }
        });
        Self { address, task }
    }
}

impl Bridge {
    /// Relays every connection to this port; each piece arrives so much later, those behind it are on their way meanwhile.
    pub(crate) async fn slow(port: u16, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                for stream in [&near, &far] {
                    let _ = stream.set_nodelay(true);
                }
                let ((near_out, near_in), (far_out, far_in)) = (near.into_split(), far.into_split());
                tokio::spawn(carry(near_out, far_in, delay));
                tokio::spawn(carry(far_out, near_in, delay));
            }
        });
        Self { address, task }
    }
}

/// Carries what comes from one side to the other, each piece so much later.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration) {
    let (sender, mut pieces) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let read = async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let _ = sender.send((Instant::now() + delay, buffer[..count].to_vec()));
        }
    };
    let write = async move {
        while let Some((due, piece)) = pieces.recv().await {
            tokio::time::sleep_until(due).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(read, write);
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Relays one connection; whatever breaks ends it on both sides.
async fn relay(mut near: TcpStream, to: To, first: Vec<u8>) {
    match to {
        To::Tcp(address) => {
            let mut far = TcpStream::connect(address).await.unwrap();
            if far.write_all(&first).await.is_ok() {
                let _ = copy_bidirectional(&mut near, &mut far).await;
            }
        }
        To::Unix(path) => {
            let mut far = UnixStream::connect(path).await.unwrap();
            if far.write_all(&first).await.is_ok() {
                let _ = copy_bidirectional(&mut near, &mut far).await;
            }
        }
    }
}
