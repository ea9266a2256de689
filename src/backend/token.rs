//! What a token is worth: who signed it, for whom, until when, and what it allows.
//!
//! Nothing of a token is believed before its signature is, and no error says more than the class of what is wrong.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, EncodingKey, Header, Validation, decode, decode_header, encode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::config::Config;
use super::jwks::{Jwks, Location, Sought};
use super::keys::{Key, read_pem};

/// Bytes of a token.
const BYTES_MAX: usize = 8 * 1024;

/// What tokens are judged by.
#[derive(Debug)]
pub struct Tokens {
    keys: Vec<Key>,
    jwks: Option<Arc<Jwks>>,
    audience: Option<String>,
    issuer: Option<String>,
    leeway: u64,
}

/// What a good token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Who the client is.
    pub user: String,
    /// When it ends, in seconds since 1970.
    pub expires: u64,
    /// What it allows.
    pub grant: Grant,
}

/// The claim `roomcast`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Grant {
    /// Patterns of the namespaces that it is good for; `None` = all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Vec<String>>,
    /// Rooms to be in from the start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rooms: Vec<String>,
    /// Patterns of rooms that may be joined.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub join: Vec<String>,
    /// Patterns of rooms that may be published to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub publish: Vec<String>,
    /// What the application keeps with the socket.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub data: Map<String, Value>,
}

/// Why a token is not good. Only ever written to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// There is none.
    Missing,
    /// Longer than 8 KiB.
    TooLong,
    /// Not a JWT, or one with extensions that are not understood.
    Malformed,
    /// No key is for its algorithm and name.
    UnknownKey,
    /// No key has signed it.
    Signature,
    /// Its time is over.
    Expired,
    /// Its time has not come.
    Early,
    /// For somebody else.
    Audience,
    /// By somebody else.
    Issuer,
    /// A claim is missing, or of another type.
    Claims,
}

/// What came of looking at a token.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is good.
    Good(Box<Claims>),
    /// It is not.
    Bad(Flaw),
    /// Nobody can say: the keys are not there.
    None,
}

/// A verdict, now or soon.
pub enum Judged {
    /// Now.
    Now(Verdict),
    /// Once the keys have been looked up.
    Soon(Pin<Box<dyn Future<Output = Verdict> + Send>>),
}

/// What the keys that are there say of a token.
enum Seen {
    Final(Verdict),
    /// No key is good for it, but one of this name that has not been read yet might be.
    Open(Option<String>, Flaw),
}

/// The registered claims that are read; jsonwebtoken checks the others.
#[derive(Deserialize)]
struct Registered {
    sub: String,
    exp: f64,
    #[serde(default)]
    roomcast: Map<String, Value>, // read as what it is later, as a list could stand for a struct
}

impl Flaw {
    /// The class of it, for the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "no token",
            Self::TooLong => "token too long",
            Self::Malformed => "malformed token",
            Self::UnknownKey => "unknown key",
            Self::Signature => "wrong signature",
            Self::Expired => "expired token",
            Self::Early => "token is not valid yet",
            Self::Audience => "wrong audience",
            Self::Issuer => "wrong issuer",
            Self::Claims => "claims are missing or of the wrong type",
        }
    }
}

impl Tokens {
    /// By the configured keys. A set of keys is read by a task of its own from here on.
    ///
    /// # Errors
    /// When a file with a key cannot be used.
    pub fn new(config: &Config) -> Result<Arc<Self>, String> {
        let mut keys: Vec<_> = config
            .secrets
            .iter()
            .map(|secret| Key::secret(secret.expose().as_bytes()))
            .collect();
        for path in &config.public_keys {
            keys.push(read_pem(Path::new(path)).map_err(|problem| format!("\"{path}\" {problem}"))?);
        }
        let text = |text: &String| (!text.is_empty()).then(|| text.clone());
        let jwks = match text(&config.jwks) {
            None => None,
            Some(place) => Some(Jwks::start(Location::parse(&place)?)),
        };
        Ok(Arc::new(Self {
            keys,
            jwks,
            audience: text(&config.audience),
            issuer: text(&config.issuer),
            leeway: config.leeway.0.as_secs(),
        }))
    }

    /// Seconds by which clocks may be apart.
    pub const fn leeway(&self) -> u64 {
        self.leeway
    }

    /// Judges a token, at once wherever the keys are there.
    pub fn judge(self: &Arc<Self>, token: &str) -> Judged {
        let (key, verdict) = match self.look(token) {
            Seen::Final(verdict) => return Judged::Now(verdict),
            Seen::Open(key, flaw) => (key, Verdict::Bad(flaw)),
        };
        let Some(jwks) = &self.jwks else {
            return Judged::Now(verdict);
        };
        match jwks.seek(key.as_deref()) {
            Sought::Absent => Judged::Now(verdict),
            Sought::Unknown => Judged::Now(Verdict::None),
            Sought::Soon(soon) => {
                let (tokens, jwks, token) = (Arc::clone(self), Arc::clone(jwks), token.to_owned());
                Judged::Soon(Box::pin(async move {
                    let is_read = soon.await;
                    match tokens.look(&token) {
                        Seen::Final(verdict) => verdict,
                        Seen::Open(..) if !is_read => Verdict::None,
                        Seen::Open(key, flaw) => {
                            jwks.remember(key.as_deref());
                            Verdict::Bad(flaw)
                        }
                    }
                }))
            }
        }
    }

    /// What the keys that are there say of a token.
    fn look(&self, token: &str) -> Seen {
        let bad = |flaw| Seen::Final(Verdict::Bad(flaw));
        if token.len() > BYTES_MAX {
            return bad(Flaw::TooLong);
        }
        let Ok(header) = decode_header(token) else {
            return bad(Flaw::Malformed);
        };
        // Extensions that we would have to understand, and do not.
        if header.crit.is_some() || header.zip.is_some() || header.enc.is_some() {
            return bad(Flaw::Malformed);
        }
        let named = header.kid.as_deref();
        let set = self.jwks.as_ref().and_then(|jwks| jwks.keys());
        let set = set.as_deref().unwrap_or_default();
        let mut flaw = Flaw::UnknownKey;
        let keys = self.keys.iter().chain(set);
        for key in keys.filter(|key| key.is_for(header.alg, named)) {
            match decode::<Registered>(token, &key.key, &self.validation(key)) {
                Ok(data) => return Seen::Final(read(data.claims, self.leeway)),
                Err(error) => match self::flaw(&error) {
                    Flaw::Signature => flaw = Flaw::Signature,
                    signed => return bad(signed),
                },
            }
        }
        let is_in_set = named.is_some() && set.iter().any(|key| key.id.as_deref() == named);
        if self.jwks.is_none() || is_in_set || Key::is_secret(header.alg) {
            return bad(flaw);
        }
        Seen::Open(header.kid, flaw)
    }

    /// The rules for tokens of one key.
    fn validation(&self, key: &Key) -> Validation {
        let mut validation = Validation::new(key.algorithms.first().copied().unwrap_or_default());
        validation.algorithms.clone_from(&key.algorithms);
        validation.leeway = self.leeway;
        validation.validate_nbf = true;
        let mut required = vec!["sub", "exp"];
        if let Some(audience) = &self.audience {
            validation.set_audience(&[audience]);
            required.push("aud");
        } else {
            // Nobody said who we are, so no token can be for somebody else.
            validation.validate_aud = false;
        }
        if let Some(issuer) = &self.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        validation.set_required_spec_claims(&required);
        validation
    }
}

fn read(claims: Registered, leeway: u64) -> Verdict {
    let Registered { sub, exp, roomcast } = claims;
    let Ok(grant) = serde_json::from_value::<Grant>(Value::Object(roomcast)) else {
        return Verdict::Bad(Flaw::Claims);
    };
    let has_empty = |names: &Vec<String>| names.iter().any(String::is_empty);
    let lists = [&grant.rooms, &grant.join, &grant.publish];
    if sub.is_empty() || lists.into_iter().chain(&grant.namespaces).any(has_empty) {
        return Verdict::Bad(Flaw::Claims);
    }
    let expires = exp as u64;
    if expires.saturating_add(leeway) <= now() {
        return Verdict::Bad(Flaw::Expired); // in its last second, in which sockets end
    }
    Verdict::Good(Box::new(Claims {
        user: sub,
        expires,
        grant,
    }))
}

fn flaw(error: &Error) -> Flaw {
    match error.kind() {
        ErrorKind::ExpiredSignature => Flaw::Expired,
        ErrorKind::ImmatureSignature => Flaw::Early,
        ErrorKind::InvalidAudience => Flaw::Audience,
        ErrorKind::InvalidIssuer => Flaw::Issuer,
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) | ErrorKind::Json(_) => Flaw::Claims,
        _ => Flaw::Signature,
    }
}

/// Signs a token by HS256.
///
/// # Errors
/// When the claims cannot be written.
pub(super) fn sign(secret: &str, claims: &Value) -> Result<String, String> {
    let key = EncodingKey::from_secret(secret.as_bytes());
    encode(&Header::new(Algorithm::HS256), claims, &key).map_err(|_| "the token cannot be signed".to_owned())
}

/// Seconds since 1970.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
