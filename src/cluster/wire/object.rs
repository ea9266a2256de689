//! Requests and answers are objects, in JSON or in MessagePack: the first byte tells. What comes in as MessagePack is
//! read by way of its JSON, which is rare.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::{LIMITS, WireError};
use crate::protocol::json;
use crate::protocol::msgpack::{Dialect, Transcoder};

/// An object as JSON, and what its placeholders stand for.
pub(super) struct Object<'a> {
    pub(super) json: Cow<'a, str>,
    pub(super) attachments: Vec<Bytes>,
}

pub(super) fn read(payload: &[u8]) -> Result<Object<'_>, WireError> {
    if payload.first() == Some(&b'{') {
        let json = simdutf8::basic::from_utf8(payload).map_err(|error| WireError::Json(error.to_string()))?;
        let (json, attachments) = (json.into(), Vec::new());
        return Ok(Object { json, attachments });
    }
    let mut tokens = Transcoder::new(payload, Dialect::Servers, LIMITS);
    let whole = tokens.next()?;
    tokens.write(whole)?;
    if !tokens.is_at_end() {
        return Err(WireError::MessagePack);
    }
    Ok(Object {
        json: tokens.json.into(),
        attachments: tokens.attachments,
    })
}

/// A value as it is written, missing as null; with no more levels than a client may send.
pub(super) fn value(raw: Option<&RawValue>) -> Result<String, WireError> {
    let text = raw.map_or("null", RawValue::get);
    json::check_value(text)?;
    Ok(text.to_owned())
}

/// The text of a value that was checked before, to be written as it is.
pub(super) fn raw(json: &str) -> Result<&RawValue, WireError> {
    Ok(serde_json::from_str(json)?)
}

/// An object of ours as JSON.
pub(super) fn write(object: &impl serde::Serialize) -> Result<Bytes, WireError> {
    Ok(serde_json::to_vec(object)?.into())
}
