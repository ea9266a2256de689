//! What is said about every kind of mistake, in process; `tests/config.rs` runs the binary.

mod backend;

use super::*;
use proptest::prelude::*;

/// A text with one mistake, and a part of what is said about it.
const MISTAKES: [(&str, &str); 45] = [
    (
        "[server]\nlisten = 3000",
        "server.listen: must be an address, or a list of addresses (configuration, line 2)",
    ),
    ("[server]\nlisten = []", "server.listen: is empty"),
    ("[server]\nlisten = ':3000'", "\":3000\" is not an address with a port"),
    (
        "[server]\nlisten = '300.1.1.1:80'",
        "\"300.1.1.1:80\" is not an address with a port",
    ),
    (
        "[server]\nlisten = 'unix:run/x'",
        "\"unix:run/x\" must name a file by its whole path",
    ),
    (
        "[server]\nlisten = 'unix:/run/0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678'",
        "has a path of 114 bytes: the system allows 107",
    ),
    (
        "[admin]\nlisten = 'unix:/run/x'\n[server]\nlisten = 'unix:/run/x'",
        "is the clients' address as well",
    ),
    (
        "[server]\nclient_bundle = '/no/such/file.js'",
        "server.client_bundle: \"/no/such/file.js\" cannot be read: No such file or directory (os error 2) (configuration, line 2)",
    ),
    ("[server]\nclient_bundle = '/'", "\"/\" is not a file"),
    ("[server]\nclient_bundle = '/dev/null'", "\"/dev/null\" is not a file"),
    ("[server]\nproxy_protocol = 1", "server.proxy_protocol: must be"),
    ("[server]\nlisten = ['[::]:1', '[::]:1']", "\"[::]:1\" is there twice"),
    ("[server]\npath = 'socket.io'", "must begin and end with a slash"),
    ("[server]\npath = '/a b/'", "must not contain"),
    ("[server]\norigins = ['example.com']", "is not an origin"),
    (
        "[server]\norigins = ['https://a.example:443']",
        "browsers leave out the usual port: \"https://a.example\"",
    ),
    (
        "[server]\norigins = ['https://*.example']",
        "there are no patterns here",
    ),
    ("[server]\norigins = ['https://a.example:x']", "has no valid port"),
    ("[server]\ntrusted_proxies = ['ten']", "is not a network"),
    ("[server]\ntrusted_proxies = ['::1']", "alone as \"::1/128\""),
    ("[server]\ndemo = 'yes'", "must be true, false or \"auto\""),
    (
        "[server]\nports = 1",
        "server.ports: unknown key (configuration, line 2)",
    ),
    ("[engine]\ntransports = []", "engine.transports: is empty"),
    (
        "[engine]\ntransports = ['polling', 'polling']",
        "\"polling\" is there twice",
    ),
    ("[engine]\nping_timeout = '0s'", "must be more than nothing"),
    ("[engine]\nping_interval = '600h'", "exceed 24 days"),
    ("[engine]\nping_interval = '25'", "`25` is not a duration"),
    ("[engine]\nmax_payload = '10B'", "at least \"1kB\""),
    (
        "[engine]\nmax_payload = '2MiB'",
        "limits.outbox: \"4MB\" must be at least twice engine.max_payload, \"2MiB\" (default; engine.max_payload from configuration, line 2)",
    ),
    ("[engine]\ncookie = 'a;b'", "is not a cookie's name"),
    ("[drain]\nspread = '26s'", "is less than delay \"5s\" + spread \"26s\""),
    (
        "[admin]\nlisten = '0.0.0.0:3001'",
        "can be reached from other machines: set admin.keys",
    ),
    ("[admin]\nlisten = 'gateway:3001'", "can be reached from other machines"),
    ("[admin]\nlisten = '127.0.0.1:3000'", "is the clients' address as well"),
    ("[admin]\nkeys = ['']", "key number 1 is empty"),
    ("[admin]\nkeys = ['***']", "stands for one it hides"),
    (
        "[namespace]\nname = '/'",
        "must be written as [[namespace]], with two brackets",
    ),
    (
        "[[namespace]]\njoin = []",
        "namespace number 1, name: is missing (configuration, line 1)",
    ),
    ("[[namespace]]\nname = 'chat'", "must begin with a slash"),
    ("[[namespace]]\nname = '/a,b'", "must not contain a comma"),
    (
        "[[namespace]]\nname = '/'\n[[namespace]]\nname = '/'",
        "\"/\" is there twice",
    ),
    (
        "[[namespace]]\nname = '/'\njoin = ['']",
        "namespace \"/\", join: has an empty entry",
    ),
    (
        "[[namespace]]\nname = '/'\nrooms = ['{team}']",
        "unknown placeholder `{team}`",
    ),
    (
        "[limits]\nroom_name_bytes = 3\n[[namespace]]\nname = '/'\nrooms = ['news']",
        "is longer than limits.room_name_bytes, 3",
    ),
    (
        "[[namespace]]\nname = '/'\n[namespace.event]\nname = 'x'",
        "must be written as [[namespace.event]]",
    ),
];

fn errors(text: &str) -> Vec<String> {
    Config::from_toml(text).map_or_else(|problems| problems.errors, |_| Vec::new())
}

fn load(text_variables: &[(&str, &str)]) -> Result<Loaded, Problems> {
    let environment = text_variables.iter();
    Config::load(&Sources {
        environment: environment.map(|(name, value)| (name.into(), value.into())).collect(),
        ..Sources::default()
    })
}

#[test]
fn the_defaults_are_good_and_print_as_they_are_read() {
    let defaults = Config::defaults();
    assert!(defaults.is_open());
    assert_eq!(defaults.namespace.len(), 1);
    let printed = defaults.to_toml();
    let again = Config::from_toml(&printed).unwrap();
    assert!(again.is_open());
    assert_eq!(again.to_toml(), printed);
}

#[test]
fn every_mistake_is_reported_with_its_line() {
    for (text, expected) in MISTAKES {
        let errors = errors(text);
        assert_eq!(errors.len(), 1, "{text}: {errors:?}");
        assert!(errors[0].contains(expected), "{text}: {errors:?}");
    }
}

#[test]
fn rules_say_nothing_that_their_action_does_not_read() {
    for (rule, expected) in [
        ("action = 'broadcast'\nto = 'room:news'\necho = true", None),
        ("action = 'publish'\necho = true", None),
        ("action = 'broadcast'\nto = 'rooms'", None),
        ("action = 'broadcast'\nto = 'room:'", Some("must name a room")),
        (
            "action = 'broadcast'\nto = 'room'",
            Some("is none of \"namespace\", \"rooms\""),
        ),
        (
            "action = 'join'\nto = 'rooms'",
            Some("is read by the action \"broadcast\" alone"),
        ),
        (
            "action = 'ack'\necho = true",
            Some("is read by the actions \"broadcast\" and"),
        ),
        ("action = 'dorp'", Some("\"dorp\" is none of \"join\", \"leave\"")),
        ("to = 'rooms'", Some("event \"x\", action: is missing")),
    ] {
        let text = format!("[[namespace]]\nname = '/'\n[[namespace.event]]\nname = 'x'\n{rule}");
        let errors = errors(&text);
        assert_eq!(errors.len(), usize::from(expected.is_some()), "{rule}: {errors:?}");
        let found = errors.iter().all(|error| error.contains(expected.unwrap_or("")));
        assert!(found, "{rule}: {errors:?}");
    }
}

#[test]
fn a_burst_needs_a_rate() {
    assert_eq!(errors("[limits]\nevents_burst = 5").len(), 1);
    assert!(errors("[limits]\nevents_burst = 5\nevents_per_second = 1").is_empty());
}

#[test]
fn what_comes_later_says_so() {
    for text in [
        "[server.tls]\ncert = 'x'",
        "[cluster]\nmode = 'sharded'",
        "[recovery]\non = true",
        "[admin.tls]\ncert = 'x'",
        "[admin_ui]\non = true",
    ] {
        let errors = errors(text);
        assert_eq!(errors.len(), 1, "{text}: {errors:?}");
        assert!(errors[0].contains("with a later version"), "{text}: {errors:?}");
    }
    assert!(errors("[[namespace]]\nname = '/'\nauth = 'none'").is_empty());
}

#[test]
fn one_mistake_hides_no_other_and_makes_no_other() {
    // Each of the first would break a rule about the second if its default stood in silently.
    for text in [
        "[limits]\noutbox = 'lots'\n[engine]\nmax_payload = '10MB'",
        "[drain]\ntimeout = 90\nspread = '60s'",
        "[admin]\nkeys = 'one'\nlisten = '0.0.0.0:3001'",
    ] {
        assert_eq!(errors(text).len(), 1, "{text}: {:?}", errors(text));
    }
    assert_eq!(
        errors("[engine]\nping_interval = 1\nping_timeout = 2\neio3 = 3").len(),
        3
    );
}

#[test]
fn the_text_of_a_variable_is_read_as_what_its_default_is() {
    let config = load(&[
        ("ROOMCAST_SERVER__LISTEN", "[::1]:0"),
        ("ROOMCAST_SERVER__ORIGINS", r#"["https://a.example", "null"]"#),
        ("ROOMCAST_SERVER__DEMO", "false"),
        ("ROOMCAST_ENGINE__EIO3", "false"),
        ("ROOMCAST_ENGINE__COOKIE", "42"),
        ("ROOMCAST_LIMITS__ATTACHMENTS", "3"),
        ("ROOMCAST_PORT", "tcp://10.0.0.1:3000"),
        ("OTHER__THING", "1"),
    ]);
    let Loaded { config, warnings } = config.unwrap();
    assert_eq!(config.server.listen, ["[::1]:0"]);
    assert_eq!(config.server.origins, ["https://a.example", "null"]);
    assert_eq!(config.server.demo, server::Demo::Fixed(false));
    assert!(!config.engine.eio3);
    assert_eq!(config.engine.cookie, "42");
    assert_eq!(config.limits.attachments, 3);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let lists = load(&[("ROOMCAST_SERVER__LISTEN", r#"["[::1]:0", "127.0.0.1:0"]"#)]);
    assert_eq!(lists.unwrap().config.server.listen.len(), 2);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(
        from in 0_usize..1_100,
        length in 0_usize..40,
        put in "[\\[\\]='\".,{}a-z0-9\n -]{0,12}",
    ) {
        let mut text = Config::defaults().to_toml();
        text.push_str("[[namespace]]\nname = '/a'\njoin = ['{user}']\nrooms = ['a']\n");
        text.push_str("[[namespace.event]]\nname = 'x'\naction = 'broadcast'\nto = 'room:x'\n");
        let from = from.min(text.len());
        text.replace_range(from..(from + length).min(text.len()), &put);
        let _ = Config::from_toml(&text);
        let _ = load(&[
            (&format!("ROOMCAST_{put}"), &put),
            ("ROOMCAST_SERVER__LISTEN", &put),
            ("ROOMCAST_ADMIN__KEYS", &put),
        ]);
    }
}

#[test]
fn strange_variables_are_named_with_what_was_meant() {
    for (name, value, expected) in [
        (
            "ROOMCAST_LOG__LEVLE",
            "info",
            "ROOMCAST_LOG__LEVLE: unknown variable; did you mean `ROOMCAST_LOG__LEVEL`? (environment)",
        ),
        (
            "ROOMCAST_SERVER__PING_INTERVAL",
            "1s",
            "did you mean `ROOMCAST_ENGINE__PING_INTERVAL`?",
        ),
        (
            "ROOMCAST_NAMESPACE__NAME",
            "/",
            "comes from the configuration file alone",
        ),
        ("ROOMCAST_RECOVERY__ON_FILE", "x", "comes with a later version"),
        ("ROOMCAST_CLUSTER__REDIS", "http://x", "cluster.redis: "),
        (
            "ROOMCAST_LIMITS__ATTACHMENTS",
            "few",
            "limits.attachments: must be a whole number such as 10, found \"few\" (environment variable ROOMCAST_LIMITS__ATTACHMENTS)",
        ),
        ("ROOMCAST_SERVER__ORIGINS", "null", "must be a TOML array"),
        (
            "ROOMCAST_LOG__LEVEL_FILE",
            "/no/such/file",
            "cannot be read: No such file or directory (os error 2) (environment variable ROOMCAST_LOG__LEVEL_FILE, file /no/such/file)",
        ),
    ] {
        let errors = load(&[(name, value)]).unwrap_err().errors;
        assert_eq!(errors.len(), 1, "{name}: {errors:?}");
        assert!(errors[0].contains(expected), "{name}: {errors:?}");
    }
    let warnings = load(&[("ROOMCAST_LOG_LEVEL", "debug")]).unwrap().warnings;
    assert!(
        warnings[0].contains("did you mean `ROOMCAST_LOG__LEVEL`?"),
        "{warnings:?}"
    );
}
