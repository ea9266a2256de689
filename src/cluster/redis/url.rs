//! `cluster.redis`: which Redis a URL means.
//!
//! ```text
//! redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]             rediss:// the same over TLS
//! redis+unix://[USER:PASSWORD@][localhost]/PATH/OF/THE.SOCKET
//! redis-sentinel://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]…]/SERVICE[/DATABASE]     rediss-sentinel:// the same over TLS
//! redis-sentinel://[USER:PASSWORD@]HOST[:PORT][/DATABASE]?sentinelServiceName=SERVICE[&node=HOST:PORT]…
//! ```
//!
//! `:PASSWORD@` alone is the default user's. The user is Redis' own; Sentinel's go into the query, as
//! `sentinelUsername=` and `sentinelPassword=`. What has a meaning in URLs is written in percent (`%40` for `@`).
//! No error may quote anything behind the scheme: a password with a `/` or `?` in it could stand anywhere.

use super::Settings;
use crate::url;

const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// A URL taken apart.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) server: Server,
    pub(super) is_tls: bool,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) database: Option<u8>,
}

/// Who is asked for a connection.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Server {
    Redis {
        host: String,
        port: u16,
    },
    Unix {
        path: String,
    },
    Sentinels {
        hosts: Vec<(String, u16)>,
        service: String,
        user: Option<String>,
        password: Option<String>,
    },
}

/// The parts of a URL, not decoded yet.
struct Parts<'a> {
    scheme: &'a str,
    credentials: Option<&'a str>,
    hosts: &'a str,
    path: &'a str,
    query: &'a str,
}

impl Place {
    pub(super) fn of(settings: &Settings) -> Result<Self, String> {
        let parts = Parts::of(&settings.url)?;
        let (user, password) = parts.user_and_password()?;
        let is_tls = parts.scheme.starts_with("rediss");
        if settings.tls_ca.is_some() && !is_tls {
            return Err("`tls_ca` is for rediss:// and rediss-sentinel:// only".into());
        }
        let (server, database) = match parts.scheme {
            "redis" | "rediss" => parts.plain()?,
            "redis-sentinel" | "rediss-sentinel" => parts.sentinels()?,
            "redis+unix" | "unix" => parts.unix()?,
            "redis-cluster" | "rediss-cluster" => {
                return Err(format!("{}:// (Redis Cluster) comes in a later step", parts.scheme));
            }
            _ => {
                return Err(
                    "a Redis URL begins with redis://, rediss://, redis-sentinel://, rediss-sentinel:// or \
                            redis+unix://"
                        .into(),
                );
            }
        };
        Ok(Self {
            server,
            is_tls,
            user,
            password,
            database,
        })
    }
}

impl<'a> Parts<'a> {
    fn of(url: &'a str) -> Result<Self, String> {
        let (scheme, rest) = url
            .split_once("://")
            .ok_or("a Redis URL looks like redis://HOST:PORT")?;
        if rest.contains('#') {
            return Err("a Redis URL has no `#`; in a password it is written %23".into());
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (credentials, hosts) = match authority.rsplit_once('@') {
            Some((credentials, hosts)) => (Some(credentials), hosts),
            None => (None, authority),
        };
        Ok(Self {
            scheme,
            credentials,
            hosts,
            path,
            query,
        })
    }

    fn user_and_password(&self) -> Result<(Option<String>, Option<String>), String> {
        let Some(credentials) = self.credentials else {
            return Ok((None, None));
        };
        let (user, password) = credentials
            .split_once(':')
            .ok_or("what stands before the `@` of a Redis URL is USER:PASSWORD, or :PASSWORD")?;
        if password.is_empty() {
            return Err("the password in the Redis URL is empty".into());
        }
        let user = Some(decoded(user)?).filter(|user| !user.is_empty());
        Ok((user, Some(decoded(password)?)))
    }

    fn plain(&self) -> Result<(Server, Option<u8>), String> {
        self.no_query(&[])?;
        if self.hosts.contains(',') {
            return Err("only redis-sentinel:// takes several hosts".into());
        }
        let (host, port) = host_and_port(self.hosts, PORT)?;
        Ok((Server::Redis { host, port }, database(self.path)?))
    }

    fn unix(&self) -> Result<(Server, Option<u8>), String> {
        self.no_query(&[])?;
        if self.path.is_empty() || !["", "localhost"].contains(&self.hosts) {
            return Err("a Unix socket looks like redis+unix:///run/redis/redis.sock".into());
        }
        let path = format!("/{}", decoded(self.path)?);
        Ok((Server::Unix { path }, None))
    }

    fn sentinels(&self) -> Result<(Server, Option<u8>), String> {
        self.no_query(&["sentinelServiceName", "node", "sentinelUsername", "sentinelPassword"])?;
        let nodes = self.pairs().filter(|(key, _)| key == "node");
        let mut hosts = Vec::new();
        for host in self
            .hosts
            .split(',')
            .map(str::to_owned)
            .chain(nodes.map(|(_, node)| node))
        {
            hosts.push(host_and_port(&host, SENTINEL_PORT)?);
        }
        let (service, path) = match self.one("sentinelServiceName")? {
            Some(service) => (service, self.path),
            None => {
                let (service, path) = self.path.split_once('/').unwrap_or((self.path, ""));
                (decoded(service)?, path)
            }
        };
        if service.is_empty() {
            return Err("redis-sentinel:// needs the name of the service: redis-sentinel://HOST:PORT/mymaster".into());
        }
        let (user, password) = (self.one("sentinelUsername")?, self.one("sentinelPassword")?);
        if user.is_some() && password.is_none() {
            return Err("`sentinelUsername` needs a `sentinelPassword`".into());
        }
        let server = Server::Sentinels {
            hosts,
            service,
            user,
            password,
        };
        Ok((server, database(path)?))
    }

    fn pairs(&self) -> impl Iterator<Item = (String, String)> + 'a {
        let pairs = form_urlencoded::parse(self.query.as_bytes());
        pairs.map(|(key, value)| (key.into_owned(), value.into_owned()))
    }

    /// A value that may be there once.
    fn one(&self, name: &str) -> Result<Option<String>, String> {
        let mut values = self.pairs().filter(|(key, _)| key == name).map(|(_, value)| value);
        let value = values.next();
        if values.next().is_some() {
            return Err(format!("`{name}` stands twice in the Redis URL"));
        }
        Ok(value)
    }

    fn no_query(&self, but: &[&str]) -> Result<(), String> {
        if self.pairs().all(|(key, _)| but.contains(&key.as_str())) {
            return Ok(());
        }
        Err(if but.is_empty() {
            format!(
                "{}:// takes nothing behind a `?`; in a password it is written %3F",
                self.scheme
            )
        } else {
            format!("{}:// takes these behind its `?`: {}", self.scheme, but.join(", "))
        })
    }
}

fn host_and_port(text: &str, port: u16) -> Result<(String, u16), String> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(rest) => rest
            .split_once(']')
            .ok_or("an IPv6 address in the Redis URL has no `]`")?,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port = match rest.strip_prefix(':') {
        Some(digits) => digits.parse().ok().filter(|port| *port > 0),
        None => Some(port).filter(|_| rest.is_empty()),
    };
    if host.is_empty() {
        return Err("the Redis URL names no host".into());
    }
    let port = port.ok_or(
        "the port in the Redis URL is not a number from 1 to 65535; a `/`, `?` or `@` in a password is written in percent",
    )?;
    Ok((host.to_owned(), port))
}

fn database(path: &str) -> Result<Option<u8>, String> {
    if path.is_empty() {
        return Ok(None);
    }
    let number = path
        .parse()
        .map_err(|_| "the database in the Redis URL is not a number from 0 to 255")?;
    Ok(Some(number))
}

fn decoded(text: &str) -> Result<String, String> {
    let fault = || String::from("a `%` in the Redis URL is not followed by two hexadecimal digits of UTF-8 text");
    let bytes = url::decoded(text).ok_or_else(fault)?;
    String::from_utf8(bytes).map_err(|_| fault())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(url: &str) -> Result<Place, String> {
        Place::of(&Settings {
            url: url.to_owned(),
            tls_ca: None,
        })
    }

    fn redis(host: &str, port: u16) -> Server {
        Server::Redis {
            host: host.to_owned(),
            port,
        }
    }

    #[test]
    fn one_redis_has_a_host_and_perhaps_a_port_a_user_and_a_database() {
        for (url, server, user, password, database) in [
            ("redis://h", redis("h", 6379), None, None, None),
            ("redis://h:1/", redis("h", 1), None, None, None),
            ("redis://[::1]:7/15", redis("::1", 7), None, None, Some(15)),
            ("redis://:p@h", redis("h", 6379), None, Some("p"), None),
            ("redis://u:p%40:%2F@h", redis("h", 6379), Some("u"), Some("p@:/"), None),
            ("rediss://u:a@b@h/0", redis("h", 6379), Some("u"), Some("a@b"), Some(0)),
        ] {
            let found = place(url).unwrap_or_else(|fault| panic!("{url}: {fault}"));
            assert!(found.server == server, "{url}");
            assert_eq!(found.is_tls, url.starts_with("rediss"), "{url}");
            assert_eq!(
                (found.user.as_deref(), found.password.as_deref()),
                (user, password),
                "{url}"
            );
            assert_eq!(found.database, database, "{url}");
        }
    }

    #[test]
    fn sentinels_have_several_hosts_and_a_service_in_either_form() {
        let sentinels = |hosts: &[(&str, u16)], own: Option<(&str, &str)>| Server::Sentinels {
            hosts: hosts.iter().map(|(host, port)| ((*host).to_owned(), *port)).collect(),
            service: "s 1".to_owned(),
            user: own.map(|(user, _)| user.to_owned()),
            password: own.map(|(_, password)| password.to_owned()),
        };
        for (url, server, database) in [
            ("redis-sentinel://a/s%201", sentinels(&[("a", 26379)], None), None),
            (
                "rediss-sentinel://u:p@a:1,b,[::1]:2/s%201/4",
                sentinels(&[("a", 1), ("b", 26379), ("::1", 2)], None),
                Some(4),
            ),
            (
                "redis-sentinel://a:1/4?sentinelServiceName=s+1&node=b:2",
                sentinels(&[("a", 1), ("b", 2)], None),
                Some(4),
            ),
            (
                "redis-sentinel://a/s%201?sentinelUsername=x&sentinelPassword=y%26",
                sentinels(&[("a", 26379)], Some(("x", "y&"))),
                None,
            ),
        ] {
            let found = place(url).unwrap_or_else(|fault| panic!("{url}: {fault}"));
            assert!(found.server == server, "{url}");
            assert_eq!(found.database, database, "{url}");
        }
    }

    #[test]
    fn a_unix_socket_is_a_path() {
        let found = place("redis+unix://:p@localhost/run/a%20b.sock").unwrap_or_else(|fault| panic!("{fault}"));
        assert!(matches!(found.server, Server::Unix { path } if path == "/run/a b.sock"));
        assert_eq!(found.password.as_deref(), Some("p"));
    }

    #[test]
    fn faults_are_named_without_a_trace_of_the_password() {
        for (url, named) in [
            ("", "redis://HOST:PORT"),
            ("localhost:6379", "redis://HOST:PORT"),
            ("http://u:secret@h", "begins with redis://"),
            ("redis-cluster://u:secret@h", "later step"),
            ("redis://u:secret@", "no host"),
            ("redis://u:secret@h:0", "port"),
            ("redis://u:secret@h:65536", "port"),
            ("redis://u:secret@h:1:2", "port"),
            ("redis://u:1/secret@h", "database"),
            ("redis://u:?secret@h", "%3F"),
            ("redis://u:sec#ret@h", "%23"),
            ("redis://u:secret@[::1", "]"),
            ("redis://secret@h", ":PASSWORD"),
            ("redis://u:@h", "empty"),
            ("redis://u:secret%4@h", "%"),
            ("redis://u:secret%ff@h", "%"),
            ("redis://u:secret@h/-1", "database"),
            ("redis://u:secret@h/256", "database"),
            ("redis://u:secret@h/0/1", "database"),
            ("redis://u:secret@h,i", "several hosts"),
            ("redis://u:secret@h?timeout=1", "%3F"),
            ("redis-sentinel://u:secret@h", "name of the service"),
            ("redis-sentinel://u:secret@h,/s", "no host"),
            ("redis-sentinel://u:secret@h/s?name=x", "sentinelServiceName"),
            ("redis-sentinel://h/s?sentinelUsername=x", "sentinelPassword"),
            (
                "redis-sentinel://h/s?sentinelPassword=secret&sentinelPassword=secret",
                "twice",
            ),
            ("redis+unix://u:secret@/", "redis+unix:///run"),
            ("redis+unix://host/path", "redis+unix:///run"),
        ] {
            let fault = place(url).err().unwrap_or_else(|| panic!("{url} is taken"));
            assert!(fault.contains(named), "{url}: {fault}");
            assert!(!fault.contains("sec") && !fault.contains("ret@"), "{url}: {fault}");
        }
    }

    #[test]
    fn a_ca_is_for_tls() {
        let settings = Settings {
            url: "redis://h".to_owned(),
            tls_ca: Some("ca.pem".into()),
        };
        assert!(
            Place::of(&settings)
                .err()
                .is_some_and(|fault| fault.contains("rediss://"))
        );
    }
}
