//! What is said about mistakes in what the application is asked and told: tokens, webhooks, streams.

use super::*;

const URL: &str = "[webhook]\nurl = 'http://u:canary@a/hook'\nsecret = '0123456789-0123456789-0123456789'\n";

const RULE: &str = "[[namespace.event]]\nname = 'x'\naction = 'webhook'";

/// A configuration with somebody to call.
fn with_webhook(more: &str, rest: &str) -> String {
    format!("{URL}{more}\n[[namespace]]\nname = '/'\n{rest}")
}

/// Configurations, and what is wrong with them if anything is.
fn webhook_texts() -> Vec<(String, Option<&'static str>)> {
    vec![
        (with_webhook("", "auth = 'webhook'"), None),
        (with_webhook("", "otherwise = 'webhook'"), None),
        (with_webhook("", RULE), None),
        (
            with_webhook("secret = ['0123456789-0123456789-0123456789']", "").replacen("secret", "#", 1),
            None,
        ),
        (
            with_webhook("events = ['connect', 'room.occupied', 'node.lost']", "auth = 'webhook'"),
            None,
        ),
        (
            "[[namespace]]\nname = '/'\nauth = 'webhook'".into(),
            Some("needs a webhook.url"),
        ),
        (
            "[[namespace]]\nname = '/'\notherwise = 'webhook'".into(),
            Some("needs a webhook.url"),
        ),
        (
            format!("[[namespace]]\nname = '/'\n{RULE}"),
            Some("needs a webhook.url"),
        ),
        (
            with_webhook("events = ['event']", "auth = 'webhook'"),
            Some("needs \"connect\" in webhook.events"),
        ),
        (
            with_webhook("events = ['connect']", "otherwise = 'webhook'"),
            Some("needs \"event\" in webhook.events"),
        ),
        (
            with_webhook("events = []", RULE),
            Some("needs \"event\" in webhook.events"),
        ),
        (with_webhook("events = ['conect']", ""), Some("conect")),
        (with_webhook("events = ['join', 'join']", ""), Some("there twice")),
        (with_webhook("headers = ['a b']", ""), Some("not a header's name")),
        (with_webhook("timeout = '0s'", ""), Some("must be more than nothing")),
        (with_webhook("concurrency = 0", ""), Some("not a number from 1")),
        (with_webhook("retries = 21", ""), Some("too many")),
        (
            with_webhook("", "auth = 'webhok'"),
            Some("must be \"none\", \"token\", \"webhook\""),
        ),
        (
            with_webhook("", "auth = []"),
            Some("must be \"none\", \"token\", \"webhook\""),
        ),
        (
            with_webhook("", "auth = ['none', 'webhook']"),
            Some("must be \"none\", \"token\", \"webhook\""),
        ),
        (with_webhook("", "auth = ['token', 'webhook']"), Some("needs a key")),
        (
            "[webhook]\nurl = 'ftp://u:canary@a/'".into(),
            Some("must begin with http:// or https://"),
        ),
        ("[webhook]\nsecret = ['']".into(), Some("secret number 1 is empty")),
        (
            "[webhook]\nsecret = ['canary', ' ']".into(),
            Some("secret number 2 is empty"),
        ),
        ("[webhook]\nsecret = 7".into(), Some("must be")),
    ]
}

#[test]
fn streams_have_a_name_and_are_in_redis() {
    let redis = "[cluster]\nredis = 'redis://127.0.0.1'\n";
    for (section, rule, expected) in [
        (redis, "action = 'stream'\nstream = 'orders'", None),
        (redis, "action = 'stream'", Some("needs the name of a stream")),
        (
            redis,
            "action = 'stream'\nstream = ''",
            Some("needs the name of a stream"),
        ),
        (
            "",
            "action = 'stream'\nstream = 'orders'",
            Some("needs a Redis: cluster.redis"),
        ),
        (
            "",
            "action = 'ack'\nstream = 'orders'",
            Some("\"orders\" is read by the action \"stream\" alone"),
        ),
        ("", "action = 'ack'\nstream = ''", None),
        (redis, "action = 'stream'\nstream = 'a'\necho = true", Some("echo")),
        (
            redis,
            "action = 'stream'\nstream = 'a'\nto = 'rooms'",
            Some("\"rooms\" is read by"),
        ),
    ] {
        let text = format!("{section}[[namespace]]\nname = '/'\n[[namespace.event]]\nname = 'x'\n{rule}");
        let errors = errors(&text);
        assert_eq!(errors.len(), usize::from(expected.is_some()), "{text}: {errors:?}");
        assert!(
            errors.iter().all(|error| error.contains(expected.unwrap_or(""))),
            "{text}: {errors:?}"
        );
    }
}

#[test]
fn webhooks_need_somebody_to_call() {
    for (text, expected) in webhook_texts() {
        let errors = errors(&text);
        assert_eq!(errors.len(), usize::from(expected.is_some()), "{text}: {errors:?}");
        let found = errors
            .iter()
            .all(|error| error.contains(expected.unwrap_or("")) && !error.contains("canary"));
        assert!(found, "{text}: {errors:?}");
    }
    let config = Config::from_toml(&with_webhook("", "auth = ['webhook']")).unwrap();
    let printed = config.to_toml();
    assert!(
        printed.contains("url = \"http://u:***@a/hook\"") && printed.contains("secret = \"***\""),
        "{printed}"
    );
    assert!(
        printed.contains("auth = \"webhook\"") && config.namespace[0].join.is_empty(),
        "{printed}"
    );
}

#[test]
fn tokens_need_keys_that_can_be_used() {
    let with = |token: &str, auth: &str| format!("[token]\n{token}\n[[namespace]]\nname = '/'\nauth = {auth}");
    let key = |name: &str| format!("public_keys = ['{}/tests/keys/{name}']", env!("CARGO_MANIFEST_DIR"));
    let secret = "secrets = ['0123456789-0123456789-0123456789']";
    for (text, part) in [
        (with(secret, "'token'"), None),
        (with(secret, "['token']"), None),
        (with(&key("rsa1.pub.pem"), "'token'"), None),
        (with("jwks = 'https://id.example/keys'", "'token'"), None),
        (with("", "'none'"), None),
        (with("", "'token'"), Some("needs a key")),
        (with("secrets = ['']", "'token'"), Some("number 1 is empty")),
        (with("secrets = ['***']", "'token'"), Some("stands for one it hides")),
        (with("public_keys = ['']", "'token'"), Some("empty entry")),
        (
            with(&key("rsa1.key.pem"), "'token'"),
            Some("rsa1.key.pem\" holds a private key"),
        ),
        (with("jwks = '/nowhere/keys.json'", "'token'"), Some("cannot be read")),
        (with("jwks = 'ftp://id.example'", "'token'"), Some("ftp://")),
        (with(&format!("{secret}\nleeway = '2h'"), "'token'"), Some("too much")),
        (with(secret, "[]"), Some("must be")),
        (with(secret, "['none', 'token']"), Some("must be")),
        (with(secret, "'tokens'"), Some("must be")),
    ] {
        let errors = errors(&text);
        assert_eq!(errors.len(), usize::from(part.is_some()), "{text}: {errors:?}");
        assert!(
            errors.iter().all(|error| error.contains(part.unwrap_or_default())),
            "{text}: {errors:?}"
        );
    }
}

#[test]
fn who_must_show_a_token_may_do_nothing_that_is_not_allowed() {
    let text = "[token]\nsecrets = ['0123456789-0123456789-0123456789']\n[[namespace]]\nname = '/'\nauth = 'token'\n\
                publish = ['a']\n[[namespace]]\nname = '/open'\n";
    let config = Config::from_toml(text).unwrap();
    assert_eq!(config.namespace[0].join, [""; 0]);
    assert_eq!(config.namespace[0].publish, ["a"]);
    assert_eq!(config.namespace[1].join, ["*"]);
    assert!(!config.to_toml().contains("0123456789"), "{}", config.to_toml());
    assert_eq!(config.namespace[0].auth, crate::socketio::config::Auth::Token);
}

#[test]
fn a_limit_of_users_sockets_needs_users() {
    let loaded = load(&[("ROOMCAST_LIMITS__SOCKETS_PER_USER", "1")]).unwrap();
    assert_eq!(loaded.config.limits.sockets_per_user, 1);
    assert!(
        loaded.warnings[0].contains("users come with tokens"),
        "{:?}",
        loaded.warnings
    );
}
