//! The command line: reads it, loads the configuration, runs, and says how it went by exit code.
//!
//! The only module that names clap. Output for people goes to stderr, data to stdout.

mod admin;
mod api;
mod bench;

use std::fmt::Display;
use std::io::{ErrorKind, Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand, error::ErrorKind as Usage};

use crate::backend::Grant;
use crate::config::{Config, Flag, Loaded, Problems, Sources};
use crate::server::{self, Ended, ServeError};
use crate::units::Span;
use admin::{Place, Request};
use api::Api;
use bench::Bench;

/// `health`: the node is not ready, or not there.
const NOT_READY: u8 = 1;

/// The command line or the configuration is wrong.
const USAGE: u8 = 64;

/// Something that the node needs is not available, such as its address.
const UNAVAILABLE: u8 = 69;

/// The drain's deadline cut connections.
const CUT: u8 = 75;

/// Where the admin listener is unless somebody says otherwise.
const ADMIN_URL: &str = "http://127.0.0.1:3001";

/// Names another admin listener.
const ADMIN_VARIABLE: &str = "ROOMCAST_ADMIN";

const EXAMPLES: &str = "\
Examples:
  roomcast                                    run with the defaults, for this machine only;
                                              the demo page is at http://127.0.0.1:3000/
  roomcast --listen 0.0.0.0:3000              run for everybody who reaches this machine
  roomcast --redis redis://10.0.0.5:6379      share rooms with all nodes on this Redis
  roomcast config > roomcast.toml             begin a configuration from the commented defaults
  roomcast check -c roomcast.toml             find everything that is wrong with it
  roomcast -c roomcast.toml                   run with it

Every setting is also an environment variable: ROOMCAST_SERVER__LISTEN=0.0.0.0:3000
Exit codes: 0 stopped cleanly, 64 wrong usage or configuration, 69 something is unavailable (an
address in use), 75 connections were cut when draining took too long.";

const CHECK_EXAMPLES: &str = "\
Examples:
  roomcast check -c roomcast.toml             all problems, then the settings in effect
  roomcast check                              the same for the environment alone

Exit codes: 0 fine (there may be warnings), 64 there are errors.";

const TOKEN_EXAMPLES: &str = "\
Examples:
  roomcast token -c roomcast.toml --user alice                              good for an hour
  roomcast token -c roomcast.toml --user alice --room news --join 'chat-*'  may do more than its namespace says

Prints the token. Exit codes: 0 done, 64 wrong usage or configuration.";

const HEALTH_EXAMPLES: &str = "\
Examples:
  roomcast health                             ask the node on this machine
  HEALTHCHECK CMD [\"roomcast\", \"health\"]      in a Dockerfile

Exit codes: 0 ready, 1 not ready or not there, 64 wrong usage.";

/// A realtime gateway for Socket.IO clients of every generation
#[derive(Parser)]
#[command(name = "roomcast", version, after_help = EXAMPLES)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway (what happens without a command, too)
    #[command(after_help = EXAMPLES)]
    Serve(Settings),
    /// Say everything that is wrong with the configuration, and print the settings in effect
    #[command(after_help = CHECK_EXAMPLES)]
    Check(Settings),
    /// Print the commented default configuration
    Config,
    /// Sign a token with the first of token.secrets, for trying things out
    #[command(after_help = TOKEN_EXAMPLES)]
    Token(Box<Wishes>),
    /// Ask a running node whether it is ready, for a container's health check
    #[command(after_help = HEALTH_EXAMPLES)]
    Health {
        /// The node's admin listener [default: ROOMCAST_ADMIN, else http://127.0.0.1:3001]
        #[arg(long, value_name = "URL")]
        admin: Option<String>,
    },
    #[command(flatten)]
    Api(Api),
    /// Measure a server with clients by the thousand
    #[command(subcommand)]
    Bench(Box<Bench>),
}

/// What a token is to say.
#[derive(Args)]
struct Wishes {
    /// Whose it is: the claim `sub`
    #[arg(long, value_name = "USER")]
    user: String,
    /// Room to be in from the start; several times for several
    #[arg(long, value_name = "ROOM")]
    room: Vec<String>,
    /// Pattern of rooms that may be joined
    #[arg(long, value_name = "PATTERN")]
    join: Vec<String>,
    /// Pattern of rooms that may be published to
    #[arg(long, value_name = "PATTERN")]
    publish: Vec<String>,
    /// How long it is good for
    #[arg(long, value_name = "TIME", default_value = "1h")]
    ttl: Span,
    #[command(flatten)]
    settings: Settings,
}

/// Where settings come from.
#[derive(Args, Default)]
struct Settings {
    /// Configuration file in TOML [default: ROOMCAST_CONFIG, else none]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address for clients; several times for several [default: 127.0.0.1:3000]
    #[arg(long, value_name = "ADDR")]
    listen: Vec<String>,
    /// Address for health, metrics and the API [default: 127.0.0.1:3001]
    #[arg(long, value_name = "ADDR")]
    admin_listen: Option<String>,
    /// Redis that makes several nodes one [default: none: one node, in memory]
    #[arg(long, value_name = "URL")]
    redis: Option<String>,
    /// How much is logged: error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// How it is logged: text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
}

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let line = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(error) => return explain(&error),
    };
    let outer = line.settings;
    match line.command {
        None => serve(&outer),
        Some(Command::Serve(settings)) => serve(&settings.or(outer)),
        Some(Command::Check(settings)) => check(&settings.or(outer)),
        Some(Command::Token(wishes)) => token(*wishes, outer),
        Some(Command::Config | Command::Health { .. } | Command::Api(_) | Command::Bench(_)) if outer.is_any() => {
            let message = "settings belong to the commands `serve` and `check`";
            explain(&CommandLine::command().error(Usage::ArgumentConflict, message))
        }
        Some(Command::Config) => print(Config::reference()),
        Some(Command::Health { admin }) => health(admin),
        Some(Command::Api(api)) => api.run(),
        Some(Command::Bench(bench)) => bench.run(),
    }
}

/// Prints what clap has to say: help and the version are no errors.
fn explain(error: &clap::Error) -> ExitCode {
    // Nobody is left to be told when this fails.
    let _ = error.print();
    if error.use_stderr() {
        ExitCode::from(USAGE)
    } else {
        ExitCode::SUCCESS
    }
}

impl Settings {
    /// These settings, and those of `outer` where they say nothing.
    fn or(self, outer: Self) -> Self {
        Self {
            config: self.config.or(outer.config),
            listen: if self.listen.is_empty() {
                outer.listen
            } else {
                self.listen
            },
            admin_listen: self.admin_listen.or(outer.admin_listen),
            redis: self.redis.or(outer.redis),
            log_level: self.log_level.or(outer.log_level),
            log_format: self.log_format.or(outer.log_format),
        }
    }

    fn is_any(&self) -> bool {
        self.config.is_some() || !self.flags().is_empty()
    }

    /// The flags that set something.
    fn flags(&self) -> Vec<Flag> {
        let single = |value: &Option<String>| value.iter().cloned().collect::<Vec<_>>();
        [
            ("--listen", "server.listen", self.listen.clone()),
            ("--admin-listen", "admin.listen", single(&self.admin_listen)),
            ("--redis", "cluster.redis", single(&self.redis)),
            ("--log-level", "log.level", single(&self.log_level)),
            ("--log-format", "log.format", single(&self.log_format)),
        ]
        .into_iter()
        .filter(|(_, _, values)| !values.is_empty())
        .map(|(name, path, values)| Flag { name, path, values })
        .collect()
    }

    fn load(&self) -> Result<Loaded, Problems> {
        Config::load(&Sources {
            file: self.config.clone(),
            environment: std::env::vars_os().collect(),
            flags: self.flags(),
        })
    }
}

/// Prints a token.
fn token(wishes: Wishes, outer: Settings) -> ExitCode {
    let loaded = match wishes.settings.or(outer).load() {
        Ok(loaded) => loaded,
        Err(problems) => return refuse(&problems),
    };
    let config = loaded.config.token;
    let Some(secret) = config.secrets.first() else {
        let message = "token.secrets is empty: there is nothing to sign a token with (--config names a file)";
        complain(&message);
        return ExitCode::from(USAGE);
    };
    let grant = Grant {
        rooms: wishes.room,
        join: wishes.join,
        publish: wishes.publish,
        ..Grant::default()
    };
    match config.sign(secret, &wishes.user, wishes.ttl.0, &grant) {
        Ok(token) => print(&format!("{token}\n")),
        Err(message) => {
            complain(&message);
            ExitCode::from(USAGE)
        }
    }
}

/// Runs the gateway until it ends.
fn serve(settings: &Settings) -> ExitCode {
    let Loaded { config, warnings } = match settings.load() {
        Ok(loaded) => loaded,
        Err(problems) => return refuse(&problems),
    };
    let _log = config.log.init(); // dropped behind everything that logs
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("cannot start threads: {error}");
            return ExitCode::from(UNAVAILABLE);
        }
    };
    match runtime.block_on(server::serve(config)) {
        Ok(Ended::Clean) => ExitCode::SUCCESS,
        Ok(Ended::Cut) => ExitCode::from(CUT),
        Err(ServeError::Unavailable(reason)) => {
            tracing::error!("{reason}");
            ExitCode::from(UNAVAILABLE)
        }
    }
}

/// Says everything about the configuration and prints what is in effect.
fn check(settings: &Settings) -> ExitCode {
    let Loaded { config, warnings } = match settings.load() {
        Ok(loaded) => loaded,
        Err(problems) => return refuse(&problems),
    };
    let count = count(warnings.len(), "warning");
    let problems = Problems {
        errors: Vec::new(),
        warnings,
    };
    if !problems.warnings.is_empty() {
        complain(&problems);
    }
    complain(&format!("The configuration is good: no errors, {count}."));
    print(&config.to_toml())
}

fn refuse(problems: &Problems) -> ExitCode {
    let errors = count(problems.errors.len(), "error");
    let warnings = count(problems.warnings.len(), "warning");
    complain(problems);
    complain(&format!("The configuration cannot be used: {errors}, {warnings}."));
    ExitCode::from(USAGE)
}

/// `no warnings`, `1 warning`, `2 warnings`.
fn count(number: usize, noun: &str) -> String {
    match number {
        0 => format!("no {noun}s"),
        1 => format!("1 {noun}"),
        number => format!("{number} {noun}s"),
    }
}

/// Asks a node's admin listener whether it is ready.
fn health(admin: Option<String>) -> ExitCode {
    let from_environment = || std::env::var(ADMIN_VARIABLE).ok().filter(|url| !url.is_empty());
    let url = admin.or_else(from_environment).unwrap_or_else(|| ADMIN_URL.to_owned());
    let Some(place) = Place::parse(&url) else {
        complain(&format!(
            "roomcast: \"{url}\" is not the URL of an admin listener: write it as {ADMIN_URL}"
        ));
        return ExitCode::from(USAGE);
    };
    match place.ask(&Request::get("/readyz")) {
        Ok((200, body)) => {
            complain(&format!("ready: {body}"));
            ExitCode::SUCCESS
        }
        Ok((status, body)) => {
            complain(&format!("not ready: {status} {body}"));
            ExitCode::from(NOT_READY)
        }
        Err(error) => {
            complain(&format!("not ready: {error:#}"));
            ExitCode::from(NOT_READY)
        }
    }
}

/// Writes data to stdout.
fn print(text: &str) -> ExitCode {
    match stdout().write_all(text.as_bytes()).and_then(|()| stdout().flush()) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader has seen enough: `roomcast config | head`.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("roomcast: cannot write to stdout: {error}"));
            ExitCode::from(UNAVAILABLE)
        }
    }
}

/// Writes a line for people.
fn complain(text: &dyn Display) {
    // Nobody is left to be told when this fails.
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn flags_are_taken_before_and_after_the_command() {
        for line in [
            "roomcast --listen 1:1 -c x.toml",
            "roomcast serve --listen 1:1 -c x.toml",
            "roomcast -c x.toml serve --listen 1:1",
            "roomcast --listen 2:2 -c x.toml serve --listen 1:1",
        ] {
            let line = CommandLine::try_parse_from(line.split(' ')).unwrap();
            let settings = match line.command {
                Some(Command::Serve(settings)) => settings.or(line.settings),
                _ => line.settings,
            };
            assert_eq!(settings.listen, ["1:1"]);
            assert_eq!(settings.config, Some("x.toml".into()));
        }
    }
}
