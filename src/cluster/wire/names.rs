//! Lists of names: rooms, and the ids of sockets, which are rooms too.

use std::collections::HashSet;

use compact_str::{CompactString, ToCompactString as _};
use serde_json::value::RawValue;
use smallvec::SmallVec;

use super::WireError;
use crate::protocol::json;
use crate::protocol::msgpack::{Token, Transcoder};

/// Names, each once, mostly one.
pub type Names = SmallVec<[CompactString; 1]>;

/// Names up to which looking through all of them is quicker than a table.
const FEW: usize = 16;

/// Keeps the first of equal names.
pub(super) fn unique(mut names: Names) -> Names {
    if names.len() > FEW {
        let mut seen = HashSet::with_capacity(names.len());
        names.retain(|name| seen.insert(name.clone()));
        return names;
    }
    let mut kept = Names::new();
    for name in names {
        if !kept.contains(&name) {
            kept.push(name);
        }
    }
    kept
}

/// The names in a MessagePack array; missing means none.
pub(super) fn read<'a>(tokens: &mut Transcoder<'a>, list: Token<'a>) -> Result<Names, WireError> {
    let length = match list {
        Token::Nil | Token::Undefined => return Ok(Names::new()),
        Token::Array(length) => length,
        _ => return Err(WireError::Shape("rooms that are no list")),
    };
    let mut names = Names::new();
    for _ in 0..length {
        names.push(match tokens.next()? {
            Token::Text(name) => name.into(),
            number @ (Token::Unsigned(_) | Token::Signed(_) | Token::Float(_)) => decimal(tokens, number)?,
            _ => return Err(WireError::Shape("a room's name that is neither text nor a number")),
        });
    }
    Ok(unique(names))
}

/// A number as JavaScript writes it.
fn decimal<'a>(tokens: &mut Transcoder<'a>, number: Token<'a>) -> Result<CompactString, WireError> {
    let length = tokens.json.len();
    tokens.write(number)?;
    let text = tokens.json[length..].to_compact_string();
    tokens.json.truncate(length);
    Ok(text)
}

/// The names in a JSON array; missing means none.
pub(super) fn from_json(list: Option<Vec<&RawValue>>) -> Result<Names, WireError> {
    let names = list.unwrap_or_default().into_iter().map(name);
    Ok(unique(names.collect::<Result<_, _>>()?))
}

/// A name in JSON: text, or a number as it is written.
pub(super) fn name(raw: &RawValue) -> Result<CompactString, WireError> {
    let raw = raw.get();
    match raw.as_bytes().first() {
        Some(b'"') => json::string(raw).map(CompactString::from),
        Some(b'-' | b'0'..=b'9') => Some(raw.into()),
        _ => None,
    }
    .ok_or(WireError::Shape("a name that is neither text nor a number"))
}
