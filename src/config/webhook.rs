//! What `[webhook]` must be, and what settings that want the application to be asked need of it.

use std::time::Duration;

use super::Config;
use super::credentials::{keys, secret};
use super::findings::Findings;
use crate::backend::webhook::Kind;
use crate::backend::webhook::config::Secrets;
use crate::units::Span;

/// Longest time for a call to the application, most calls at once, and most repeats of one.
const CALL_MAX: Duration = Duration::from_secs(300);
const CALLS_MAX: usize = 10_000;
const RETRIES_MAX: u32 = 20;

/// Checks `[webhook]`.
pub(super) fn webhook(config: &Config, findings: &mut Findings) {
    let webhook = &config.webhook;
    match &webhook.secret {
        Secrets::One(secret) if secret.expose().is_empty() => {}
        Secrets::One(one) => secret("webhook.secret", one.expose(), "", findings),
        Secrets::Many(secrets) => keys("webhook.secret", "secret", secrets, findings),
    }
    for (index, kind) in webhook.events.iter().enumerate() {
        if webhook.events[..index].contains(kind) {
            let message = format!("\"{}\" is there twice", kind.as_str());
            findings.error("webhook.events", message);
        }
    }
    for name in &webhook.headers {
        if !is_header_name(name) {
            findings.error("webhook.headers", format!("\"{name}\" is not a header's name"));
        }
    }
    if webhook.timeout.0.is_zero() || webhook.timeout.0 > CALL_MAX {
        let message = format!(
            "\"{}\" must be more than nothing and at most {}",
            webhook.timeout,
            Span(CALL_MAX)
        );
        findings.error("webhook.timeout", message);
    }
    if !(1..=CALLS_MAX).contains(&webhook.concurrency) {
        let message = format!("{} is not a number from 1 to {CALLS_MAX}", webhook.concurrency);
        findings.error("webhook.concurrency", message);
    }
    if webhook.retries > RETRIES_MAX {
        findings.error(
            "webhook.retries",
            format!("{} is too many: at most {RETRIES_MAX}", webhook.retries),
        );
    }
    if !webhook.is_on() {
        return;
    }
    if let Some(problem) = webhook.url.problem() {
        findings.error("webhook.url", format!("\"{}\" {problem}", webhook.url));
    }
    let forwards = |name: &String| name.eq_ignore_ascii_case("cookie");
    if config.server.origins.iter().any(|origin| origin == "*") && webhook.headers.iter().any(forwards) {
        let message = "\"*\" and webhook.headers with \"cookie\": the application is told the cookies of visitors of \
                       every page, and must not take them for who is there";
        findings.warning("server.origins", message);
    }
    if webhook.secret.list().is_empty() {
        let message = "has no webhook.secret beside it: requests are not signed, and whoever reaches the application \
                       can say that he is the gateway";
        findings.warning("webhook.url", message);
    }
}

/// A token of RFC 9110.
fn is_header_name(name: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    !name.is_empty() && name.chars().all(is_allowed)
}

/// Checks that the application can be asked what the setting at `path` wants it to be asked.
pub(super) fn calls(config: &Config, path: &str, kind: Kind, findings: &mut Findings) {
    let message = if !config.webhook.is_on() {
        "\"webhook\" needs a webhook.url to ask".to_owned()
    } else if !config.webhook.wants(kind) {
        format!("\"webhook\" needs \"{}\" in webhook.events", kind.as_str())
    } else {
        return;
    };
    findings.conflict(path, &["webhook.url", "webhook.events"], message);
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: &str = "[[namespace.event]]\nname = 'x'\naction = 'webhook'";

    fn with(more: &str, rest: &str) -> String {
        let url = "url = 'http://u:canary@a/hook'\nsecret = '0123456789-0123456789-0123456789'";
        format!("[webhook]\n{url}\n{more}\n[[namespace]]\nname = '/'\n{rest}")
    }

    /// Checks that each text has this one error, or none.
    fn check<const N: usize>(table: [(String, Option<&str>); N]) {
        for (text, expected) in table {
            let errors = Config::from_toml(&text).map_or_else(|problems| problems.errors, |_| Vec::new());
            assert_eq!(errors.len(), usize::from(expected.is_some()), "{text}: {errors:?}");
            let part = expected.unwrap_or_default();
            let is_good = |error: &String| error.contains(part) && !error.contains("canary");
            assert!(errors.iter().all(is_good), "{text}: {errors:?}");
        }
    }

    #[test]
    fn webhooks_need_somebody_to_call() {
        let bare = |rest: &str| format!("[[namespace]]\nname = '/'\n{rest}");
        let needs_url = Some("needs a webhook.url");
        check([
            (with("", "auth = 'webhook'"), None),
            (with("", "otherwise = 'webhook'"), None),
            (with("", RULE), None),
            (with("events = ['connect', 'join']", "auth = 'webhook'"), None),
            (bare("auth = 'webhook'"), needs_url),
            (bare("otherwise = 'webhook'"), needs_url),
            (bare(RULE), needs_url),
            (
                with("events = ['event']", "auth = 'webhook'"),
                Some("needs \"connect\" in"),
            ),
            (
                with("events = ['connect']", "otherwise = 'webhook'"),
                Some("needs \"event\" in"),
            ),
            (with("events = []", RULE), Some("needs \"event\" in webhook.events")),
            (with("", "auth = ['token', 'webhook']"), Some("needs a key")),
        ]);
    }

    #[test]
    fn what_webhooks_are_set_to_makes_sense() {
        let ways = Some("must be \"none\", \"token\", \"webhook\"");
        check([
            (with("events = ['conect']", ""), Some("conect")),
            (with("events = ['join', 'join']", ""), Some("there twice")),
            (with("headers = ['a b']", ""), Some("not a header's name")),
            (with("timeout = '0s'", ""), Some("must be more than nothing")),
            (with("concurrency = 0", ""), Some("not a number from 1")),
            (with("retries = 21", ""), Some("too many")),
            (with("", "auth = 'webhok'"), ways),
            (with("", "auth = []"), ways),
            (with("", "auth = ['none', 'webhook']"), ways),
            (
                "[webhook]\nurl = 'ftp://u:canary@a/'".into(),
                Some("must begin with http"),
            ),
            ("[webhook]\nsecret = ['']".into(), Some("secret number 1 is empty")),
            (
                "[webhook]\nsecret = ['canary', ' ']".into(),
                Some("secret number 2 is empty"),
            ),
            ("[webhook]\nsecret = 7".into(), Some("must be")),
        ]);
    }

    #[test]
    fn what_an_operator_should_look_at_is_said() {
        let warnings = |text: &str| {
            let reference = super::super::reference::Reference::new();
            let mut findings = Findings::default();
            let mut layers = super::super::layers::Layers::new(&reference);
            layers.add_text("configuration", text, &reference, &mut findings);
            let loaded = super::super::assemble(&layers, &reference, findings).unwrap();
            loaded.warnings.join("\n")
        };
        for (text, part) in [
            ("[webhook]\nurl = 'http://a/'", "requests are not signed"),
            (
                "[webhook]\nurl = 'http://a/'\nsecret = 'short'",
                "webhook.secret: has 5 bytes",
            ),
            (
                "[webhook]\nurl = 'http://a/'\nsecret = ['short']",
                "secret number 1 has 5 bytes",
            ),
            (
                "[webhook]\nurl = 'http://a/'\n[server]\norigins = ['*']",
                "the cookies of visitors",
            ),
        ] {
            assert!(warnings(text).contains(part), "{}", warnings(text));
        }
        let quiet = "[webhook]\nevents = []\nheaders = []\n[server]\norigins = ['*']";
        assert!(!warnings(quiet).contains("webhook"), "{}", warnings(quiet));
        let own = "[webhook]\nurl = 'http://a/'\nheaders = []\n[server]\norigins = ['*']";
        assert!(!warnings(own).contains("cookies"), "{}", warnings(own));
    }

    #[test]
    fn secrets_of_webhooks_are_not_printed() {
        let text = "[webhook]\nurl = 'http://u:canary@a/hook'\nsecret = ['0123456789-0123456789-0123456789']\n\
                    [[namespace]]\nname = '/'\nauth = ['webhook']";
        let config = Config::from_toml(text).unwrap();
        let printed = config.to_toml();
        for part in [
            "url = \"http://u:***@a/hook\"",
            "secret = [\"***\"]",
            "auth = \"webhook\"",
        ] {
            assert!(printed.contains(part), "{printed}");
        }
        assert!(config.namespace[0].join.is_empty());
    }
}
