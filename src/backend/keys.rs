//! Keys that tokens are signed with: from secrets, PEM files and sets of keys (JWKS).
//!
//! A key comes with the algorithms that it is for, and never serves another one: what a token says of itself chooses
//! among keys and nothing else. Symmetric keys come from `token.secrets` alone.

use std::path::Path;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde_json::Value;

/// Bytes of a file or answer with keys.
pub(super) const BYTES_MAX: usize = 1024 * 1024;

/// Keys in one set.
const KEYS_MAX: usize = 256;

/// Bytes of the smallest RSA key that may be used: 2048 bits, as DER.
const RSA_DER_BYTES_MIN: usize = 264;
const RSA_MODULUS_BYTES_MIN: usize = 256;

const HMAC: [Algorithm; 3] = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];

const RSA: [Algorithm; 6] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// One key and what it is for.
#[derive(Clone, Debug)]
pub(super) struct Key {
    /// The name that a set of keys gives it.
    pub(super) id: Option<String>,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) key: DecodingKey,
}

impl Key {
    pub(super) fn secret(secret: &[u8]) -> Self {
        Self {
            id: None,
            algorithms: HMAC.into(),
            key: DecodingKey::from_secret(secret),
        }
    }

    /// Reads a public key; the error ends a sentence that begins with the file's name.
    pub(super) fn from_pem(pem: &str) -> Result<Self, String> {
        if pem.contains("PRIVATE KEY-----") {
            return Err("holds a private key: the gateway needs the public one alone".into());
        }
        if pem.contains("BEGIN CERTIFICATE-----") {
            return Err("is a certificate: take its key by `openssl x509 -pubkey -noout`".into());
        }
        match pem.matches("-----BEGIN ").count() {
            0 => return Err("is not PEM: it has no line `-----BEGIN PUBLIC KEY-----`".into()),
            1 => {}
            count => return Err(format!("holds {count} keys: put each into a file of its own")),
        }
        let pem = pem.as_bytes();
        let (key, algorithms) = if let Ok(key) = DecodingKey::from_ed_pem(pem) {
            (key, vec![Algorithm::EdDSA])
        } else if let Ok(key) = DecodingKey::from_ec_pem(pem) {
            let algorithm = curve(&key)?;
            (key, vec![algorithm])
        } else if let Ok(key) = DecodingKey::from_rsa_pem(pem) {
            if key.try_get_as_bytes().is_ok_and(|der| der.len() < RSA_DER_BYTES_MIN) {
                return Err("is an RSA key of less than 2048 bits, which is too weak".into());
            }
            (key, RSA.into())
        } else {
            return Err("is no public key that can be used: RSA, EC on P-256 or P-384, or Ed25519".into());
        };
        Ok(Self {
            id: None,
            algorithms,
            key,
        })
    }

    /// Reads one key of a set; `None` for keys that are not for signatures, or that are not known here.
    fn from_jwk(value: &Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
        let common = &jwk.common;
        let is_for_signatures = common
            .public_key_use
            .as_ref()
            .is_none_or(|used| *used == PublicKeyUse::Signature)
            && common
                .key_operations
                .as_ref()
                .is_none_or(|operations| operations.contains(&KeyOperations::Verify));
        if !is_for_signatures {
            return None;
        }
        let mut algorithms = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => RSA.to_vec(),
            AlgorithmParameters::EllipticCurve(key) => match key.curve {
                EllipticCurve::P256 => vec![Algorithm::ES256],
                EllipticCurve::P384 => vec![Algorithm::ES384],
                _ => return None,
            },
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => vec![Algorithm::EdDSA],
            _ => return None, // a secret that is published is none
        };
        if let Some(named) = value.get("alg") {
            let named: Algorithm = named.as_str()?.parse().ok()?;
            algorithms.retain(|algorithm| *algorithm == named);
        }
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        let is_usable = match (key.family(), key.try_get_as_bytes()) {
            (AlgorithmFamily::Ec, Ok(point)) => point.len() == point_bytes(algorithms.first()),
            (AlgorithmFamily::Ed, Ok(point)) => point.len() == 32,
            (AlgorithmFamily::Rsa, _) => is_long_enough(&jwk),
            _ => false,
        };
        (is_usable && !algorithms.is_empty()).then_some(Self {
            id: common.key_id.clone(),
            algorithms,
            key,
        })
    }

    /// Whether this algorithm's keys are secrets.
    pub(super) fn is_secret(algorithm: Algorithm) -> bool {
        HMAC.contains(&algorithm)
    }

    /// Whether the key is for this algorithm, and by the name that a token gives, if both have one, the one it means.
    pub(super) fn is_for(&self, algorithm: Algorithm, id: Option<&str>) -> bool {
        let is_meant = match (&self.id, id) {
            (Some(own), Some(named)) => own == named,
            _ => true,
        };
        is_meant && self.algorithms.contains(&algorithm)
    }
}

/// The algorithm of a key's curve, told by the length of its point.
fn curve(key: &DecodingKey) -> Result<Algorithm, String> {
    let length = key.try_get_as_bytes().map_or(0, <[u8]>::len);
    [Algorithm::ES256, Algorithm::ES384]
        .into_iter()
        .find(|algorithm| point_bytes(Some(algorithm)) == length)
        .ok_or_else(|| "is an EC key on a curve that is not known here: only P-256 and P-384 are".into())
}

/// The length of an uncompressed point on an algorithm's curve.
const fn point_bytes(algorithm: Option<&Algorithm>) -> usize {
    match algorithm {
        Some(Algorithm::ES256) => 1 + 2 * 32,
        Some(Algorithm::ES384) => 1 + 2 * 48,
        _ => 0,
    }
}

fn is_long_enough(jwk: &Jwk) -> bool {
    let AlgorithmParameters::RSA(key) = &jwk.algorithm else {
        return false;
    };
    key.n.len() >= RSA_MODULUS_BYTES_MIN * 4 / 3 // base64 of it
}

/// Reads a set of keys. Those that cannot be used are passed over, as sets hold keys for others, too; the error ends a
/// sentence that begins with the set's place.
pub(super) fn read_set(text: &[u8]) -> Result<Vec<Key>, String> {
    #[derive(serde::Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set: Set = serde_json::from_slice(text).map_err(|_| "is no set of keys: `{\"keys\": […]}`".to_owned())?;
    if set.keys.len() > KEYS_MAX {
        return Err(format!("holds {} keys, {KEYS_MAX} are allowed", set.keys.len()));
    }
    let keys: Vec<_> = set.keys.iter().filter_map(Key::from_jwk).collect();
    if keys.is_empty() {
        return Err("holds no key that can be used: RSA, EC on P-256 or P-384, or Ed25519".into());
    }
    Ok(keys)
}

/// Reads a PEM file with a public key.
pub(super) fn read_pem(path: &Path) -> Result<Key, String> {
    Key::from_pem(&String::from_utf8_lossy(&read_file(path)?))
}

/// Reads a file that is not absurdly long.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let metadata = std::fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?;
    if !metadata.is_file() {
        return Err("is not a file".into());
    }
    if metadata.len() > BYTES_MAX as u64 {
        return Err("is longer than 1 MiB".into());
    }
    std::fs::read(path).map_err(|error| format!("cannot be read: {error}"))
}

/// What is wrong with the PEM file at this path, as the end of a sentence.
pub fn public_key_problem(path: &str) -> Option<String> {
    read_pem(Path::new(path)).err()
}

/// What is wrong with the set of keys in the file at this path, as the end of a sentence.
pub fn set_problem(path: &str) -> Option<String> {
    read_file(Path::new(path)).and_then(|text| read_set(&text)).err()
}
