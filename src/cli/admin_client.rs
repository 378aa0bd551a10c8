//! How commands talk to the running server: gRPC over the Unix socket in the data directory.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use crate::pb::{AdminConnection, Code, Status, connect_admin};

/// The socket's name in the data directory.
pub const SOCKET: &str = "admin.sock";

/// Why a command did not do its work; [`CommandError::exit_code`] is what the process ends with.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It cannot be what the user meant.
    #[error("{0}")]
    Usage(String),
    /// There is no server to ask.
    #[error(
        "no hearth is running on {data} (nothing answers at {socket})\nstart one with:  hearth --data {data} serve",
        data = data.display(),
        socket = socket.display()
    )]
    NoServer {
        /// The data directory.
        data: PathBuf,
        /// Where its socket would be.
        socket: PathBuf,
    },
    /// The server says no, or the connection to it broke.
    #[error("{0}")]
    Failed(String),
    /// The terminal or pipe went away.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

impl CommandError {
    /// 1 failed, 2 usage, 3 no server running.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) | Self::Output(_) => 1,
            Self::Usage(_) => 2,
            Self::NoServer { .. } => 3,
        }
    }
}

impl From<Status> for CommandError {
    fn from(status: Status) -> Self {
        match status.code() {
            Code::Unavailable if status.message().is_empty() => Self::Failed("the server went away".to_owned()),
            _ => Self::Failed(status.message().to_owned()),
        }
    }
}

/// Connects to the server that runs on a data directory.
pub async fn connect(data: &Path) -> Result<AdminConnection, CommandError> {
    let data = std::path::absolute(data).unwrap_or_else(|_| data.to_owned());
    let socket = data.join(SOCKET);
    // Asked directly first: only here can "nobody is there" be told from everything else.
    if let Err(error) = UnixStream::connect(&socket) {
        return Err(match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => CommandError::NoServer { data, socket },
            _ => CommandError::Failed(format!("cannot open {}: {error}", socket.display())),
        });
    }
    let address = socket.to_str().ok_or_else(|| CommandError::Usage("the data directory's path is not UTF-8".to_owned()))?;
    connect_admin(address).await.map_err(|error| CommandError::Failed(format!("cannot reach the server: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_a_server_it_says_so_and_how_to_start_one() {
        let data = tempfile::tempdir().unwrap();
        let error = connect(data.path()).await.unwrap_err();
        assert_eq!(error.exit_code(), 3);
        let words = error.to_string();
        assert!(words.starts_with("no hearth is running on /"), "{words}");
        assert!(words.ends_with(&format!("start one with:  hearth --data {} serve", data.path().display())), "{words}");
    }

    #[tokio::test]
    async fn a_socket_that_a_dead_server_left_is_no_server() {
        let data = tempfile::tempdir().unwrap();
        drop(std::os::unix::net::UnixListener::bind(data.path().join(SOCKET)).unwrap());
        assert_eq!(connect(data.path()).await.unwrap_err().exit_code(), 3);
    }
}
