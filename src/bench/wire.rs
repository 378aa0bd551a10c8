//! The bytes under a WebSocket of the load generator: TCP (with TCP_NODELAY), and for `wss://` TLS over it.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use super::endpoint::Endpoint;
use super::error::ClientError;

/// Whom a TLS connection must reach, and by whose word.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Tls {
    /// For a host; its certificate must come from one of the public authorities, or from those in a PEM file.
    pub(super) fn new(host: &str, ca: Option<&Path>) -> Result<Self, ClientError> {
        let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(name).map_err(|_| ClientError::Address(host.to_owned()))?;
        let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()));
        let config = config.with_safe_default_protocol_versions();
        let config = config.map_err(|error| ClientError::Start(io::Error::other(error)))?;
        let config = config.with_root_certificates(roots(ca)?).with_no_client_auth();
        Ok(Self { config: Arc::new(config), name })
    }
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, ClientError> {
    let mut roots = RootCertStore::empty();
    let Some(path) = ca else {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        return Ok(roots);
    };
    let wrong = |words: String| ClientError::Input(path.display().to_string(), words);
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))? {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() { Err(wrong("it holds no certificate".to_owned())) } else { Ok(roots) }
}

/// A byte stream to the relay.
pub(super) enum Wire {
    Plain(TcpStream),
    Secure(Box<TlsStream<TcpStream>>),
}

impl Wire {
    /// Connects. `index` chooses the client address where the relay is on this machine.
    pub(super) async fn open(endpoint: &Endpoint, index: usize) -> Result<Self, ClientError> {
        let failed = |error| ClientError::Connect(endpoint.url.clone(), error);
        let stream = connect(endpoint, index).await.map_err(failed)?;
        let Some(Tls { config, name }) = &endpoint.tls else { return Ok(Self::Plain(stream)) };
        let connector = TlsConnector::from(Arc::clone(config));
        Ok(Self::Secure(Box::new(connector.connect(name.clone(), stream).await.map_err(failed)?)))
    }
}

async fn connect(endpoint: &Endpoint, index: usize) -> io::Result<TcpStream> {
    let stream = match endpoint.client_address(index) {
        None => TcpStream::connect(endpoint.address).await?,
        Some(local) => {
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddr::new(local.into(), 0))?;
            socket.connect(endpoint.address).await?
        }
    };
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Secure(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Secure(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Secure(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Secure(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
