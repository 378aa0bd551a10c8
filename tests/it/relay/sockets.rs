//! How answers leave the socket: at once, and together what belongs together, so that no answer ever waits for a client's delayed ACK.

use std::io::{Read, Write};
use std::net::TcpStream;

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use serde_json::{Value, json};

use crate::support::client::request;
use crate::support::{Hearth, Key, PATIENCE};

/// Queries of the test: enough that two writes for one answer would be read apart at least once.
const QUERIES: usize = 300;

/// A client without a WebSocket library, which sees what each single read brings.
struct Raw(TcpStream);

impl Raw {
    fn connect(hearth: &Hearth) -> Self {
        let mut socket = TcpStream::connect(hearth.address()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        let head = format!(
            "GET / HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
            hearth.address()
        );
        socket.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            answer.extend(byte);
        }
        assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
        Self(socket)
    }

    /// One frame in one write, masked with zeros.
    fn send(&mut self, text: &str) {
        let length = u16::try_from(text.len()).unwrap().to_be_bytes();
        let mut frame = vec![0x81, 0x80 | 126, length[0], length[1], 0, 0, 0, 0];
        frame.extend(text.as_bytes());
        self.0.write_all(&frame).unwrap();
    }

    /// The messages that one read brings; it must end where a message ends.
    fn read_once(&mut self) -> Vec<Value> {
        let mut buffer = vec![0; 1 << 16];
        let count = self.0.read(&mut buffer).unwrap();
        assert!(count > 0, "the connection was closed");
        let (mut rest, mut messages) = (&buffer[..count], Vec::new());
        while let [_, short, tail @ ..] = rest {
            let (length, tail) = match short {
                126 => (usize::from(u16::from_be_bytes([tail[0], tail[1]])), &tail[2..]),
                short => (usize::from(*short), tail),
            };
            let (text, next) = tail.split_at_checked(length).expect("a message was cut in two");
            messages.push(serde_json::from_slice(text).unwrap());
            rest = next;
        }
        messages
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answer_to_a_small_query_comes_in_one_read() {
    let hearth = Hearth::start();
    let (mut client, key) = (hearth.client().await, Key::random());
    let notes: Vec<_> = (0..3).map(|number| key.note(&format!("note {number}"))).collect();
    for note in &notes {
        client.accept(note).await;
    }
    let mut raw = Raw::connect(&hearth);
    let wanted = request("REQ", "small", &[json!({"authors": [notes[0].pubkey], "kinds": [1]})]).to_string();
    tokio::task::spawn_blocking(move || {
        for query in 0..QUERIES {
            raw.send(&wanted);
            let messages = raw.read_once();
            let verbs: Vec<&str> = messages.iter().map(|message| message[0].as_str().unwrap()).collect();
            assert_eq!(verbs, ["EVENT", "EVENT", "EVENT", "EOSE"], "query {query}");
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_kernel_holds_no_small_answer_back() {
    let hearth = Hearth::start();
    let raw = Raw::connect(&hearth);
    // The socket at hearth's end of this connection, looked at through a copy of its descriptor.
    let pid = Pid::from_raw(i32::try_from(hearth.pid()).unwrap()).unwrap();
    let process = pidfd_open(pid, PidfdFlags::empty()).unwrap();
    let mut found = None;
    for entry in std::fs::read_dir(format!("/proc/{}/fd", hearth.pid())).unwrap() {
        let number = entry.unwrap().file_name().to_str().unwrap().parse().unwrap();
        match pidfd_getfd(&process, number, PidfdGetfdFlags::empty()) {
            Ok(descriptor) => {
                let socket = TcpStream::from(descriptor);
                if socket.peer_addr().ok() == raw.0.local_addr().ok() {
                    found = Some(socket);
                }
            }
            // Closed meanwhile.
            Err(rustix::io::Errno::BADF) => {}
            Err(rustix::io::Errno::PERM | rustix::io::Errno::NOSYS) => {
                eprintln!("this system lets nobody look at the sockets of a child; not checked");
                return;
            }
            Err(error) => panic!("{error}"),
        }
    }
    let socket = found.expect("hearth has a socket for this connection");
    assert!(socket.nodelay().unwrap(), "TCP_NODELAY is off: answers that follow each other wait for ACKs");
}
