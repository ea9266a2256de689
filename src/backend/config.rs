//! `[token]`: whose tokens are believed.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::token::{self, Grant};
use crate::http::Secret;
use crate::units::Span;

/// `[token]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Keys for HS256, HS384 and HS512; several while one replaces another.
    pub secrets: Vec<Secret>,
    /// PEM files with public keys.
    pub public_keys: Vec<String>,
    /// URL or file of a set of public keys; empty = none.
    pub jwks: String,
    /// What `aud` must name; empty = tokens without `aud` alone.
    pub audience: String,
    /// What `iss` must be; empty = anything.
    pub issuer: String,
    /// How far clocks may be apart.
    pub leeway: Span,
}

impl Config {
    /// Whether there is anything to believe a token by.
    pub fn has_keys(&self) -> bool {
        !(self.secrets.is_empty() && self.public_keys.is_empty() && self.jwks.is_empty())
    }

    /// Signs a token that a gateway with these settings believes.
    ///
    /// # Errors
    /// When the token would be none.
    pub fn sign(&self, secret: &Secret, user: &str, life: Duration, grant: &Grant) -> Result<String, String> {
        if user.is_empty() {
            return Err("the user has no name".into());
        }
        let now = token::now();
        let mut claims = json!({"sub": user, "iat": now, "exp": now + life.as_secs()});
        if !self.audience.is_empty() {
            claims["aud"] = json!(self.audience);
        }
        if !self.issuer.is_empty() {
            claims["iss"] = json!(self.issuer);
        }
        if *grant != Grant::default() {
            claims["roomcast"] = json!(grant);
        }
        token::sign(secret.expose(), &claims)
    }
}
