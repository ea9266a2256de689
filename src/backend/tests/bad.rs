//! A table of tokens that are not good: each is refused, and for what it is.

use super::*;

/// Claims that are not accepted, however well they are signed.
fn bad_claims() -> Vec<(Value, Flaw)> {
    vec![
        (json!({"exp": null}), Flaw::Claims),
        (json!({"sub": null}), Flaw::Claims),
        (json!({"sub": ""}), Flaw::Claims),
        (json!({"sub": 7}), Flaw::Claims),
        (json!({"sub": ["alice"]}), Flaw::Claims),
        (json!({"exp": now() - 10}), Flaw::Expired),
        (json!({"exp": 0}), Flaw::Expired),
        (json!({"exp": -1}), Flaw::Claims),
        (json!({"exp": (now() + 60).to_string()}), Flaw::Claims),
        (json!({"exp": true}), Flaw::Claims),
        (json!({"exp": {}}), Flaw::Claims),
        (json!({"nbf": now() + 60}), Flaw::Early),
        (json!({"nbf": (now() - 60).to_string()}), Flaw::Claims),
        (json!({"nbf": []}), Flaw::Claims),
        (json!({"aud": null}), Flaw::Claims),
        (json!({"aud": "other"}), Flaw::Audience),
        (json!({"aud": ["other", "Chat"]}), Flaw::Audience),
        (json!({"aud": []}), Flaw::Audience),
        (json!({"aud": 1}), Flaw::Claims),
        (json!({"iss": null}), Flaw::Claims),
        (json!({"iss": "https://id.example/"}), Flaw::Issuer),
        (json!({"iss": "https://evil.example"}), Flaw::Issuer),
        (json!({"roomcast": []}), Flaw::Claims),
        (json!({"roomcast": "x"}), Flaw::Claims),
        (json!({"roomcast": {"rooms": "r"}}), Flaw::Claims),
        (json!({"roomcast": {"rooms": [1]}}), Flaw::Claims),
        (json!({"roomcast": {"rooms": [""]}}), Flaw::Claims),
        (json!({"roomcast": {"join": {}}}), Flaw::Claims),
        (json!({"roomcast": {"publish": [null]}}), Flaw::Claims),
        (json!({"roomcast": {"namespaces": "/"}}), Flaw::Claims),
        (json!({"roomcast": {"namespaces": [""]}}), Flaw::Claims),
        (json!({"roomcast": {"data": []}}), Flaw::Claims),
        (json!({"roomcast": {"namespace": ["/"]}}), Flaw::Claims),
    ]
}

/// Tokens that are not accepted for how they are made.
#[expect(clippy::too_many_lines, reason = "a table")]
fn bad_tokens() -> Vec<(&'static str, String, Flaw)> {
    let hs = json!({"alg": "HS256", "typ": "JWT"});
    let good = claims().to_string();
    let token = hmac(&hs, &good, SECRET);
    let parts: Vec<_> = token.split('.').collect();
    let none = |alg: &str| format!("{}.{}.", part(&json!({"alg": alg}).to_string()), part(&good));
    let doubled = format!("{},\"exp\":{}}}", good.trim_end_matches('}'), now() + 9999);
    let not_json = "{\"sub\":";
    let (open, close) = ("[".repeat(300), "]".repeat(300));
    let deep = format!(
        r#"{},"roomcast":{{"data":{{"x":{open}{close}}}}}}}"#,
        good.trim_end_matches('}')
    );
    let long = with(json!({"x": "x".repeat(9000)})).to_string();
    let rs_by_public = json!({"alg": "RS256"});
    let p521 = json!({"alg": "ES512"});
    vec![
        ("empty", String::new(), Flaw::Malformed),
        ("no dots", "token".into(), Flaw::Malformed),
        ("two parts", format!("{}.{}", parts[0], parts[1]), Flaw::Malformed),
        ("four parts", format!("{token}.x"), Flaw::Malformed),
        ("five parts", format!("{token}.x.y"), Flaw::Malformed),
        ("no base64", "%%.%%.%%".into(), Flaw::Malformed),
        ("alg none", none("none"), Flaw::Malformed),
        ("alg None", none("None"), Flaw::Malformed),
        (
            "alg nOnE with a signature",
            format!("{}{}", none("nOnE"), parts[2]),
            Flaw::Malformed,
        ),
        ("no alg", hmac(&json!({"typ": "JWT"}), &good, SECRET), Flaw::Malformed),
        ("no signature", format!("{}.{}.", parts[0], parts[1]), Flaw::Signature),
        (
            "another signature",
            format!("{}.{}.{}", parts[0], parts[1], part("x")),
            Flaw::Signature,
        ),
        ("a longer signature", format!("{token}AAAA"), Flaw::Signature),
        (
            "another secret",
            hmac(&hs, &good, "another-secret-0123456789-0123456789"),
            Flaw::Signature,
        ),
        ("an empty secret", hmac(&hs, &good, ""), Flaw::Signature),
        (
            "other claims",
            format!(
                "{}.{}.{}",
                parts[0],
                part(&with(json!({"sub": "bob"})).to_string()),
                parts[2]
            ),
            Flaw::Signature,
        ),
        (
            "another header",
            format!("{}.{}.{}", part(r#"{"alg":"HS512"}"#), parts[1], parts[2]),
            Flaw::Signature,
        ),
        ("HMAC by the public key", hmac(&hs, &good, RSA_PEM), Flaw::Signature),
        (
            "RS256 in name, HMAC by the public key",
            hmac(&rs_by_public, &good, RSA_PEM),
            Flaw::Signature,
        ),
        (
            "RS256 in name, HMAC by the secret",
            hmac(&rs_by_public, &good, SECRET),
            Flaw::Signature,
        ),
        (
            "ES256 in name",
            hmac(&json!({"alg": "ES256"}), &good, SECRET),
            Flaw::Signature,
        ),
        (
            "EdDSA in name",
            hmac(&json!({"alg": "EdDSA"}), &good, SECRET),
            Flaw::Signature,
        ),
        ("ES512", hmac(&p521, &good, SECRET), Flaw::Malformed),
        (
            "another RSA key",
            by(Algorithm::RS256, &rsa("rsa2"), &claims()),
            Flaw::Signature,
        ),
        (
            "PS256 by another key",
            by(Algorithm::PS256, &rsa("rsa2"), &claims()),
            Flaw::Signature,
        ),
        (
            "crit",
            hmac(&json!({"alg": "HS256", "crit": ["exp"], "exp": 1}), &good, SECRET),
            Flaw::Malformed,
        ),
        (
            "empty crit",
            hmac(&json!({"alg": "HS256", "crit": []}), &good, SECRET),
            Flaw::Malformed,
        ),
        (
            "zip",
            hmac(&json!({"alg": "HS256", "zip": "DEF"}), &good, SECRET),
            Flaw::Malformed,
        ),
        (
            "a key of its own",
            hmac(
                &json!({"alg": "HS256", "jwk": {"kty": "oct", "k": part("own")}}),
                &good,
                "own",
            ),
            Flaw::Signature,
        ),
        (
            "kid is no string",
            hmac(&json!({"alg": "HS256", "kid": 7}), &good, SECRET),
            Flaw::Malformed,
        ),
        ("claims twice", hmac(&hs, &doubled, SECRET), Flaw::Claims),
        ("claims are no JSON", hmac(&hs, not_json, SECRET), Flaw::Claims),
        ("claims are a list", hmac(&hs, "[]", SECRET), Flaw::Claims),
        ("claims are deep", hmac(&hs, &deep, SECRET), Flaw::Claims),
        ("too long", hmac(&hs, &long, SECRET), Flaw::TooLong),
        ("a space", format!(" {token}"), Flaw::Malformed),
        ("a line end", format!("{token}\n"), Flaw::Signature),
    ]
}

#[test]
fn bad_tokens_are_refused() {
    let tokens = tokens();
    let mut count = 0;
    for (changes, flaw) in bad_claims() {
        for token in [
            sign(SECRET, &with(changes.clone())).unwrap(),
            by(Algorithm::RS256, &rsa("rsa1"), &with(changes.clone())),
        ] {
            assert_eq!(judged(&tokens, &token), Verdict::Bad(flaw), "{changes}");
        }
        count += 1;
    }
    for (name, token, flaw) in bad_tokens() {
        assert_eq!(judged(&tokens, &token), Verdict::Bad(flaw), "{name}");
        count += 1;
    }
    assert!(count >= 40, "{count}");
}
