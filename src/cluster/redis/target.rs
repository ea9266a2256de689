//! What fred needs to know to connect: addresses, passwords, whom to trust.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use fred::error::{Error, ErrorKind};
use fred::rustls::pki_types::CertificateDer;
use fred::rustls::pki_types::pem::PemObject;
use fred::rustls::{ClientConfig, RootCertStore, crypto};
use fred::types::config::{Config, Server as Address, ServerConfig, TlsConnector};
use tokio::net::UdpSocket;

use super::Settings;
use super::url::{Place, Server};

/// Where Redis is. Certificates are read anew for each connection, so that they can be changed while we run.
pub(super) struct Target {
    place: Place,
    tls_ca: Option<PathBuf>,
}

impl Target {
    pub(super) fn new(settings: &Settings) -> Result<Self, String> {
        let target = Self {
            place: Place::of(settings)?,
            tls_ca: settings.tls_ca.clone(),
        };
        target.config(0).map_err(|error| error.details().to_owned())?;
        Ok(target)
    }

    /// For the attempt of this number: each asks another Sentinel first, as one that hangs would hold up all.
    pub(super) fn config(&self, attempt: usize) -> Result<Config, Error> {
        let server = match &self.place.server {
            Server::Redis { host, port } => ServerConfig::new_centralized(host.clone(), *port),
            Server::Unix { path } => ServerConfig::new_unix_socket(path),
            Server::Sentinels {
                hosts,
                service,
                user,
                password,
            } => {
                let mut hosts: Vec<_> = hosts
                    .iter()
                    .map(|(host, port)| Address::new(host.clone(), *port))
                    .collect();
                let first = attempt % hosts.len();
                hosts.rotate_left(first);
                ServerConfig::Sentinel {
                    hosts,
                    service_name: service.clone(),
                    username: user.clone(),
                    password: password.clone(),
                }
            }
        };
        let tls = if self.place.is_tls {
            Some(self.tls()?.into())
        } else {
            None
        };
        Ok(Config {
            server,
            username: self.place.user.clone(),
            password: self.place.password.clone(),
            database: self.place.database,
            tls,
            ..Config::default()
        })
    }

    /// The way to it from here: the address by which we go there. That of this machine itself for a Unix socket.
    pub(super) async fn local_address(&self) -> io::Result<IpAddr> {
        let (host, port) = match &self.place.server {
            Server::Redis { host, port } => (host, *port),
            Server::Sentinels { hosts, .. } => hosts
                .first()
                .map(|(host, port)| (host, *port))
                .ok_or(io::ErrorKind::NotFound)?,
            Server::Unix { .. } => return Ok(Ipv4Addr::LOCALHOST.into()),
        };
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for there in tokio::net::lookup_host((&**host, port)).await? {
            match towards(there).await {
                Ok(here) => return Ok(here),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn tls(&self) -> Result<TlsConnector, Error> {
        let fault = |words: String| Error::new(ErrorKind::Tls, words);
        let mut roots = RootCertStore::empty();
        match &self.tls_ca {
            Some(path) => {
                let unreadable = |error| fault(format!("`tls_ca` {}: {error}", path.display()));
                let certificates = CertificateDer::pem_file_iter(path).map_err(unreadable)?;
                for certificate in certificates {
                    let added = roots.add(certificate.map_err(unreadable)?);
                    added.map_err(|error| fault(format!("`tls_ca` {}: {error}", path.display())))?;
                }
                if roots.is_empty() {
                    return Err(fault(format!("`tls_ca` {}: no certificate in it", path.display())));
                }
            }
            // Single certificates of a system that nobody can read are no reason to trust none.
            None => {
                let found = fred::rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(found.certs);
                if roots.is_empty() {
                    return Err(fault(
                        "this system has no CA certificates; name some with `tls_ca`".into(),
                    ));
                }
            }
        }
        let provider = Arc::new(crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| fault(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(config.into())
    }
}

/// The address that this machine would use. Connecting a datagram socket looks the way up and sends nothing.
async fn towards(there: SocketAddr) -> io::Result<IpAddr> {
    let anywhere: IpAddr = match there {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((anywhere, 0)).await?;
    socket.connect(there).await?;
    Ok(socket.local_addr()?.ip())
}
