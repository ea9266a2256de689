//! What keys and secrets must be, wherever they stand.
//!
//! Never says what a secret is, only which one it means.

use std::time::Duration;

use super::Config;
use super::findings::Findings;
use crate::backend;
use crate::backend::webhook::config::Secrets;
use crate::http::Secret;
use crate::units::Span;

/// Keys shorter than this can be guessed.
const KEY_BYTES_MIN: usize = 32;

/// Longest time for a call to the application, most calls at once, and most repeats of one.
const CALL_MAX: Duration = Duration::from_secs(300);
const CALLS_MAX: usize = 10_000;
const RETRIES_MAX: u32 = 20;

/// Clocks that are further apart are wrong.
const LEEWAY_MAX: Duration = Duration::from_secs(3600);

/// Checks a list of secrets, each of which is called `what`.
pub(super) fn keys(path: &str, what: &str, keys: &[Secret], findings: &mut Findings) {
    for (index, key) in keys.iter().map(|key| key.expose()).enumerate() {
        let number = index + 1;
        if key.trim().is_empty() {
            findings.error(path, format!("{what} number {number} is empty"));
        } else {
            secret(path, key, &format!("{what} number {number} "), findings);
        }
    }
}

/// Reports a secret that cannot be meant, or can be guessed. `which` begins the sentence where there are several.
pub(super) fn secret(path: &str, text: &str, which: &str, findings: &mut Findings) {
    if text == "***" {
        findings.error(path, format!("{which}is `***`, which stands for one it hides"));
    } else if text.len() < KEY_BYTES_MIN {
        let bytes = text.len();
        let message = format!("{which}has {bytes} bytes: under {KEY_BYTES_MIN} it can be guessed");
        findings.warning(path, message);
    }
}

/// Checks `[token]`.
pub(super) fn token(config: &Config, findings: &mut Findings) {
    let token = &config.token;
    keys("token.secrets", "secret", &token.secrets, findings);
    for path in &token.public_keys {
        let problem = if path.is_empty() {
            Some("has an empty entry".to_owned())
        } else {
            backend::public_key_problem(path).map(|problem| format!("\"{path}\" {problem}"))
        };
        if let Some(problem) = problem {
            findings.error("token.public_keys", problem);
        }
    }
    if !token.jwks.is_empty() {
        let problem = match backend::Location::parse(&token.jwks) {
            Err(problem) => Some(problem),
            Ok(backend::Location::File(_)) => {
                backend::set_problem(&token.jwks).map(|problem| format!("\"{}\" {problem}", token.jwks))
            }
            Ok(backend::Location::Url(_)) => None,
        };
        if let Some(problem) = problem {
            findings.error("token.jwks", problem);
        }
    }
    if token.leeway.0 > LEEWAY_MAX {
        let message = format!("\"{}\" is too much: at most {}", token.leeway, Span(LEEWAY_MAX));
        findings.error("token.leeway", message);
    }
    let readers = config
        .namespace
        .iter()
        .filter(|namespace| namespace.auth.reads_tokens());
    if token.has_keys() && readers.count() == 0 {
        let message = "is not needed: no namespace has `auth = \"token\"`, so that no token is read";
        let key = if !token.secrets.is_empty() {
            "token.secrets"
        } else if !token.public_keys.is_empty() {
            "token.public_keys"
        } else {
            "token.jwks"
        };
        findings.warning(key, message);
    }
}

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
