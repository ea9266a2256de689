//! Commands, one by one and in batches, as `socketio::commands` reads and does them.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use serde::Serialize;
use serde_json::value::RawValue;

use super::answer::{Answer, Failure, json_of};
use super::{Api, body};
use crate::metrics::{ApiRoute, Refusal};
use crate::socketio::commands::{Caller, Command, Done, Failed, Invalid};

/// Bytes of a command beside its event: ten thousand names of rooms.
const NAMES_BYTES_MAX: usize = 1 << 20;

/// Bytes of a batch: more than most events, and little enough to be held for everybody who sends one at a time.
const BATCH_BYTES_MAX: usize = 16 << 20;

/// Commands of a batch.
const COMMANDS_MAX: usize = 1000;

/// What came of the commands of a batch, in their order.
#[derive(Serialize)]
struct Results {
    results: Vec<Outcome>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Outcome {
    Done(Done),
    Failed { ok: bool, error: String, message: String },
}

impl Api {
    /// `POST /v1/emit`, `/v1/join`, `/v1/leave`, `/v1/disconnect`
    pub(super) async fn command(&self, route: ApiRoute, request: Request<Incoming>) -> Answer {
        let bytes = body::read(request, self.command_bytes_max()).await?;
        let command = Command::parse(route.as_str(), body::text(&bytes)?)?;
        drop(bytes);
        json_of(&self.carry(command).await?)
    }

    /// `POST /v1/batch`
    pub(super) async fn batch(&self, request: Request<Incoming>) -> Answer {
        let bytes = body::read(request, self.command_bytes_max().max(BATCH_BYTES_MAX)).await?;
        let commands = commands(body::text(&bytes)?)?;
        let mut results = Vec::with_capacity(commands.len());
        for command in commands {
            let done = match one_of(command.get()) {
                Ok(command) => self.carry(command).await,
                Err(failure) => Err(failure),
            };
            results.push(Outcome::from(done));
        }
        json_of(&Results { results })
    }

    /// Base64 makes a third more of what is binary, escapes make up to six times as much of few characters.
    fn command_bytes_max(&self) -> usize {
        self.payload_bytes_max.saturating_mul(2).saturating_add(NAMES_BYTES_MAX)
    }

    /// Has a command carried out to its end, whether or not its client waits for that: half of it, with its id taken,
    /// could not be tried again.
    async fn carry(&self, command: Command) -> Result<Done, Failure> {
        let socketio = Arc::clone(&self.socketio);
        let carried = tokio::spawn(async move { socketio.carry(command, Caller::Api).await });
        let carried = carried.await.map_err(|_| {
            let message = "a bug ended the command";
            Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
        })?;
        carried.map_err(Failure::from)
    }
}

/// The commands of a batch, each still to be read.
fn commands(json: &str) -> Result<Vec<&RawValue>, Failure> {
    let fields = body::fields("the body", json, &["commands"])?;
    let Some(commands) = fields.get("commands") else {
        return Err(Failure::field("commands", "is missing"));
    };
    let commands = serde_json::from_str::<Vec<&RawValue>>(commands.get())
        .map_err(|_| Failure::field("commands", "must be a list"))?;
    if commands.len() > COMMANDS_MAX {
        let message = format!("has {} of them, {COMMANDS_MAX} are allowed", commands.len());
        return Err(Failure::field("commands", message));
    }
    Ok(commands)
}

/// A command of a batch: `{"emit":{…}}`.
fn one_of(json: &str) -> Result<Command, Failure> {
    let fields = body::fields("the command", json, &["emit", "join", "leave", "disconnect"])?;
    let mut fields = fields.into_iter();
    match (fields.next(), fields.next()) {
        (Some((name, fields)), None) => Ok(Command::parse(&name, fields.get())?),
        _ => Err(Failure::bad_request("the command must have one name and its fields")),
    }
}

impl From<Invalid> for Failure {
    fn from(invalid: Invalid) -> Self {
        Self::bad_request(invalid.to_string())
    }
}

impl From<Failed> for Failure {
    fn from(failed: Failed) -> Self {
        let status = match failed.refusal {
            Refusal::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Refusal::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Forbidden => StatusCode::FORBIDDEN,
            _ => StatusCode::BAD_REQUEST,
        };
        Self::new(status, failed.refusal.as_str(), failed.message)
    }
}

impl From<Result<Done, Failure>> for Outcome {
    fn from(result: Result<Done, Failure>) -> Self {
        match result {
            Ok(done) => Self::Done(done),
            Err(failure) => Self::Failed {
                ok: false,
                error: failure.code.into_owned(),
                message: failure.message,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_batch_is_said() {
        let many = format!(r#"{{"commands":[{}]}}"#, vec!["{}"; COMMANDS_MAX + 1].join(","));
        for (json, status, message) in [
            ("{}", 400, "`commands` is missing"),
            (r#"{"commands":{}}"#, 400, "`commands` must be a list"),
            (r#"{"commands":null}"#, 400, "`commands` must be a list"),
            (r#"{"command":[]}"#, 400, "`command` is no field: there is commands"),
            (&many, 400, "`commands` has 1001 of them, 1000 are allowed"),
        ] {
            let failure = commands(json).unwrap_err();
            assert_eq!(
                (failure.status.as_u16(), &*failure.message),
                (status, message),
                "{json}"
            );
        }
        for (json, message) in [
            ("{}", "the command must have one name and its fields"),
            (
                r#"{"emit":{"event":"a"},"join":{}}"#,
                "the command must have one name and its fields",
            ),
            ("7", "the command must be a JSON object"),
            (
                r#"{"shout":{}}"#,
                "`shout` is no field: there is emit, join, leave, disconnect",
            ),
            (r#"{"emit":{}}"#, "`event` is missing"),
        ] {
            assert_eq!(one_of(json).unwrap_err().message, message, "{json}");
        }
    }
}
