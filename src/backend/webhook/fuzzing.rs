//! What must hold for every answer of the application.

use hyper::StatusCode;
use serde::de::IgnoredAny;

use super::{Answer, Kind};
use crate::protocol::json;

/// The body of an answer: what is taken from it is good for clients, for commands and for later webhooks.
pub(crate) fn answers(data: &[u8]) {
    let Ok(answer) = Answer::read(Kind::Event, StatusCode::OK, data) else {
        return;
    };
    assert_eq!(Answer::read(Kind::Connect, StatusCode::OK, data), Ok(answer.clone()));
    let _: IgnoredAny = serde_json::from_slice(data).expect("an answer is JSON");
    assert!(data.trim_ascii_start().starts_with(b"{"));
    if let Some(ack) = &answer.ack {
        json::Array::parse(&ack.json).expect("an acknowledgement is a list");
        if !ack.attachments.is_empty() {
            json::check_placeholders(&ack.json, ack.attachments.len()).expect("every placeholder stands for something");
        }
    }
    let data = answer.orders.data.iter().map(|data| &**data);
    let actions = answer.orders.actions.iter().map(|action| &*action.json);
    for object in data.chain(actions) {
        json::check_object(object).expect("what is kept and what is to be done are objects");
    }
    assert!(answer.user.is_none_or(|user| !user.is_empty()));
}
