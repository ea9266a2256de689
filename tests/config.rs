//! The command line and the configuration, as somebody sees them who runs the built binary.

#![expect(
    clippy::unwrap_used,
    reason = "this is a test, its helpers included: what cannot be unwrapped fails it"
)]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;

use roomcast::config::Config;

const REFERENCE: &str = include_str!("../config/roomcast.toml");

/// Runs the binary with nothing in its environment but `variables`.
fn roomcast(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_roomcast"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .expect("the binary runs")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it exits by itself")
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// Writes a file for one test; `name` is used by no other test.
fn file(name: &str, text: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// The example at the end of the reference, one `# ` taken away from each line.
fn uncommented_example() -> String {
    let start = REFERENCE.find("\n# [[namespace]]\n").unwrap() + 1;
    let lines = REFERENCE[start..].lines();
    let lines = lines.map(|line| line.strip_prefix('#').unwrap());
    let lines = lines.map(|line| line.strip_prefix(' ').unwrap_or(line).to_owned() + "\n");
    lines.collect()
}

#[test]
fn config_prints_the_reference_byte_by_byte() {
    let output = roomcast(&["config"], &[]);
    assert_eq!(code(&output), 0);
    assert_eq!(stdout(&output), REFERENCE);
}

#[test]
fn the_reference_is_the_defaults_and_knows_every_key() {
    let reference: toml::Table = REFERENCE.parse().unwrap();
    let effective: toml::Table = Config::defaults().to_toml().parse().unwrap();
    assert_eq!(reference, effective);
    let path = file("reference.toml", REFERENCE);
    let output = roomcast(&["check", "-c", path.to_str().unwrap()], &[]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
}

#[test]
fn the_commented_example_is_good_and_shows_every_key_at_its_default() {
    let example = uncommented_example();
    let short = "[[namespace]]\nname = '/'\n\
        [[namespace.event]]\nname = 'chat message'\naction = 'broadcast'\n";
    let config = Config::from_toml(&example).unwrap();
    assert!(!config.is_open());
    assert_eq!(config.to_toml(), Config::from_toml(short).unwrap().to_toml());
    let mut written: toml::Table = example.parse().unwrap();
    let mut effective: toml::Table = config.to_toml().parse().unwrap();
    assert_eq!(written.remove("namespace"), effective.remove("namespace"));
}

#[test]
fn check_prints_settings_that_mean_the_same_again() {
    let path = file("again.toml", &(REFERENCE.to_owned() + &uncommented_example()));
    let first = roomcast(&["check", "-c", path.to_str().unwrap()], &[]);
    let path = file("again2.toml", stdout(&first));
    let second = roomcast(&["check", "-c", path.to_str().unwrap()], &[]);
    assert_eq!(code(&second), 0, "{}", stderr(&second));
    assert_eq!(stdout(&first), stdout(&second));
    let bare = roomcast(&["check"], &[]);
    assert_eq!(Config::from_toml(stdout(&bare)).unwrap().to_toml(), stdout(&bare));
}

#[test]
fn check_reports_all_mistakes_with_what_was_meant_and_where_they_stand() {
    let path = file(
        "mistakes.toml",
        "[engine]\nping_intervall = \"25s\"\nping_timeout = 20\n\n[recovery]\nurl = \"me\"\n",
    );
    let path = path.to_str().unwrap();
    let output = roomcast(
        &["check", "-c", path, "--listen", "3000"],
        &[("ROOMCAST_LOG__LEVLE", "debug"), ("ROOMCAST_DRAIN__TIMEOUT", "3x")],
    );
    assert_eq!(code(&output), 64);
    assert_eq!(stdout(&output), "");
    let errors = stderr(&output);
    for expected in [
        &format!("error: engine.ping_intervall: unknown key; did you mean `engine.ping_interval`? ({path}, line 2)"),
        &format!("error: engine.ping_timeout: must be a string such as \"20s\", found `20` ({path}, line 3)"),
        &format!("error: recovery.url: recovery of missed events comes with a later version ({path}, line 6)"),
        "error: ROOMCAST_LOG__LEVLE: unknown variable; did you mean `ROOMCAST_LOG__LEVEL`? (environment)",
        "error: drain.timeout: `3x` is not a duration",
        "(environment variable ROOMCAST_DRAIN__TIMEOUT)",
        "error: server.listen: \"3000\" is not an address with a port",
        "(flag --listen)",
        "6 errors, 1 warning",
    ] {
        assert!(errors.contains(expected), "{expected} is not in:\n{errors}");
    }
}

#[test]
fn later_layers_win() {
    let path = file("layers.toml", "[log]\nlevel = \"warn\"\n[engine]\ncookie = \"file\"\n");
    let path = path.to_str().unwrap();
    let other = file("layers_other.toml", "nonsense");
    let cookie = file("cookie.txt", "from-a-file\n");
    let output = roomcast(
        &["--log-level", "debug", "check", "--config", path],
        &[
            ("ROOMCAST_CONFIG", other.to_str().unwrap()),
            ("ROOMCAST_LOG__LEVEL", "error"),
            ("ROOMCAST_ENGINE__COOKIE_FILE", cookie.to_str().unwrap()),
        ],
    );
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let config = Config::from_toml(stdout(&output)).unwrap();
    assert_eq!(config.engine.cookie, "from-a-file");
    assert!(stdout(&output).contains("level = \"debug\""));
    let named = roomcast(&["check"], &[("ROOMCAST_CONFIG", path)]);
    assert!(stdout(&named).contains("level = \"warn\""));
    let missing = roomcast(&["check", "-c", "no/such/file.toml"], &[]);
    assert_eq!(code(&missing), 64);
    assert!(stderr(&missing).contains("\"no/such/file.toml\" cannot be read"));
    assert!(stderr(&missing).contains("(flag --config)"));
}

#[test]
fn secrets_are_never_printed() {
    let key = "correct-horse-battery-staple-and-more";
    let short = "hunter2hunter2";
    let good = file(
        "good_secret.toml",
        &format!("[admin]\nkeys = [\"{key}\", \"{short}\"]\n"),
    );
    let broken = file("broken_secret.toml", &format!("[admin]\nkeys = [\"{key}\n"));
    let wrong = file("wrong_secret.toml", &format!("[admin]\nkeys = \"{key}\"\n"));
    let lines = file("secret_lines.txt", &format!("{key}\n{short}\n"));
    let lines = lines.to_str().unwrap();
    let runs = [
        (0, good.to_str().unwrap(), ("UNRELATED", "")),
        (64, broken.to_str().unwrap(), ("UNRELATED", "")),
        (64, wrong.to_str().unwrap(), ("UNRELATED", "")),
        (64, "/dev/null", ("ROOMCAST_ADMIN__KEYS", key)),
        (64, "/dev/null", ("ROOMCAST_ADMIN__KEYS_FILE", key)),
        (0, "/dev/null", ("ROOMCAST_ADMIN__KEYS_FILE", lines)),
    ];
    for (expected, path, variable) in runs {
        let output = roomcast(&["check", "-c", path], &[variable]);
        assert_eq!(code(&output), expected, "{path} {variable:?}: {}", stderr(&output));
        for secret in [key, short] {
            assert!(!stdout(&output).contains(secret), "{path} {variable:?}");
            assert!(!stderr(&output).contains(secret), "{path} {variable:?}");
        }
        if expected == 0 {
            assert!(stdout(&output).contains(r#"keys = ["***", "***"]"#));
            assert!(stderr(&output).contains("key number 2 has 14 bytes"));
        }
    }
}

#[test]
fn wrong_usage_exits_64_and_help_exits_0() {
    for (line, expected) in [
        ("--help", 0),
        ("serve --help", 0),
        ("check -h", 0),
        ("--version", 0),
        ("sevre", 64),
        ("--lisen 127.0.0.1:0", 64),
        ("--listen", 64),
        ("--log-level debug config", 64),
        ("--redis http://127.0.0.1", 64),
        ("serve --log-format xml", 64),
        ("health --admin https://127.0.0.1", 64),
    ] {
        let arguments: Vec<_> = line.split(' ').collect();
        let output = roomcast(&arguments, &[]);
        assert_eq!(code(&output), expected, "{line}: {}", stderr(&output));
        let said = if expected == 0 {
            stdout(&output)
        } else {
            stderr(&output)
        };
        assert!(!said.is_empty(), "{line}");
    }
}

#[test]
fn a_taken_address_exits_69_and_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let arguments = ["--listen", &address, "--admin-listen", "127.0.0.1:0"];
    let output = roomcast(&arguments, &[]);
    assert_eq!(code(&output), 69, "{}", stderr(&output));
    assert!(stderr(&output).contains(&address), "{}", stderr(&output));
}

#[test]
fn health_tells_ready_from_not_ready_and_from_nothing_there() {
    for (answer, expected, said) in [
        ("HTTP/1.1 200 OK\r\n\r\n{\"ready\":true}", 0, "ready: {\"ready\":true}"),
        (
            "HTTP/1.1 503 Service Unavailable\r\n\r\n{\"ready\":false}",
            1,
            "not ready: 503 {\"ready\":false}",
        ),
        ("SSH-2.0-x\r\n", 1, "does not speak HTTP"),
        ("", 1, "does not speak HTTP"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                request.push(byte[0]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(request).unwrap()
        });
        let output = roomcast(&["health"], &[("ROOMCAST_ADMIN", &url)]);
        assert_eq!(code(&output), expected, "{answer}: {}", stderr(&output));
        assert!(stderr(&output).contains(said), "{answer}: {}", stderr(&output));
        assert!(
            server
                .join()
                .unwrap()
                .starts_with("GET /readyz HTTP/1.1\r\nHost: 127.0.0.1:")
        );
    }
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = roomcast(&["health", "--admin", &format!("http://{gone}/")], &[]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("nothing answers"), "{}", stderr(&output));
}

#[test]
fn tokens_are_signed_for_trying_things_out() {
    let settings = "[token]\nsecrets = ['0123456789-0123456789-0123456789']\naudience = 'chat'\n\
                    [[namespace]]\nname = '/'\nauth = 'token'\n";
    let path = file("token.toml", settings);
    let path = path.to_str().unwrap();
    let all = [
        "token",
        "-c",
        path,
        "--user",
        "alice",
        "--room",
        "r",
        "--join",
        "j-*",
        "--join",
        "k",
        "--publish",
        "p",
        "--ttl",
        "5m",
    ];
    let output = roomcast(&all, &[]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let token = stdout(&output).trim_end();
    assert_eq!(token.split('.').count(), 3, "{token}");
    use base64::Engine as _;
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap());
    let claims: serde_json::Value = serde_json::from_slice(&claims.unwrap()).unwrap();
    assert_eq!((&claims["sub"], &claims["aud"]), (&"alice".into(), &"chat".into()));
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 300);
    let expected = serde_json::json!({"rooms": ["r"], "join": ["j-*", "k"], "publish": ["p"]});
    assert_eq!(claims["roomcast"], expected);
    for (arguments, part) in [
        (vec!["token", "--user", "alice"], "token.secrets"),
        (vec!["token", "-c", path], "--user"),
        (vec!["token", "-c", path, "--user", ""], "no name"),
        (vec!["token", "-c", path, "--user", "a", "--ttl", "soon"], "soon"),
        (vec!["token", "-c", "/nowhere.toml", "--user", "a"], "nowhere"),
    ] {
        let output = roomcast(&arguments, &[]);
        assert_eq!(code(&output), 64, "{arguments:?}");
        assert!(
            stdout(&output).is_empty() && stderr(&output).contains(part),
            "{}",
            stderr(&output)
        );
    }
}
