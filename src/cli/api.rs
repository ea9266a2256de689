//! Commands that speak to a running node's HTTP API: emit, sockets, rooms, nodes, drain.
//!
//! Data goes to stdout as JSON, a line for each thing; what people want to know beside that goes to stderr.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::anyhow;
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::admin::{Place, Request};
use super::{ADMIN_URL, ADMIN_VARIABLE, UNAVAILABLE, USAGE, complain, count, print};
use crate::units::Span;

/// Holds the key, where no flag does.
const KEY_VARIABLE: &str = "ROOMCAST_API_KEY";

/// The gateway refused.
const REFUSED: u8 = 1;

/// How long an answer is waited for: other nodes may have to be.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Sockets or rooms of one page.
const PAGE: usize = 1000;

const EXAMPLES: &str = "\
Exit codes: 0 done, 1 the gateway refused, 64 wrong usage, 69 nothing answers there.";

const EMIT_EXAMPLES: &str = "\
Examples:
  roomcast emit news '\"Hello\"'                  to everybody in /
  roomcast emit --room lobby chat '{\"text\":\"hi\"}' 7
  roomcast emit --user alice --ack-timeout 5s question

Exit codes: 0 done, 1 the gateway refused, 64 wrong usage, 69 nothing answers there.";

/// What can be asked of a running node.
#[derive(Subcommand)]
pub(super) enum Api {
    /// Send an event to sockets, through a running node
    #[command(after_help = EMIT_EXAMPLES)]
    Emit(Box<Emit>),
    /// List sockets on all nodes, a line of JSON each
    #[command(after_help = EXAMPLES)]
    Sockets(Sockets),
    /// List rooms on all nodes, a line of JSON each
    #[command(after_help = EXAMPLES)]
    Rooms(Rooms),
    /// List all nodes, a line of JSON each
    #[command(after_help = EXAMPLES)]
    Nodes(Nodes),
    /// Take a node out of service without ending it, or put it back
    #[command(after_help = EXAMPLES)]
    Drain(Drain),
}

/// Which node is asked, and by which key.
#[derive(Args)]
struct Access {
    /// The node's admin listener: http://HOST:PORT or unix:/path [default: ROOMCAST_ADMIN, else http://127.0.0.1:3001]
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
    /// One of its admin.keys; others can see it in the list of processes [default: ROOMCAST_API_KEY]
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
}

#[derive(Args, Serialize)]
pub(super) struct Emit {
    /// The event's name
    event: String,
    /// Its arguments, each as JSON: 7, '"text"', '{"a":1}'
    #[arg(value_name = "JSON", allow_negative_numbers = true)]
    #[serde(serialize_with = "as_json")]
    args: Vec<String>,
    /// The namespace
    #[arg(long, default_value = "/")]
    namespace: String,
    /// Room whose members get it, or the id of a socket; several times for several [default: everybody]
    #[arg(long = "room", value_name = "ROOM")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rooms: Vec<String>,
    /// User whose sockets get it
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// Room whose members do not get it; several times for several
    #[arg(long, value_name = "ROOM")]
    except: Vec<String>,
    /// Clients that cannot take it at once do without it
    #[arg(long)]
    volatile: bool,
    /// Only for sockets of that node
    #[arg(long)]
    local: bool,
    /// Wait so long for clients' answers, and print them
    #[arg(long, value_name = "TIME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    ack_timeout: Option<String>,
    /// Do nothing if an event of this id was sent within five minutes
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[command(flatten)]
    #[serde(skip)]
    access: Access,
}

#[derive(Args)]
pub(super) struct Sockets {
    /// The one of this id
    id: Option<String>,
    /// The namespace
    #[arg(long, default_value = "/")]
    namespace: String,
    /// Those in this room
    #[arg(long, conflicts_with = "id")]
    room: Option<String>,
    /// Those of this user
    #[arg(long, conflicts_with = "id")]
    user: Option<String>,
    /// The first so many [default: all]
    #[arg(long, value_name = "COUNT", conflicts_with = "id")]
    limit: Option<usize>,
    #[command(flatten)]
    access: Access,
}

#[derive(Args)]
pub(super) struct Rooms {
    /// This one, counted on Node.js servers, too
    room: Option<String>,
    /// The namespace
    #[arg(long, default_value = "/")]
    namespace: String,
    /// Those whose names begin like this
    #[arg(long, conflicts_with = "room")]
    prefix: Option<String>,
    /// The first so many [default: all]
    #[arg(long, value_name = "COUNT", conflicts_with = "room")]
    limit: Option<usize>,
    #[command(flatten)]
    access: Access,
}

#[derive(Args)]
pub(super) struct Nodes {
    #[command(flatten)]
    access: Access,
}

#[derive(Args)]
pub(super) struct Drain {
    /// The id of a node, as `roomcast nodes` has it [default: the one that is asked]
    #[arg(long, value_name = "ID")]
    node: Option<String>,
    /// Let it serve again
    #[arg(long)]
    cancel: bool,
    #[command(flatten)]
    access: Access,
}

/// Why nothing came of it.
enum Failure {
    Usage(String),
    Away(anyhow::Error),
    Refused(String),
}

/// An answer that is a list.
#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow, alias = "rooms", alias = "nodes", alias = "sockets")]
    list: Vec<&'a RawValue>,
    cursor: Option<String>,
    partial: Vec<String>,
    node_servers: Option<u64>,
}

impl Api {
    /// Does it.
    pub(super) fn run(self) -> ExitCode {
        let done = match self {
            Self::Emit(emit) => emit.run(),
            Self::Sockets(sockets) => sockets.run(),
            Self::Rooms(rooms) => rooms.run(),
            Self::Nodes(Nodes { access }) => list(&access, "/v1/nodes", &[], None, "gateway"),
            Self::Drain(drain) => drain.run(),
        };
        let (code, text) = match done {
            Ok(code) => return code,
            Err(Failure::Usage(text)) => (USAGE, text),
            Err(Failure::Away(error)) => (UNAVAILABLE, format!("{error:#}")),
            Err(Failure::Refused(text)) => (REFUSED, text),
        };
        complain(&format!("roomcast: {text}"));
        ExitCode::from(code)
    }
}

impl Emit {
    fn run(&self) -> Result<ExitCode, Failure> {
        for arg in &self.args {
            if let Err(error) = serde_json::from_str::<&RawValue>(arg) {
                let text = format!("the argument {arg} is not JSON ({error}): write a text as '\"{arg}\"'");
                return Err(Failure::Usage(text));
            }
        }
        let patience = match self.ack_timeout.as_deref().map(str::parse::<Span>).transpose() {
            Ok(patience) => patience.map_or(Duration::ZERO, |span| span.0),
            Err(error) => return Err(Failure::Usage(format!("--ack-timeout: {error}"))),
        };
        let body = serde_json::to_string(self).map_err(|error| Failure::Usage(error.to_string()))?;
        let answer = self.access.ask(&Request {
            method: "POST",
            body: Some(&body),
            timeout: TIMEOUT.saturating_add(patience),
            ..Request::get("/v1/emit")
        })?;
        Ok(print(&format!("{answer}\n")))
    }
}

impl Sockets {
    fn run(&self) -> Result<ExitCode, Failure> {
        let path = match &self.id {
            Some(id) => format!("/v1/sockets/{}", segment(id)),
            None => "/v1/sockets".to_owned(),
        };
        let mut query = vec![("namespace", self.namespace.as_str())];
        query.extend(self.room.as_deref().map(|room| ("room", room)));
        query.extend(self.user.as_deref().map(|user| ("user", user)));
        let limit = if self.id.is_some() { None } else { Some(self.limit) };
        list(&self.access, &path, &query, limit, "socket")
    }
}

impl Rooms {
    fn run(&self) -> Result<ExitCode, Failure> {
        let path = match &self.room {
            Some(room) => format!("/v1/rooms/{}", segment(room)),
            None => "/v1/rooms".to_owned(),
        };
        let mut query = vec![("namespace", self.namespace.as_str())];
        query.extend(self.prefix.as_deref().map(|prefix| ("prefix", prefix)));
        let limit = if self.room.is_some() { None } else { Some(self.limit) };
        list(&self.access, &path, &query, limit, "room")
    }
}

impl Drain {
    fn run(&self) -> Result<ExitCode, Failure> {
        let node = self.node.as_deref();
        let (method, target, body) = if self.cancel {
            let query = node.map(|node| format!("?{}", encoded(&[("node", node)])));
            ("DELETE", format!("/v1/drain{}", query.unwrap_or_default()), None)
        } else {
            let body = node.map_or_else(|| serde_json::json!({}), |node| serde_json::json!({"node": node}));
            ("POST", "/v1/drain".to_owned(), Some(body.to_string()))
        };
        let answer = self.access.ask(&Request {
            method,
            body: body.as_deref(),
            timeout: TIMEOUT,
            ..Request::get(&target)
        })?;
        Ok(print(&format!("{answer}\n")))
    }
}

/// Prints a list: `limit` of its entries or all, page by page; `None` where it is one page.
fn list(
    access: &Access,
    path: &str,
    query: &[(&str, &str)],
    limit: Option<Option<usize>>,
    noun: &str,
) -> Result<ExitCode, Failure> {
    let mut left = limit.flatten().unwrap_or(usize::MAX);
    let (mut found, mut cursor) = (0, None::<String>);
    loop {
        let mut query = query.to_vec();
        let size = left.min(PAGE).to_string();
        if limit.is_some() {
            query.push(("limit", &size));
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        }
        let target = if query.is_empty() {
            path.to_owned()
        } else {
            format!("{path}?{}", encoded(&query))
        };
        let answer = access.ask(&Request {
            timeout: TIMEOUT,
            ..Request::get(&target)
        })?;
        let page: Page<'_> =
            serde_json::from_str(&answer).map_err(|error| Failure::Away(anyhow!("this is no answer: {error}")))?;
        let lines: String = page.list.iter().map(|one| format!("{one}\n")).collect();
        let printed = print(&lines);
        if printed != ExitCode::SUCCESS {
            return Ok(printed);
        }
        found += page.list.len();
        left = left.saturating_sub(page.list.len());
        cursor = page.cursor.filter(|_| left > 0 && limit.is_some());
        if cursor.is_none() {
            let servers = page.node_servers.unwrap_or(0);
            let servers = usize::try_from(servers).ok().filter(|servers| *servers > 0);
            let servers = servers.map(|servers| format!(", {}", count(servers, "Node.js server")));
            complain(&format!("{}{}", count(found, noun), servers.unwrap_or_default()));
            if !page.partial.is_empty() {
                complain(&format!(
                    "not complete, no answer came from: {}",
                    page.partial.join(", ")
                ));
            }
            return Ok(ExitCode::SUCCESS);
        }
    }
}

impl Access {
    /// The body of the answer, where that is a good one.
    fn ask(&self, request: &Request<'_>) -> Result<String, Failure> {
        let from_environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let url = self.admin.clone().or_else(|| from_environment(ADMIN_VARIABLE));
        let url = url.unwrap_or_else(|| ADMIN_URL.to_owned());
        let place = Place::parse(&url).ok_or_else(|| {
            let text = format!("\"{url}\" is not the URL of an admin listener: write it as {ADMIN_URL} or unix:/path");
            Failure::Usage(text)
        })?;
        let key = self.key.clone().or_else(|| from_environment(KEY_VARIABLE));
        if key.as_ref().is_some_and(|key| key.chars().any(char::is_control)) {
            return Err(Failure::Usage("the key has characters that no key can have".to_owned()));
        }
        let request = Request {
            key: key.as_deref(),
            ..*request
        };
        let (status, body) = place.ask(&request).map_err(Failure::Away)?;
        if status == 200 {
            return Ok(body);
        }
        #[derive(Deserialize)]
        struct Refusal {
            message: String,
        }
        let text = match serde_json::from_str::<Refusal>(&body) {
            Ok(refusal) => format!("{status}: {}", refusal.message),
            Err(_) => format!("{status}: {body}"),
        };
        Err(Failure::Refused(text))
    }
}

/// A query.
fn encoded(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish()
}

/// A segment of a path.
fn segment(name: &str) -> String {
    let encoded: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
    encoded.replace('+', "%20")
}

/// Arguments as they were given: JSON, which is checked before.
fn as_json<S: serde::Serializer>(args: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    let args = args.iter().map(|arg| serde_json::from_str::<&RawValue>(arg));
    let args: Vec<_> = args.collect::<Result<_, _>>().map_err(serde::ser::Error::custom)?;
    args.serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_where_they_stand() {
        assert_eq!(segment("a/b c+é?#%"), "a%2Fb%20c%2B%C3%A9%3F%23%25");
        assert_eq!(encoded(&[("room", "a&b c")]), "room=a%26b+c");
    }
}
