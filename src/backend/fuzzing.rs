//! What must hold for every token, and for binary in every JSON of the application's.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde_json::Value;

use super::token::{Judged, Tokens, Verdict, now, sign};
use super::{Config, extract, inline};
use crate::http::Secret;
use crate::units::Span;

const SECRET: &str = "a-secret-of-the-fuzzer-0123456789-0123456789";

const LEEWAY_SECONDS: u64 = 5;

/// A judge with a key of each kind.
static TOKENS: LazyLock<Arc<Tokens>> = LazyLock::new(|| {
    let path = |name: &str| format!("{}/tests/keys/{name}.pub.pem", env!("CARGO_MANIFEST_DIR"));
    let config = Config {
        secrets: vec![Secret::from(SECRET.to_owned())],
        public_keys: ["rsa1", "p256", "ed25519"].map(path).into(),
        jwks: String::new(),
        audience: String::new(),
        issuer: String::new(),
        leeway: Span(Duration::from_secs(LEEWAY_SECONDS)),
    };
    Tokens::new(&config).expect("the keys of the tests")
});

/// Text as a token, and JSON as the claims of one that is signed: whoever is believed is somebody, and for a while.
pub(crate) fn tokens(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    assert!(!matches!(judge(text), Verdict::Good(_)), "nobody signed this");
    let Ok(claims @ Value::Object(_)) = serde_json::from_str(text) else {
        return;
    };
    let Ok(token) = sign(SECRET, &claims) else { return };
    if let Verdict::Good(found) = judge(&token) {
        assert_eq!(claims["sub"].as_str(), Some(found.user.as_str()));
        assert!(!found.user.is_empty());
        assert!(
            claims["exp"]
                .as_f64()
                .is_some_and(|end| end >= (now() - LEEWAY_SECONDS - 1) as f64)
        );
        let start = claims.get("nbf").map_or(Some(0.0), Value::as_f64);
        assert!(start.is_some_and(|start| start <= (now() + LEEWAY_SECONDS + 1) as f64));
    }
}

fn judge(token: &str) -> Verdict {
    match TOKENS.judge(token) {
        Judged::Now(verdict) => verdict,
        Judged::Soon(_) => panic!("there is no set of keys to be read"),
    }
}

/// JSON of the application's with binary in it: what clients get, and what it would get back from them.
pub(crate) fn binary(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok((outward, attachments)) = extract(text) else {
        return;
    };
    if attachments.is_empty() {
        return;
    }
    let inward = inline(&outward, &attachments).expect("every placeholder stands for something");
    let again = extract(&inward).expect("it was read before");
    assert_eq!(again, (outward.clone(), attachments));
}
