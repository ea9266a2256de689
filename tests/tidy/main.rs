//! The rules of this code base as tests: what may use what, how long files are, which crate is named where.
//!
//! Reads the sources as text, never runs them. Every rule is a function from sources to complaints, so that each is
//! tested on a few lines that break it. An exception is a line in a table with its reason, and has to be in use.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod broken;
mod file;
mod manifest;
mod rules;
mod source;

use std::collections::HashSet;
use std::path::Path;

use file::File;

/// Files that may be longer: up to how many lines, and why.
const LONG_FILES: [(&str, usize, &str); 5] = [
    ("src/engine/outbox.rs", 410, "one queue, and the one way out of it"),
    ("src/engine/session.rs", 510, "one poll function and what it polls"),
    (
        "src/engine/polling.rs",
        410,
        "one parked poll, and what may come between",
    ),
    ("src/hub/shard/mod.rs", 430, "one lock and what is done under it"),
    ("src/protocol/json.rs", 470, "one scanner"),
];

/// Modules that use one above them: who, whom and why.
const UPWARD: [(&str, &str, &str); 2] = [
    ("config", "drain", "composes its Config"),
    ("config", "server", "composes its Config"),
];

/// Modules that are there for some others only.
const MODULES: [(&str, &[&str], &str); 7] = [
    (
        "bench",
        &["cli"],
        "a tool beside the gateway, of which no part knows it",
    ),
    ("cli", &[], "the binary alone runs it"),
    ("drain", &["config", "server"], "one place ends everybody"),
    (
        "proxies",
        &["config", "server"],
        "whose address a client has is known before anything else sees the request",
    ),
    (
        "server",
        &["config", "cli"],
        "it puts the parts together; no part knows it",
    ),
    (
        "socketio",
        &["config", "ops", "server"],
        "a session is handed to it, so that the engine knows no namespaces; the API has its commands",
    ),
    ("tls", &["backend", "bench"], "where we are the client"),
];

/// Crates that only some files may name.
const CRATES: [(&str, &[&str], &str); 24] = [
    (
        "anyhow",
        &["src/main.rs", "src/cli/"],
        "errors below are enums or sentences",
    ),
    (
        "atomic_waker",
        &["src/engine/outbox.rs"],
        "one place wakes a session's task",
    ),
    ("clap", &["src/cli/"], "the command line is one module"),
    (
        "fastwebsockets",
        &["src/engine/websocket.rs"],
        "frames are one file's business",
    ),
    ("figment", &["src/config/layers.rs"], "layers are one file's business"),
    (
        "flate2",
        &["src/engine/requests.rs"],
        "only answers to polls are compressed",
    ),
    ("fred", &["src/cluster/redis/"], "Redis is one module's business"),
    (
        "hdrhistogram",
        &["src/bench/quantiles.rs"],
        "times are counted in one place",
    ),
    (
        "http_body_util",
        &["src/http.rs"],
        "bodies are read with limits, in one place",
    ),
    (
        "hyper_util",
        &[
            "src/backend/fetch.rs",
            "src/backend/webhook/client.rs",
            "src/cluster/forward/",
            "src/engine/tests.rs",
            "src/engine/websocket.rs",
            "src/server/connection.rs",
            "src/server/peers.rs",
        ],
        "sockets go in at one place a port and come out at one; tests echo",
    ),
    ("indexmap", &["src/hub/"], "members of rooms"),
    ("jsonwebtoken", &["src/backend/"], "tokens are one module's business"),
    ("ipnet", &["src/config/", "src/proxies.rs"], "trusted proxies"),
    (
        "prometheus",
        &["src/metrics/"],
        "every number that we count is in one struct",
    ),
    (
        "rlimit",
        &["src/bench/mod.rs", "src/server/mod.rs"],
        "the process's limits are raised once, whatever it runs as",
    ),
    (
        "rustls_native_certs",
        &["src/tls.rs"],
        "whom we trust is decided in one place",
    ),
    (
        "sd_notify",
        &["src/server/supervisor.rs"],
        "one place speaks to the service manager",
    ),
    (
        "slab",
        &["src/hub/", "src/cluster/forward/passing.rs"],
        "slots of sockets, and of what passes through",
    ),
    (
        "socket2",
        &[
            "src/engine/goodbye.rs",
            "src/engine/outbox.rs",
            "src/engine/tests.rs",
            "src/server/listener.rs",
            "src/stream.rs",
        ],
        "options of sockets where they are made and ended; small buffers in tests",
    ),
    (
        "tokio_rustls",
        &["src/tls.rs"],
        "how TLS is spoken is decided in one place",
    ),
    ("strsim", &["src/config/"], "\"did you mean\""),
    (
        "toml",
        &["src/config/", "src/socketio/rules.rs"],
        "settings, and rules in tests",
    ),
    (
        "tracing_appender",
        &["src/ops/logging.rs"],
        "who writes logs need not know how they leave",
    ),
    (
        "tracing_subscriber",
        &["src/ops/logging.rs"],
        "who writes logs need not know how they look",
    ),
];

/// Parts that may not name some crates.
const PURE: [(&str, &[&str], &str); 7] = [
    (
        "src/bench/",
        &["hyper", "tracing", "fastwebsockets"],
        "the other side of the wire: what the gateway stands on must not measure it",
    ),
    ("src/bench/frames.rs", &["tokio"], "bytes to frames and back: no I/O"),
    (
        "src/protocol/",
        &["tokio", "hyper", "tracing", "parking_lot"],
        "bytes to packets and back: no I/O, no clock",
    ),
    (
        "src/cluster/wire/",
        &["tokio", "hyper", "tracing", "parking_lot"],
        "messages to bytes and back: no I/O, no clock",
    ),
    (
        "src/engine/lifecycle.rs",
        &["tokio", "hyper", "tracing"],
        "rules without I/O: time is an argument",
    ),
    (
        "src/hub/",
        &["hyper", "tracing"],
        "nothing is logged or answered while a shard is locked",
    ),
    ("src/socketio/", &["hyper"], "a client's life begins behind HTTP"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files under `src` and `tests`.
fn files() -> Vec<File> {
    let mut files = Vec::new();
    let mut folders = vec![root().join("src"), root().join("tests")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !matches!(&*name, "node_modules" | "target") {
                folders.push(path);
            } else if name.ends_with(".rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
                files.push(File::new(&path, &text));
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(files.len() > 40, "only {} files were found", files.len());
    files
}

fn manifest_text() -> String {
    std::fs::read_to_string(root().join("Cargo.toml")).unwrap()
}

#[track_caller]
fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn every_module_has_its_place_in_the_reading_order() {
    let files = files();
    assert_none(&rules::undocumented_modules(
        files.iter().find(|file| file.path == "src/lib.rs").unwrap(),
    ));
}

#[test]
fn modules_use_only_those_below_them() {
    let files = files();
    let lib = files.iter().find(|file| file.path == "src/lib.rs").unwrap();
    assert_none(&rules::upward_uses(&files, &rules::reading_order(&lib.text), &UPWARD));
    assert_none(&rules::modules_used_by_others(&files, &MODULES));
}

#[test]
fn every_file_says_what_it_is() {
    assert_none(&rules::missing_docs(&files()));
}

#[test]
fn no_file_is_too_long() {
    assert_none(&rules::long_files(&files(), &LONG_FILES));
}

#[test]
fn crates_are_named_only_in_their_places() {
    assert_none(&rules::crates_out_of_place(&files(), &CRATES, &PURE));
}

#[test]
fn nothing_is_careless_or_unfinished() {
    assert_none(&rules::careless_words(&files()));
}

#[test]
fn every_dependency_has_a_reason_and_a_use() {
    let text = manifest_text();
    let (dependencies, complaints) = manifest::dependencies(&text);
    assert!(
        dependencies.len() > 20,
        "only {} dependencies were found",
        dependencies.len()
    );
    assert_none(&complaints);
    assert_none(&rules::unused_dependencies(&files(), &dependencies));
}

#[test]
fn tables_name_what_is_there() {
    let files = files();
    let places = CRATES
        .iter()
        .flat_map(|(_, places, _)| *places)
        .chain(PURE.iter().map(|(place, _, _)| place));
    let gone = places.filter(|place| !files.iter().any(|file| file.is_at(place)));
    assert_none(
        &gone
            .map(|place| format!("tests/tidy/main.rs: {place} does not exist"))
            .collect::<Vec<_>>(),
    );
    let text = manifest_text();
    let names: HashSet<_> = manifest::dependencies(&text)
        .0
        .iter()
        .map(|dependency| dependency.name.replace('-', "_"))
        .collect();
    let crates = CRATES
        .iter()
        .map(|(name, _, _)| name)
        .chain(PURE.iter().flat_map(|(_, names, _)| *names));
    let gone = crates.filter(|name| !names.contains(**name));
    assert_none(
        &gone
            .map(|name| format!("tests/tidy/main.rs: `{name}` is no dependency"))
            .collect::<Vec<_>>(),
    );
}
