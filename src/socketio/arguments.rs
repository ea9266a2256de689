//! What clients put into the arguments of built-in events: rooms, and the names of relayed events.

use compact_str::{CompactString, ToCompactString as _};
use serde_json::Value;

use super::config::EVENT_BYTES_MAX;
use crate::hub::is_reserved;
use crate::metrics::Refusal;
use crate::protocol::json;
use crate::protocol::socket::RESERVED_EVENTS;

/// Rooms that one event may name.
const ROOMS_MAX: usize = 1000;

/// Events of the gateway itself, which nobody may imitate.
pub(super) const OWN_EVENTS: [&str; 2] = ["presence", "expired"];

/// A refusal and the sentence that goes with it.
pub(super) type Refused = (Refusal, String);

/// The rooms in an argument: a name or a list of names, numbers as their decimal text, none twice.
pub(super) fn rooms(argument: Option<&str>, bytes_max: usize) -> Result<Vec<CompactString>, Refused> {
    let bad = |message: &str| (Refusal::BadRequest, message.to_owned());
    let argument = argument.ok_or_else(|| bad("a room or a list of rooms is missing"))?;
    let names = match argument.as_bytes().first() {
        Some(b'[') => {
            let items: Vec<Value> =
                serde_json::from_str(argument).map_err(|_| bad("the list of rooms cannot be read"))?;
            items.iter().map(name).collect()
        }
        Some(b'"') => json::string(argument).map(|name| vec![CompactString::from(name)]),
        _ => serde_json::from_str(argument)
            .ok()
            .and_then(|value| Some(vec![name(&value)?])),
    };
    let names: Vec<CompactString> = names.ok_or_else(|| bad("a room must be a string or a number"))?;
    if names.is_empty() {
        return Err(bad("the list of rooms is empty"));
    }
    if names.len() > ROOMS_MAX {
        return Err((
            Refusal::TooLarge,
            format!("{} rooms are named, {ROOMS_MAX} are allowed", names.len()),
        ));
    }
    let mut rooms = Vec::with_capacity(names.len());
    for name in names {
        if name.is_empty() {
            return Err(bad("the name of a room is empty"));
        }
        if is_reserved(&name) {
            return Err(bad("the name of a room begins with a NUL"));
        }
        if bytes_max > 0 && name.len() > bytes_max {
            return Err((
                Refusal::TooLarge,
                format!("the name of a room is longer than {bytes_max} bytes"),
            ));
        }
        rooms.push(name);
    }
    let mut seen = hashbrown::HashSet::<CompactString, foldhash::fast::RandomState>::default();
    rooms.retain(|room| seen.insert(room.clone()));
    Ok(rooms)
}

/// A room's name as JavaScript would print it.
fn name(value: &Value) -> Option<CompactString> {
    match value {
        Value::String(name) => Some(name.into()),
        Value::Number(number) => Some(match number.as_f64() {
            // JavaScript has no 1.0.
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 1e15 => {
                (float as i64).to_compact_string()
            }
            _ => number.to_compact_string(),
        }),
        _ => None,
    }
}

/// Checks the name of an event that is to be relayed, as written.
pub(super) fn relayed_event(raw: Option<&str>) -> Result<(), Refused> {
    let bad = |message: String| Err((Refusal::BadRequest, message));
    let Some(raw) = raw else {
        return bad("the name of the event is missing".into());
    };
    let Some(name) = json::string(raw) else {
        return bad("the name of an event must be a string".into());
    };
    if name.is_empty() || name.len() > EVENT_BYTES_MAX {
        return bad(format!("the name of an event must have 1 to {EVENT_BYTES_MAX} bytes"));
    }
    if RESERVED_EVENTS.contains(&&*name) || OWN_EVENTS.contains(&&*name) {
        return bad(format!("the event \"{name}\" is reserved"));
    }
    Ok(())
}

/// A client's text for the log: cut.
pub(super) fn logged(text: &str) -> &str {
    const BYTES_SHOWN: usize = 256;
    let mut end = text.len().min(BYTES_SHOWN);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A namespace for the log: without what stands behind a question mark, which may be a secret.
pub(super) fn without_query(namespace: &str) -> &str {
    namespace.split('?').next().unwrap_or_default()
}

/// A room in a sentence: long names are cut.
pub(super) fn quoted(room: &str) -> String {
    const SHOWN: usize = 64;
    if room.chars().count() <= SHOWN {
        format!("\"{room}\"")
    } else {
        format!("\"{}…\"", room.chars().take(SHOWN).collect::<String>())
    }
}

/// A packet for the log: cut, and without what clients connect with, which may be a secret. Where tokens are read, any
/// event may bring one: of those the name is shown.
pub(super) fn loggable(text: &str, may_hold_secret: bool) -> &str {
    if text.starts_with('0') {
        return "0…";
    }
    let array = text.find('[').filter(|_| may_hold_secret);
    let name = array.and_then(|start| Some(&text[..start + text[start..].find(',')?]));
    logged(name.unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_are_names_or_lists_of_names() {
        for (argument, expected) in [
            (r#""lobby""#, vec!["lobby"]),
            (r#"["a","b","a"]"#, vec!["a", "b"]),
            ("7", vec!["7"]),
            ("[1,-2,1.5,3.0,1e3]", vec!["1", "-2", "1.5", "3", "1000"]),
            (r#""\u00e9""#, vec!["é"]),
        ] {
            assert_eq!(rooms(Some(argument), 10).unwrap(), expected, "{argument}");
        }
        for (argument, refusal) in [
            (None, Refusal::BadRequest),
            (Some("[]"), Refusal::BadRequest),
            (Some("null"), Refusal::BadRequest),
            (Some("{}"), Refusal::BadRequest),
            (Some("true"), Refusal::BadRequest),
            (Some(r#"["a",null]"#), Refusal::BadRequest),
            (Some(r#"["a",["b"]]"#), Refusal::BadRequest),
            (Some(r#""""#), Refusal::BadRequest),
            (Some(r#""\u0000user:bob""#), Refusal::BadRequest),
            (Some(r#""12345678901""#), Refusal::TooLarge),
        ] {
            assert_eq!(rooms(argument, 10).unwrap_err().0, refusal, "{argument:?}");
        }
    }

    #[test]
    fn relayed_events_have_names_that_clients_survive() {
        let long = format!("\"{}\"", "x".repeat(257));
        for (raw, good) in [
            (Some(r#""chat message""#), true),
            (Some(r#""error""#), true),
            (Some(r#""""#), false),
            (Some(long.as_str()), false),
            (Some("1"), false),
            (None, false),
            (Some(r#""disconnect""#), false),
            (Some(r#""disc\u006fnnect""#), false),
            (Some(r#""presence""#), false),
            (Some(r#""expired""#), false),
        ] {
            assert_eq!(relayed_event(raw).is_ok(), good, "{raw:?}");
        }
    }
}
