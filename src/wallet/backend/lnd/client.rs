//! A gRPC connection to LND that comes back by itself, and what its errors mean.

use std::error::Error;
use std::time::Duration;

use prost::Message;
use tokio_rustls::rustls;
use tonic::client::Grpc;
use tonic::codegen::http::Uri;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, ConnectError, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::credentials::{BAKE, Credentials};
use super::tls::{Connector, OTHER_CERTIFICATE};

/// A connection must stand after this time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection on which nothing happens is asked whether it lives this often. LND ends connections that ask more often than
/// every five seconds.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(30);
/// It is dead if it does not say so in this time.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No host and port.
    #[error("{0:?} is no address of a host and a port, such as \"127.0.0.1:10009\"")]
    Address(String),
    /// The TLS library refuses to start.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// The connection. It is opened with the first call, and again with the first one after it broke.
pub(super) struct Client {
    channel: Channel,
    macaroon: MetadataValue<Ascii>,
}

impl Client {
    /// Connects to nothing yet. To be called inside a runtime.
    pub(super) fn new(address: &str, credentials: &Credentials) -> Result<Self, ClientError> {
        let bad_address = || ClientError::Address(address.to_owned());
        let connector = Connector::new(address, credentials.certificates.clone())?;
        // The scheme only names the authority: TLS is made by the connector.
        let channel = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|_| bad_address())?
            .user_agent(concat!("hearth/", env!("CARGO_PKG_VERSION")))
            .map_err(|_| bad_address())?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE_EVERY)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .connect_with_connector_lazy(tower::service_fn(move |_: Uri| connector.clone().connect()));
        let mut macaroon: MetadataValue<Ascii> =
            const_hex::encode(credentials.macaroon.expose()).parse().map_err(|_| bad_address())?;
        macaroon.set_sensitive(true);
        Ok(Self { channel, macaroon })
    }

    /// One question, one answer, within this time.
    pub(super) async fn call<Q, R>(&self, path: &'static str, question: Q, within: Duration) -> Result<R, Status>
    where
        Q: Message + Send + Sync + 'static,
        R: Message + Default + Send + Sync + 'static,
    {
        let call = async {
            let (mut grpc, mut request) = self.prepare(question).await?;
            request.set_timeout(within);
            let codec = ProstCodec::<Q, R>::default();
            Ok(grpc.unary(request, PathAndQuery::from_static(path), codec).await?.into_inner())
        };
        let late = |_| Err(Status::deadline_exceeded("no answer in time"));
        tokio::time::timeout(within, call).await.unwrap_or_else(late)
    }

    /// One question, many answers. What LND does does not end with the stream.
    pub(super) async fn stream<Q, R>(&self, path: &'static str, question: Q) -> Result<Streaming<R>, Status>
    where
        Q: Message + Send + Sync + 'static,
        R: Message + Default + Send + Sync + 'static,
    {
        let (mut grpc, request) = self.prepare(question).await?;
        let codec = ProstCodec::<Q, R>::default();
        Ok(grpc.server_streaming(request, PathAndQuery::from_static(path), codec).await?.into_inner())
    }

    async fn prepare<Q>(&self, question: Q) -> Result<(Grpc<Channel>, Request<Q>), Status> {
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.map_err(|error| Status::from_error(Box::new(error)))?;
        let mut request = Request::new(question);
        request.metadata_mut().insert("macaroon", self.macaroon.clone());
        Ok((grpc, request))
    }
}

/// Whether a call never left this process, because no connection could be made.
pub(super) fn was_never_sent(status: &Status) -> bool {
    chain(status).any(|error| error.is::<ConnectError>())
}

/// Words for people: what is wrong and what to do.
pub(super) fn explain(status: &Status) -> String {
    if chain(status).any(|error| error.to_string().contains(OTHER_CERTIFICATE)) {
        return "it shows another certificate than the one in wallet.lnd.cert_file; if LND has made a new one, copy its tls.cert \
                there again"
            .to_owned();
    }
    let said = status.message();
    if said.contains("permission denied") {
        return format!("the macaroon does not allow what is needed; make one that does with: {BAKE}");
    }
    if said.contains("verification failed") || said.contains("macaroon") {
        return format!("it refuses the macaroon ({said}); make a new one with: {BAKE}");
    }
    if said.contains("wallet locked") {
        return "its wallet is locked; unlock it with: lncli unlock".to_owned();
    }
    match status.code() {
        Code::Unavailable => {
            let cause = chain(status).last().map_or_else(|| said.to_owned(), ToString::to_string);
            format!("it cannot be reached ({cause})")
        }
        Code::DeadlineExceeded => "it does not answer in time".to_owned(),
        Code::Unimplemented => "it does not know the call; is it starting, or an old LND?".to_owned(),
        _ if status.source().is_some() => format!("the connection broke ({said})"),
        _ => said.to_owned(),
    }
}

fn chain(status: &Status) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(status.source(), |error| {
        let error: &(dyn Error + 'static) = *error;
        error.source()
    })
}
