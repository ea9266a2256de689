//! Tokens that are good, and keys.

mod bad;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::token::sign;
use super::*;
use crate::http::Secret;
use crate::units::Span;

const SECRET: &str = "a-secret-of-this-test-0123456789-0123456789";
const OLD_SECRET: &str = "an-older-secret-of-this-test-0123456789-012";

const RSA_PEM: &str = include_str!("../../../tests/keys/rsa1.pub.pem");

fn path(name: &str) -> String {
    format!("{}/tests/keys/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn private(name: &str) -> Vec<u8> {
    std::fs::read(path(&format!("{name}.key.pem"))).unwrap()
}

fn config() -> Config {
    Config {
        secrets: vec![Secret::from(SECRET.to_owned()), Secret::from(OLD_SECRET.to_owned())],
        public_keys: ["rsa1", "p256", "p384", "ed25519"]
            .map(|name| path(&format!("{name}.pub.pem")))
            .into(),
        jwks: String::new(),
        audience: "chat".into(),
        issuer: "https://id.example".into(),
        leeway: Span(std::time::Duration::from_secs(5)),
    }
}

fn tokens() -> Arc<Tokens> {
    Tokens::new(&config()).unwrap()
}

fn judged(tokens: &Arc<Tokens>, token: &str) -> Verdict {
    match tokens.judge(token) {
        Judged::Now(verdict) => verdict,
        Judged::Soon(_) => panic!("there is nothing to wait for"),
    }
}

fn claims() -> Value {
    json!({"sub": "alice", "exp": now() + 60, "aud": "chat", "iss": "https://id.example"})
}

/// The claims with others in their place; `null` takes one away.
fn with(changes: Value) -> Value {
    let mut claims = claims();
    let all = claims.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        all.remove(name);
        if !value.is_null() {
            all.insert(name.clone(), value.clone());
        }
    }
    claims
}

fn part(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// A token by a key that is a secret, whatever its header says.
fn hmac(header: &Value, claims: &str, secret: &str) -> String {
    let message = format!("{}.{}", part(&header.to_string()), part(claims));
    let algorithm = match header["alg"].as_str() {
        Some("HS384") => Algorithm::HS384,
        Some("HS512") => Algorithm::HS512,
        _ => Algorithm::HS256,
    };
    let key = EncodingKey::from_secret(secret.as_bytes());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, algorithm).unwrap();
    format!("{message}.{signature}")
}

fn by(algorithm: Algorithm, key: &EncodingKey, claims: &Value) -> String {
    encode(&Header::new(algorithm), claims, key).unwrap()
}

fn rsa(name: &str) -> EncodingKey {
    EncodingKey::from_rsa_pem(&private(name)).unwrap()
}

#[test]
fn tokens_of_every_algorithm_are_believed_by_their_own_keys() {
    let tokens = tokens();
    let secret = |secret: &str| EncodingKey::from_secret(secret.as_bytes());
    let ec = |name| EncodingKey::from_ec_pem(&private(name)).unwrap();
    for (algorithm, key) in [
        (Algorithm::HS256, secret(SECRET)),
        (Algorithm::HS384, secret(SECRET)),
        (Algorithm::HS512, secret(OLD_SECRET)),
        (Algorithm::RS256, rsa("rsa1")),
        (Algorithm::RS384, rsa("rsa1")),
        (Algorithm::RS512, rsa("rsa1")),
        (Algorithm::PS256, rsa("rsa1")),
        (Algorithm::PS384, rsa("rsa1")),
        (Algorithm::PS512, rsa("rsa1")),
        (Algorithm::ES256, ec("p256")),
        (Algorithm::ES384, ec("p384")),
        (Algorithm::EdDSA, EncodingKey::from_ed_pem(&private("ed25519")).unwrap()),
    ] {
        let verdict = judged(&tokens, &by(algorithm, &key, &claims()));
        assert!(
            matches!(&verdict, Verdict::Good(claims) if claims.user == "alice"),
            "{algorithm:?}: {verdict:?}"
        );
    }
}

#[test]
fn what_a_token_says_is_read() {
    let tokens = tokens();
    let exp = now() + 60;
    let roomcast =
        json!({"namespaces": ["/a*"], "rooms": ["r"], "join": ["j-*"], "publish": [], "data": {"plan": "pro"}});
    for (changes, expected) in [
        (json!({"exp": exp}), Grant::default()),
        (
            json!({"exp": exp, "nbf": now() - 10, "aud": ["x", "chat"], "other": [1]}),
            Grant::default(),
        ),
        (json!({"exp": exp, "roomcast": {}}), Grant::default()),
        (
            json!({"exp": exp, "roomcast": roomcast}),
            Grant {
                namespaces: Some(vec!["/a*".into()]),
                rooms: vec!["r".into()],
                join: vec!["j-*".into()],
                publish: vec![],
                data: json!({"plan": "pro"}).as_object().unwrap().clone(),
            },
        ),
    ] {
        let token = by(
            Algorithm::HS256,
            &EncodingKey::from_secret(SECRET.as_bytes()),
            &with(changes.clone()),
        );
        let claims = Claims {
            user: "alice".into(),
            expires: exp,
            grant: expected,
        };
        assert_eq!(judged(&tokens, &token), Verdict::Good(Box::new(claims)), "{changes}");
    }
    // Within the leeway, and a fraction of a second.
    for changes in [
        json!({"exp": now() - 2}),
        json!({"nbf": now() + 3}),
        json!({"exp": (now() + 60) as f64 + 0.5}),
    ] {
        let token = sign(SECRET, &with(changes.clone())).unwrap();
        assert!(matches!(judged(&tokens, &token), Verdict::Good(_)), "{changes}");
    }
    // What is not configured is not required, and what nobody asked for is not looked at.
    let open = Tokens::new(&Config {
        audience: String::new(),
        issuer: String::new(),
        ..config()
    });
    let open = open.unwrap();
    for changes in [json!({"aud": null, "iss": null}), json!({"aud": "x", "iss": "y"})] {
        let token = sign(SECRET, &with(changes.clone())).unwrap();
        assert!(matches!(judged(&open, &token), Verdict::Good(_)), "{changes}");
    }
}

#[test]
fn a_name_chooses_among_keys_and_nothing_else() {
    let tokens = tokens();
    for kid in ["x", "../../etc/passwd", "' OR 1=1 --", ""] {
        let header = json!({"alg": "HS256", "kid": kid});
        let token = hmac(&header, &claims().to_string(), SECRET);
        assert!(matches!(judged(&tokens, &token), Verdict::Good(_)), "{kid}");
        let token = hmac(&header, &claims().to_string(), kid);
        assert_eq!(judged(&tokens, &token), Verdict::Bad(Flaw::Signature), "{kid}");
    }
}

#[test]
fn files_that_hold_no_public_key_are_named_and_told_apart() {
    for (name, part) in [
        ("rsa1.pub.pem", None),
        ("ed25519.pub.pem", None),
        ("rsa1.key.pem", Some("private key")),
        ("ed25519.key.pem", Some("private key")),
        ("p521.pub.pem", Some("curve")),
        ("rsa1024.pub.pem", Some("2048")),
        ("missing.pem", Some("cannot be read")),
        ("../keys", Some("not a file")),
        ("../../Cargo.toml", Some("not PEM")),
    ] {
        let problem = public_key_problem(&path(name));
        assert_eq!(problem.is_some(), part.is_some(), "{name}: {problem:?}");
        assert!(problem.unwrap_or_default().contains(part.unwrap_or_default()), "{name}");
    }
    let twice = format!("{RSA_PEM}{RSA_PEM}");
    assert!(keys::Key::from_pem(&twice).unwrap_err().contains("2 keys"));
    assert!(keys::Key::from_pem(&RSA_PEM.replace("MII", "MIJ")).is_err());
    let wrong = Config {
        public_keys: vec![path("p521.pub.pem")],
        ..config()
    };
    assert!(Tokens::new(&wrong).unwrap_err().contains("p521.pub.pem"));
}

#[test]
fn sets_hold_what_they_hold() {
    let ed = json!({"kty": "OKP", "crv": "Ed25519", "kid": "1", "x": URL_SAFE_NO_PAD.encode([7; 32])});
    let with = |changes: Value| {
        let mut key = ed.clone();
        key.as_object_mut()
            .unwrap()
            .extend(changes.as_object().unwrap().clone());
        key
    };
    let count =
        |keys: Vec<Value>| keys::read_set(json!({ "keys": keys }).to_string().as_bytes()).map(|keys| keys.len());
    assert_eq!(count(vec![ed.clone()]), Ok(1));
    for other in [
        with(json!({"use": "enc"})),
        with(json!({"key_ops": ["sign"]})),
        with(json!({"alg": "ES256"})),
        with(json!({"alg": "none"})),
        with(json!({"x": "AAAA"})),
        with(json!({"crv": "X25519"})),
        json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode(SECRET), "kid": "2"}),
        json!({"kty": "EC", "crv": "P-521", "x": "AAAA", "y": "AAAA"}),
        json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"}),
        json!({"kty": "new"}),
        json!(7),
    ] {
        assert_eq!(count(vec![other.clone(), ed.clone()]), Ok(1), "{other}");
        assert!(count(vec![other]).unwrap_err().contains("no key that can be used"));
    }
    assert!(count(vec![ed.clone(); 257]).is_err());
    for text in ["", "[]", "{}", r#"{"keys":{}}"#, "<html>"] {
        assert!(keys::read_set(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn places_of_sets_are_urls_or_files() {
    for (text, is_url) in [
        ("https://id.example/keys", Some(true)),
        ("http://127.0.0.1:8080/keys?x=1", Some(true)),
        ("/etc/keys.json", Some(false)),
        ("keys.json", Some(false)),
        ("ftp://id.example/keys", None),
        ("https://user:password@id.example/keys", None),
        ("https://", None),
    ] {
        let place = Location::parse(text).ok();
        assert_eq!(place.map(|place| matches!(place, Location::Url(_))), is_url, "{text}");
    }
}
