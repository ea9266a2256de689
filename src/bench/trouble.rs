//! Why a run ended without a result, in words that help.

use super::talk::Refusal;

/// Why there is no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// The plan makes no sense.
    #[error("{0}")]
    Usage(String),
    /// Something that is needed is not there: mostly the server.
    #[error("{0}")]
    Unavailable(String),
    /// The server does not do what is measured.
    #[error("{0}")]
    Unsuited(String),
}

/// What a server must answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need<'a> {
    /// An event that is echoed.
    Echo(&'a str),
    /// Joining a room.
    Join(&'a str),
    /// Publishing to a room.
    Publish(&'a str),
}

impl Trouble {
    /// The server did not answer at all.
    pub(super) fn silence(need: Need<'_>, namespace: &str, seconds: u64) -> Self {
        let what = format!("does not acknowledge {} within {seconds} s", need.words());
        Self::unsuited(&what, need, namespace)
    }

    /// The server answered with a refusal.
    pub(super) fn refusal(need: Need<'_>, namespace: &str, refusal: &Refusal) -> Self {
        let what = format!("refuses {}: {refusal}", need.words());
        match refusal.error.as_str() {
            "rate_limited" => Self::Unsuited(format!(
                "the server {what}\nRoomcast's limits.events_per_second must be 0 (its default) to be measured."
            )),
            "too_large" => Self::Unsuited(format!("the server {what}")),
            _ => Self::unsuited(&what, need, namespace),
        }
    }

    fn unsuited(what: &str, need: Need<'_>, namespace: &str) -> Self {
        let rule = need.rule(namespace);
        let handler = need.handler();
        Self::Unsuited(format!(
            "the server {what}\n\nRoomcast does so with this in its configuration file:\n\n{rule}\n\
             A server of another kind needs a handler like this one:\n\n{handler}"
        ))
    }
}

impl Need<'_> {
    fn words(self) -> String {
        match self {
            Self::Echo(event) => format!("the event \"{event}\""),
            Self::Join(room) => format!("\"join\" for the room \"{room}\""),
            Self::Publish(room) => format!("\"publish\" to the room \"{room}\""),
        }
    }

    /// What Roomcast's configuration needs.
    fn rule(self, namespace: &str) -> String {
        let namespace = toml_string(namespace);
        let head = format!("    [[namespace]]\n    name = {namespace}\n");
        match self {
            Self::Echo(event) => format!(
                "{head}    [[namespace.event]]\n    name = {}\n    action = \"ack\"\n",
                toml_string(event)
            ),
            Self::Join(_) => format!("{head}    join = [\"*\"]\n"),
            Self::Publish(_) => format!("{head}    join = [\"*\"]\n    publish = [\"*\"]\n    members_only = false\n"),
        }
    }

    /// What it is in Node.js.
    fn handler(self) -> String {
        match self {
            Self::Echo(event) => format!("    socket.on(\"{event}\", (text, ack) => ack(text));"),
            Self::Join(_) => "    socket.on(\"join\", (room, ack) => { socket.join(room); ack(); });".to_owned(),
            Self::Publish(_) => {
                "    socket.on(\"publish\", (room, event, text, ack) => { io.to(room).emit(event, text); ack(); });"
                    .to_owned()
            }
        }
    }
}

/// A text as TOML and JSON both write it.
fn toml_string(text: &str) -> String {
    let mut out = String::new();
    crate::protocol::json::write_string(&mut out, text);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_with_the_rule_that_brings_it() {
        let refusal = |error: &str| Refusal {
            error: error.into(),
            message: "no".into(),
        };
        for (trouble, expected) in [
            (
                Trouble::silence(Need::Echo("e\"x"), "/a", 5),
                &["within 5 s", r#"name = "e\"x""#, "action = \"ack\"", "name = \"/a\""][..],
            ),
            (
                Trouble::refusal(Need::Join("r"), "/", &refusal("forbidden")),
                &["\"r\": forbidden: no", "join = [\"*\"]"],
            ),
            (
                Trouble::refusal(Need::Publish("r"), "/", &refusal("forbidden")),
                &["members_only = false", "io.to(room)"],
            ),
            (
                Trouble::refusal(Need::Echo("e"), "/", &refusal("rate_limited")),
                &["events_per_second must be 0"],
            ),
        ] {
            for expected in expected {
                assert!(trouble.to_string().contains(expected), "{expected} in {trouble}");
            }
        }
    }
}
