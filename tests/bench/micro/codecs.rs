//! Packets in and out, in all their forms.

use std::sync::Arc;

use bytes::Bytes;
use roomcast::protocol::Version;
use roomcast::protocol::encoded::{Encoded, WebSocketForm};
use roomcast::protocol::json::Array;
use roomcast::protocol::msgpack::Decoded;
use roomcast::protocol::payload::{PayloadForm, Reader, encode};
use roomcast::protocol::socket::{self, Packet};

use crate::case::Case;

/// A chat message, as clients publish it and as others get it.
pub(crate) const PUBLISH: &str = r#"217["publish","lobby","message",{"text":"hello, everybody","at":1700000000000}]"#;
pub(crate) const MESSAGE: &str = r#"["message",{"text":"hello, everybody","at":1700000000000}]"#;

/// With what is not ASCII, and an attachment.
const UNICODE: &str = r#"["message",{"text":"grüße an alle, 你好","at":1700000000000}]"#;
pub(crate) const BINARY: &str = r#"["image",{"name":"a.png","bytes":{"_placeholder":true,"num":0}}]"#;

/// Packets in the body of a poll.
const PACKETS: usize = 16;

const V4: WebSocketForm = WebSocketForm {
    version: Version::V4,
    base64: false,
    double_utf8: false,
    msgpack: false,
};
const V3: WebSocketForm = WebSocketForm {
    version: Version::V3,
    ..V4
};

pub(crate) fn cases() -> Vec<Case> {
    [json(), packets(), encoded(), payloads()]
        .into_iter()
        .flatten()
        .collect()
}

/// An event of 4 KB: forty small objects.
pub(crate) fn long_event() -> String {
    let items: Vec<_> = (0..40)
        .map(|number| {
            format!(r#"{{"id":{number},"name":"player number {number}","x":12.5,"y":-3.25,"alive":true,"team":null}}"#)
        })
        .collect();
    format!(r#"["state",[{}]]"#, items.join(","))
}

/// A thousand bytes that are an attachment.
pub(crate) fn attachment() -> Bytes {
    vec![0xa7; 1000].into()
}

fn json() -> Vec<Case> {
    let parse = |name: &str, text: String| {
        Case::new(
            format!("json/parse {name}"),
            || text,
            |text| Array::parse(text).map(|array| array.len()),
        )
    };
    let text_of = |length| format!(r#"["message","{}"]"#, "x".repeat(length));
    vec![
        parse("chat message", MESSAGE.into()),
        parse("objects, 4 KB", long_event()),
        parse("string, 64 B", text_of(64)),
        parse("string, 4 KB", text_of(4096)),
        parse(
            "string with escapes, 4 KB",
            format!(r#"["message","{}"]"#, r#"a line\n"#.repeat(512)),
        ),
        parse(
            "numbers, 4 KB",
            format!(r#"["samples",[{}0]]"#, "-12.75,3,".repeat(455)),
        ),
    ]
}

fn packets() -> Vec<Case> {
    let decode = |name: &str, text: String| {
        Case::new(
            format!("packet/decode {name}"),
            || text,
            |text| {
                Packet::decode(text, Version::V4, 10)
                    .expect("a packet")
                    .array
                    .map(|array| array.len())
            },
        )
    };
    let msgpack = |name: &str, packet: Arc<Encoded>| {
        Case::new(
            format!("packet/decode msgpack, {name}"),
            move || packet.msgpack().expect("a packet of Socket.IO").to_vec(),
            |message| {
                let (decoded, attachments) = Decoded::decode(message, 10).expect("a packet");
                decoded.packet().expect("an event").json.len() + attachments.len()
            },
        )
    };
    vec![
        decode("event to publish", PUBLISH.into()),
        decode("event in a namespace", format!("2/chat,{MESSAGE}")),
        decode("event, 4 KB", format!("2{}", long_event())),
        decode("binary event", format!("51-{BINARY}")),
        decode("ack", r#"317[{"ok":true}]"#.into()),
        msgpack("chat message", event(MESSAGE)),
        msgpack("4 KB", event(&long_event())),
        msgpack("binary", binary_event()),
    ]
}

/// A text event as clients get it.
pub(crate) fn event(json: &str) -> Arc<Encoded> {
    socket::event("/", &[json], Box::default())
}

/// The same with an attachment.
pub(crate) fn binary_event() -> Arc<Encoded> {
    socket::event("/", &[BINARY], Box::new([attachment()]))
}

/// What is made once a broadcast, and what each client finds there.
fn encoded() -> Vec<Case> {
    let frames = |name: &str, json: String, form: WebSocketForm| {
        Case::new(
            format!("encoded/frames {name}"),
            || json,
            move |json| event(json).frames(form).len(),
        )
    };
    let binary = |name: &str, form: WebSocketForm| {
        Case::new(format!("encoded/frames binary{name}"), attachment, move |bytes| {
            let packet = socket::event("/", &[BINARY], Box::new([bytes.clone()]));
            packet.frames(form).len()
        })
    };
    let msgpack = WebSocketForm { msgpack: true, ..V4 };
    let base64 = |form| WebSocketForm { base64: true, ..form };
    let twice = WebSocketForm {
        double_utf8: true,
        ..V3
    };
    let chat = || event(MESSAGE);
    vec![
        Case::new(
            "encoded/ack",
            || (),
            |()| socket::ack("/", 17, &[r#"[{"ok":true}]"#], Box::default()),
        ),
        Case::new(
            "encoded/event in a namespace",
            || (),
            |()| socket::event("/chat", &[MESSAGE], Box::default()),
        ),
        frames("chat message", MESSAGE.into(), V4),
        frames("4 KB", long_event(), V4),
        binary("", V4),
        binary(", v3", V3),
        binary(", base64", base64(V4)),
        binary(", msgpack", msgpack),
        frames("twice UTF-8", UNICODE.into(), twice),
        frames("msgpack", MESSAGE.into(), msgpack),
        frames("msgpack, 4 KB", long_event(), msgpack),
        frames("msgpack, base64", MESSAGE.into(), base64(msgpack)),
        Case::new("encoded/frames again", chat, |packet| packet.frames(V4).len()),
        Case::new("encoded/frames again, msgpack", chat, move |packet| {
            packet.frames(msgpack).len()
        }),
    ]
}

fn payloads() -> Vec<Case> {
    let form = |version, double_utf8| PayloadForm {
        version,
        text_only: false,
        binary_only: false,
        double_utf8,
        msgpack: false,
    };
    let write = |name: &str, form: PayloadForm| {
        Case::new(
            format!("payload/encode {name}"),
            || vec![event(MESSAGE); PACKETS],
            move |packets| encode(packets, form),
        )
    };
    let read = |name: &str, form: PayloadForm| {
        let payload = encode(&vec![event(MESSAGE); PACKETS], form);
        Case::prepared(
            format!("payload/decode {name}"),
            Bytes::new,
            move |body| *body = Bytes::copy_from_slice(&payload.body),
            move |body| {
                let (mut form, binary) = (form, form.binary_only);
                let mut reader = Reader::new(std::mem::take(body), binary, form.version);
                let mut count = 0;
                while let Some(packet) = reader.next(&mut form) {
                    packet.expect("a packet");
                    count += 1;
                }
                assert_eq!(count, PACKETS);
            },
        )
    };
    let (v4, v3) = (form(Version::V4, false), form(Version::V3, false));
    let binary = PayloadForm {
        binary_only: true,
        ..v3
    };
    vec![
        write("16 packets, v4", v4),
        write("16 packets, v4 msgpack", PayloadForm { msgpack: true, ..v4 }),
        write("16 packets, v3", v3),
        write("16 packets, v3 binary", binary),
        read("16 packets, v4", v4),
        read("16 packets, v3", v3),
        read("16 packets, v3 binary", binary),
    ]
}
