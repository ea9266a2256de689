//! What must not be read is refused, what is written can be read, and nothing does harm.

use bytes::Bytes;
use compact_str::CompactString;
use proptest::prelude::*;
use serde_json::{Map, Value};

use super::*;

fn hex(text: &str) -> Vec<u8> {
    let text: String = text.split_whitespace().collect();
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

/// Bytes that a length alone tells.
fn encoded(broadcast: &Broadcast) -> Vec<u8> {
    let Broadcast {
        rooms,
        except,
        volatile,
        ..
    } = broadcast;
    let tail = encode_tail(&broadcast.packet(), rooms, except, *volatile).unwrap();
    message(broadcast.uid.as_deref().unwrap_or("none"), tail).to_vec()
}

#[test]
fn a_handshake_is_what_node_calls_one() {
    let object = |text: &str| serde_json::from_str::<Map<String, Value>>(text).unwrap();
    let handshake = Handshake {
        headers: &object(r#"{"host":"h"}"#),
        time: "t",
        address: "127.0.0.1",
        xdomain: false,
        secure: true,
        issued: 1,
        url: "/socket.io/",
        query: &object(r#"{"EIO":"4"}"#),
        auth: serde_json::from_str(r#"{"a": 1}"#).unwrap(),
    };
    let expected = r#"{"headers":{"host":"h"},"time":"t","address":"127.0.0.1","xdomain":false,"secure":true,"issued":1,"url":"/socket.io/","query":{"EIO":"4"},"auth":{"a": 1}}"#;
    assert_eq!(handshake.to_json(), expected);
}

/// A broadcast of `data`, in hex, between what is always the same.
fn broadcast_of(data: &str) -> Vec<u8> {
    hex(&format!("93 a1 75 82 a4 74797065 02 a4 64617461 {data} 80"))
}

#[test]
fn what_clients_must_not_get_is_refused() {
    for (data, why) in [
        ("90", "no name"),
        ("91 c0", "a name that is null"),
        ("91 c4 01 00", "a name that is bytes"),
        ("91 a7 636f6e6e656374", "connect"),
        ("91 aa 646973636f6e6e656374", "disconnect"),
        ("80", "no list"),
        (
            "93 a1 65 c4 01 00 82 ac 5f706c616365686f6c646572 c3 a3 6e756d 05",
            "a false placeholder",
        ),
        ("92 a1 65", "too few items"),
        ("91 a1 65 00", "too many"),
    ] {
        assert!(decode_broadcast(&broadcast_of(data)).is_err(), "{why}");
    }
    for kind in [0, 1, 3, 4, 6] {
        let mut message = broadcast_of("91 a1 65");
        message[9] = kind;
        assert_eq!(decode_broadcast(&message), Err(WireError::PacketType(kind.into())));
    }
    for namespace in ["a1 78", "a3 2f2c78", "a2 2f3f", "07"] {
        let message = format!("93 a1 75 83 a4 74797065 02 a4 64617461 91 a1 65 a3 6e7370 {namespace} 80");
        assert!(decode_broadcast(&hex(&message)).is_err(), "{namespace}");
    }
}

#[test]
fn missing_means_none_and_a_room_counts_once() {
    let head = "93 a1 75 82 a4 74797065 05 a4 64617461 91 a1 65";
    for options in [
        "80",
        "c0",
        "d4 00 00",
        "83 a5 726f6f6d73 c0 a6 657863657074 d4 00 00 a5 666c616773 c0",
    ] {
        let broadcast = decode_broadcast(&hex(&format!("{head} {options}"))).expect(options);
        assert_eq!((&*broadcast.namespace, &*broadcast.json), ("/", r#"["e"]"#));
        assert!(broadcast.rooms.is_empty() && broadcast.except.is_empty() && !broadcast.volatile);
    }
    let message = format!("{head} 81 a5 726f6f6d73 95 a1 61 07 a1 61 a1 37 cb 3ff8000000000000");
    let broadcast = decode_broadcast(&hex(&message)).unwrap();
    assert_eq!(&broadcast.rooms[..], ["a", "7", "1.5"]);
    let many: Names = (0..100)
        .map(|number| CompactString::from(format!("{}", number % 40)))
        .collect();
    assert_eq!(names::unique(many).len(), 40);
}

#[test]
fn great_numbers_keep_their_digits() {
    let message = broadcast_of("94 a1 65 cf ffffffffffffffff d3 8000000000000000 cf 0020000000000001");
    let broadcast = decode_broadcast(&message).unwrap();
    assert_eq!(
        broadcast.json,
        r#"["e",18446744073709551615,-9223372036854775808,9007199254740993]"#
    );
    let request = br#"{"uid":"u","type":6,"data":["e",9007199254740993,1.0]}"#;
    let data = r#"["e",9007199254740993,1.0]"#.to_owned();
    assert_eq!(decode_request(request).unwrap().ask, Ask::ServerSideEmit { data });
}

#[test]
fn numbers_that_two_generations_use_otherwise_are_told_apart() {
    let leave = br#"{"uid":"u","type":3,"opts":{"rooms":["a"],"except":[]},"rooms":["b"]}"#;
    assert!(matches!(decode_request(leave).unwrap().ask, Ask::Leave { .. }));
    let join = br#"{"requestid":"q","type":3,"sid":"a","room":"b"}"#;
    assert!(matches!(decode_request(join).unwrap().ask, Ask::Join { .. }));
    // Without a word on whom, an order must not be for everybody.
    for order in [
        r#"{"type":2,"rooms":["b"]}"#,
        r#"{"type":4,"close":true}"#,
        r#"{"type":5,"requestId":"q"}"#,
    ] {
        assert!(decode_request(order.as_bytes()).is_err(), "{order}");
    }
    assert_eq!(decode_request(br#"{"type":12}"#), Err(WireError::MessageType(12)));
    assert!(decode_request(br#"{"type":6,"data":{}}"#).is_err());
}

#[test]
fn levels_are_bounded() {
    let nested = |levels: usize| broadcast_of(&format!("92 a1 65 {} c0", "91 ".repeat(levels)));
    assert!(decode_broadcast(&nested(63)).is_ok());
    assert!(decode_broadcast(&nested(64)).is_err());
    assert!(decode_broadcast(&vec![0x91; 1_000_000]).is_err());
    assert!(decode_request(&vec![0x91; 1_000_000]).is_err());
    let json = |levels: usize| format!(r#"{{"type":6,"data":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
    assert!(decode_request(json(64).as_bytes()).is_ok());
    assert!(decode_request(json(65).as_bytes()).is_err());
    assert!(decode_request(json(100_000).as_bytes()).is_err());
    assert!(decode_broadcast(&hex("dd ffffffff")).is_err());
}

fn any_name() -> impl Strategy<Value = CompactString> {
    any::<String>().prop_map(CompactString::from)
}

fn any_names() -> impl Strategy<Value = Names> {
    prop::collection::btree_set(any_name(), 0..20).prop_map(Names::from_iter)
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

prop_compose! {
    fn any_broadcast()(
        uid in any_name(),
        namespace in prop_oneof![Just("/".to_owned()), "/[a-zé#]{1,40}"],
        rooms in any_names(),
        except in any_names(),
        volatile: bool,
        name in "[a-z]{1,12}é",
        argument in any_json(),
        attachments in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..5),
    ) -> Broadcast {
        let mut data = vec![Value::from(name), argument];
        let numbers = 0..attachments.len();
        data.extend(numbers.map(|num| serde_json::json!({"_placeholder": true, "num": num})));
        Broadcast {
            uid: Some(uid),
            namespace: namespace.into(),
            rooms,
            except,
            volatile,
            json: Value::from(data).to_string(),
            attachments: attachments.into_iter().map(Bytes::from).collect(),
        }
    }
}

fn any_selection() -> impl Strategy<Value = Selection> {
    (any_names(), any_names()).prop_map(|(rooms, except)| Selection { rooms, except })
}

fn any_ask() -> impl Strategy<Value = Ask> {
    prop_oneof![
        any_names().prop_map(|rooms| Ask::Sockets { rooms }),
        Just(Ask::AllRooms),
        (any_selection(), any_names()).prop_map(|(who, rooms)| Ask::Join { who, rooms }),
        (any_selection(), any_names()).prop_map(|(who, rooms)| Ask::Leave { who, rooms }),
        (any_selection(), any::<bool>()).prop_map(|(who, close)| Ask::Disconnect { who, close }),
        any_selection().prop_map(|who| Ask::Fetch { who }),
        any_json().prop_map(|argument| Ask::ServerSideEmit {
            data: Value::from(vec![argument]).to_string()
        }),
        (any_broadcast(), prop::option::of(0..1_u64 << 53)).prop_map(|(broadcast, timeout_ms)| Ask::Broadcast {
            broadcast: Box::new(broadcast),
            timeout_ms,
        }),
    ]
}

fn any_answer() -> impl Strategy<Value = Answer> {
    let names = || prop::collection::vec(any_name(), 0..5);
    let socket = (any_name(), any_json(), names(), any_json()).prop_map(|(id, handshake, rooms, data)| RemoteSocket {
        id,
        handshake: handshake.to_string(),
        rooms,
        data: data.to_string(),
    });
    prop_oneof![
        names().prop_map(Answer::Sockets),
        names().prop_map(Answer::Rooms),
        prop::collection::vec(socket, 1..4).prop_map(Answer::Fetched),
        Just(Answer::Done),
        any_json().prop_map(|data| Answer::Data(data.to_string())),
        any::<u64>().prop_map(Answer::ClientCount),
        (any_json(), prop::collection::vec(any::<u8>(), 0..20)).prop_map(|(value, bytes)| Answer::Ack {
            json: serde_json::json!([{"_placeholder": true, "num": 0}, value]).to_string(),
            attachments: vec![bytes.into()],
        }),
    ]
}

proptest! {
    #[test]
    fn a_broadcast_there_and_back_is_the_same(broadcast in any_broadcast()) {
        let message = encoded(&broadcast);
        prop_assert_eq!(peek_uid(&message), broadcast.uid.as_deref());
        prop_assert_eq!(decode_broadcast(&message), Ok(broadcast));
    }

    #[test]
    fn a_request_there_and_back_is_the_same(
        uid in prop::option::of(any_name()),
        id in prop::option::of(any_name()),
        mut ask in any_ask(),
    ) {
        if let Ask::Broadcast { broadcast, .. } = &mut ask {
            broadcast.uid.clone_from(&uid);
        }
        let message = encode_request(uid.as_deref(), id.as_deref(), &ask).unwrap();
        let request = Request { uid, id, dialect: Dialect::Modern, ask };
        prop_assert_eq!(decode_request(&message), Ok(request));
    }

    #[test]
    fn an_answer_there_and_back_is_the_same(id in any_name(), answer in any_answer(), is_legacy: bool) {
        let dialect = if is_legacy { Dialect::Legacy } else { Dialect::Modern };
        prop_assume!(!is_legacy || answer != Answer::Data("null".into())); // the same as none
        let response = Response { id, dialect, answer };
        match encode_response(&response) {
            Ok(message) => prop_assert_eq!(decode_response(&message), Ok(response)),
            Err(_) => prop_assert!(is_legacy),
        }
    }

    #[test]
    fn no_bytes_make_a_decoder_fail_badly(data in prop::collection::vec(any::<u8>(), 0..300), head in 0..3) {
        let head: &[u8] = match head {
            0 => b"",
            1 => b"\x93\xa1u\x82\xa4type\x02\xa4data\x92\xa1e",
            _ => b"{\"type\":",
        };
        let message = [head, &data].concat();
        peek_uid(&message);
        if let Ok(broadcast) = decode_broadcast(&message) {
            prop_assert!(encode_tail(&broadcast.packet(), &broadcast.rooms, &broadcast.except, false).is_ok());
        }
        let _ = (decode_request(&message), decode_response(&message));
    }

    #[test]
    fn one_wrong_byte_does_no_harm(broadcast in any_broadcast(), at: prop::sample::Index, byte: u8) {
        let mut message = encoded(&broadcast);
        let at = at.index(message.len());
        message[at] = byte;
        if let Ok(broadcast) = decode_broadcast(&message) {
            prop_assert!(serde_json::from_str::<Value>(&broadcast.json).is_ok());
            prop_assert!(encode_tail(&broadcast.packet(), &broadcast.rooms, &broadcast.except, false).is_ok());
        }
    }
}
