//! A relay on a loopback port, so that the raw client reaches gateways that listen elsewhere or want to hear more.

use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinHandle;

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
