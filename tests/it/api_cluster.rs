//! The HTTP API of several gateways: any of them speaks for all, and says who did not answer.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::api::{does, list, posted};
use crate::client::http::{Request, request};
use crate::client::socket::{Client, Transport};
use crate::cluster_nodes::{gateways, sees, settings, tag};
use crate::gateway::TestGateway;
use crate::node_server::node_server;
use crate::observed::Observed;
use crate::redis_server::TestRedis;

fn strings(list: &Value, key: &str) -> Vec<String> {
    let list = list.as_array().unwrap_or_else(|| panic!("{list}"));
    list.iter().map(|one| one[key].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn any_gateway_knows_of_all_sockets_rooms_and_nodes() {
    let redis = TestRedis::start().await;
    let gateways = gateways(3, &settings(&redis, "1s")).await;
    let (mut clients, mut tags) = (Vec::new(), Vec::new());
    for (index, gateway) in gateways.iter().enumerate() {
        tags.push(tag(gateway).await);
        for eio in [4, 3] {
            let mut client = Client::join(gateway, Transport::WebSocket, eio).await;
            client.does(json!(["join", ["all", format!("of {index}")]])).await;
            clients.push(client);
        }
    }
    tags.sort();
    for gateway in &gateways {
        let all = list(gateway, "/v1/sockets?room=all").await;
        let ids = strings(&all["sockets"], "id");
        assert!(ids.is_sorted() && ids.len() == 6, "{all}");
        assert_eq!(all["partial"], json!([]));
        for socket in all["sockets"].as_array().unwrap() {
            assert!(
                socket["id"]
                    .as_str()
                    .unwrap()
                    .starts_with(socket["node"].as_str().unwrap()),
                "{socket}"
            );
        }
        let (mut paged, mut cursor) = (Vec::new(), String::new());
        while paged.len() < 6 {
            let page = list(gateway, &format!("/v1/sockets?room=all&limit=4&cursor={cursor}")).await;
            paged.extend(strings(&page["sockets"], "id"));
            cursor = page["cursor"].as_str().unwrap_or("end").to_owned();
        }
        assert_eq!((paged, cursor), (ids.clone(), "end".into()));
        let one = list(gateway, &format!("/v1/sockets/{}", ids[0])).await;
        assert_eq!(strings(&one["sockets"], "id"), ids[..1]);
        let rooms = list(gateway, "/v1/rooms?limit=3").await;
        let expected = json!([
            {"room": "all", "sockets": 6}, {"room": "of 0", "sockets": 2}, {"room": "of 1", "sockets": 2},
        ]);
        assert_eq!((&rooms["rooms"], &rooms["cursor"]), (&expected, &json!("of 1")));
        assert_eq!(list(gateway, "/v1/rooms/all").await["rooms"][0]["sockets"], 6);
        let nodes = list(gateway, "/v1/nodes").await;
        assert_eq!(strings(&nodes["nodes"], "id"), tags);
        for node in nodes["nodes"].as_array().unwrap() {
            assert_eq!(
                (&node["sockets"], &node["rooms"], &node["draining"]),
                (&json!(2), &json!(2), &json!(false))
            );
            assert!(node["address"].as_str().unwrap().starts_with("127.0.0.1:"), "{node}");
        }
        assert_eq!((&nodes["node_servers"], &nodes["partial"]), (&json!(0), &json!([])));
    }
    for kind in ["sockets", "rooms", "nodes"] {
        let series = format!("roomcast_cluster_requests_total{{type=\"{kind}\",result=\"complete\"}}");
        assert!(gateways[0].metric(&series).await >= Some(1.0), "{series}");
    }
}

#[tokio::test]
async fn commands_reach_sockets_wherever_they_are() {
    let redis = TestRedis::start().await;
    let gateways = gateways(2, &settings(&redis, "1s")).await;
    let mut there = Client::new(&gateways[1]).await;
    let id = strings(&list(&gateways[0], "/v1/sockets").await["sockets"], "id").remove(0);
    let ok = json!({"ok": true});
    assert_eq!(
        does(&gateways[0], "/v1/join", json!({"rooms": [id], "join": ["r"]})).await,
        ok
    );
    assert_eq!(
        does(
            &gateways[0],
            "/v1/emit",
            json!({"rooms": ["r"], "event": "hi", "id": "once"})
        )
        .await,
        ok
    );
    let again = does(
        &gateways[1],
        "/v1/emit",
        json!({"rooms": ["r"], "event": "hi", "id": "once"}),
    )
    .await;
    assert_eq!(again["duplicate"], true);
    there.hears(json!(["hi"])).await;
    does(&gateways[0], "/v1/leave", json!({"rooms": ["r"], "leave": ["r"]})).await;
    assert_eq!(list(&gateways[1], "/v1/rooms/r").await["rooms"][0]["sockets"], 0);
    does(&gateways[0], "/v1/disconnect", json!({"rooms": [id]})).await;
    there.find(|packet| packet.kind == '1').await;
}

#[tokio::test]
async fn a_gateway_that_hangs_is_named_and_one_that_died_is_forgotten() {
    let redis = TestRedis::start().await;
    let settings = settings(&redis, "1s").replace("request_timeout = \"2s\"", "request_timeout = \"200ms\"");
    let gateway = TestGateway::start(&settings).await;
    let (process, other) = Observed::start("api-mute", &settings, "text").await;
    sees(&gateway, 2).await;
    let (own, mute) = (tag(&gateway).await, tag(&other).await);
    let here = Client::new(&gateway).await;
    let _there = Client::new(&other).await;
    process.signal("-STOP").await;
    for target in [
        "/v1/sockets",
        "/v1/rooms",
        "/v1/nodes",
        "/v1/rooms/r",
        "/v1/sockets/nobody",
    ] {
        assert_eq!(list(&gateway, target).await["partial"], json!([mute]), "{target}");
    }
    let ids = strings(&list(&gateway, "/v1/sockets").await["sockets"], "id");
    assert!(ids.len() == 1 && ids[0].starts_with(&own), "{ids:?}");
    let nodes = list(&gateway, "/v1/nodes").await;
    assert_eq!(
        strings(&nodes["nodes"], "id").into_iter().collect::<BTreeSet<_>>(),
        [own, mute.clone()].into()
    );
    let drain = request(gateway.admin, &posted("/v1/drain", &json!({"node": mute}))).await;
    assert_eq!((drain.status, &drain.json()["error"]), (503, &json!("unavailable")));
    // Each is waited for; together they would hold up others, and so some are refused.
    let crowd = (0..40).map(|_| tokio::spawn(ask_for_sockets(gateway.admin)));
    let crowd: Vec<_> = crowd.collect();
    let mut refused = 0;
    for asked in crowd {
        match asked.await.unwrap() {
            200 => {}
            429 => refused += 1,
            status => panic!("{status}"),
        }
    }
    assert!(refused >= 1, "none of 40 was refused");
    drop(process);
    sees(&gateway, 1).await;
    assert_eq!(list(&gateway, "/v1/sockets").await["partial"], json!([]));
    drop(here);
}

async fn ask_for_sockets(admin: std::net::SocketAddr) -> u16 {
    request(admin, &Request::get("/v1/sockets")).await.status
}

#[tokio::test]
async fn without_redis_own_sockets_are_listed_and_the_rest_is_named() {
    let mut redis = TestRedis::start().await;
    let gateways = gateways(2, &settings(&redis, "1s")).await;
    let other = tag(&gateways[1]).await;
    let mut here = Client::new(&gateways[0]).await;
    here.does(json!(["join", "r"])).await;
    redis.kill().await;
    gateways[0].reaches("roomcast_relay_up", 0.0).await;
    for target in ["/v1/sockets", "/v1/rooms", "/v1/nodes"] {
        assert_eq!(
            list(&gateways[0], target).await["partial"],
            json!([other, "node.js"]),
            "{target}"
        );
    }
    assert_eq!(
        list(&gateways[0], "/v1/sockets?user=nobody").await["partial"],
        json!([other])
    );
    assert_eq!(
        list(&gateways[0], "/v1/rooms").await["rooms"],
        json!([{"room": "r", "sockets": 1}])
    );
    assert_eq!(list(&gateways[0], "/v1/nodes").await["node_servers"], json!(null));
    let drain = request(gateways[0].admin, &posted("/v1/drain", &json!({"node": other}))).await;
    assert_eq!(drain.status, 503, "{}", drain.text());
}

#[tokio::test]
async fn any_gateway_lets_another_one_drain_and_serve_again() {
    let redis = TestRedis::start().await;
    let gateways = gateways(2, &settings(&redis, "1s")).await;
    let mut there = Client::new(&gateways[1]).await;
    let tag = there.sid[..4].to_owned();
    let drained = does(&gateways[0], "/v1/drain", json!({"node": tag})).await;
    assert_eq!(drained, json!({"ok": true, "node": tag, "draining": true}));
    assert_eq!(there.socket().close_code().await, Some(1001));
    gateways[1].reaches("roomcast_draining", 1.0).await;
    assert_eq!(gateways[0].metric("roomcast_draining").await, Some(0.0));
    let nodes = list(&gateways[0], "/v1/nodes").await;
    let draining = nodes["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .find(|node| node["id"] == *tag)
        .unwrap();
    assert_eq!(draining["draining"], true);
    let target = format!("/v1/drain?node={tag}");
    let resumed = request(gateways[0].admin, &Request::new("DELETE", &target)).await;
    assert_eq!(resumed.json(), json!({"ok": true, "node": tag, "draining": false}));
    gateways[1].reaches("roomcast_draining", 0.0).await;
    let _there = Client::new(&gateways[1]).await;
    let nobody = request(gateways[0].admin, &posted("/v1/drain", &json!({"node": "zzzz"}))).await;
    assert_eq!(nobody.status, 404);
}

/// A Node server with one socket in the rooms `r` and `only there` of `/`.
async fn node_server_with(redis: &TestRedis, id: &'static str) {
    let answer = move |request: &Value| {
        let socket = json!({
            "id": id, "rooms": [id, "r", "only there"], "data": {"is": "there"},
            "handshake": {"address": "::ffff:10.0.0.1", "issued": 1_700_000_000_000_u64, "query": {"EIO": "4"}},
        });
        let rooms = request["opts"]["rooms"].as_array().cloned().unwrap_or_default();
        let is_in = rooms.is_empty() || ["r", "only there", id].iter().any(|room| rooms.contains(&json!(room)));
        Some(match request["type"].as_u64() {
            Some(1) => json!({"rooms": [id, "r", "only there"]}),
            Some(5) if is_in => json!({"sockets": [socket]}),
            _ => json!({"sockets": []}),
        })
    };
    node_server(redis, answer).await;
}

#[tokio::test]
async fn of_node_servers_is_told_what_they_tell() {
    let redis = TestRedis::start().await;
    let gateways = gateways(2, &settings(&redis, "1s")).await;
    let id = "zzzzzzzzzzzzzzzzzzzz";
    node_server_with(&redis, id).await;
    // Asked by a gateway without a socket of its own, which does not hear Node servers' answers all the time.
    let gateway = &gateways[0];
    let mut there = Client::new(&gateways[1]).await;
    there.does(json!(["join", "r"])).await;
    let found = list(gateway, "/v1/sockets").await;
    let expected = json!({
        "id": id, "user": null, "rooms": ["r", "only there"], "data": {"is": "there"}, "address": "::ffff:10.0.0.1",
        "transport": null, "protocol": 4, "node": "node.js", "connected": "2023-11-14T22:13:20.000Z",
    });
    assert_eq!(found["sockets"][1], expected, "{found}");
    assert_eq!(found["partial"], json!([]));
    assert_eq!(
        list(gateway, &format!("/v1/sockets/{id}")).await["sockets"],
        json!([expected])
    );
    let cursor = list(gateway, "/v1/sockets?limit=1").await["cursor"]
        .as_str()
        .unwrap()
        .to_owned();
    let second = list(gateway, &format!("/v1/sockets?limit=1&cursor={cursor}")).await;
    assert_eq!(second, json!({"sockets": [expected], "partial": []}));
    assert_eq!(list(gateway, "/v1/sockets?user=bob").await["sockets"], json!([]));
    let rooms = list(gateway, "/v1/rooms").await;
    let expected = json!([{"room": "only there", "sockets": null}, {"room": "r", "sockets": 1}]);
    assert_eq!((&rooms["rooms"], &rooms["partial"]), (&expected, &json!([])));
    for (room, sockets) in [("r", 2), ("only%20there", 1), (id, 0), ("nowhere", 0)] {
        let counted = list(gateway, &format!("/v1/rooms/{room}")).await;
        assert_eq!(counted["rooms"][0]["sockets"], sockets, "{counted}");
    }
    let nodes = list(gateway, "/v1/nodes").await;
    assert_eq!((&nodes["node_servers"], &nodes["partial"]), (&json!(1), &json!([])));
}

#[tokio::test]
async fn what_is_emitted_one_after_the_other_arrives_so_whichever_way_it_takes() {
    let redis = TestRedis::start().await;
    let gateways = gateways(2, &settings(&redis, "1s")).await;
    let mut client = Client::new(&gateways[0]).await;
    for number in 0..50 {
        does(&gateways[0], "/v1/emit", json!({"event": "far", "args": [number]})).await;
        does(
            &gateways[0],
            "/v1/emit",
            json!({"event": "near", "args": [number], "local": true}),
        )
        .await;
        assert_eq!(client.event().await, json!(["far", number]));
        assert_eq!(client.event().await, json!(["near", number]));
    }
}
