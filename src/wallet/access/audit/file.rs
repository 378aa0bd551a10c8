//! The files of the log: two for each connection, `NUMBER.log` and the one before it, `NUMBER.old`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{Note, line};
use crate::wallet::terms::ConnectionId;

/// A file that is longer becomes the old one, and the old one goes.
pub(super) const SEGMENT_BYTES_MAX: u64 = 256 * 1_024;
/// What is read of a file: whole ones are a batch longer than [`SEGMENT_BYTES_MAX`] at most.
const READ_BYTES_MAX: u64 = 2 * SEGMENT_BYTES_MAX;

fn newest(directory: &Path, connection: ConnectionId) -> PathBuf {
    directory.join(format!("{}.log", connection.0))
}

fn oldest(directory: &Path, connection: ConnectionId) -> PathBuf {
    directory.join(format!("{}.old", connection.0))
}

/// Appends notes in one write.
pub(super) fn append(directory: &Path, connection: ConnectionId, notes: &[Note]) -> io::Result<()> {
    let path = newest(directory, connection);
    let mut file = OpenOptions::new().append(true).read(true).create(true).mode(0o600).open(&path)?;
    let length = file.metadata()?.len();
    let mut text = String::with_capacity(notes.len() * 160 + 1);
    if length > 0 && !ends_a_line(&file, length)? {
        // A crash tore the last line: what comes now must not be part of it.
        text.push('\n');
    }
    notes.iter().for_each(|note| line::write(&mut text, note));
    file.write_all(text.as_bytes())?;
    drop(file);
    if length + text.len() as u64 > SEGMENT_BYTES_MAX {
        fs::rename(&path, oldest(directory, connection))?;
    }
    Ok(())
}

fn ends_a_line(file: &File, length: u64) -> io::Result<bool> {
    let mut last = [0_u8; 1];
    std::os::unix::fs::FileExt::read_exact_at(file, &mut last, length - 1)?;
    Ok(last == *b"\n")
}

/// Reads what is there, oldest first. Lines that cannot be read are left out.
pub(super) fn read(directory: &Path, connection: ConnectionId, notes: &mut Vec<line::Read>) -> io::Result<()> {
    for path in [oldest(directory, connection), newest(directory, connection)] {
        let mut bytes = Vec::new();
        match File::open(&path) {
            Ok(file) => file.take(READ_BYTES_MAX).read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let lines = bytes.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
        notes.extend(lines.filter_map(line::read));
    }
    Ok(())
}
