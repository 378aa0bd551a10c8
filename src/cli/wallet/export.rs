//! `hearth wallet export`: every transaction as CSV or JSON, streamed, so that a long history needs no memory.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::table;
use crate::cli::admin_client::CommandError;
use crate::pb::AdminConnection;
use crate::pb::admin::{ExportRequest, ExportedTransaction};

/// What, how and where to.
#[derive(Args, Debug)]
pub struct ExportArgs {
    /// Only of this account [default: all]
    #[arg(long)]
    account: Option<String>,
    /// One line a transaction with a head line, or a JSON array
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
    /// A new file (mode 0600); never overwrites one [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The proofs of payment too: whoever has one can claim to have paid
    #[arg(long)]
    with_preimages: bool,
}

/// How transactions are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Csv,
    Json,
}

/// Columns of the CSV; `preimage` follows if it was asked for.
const COLUMNS: [&str; 14] = [
    "type",
    "state",
    "account",
    "connection",
    "payment_hash",
    "amount_msat",
    "fees_paid_msat",
    "created_at",
    "settled_at",
    "expires_at",
    "description",
    "failure",
    "invoice",
    "metadata",
];

/// Writes the export.
pub(super) async fn run(
    args: ExportArgs,
    client: &mut AdminConnection,
    out: &mut (dyn Write + Send),
) -> Result<(), CommandError> {
    let wish = ExportRequest { account: args.account.unwrap_or_default(), with_preimages: args.with_preimages };
    let mut rows = client.export(wish).await?.into_inner();
    // Asked for first: what cannot be exported leaves no file behind.
    let first = rows.message().await?;
    let mut file = args.out.as_deref().map(create).transpose()?;
    let mut next = first;
    let written = async {
        let mut sink = Sink { format: args.format, with_preimages: args.with_preimages, count: 0 };
        let to: &mut (dyn Write + Send) = if let Some((_, file)) = &mut file { file } else { &mut *out };
        sink.begin(to)?;
        while let Some(row) = next.take() {
            sink.row(to, &row)?;
            next = rows.message().await?;
        }
        sink.end(to)?;
        to.flush()?;
        Ok::<u64, CommandError>(sink.count)
    }
    .await;
    let Some((path, file)) = file else { return written.map(drop) };
    let kept = written.and_then(|count| {
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        Ok(count)
    });
    match kept {
        Ok(count) => Ok(writeln!(out, "{count} transactions written to {}", path.display())?),
        Err(error) => {
            // Half an export must not pass for a whole one.
            let _ = std::fs::remove_file(&path);
            Err(error)
        }
    }
}

fn create(path: &Path) -> Result<(PathBuf, BufWriter<File>), CommandError> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match made {
        Ok(file) => Ok((path.to_owned(), BufWriter::new(file))),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(CommandError::Failed(format!("{} is there already and is not overwritten; choose another name", path.display())))
        }
        Err(error) => Err(CommandError::Failed(format!("cannot make {}: {error}", path.display()))),
    }
}

/// Writes rows in one format.
struct Sink {
    format: Format,
    with_preimages: bool,
    count: u64,
}

impl Sink {
    fn begin(&self, out: &mut (dyn Write + Send)) -> io::Result<()> {
        match self.format {
            Format::Csv if self.with_preimages => writeln!(out, "{},preimage\r", COLUMNS.join(",")),
            Format::Csv => writeln!(out, "{}\r", COLUMNS.join(",")),
            Format::Json => write!(out, "["),
        }
    }

    fn row(&mut self, out: &mut (dyn Write + Send), row: &ExportedTransaction) -> Result<(), CommandError> {
        match self.format {
            Format::Csv => writeln!(out, "{}\r", csv(row, self.with_preimages))?,
            Format::Json => {
                let json = json(row, self.with_preimages).map_err(|error| CommandError::Failed(error.to_string()))?;
                write!(out, "{}\n{json}", if self.count == 0 { "" } else { "," })?;
            }
        }
        self.count += 1;
        Ok(())
    }

    fn end(&self, out: &mut (dyn Write + Send)) -> io::Result<()> {
        match self.format {
            Format::Csv => Ok(()),
            Format::Json => writeln!(out, "{}]", if self.count == 0 { "" } else { "\n" }),
        }
    }
}

fn json(row: &ExportedTransaction, with_preimages: bool) -> serde_json::Result<String> {
    let mut value = serde_json::to_value(row)?;
    if let Some(fields) = value.as_object_mut().filter(|_| !with_preimages) {
        fields.remove("preimage");
    }
    serde_json::to_string(&value)
}

fn csv(row: &ExportedTransaction, with_preimages: bool) -> String {
    let date = |at_s: Option<u64>| at_s.map_or_else(String::new, |at_s| table::date(at_s).replace(' ', "T") + "Z");
    let mut cells = vec![
        row.r#type.clone(),
        row.state.clone(),
        text(&row.account),
        text(&row.connection),
        row.payment_hash.clone(),
        row.amount_msat.to_string(),
        row.fees_paid_msat.to_string(),
        date(Some(row.created_at_s)),
        date(row.settled_at_s),
        date(row.expires_at_s),
        text(&row.description),
        text(&row.failure),
        row.invoice.clone(),
        text(&row.metadata),
    ];
    if with_preimages {
        cells.push(row.preimage.clone().unwrap_or_default());
    }
    cells.join(",")
}

/// A cell that somebody else may have written: quoted (RFC 4180), and never a formula for the program that opens the file.
fn text(cell: &str) -> String {
    if cell.is_empty() {
        return String::new();
    }
    let guard = if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    format!("\"{guard}{}\"", cell.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> ExportedTransaction {
        ExportedTransaction {
            r#type: "incoming".to_owned(),
            state: "settled".to_owned(),
            account: "main".to_owned(),
            description: "=HYPERLINK(\"x\"), two\nlines".to_owned(),
            amount_msat: 21_000,
            created_at_s: 1_788_264_000,
            preimage: Some("ab".repeat(32)),
            ..ExportedTransaction::default()
        }
    }

    #[test]
    fn what_others_wrote_stays_one_cell_and_is_no_formula() {
        let line = csv(&row(), false);
        assert_eq!(line, "incoming,settled,\"main\",,,21000,0,2026-09-01T12:00:00Z,,,\"'=HYPERLINK(\"\"x\"\"), two\nlines\",,,");
        assert!(csv(&row(), true).ends_with(&format!(",{}", "ab".repeat(32))));
    }

    #[test]
    fn both_formats_are_whole_with_and_without_rows() {
        for (format, count, expected_start) in
            [(Format::Csv, 0, "type,state,"), (Format::Json, 0, "[]\n"), (Format::Json, 2, "[\n{")]
        {
            let mut sink = Sink { format, with_preimages: false, count: 0 };
            let mut out = Vec::new();
            sink.begin(&mut out).unwrap();
            for _ in 0..count {
                sink.row(&mut out, &row()).unwrap();
            }
            sink.end(&mut out).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert!(text.starts_with(expected_start) && !text.contains("preimage"), "{text}");
            if format == Format::Json {
                assert_eq!(serde_json::from_str::<Vec<serde_json::Value>>(&text).unwrap().len(), count);
            }
        }
    }
}
