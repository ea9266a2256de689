//! Binary in JSON: what clients send apart from their text travels to the application and back as
//! `{"$binary":"<base64>"}` in the place where it belongs.
//!
//! Everything else stays as it was written: numbers keep their digits, and objects the order of their keys.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::protocol::json::{self, DEPTH_MAX};

const KEY: &str = "$binary";

/// Binary that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BinaryError {
    /// It is no JSON, or has too many levels.
    #[error("is no JSON, or has more than {DEPTH_MAX} levels")]
    Json,
    /// `$binary` is something else than base64.
    #[error("has a `$binary` that is no base64 text")]
    Base64,
    /// There is binary, and an object that clients would take for its place.
    #[error("has an object with `_placeholder`, which clients would take for binary")]
    Placeholder,
}

/// JSON for the application, with what its placeholders stand for in it.
///
/// # Errors
/// When it is no JSON, or a placeholder stands for nothing.
pub fn inline<'a>(json: &'a str, attachments: &[Bytes]) -> Result<Cow<'a, str>, BinaryError> {
    if attachments.is_empty() {
        return Ok(json.into());
    }
    let mut replace = |object: &Object<'_>| {
        let Some(number) = object.placeholder() else {
            return Ok(None);
        };
        let bytes = number
            .and_then(|number| attachments.get(number))
            .ok_or(BinaryError::Placeholder)?;
        Ok(Some(format!(r#"{{"{KEY}":"{}"}}"#, STANDARD.encode(bytes))))
    };
    let mut text = String::with_capacity(json.len());
    rewrite(json, 0, &mut text, &mut replace)?;
    Ok(text.into())
}

/// JSON of the application as clients get it, with placeholders, and what they stand for.
///
/// # Errors
/// When it is no JSON, or its binary is none.
pub fn extract(json: &str) -> Result<(Cow<'_, str>, Vec<Bytes>), BinaryError> {
    // Another way to write the key is possible, and means an object like any other.
    if !json.contains(KEY) {
        return Ok((json.into(), Vec::new()));
    }
    let mut attachments = Vec::new();
    let mut has_placeholder = false;
    let mut replace = |object: &Object<'_>| {
        has_placeholder |= object.placeholder().is_some();
        let [(key, value)] = &object.0[..] else {
            return Ok(None);
        };
        if key != KEY {
            return Ok(None);
        }
        let text: Cow<'_, str> = serde_json::from_str(value.get()).map_err(|_| BinaryError::Base64)?;
        let bytes = STANDARD.decode(&*text).map_err(|_| BinaryError::Base64)?;
        attachments.push(bytes.into());
        let number = attachments.len() - 1;
        Ok(Some(format!(r#"{{"_placeholder":true,"num":{number}}}"#)))
    };
    let mut text = String::with_capacity(json.len());
    rewrite(json, 0, &mut text, &mut replace)?;
    if has_placeholder && !attachments.is_empty() {
        return Err(BinaryError::Placeholder);
    }
    Ok((text.into(), attachments))
}

/// Copies JSON with other objects in the place of those for which `replace` has some.
fn rewrite(
    text: &str,
    depth: usize,
    out: &mut String,
    replace: &mut impl FnMut(&Object<'_>) -> Result<Option<String>, BinaryError>,
) -> Result<(), BinaryError> {
    let text = text.trim_ascii();
    let is_nested = text.starts_with(['[', '{']);
    if is_nested && depth >= DEPTH_MAX as usize {
        return Err(BinaryError::Json);
    }
    if text.starts_with('[') {
        let items: Vec<&RawValue> = serde_json::from_str(text).map_err(|_| BinaryError::Json)?;
        out.push('[');
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            rewrite(item.get(), depth + 1, out, replace)?;
        }
        out.push(']');
    } else if text.starts_with('{') {
        let object: Object<'_> = serde_json::from_str(text).map_err(|_| BinaryError::Json)?;
        if let Some(other) = replace(&object)? {
            out.push_str(&other);
            return Ok(());
        }
        out.push('{');
        for (index, (key, value)) in object.0.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            json::write_string(out, key);
            out.push(':');
            rewrite(value.get(), depth + 1, out, replace)?;
        }
        out.push('}');
    } else {
        out.push_str(text);
    }
    Ok(())
}

/// An object with its values as written, in the order of its keys.
struct Object<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl Object<'_> {
    /// Whether it stands for binary, and for which, if that can be read.
    fn placeholder(&self) -> Option<Option<usize>> {
        let value = |name: &str| {
            self.0
                .iter()
                .rev()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.get())
        };
        (value("_placeholder") == Some("true")).then(|| value("num")?.parse().ok())
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Object<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some((key, value)) = map.next_entry::<Key<'de>, &'de RawValue>()? {
                    entries.push((key.0, value));
                }
                Ok(Object(entries))
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

/// A key, borrowed where it can be.
#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_goes_there_and_back_in_its_place() {
        let bytes = [Bytes::from_static(b"\x00\xff"), Bytes::new()];
        let json = r#"["e",{"b":1.10,"a":{"_placeholder":true,"num":1}},[{"_placeholder":true,"num":0}],12345678901234567890123]"#;
        let expected = r#"["e",{"b":1.10,"a":{"$binary":""}},[{"$binary":"AP8="}],12345678901234567890123]"#;
        let inlined = inline(json, &bytes).unwrap();
        assert_eq!(inlined, expected);
        let (text, back) = extract(&inlined).unwrap();
        assert_eq!(back, [bytes[1].clone(), bytes[0].clone()]);
        assert_eq!(
            text,
            json.replace("\"num\":1", "\"num\":2")
                .replace("\"num\":0", "\"num\":1")
                .replace("\"num\":2", "\"num\":0")
        );
    }

    #[test]
    fn without_binary_nothing_changes() {
        for json in [
            r#"[ 1.10 ,{"_placeholder":true,"num":7}]"#,
            "nonsense",
            r#"{"$binarz":1}"#,
        ] {
            assert_eq!(inline(json, &[]).unwrap(), json);
            assert_eq!(extract(json).unwrap(), (json.into(), vec![]));
        }
        let (text, none) = extract(r#"{"$binary":"AA==","more":1,"q\"":"$binary"}"#).unwrap();
        assert_eq!(
            (&*text, none.len()),
            (r#"{"$binary":"AA==","more":1,"q\"":"$binary"}"#, 0)
        );
    }

    #[test]
    fn what_is_no_binary_is_refused() {
        for (json, error) in [
            (r#"{"$binary":1}"#, BinaryError::Base64),
            (r#"{"$binary":"?"}"#, BinaryError::Base64),
            (r#"{"$binary":"#, BinaryError::Json),
            (
                r#"[{"$binary":"AA=="},{"_placeholder":true,"num":0}]"#,
                BinaryError::Placeholder,
            ),
        ] {
            assert_eq!(extract(json).unwrap_err(), error, "{json}");
        }
        let deep = format!("{}{}{}", "[".repeat(70), r#"{"$binary":"AA=="}"#, "]".repeat(70));
        assert_eq!(extract(&deep).unwrap_err(), BinaryError::Json);
        let stray = r#"[{"_placeholder":true,"num":1}]"#;
        assert_eq!(inline(stray, &[Bytes::new()]).unwrap_err(), BinaryError::Placeholder);
    }
}
