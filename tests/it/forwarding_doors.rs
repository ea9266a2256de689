//! Who may pass requests on, to whom, and from when: strangers, nodes that are new, nodes that are not where they say.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::http::{Request, request};
use crate::client::polling::Polling;
use crate::client::within;
use crate::cluster::gateway;
use crate::forwarding::fleet;
use crate::gateway::TestGateway;
use crate::process::Process;
use crate::redis_server::TestRedis;

#[tokio::test]
async fn a_gateway_knows_all_others_before_it_lets_anybody_in() {
    let fleet = fleet(2, "").await;
    let mut polling = Polling::open(fleet.gateways[0].address, 4).await;
    polling.join_root().await;
    for _ in 0..8 {
        let newcomer = TestGateway::start(&format!("cluster.redis = \"{}\"\n", fleet.redis.url())).await;
        let answer = request(newcomer.address, &Request::post(&polling.target(), "3")).await;
        assert_eq!((answer.status, answer.text()), (200, "ok"));
    }
}

#[tokio::test]
async fn who_is_not_where_it_says_to_be_is_named() {
    let redis = TestRedis::start().await;
    let there = gateway(&redis, "").await;
    let elsewhere = format!("cluster.advertise = \"{}\"\n", there.peers.unwrap());
    let lost = gateway(&redis, &elsewhere).await;
    let mut asked = Process::start("", &[("ROOMCAST_CLUSTER__REDIS", &redis.url())]).await;
    let polling = Polling::open(lost.address, 4).await;
    let refused = request(asked.address, &Request::get(&polling.target())).await;
    assert_eq!(refused.status, 400);
    asked.log_line("another gateway is where one says to be").await;
}

#[tokio::test]
async fn a_link_on_which_nothing_is_believed_is_closed() {
    let fleet = fleet(2, "").await;
    let mut stranger = TcpStream::connect(fleet.gateways[0].peers.unwrap()).await.unwrap();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    for stream in (1..40).step_by(2) {
        bytes.extend([0, 0, 3, 1, 5, 0, 0, 0, stream, 0x82, 0x84, 0x86]); // GET http://…/, and no more
    }
    stranger.write_all(&bytes).await.unwrap();
    let mut answers = [0; 4096];
    while within(stranger.read(&mut answers)).await.is_ok_and(|count| count > 0) {}
}

#[tokio::test]
async fn what_only_looks_like_an_upgrade_is_refused_as_by_its_owner() {
    let fleet = fleet(2, "").await;
    let polling = Polling::open(fleet.gateways[0].address, 4).await;
    for asks in [
        Request::upgrade(&polling.upgrade_target()).header("Connection", "close"),
        Request::upgrade(&polling.upgrade_target()).method("POST"),
    ] {
        for gateway in &fleet.gateways {
            assert_eq!(request(gateway.address, &asks).await.status, 400);
        }
    }
}
