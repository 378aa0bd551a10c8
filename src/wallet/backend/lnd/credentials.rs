//! What hearth needs of LND's owner: the certificate to know LND by, and the macaroon that says what hearth may do.
//!
//! Both are files. The macaroon lets spend: a file that others can read is refused, and what it allows is compared with what is
//! needed, so that a wrong one is noticed before a payment is.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use prost::Message;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use crate::base::secret::Secret;

/// How to make a macaroon with just the rights that are needed.
pub const BAKE: &str = "lncli bakemacaroon --save_to hearth.macaroon info:read offchain:read offchain:write invoices:read \
                        invoices:write message:write";
/// The rights that are needed.
const NEEDED: [(&str, &str); 6] = [
    ("info", "read"),
    ("offchain", "read"),
    ("offchain", "write"),
    ("invoices", "read"),
    ("invoices", "write"),
    ("message", "write"),
];
/// Rights that only whoever runs the node should have: who holds one can empty the node or make himself more rights.
const DANGEROUS: [(&str, &str); 5] =
    [("macaroon", "generate"), ("macaroon", "write"), ("onchain", "write"), ("address", "write"), ("peers", "write")];
/// Permission bits that nobody but the owner may have.
const OTHERS: u32 = 0o077;
/// Longest file that is read; certificates and macaroons have a few hundred bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Certificate and macaroon, read and looked at.
#[derive(Clone)]
pub struct Credentials {
    pub(super) certificates: Vec<CertificateDer<'static>>,
    pub(super) macaroon: Secret<Vec<u8>>,
}

impl PartialEq for Credentials {
    fn eq(&self, other: &Self) -> bool {
        self.certificates == other.certificates && self.macaroon.expose() == other.macaroon.expose()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("certificates", &self.certificates.len()).finish_non_exhaustive()
    }
}

/// Why a file cannot be used. The path is said by whoever shows it.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// Not there, or not to be read by this user.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// Larger than any certificate or macaroon.
    #[error("is too large for what it should be")]
    TooLarge,
    /// Others could spend with it.
    #[error("others can reach this file (mode {0:04o}), and who has it can spend: chmod 0600 it")]
    TooWide(u32),
    /// No PEM certificate in it.
    #[error("holds no certificate in PEM form; it should be a copy of LND's tls.cert")]
    NoCertificate,
    /// Neither binary nor hex.
    #[error("is no macaroon; make one with: {BAKE}")]
    NoMacaroon,
    /// It does not allow what hearth does.
    #[error("does not allow {0}; make one that does with: {BAKE}")]
    MissingRights(String),
}

/// Reads the certificate.
pub fn read_certificate(path: &Path) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
    let (bytes, _) = read(path)?;
    let certificates = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
    certificates.ok().filter(|found| !found.is_empty()).ok_or(CredentialsError::NoCertificate)
}

/// Reads the macaroon, binary as LND writes it or as hex digits.
pub fn read_macaroon(path: &Path) -> Result<Secret<Vec<u8>>, CredentialsError> {
    let (bytes, mode) = read(path)?;
    if mode & OTHERS != 0 {
        return Err(CredentialsError::TooWide(mode));
    }
    let binary = match bytes.first() {
        Some(2) => bytes,
        _ => const_hex::decode(bytes.trim_ascii()).map_err(|_| CredentialsError::NoMacaroon)?,
    };
    let macaroon = Secret::new(binary);
    if macaroon.expose().first() != Some(&2) {
        return Err(CredentialsError::NoMacaroon);
    }
    // A macaroon whose rights cannot be read may be a good one: LND decides.
    match rights(macaroon.expose()) {
        Some(rights) => check_rights(&rights).map(|()| macaroon),
        None => Ok(macaroon),
    }
}

/// Reads both; the first thing that is wrong.
pub(super) fn read_both(certificate: &Path, macaroon: &Path) -> Result<Credentials, (PathBuf, CredentialsError)> {
    let at = |path: &Path, error| (path.to_owned(), error);
    Ok(Credentials {
        certificates: read_certificate(certificate).map_err(|error| at(certificate, error))?,
        macaroon: read_macaroon(macaroon).map_err(|error| at(macaroon, error))?,
    })
}

impl Credentials {
    /// Rights that hearth does not need and that make the macaroon worth stealing, such as those of `admin.macaroon`.
    pub(super) fn dangerous_rights(&self) -> Vec<String> {
        let rights = rights(self.macaroon.expose()).unwrap_or_default();
        let held = |right: &&(&str, &str)| rights.iter().any(|(entity, action)| (entity.as_str(), action.as_str()) == **right);
        DANGEROUS.iter().filter(held).map(|(entity, action)| format!("{entity}:{action}")).collect()
    }
}

fn read(path: &Path) -> Result<(Vec<u8>, u32), CredentialsError> {
    let file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode() & 0o777;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    let small = u64::try_from(bytes.len()).is_ok_and(|length| length <= FILE_BYTES_MAX);
    if small { Ok((bytes, mode)) } else { Err(CredentialsError::TooLarge) }
}

fn check_rights(rights: &[(String, String)]) -> Result<(), CredentialsError> {
    // Rights by method instead of by kind: which of them suffice, LND says.
    if rights.iter().any(|(entity, _)| entity == "uri") {
        return Ok(());
    }
    let held = |needed: &(&str, &str)| rights.iter().any(|(entity, action)| (entity.as_str(), action.as_str()) == *needed);
    let missing: Vec<String> =
        NEEDED.iter().filter(|needed| !held(needed)).map(|(entity, action)| format!("{entity}:{action}")).collect();
    if missing.is_empty() { Ok(()) } else { Err(CredentialsError::MissingRights(missing.join(" "))) }
}

/// The identifier of a macaroon that LND baked, after its version byte.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct MacaroonId {
    #[prost(message, repeated, tag = "3")]
    ops: Vec<Op>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct Op {
    #[prost(string, tag = "1")]
    entity: String,
    #[prost(string, repeated, tag = "2")]
    actions: Vec<String>,
}

/// What a macaroon allows, where that can be read: format 2 of macaroons (a version byte, then fields of type, length, bytes up to
/// a 0), with an identifier of version 3 of the bakery.
fn rights(macaroon: &[u8]) -> Option<Vec<(String, String)>> {
    const LOCATION: u64 = 1;
    const IDENTIFIER: u64 = 2;
    let mut rest = macaroon.strip_prefix(&[2])?;
    loop {
        let kind = prost::encoding::decode_varint(&mut rest).ok()?;
        if kind != LOCATION && kind != IDENTIFIER {
            return None;
        }
        let length = usize::try_from(prost::encoding::decode_varint(&mut rest).ok()?).ok()?;
        let (field, after) = rest.split_at_checked(length)?;
        rest = after;
        if kind == IDENTIFIER {
            let id = MacaroonId::decode(field.strip_prefix(&[3])?).ok()?;
            let pairs = |op: Op| op.actions.into_iter().map(move |action| (op.entity.clone(), action));
            return Some(id.ops.into_iter().flat_map(pairs).collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    /// A macaroon as LND bakes them, with a signature that only LND could check.
    fn baked(rights: &[(&str, &[&str])]) -> Vec<u8> {
        let op = |(entity, actions): &(&str, &[&str])| Op {
            entity: (*entity).to_owned(),
            actions: actions.iter().map(|action| (*action).to_owned()).collect(),
        };
        let mut id = vec![3];
        id.extend(MacaroonId { ops: rights.iter().map(op).collect() }.encode_to_vec());
        let mut macaroon = vec![2, 1, 3];
        macaroon.extend(b"lnd");
        macaroon.push(2);
        prost::encoding::encode_varint(u64::try_from(id.len()).unwrap(), &mut macaroon);
        macaroon.extend(id);
        macaroon.extend([0, 0, 6, 32]);
        macaroon.extend([7; 32]);
        macaroon
    }

    const ENOUGH: &[(&str, &[&str])] =
        &[("info", &["read"]), ("offchain", &["read", "write"]), ("invoices", &["read", "write"]), ("message", &["write"])];

    fn file(bytes: &[u8], mode: u32) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        fs::set_permissions(file.path(), Permissions::from_mode(mode)).unwrap();
        file
    }

    #[test]
    fn a_macaroon_is_read_binary_or_as_hex_and_never_printed() {
        let macaroon = baked(ENOUGH);
        let hex = format!("{}\n", const_hex::encode(&macaroon));
        for bytes in [macaroon.as_slice(), hex.as_bytes()] {
            let read = read_macaroon(file(bytes, 0o600).path()).unwrap();
            assert_eq!(read.expose(), &macaroon);
            let credentials = Credentials { certificates: Vec::new(), macaroon: read };
            assert_eq!(credentials.dangerous_rights(), Vec::<String>::new());
            assert!(!format!("{credentials:?}").contains(&const_hex::encode(&macaroon[..8])));
        }
    }

    #[test]
    fn a_file_that_others_reach_or_that_is_no_macaroon_is_refused() {
        let macaroon = baked(ENOUGH);
        let words = |bytes: &[u8], mode| read_macaroon(file(bytes, mode).path()).map(|_| ()).unwrap_err().to_string();
        assert!(words(&macaroon, 0o640).contains("others can reach this file (mode 0640)"), "{}", words(&macaroon, 0o640));
        assert!(words(b"hello", 0o600).contains("is no macaroon; make one with: lncli bakemacaroon"));
        assert!(words(b"", 0o600).contains("is no macaroon"));
        assert!(words(&vec![2; 70_000], 0o600).contains("too large"));
        assert!(read_macaroon(Path::new("/nowhere/x")).map(|_| ()).unwrap_err().to_string().contains("cannot be read"));
    }

    #[test]
    fn missing_rights_are_named_and_needless_ones_are_seen() {
        let words = read_macaroon(file(&baked(&[("info", &["read"]), ("offchain", &["read"])]), 0o600).path());
        let words = words.map(|_| ()).unwrap_err().to_string();
        assert!(words.contains("does not allow offchain:write invoices:read invoices:write message:write;"), "{words}");

        let mut admin = ENOUGH.to_vec();
        admin.extend([("macaroon", &["generate", "read", "write"][..]), ("onchain", &["read", "write"][..])]);
        let read = read_macaroon(file(&baked(&admin), 0o600).path()).unwrap();
        let credentials = Credentials { certificates: Vec::new(), macaroon: read };
        assert_eq!(credentials.dangerous_rights(), ["macaroon:generate", "macaroon:write", "onchain:write"]);

        // Rights by method, and an identifier that says nothing: LND decides.
        assert!(read_macaroon(file(&baked(&[("uri", &["/lnrpc.Lightning/GetInfo"])]), 0o600).path()).is_ok());
        assert!(read_macaroon(file(&[2, 2, 1, 9], 0o600).path()).is_ok());
    }

    #[test]
    fn rights_of_any_bytes_are_read_without_a_panic() {
        let whole = baked(ENOUGH);
        for length in 0..whole.len() {
            rights(&whole[..length]);
        }
        for at in 0..whole.len() {
            let mut broken = whole.clone();
            broken[at] ^= 0xff;
            rights(&broken);
        }
    }

    #[test]
    fn a_certificate_must_be_pem() {
        assert!(matches!(read_certificate(file(b"hello", 0o644).path()), Err(CredentialsError::NoCertificate)));
        let pem = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap().cert.pem();
        assert_eq!(read_certificate(file(pem.as_bytes(), 0o644).path()).unwrap().len(), 1);
    }
}
