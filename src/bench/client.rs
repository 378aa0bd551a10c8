//! One WebSocket connection of the load generator.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes, protocol::WebSocketConfig};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::ANSWER_TIMEOUT;

/// Why a run could not be finished.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is not one that this tool can load.
    #[error("{0} is not a ws:// address with a host and a port")]
    Address(String),
    /// No TCP connection.
    #[error("cannot connect to {0}: {1}")]
    Connect(String, std::io::Error),
    /// The WebSocket broke.
    #[error("the connection broke: {0}")]
    Socket(#[from] Box<tokio_tungstenite::tungstenite::Error>),
    /// The relay closed the connection.
    #[error("the relay closed the connection")]
    Closed,
    /// No answer in time.
    #[error("no answer within {} s", ANSWER_TIMEOUT.as_secs())]
    Silent,
    /// The relay refused what it must accept for this workload.
    #[error("the relay refused: {0}")]
    Refused(String),
    /// The connection URI or the wallet's answer cannot be used.
    #[error("wallet: {0}")]
    Wallet(String),
    /// The report could not be written.
    #[error("cannot write the report: {0}")]
    Output(std::io::Error),
    /// A task of the load generator ended unexpectedly.
    #[error("a client task ended unexpectedly: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// A connection to the relay under load.
pub(super) struct Client {
    socket: WebSocketStream<TcpStream>,
}

impl Client {
    /// Opens a connection with TCP_NODELAY.
    pub(super) async fn open(url: &str) -> Result<Self, ClientError> {
        let request = url.into_client_request().map_err(|_| ClientError::Address(url.to_owned()))?;
        let host = request.uri().host().ok_or_else(|| ClientError::Address(url.to_owned()))?;
        let port = request.uri().port_u16().unwrap_or(80);
        if request.uri().scheme_str() != Some("ws") {
            return Err(ClientError::Address(url.to_owned()));
        }
        let stream = TcpStream::connect((host, port)).await.map_err(|error| ClientError::Connect(url.to_owned(), error))?;
        stream.set_nodelay(true).map_err(|error| ClientError::Connect(url.to_owned(), error))?;
        let config = WebSocketConfig::default().read_buffer_size(8 * 1024).write_buffer_size(64 * 1024);
        let (socket, _) = client_async_with_config(request, stream, Some(config)).await.map_err(Box::new)?;
        Ok(Self { socket })
    }

    /// Puts a message into the write buffer; [`Client::flush`] sends it.
    pub(super) async fn feed(&mut self, text: Utf8Bytes) -> Result<(), ClientError> {
        Ok(self.socket.feed(Message::Text(text)).await.map_err(Box::new)?)
    }

    /// Sends what has been fed.
    pub(super) async fn flush(&mut self) -> Result<(), ClientError> {
        Ok(self.socket.flush().await.map_err(Box::new)?)
    }

    /// Sends one message at once.
    pub(super) async fn send(&mut self, text: impl Into<Utf8Bytes>) -> Result<(), ClientError> {
        self.feed(text.into()).await?;
        self.flush().await
    }

    /// The next text message.
    pub(super) async fn next(&mut self) -> Result<Utf8Bytes, ClientError> {
        tokio::time::timeout(ANSWER_TIMEOUT, self.next_text()).await.map_err(|_| ClientError::Silent)?
    }

    /// The next text message, if one comes in time.
    pub(super) async fn next_within(&mut self, wait: Duration) -> Result<Option<Utf8Bytes>, ClientError> {
        match tokio::time::timeout(wait, self.next_text()).await {
            Ok(text) => text.map(Some),
            Err(_) => Ok(None),
        }
    }

    async fn next_text(&mut self) -> Result<Utf8Bytes, ClientError> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text),
                Some(Ok(Message::Close(_))) | None => return Err(ClientError::Closed),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(Box::new(error).into()),
            }
        }
    }

    /// Subscribes and reads up to EOSE; returns how many stored events came.
    pub(super) async fn subscribe(&mut self, subscription: &str, filters: &str) -> Result<usize, ClientError> {
        self.send(format!(r#"["REQ","{subscription}",{filters}]"#)).await?;
        self.read_stored().await
    }

    /// Reads up to EOSE; returns how many events came.
    pub(super) async fn read_stored(&mut self) -> Result<usize, ClientError> {
        let mut events = 0;
        loop {
            let text = self.next().await?;
            if text.starts_with(r#"["EVENT""#) {
                events += 1;
            } else if text.starts_with(r#"["EOSE""#) {
                return Ok(events);
            } else if text.starts_with(r#"["CLOSED""#) {
                return Err(ClientError::Refused(text.to_string()));
            }
        }
    }
}

/// The id and the verdict of an OK message: `["OK","<64 hex>",true,...`.
pub(super) fn parse_ok(text: &str) -> Option<(&str, bool)> {
    let rest = text.strip_prefix(r#"["OK",""#)?;
    let id = rest.get(..64)?;
    Some((id, rest.get(64..)?.starts_with(r#"",true"#)))
}
