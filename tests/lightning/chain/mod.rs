//! A regtest chain in this process: real blocks and transactions, a faucet, and the few calls of bitcoind that nodes make ([`rpc`]).
//!
//! Proof of work, merkle roots, witness commitments, heights in coinbases, lock times and double spends are real; scripts are not
//! run, because the nodes that spend here are not what is tested.

mod rpc;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use ldk_node::bitcoin;
use ldk_node::bitcoin::absolute::LockTime;
use ldk_node::bitcoin::block::{Block, Header, Version};
use ldk_node::bitcoin::hashes::Hash;
use ldk_node::bitcoin::script::Builder;
use ldk_node::bitcoin::transaction::Version as TxVersion;
use ldk_node::bitcoin::{
    Address, Amount, BlockHash, Network, OutPoint, ScriptBuf, Sequence, Target, Transaction, TxIn, TxOut, Txid, Witness, Work,
};

/// Blocks after which a coinbase can be spent.
const MATURITY: u32 = 100;
/// What the faucet's transactions pay to miners.
const FAUCET_FEE_SAT: u64 = 1_000;

struct Coin {
    out: TxOut,
    height: u32,
    is_spent: bool,
}

struct InMempool {
    tx: Transaction,
    time: u64,
    height: u32,
}

struct State {
    blocks: Vec<Block>,
    work: Vec<Work>,
    by_hash: HashMap<BlockHash, u32>,
    coins: HashMap<OutPoint, Coin>,
    txs: HashMap<Txid, Transaction>,
    mempool: Vec<InMempool>,
    mempool_spends: HashMap<OutPoint, Txid>,
    faucet: Vec<OutPoint>,
}

/// The chain; clones are the same one.
#[derive(Clone)]
pub struct Chain(Arc<Mutex<State>>);

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// OP_TRUE, to be wrapped in P2WSH: the faucet needs no key.
fn anyone_can_spend() -> ScriptBuf {
    Builder::new().push_int(1).into_script()
}

impl Chain {
    /// A chain with one coinbase that can be spent.
    pub fn new() -> Self {
        let genesis = bitcoin::blockdata::constants::genesis_block(Network::Regtest);
        let mut state = State {
            work: vec![genesis.header.work()],
            by_hash: HashMap::from([(genesis.block_hash(), 0)]),
            blocks: vec![genesis],
            coins: HashMap::new(),
            txs: HashMap::new(),
            mempool: Vec::new(),
            mempool_spends: HashMap::new(),
            faucet: Vec::new(),
        };
        (0..=MATURITY).for_each(|_| state.mine_one());
        Self(Arc::new(Mutex::new(state)))
    }

    /// Mines what is in the mempool, and empty blocks after it.
    pub fn mine(&self, blocks: u32) {
        let mut state = self.0.lock().unwrap();
        (0..blocks).for_each(|_| state.mine_one());
    }

    /// Transactions that wait for a block.
    pub fn mempool_len(&self) -> usize {
        self.0.lock().unwrap().mempool.len()
    }

    /// Sends from the faucet, into the mempool.
    pub fn fund(&self, address: &Address, sat: u64) {
        let mut state = self.0.lock().unwrap();
        let tip = state.tip();
        let usable = |coin: &Coin| coin.height + MATURITY <= tip + 1 && coin.out.value.to_sat() > sat + FAUCET_FEE_SAT;
        let at = state.faucet.iter().position(|point| usable(&state.coins[point])).expect("a mature coin: mine more blocks");
        let point = state.faucet.remove(at);
        let left = state.coins[&point].out.value.to_sat() - sat - FAUCET_FEE_SAT;
        let script = anyone_can_spend();
        let tx = Transaction {
            version: TxVersion::TWO,
            lock_time: LockTime::ZERO,
            input: vec![TxIn {
                previous_output: point,
                script_sig: ScriptBuf::new(),
                sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
                witness: Witness::from_slice(&[script.as_bytes()]),
            }],
            output: vec![
                TxOut { value: Amount::from_sat(sat), script_pubkey: address.script_pubkey() },
                TxOut { value: Amount::from_sat(left), script_pubkey: script.to_p2wsh() },
            ],
        };
        state.accept(tx).expect("the faucet's transaction is valid");
    }

    /// Serves bitcoind's interface on any free port.
    pub async fn serve(&self) -> SocketAddr {
        rpc::serve(self.clone()).await
    }
}

impl State {
    fn tip(&self) -> u32 {
        u32::try_from(self.blocks.len()).unwrap() - 1
    }

    fn median_time_past(&self) -> u32 {
        let mut times: Vec<u32> = self.blocks.iter().rev().take(11).map(|block| block.header.time).collect();
        times.sort_unstable();
        times[times.len() / 2]
    }

    fn mine_one(&mut self) {
        let height = self.tip() + 1;
        let txs: Vec<Transaction> = self.mempool.drain(..).map(|entry| entry.tx).collect();
        self.mempool_spends.clear();
        let fees: u64 = txs.iter().map(|tx| self.sum_in(tx) - sum_out(tx)).sum();
        let block = self.make_block(height, txs, fees);
        self.connect(block, height);
    }

    fn make_block(&self, height: u32, txs: Vec<Transaction>, fees: u64) -> Block {
        let subsidy = 5_000_000_000_u64 >> (height / 150).min(63);
        let reward = TxOut { value: Amount::from_sat(subsidy + fees), script_pubkey: anyone_can_spend().to_p2wsh() };
        let coinbase = Transaction {
            version: TxVersion::TWO,
            lock_time: LockTime::ZERO,
            input: vec![TxIn {
                previous_output: OutPoint::null(),
                script_sig: Builder::new().push_int(height.into()).push_int(0).into_script(),
                sequence: Sequence::MAX,
                witness: Witness::from_slice(&[[0_u8; 32]]),
            }],
            output: vec![reward],
        };
        let target = Target::MAX_ATTAINABLE_REGTEST;
        let header = Header {
            version: Version::from_consensus(0x2000_0000),
            prev_blockhash: self.blocks.last().unwrap().block_hash(),
            merkle_root: bitcoin::TxMerkleNode::all_zeros(),
            time: u32::try_from(now()).unwrap().max(self.median_time_past() + 1),
            bits: target.to_compact_lossy(),
            nonce: 0,
        };
        let mut block = Block { header, txdata: std::iter::once(coinbase).chain(txs).collect() };
        let commitment = Block::compute_witness_commitment(&block.witness_root().unwrap(), &[0; 32]);
        let mut data = [0_u8; 36];
        data[..4].copy_from_slice(&[0xaa, 0x21, 0xa9, 0xed]);
        data[4..].copy_from_slice(commitment.as_byte_array());
        let output = TxOut { value: Amount::ZERO, script_pubkey: ScriptBuf::new_op_return(data) };
        block.txdata[0].output.push(output);
        block.header.merkle_root = block.compute_merkle_root().unwrap();
        while block.header.validate_pow(target).is_err() {
            block.header.nonce += 1;
        }
        block
    }

    fn connect(&mut self, block: Block, height: u32) {
        let faucet = anyone_can_spend().to_p2wsh();
        for (at, tx) in block.txdata.iter().enumerate() {
            let txid = tx.compute_txid();
            for (vout, out) in (0..).zip(&tx.output) {
                let point = OutPoint::new(txid, vout);
                if out.script_pubkey == faucet && !self.faucet.contains(&point) {
                    self.faucet.push(point);
                }
                self.coins.insert(point, Coin { out: out.clone(), height, is_spent: false });
            }
            if at > 0 {
                for input in &tx.input {
                    self.coins.get_mut(&input.previous_output).unwrap().is_spent = true;
                }
            }
            self.txs.insert(txid, tx.clone());
        }
        self.by_hash.insert(block.block_hash(), height);
        self.work.push(*self.work.last().unwrap() + block.header.work());
        self.blocks.push(block);
    }

    fn sum_in(&self, tx: &Transaction) -> u64 {
        tx.input.iter().map(|input| self.coins[&input.previous_output].out.value.to_sat()).sum()
    }

    /// Takes a transaction into the mempool; the error is bitcoind's.
    fn accept(&mut self, tx: Transaction) -> Result<Txid, (i64, String)> {
        let txid = tx.compute_txid();
        let bad = |code: i64, words: &str| Err((code, format!("{words} ({txid})")));
        if self.mempool_spends.values().any(|other| *other == txid) {
            return Ok(txid);
        }
        if self.txs.contains_key(&txid) {
            return bad(-27, "Transaction already in block chain");
        }
        let height = bitcoin::absolute::Height::from_consensus(self.tip()).unwrap();
        let time = bitcoin::absolute::Time::from_consensus(self.median_time_past()).unwrap();
        if !tx.is_absolute_timelock_satisfied(height, time) {
            return bad(-26, "non-final");
        }
        let mut replaced = HashSet::new();
        for input in &tx.input {
            let Some(coin) = self.coins.get(&input.previous_output).filter(|coin| !coin.is_spent) else {
                return bad(-25, "bad-txns-inputs-missingorspent");
            };
            replaced.extend(self.mempool_spends.get(&input.previous_output).copied());
            if let Some(bitcoin::relative::LockTime::Blocks(blocks)) = input.sequence.to_relative_lock_time()
                && blocks.value() > 0
                && coin.height + u32::from(blocks.value()) > self.tip() + 1
            {
                return bad(-26, "non-BIP68-final");
            }
        }
        if sum_out(&tx) > self.sum_in(&tx) {
            return bad(-26, "bad-txns-in-belowout");
        }
        self.mempool.retain(|entry| !replaced.contains(&entry.tx.compute_txid()));
        self.mempool_spends.retain(|_, spender| !replaced.contains(spender));
        self.mempool_spends.extend(tx.input.iter().map(|input| (input.previous_output, txid)));
        // Outputs of unconfirmed transactions can be spent, so they are coins at once.
        let next = self.tip() + 1;
        for (vout, out) in (0..).zip(&tx.output) {
            let coin = || Coin { out: out.clone(), height: next, is_spent: false };
            self.coins.entry(OutPoint::new(txid, vout)).or_insert_with(coin);
        }
        self.mempool.push(InMempool { tx, time: now(), height: self.tip() });
        Ok(txid)
    }
}

fn sum_out(tx: &Transaction) -> u64 {
    tx.output.iter().map(|output| output.value.to_sat()).sum()
}
