//! The codec of the cluster's messages against what the stock adapters and emitters of every generation write.

use bytes::Bytes;
use compact_str::CompactString;
use roomcast::cluster::wire::*;
use serde_json::{Map, Value};

/// Messages of the stock packages, made by the script beside it.
const VECTORS: &str = include_str!("../cluster/vectors/vectors.json");

/// What `LONG` stands for in them.
const LONG_LENGTH: usize = 66_000;

fn vectors() -> Map<String, Value> {
    serde_json::from_str(VECTORS).unwrap()
}

/// Those that hold a message of this kind.
fn of_kind(kind: &str) -> Vec<(String, Value, Value)> {
    let all = vectors().into_iter();
    all.filter_map(|(name, vector)| Some((name, vector.get(kind)?.clone(), vector)))
        .collect()
}

fn hex(text: &str) -> Vec<u8> {
    let text: String = text.split_whitespace().collect();
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

/// Bytes that a length alone tells.
fn run(length: u64) -> Vec<u8> {
    (0..length).map(|index| (index * 7 % 256) as u8).collect()
}

fn payload(vector: &Value) -> Vec<u8> {
    let parts = vector["payload"].as_array().unwrap().iter();
    let bytes = parts.map(|part| match part {
        Value::Number(length) => run(length.as_u64().unwrap()),
        part if part == "LONG" => vec![b'y'; LONG_LENGTH],
        part => hex(part.as_str().unwrap()),
    });
    bytes.collect::<Vec<_>>().concat()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().replace("LONG", &"y".repeat(LONG_LENGTH))
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn names_of(list: &Value) -> Names {
    let list = list.as_array().unwrap().iter();
    list.map(|name| CompactString::from(name.as_str().unwrap())).collect()
}

fn name_of(value: &Value) -> Option<CompactString> {
    value.as_str().map(CompactString::from)
}

fn attachments_of(lengths: &Value) -> Vec<Bytes> {
    let lengths = lengths.as_array().unwrap().iter();
    lengths.map(|length| run(length.as_u64().unwrap()).into()).collect()
}

fn sorted(mut names: Names) -> Names {
    names.sort();
    names
}

fn assert_broadcast(name: &str, found: &Broadcast, expected: &Value) {
    assert_eq!(&*found.namespace, expected["namespace"], "{name}");
    assert_eq!(sorted(found.rooms.clone()), names_of(&expected["rooms"]), "{name}");
    assert_eq!(sorted(found.except.clone()), names_of(&expected["except"]), "{name}");
    assert_eq!(found.volatile, expected["volatile"], "{name}");
    assert_eq!(json(&found.json), json(&text(&expected["json"])), "{name}");
    assert_eq!(found.attachments, attachments_of(&expected["attachments"]), "{name}");
}

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
fn broadcasts_of_every_generation_say_what_was_broadcast() {
    let channels = Channels::new("socket.io");
    let vectors = of_kind("broadcast");
    assert!(vectors.len() > 450, "only {} vectors", vectors.len());
    for (name, expected, vector) in vectors {
        let payload = payload(&vector);
        let found = decode_broadcast(&payload).expect(&name);
        assert_broadcast(&name, &found, &expected);
        assert_eq!(peek_uid(&payload), found.uid.as_deref(), "{name}");
        match &vector["uid"] {
            Value::String(uid) => assert_eq!(found.uid.as_deref(), Some(&**uid), "{name}"),
            Value::Bool(_) => assert_eq!(found.uid.as_ref().map(|uid| uid.len()), Some(6), "{name}"),
            _ => assert_eq!(found.uid, None, "{name}"),
        }
        if found.uid.is_some() {
            let place = channels.place(&found.namespace, vector["channel"].as_str().unwrap());
            match (place, &found.rooms[..]) {
                (Some(Place::Room(room)), rooms) => assert!(rooms.iter().any(|name| name == room), "{name}"),
                (place, rooms) => assert_eq!((place, rooms.len() != 1), (Some(Place::Namespace), true), "{name}"),
            }
        }
    }
}

#[test]
fn broadcasts_are_written_as_version_8_writes_them() {
    let mut same = 0;
    for (name, expected, vector) in of_kind("broadcast") {
        // What we do not say: other flags, and what JSON cannot say.
        let is_ours = name.starts_with("8.") && !name.ends_with(" flags") && !name.ends_with(" dates");
        if !is_ours
            || name.ends_with(" not numbers")
            || name.contains(" undefined")
            || name.ends_with(" a number as room")
        {
            continue;
        }
        let mut broadcast = decode_broadcast(&payload(&vector)).unwrap();
        broadcast.json = text(&expected["json"]); // in Node's own digits
        assert!(encoded(&broadcast) == payload(&vector), "{name}");
        same += 1;
    }
    assert!(same > 35, "only {same} were compared");
}

fn selection(value: &Value) -> Selection {
    Selection {
        rooms: names_of(&value["rooms"]),
        except: names_of(&value["except"]),
    }
}

fn ask(expected: &Value) -> Ask {
    let (who, rooms) = (&expected["who"], &expected["rooms"]);
    match expected["type"].as_u64() {
        Some(0) => Ask::Sockets { rooms: names_of(rooms) },
        Some(1) => Ask::AllRooms,
        Some(2) => Ask::Join {
            who: selection(who),
            rooms: names_of(rooms),
        },
        Some(3) => Ask::Leave {
            who: selection(who),
            rooms: names_of(rooms),
        },
        Some(4) => Ask::Disconnect {
            who: selection(who),
            close: expected["close"] == true,
        },
        Some(5) => Ask::Fetch { who: selection(who) },
        Some(6) => Ask::ServerSideEmit {
            data: text(&expected["data"]),
        },
        Some(7) => {
            let broadcast = &expected["broadcast"];
            Ask::Broadcast {
                broadcast: Box::new(Broadcast {
                    uid: name_of(&expected["uid"]),
                    namespace: name_of(&broadcast["namespace"]).unwrap(),
                    rooms: names_of(&broadcast["rooms"]),
                    except: names_of(&broadcast["except"]),
                    volatile: false,
                    json: text(&broadcast["json"]),
                    attachments: attachments_of(&broadcast["attachments"]),
                }),
                timeout_ms: expected["timeout"].as_u64(),
            }
        }
        _ if expected["type"] == "custom" => Ask::Custom {
            data: text(&expected["data"]),
        },
        _ => Ask::RoomsOf {
            socket: name_of(&expected["socket"]).unwrap(),
        },
    }
}

fn dialect(expected: &Value) -> Dialect {
    match expected["dialect"].as_str().unwrap() {
        "modern" => Dialect::Modern,
        "legacy" => Dialect::Legacy,
        _ => Dialect::Sync,
    }
}

#[test]
fn requests_of_every_generation_are_read_and_those_of_version_8_written() {
    let (mut read, mut same) = (0, 0);
    for (name, expected, vector) in of_kind("request") {
        let request = decode_request(&payload(&vector)).expect(&name);
        let wanted = Request {
            uid: name_of(&expected["uid"]),
            id: name_of(&expected["id"]),
            dialect: dialect(&expected),
            ask: ask(&expected),
        };
        assert_eq!(request, wanted, "{name}");
        read += 1;
        let is_one = name.ends_with(" one"); // {sid} is written as {opts}
        let is_older_codec = name.starts_with("7.") && name.ends_with(" broadcast");
        if request.dialect == Dialect::Modern && !is_one && !is_older_codec {
            let written = encode_request(request.uid.as_deref(), request.id.as_deref(), &request.ask).unwrap();
            assert!(written == payload(&vector), "{name}: {}", written.escape_ascii());
            same += 1;
        }
    }
    assert!(read > 60 && same > 35, "{read} were read, {same} compared");
}

fn answer(expected: &Value) -> Answer {
    let list = |key: &str| names_of(&expected[key]).into_vec();
    if expected.get("sockets").is_some() {
        Answer::Sockets(list("sockets"))
    } else if expected.get("rooms").is_some() {
        Answer::Rooms(list("rooms"))
    } else if let Some(sockets) = expected.get("fetched") {
        let sockets = sockets.as_array().unwrap().iter();
        Answer::Fetched(
            sockets
                .map(|socket| RemoteSocket {
                    id: name_of(&socket["id"]).unwrap(),
                    handshake: text(&socket["handshake"]),
                    rooms: names_of(&socket["rooms"]).into_vec(),
                    data: text(&socket["data"]),
                })
                .collect(),
        )
    } else if let Some(data) = expected.get("data") {
        Answer::Data(text(data))
    } else if let Some(count) = expected.get("clientCount") {
        Answer::ClientCount(count.as_u64().unwrap())
    } else if let Some(ack) = expected.get("ack") {
        Answer::Ack {
            json: text(&ack["json"]),
            attachments: attachments_of(&ack["attachments"]),
        }
    } else {
        Answer::Done
    }
}

#[test]
fn answers_of_every_generation_are_read_and_written() {
    let (mut read, mut same) = (0, 0);
    for (name, expected, vector) in of_kind("response") {
        let payload = payload(&vector);
        let wanted = Response {
            id: name_of(&expected["id"]).unwrap(),
            dialect: dialect(&expected),
            answer: answer(&expected),
        };
        if wanted.dialect != Dialect::Sync {
            let mut found = decode_response(&payload).expect(&name);
            if let (Answer::Ack { json: found, .. }, Answer::Ack { json: wanted, .. }) =
                (&mut found.answer, &wanted.answer)
                && json(found) == json(wanted)
            {
                found.clone_from(wanted); // the same in other escapes
            }
            assert_eq!(found, wanted, "{name}");
            read += 1;
        }
        let is_undefined = name.ends_with(" a client answers nothing");
        if !is_undefined {
            let written = encode_response(&wanted).unwrap();
            assert!(written == payload, "{name}: {}", written.escape_ascii());
            same += 1;
        }
    }
    assert!(read > 60 && same > 60, "{read} were read, {same} compared");
}
