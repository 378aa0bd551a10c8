//! A port that stays ours while nobody listens there.

use tokio::net::TcpSocket;

/// A port of the loopback interface: bound and never listened at. Whoever is told its number may listen there, leave and come back, as
/// long as he sets SO_REUSEADDR, as tokio's listeners do; nobody is given it by chance meanwhile, neither a listener that asks for any
/// port nor a connection that needs one of its own.
pub struct Port(TcpSocket);

impl Port {
    /// Any that is free.
    pub fn reserve() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        Self(socket)
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }
}
