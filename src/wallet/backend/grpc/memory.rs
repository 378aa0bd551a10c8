//! What is kept of the wallet between two lives of hearth: who it is, what it can do, and how far its events were taken.
//!
//! `peer.json` is written at the first meeting. With it hearth starts while the wallet is away, and notices when another one
//! answers at its address: that one would say of every payment that it never heard of it. `cursor` only ever lags behind: events
//! come at least once, so an old cursor is harmless, and one that was lost means reading from the beginning.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::{Capabilities, Info, Network};
use crate::base::hex32::Hex32;

/// Longest cursor that is kept.
pub(super) const CURSOR_BYTES_MAX: usize = 256;

const PEER: &str = "peer.json";
const CURSOR: &str = "cursor";

/// Who the wallet is and what it can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) info: Info,
    pub(super) can: Capabilities,
}

impl Peer {
    /// Whether it is the same wallet: its key and its network.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.info.pubkey == other.info.pubkey && self.info.network == other.info.network
    }
}

/// The folder, or nothing where nothing is to be kept (`hearth wallet test-backend`).
#[derive(Clone, Debug)]
pub(super) struct Memory(Option<PathBuf>);

#[derive(Serialize, Deserialize)]
struct PeerFile {
    pubkey: String,
    network: String,
    alias: String,
    color: String,
    block_height: u32,
    block_hash: String,
    outside: bool,
    refuses_second: bool,
    hold_invoices: bool,
    keysend: bool,
    sign_message: bool,
    node_balance: bool,
}

impl Memory {
    pub(super) fn new(folder: Option<PathBuf>) -> io::Result<Self> {
        if let Some(folder) = &folder {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        Ok(Self(folder))
    }

    /// Where the wallet's identity stands, for words to the owner.
    pub(super) fn peer_path(&self) -> Option<PathBuf> {
        self.0.as_ref().map(|folder| folder.join(PEER))
    }

    /// The wallet as it was last seen. A file that cannot be read is an error and not "never seen": it guards the money.
    pub(super) fn peer(&self) -> io::Result<Option<Peer>> {
        let Some(path) = self.peer_path() else { return Ok(None) };
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let bad = |words: &str| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {words}", path.display()));
        let file: PeerFile = serde_json::from_slice(&text).map_err(|error| bad(&error.to_string()))?;
        let network = Network::parse(&file.network).ok_or_else(|| bad("unknown network"))?;
        let block_hash = Hex32::parse(&file.block_hash).map_err(|_| bad("block_hash"))?;
        let info = Info {
            pubkey: file.pubkey,
            alias: file.alias,
            color: file.color,
            network,
            block_height: file.block_height,
            block_hash,
        };
        let can = Capabilities {
            outside: file.outside,
            refuses_second: file.refuses_second,
            hold_invoices: file.hold_invoices,
            keysend: file.keysend,
            sign_message: file.sign_message,
            node_balance: file.node_balance,
        };
        Ok(Some(Peer { info, can }))
    }

    pub(super) fn keep_peer(&self, peer: &Peer) -> io::Result<()> {
        let Peer { info, can } = peer;
        let file = PeerFile {
            pubkey: info.pubkey.clone(),
            network: info.network.as_str().to_owned(),
            alias: info.alias.clone(),
            color: info.color.clone(),
            block_height: info.block_height,
            block_hash: info.block_hash.to_string(),
            outside: can.outside,
            refuses_second: can.refuses_second,
            hold_invoices: can.hold_invoices,
            keysend: can.keysend,
            sign_message: can.sign_message,
            node_balance: can.node_balance,
        };
        self.replace(PEER, serde_json::to_vec_pretty(&file)?.as_slice())
    }

    /// The last cursor, or the beginning.
    pub(super) fn cursor(&self) -> String {
        let text = self.0.as_ref().and_then(|folder| fs::read_to_string(folder.join(CURSOR)).ok()).unwrap_or_default();
        if text.len() > CURSOR_BYTES_MAX { String::new() } else { text }
    }

    pub(super) fn keep_cursor(&self, cursor: &str) -> io::Result<()> {
        self.replace(CURSOR, cursor.as_bytes())
    }

    /// Old or new, never half: written beside it, synced, renamed.
    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let Some(folder) = &self.0 else { return Ok(()) };
        let new = folder.join(format!("{name}.new"));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, folder.join(name))?;
        sync(folder)
    }
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_read_again_and_what_is_broken_is_no_first_meeting() {
        let directory = tempfile::tempdir().unwrap();
        let memory = Memory::new(Some(directory.path().join("wallet-backend"))).unwrap();
        assert_eq!((memory.peer().unwrap(), memory.cursor()), (None, String::new()));
        let info = Info {
            pubkey: "02".repeat(33),
            alias: "ledger".to_owned(),
            color: String::new(),
            network: Network::Signet,
            block_height: 7,
            block_hash: Hex32([3; 32]),
        };
        let peer = Peer { info, can: Capabilities { keysend: true, ..Capabilities::default() } };
        memory.keep_peer(&peer).unwrap();
        memory.keep_cursor("17").unwrap();
        memory.keep_cursor("18").unwrap();
        assert_eq!((memory.peer().unwrap(), memory.cursor()), (Some(peer.clone()), "18".to_owned()));
        let mut other = peer.clone();
        other.info.block_height = 8;
        assert!(peer.is_same(&other));
        other.info.network = Network::Regtest;
        assert!(!peer.is_same(&other));

        fs::write(memory.peer_path().unwrap(), "{").unwrap();
        assert_eq!(memory.peer().unwrap_err().kind(), io::ErrorKind::InvalidData);
        let nothing = Memory::new(None).unwrap();
        nothing.keep_peer(&peer).unwrap();
        nothing.keep_cursor("1").unwrap();
        assert_eq!((nothing.peer().unwrap(), nothing.cursor()), (None, String::new()));
    }
}
