//! TLS towards others, with the authorities that this system trusts.
//!
//! The only place that decides whom we trust and how TLS is spoken.

use std::sync::{Arc, LazyLock};

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// A connection with TLS.
pub type Secure = TlsStream<TcpStream>;

/// How it is spoken, or what is wrong with this system.
static CONFIG: LazyLock<Result<Arc<ClientConfig>, String>> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 {
        return Err("this system trusts no certificate authority (the package ca-certificates)".into());
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
});

/// Whether TLS can be had at all.
///
/// # Errors
/// What is wrong with this system.
pub fn check() -> Result<(), String> {
    CONFIG.as_ref().map(|_| ()).map_err(Clone::clone)
}

/// Begins TLS on a connection to `host`, a name or an address without brackets.
///
/// # Errors
/// Ends a sentence that begins with whom we speak to.
pub async fn connect(host: &str, stream: TcpStream) -> Result<Secure, String> {
    let config = CONFIG.as_ref().map_err(Clone::clone)?;
    let name = ServerName::try_from(host.to_owned()).map_err(|_| "has no name that TLS knows".to_owned())?;
    let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await;
    stream.map_err(|error| format!("is not trusted: {error}"))
}
