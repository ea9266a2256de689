//! What a service manager hears from the gateway.

use std::path::Path;

use tokio::net::UnixDatagram;

use crate::client::within;
use crate::process::Process;

/// The next notification.
async fn heard(manager: &UnixDatagram) -> String {
    let mut buffer = [0; 256];
    let count = within(manager.recv(&mut buffer)).await.unwrap();
    String::from_utf8_lossy(&buffer[..count]).trim().to_owned()
}

#[tokio::test]
async fn systemd_hears_when_the_gateway_is_ready_lives_and_leaves() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("notify.sock");
    let _ = std::fs::remove_file(&path);
    let manager = UnixDatagram::bind(&path).unwrap();
    let variables = [
        ("NOTIFY_SOCKET", path.to_str().unwrap()),
        ("WATCHDOG_USEC", "100000"),
        ("ROOMCAST_DRAIN__DELAY", "0s"),
    ];
    let process = Process::start("", &variables).await;
    assert_eq!(heard(&manager).await, "READY=1");
    for _ in 0..3 {
        assert_eq!(heard(&manager).await, "WATCHDOG=1");
    }
    let leaving = tokio::spawn(process.stop());
    while heard(&manager).await != "STOPPING=1" {}
    assert_eq!(leaving.await.unwrap().code(), Some(0));
}
