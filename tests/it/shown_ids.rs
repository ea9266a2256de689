//! A test steals the shown id and gets nowhere: what others are shown of a client opens no session.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::client::frames::WebSocket;
use crate::client::http::{Request, request};
use crate::client::socket::{Client, Transport};
use crate::gateway::TestGateway;

const SHOWN: &str = r#"
[[namespace]]
name = "/"
presence = true
stamp = true
[[namespace]]
name = "/chat"
presence = true
stamp = true
"#;

/// Every id that a witness is shown of the victim in a namespace, by every way there is, in a room of their own.
async fn ids_of(victim: &mut Client, witness: &mut Client, namespace: &str) -> HashSet<String> {
    let mut ids = HashSet::new();
    let room = format!("room of {}", witness.sid);
    let mut take = |id: &Value| {
        ids.insert(id.as_str().unwrap_or_else(|| panic!("{id}")).to_owned());
    };
    let own = witness.ask(namespace, &json!(["join", room])).await[0]["socket"].clone();
    take(&victim.ask(namespace, &json!(["join", room])).await[0]["socket"]);
    take(&witness.packet().await.data[1]["socket"]);
    victim.ask(namespace, &json!(["publish", room, "x"])).await;
    take(&witness.packet().await.data[1]["socket"]);
    let members = witness.ask(namespace, &json!(["members", room])).await;
    for member in members[0]["members"].as_array().unwrap() {
        if member["socket"] != own {
            take(&member["socket"]);
        }
    }
    victim.ask(namespace, &json!(["leave", room])).await;
    take(&witness.packet().await.data[1]["socket"]);
    ids
}

/// Tries an id as the `sid` of a session.
async fn opens_nothing(gateway: &TestGateway, sid: &str) {
    for eio in [3, 4] {
        let target = format!("/socket.io/?EIO={eio}&transport=polling&sid={sid}");
        for attempt in [
            Request::get(&target),
            Request::post(&target, if eio == 4 { "1" } else { "1:1" }),
        ] {
            request(gateway.address, &attempt).await.is_unknown_session();
        }
        let target = target.replace("polling", "websocket");
        let refused = WebSocket::try_open(gateway.address, &Request::upgrade(&target)).await;
        let refused = refused.expect_err("no upgrade for a session that does not exist");
        assert_eq!((refused.status, refused.text()), (400, "Session ID unknown"));
    }
}

#[tokio::test]
async fn a_stolen_id_gets_nowhere() {
    let gateway = TestGateway::start(SHOWN).await;
    for transport in [Transport::WebSocket, Transport::Polling] {
        for eio in [3, 4] {
            let mut victim = Client::join(&gateway, transport, eio).await;
            let mut witness = Client::new(&gateway).await;
            for namespace in ["/", "/chat"] {
                if namespace != "/" {
                    victim.enter(namespace).await;
                    witness.enter(namespace).await;
                }
                let ids = ids_of(&mut victim, &mut witness, namespace).await;
                assert_eq!(ids.len(), 1, "one shown id: {ids:?}");
                for id in ids {
                    assert!(!id.contains(&victim.sid), "{id}");
                    opens_nothing(&gateway, &id).await;
                    opens_nothing(&gateway, &format!("{namespace}%23{id}")).await;
                }
            }
            victim.does(json!(["join", "alive"])).await;
        }
    }
}
