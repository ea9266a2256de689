//! Both directions, value by value, and against what the stock parsers write.

use bytes::Bytes;
use serde_json::Value;

use super::super::Version;
use super::super::socket::{Kind, Packet, PacketError};
use super::{Decoded, encode};

/// Packets by the stock parsers, made by the script beside it.
const VECTORS: &str = include_str!("../../../tests/clients/vectors/msgpack.json");

pub(super) const ATTACHMENTS_MAX: usize = 10;

fn bytes(hex: &str) -> Vec<u8> {
    let hex: String = hex.split_whitespace().collect();
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

/// `data` of an event between the parts of a whole packet.
pub(super) fn event(data: &[u8]) -> Vec<u8> {
    [&bytes("83 a4 74797065 02 a3 6e7370 a1 2f a4 64617461"), data].concat()
}

/// The JSON of an event with this data, and its attachments.
fn decode(data: &[u8]) -> Result<(String, Vec<Bytes>), PacketError> {
    let message = event(data);
    let (decoded, attachments) = Decoded::decode(&message, ATTACHMENTS_MAX)?;
    let packet = decoded.packet()?;
    assert_eq!(packet.kind, Kind::Event);
    Ok((packet.json.to_owned(), attachments))
}

/// Equal as JavaScript sees them, to whom 1 and 1.0 are the same.
pub(super) fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            let (float, other_float) = (one.as_f64().unwrap(), other.as_f64().unwrap());
            // The last bit is left to `floats_keep_every_bit`: serde_json's parser does not promise it.
            one == other || (float - other_float).abs() <= float.abs() * 1e-15
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .zip(other)
                    .all(|((key, one), (other_key, other))| key == other_key && is_same(one, other))
        }
        _ => one == other,
    }
}

pub(super) fn json(text: &str) -> Value {
    serde_json::from_str(if text.is_empty() { "null" } else { text }).unwrap()
}

#[test]
fn packets_of_the_stock_parser_are_those_of_the_default_parser() {
    let vectors: serde_json::Map<String, Value> = serde_json::from_str(VECTORS).unwrap();
    assert!(vectors.len() > 25);
    for (name, vector) in vectors {
        let text = vector["text"].as_str().unwrap();
        let message = bytes(vector["hex"].as_str().unwrap());
        let expected: Vec<Bytes> = vector["attachments"]
            .as_array()
            .unwrap()
            .iter()
            .map(|hex| bytes(hex.as_str().unwrap()).into())
            .collect();
        if vector["same"] == true {
            let encoded = encode(&format!("4{text}"), &expected).unwrap();
            assert_eq!(encoded, message, "{name}");
        }
        if text.starts_with('4') {
            assert_eq!(Decoded::decode(&message, ATTACHMENTS_MAX), Err(PacketError), "{name}");
            continue;
        }
        let (decoded, attachments) = Decoded::decode(&message, ATTACHMENTS_MAX).unwrap();
        assert_eq!(attachments, expected, "{name}");
        let packet = decoded.packet().unwrap();
        let wanted = Packet::decode(text, Version::V4, ATTACHMENTS_MAX).unwrap();
        assert!(
            is_same(&json(packet.json), &json(wanted.json)),
            "{name}: {}",
            packet.json
        );
        assert_eq!(packet.array.is_some(), wanted.array.is_some(), "{name}");
        let bare = |packet| Packet {
            json: "",
            array: None,
            ..packet
        };
        assert_eq!(bare(packet), bare(wanted), "{name}");
    }
}

#[test]
fn values_become_what_javascript_would_make_of_them() {
    for (hex, expected) in [
        ("91 a1 65", r#"["e"]"#),
        ("92 a1 65 c0", r#"["e",null]"#),
        ("92 a1 65 d4 00 00", r#"["e",null]"#),
        ("92 a1 65 d4 00 07", r#"["e",null]"#),
        ("92 a1 65 82 a1 61 d4 00 00 a1 62 01", r#"["e",{"b":1}]"#),
        ("92 a1 65 81 a1 61 d4 00 00", r#"["e",{}]"#),
        ("92 a1 65 82 a1 62 01 a1 61 d4 00 00", r#"["e",{"b":1}]"#),
        (
            "93 a1 65 cf ffffffffffffffff d3 8000000000000000",
            r#"["e",18446744073709551615,-9223372036854775808]"#,
        ),
        ("92 a1 65 cf 0020000000000001", r#"["e",9007199254740993]"#),
        ("93 a1 65 cb 3ff0000000000000 cb 8000000000000000", r#"["e",1,-0]"#),
        ("93 a1 65 cb 3fb999999999999a ca 3f000000", r#"["e",0.1,0.5]"#),
        ("93 a1 65 cb 7ff8000000000000 cb fff0000000000000", r#"["e",null,null]"#),
        ("92 a1 65 d7 00 0000000000000000", r#"["e","1970-01-01T00:00:00.000Z"]"#),
        ("92 a1 65 d7 00 7fffffffffffffff", r#"["e",null]"#),
        ("92 a1 65 d6 ff 00000001", r#"["e","1970-01-01T00:00:01.000Z"]"#),
        ("92 a1 65 d7 ff 003d090000000001", r#"["e","1970-01-01T00:00:01.001Z"]"#),
        (
            "92 a1 65 c7 0c ff 000f4240 ffffffffffffffff",
            r#"["e","1969-12-31T23:59:59.001Z"]"#,
        ),
        ("92 a1 65 c7 0c ff 00000000 7fffffffffffffff", r#"["e",null]"#),
        ("92 a1 65 d9 03 e282ac", r#"["e","€"]"#),
        ("92 a1 65 da 0001 0a", r#"["e","\n"]"#),
        ("92 a1 65 db 00000001 22", r#"["e","\""]"#),
        ("92 a1 65 dc 0001 dd 00000000", r#"["e",[[]]]"#),
        ("92 a1 65 de 0001 a1 61 df 00000000", r#"["e",{"a":{}}]"#),
        (
            "92 a1 65 87 01 01 ff 02 c2 03 c0 04 cb 3ff8000000000000 05 cb 7ff0000000000000 06 d4 00 00 07",
            r#"["e",{"1":1,"-1":2,"false":3,"null":4,"1.5":5,"Infinity":6,"undefined":7}]"#,
        ),
        ("91 07", "[7]"),
    ] {
        let (json, attachments) = decode(&bytes(hex)).expect(hex);
        assert_eq!(json, expected, "{hex}");
        assert_eq!(attachments, Vec::<Bytes>::new(), "{hex}");
    }
}

#[test]
fn bytes_leave_placeholders() {
    for head in [
        "c4 02",
        "c5 0002",
        "c6 00000002",
        "c7 02 00",
        "c8 0002 00",
        "c9 00000002 00",
        "d5 00",
    ] {
        let (json, attachments) = decode(&bytes(&format!("92 a1 65 {head} 0102"))).expect(head);
        assert_eq!(json, r#"["e",{"_placeholder":true,"num":0}]"#, "{head}");
        assert_eq!(attachments, [Bytes::from_static(&[1, 2])], "{head}");
    }
    let ten = format!("9b a1 65 {}", "c4 00".repeat(10));
    assert_eq!(decode(&bytes(&ten)).unwrap().1.len(), 10);
    let eleven = format!("9c a1 65 {}", "c4 00".repeat(11));
    assert_eq!(decode(&bytes(&eleven)), Err(PacketError));
    // {_placeholder: true, num: 1} beside one attachment.
    let false_placeholder = "93 a1 65 c4 00 82 ac 5f706c616365686f6c646572 c3 a3 6e756d 01";
    assert_eq!(decode(&bytes(false_placeholder)), Err(PacketError));
}

/// Keys of a packet, and the name of the root namespace.
const KEYS: [&str; 5] = ["a474797065", "a36e7370", "a12f", "a26964", "a464617461"];

fn packet(hex: &str) -> Result<(Kind, Option<u64>, String), PacketError> {
    let message = bytes(hex);
    let (decoded, _) = Decoded::decode(&message, ATTACHMENTS_MAX)?;
    decoded
        .packet()
        .map(|packet| (packet.kind, packet.id, packet.json.to_owned()))
}

#[test]
fn packets_are_taken_however_their_fields_are_written() {
    let [kind, nsp, root, id, data] = KEYS;
    for (hex, expected) in [
        (format!("82 {kind} 00 {nsp} {root}"), (Kind::Connect, None, "")),
        (
            format!("83 {kind} 00 {nsp} {root} {data} c0"),
            (Kind::Connect, None, ""),
        ),
        (
            format!("83 {kind} 00 {nsp} {root} {data} 80"),
            (Kind::Connect, None, "{}"),
        ),
        (
            format!("83 {kind} 01 {nsp} {root} {data} c0"),
            (Kind::Disconnect, None, ""),
        ),
        (
            format!("84 {kind} 02 {nsp} {root} {data} 91a165 {id} c0"),
            (Kind::Event, None, "[\"e\"]"),
        ),
        (
            format!("84 {kind} 02 {nsp} {root} {data} 91a165 {id} d40000"),
            (Kind::Event, None, "[\"e\"]"),
        ),
        (
            format!("84 {kind} 03 {nsp} {root} {data} 90 {id} cb4000000000000000"),
            (Kind::Ack, Some(2), "[]"),
        ),
        (
            format!("84 {kind} cb4008000000000000 {nsp} {root} {data} 90 {id} d107ff"),
            (Kind::Ack, Some(2047), "[]"),
        ),
        (
            format!("84 {kind} 02 {nsp} {root} {data} 91c400 {data} 91a165"),
            (Kind::Event, None, "[\"e\"]"),
        ),
        (
            format!("84 {kind} 02 {nsp} {root} {data} 91a165 92c0c2 81c093c0c0c0"),
            (Kind::Event, None, "[\"e\"]"),
        ),
    ] {
        let (kind, id, json) = expected;
        assert_eq!(packet(&hex), Ok((kind, id, json.into())), "{hex}");
    }
}

#[test]
fn what_is_no_packet_is_refused() {
    let [kind, nsp, root, id, data] = KEYS;
    for hex in [
        String::new(),
        "c0".into(),
        "80".into(),
        "c1".into(),
        format!("82 {kind} 00 {nsp} {root} c0"),
        format!("82 {kind} 00 {nsp} c0"),
        format!("82 {kind} 00 {nsp} a0"),
        format!("82 {kind} 00 {nsp} a161"),
        format!("82 {kind} 00 {nsp} a32f2c61"),
        format!("82 {kind} ff {nsp} {root}"),
        format!("82 {kind} 05 {nsp} {root}"),
        format!("82 {kind} a130 {nsp} {root}"),
        format!("83 {kind} 04 {nsp} {root} {data} 80"),
        format!("83 {kind} 00 {nsp} {root} {data} 90"),
        format!("83 {kind} 01 {nsp} {root} {data} 80"),
        format!("82 {kind} 02 {nsp} {root}"),
        format!("83 {kind} 02 {nsp} {root} {data} c0"),
        format!("83 {kind} 02 {nsp} {root} {data} 80"),
        format!("83 {kind} 02 {nsp} {root} {data} 90"),
        format!("83 {kind} 02 {nsp} {root} {data} 91c0"),
        format!("83 {kind} 02 {nsp} {root} {data} 91aa646973636f6e6e656374"),
        format!("84 {kind} 02 {nsp} {root} {data} 91a165 {id} ff"),
        format!("84 {kind} 02 {nsp} {root} {data} 91a165 {id} a131"),
        format!("84 {kind} 02 {nsp} {root} {data} 91a165 {id} cf0020000000000001"),
        format!("84 {kind} 02 {nsp} {root} {data} 91a165 {id} cb3fe0000000000000"),
        format!("83 {kind} 02 {nsp} {root} {data} 92a165 a1ff"),
        format!("83 {kind} 02 {nsp} {root} {data} 92a165 d50100ff"),
        format!("83 {kind} 02 {nsp} {root} {data} 92a165 d5ff00ff"),
        format!("83 {kind} 02 {nsp} {root} {data} 92a165 81 90 01"),
        format!("83 {kind} 02 {nsp} {root} {data} ddffffffff a165"),
        format!("83 {kind} 02 {nsp} {root} {data} dbffffffff a165"),
    ] {
        assert_eq!(packet(&hex), Err(PacketError), "{hex}");
    }
}

#[test]
fn nesting_is_bounded_in_data_and_beside_it() {
    for (depth, is_good) in [(62, true), (63, true), (64, false), (100_000, false)] {
        let nest = [vec![0x91; depth], vec![0xc0]].concat();
        let data = [&bytes("92 a1 65"), nest.as_slice()].concat();
        assert_eq!(decode(&data).is_ok(), is_good, "{depth}");
        let maps = [bytes("92 a1 65"), [0x81, 0xc0].repeat(depth), vec![0xc0]].concat();
        assert_eq!(decode(&maps).is_ok(), is_good, "{depth} maps");
    }
    for (depth, is_good) in [(64, true), (65, false), (100_000, false)] {
        let nest = [vec![0x91; depth], vec![0xc0]].concat();
        let beside = [
            &bytes("84 a4 74797065 02 a3 6e7370 a1 2f a4 64617461 91 a1 65 a1 78"),
            nest.as_slice(),
        ]
        .concat();
        assert_eq!(Decoded::decode(&beside, 1).is_ok(), is_good, "{depth} beside");
    }
}

#[test]
fn long_values_have_long_heads() {
    let array = format!("[{}1]", "1,".repeat(65_535));
    let text = format!("\"{}\"", "x".repeat(65_536));
    let pairs: Vec<_> = (0..65_536).map(|index| format!("\"{index}\":1")).collect();
    let map = format!("{{{}}}", pairs.join(","));
    for (value, head) in [(&array, "dd 00010000"), (&text, "db 00010000"), (&map, "df 00010000")] {
        let message = encode(&format!(r#"42["e",{value}]"#), &[]).unwrap();
        let at = bytes("83 a4 74797065 02 a4 64617461 92 a1 65").len();
        assert_eq!(message[at..at + 5], bytes(head), "{head}");
        let (decoded, _) = Decoded::decode(&message, 0).unwrap();
        assert_eq!(decoded.packet().unwrap().json, format!(r#"["e",{value}]"#), "{head}");
    }
    let attachment = Bytes::from(vec![7; 65_536]);
    let message = encode(
        r#"451-["e",{"_placeholder":true,"num":0}]"#,
        std::slice::from_ref(&attachment),
    )
    .unwrap();
    assert_eq!(Decoded::decode(&message, 1).unwrap().1, [attachment]);
}

#[test]
fn json_is_rewritten_value_by_value() {
    for (text, attachments, expected) in [
        ("42[ \"e\" , { \"a\" : [ ] } ]", 0, "92 a165 81 a161 90"),
        (r#"42["\u00e9\ud83d\ude00\ud83d"]"#, 0, "91 a9 c3a9 f09f9880 efbfbd"),
        (
            "42[1,-0,1.0,1e2,-7]",
            0,
            "95 01 cb8000000000000000 cb3ff0000000000000 cb4059000000000000 f9",
        ),
        (
            "42[18446744073709551615,18446744073709551616]",
            0,
            "92 cfffffffffffffffff cb43f0000000000000",
        ),
        (
            "42[-9223372036854775808,1e400]",
            0,
            "92 d38000000000000000 cb7ff0000000000000",
        ),
        (r#"451-[{"num":0,"_placeholder":true}]"#, 1, "91 c4 01 07"),
        (r#"451-[{"x":[1],"\u005fplaceholder":true,"num":0}]"#, 1, "91 c4 01 07"),
        (
            r#"451-[{"_placeholder":false,"num":9}]"#,
            1,
            "91 82 ac5f706c616365686f6c646572 c2 a36e756d 09",
        ),
        (
            r#"451-[{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]"#,
            1,
            "92 c40107 c40107",
        ),
    ] {
        let attachments = vec![Bytes::from_static(&[7]); attachments];
        let expected = [
            bytes("83 a4 74797065 02 a4 64617461"),
            bytes(expected),
            bytes("a3 6e7370 a1 2f"),
        ]
        .concat();
        assert_eq!(encode(text, &attachments), Ok(expected), "{text}");
    }
    for text in [
        "",
        "2",
        "4",
        "47[]",
        "42/a",
        "42[",
        "42[1",
        "42[x]",
        "42{1:2}",
        "45[]",
        r#"42["a]"#,
    ] {
        assert!(encode(text, &[]).is_err(), "{text}");
    }
    let far = r#"451-[{"_placeholder":true,"num":1}]"#;
    assert!(encode(far, &[Bytes::new()]).is_err());
}

#[test]
fn an_attachment_that_is_named_over_and_over_is_not_written_over_and_over() {
    let attachment = Bytes::from(vec![7; 100_000]);
    let placeholders = vec![r#"{"_placeholder":true,"num":0}"#; 1000].join(",");
    let message = encode(&format!("451-[{placeholders}]"), &[attachment]).unwrap();
    assert!((400_000..500_000).contains(&message.len()), "{}", message.len());
}
