//! A packet for text clients, rewritten in MessagePack.
//!
//! One walk over JSON that was checked before, into one buffer. Nothing is written for what a packet does not have: the
//! clients' parser refuses nil where it expects nothing.

use bytes::Bytes;
use rmp::encode::{
    write_array_len, write_bin, write_bool, write_f64, write_map_len, write_nil, write_sint, write_str, write_uint,
};

use super::super::json::{self, DEPTH_MAX, JsonError, Scanner};

/// Levels that an answer or event of ours may have: a client's, in one array more.
const LEVELS_MAX: u32 = DEPTH_MAX + 1;

/// How many times their size attachments may take in all: a text may name one of them any number of times, and here each
/// time costs its bytes.
const REPEATS_MAX: usize = 4;

/// Bytes of attachments that are no matter, however often they are named.
const REPEATED_BYTES_MIN: usize = 64 * 1024;

/// Writes the packet whose text is `packet` (with Engine.IO's type digit) and whose placeholders stand for `attachments`.
///
/// # Errors
/// When it is no Socket.IO packet of ours.
pub(crate) fn encode(packet: &str, attachments: &[Bytes]) -> Result<Vec<u8>, JsonError> {
    encode_behind(Vec::with_capacity(packet.len() + 32), packet, attachments)
}

/// The same behind what is in `out`.
///
/// # Errors
/// When it is no Socket.IO packet of ours.
pub(crate) fn encode_behind(mut out: Vec<u8>, packet: &str, attachments: &[Bytes]) -> Result<Vec<u8>, JsonError> {
    let head = Head::parse(packet).ok_or(JsonError)?;
    let keys = 2 + u32::from(!head.json.is_empty()) + u32::from(head.id.is_some());
    taken(write_map_len(&mut out, keys));
    taken(write_str(&mut out, "type"));
    taken(write_uint(&mut out, head.kind.into()));
    if !head.json.is_empty() {
        taken(write_str(&mut out, "data"));
        out = encode_value(out, head.json, attachments)?;
    }
    taken(write_str(&mut out, "nsp"));
    taken(write_str(&mut out, head.namespace));
    if let Some(id) = head.id {
        taken(write_str(&mut out, "id"));
        taken(write_uint(&mut out, id));
    }
    Ok(out)
}

/// Writes a value behind what is in `out`: checked JSON, and `attachments` for its placeholders.
///
/// # Errors
/// When it has too many levels, or a placeholder stands for nothing.
pub(crate) fn encode_value(mut out: Vec<u8>, json: &str, attachments: &[Bytes]) -> Result<Vec<u8>, JsonError> {
    let bytes: usize = attachments.iter().map(Bytes::len).sum();
    out.reserve(json.len() + bytes);
    let mut writer = Writer {
        scanner: Scanner::new(json),
        out,
        attachments,
        bytes_left: (bytes * REPEATS_MAX).max(REPEATED_BYTES_MIN),
    };
    writer.value(0)?;
    Ok(writer.out)
}

/// What stands before the JSON of a packet.
struct Head<'a> {
    kind: u8,
    namespace: &'a str,
    id: Option<u64>,
    json: &'a str,
}

impl<'a> Head<'a> {
    fn parse(packet: &'a str) -> Option<Self> {
        let packet = packet.strip_prefix('4')?;
        let (kind, mut rest) = match packet.as_bytes().first()? {
            kind @ b'0'..=b'4' => (kind - b'0', &packet[1..]),
            kind @ b'5'..=b'6' => (kind - b'0' - 3, packet.split_once('-')?.1),
            _ => return None,
        };
        let mut namespace = "/";
        if rest.starts_with('/') {
            (namespace, rest) = rest.split_once(',')?;
        }
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (id, json) = rest.split_at(digits);
        let id = if id.is_empty() { None } else { Some(id.parse().ok()?) };
        Some(Self {
            kind,
            namespace,
            id,
            json,
        })
    }
}

struct Writer<'a> {
    scanner: Scanner<'a>,
    out: Vec<u8>,
    attachments: &'a [Bytes],
    /// Bytes of attachments that may still be written.
    bytes_left: usize,
}

impl<'a> Writer<'a> {
    /// One value, and its text where it holds no others. Recursion is bounded by `LEVELS_MAX`.
    fn value(&mut self, depth: u32) -> Result<&'a str, JsonError> {
        self.scanner.skip_space();
        match self.scanner.peek().ok_or(JsonError)? {
            b'{' | b'[' if depth == LEVELS_MAX => return Err(JsonError),
            b'[' => return self.array(depth + 1).map(|()| ""),
            b'{' => return self.object(depth + 1).map(|()| ""),
            _ => {}
        }
        let literal = self.scanner.take_scalar()?;
        let out = &mut self.out;
        match literal {
            "null" => taken(write_nil(out)),
            "true" | "false" => taken(write_bool(out, literal == "true")),
            text if text.starts_with('"') => taken(write_str(out, &json::string(text).ok_or(JsonError)?)),
            digits => self.number(digits)?,
        }
        Ok(literal)
    }

    fn number(&mut self, digits: &str) -> Result<(), JsonError> {
        let out = &mut self.out;
        if let Ok(number) = digits.parse::<u64>() {
            taken(write_uint(out, number));
        } else if let Ok(number) = digits.parse::<i64>()
            && number != 0
        {
            taken(write_sint(out, number));
        } else {
            taken(write_f64(out, digits.parse().map_err(|_| JsonError)?));
        }
        Ok(())
    }

    fn array(&mut self, depth: u32) -> Result<(), JsonError> {
        let at = self.begin(b'[')?;
        let mut length = 0;
        while !self.scanner.eat(b']') {
            self.value(depth)?;
            self.scanner.next_item();
            length += 1;
        }
        self.end(at, |head| write_array_len(head, length).is_ok());
        Ok(())
    }

    fn object(&mut self, depth: u32) -> Result<(), JsonError> {
        let at = self.begin(b'{')?;
        let mut length = 0;
        let (mut is_placeholder, mut number) = (false, None);
        while !self.scanner.eat(b'}') {
            let key = json::string(self.scanner.take_scalar()?).ok_or(JsonError)?;
            taken(write_str(&mut self.out, &key));
            self.scanner.skip_space();
            self.scanner.expect(b':')?;
            let value = self.value(depth)?;
            match &*key {
                "_placeholder" => is_placeholder = value == "true",
                "num" => number = value.parse::<usize>().ok(),
                _ => {}
            }
            self.scanner.next_item();
            length += 1;
        }
        if is_placeholder && !self.attachments.is_empty() {
            self.out.truncate(at);
            return self.attachment(number.ok_or(JsonError)?);
        }
        self.end(at, |head| write_map_len(head, length).is_ok());
        Ok(())
    }

    /// The bytes that a placeholder stands for.
    fn attachment(&mut self, number: usize) -> Result<(), JsonError> {
        let bytes = self.attachments.get(number).ok_or(JsonError)?;
        match self.bytes_left.checked_sub(bytes.len()) {
            Some(left) => {
                self.bytes_left = left;
                taken(write_bin(&mut self.out, bytes));
            }
            None => taken(write_nil(&mut self.out)),
        }
        Ok(())
    }

    /// Enters an array or object. How long it is shows at its end alone: one byte is left for that, which is enough for
    /// most.
    fn begin(&mut self, bracket: u8) -> Result<usize, JsonError> {
        self.scanner.expect(bracket)?;
        self.scanner.skip_space();
        let at = self.out.len();
        self.out.push(0);
        Ok(at)
    }

    /// Writes the head of an array or object that began at `at`.
    fn end(&mut self, at: usize, write: impl FnOnce(&mut &mut [u8]) -> bool) {
        let mut head = [0; 5];
        let mut room: &mut [u8] = &mut head;
        let is_written = write(&mut room);
        debug_assert!(is_written, "the longest head has five bytes");
        let length = 5 - room.len();
        self.out[at] = head[0];
        if length > 1 {
            self.out.splice(at + 1..at + 1, head[1..length].iter().copied());
        }
    }
}

/// A vector takes everything.
fn taken<T, E>(result: Result<T, E>) {
    debug_assert!(result.is_ok(), "memory takes what is written into it");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::super::super::socket::Kind;
    use super::super::Decoded;
    use super::super::tests::{ATTACHMENTS_MAX, event, is_same, json};
    use super::*;

    /// Any JSON value, its objects in the order of their keys.
    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-300_i64..300).prop_map(Value::from),
            // The reader of this test loses a bit of the smallest ones, which `floats_keep_every_bit` looks at.
            (prop::num::f64::NORMAL | prop::num::f64::ZERO).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 100, 20, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..20).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..20)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn json_there_and_back_is_the_same(
            value in any_json(),
            name in "[a-z]{1,40}",
            id in prop::option::of(0..=1_u64 << 53),
            namespace in prop_oneof![Just("/".to_owned()), "/[a-zé]{1,40}"],
        ) {
            let expected = serde_json::json!([name, value]);
            let address = if namespace == "/" { String::new() } else { format!("{namespace},") };
            let id_text = id.map(|id| id.to_string()).unwrap_or_default();
            let message = encode(&format!("42{address}{id_text}{expected}"), &[]).unwrap();
            let (decoded, attachments) = Decoded::decode(&message, 0).unwrap();
            let packet = decoded.packet().unwrap();
            prop_assert!(is_same(&json(packet.json), &expected), "{}", packet.json);
            prop_assert_eq!((packet.kind, packet.namespace, packet.id), (Kind::Event, &*namespace, id));
            prop_assert!(attachments.is_empty());
        }

        #[test]
        fn floats_keep_every_bit(number: f64) {
            let message = encode(&format!("42[{}]", Value::from(number)), &[]).unwrap();
            let (decoded, _) = Decoded::decode(&message, 0).unwrap();
            let json = decoded.packet().unwrap().json;
            let digits = json.strip_prefix('[').and_then(|json| json.strip_suffix(']')).unwrap();
            prop_assert_eq!(digits.parse(), Ok(number), "{}", json);
        }

        #[test]
        fn attachments_there_and_back_are_the_same(
            attachments in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..10),
        ) {
            let attachments: Vec<_> = attachments.into_iter().map(Bytes::from).collect();
            let placeholders: Vec<_> =
                (0..attachments.len()).map(|number| format!(r#"{{"_placeholder":true,"num":{number}}}"#)).collect();
            let json = format!(r#"["e",{{"list":[{}]}}]"#, placeholders.join(","));
            let message = encode(&format!("45{}-{json}", attachments.len()), &attachments).unwrap();
            let (decoded, found) = Decoded::decode(&message, 10).unwrap();
            prop_assert_eq!(decoded.packet().unwrap().json, json);
            prop_assert_eq!(found, attachments);
        }

        /// Whatever comes in, what is passed on can be read by everybody.
        #[test]
        fn no_bytes_make_a_decoder_fail_badly(data in prop::collection::vec(any::<u8>(), 0..200), is_event: bool) {
            let message = if is_event { event(&[&[0x92, 0xa1, 0x65], data.as_slice()].concat()) } else { data };
            if let Ok((decoded, attachments)) = Decoded::decode(&message, ATTACHMENTS_MAX)
                && let Ok(packet) = decoded.packet()
                && packet.array.is_some()
            {
                let head = if attachments.is_empty() { "42".to_owned() } else { format!("45{}-", attachments.len()) };
                prop_assert!(serde_json::from_str::<Value>(packet.json).is_ok());
                prop_assert!(encode(&format!("{head}{}", packet.json), &attachments).is_ok(), "{}", packet.json);
            }
        }

        #[test]
        fn no_text_makes_an_encoder_fail_badly(text in ".{0,100}", json in r#"[\[\]{}:,"\\a-e0-9. -]{0,60}"#) {
            let _ = encode(&text, &[]);
            let _ = encode(&format!("42{json}"), &[]);
            let _ = encode(&format!("451-{json}"), &[Bytes::new()]);
        }
    }
}
