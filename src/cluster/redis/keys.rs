//! Keys, for what nodes know of each other. The publishing connection serves them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fred::interfaces::{ClientLike, KeysInterface};
use fred::types::{CustomCommand, Expiration, SetOptions, Value};

use super::connection::{self, Role};
use super::{Failure, Redis, Waiting};

/// Keys that one step of a scan looks at.
const SCAN_STEP: u32 = 500;

impl Redis {
    /// SET with NX and PX: whether the key was free and is ours now.
    ///
    /// # Errors
    ///
    /// As for every command.
    pub async fn set_nx_px(&self, key: &str, value: Bytes, time_to_live: Duration) -> Result<bool, Failure> {
        let answer = self.set(key, value, Some(time_to_live), Some(SetOptions::NX)).await?;
        Ok(!answer.is_null())
    }

    /// SET with NX, for good: whether the key was free and is ours now.
    ///
    /// # Errors
    ///
    /// As for every command.
    pub async fn set_nx(&self, key: &str, value: Bytes) -> Result<bool, Failure> {
        let answer = self.set(key, value, None, Some(SetOptions::NX)).await?;
        Ok(!answer.is_null())
    }

    /// SET with PX.
    ///
    /// # Errors
    ///
    /// As for every command.
    pub async fn set_px(&self, key: &str, value: Bytes, time_to_live: Duration) -> Result<(), Failure> {
        self.set(key, value, Some(time_to_live), None).await.map(|_| ())
    }

    async fn set(
        &self,
        key: &str,
        value: Bytes,
        lives: Option<Duration>,
        only: Option<SetOptions>,
    ) -> Result<Value, Failure> {
        let connection = self.shared.connection(Role::Publisher)?;
        let lives = lives.map(|lives| Expiration::PX(i64::try_from(lives.as_millis()).unwrap_or(i64::MAX).max(1)));
        let answer = connection.client.set(key, value, lives, only, false).await;
        self.shared.judged(&connection, answer)
    }

    /// GET.
    ///
    /// # Errors
    ///
    /// As for every command.
    pub async fn get(&self, key: &str) -> Result<Option<Bytes>, Failure> {
        let connection = self.shared.connection(Role::Publisher)?;
        let answer = connection.client.get::<Value, _>(key).await;
        self.shared.judged(&connection, answer.map(connection::bytes))
    }

    /// MGET: as many values as keys.
    ///
    /// # Errors
    ///
    /// As for every command.
    pub async fn mget(&self, keys: Vec<String>) -> Result<Vec<Option<Bytes>>, Failure> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let connection = self.shared.connection(Role::Publisher)?;
        let answer = connection.client.mget::<Value, _>(keys).await;
        let values = answer.map(|answer| answer.into_array().into_iter().map(connection::bytes).collect());
        self.shared.judged(&connection, values)
    }

    /// DEL: how many of the keys were there.
    ///
    /// # Errors
    ///
    /// As for every command.
    pub async fn del(&self, keys: Vec<String>) -> Result<u64, Failure> {
        if keys.is_empty() {
            return Ok(0);
        }
        let connection = self.shared.connection(Role::Publisher)?;
        let answer = connection.client.del(keys).await;
        self.shared.judged(&connection, answer)
    }

    /// XADD with MAXLEN ~, one field an entry. The order of first polls is the order at Redis.
    pub fn xadd(
        &self,
        key: &str,
        entries_max: u32,
        field: &'static str,
        value: Bytes,
    ) -> impl Future<Output = Result<(), Failure>> + Send + 'static {
        let (shared, key) = (Arc::clone(&self.shared), key.to_owned());
        async move {
            let connection = shared.connection(Role::Publisher)?;
            let _waiting = Waiting::new(&shared, value.len())?;
            let words = ["MAXLEN", "~", &entries_max.to_string(), "*", field].map(Value::from);
            let words = std::iter::once(Value::from(key))
                .chain(words)
                .chain([Value::Bytes(value)]);
            let command = CustomCommand::new_static("XADD", None, false);
            let answer = connection.client.custom::<Value, Value>(command, words.collect()).await;
            shared.judged(&connection, answer.map(|_| ()))
        }
    }

    /// EVAL: what a script answers, a list or one value. It reads and writes nothing but these keys, and nobody else does
    /// so meanwhile.
    ///
    /// # Errors
    ///
    /// As for every command.
    pub async fn eval(
        &self,
        script: &'static str,
        keys: &[String],
        arguments: Vec<String>,
    ) -> Result<Vec<Option<Bytes>>, Failure> {
        let mut words = vec!["EVAL".to_owned(), script.to_owned(), keys.len().to_string()];
        words.extend(keys.iter().cloned());
        words.extend(arguments);
        self.command(&words).await
    }

    /// Any other command: its values, a list or one.
    ///
    /// # Errors
    ///
    /// As for every command.
    pub async fn command<T: AsRef<str>>(&self, words: &[T]) -> Result<Vec<Option<Bytes>>, Failure> {
        let Some((command, arguments)) = words.split_first() else {
            return Ok(Vec::new());
        };
        let connection = self.shared.connection(Role::Publisher)?;
        let command = CustomCommand::new(command.as_ref(), None, false);
        let arguments: Vec<_> = arguments.iter().map(|word| word.as_ref().to_owned()).collect();
        let answer = connection.client.custom::<Value, _>(command, arguments).await;
        let values = answer.map(|answer| match answer {
            Value::Array(values) => values.into_iter().map(connection::bytes).collect(),
            value => vec![connection::bytes(value)],
        });
        self.shared.judged(&connection, values)
    }

    /// SCAN: keys that begin with the prefix, some perhaps twice. Looks at the whole database, step by step, so it is
    /// for rare use; ends early after `keys_max` keys or a million looked at.
    ///
    /// # Errors
    ///
    /// As for every command.
    pub async fn scan(&self, prefix: &str, keys_max: usize) -> Result<Vec<String>, Failure> {
        let connection = self.shared.connection(Role::Publisher)?;
        let pattern = format!("{}*", escaped(prefix));
        let (mut cursor, mut keys) = (String::from("0"), Vec::new());
        for _ in 0..1_000_000 / SCAN_STEP {
            let page = connection.client.custom::<(String, Vec<String>), _>(
                CustomCommand::new_static("SCAN", None, false),
                vec![
                    cursor,
                    "MATCH".into(),
                    pattern.clone(),
                    "COUNT".into(),
                    SCAN_STEP.to_string(),
                ],
            );
            let (next, found) = self.shared.judged(&connection, page.await)?;
            keys.extend(found);
            if next == "0" || keys.len() >= keys_max {
                break;
            }
            cursor = next;
        }
        keys.truncate(keys_max);
        Ok(keys)
    }
}

/// A prefix whose characters mean nothing to Redis' patterns.
fn escaped(prefix: &str) -> String {
    let mut escaped = String::with_capacity(prefix.len());
    for character in prefix.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '\\' | '^') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}
