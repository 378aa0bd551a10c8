//! The calls of bitcoind's JSON-RPC that Lightning nodes make, over HTTP.

use std::convert::Infallible;
use std::net::SocketAddr;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use ldk_node::bitcoin::consensus::encode::{deserialize_hex, serialize_hex};
use ldk_node::bitcoin::{BlockHash, OutPoint, Transaction, Txid};
use serde_json::{Value, json};

use super::{Chain, State};

type Reply = Result<Value, (i64, String)>;

pub(super) async fn serve(chain: Chain) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            let chain = chain.clone();
            let service = hyper::service::service_fn(move |request| answer(chain.clone(), request));
            tokio::spawn(async move {
                // The node may leave at any time.
                let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

async fn answer(chain: Chain, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let call: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let reply = chain.0.lock().unwrap().call(call["method"].as_str().unwrap_or_default(), &call["params"]);
    let (status, text) = match reply {
        Ok(result) => (200, json!({"result": result, "error": null, "id": call["id"]})),
        Err((code, message)) => (500, json!({"result": null, "error": {"code": code, "message": message}, "id": call["id"]})),
    };
    let response = Response::builder().status(status).header("content-type", "application/json");
    Ok(response.body(Full::new(Bytes::from(text.to_string()))).unwrap())
}

fn not_found() -> (i64, String) {
    (-5, "not found".to_owned())
}

impl State {
    fn call(&mut self, method: &str, params: &Value) -> Reply {
        let text = |at: usize| params[at].as_str().unwrap_or_default();
        match method {
            "getblockchaininfo" => {
                let best = self.blocks.last().unwrap().block_hash().to_string();
                Ok(json!({"chain": "regtest", "bestblockhash": best, "blocks": self.tip(), "headers": self.tip()}))
            }
            "getblockheader" => self.header(text(0)),
            "getblock" => Ok(json!(serialize_hex(&self.blocks[self.height_of(text(0))?]))),
            "getblockhash" => {
                let height = params[0].as_u64().and_then(|height| usize::try_from(height).ok());
                let block = height.and_then(|height| self.blocks.get(height)).ok_or_else(not_found)?;
                Ok(json!(block.block_hash().to_string()))
            }
            "gettxout" => self.unspent(text(0), &params[1]),
            "estimatesmartfee" => Ok(json!({"feerate": 0.00002, "blocks": params[0]})),
            "getmempoolinfo" => Ok(json!({"size": self.mempool.len(), "mempoolminfee": 0.00001})),
            "getrawmempool" => {
                let ids: Vec<String> = self.mempool.iter().map(|entry| entry.tx.compute_txid().to_string()).collect();
                Ok(json!(ids))
            }
            "getmempoolentry" => {
                let entry = self.mempool.iter().find(|entry| entry.tx.compute_txid().to_string() == text(0));
                entry.map(|entry| json!({"time": entry.time, "height": entry.height})).ok_or_else(not_found)
            }
            "getrawtransaction" => {
                let txid: Txid = text(0).parse().map_err(|_| not_found())?;
                let waiting = self.mempool.iter().map(|entry| &entry.tx).find(|tx| tx.compute_txid() == txid);
                waiting.or_else(|| self.txs.get(&txid)).map(|tx| json!(serialize_hex(tx))).ok_or_else(not_found)
            }
            "sendrawtransaction" => {
                let tx: Transaction = deserialize_hex(text(0)).map_err(|_| (-22, "TX decode failed".to_owned()))?;
                self.accept(tx).map(|txid| json!(txid.to_string()))
            }
            _ => Err((-32_601, format!("Method not found: {method}"))),
        }
    }

    fn height_of(&self, hash: &str) -> Result<usize, (i64, String)> {
        let hash: BlockHash = hash.parse().map_err(|_| not_found())?;
        self.by_hash.get(&hash).map(|height| usize::try_from(*height).unwrap()).ok_or_else(not_found)
    }

    fn header(&self, hash: &str) -> Reply {
        let height = self.height_of(hash)?;
        let header = &self.blocks[height].header;
        let mut reply = json!({
            "hash": hash,
            "height": height,
            "confirmations": self.blocks.len() - height,
            "version": header.version.to_consensus(),
            "merkleroot": header.merkle_root.to_string(),
            "time": header.time,
            "nonce": header.nonce,
            "bits": const_hex::encode(header.bits.to_consensus().to_be_bytes()),
            "chainwork": const_hex::encode(self.work[height].to_be_bytes()),
        });
        if height > 0 {
            reply["previousblockhash"] = json!(header.prev_blockhash.to_string());
        }
        Ok(reply)
    }

    fn unspent(&self, txid: &str, vout: &Value) -> Reply {
        let vout = vout.as_u64().and_then(|vout| u32::try_from(vout).ok()).ok_or_else(not_found)?;
        let point = OutPoint::new(txid.parse().map_err(|_| not_found())?, vout);
        let confirmed = self.coins.get(&point).filter(|coin| !coin.is_spent && coin.height <= self.tip());
        Ok(confirmed.map_or(Value::Null, |coin| {
            json!({
                "value": coin.out.value.to_btc(),
                "confirmations": self.tip() - coin.height + 1,
                "scriptPubKey": {"hex": const_hex::encode(coin.out.script_pubkey.as_bytes())},
            })
        }))
    }
}
