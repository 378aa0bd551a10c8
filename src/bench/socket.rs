//! One WebSocket connection of the load generator, written for little work per message: frames are built before the clock
//! starts, and what arrives is read in place. A general WebSocket library costs as much per message as the relay under load.
//!
//! It is a client of RFC 6455 with text messages, pings, closes and fragments, and without extensions.

use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::endpoint::Endpoint;
use super::error::ClientError;
use super::wire::Wire;

/// First size of the read buffer.
const INBOX_FIRST: usize = 4 * 1024;
/// Size that the read buffer grows to while reads fill it; only a larger message makes it larger.
const INBOX_WANTED: usize = 64 * 1024;
/// Largest message that is taken.
const MESSAGE_MAX: usize = 16 * 1024 * 1024;
/// Most bytes of the answer to the upgrade request.
const HANDSHAKE_MAX: usize = 16 * 1024;
/// How long connecting and upgrading may take.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection to the relay under load.
pub(super) struct Socket {
    wire: Wire,
    inbox: Vec<u8>,
    start: usize,
    end: usize,
    fragments: Option<Vec<u8>>,
    joined: Vec<u8>,
    outbox: Vec<u8>,
    sent: usize,
}

/// Where a received text message lies.
pub(super) enum Place {
    Inbox(Range<usize>),
    Joined,
}

impl Socket {
    /// Connects and upgrades. `index` chooses the client address where the relay is on this machine.
    pub(super) async fn open(endpoint: &Endpoint, index: usize) -> Result<Self, ClientError> {
        let opening = async {
            let mut socket = Self {
                wire: Wire::open(endpoint, index).await?,
                inbox: Vec::new(),
                start: 0,
                end: 0,
                fragments: None,
                joined: Vec::new(),
                outbox: Vec::new(),
                sent: 0,
            };
            socket.upgrade(endpoint).await?;
            Ok(socket)
        };
        tokio::time::timeout(OPEN_TIMEOUT, opening).await.map_err(|_| ClientError::Silent)?
    }

    async fn upgrade(&mut self, endpoint: &Endpoint) -> Result<(), ClientError> {
        let mut nonce = [0_u8; 16];
        getrandom::fill(&mut nonce).map_err(|error| ClientError::Socket(io::Error::other(error)))?;
        let key = base64::engine::general_purpose::STANDARD.encode(nonce);
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: {key}\r\nUser-Agent: hearth-bench\r\n\r\n",
            endpoint.path, endpoint.host
        );
        self.outbox.extend_from_slice(request.as_bytes());
        self.flush().await?;
        loop {
            self.fill().await?;
            let head = &self.inbox[self.start..self.end];
            if let Some(length) = head.windows(4).position(|four| four == b"\r\n\r\n") {
                check_upgrade(&head[..length], &key)?;
                self.start += length + 4;
                return Ok(());
            }
            if head.len() > HANDSHAKE_MAX {
                return Err(ClientError::Handshake("an answer without end".to_owned()));
            }
        }
    }

    /// Puts ready-made frames into the write buffer; [`Socket::flush`] sends them.
    pub(super) fn feed(&mut self, frames: &[u8]) {
        self.outbox.extend_from_slice(frames);
    }

    /// Masks a text and puts it into the write buffer.
    pub(super) fn feed_text(&mut self, text: &str) {
        text_frame(&mut self.outbox, 0x5a5a_a5a5, text.as_bytes());
    }

    /// Sends what has been fed. While the relay does not read, what it writes is read, so that neither waits for the other.
    pub(super) async fn flush(&mut self) -> Result<(), ClientError> {
        if self.outbox.is_empty() {
            return Ok(());
        }
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        loop {
            let rest = &self.outbox[self.sent..];
            let wire = Pin::new(&mut self.wire);
            let step = if rest.is_empty() { wire.poll_flush(cx).map_ok(|()| 0) } else { wire.poll_write(cx, rest) };
            match step {
                Poll::Ready(Ok(_)) if rest.is_empty() => {
                    self.outbox.clear();
                    self.sent = 0;
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(ClientError::Closed(String::new()))),
                Poll::Ready(Ok(written)) => self.sent += written,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(ClientError::Socket(error))),
                Poll::Pending => std::task::ready!(self.poll_fill(cx))?,
            }
        }
    }

    /// Waits until more bytes have arrived. Safe to drop at any time.
    pub(super) async fn fill(&mut self) -> Result<(), ClientError> {
        poll_fn(|cx| self.poll_fill(cx)).await
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        self.make_room()?;
        let mut room = ReadBuf::new(&mut self.inbox[self.end..]);
        std::task::ready!(Pin::new(&mut self.wire).poll_read(cx, &mut room)).map_err(ClientError::Socket)?;
        let read = room.filled().len();
        if read == 0 {
            return Poll::Ready(Err(ClientError::Closed(String::new())));
        }
        self.end += read;
        Poll::Ready(Ok(()))
    }

    fn make_room(&mut self) -> Result<(), ClientError> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.end < self.inbox.len() {
            return Ok(());
        }
        let used = self.end - self.start;
        self.inbox.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, used);
        // Reads filled the whole buffer: more room saves reads, up to a point.
        let wanted =
            (self.inbox.len() * 2).clamp(INBOX_FIRST, INBOX_WANTED).max(if used * 2 > self.inbox.len() { used * 2 } else { 0 });
        if wanted > MESSAGE_MAX * 2 {
            return Err(ClientError::Frame("more than the largest message is waiting"));
        }
        if wanted > self.inbox.len() {
            self.inbox.resize(wanted, 0);
        }
        Ok(())
    }

    /// The next text message that has already arrived.
    pub(super) fn take(&mut self) -> Result<Option<Place>, ClientError> {
        while let Some(frame) = Frame::parse(&self.inbox[self.start..self.end])? {
            let payload = self.start + frame.head..self.start + frame.head + frame.length;
            self.start = payload.end;
            match frame.opcode {
                0x1 | 0x2 if frame.fin => return Ok(Some(Place::Inbox(payload))),
                0x1 | 0x2 => self.fragments = Some(self.inbox[payload].to_vec()),
                0x0 => {
                    if self.join(payload, frame.fin)? {
                        return Ok(Some(Place::Joined));
                    }
                }
                0x8 => return Err(ClientError::Closed(close_words(&self.inbox[payload]))),
                0x9 => {
                    let answer = self.inbox[payload].to_vec();
                    control_frame(&mut self.outbox, 0xa, &answer);
                }
                0xa => {}
                _ => return Err(ClientError::Frame("an unknown opcode")),
            }
        }
        Ok(None)
    }

    fn join(&mut self, payload: Range<usize>, last: bool) -> Result<bool, ClientError> {
        let Some(fragments) = &mut self.fragments else { return Err(ClientError::Frame("a continuation of nothing")) };
        fragments.extend_from_slice(&self.inbox[payload]);
        if fragments.len() > MESSAGE_MAX {
            return Err(ClientError::Frame("a message too large"));
        }
        if last {
            self.joined = self.fragments.take().unwrap_or_default();
        }
        Ok(last)
    }

    /// The bytes of a message, until the next [`Socket::fill`] or [`Socket::take`].
    pub(super) fn text(&self, place: &Place) -> &[u8] {
        match place {
            Place::Inbox(range) => &self.inbox[range.clone()],
            Place::Joined => &self.joined,
        }
    }

    /// The next message, copied; for set-up and small services, not for the measured path.
    pub(super) async fn next(&mut self) -> Result<Vec<u8>, ClientError> {
        loop {
            if let Some(place) = self.take()? {
                return Ok(self.text(&place).to_vec());
            }
            self.flush().await?;
            tokio::time::timeout(super::error::ANSWER_TIMEOUT, self.fill()).await.map_err(|_| ClientError::Silent)??;
        }
    }
}

fn check_upgrade(head: &[u8], key: &str) -> Result<(), ClientError> {
    let head = String::from_utf8_lossy(head);
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("101") {
        return Err(ClientError::Handshake(status.chars().take(100).collect()));
    }
    let accept = derive_accept_key(key.as_bytes());
    let headers = lines.filter_map(|line| line.split_once(':'));
    let mut accepts = headers.filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-accept"));
    match accepts.next() {
        Some((_, value)) if value.trim() == accept => Ok(()),
        _ => Err(ClientError::Handshake("its Sec-WebSocket-Accept is wrong".to_owned())),
    }
}

fn close_words(payload: &[u8]) -> String {
    match payload {
        [high, low, words @ ..] => {
            let words: String = String::from_utf8_lossy(words).chars().take(120).collect();
            format!(" ({} {words})", u16::from_be_bytes([*high, *low])).replace(" )", ")")
        }
        _ => String::new(),
    }
}

/// The head of a frame from the relay.
struct Frame {
    fin: bool,
    opcode: u8,
    head: usize,
    length: usize,
}

impl Frame {
    /// `None` until the whole frame is there.
    fn parse(bytes: &[u8]) -> Result<Option<Self>, ClientError> {
        let [first, second, ..] = *bytes else { return Ok(None) };
        if first & 0x70 != 0 || second & 0x80 != 0 {
            return Err(ClientError::Frame("an extension or a mask that was not agreed"));
        }
        let (head, length) = match second & 0x7f {
            126 => match bytes.get(2..4) {
                Some(&[a, b]) => (4, usize::from(u16::from_be_bytes([a, b]))),
                _ => return Ok(None),
            },
            127 => match bytes.get(2..10).and_then(|long| <[u8; 8]>::try_from(long).ok()) {
                Some(long) => (10, usize::try_from(u64::from_be_bytes(long)).unwrap_or(usize::MAX)),
                None => return Ok(None),
            },
            short => (2, usize::from(short)),
        };
        if length > MESSAGE_MAX {
            return Err(ClientError::Frame("a message too large"));
        }
        let frame = Self { fin: first & 0x80 != 0, opcode: first & 0xf, head, length };
        Ok((bytes.len() >= head + length).then_some(frame))
    }
}

/// Appends a masked text frame.
pub(super) fn text_frame(out: &mut Vec<u8>, mask: u32, text: &[u8]) {
    frame_head(out, 0x1, text.len());
    mask_into(out, mask, text);
}

fn control_frame(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    frame_head(out, opcode, payload.len());
    mask_into(out, 0x5a5a_a5a5, payload);
}

#[expect(clippy::cast_possible_truncation, reason = "each arm has checked the length")]
fn frame_head(out: &mut Vec<u8>, opcode: u8, length: usize) {
    out.push(0x80 | opcode);
    match length {
        0..=125 => out.push(0x80 | length as u8),
        126..=65_535 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

fn mask_into(out: &mut Vec<u8>, mask: u32, payload: &[u8]) {
    let mask = mask.to_be_bytes();
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}
