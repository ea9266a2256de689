//! What must hold for every payload, packet and message, whoever wrote it.
//!
//! What is read can be written again and is read as the same; what is passed on can be read by everybody else. A check
//! never compares a decoder with itself where another reader can be had.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::Version;
use super::encoded::Encoded;
use super::engine::{Message, Packet, PacketError, decode_binary, decode_text};
use super::json::{self, Array, DEPTH_MAX};
use super::msgpack::{self, Decoded};
use super::payload::{self, PayloadForm};
use super::socket::{self, ID_MAX, Kind, RESERVED_EVENTS};

/// Attachments that a packet may have here, as by default.
const ATTACHMENTS_MAX: usize = 10;

/// Bodies of polling requests: the first byte picks the form, the rest is the body.
pub(crate) fn payload(data: &[u8]) {
    let Some((form, body)) = data.split_first() else { return };
    match form % 4 {
        0 => payload_as(body, Version::V4, false),
        1 => payload_as(body, Version::V3, false),
        2 => payload_as(body, Version::V3, true),
        _ => jsonp(body),
    }
}

/// All packets of a body, up to the first that is none.
pub(super) fn decode(body: &[u8], binary: bool, form: &mut PayloadForm) -> (Vec<Packet>, Result<(), PacketError>) {
    let mut reader = payload::Reader::new(Bytes::copy_from_slice(body), binary, form.version);
    let mut packets = Vec::new();
    while let Some(packet) = reader.next(form) {
        match packet {
            Ok(packet) => packets.push(packet),
            Err(error) => {
                assert_eq!(reader.next(form), None, "there is nothing behind an error");
                return (packets, Err(error));
            }
        }
    }
    (packets, Ok(()))
}

fn payload_as(body: &[u8], version: Version, binary: bool) {
    let (packets, result) = decode(body, binary, &mut PayloadForm::plain(version));
    assert!(packets.len() <= body.len() + 1, "a packet takes bytes");
    if result.is_err() {
        return;
    }
    let mut written = Vec::new();
    for packet in &packets {
        match (version, binary) {
            (Version::V4, _) => {
                if !written.is_empty() {
                    written.push(0x1e);
                }
                written.extend(text_of(packet, version).bytes());
            }
            (Version::V3, false) => {
                // Once more as UTF-8, as clients 1.x do: the one form that can be told from all others.
                let text: String = text_of(packet, version).bytes().map(char::from).collect();
                written.extend(format!("{}:{text}", text.chars().count()).bytes());
            }
            (Version::V3, true) => {
                let (kind, bytes) = match packet {
                    Packet::Message(Message::Binary(bytes)) => (1, [&[4], &bytes[..]].concat()),
                    packet => (0, text_of(packet, version).into_bytes()),
                };
                written.push(kind);
                written.extend(bytes.len().to_string().bytes().map(|digit| digit - b'0'));
                written.push(0xff);
                written.extend(bytes);
            }
        }
    }
    if packets.is_empty() {
        return; // there is no payload of nothing but v3's `0:`
    }
    let (again, result) = decode(&written, binary, &mut PayloadForm::plain(version));
    assert_eq!((again, result), (packets.clone(), Ok(())), "{written:?}");
    for packet in &packets {
        if let Packet::Message(Message::Text(text)) = packet {
            answers(text);
        }
    }
}

/// A packet as a client writes it.
fn text_of(packet: &Packet, version: Version) -> String {
    match packet {
        Packet::Open => "0".into(),
        Packet::Close => "1".into(),
        Packet::Ping(data) => format!("2{data}"),
        Packet::Pong => "3".into(),
        Packet::Message(Message::Text(text)) => format!("4{text}"),
        Packet::Message(Message::Binary(bytes)) => {
            let kind = if version == Version::V3 { "b4" } else { "b" };
            format!("{kind}{}", STANDARD.encode(bytes))
        }
        Packet::Upgrade => "5".into(),
        Packet::Noop => "6".into(),
    }
}

/// An event that is passed on reaches pollers of either version as it is.
fn answers(text: &str) {
    let Ok(packet) = socket::Packet::decode(text, Version::V3, ATTACHMENTS_MAX) else {
        return;
    };
    if packet.kind != Kind::Event || packet.attachments > 0 || !packet.namespace.is_ascii() {
        return;
    }
    let event = socket::event(packet.namespace, &[packet.json], Box::default());
    if !packet.namespace.contains('\u{1e}') {
        let answer = payload::encode(
            &[Arc::clone(&event), Arc::clone(&event)],
            PayloadForm::plain(Version::V4),
        );
        let message = Packet::Message(Message::Text(event.packet()[1..].to_owned()));
        let (read, result) = decode(&answer.body, answer.binary, &mut PayloadForm::plain(Version::V4));
        assert_eq!((read, result), (vec![message.clone(), message], Ok(())));
    }
    let answer = payload::encode(&[event], PayloadForm::plain(Version::V3));
    assert!(
        answer.binary || answer.body.is_ascii(),
        "clients 1.x and 2.x read only ASCII alike"
    );
    let (read, result) = decode(&answer.body, answer.binary, &mut PayloadForm::plain(Version::V3));
    let Ok([Packet::Message(Message::Text(read))]) = result.map(|()| &read[..]) else {
        panic!("{:?} is not one message", answer.body);
    };
    let read = socket::Packet::decode(read, Version::V3, ATTACHMENTS_MAX).expect("an event");
    assert_eq!(read.namespace, packet.namespace);
    assert_eq!(value(read.json), value(packet.json));
}

/// Text as JSONP clients send it, and as they are sent it.
fn jsonp(body: &[u8]) {
    if let Some(text) = payload::unwrap_jsonp(body) {
        assert!(text.len() <= 3 * body.len(), "what is no character becomes three bytes");
    }
    let text = String::from_utf8_lossy(body);
    if !text.contains("\\\n") {
        let sent = text.replace("\\n", "\\\\n").replace('\n', "\\n");
        let sent = form_urlencoded::Serializer::new(String::new())
            .append_pair("d", &sent)
            .finish();
        assert_eq!(payload::unwrap_jsonp(sent.as_bytes()).as_deref(), Some(&*text));
    }
    let script = String::from_utf8(payload::wrap_jsonp("7", body)).expect("a script in UTF-8");
    assert!(!script.contains(['\u{2028}', '\u{2029}', '\n']), "line ends in scripts");
    let literal = script
        .strip_prefix("___eio[7](")
        .and_then(|rest| rest.strip_suffix(");"));
    let literal: String = serde_json::from_str(literal.expect("a call")).expect("a string");
    assert_eq!(literal, text);
}

/// One packet as text, with attachments behind it: pieces of the input between bytes 0xff.
pub(crate) fn socket_packet(data: &[u8]) {
    let mut pieces = data.split(|byte| *byte == 0xff);
    let first = pieces.next().unwrap_or_default();
    let attachments: Vec<_> = pieces.map(Bytes::copy_from_slice).collect();
    for version in [Version::V3, Version::V4] {
        let _ = decode_binary(first, version);
        if let Ok(text) = std::str::from_utf8(first)
            && let Ok(packet) = decode_text(text, version)
        {
            assert_eq!(decode_text(&text_of(&packet, version), version), Ok(packet));
        }
    }
    let Ok(text) = std::str::from_utf8(first) else { return };
    if let Ok(packet) = socket::Packet::decode(text, Version::V4, 0) {
        assert!(packet.attachments <= text.len() / 29, "no more than it can name");
    }
    let Ok(packet) = socket::Packet::decode(text, Version::V3, ATTACHMENTS_MAX) else {
        return;
    };
    assert!(packet.attachments <= ATTACHMENTS_MAX);
    assert!(packet.namespace.starts_with('/') && !packet.namespace.contains(['?', ',']));
    assert!(packet.namespace.len() <= 128 && packet.id.is_none_or(|id| id <= ID_MAX));
    assert!(packet.json.is_empty() || is_json(packet.json), "{}", packet.json);
    let Some(array) = packet.array else { return };
    if packet.kind == Kind::Event {
        let name = json::string(array.element(0).expect("an event has a name"));
        assert!(name.is_none_or(|name| !RESERVED_EVENTS.contains(&&*name)));
    }
    let attachments = attachments.get(..packet.attachments);
    if let Some(attachments) = attachments
        && json::check_placeholders(packet.json, packet.attachments).is_ok()
    {
        passed_on(&packet, attachments);
    }
}

/// What others are sent for a packet says the same as the packet, as text and in MessagePack.
fn passed_on(packet: &socket::Packet<'_>, attachments: &[Bytes]) {
    let attached = || attachments.iter().cloned().collect();
    let written: Arc<Encoded> = match (packet.kind, packet.id) {
        (Kind::Ack, Some(id)) => socket::ack(packet.namespace, id, &[packet.json], attached()),
        _ => socket::event(packet.namespace, &[packet.json], attached()),
    };
    // Acks may hold what no event may be called.
    let read = socket::Packet::decode(&written.packet()[1..], Version::V3, ATTACHMENTS_MAX);
    if packet.kind == Kind::Event || packet.id.is_some() {
        let read = read.expect("a packet of ours");
        assert_eq!((read.namespace, read.json), (packet.namespace, packet.json));
        assert_eq!(read.attachments, attachments.len());
    }
    let message = written.msgpack().expect("a packet of Socket.IO");
    let (decoded, found) = Decoded::decode(message, 0).expect("MessagePack of ours");
    let bytes: usize = attachments.iter().map(Bytes::len).sum();
    // Attachments that are named very often are cut, which is another check's business. Numbers beyond all are null when
    // they come back.
    if packet.kind == Kind::Event
        && bytes * packet.json.len() / 29 < 64 * 1024
        && let Some(sent) = value(packet.json)
    {
        let read = decoded.packet().expect("a packet of ours");
        assert_eq!(read.namespace, packet.namespace);
        let read = value(read.json).expect("JSON of ours");
        let (read, sent) = (attach(read, &found), attach(sent, attachments));
        assert!(is_same(&read, &sent), "{read} is not {sent}");
    }
}

/// Any text, as JSON and as the text in a JSON string.
pub(crate) fn json(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut written = String::new();
    json::write_string(&mut written, text);
    assert_eq!(serde_json::from_str::<String>(&written).ok().as_deref(), Some(text));
    assert_eq!(json::string(&written).as_deref(), Some(text));

    let begins = text.trim_start_matches([' ', '\t', '\n', '\r']).chars().next();
    let is_good = is_json(text) && depth(text) <= DEPTH_MAX as usize;
    assert_eq!(Array::parse(text).is_ok(), is_good && begins == Some('['));
    assert_eq!(json::check_object(text).is_ok(), is_good && begins == Some('{'));
    if let Ok(array) = Array::parse(text) {
        elements(text, &array);
        for attachments in 0..3 {
            let is_accepted = json::check_placeholders(text, attachments).is_ok();
            let is_wrong = value(text).is_some_and(|value| !are_placeholders_good(&value, attachments));
            assert!(!(is_accepted && is_wrong), "illegal attachments");
        }
    }
}

/// The elements of an array are where serde finds them.
fn elements(text: &str, array: &Array<'_>) {
    let expected: Vec<IgnoredAny> = serde_json::from_str(text).expect("it was compared with serde before");
    assert_eq!((array.len(), array.is_empty()), (expected.len(), expected.is_empty()));
    let values: Option<Vec<Value>> = serde_json::from_str(text).ok();
    for index in 0..6 {
        let element = array.element(index);
        assert_eq!(element.is_some(), index < array.len().min(4));
        let Some(element) = element else { continue };
        assert!(is_json(element) && array.tail(index).starts_with(element));
        assert!(is_json(&format!("[{}", array.tail(index))));
        if let Some(values) = &values {
            assert_eq!(value(element).as_ref(), Some(&values[index]));
        }
        if element.starts_with('"') {
            let read = json::string(element).expect("a string");
            match serde_json::from_str::<String>(element) {
                Ok(expected) => assert_eq!(read, expected),
                Err(_) => assert!(read.contains(char::REPLACEMENT_CHARACTER), "a lone surrogate"),
            }
        }
    }
}

/// Any bytes as a message in MessagePack.
pub(crate) fn msgpack(data: &[u8]) {
    let Ok((decoded, attachments)) = Decoded::decode(data, ATTACHMENTS_MAX) else {
        return;
    };
    assert!(attachments.len() <= ATTACHMENTS_MAX);
    assert!(attachments.iter().map(Bytes::len).sum::<usize>() <= data.len());
    assert!(
        decoded.json_bytes() <= 20 * data.len(),
        "JSON is longer, but not for ever"
    );
    let Ok(packet) = decoded.packet() else { return };
    assert!(packet.namespace.starts_with('/') && !packet.namespace.contains(',')); // for v4 a `?` is a character
    assert!(packet.json.is_empty() || (is_json(packet.json) && depth(packet.json) <= DEPTH_MAX as usize));
    if packet.array.is_some() {
        assert!(json::check_placeholders(packet.json, attachments.len()).is_ok() || attachments.is_empty());
        let head = if attachments.is_empty() {
            "42".into()
        } else {
            format!("45{}-", attachments.len())
        };
        let message = msgpack::encode(&format!("{head}{}", packet.json), &attachments).expect("JSON of ours");
        let (again, found) = Decoded::decode(&message, 0).expect("MessagePack of ours");
        assert!(found == attachments || attachments.is_empty());
        if packet.kind == Kind::Event {
            let again = again.packet().expect("a packet of ours").json.to_owned();
            if let (Some(read), Some(sent)) = (value(&again), value(packet.json)) {
                assert!(is_same(&read, &sent), "{read} is not {sent}");
            }
        }
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// The value; `None` for what serde refuses and JavaScript does not: lone surrogates, numbers beyond all.
fn value(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}

/// Levels of nesting in JSON.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest, mut is_string, mut is_escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_string => is_escaped = true,
            b'"' => is_string = !is_string,
            b'[' | b'{' if !is_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !is_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn is_placeholder(object: &Map<String, Value>) -> bool {
    object.get("_placeholder") == Some(&Value::Bool(true))
}

fn are_placeholders_good(value: &Value, attachments: usize) -> bool {
    match value {
        Value::Array(items) => items.iter().all(|item| are_placeholders_good(item, attachments)),
        Value::Object(object) => {
            let number = object.get("num").and_then(Value::as_u64);
            (!is_placeholder(object) || number.is_some_and(|number| number < attachments as u64))
                && object.values().all(|item| are_placeholders_good(item, attachments))
        }
        _ => true,
    }
}

/// Puts bytes where their placeholders stand.
fn attach(value: Value, attachments: &[Bytes]) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(|item| attach(item, attachments)).collect(),
        Value::Object(object) if is_placeholder(&object) && !attachments.is_empty() => {
            let number = object.get("num").and_then(Value::as_u64).unwrap_or(u64::MAX);
            let bytes = attachments.get(usize::try_from(number).unwrap_or(usize::MAX));
            Value::from(format!("{bytes:?}"))
        }
        Value::Object(object) => {
            let items = object.into_iter().map(|(key, item)| (key, attach(item, attachments)));
            Value::Object(items.collect())
        }
        value => value,
    }
}

/// Equal as JavaScript sees them, to whom 1 and 1.0 are the same; serde_json may be off by the last bit.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            let (float, other_float) = (one.as_f64().unwrap_or(f64::NAN), other.as_f64().unwrap_or(f64::NAN));
            one == other || (float - other_float).abs() <= float.abs() * 1e-15 + f64::MIN_POSITIVE
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(key, one)| other.get(key).is_some_and(|other| is_same(one, other)))
        }
        _ => one == other,
    }
}
