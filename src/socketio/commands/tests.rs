//! Commands as they are read: what is one, and what is said about what is none.

use super::*;

fn whom(rooms: &[&str]) -> Whom {
    Whom {
        namespace: None,
        rooms: rooms.iter().map(|room| CompactString::from(*room)).collect(),
        all: false,
        except: Vec::new(),
    }
}

fn emit(json: &str) -> Emit {
    match Command::parse("emit", json) {
        Ok(Command::Emit(emit)) => emit,
        other => panic!("{json}: {other:?}"),
    }
}

#[test]
fn commands_say_who_and_what() {
    let all = emit(
        r#"{"namespace":"/chat","rooms":["a",7,"a"],"user":"bob","except":["c"],"event":"hi","args":[1.10,{"b":1,"a":2}],
            "volatile":true,"local":true,"ack_timeout":"2s","id":"x"}"#,
    );
    let expected = Emit {
        whom: Whom {
            namespace: Some("/chat".into()),
            except: vec!["c".into()],
            ..whom(&["a", "7", "\0user:bob"])
        },
        json: r#"["hi",1.10,{"b":1,"a":2}]"#.into(),
        attachments: Vec::new(),
        is_volatile: true,
        is_local: true,
        ack_timeout: Some(Duration::from_secs(2)),
        id: Some("x".into()),
    };
    assert_eq!(all, expected);
    let least = emit(r#"{"event":"\"é"}"#);
    assert_eq!((least.json.as_str(), least.whom), (r#"["\"é"]"#, whom(&[])));
    assert_eq!(
        emit(r#"{"event":"e","ack_timeout":1500}"#).ack_timeout,
        Some(Duration::from_millis(1500))
    );
    let odd = emit(r#"{"event":"e","rooms":[-7.0,1e3,0.0,18446744073709549568.0],"ack_timeout":2e3}"#);
    assert_eq!(odd.whom, whom(&["-7", "1000", "0", "18446744073709549568"]));
    assert_eq!(odd.ack_timeout, Some(Duration::from_secs(2)));
    for half in [
        r#""rooms":[1.5]"#,
        r#""rooms":[1e30]"#,
        r#""ack_timeout":0.5"#,
        r#""ack_timeout":-1.0"#,
    ] {
        assert!(
            Command::parse("emit", &format!(r#"{{"event":"e",{half}}}"#)).is_err(),
            "{half}"
        );
    }
    let binary = emit(r#"{"event":"e","args":[{"$binary":"AP8="}],"rooms":"one"}"#);
    assert_eq!(binary.json, r#"["e",{"_placeholder":true,"num":0}]"#);
    assert_eq!(binary.attachments, [Bytes::from_static(b"\0\xff")]);
    for (name, json, act) in [
        (
            "join",
            r#"{"rooms":["a"],"join":["b","c"]}"#,
            Act::Join(vec!["b".into(), "c".into()]),
        ),
        ("leave", r#"{"rooms":["a"],"leave":"b"}"#, Act::Leave(vec!["b".into()])),
        ("disconnect", r#"{"rooms":["a"]}"#, Act::Disconnect { close: false }),
        (
            "disconnect",
            r#"{"rooms":["a"],"close":true}"#,
            Act::Disconnect { close: true },
        ),
    ] {
        let order = Order {
            whom: whom(&["a"]),
            act,
        };
        assert_eq!(Command::parse(name, json), Ok(Command::Order(order)), "{json}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    let long = format!(r#"{{"event":"{}"}}"#, "x".repeat(257));
    let deep = format!(r#"{{"event":"e","args":[{}{}]}}"#, "[".repeat(70), "]".repeat(70));
    let binaries = format!(r#"{{"event":"e","args":[{}]}}"#, [r#"{"$binary":""}"#; 11].join(","));
    for (name, json, field) in [
        ("emit", "{}", "event"),
        ("emit", r#"{"event":""}"#, "event"),
        ("emit", r#"{"event":1}"#, "event"),
        ("emit", r#"{"event":null}"#, "event"),
        ("emit", r#"{"event":"disconnect"}"#, "event"),
        ("emit", r#"{"event":"presence"}"#, "event"),
        ("emit", r#"["/",["a"],"u",false,[],"e",[1]]"#, ""),
        ("disconnect", "[]", ""),
        ("emit", &long, "event"),
        ("emit", r#"{"event":"e","args":{}}"#, "args"),
        ("emit", r#"{"event":"e","args":[{"$binary":"?"}]}"#, "args"),
        ("emit", &deep, "args"),
        ("emit", &binaries, "args"),
        ("emit", r#"{"event":"e","rooms":[]}"#, "rooms"),
        ("emit", r#"{"event":"e","rooms":null}"#, "rooms"),
        ("emit", r#"{"event":"e","rooms":""}"#, "rooms"),
        ("emit", r#"{"event":"e","rooms":["a",""]}"#, "rooms"),
        ("emit", r#"{"event":"e","rooms":["a",null]}"#, "rooms[1]"),
        ("emit", r#"{"event":"e","rooms":["\u0000user:bob"]}"#, "rooms"),
        ("emit", r#"{"event":"e","user":""}"#, "user"),
        ("emit", r#"{"event":"e","user":null}"#, "user"),
        ("emit", r#"{"event":"e","all":1}"#, "all"),
        ("emit", r#"{"event":"e","all":true,"rooms":["a"]}"#, "all"),
        ("emit", r#"{"event":"e","namespace":"chat"}"#, "namespace"),
        ("emit", r#"{"event":"e","ack_timeout":"61s"}"#, "ack_timeout"),
        ("emit", r#"{"event":"e","ack_timeout":0}"#, "ack_timeout"),
        ("emit", r#"{"event":"e","ack_timeout":"soon"}"#, "ack_timeout"),
        ("emit", r#"{"event":"e","id":""}"#, "id"),
        ("emit", r#"{"event":"e","room":"a"}"#, "room"),
        ("emit", r#"{"event":"e","join":["a"]}"#, "join"),
        ("emit", r#"{"event":"e","event":"f"}"#, ""),
        ("join", r#"{"rooms":["a"]}"#, "join"),
        ("join", r#"{"rooms":["a"],"join":[]}"#, "join"),
        ("join", r#"{"rooms":["a"],"join":["b"],"leave":["c"]}"#, "leave"),
        ("leave", r#"{"rooms":["a"],"join":["b"]}"#, "leave"),
        ("disconnect", r#"{"rooms":["a"],"close":"yes"}"#, "close"),
        ("shout", "{}", "shout"),
    ] {
        let invalid = Command::parse(name, json).expect_err(json);
        assert_eq!(invalid.field, field, "{json}: {invalid}");
    }
    for json in ["", "[]", "nonsense", r#"{"event":"e"} x"#, "1", r#"{"event":"#] {
        assert!(Command::parse("emit", json).is_err(), "{json}");
    }
}

#[test]
fn who_is_meant_depends_on_who_calls() {
    let (namespace, id): (Name, _) = (
        "/chat".into(),
        SocketId::from(crate::protocol::ids::Sid::parse("AAAAAAAAAAAAAAAAAAAA").unwrap()),
    );
    let socket = Caller::Socket {
        namespace: &namespace,
        id: &id,
    };
    let nobody = Caller::Nobody { namespace: &namespace };
    let resolve = |whom: Whom, caller: Caller<'_>, is_event| {
        let resolved = whom.resolve(&caller, is_event);
        resolved.map(|resolved| (resolved.namespace.to_string(), resolved.target, resolved.is_caller))
    };
    let all = |namespace: &str| Ok((namespace.to_owned(), Target::Namespace, false));
    let own = Target::Rooms(Rooms::one(id.as_str()));
    assert_eq!(resolve(whom(&[]), Caller::Api, true), all("/"));
    assert_eq!(
        resolve(whom(&[]), Caller::Api, false).unwrap_err().refusal,
        Refusal::BadRequest
    );
    assert_eq!(resolve(whom(&[]), socket, true), Ok(("/chat".to_owned(), own, true)));
    assert_eq!(
        resolve(whom(&[]), nobody, true).unwrap_err().refusal,
        Refusal::BadRequest
    );
    for caller in [socket, nobody] {
        let everybody = Whom { all: true, ..whom(&[]) };
        assert_eq!(resolve(everybody, caller, false), all("/chat"));
    }
}
