//! Bodies: read within bounds, as JSON objects whose every field is known.

use std::collections::BTreeMap;

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::{Request, StatusCode};
use serde_json::value::RawValue;

use super::answer::Failure;
use crate::http;

/// The only type of bodies. Pages of other sites cannot send it without asking first.
const JSON: &str = "application/json";

/// Reads a body that must be there.
pub(super) async fn read(request: Request<Incoming>, bytes_max: usize) -> Result<Bytes, Failure> {
    if !is_json(request.headers()) {
        let message = format!("the body must be {JSON}");
        return Err(Failure::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            message,
        ));
    }
    http::read_body(request.into_body(), bytes_max).await.map_err(|error| {
        let mut failure = Failure::from(error);
        if error == http::BodyError::TooLarge {
            failure.message = format!("the body is longer than {bytes_max} bytes");
        }
        failure
    })
}

/// The same for one that may be left out.
pub(super) async fn read_if_any(request: Request<Incoming>, bytes_max: usize) -> Result<Option<Bytes>, Failure> {
    if request.body().is_end_stream() && !request.headers().contains_key(CONTENT_TYPE) {
        return Ok(None);
    }
    read(request, bytes_max).await.map(Some)
}

/// The body as text.
pub(super) fn text(bytes: &Bytes) -> Result<&str, Failure> {
    std::str::from_utf8(bytes).map_err(|_| Failure::bad_request("the body is not UTF-8"))
}

/// The fields of an object that `what` names, all of them among `known`.
pub(super) fn fields<'a>(what: &str, json: &'a str, known: &[&str]) -> Result<BTreeMap<String, &'a RawValue>, Failure> {
    if !json.trim_start().starts_with('{') {
        serde_json::from_str::<serde::de::IgnoredAny>(json).map_err(|error| not_json(what, &error))?;
        return Err(Failure::bad_request(format!("{what} must be a JSON object")));
    }
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(json).map_err(|error| not_json(what, &error))?;
    match fields.keys().find(|field| !known.contains(&field.as_str())) {
        Some(field) => Err(Failure::field(
            field,
            format!("is no field: there is {}", known.join(", ")),
        )),
        None => Ok(fields),
    }
}

fn not_json(what: &str, error: &serde_json::Error) -> Failure {
    Failure::bad_request(format!("{what} is not JSON: {error}"))
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(one), None) = (types.next(), types.next()) else {
        return false;
    };
    let essence = one.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(JSON.as_bytes())
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn json_is_told_by_its_type() {
        for (types, expected) in [
            (&["application/json"][..], true),
            (&["Application/JSON ; charset=utf-8"], true),
            (&["application/json;charset=utf-8"], true),
            (&["application/jsonp"], false),
            (&["text/plain"], false),
            (&["application/json", "text/plain"], false),
            (&[""], false),
            (&[], false),
        ] {
            let headers = types.iter().map(|name| (CONTENT_TYPE, HeaderValue::from_static(name)));
            assert_eq!(is_json(&headers.collect()), expected, "{types:?}");
        }
    }

    #[test]
    fn the_field_at_fault_is_named() {
        for (json, expected) in [
            (r#"{"nod":"a"}"#, "`nod` is no field: there is node"),
            ("[]", "the body must be a JSON object"),
            ("7", "the body must be a JSON object"),
            ("", "the body is not JSON: EOF while parsing a value at line 1 column 0"),
        ] {
            assert_eq!(
                fields("the body", json, &["node"]).unwrap_err().message,
                expected,
                "{json}"
            );
        }
        let broken = fields("the body", "{\"node\":", &["node"]).unwrap_err();
        assert!(
            broken.message.starts_with("the body is not JSON: "),
            "{}",
            broken.message
        );
        assert_eq!(
            fields("the body", " {\"node\": 7}", &["node"]).unwrap()["node"].get(),
            "7"
        );
    }
}
