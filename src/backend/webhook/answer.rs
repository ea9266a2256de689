//! What the application says: exactly the fields that an answer is made of, or it is none.

use bytes::Bytes;
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Kind;
use crate::backend::extract;
use crate::metrics::WebhookFailure as Failure;
use crate::protocol::json;
use crate::protocol::socket::ATTACHMENTS_MAX;

/// Actions of one answer: its socket waits until they are done.
const ACTIONS_MAX: usize = 100;

/// Characters of what is said about a bad answer.
const FLAW_CHARACTERS_MAX: usize = 200;

/// What the application answers; nothing of it must be there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Who the client is.
    pub user: Option<String>,
    /// Rooms to be in from the start.
    pub rooms: Vec<String>,
    /// Patterns of rooms that may be joined.
    pub join: Vec<String>,
    /// Patterns of rooms that may be published to.
    pub publish: Vec<String>,
    /// When its time is over, in seconds since 1970.
    pub expires: Option<u64>,
    /// Why it is not let in, if it is not.
    pub deny: Option<Deny>,
    /// What the client gets that wants an acknowledgement.
    pub ack: Option<Ack>,
    /// What is to be done.
    pub orders: Orders,
}

/// What an answer wants to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    /// What is kept with the socket from now on, as JSON.
    pub data: Option<Box<str>>,
    /// Commands, in order.
    pub actions: Vec<Action>,
}

/// A command: its name, and its object as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// `emit`, `join` and so on; not looked at here.
    pub name: String,
    /// What it is to be done with, as JSON.
    pub json: Box<str>,
}

/// Why a client is not let in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deny {
    /// What it is told.
    pub message: Option<String>,
    /// What comes with that, as JSON.
    pub data: Option<Box<str>>,
}

/// The arguments of an acknowledgement: an array as written, with its attachments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ack {
    /// The array.
    pub json: String,
    /// What stands in the places that it names.
    pub attachments: Vec<Bytes>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire<'a> {
    #[serde(default)]
    user: Option<String>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    rooms: Option<Vec<String>>,
    #[serde(default)]
    join: Option<Vec<String>>,
    #[serde(default)]
    publish: Option<Vec<String>>,
    #[serde(default)]
    expires: Option<f64>,
    #[serde(borrow, default)]
    deny: Option<&'a RawValue>,
    #[serde(borrow, default)]
    ack: Option<&'a RawValue>,
    #[serde(borrow, default)]
    actions: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireDeny<'a> {
    #[serde(default)]
    message: Option<String>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

impl Orders {
    /// Whether there is nothing to be done.
    pub fn is_empty(&self) -> bool {
        self.data.is_none() && self.actions.is_empty()
    }

    /// How many bytes it takes to keep it, about.
    pub(super) fn bytes(&self) -> usize {
        let actions = self.actions.iter();
        let actions = actions.map(|action| size_of::<Action>() + action.name.len() + action.json.len());
        self.data.as_ref().map_or(0, |data| data.len()) + actions.sum::<usize>()
    }
}

impl Answer {
    /// Reads an answer to a call of this kind.
    pub(super) fn read(kind: Kind, status: StatusCode, body: &[u8]) -> Result<Self, Failure> {
        let deny = |message: Option<&str>| Self {
            deny: Some(Deny {
                message: message.map(str::to_owned),
                data: None,
            }),
            ..Self::default()
        };
        match status {
            StatusCode::OK => Self::parse(body).ok_or(Failure::Invalid),
            StatusCode::NO_CONTENT if kind != Kind::Connect => Ok(Self::default()),
            StatusCode::UNAUTHORIZED if kind == Kind::Connect => Ok(deny(Some("unauthorized"))),
            StatusCode::FORBIDDEN if kind == Kind::Connect => Ok(deny(None)),
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                Err(Failure::Gateway)
            }
            status if status.is_redirection() => Err(Failure::Redirect),
            _ => Err(Failure::Status),
        }
    }

    /// What is wrong with an answer that is none, in words.
    pub(super) fn flaw(status: StatusCode, body: &[u8]) -> String {
        if status != StatusCode::OK {
            return format!("status {}", status.as_u16());
        }
        if !str::from_utf8(body).is_ok_and(|text| json::check_object(text).is_ok()) {
            return "it is no JSON object".into();
        }
        match serde_json::from_slice::<Wire<'_>>(body) {
            Err(problem) => shown(&problem.to_string()), // texts of the application may be quoted
            Ok(Wire {
                actions: Some(list), ..
            }) if list.len() > ACTIONS_MAX => {
                format!("it has {} actions, {ACTIONS_MAX} are allowed", list.len())
            }
            Ok(_) => "a list or an object is wanted where there is something else, or a name is empty".into(),
        }
    }

    fn parse(body: &[u8]) -> Option<Self> {
        let text = str::from_utf8(body).ok()?;
        json::check_object(text).ok()?; // a list could stand for a struct
        let wire: Wire<'_> = serde_json::from_str(text).ok()?;
        let actions = wire.actions.unwrap_or_default();
        if actions.len() > ACTIONS_MAX {
            return None;
        }
        Some(Self {
            user: wire.user.filter(|user| !user.is_empty()), // nobody is called so
            rooms: names(wire.rooms)?,
            join: names(wire.join)?,
            publish: names(wire.publish)?,
            expires: match wire.expires {
                None => None,
                Some(seconds) if seconds.is_finite() && seconds >= 0.0 => Some(seconds as u64),
                Some(_) => return None,
            },
            deny: match wire.deny {
                None => None,
                Some(deny) => Some(Deny::parse(object(deny)?)?),
            },
            ack: match wire.ack {
                None => None,
                Some(ack) => Some(Ack::parse(ack.get())?),
            },
            orders: Orders {
                data: match wire.data {
                    None => None,
                    Some(data) => Some(object(data)?.into()),
                },
                actions: actions.into_iter().map(Action::parse).collect::<Option<_>>()?,
            },
        })
    }
}

impl Deny {
    fn parse(text: &str) -> Option<Self> {
        let wire: WireDeny<'_> = serde_json::from_str(text).ok()?;
        Some(Self {
            message: wire.message,
            data: wire.data.map(|data| data.get().into()),
        })
    }
}

impl Ack {
    fn parse(text: &str) -> Option<Self> {
        if !text.starts_with('[') {
            return None;
        }
        let (json, attachments) = extract(text).ok()?;
        (attachments.len() <= ATTACHMENTS_MAX).then(|| Self {
            json: json.into_owned(),
            attachments,
        })
    }
}

impl Action {
    fn parse(raw: &RawValue) -> Option<Self> {
        let fields: std::collections::BTreeMap<String, &RawValue> = serde_json::from_str(object(raw)?).ok()?;
        let mut fields = fields.into_iter();
        let (name, value) = fields.next()?;
        let json = object(value)?.into(); // a list could stand for a command's fields
        fields.next().is_none().then_some(Self { name, json })
    }
}

/// A text of the application for the log: cut.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(FLAW_CHARACTERS_MAX).collect()
}

/// The text of a value that is an object.
fn object(raw: &RawValue) -> Option<&str> {
    let text = raw.get();
    text.starts_with('{').then_some(text)
}

/// Names and patterns of rooms, none of them empty.
fn names(names: Option<Vec<String>>) -> Option<Vec<String>> {
    let names = names.unwrap_or_default();
    names.iter().all(|name| !name.is_empty()).then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Answer, Failure> {
        Answer::read(Kind::Connect, StatusCode::OK, text.as_bytes())
    }

    #[test]
    fn an_answer_is_an_object_of_known_fields_and_types() {
        let answer = read(
            r#" {"user":"alice","data":{"n":1.10},"rooms":["a"],"join":["b-*"],"publish":[],"expires":7.9,
                "actions":[{"emit":{"event":"x","args":[1.10]}},{"leave":{}}],"ack":[1.10,{"$binary":"aGk="}]} "#,
        )
        .unwrap();
        assert_eq!(answer.user.as_deref(), Some("alice"));
        assert_eq!(
            (answer.rooms, answer.join, answer.expires),
            (vec!["a".into()], vec!["b-*".into()], Some(7))
        );
        assert_eq!(answer.orders.data.as_deref(), Some(r#"{"n":1.10}"#));
        assert_eq!(answer.orders.actions[0].name, "emit");
        assert_eq!(&*answer.orders.actions[0].json, r#"{"event":"x","args":[1.10]}"#);
        let ack = answer.ack.unwrap();
        assert_eq!(ack.json, r#"[1.10,{"_placeholder":true,"num":0}]"#);
        assert_eq!(ack.attachments, ["hi"]);
        assert_eq!(read("{}"), Ok(Answer::default()));
        assert_eq!(read(r#"{"user":null,"ack":null,"deny":null}"#), Ok(Answer::default()));
        assert_eq!(read(r#"{"deny":{}}"#).unwrap().deny, Some(Deny::default()));
        let deny = read(r#"{"deny":{"message":"no","data":[1]}}"#).unwrap().deny.unwrap();
        assert_eq!(
            (deny.message.as_deref(), deny.data.as_deref()),
            (Some("no"), Some("[1]"))
        );
    }

    #[test]
    fn everything_else_is_no_answer() {
        for text in [
            "",
            "null",
            "[]",
            "[null]",
            "\"ok\"",
            "{} {}",
            "{",
            r#"{"user":7}"#,
            r#"{"user":"a","user":"b"}"#,
            r#"{"usr":"a"}"#,
            r#"{"data":[]}"#,
            r#"{"data":"x"}"#,
            r#"{"rooms":"a"}"#,
            r#"{"rooms":[1]}"#,
            r#"{"rooms":[""]}"#,
            r#"{"join":{}}"#,
            r#"{"publish":[null]}"#,
            r#"{"expires":"soon"}"#,
            r#"{"expires":-1}"#,
            r#"{"deny":true}"#,
            r#"{"deny":["no"]}"#,
            r#"{"deny":{"message":1}}"#,
            r#"{"deny":{"why":"x"}}"#,
            r#"{"ack":{}}"#,
            r#"{"ack":"x"}"#,
            r#"{"ack":[{"$binary":"?"}]}"#,
            r#"{"ack":[{"$binary":"aGk="},{"_placeholder":true,"num":1}]}"#,
            r#"{"actions":{}}"#,
            r#"{"actions":[[]]}"#,
            r#"{"actions":[{}]}"#,
            r#"{"actions":[{"emit":{},"join":{}}]}"#,
            r#"{"actions":[{"disconnect":[]}]}"#,
            r#"{"actions":[{"disconnect":null}]}"#,
        ] {
            assert_eq!(read(text), Err(Failure::Invalid), "{text}");
        }
        assert_eq!(
            Answer::read(Kind::Event, StatusCode::OK, b"\xff"),
            Err(Failure::Invalid)
        );
        let deep = format!(r#"{{"ack":{}{}}}"#, "[".repeat(64), "]".repeat(64));
        assert_eq!(read(&deep), Err(Failure::Invalid));
    }

    #[test]
    fn an_answer_has_no_more_actions_than_it_may() {
        let with = |count: usize| format!(r#"{{"actions":[{}]}}"#, vec![r#"{"leave":{}}"#; count].join(","));
        assert_eq!(read(&with(ACTIONS_MAX)).unwrap().orders.actions.len(), ACTIONS_MAX);
        let more = with(ACTIONS_MAX + 1);
        assert_eq!(read(&more), Err(Failure::Invalid));
        assert_eq!(
            Answer::flaw(StatusCode::OK, more.as_bytes()),
            "it has 101 actions, 100 are allowed"
        );
        assert_eq!(shown(&"é".repeat(1000)), "é".repeat(FLAW_CHARACTERS_MAX));
    }

    #[test]
    fn what_a_status_means_depends_on_what_was_asked() {
        for (status, connect, event) in [
            (204, Err(Failure::Status), Ok(())),
            (401, Ok(Some(Some("unauthorized"))), Err(Failure::Status)),
            (403, Ok(Some(None)), Err(Failure::Status)),
            (201, Err(Failure::Status), Err(Failure::Status)),
            (302, Err(Failure::Redirect), Err(Failure::Redirect)),
            (404, Err(Failure::Status), Err(Failure::Status)),
            (500, Err(Failure::Status), Err(Failure::Status)),
            (502, Err(Failure::Gateway), Err(Failure::Gateway)),
            (503, Err(Failure::Gateway), Err(Failure::Gateway)),
            (504, Err(Failure::Gateway), Err(Failure::Gateway)),
        ] {
            let code = StatusCode::from_u16(status).unwrap();
            let answer = Answer::read(Kind::Connect, code, b"{}");
            let denied = answer.map(|answer| answer.deny.map(|deny| deny.message));
            let connect = connect.map(|deny: Option<Option<&str>>| deny.map(|message| message.map(str::to_owned)));
            assert_eq!(denied, connect, "{status}");
            assert_eq!(Answer::read(Kind::Event, code, b"{}").map(drop), event, "{status}");
        }
    }
}
