//! How connections to the addresses of peers are made.

use std::time::Duration;

use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;

/// HTTP/1.1, plain or by TLS with the system's trust, over a connection that is made within `patience`.
///
/// # Errors
/// When the system's trust store cannot be read.
pub fn connector(patience: Duration) -> anyhow::Result<HttpsConnector<HttpConnector>> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(patience));
    let builder = hyper_rustls::HttpsConnectorBuilder::new().try_with_platform_verifier()?;
    Ok(builder.https_or_http().enable_http1().wrap_connector(connector))
}
