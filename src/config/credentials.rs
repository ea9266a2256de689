//! What keys and secrets must be, wherever they stand.
//!
//! Never says what a secret is, only which one it means.

use std::time::Duration;

use super::Config;
use super::findings::Findings;
use crate::backend;
use crate::http::Secret;
use crate::units::Span;

/// Keys shorter than this can be guessed.
const KEY_BYTES_MIN: usize = 32;

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
