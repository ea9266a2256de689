//! Bytes in JSON, to and from the application: `{"$binary":"<base64>"}` in the place of each attachment.
//!
//! Everything around is left as it was written, so that numbers keep their digits.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;

/// The place of an attachment in a packet.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Placeholder {
    #[serde(rename = "_placeholder")]
    is_one: bool,
    num: usize,
}

/// Arguments as the application reads them; `json` was checked before.
pub(super) fn to_backend(json: &str, attachments: &[Bytes]) -> String {
    if attachments.is_empty() {
        return json.to_owned();
    }
    let replaced = replace(json, |found: Placeholder| {
        let bytes = attachments.get(found.num).filter(|_| found.is_one)?;
        Some(format!(r#"{{"$binary":"{}"}}"#, STANDARD.encode(bytes)))
    });
    replaced.unwrap_or_else(|| json.to_owned()) // places were counted when the packet was read
}

/// Replaces each object that is a `T` in a JSON text, which was checked before; `None` where `replacement` has none.
pub(super) fn replace<'a, T: Deserialize<'a>>(
    text: &'a str,
    mut replacement: impl FnMut(T) -> Option<String>,
) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let (mut copied, mut at) = (0, 0);
    let bytes = text.as_bytes();
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = end_of_string(bytes, at),
            b'{' => {
                let mut found = serde_json::Deserializer::from_str(&text[at..]).into_iter::<T>();
                match found.next() {
                    Some(Ok(value)) => {
                        out.push_str(&text[copied..at]);
                        out.push_str(&replacement(value)?);
                        at += found.byte_offset();
                        copied = at;
                    }
                    _ => at += 1,
                }
            }
            _ => at += 1,
        }
    }
    out.push_str(&text[copied..]);
    Some(out)
}

/// The place behind the string that begins at `start`.
fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attachments_become_text_and_all_around_stays() {
        let attachments = [Bytes::from_static(b"hi"), Bytes::from_static(b"\0\xff")];
        for (json, expected) in [
            ("[1.10]", "[1.10]"),
            (
                r#"[1.10,{"_placeholder":true,"num":0},{"a":[{"num":1,"_placeholder":true}]}]"#,
                r#"[1.10,{"$binary":"aGk="},{"a":[{"$binary":"AP8="}]}]"#,
            ),
            (
                r#"["{\"_placeholder\":true,\"num\":0}","\\",{ "_placeholder" : true , "num" : 0 }]"#,
                r#"["{\"_placeholder\":true,\"num\":0}","\\",{"$binary":"aGk="}]"#,
            ),
            (r#"[{"num":0}]"#, r#"[{"num":0}]"#),
        ] {
            assert_eq!(to_backend(json, &attachments), expected);
        }
    }
}
