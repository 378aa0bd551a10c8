//! The neighbours of an example wallet: another node, whose invoices only the wallet behind hearth can pay.

use std::path::Path;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::error::{ANSWER_TIMEOUT, ClientError};

/// Invoices that are asked for before the answers are read: few enough for the buffers of the socket.
const BATCH: usize = 64;

/// New invoices of a neighbour that takes every payment at once.
pub(super) async fn invoices(socket: &Path, count: usize, amount_msat: u64) -> Result<Vec<String>, ClientError> {
    let failed = |error: std::io::Error| ClientError::Wallet(format!("{}: {error}", socket.display()));
    let (read, mut write) = UnixStream::connect(socket).await.map_err(failed)?.into_split();
    let mut answers = BufReader::new(read).lines();
    let ask = format!("{}\n", json!({"do": "invoice", "amount_msat": amount_msat, "then": "settle"}));
    let mut made = Vec::with_capacity(count);
    while made.len() < count {
        let batch = BATCH.min(count - made.len());
        write.write_all(ask.repeat(batch).as_bytes()).await.map_err(failed)?;
        for _ in 0..batch {
            let line = tokio::time::timeout(ANSWER_TIMEOUT, answers.next_line()).await.map_err(|_| ClientError::Silent)?;
            let line = line.map_err(failed)?.unwrap_or_default();
            let said: Value = serde_json::from_str(&line).unwrap_or_default();
            let invoice = said["invoice"].as_str().map(str::to_owned);
            made.push(invoice.ok_or_else(|| ClientError::Wallet(format!("the neighbours said {line}")))?);
        }
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn as_many_invoices_as_asked_for_or_the_words_of_the_refusal() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("neighbours.sock");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        tokio::spawn(async move {
            let mut made = 0;
            while let Ok((mut socket, _)) = listener.accept().await {
                let (read, mut write) = socket.split();
                let mut lines = BufReader::new(read).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    let ask: Value = serde_json::from_str(&line).unwrap();
                    assert_eq!((&ask["do"], &ask["then"]), (&json!("invoice"), &json!("settle")));
                    made += 1;
                    let said = match ask["amount_msat"].as_u64() {
                        Some(0) => json!({"error": "no amount"}),
                        amount => json!({"invoice": format!("lnbcrt{made}of{}", amount.unwrap())}),
                    };
                    write.write_all(format!("{said}\n").as_bytes()).await.unwrap();
                }
            }
        });
        let made = invoices(&path, 150, 7).await.unwrap();
        assert_eq!((made.len(), made[0].as_str(), made[149].as_str()), (150, "lnbcrt1of7", "lnbcrt150of7"));
        let error = invoices(&path, 1, 0).await.unwrap_err();
        assert!(error.to_string().contains("no amount"), "{error}");
        let error = invoices(&dir.path().join("nobody"), 1, 1).await.unwrap_err();
        assert!(error.to_string().contains("nobody"), "{error}");
    }
}
