//! Who asks: the header by which the application knows that a request is ours.
//!
//! `t=<unix seconds>,v1=<hex HMAC-SHA256(secret, t + "." + body)>`, one `v1` for each secret.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::http::Secret;

/// The value of `Roomcast-Signature` for a body that is sent at this time; `None` without a secret.
pub(super) fn sign(secrets: &[Secret], time: u64, body: &[u8]) -> Option<String> {
    if secrets.is_empty() {
        return None;
    }
    let mut value = format!("t={time}");
    for secret in secrets {
        let mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes());
        let mut mac = mac.expect("keys may have any length");
        mac.update(time.to_string().as_bytes());
        mac.update(b".");
        mac.update(body);
        value.push_str(",v1=");
        for byte in mac.finalize().into_bytes() {
            let _ = write!(value, "{byte:02x}"); // a String takes everything
        }
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_what_others_compute() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac secret
        let secrets = ["secret", "other"].map(|secret| Secret::from(secret.to_owned()));
        let one = sign(&secrets[..1], 1_700_000_000, br#"{"a":1}"#).unwrap();
        assert_eq!(
            one,
            "t=1700000000,v1=49f24e537407743fa4a0242bb63b94b9a47ee99cbbe071ccd8a22550ae411686"
        );
        let both = sign(&secrets, 1_700_000_000, br#"{"a":1}"#).unwrap();
        assert!(both.starts_with(&one) && both.matches(",v1=").count() == 2, "{both}");
        assert_eq!(sign(&[], 1, b""), None);
    }
}
