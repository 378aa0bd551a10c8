//! Lightning nodes that pay each other: ldk-node on the chain of this process, with channels that are ready.

use std::net::SocketAddr;
use std::sync::Arc;

use ldk_node::bitcoin::Network;
use ldk_node::config::{AnchorChannelsConfig, Config};
use ldk_node::lightning::ln::msgs::SocketAddress;
use ldk_node::lightning_invoice::{Bolt11InvoiceDescription, Description};
use ldk_node::{Builder, Event};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

use crate::chain::Chain;
use crate::store::MemoryStore;
use crate::support::port::Port;
use crate::support::{PATIENCE, eventually};

/// More events than any test makes.
const EVENTS_MAX: usize = 100_000;
/// Blocks after which a channel may be announced.
const ANNOUNCE_BLOCKS: u32 = 7;
const FUNDING_SAT: u64 = 100_000_000;

/// A node that runs until it is dropped. Its events go to everybody who listens.
pub struct Node {
    pub inner: Arc<ldk_node::Node>,
    pub events: broadcast::Sender<Event>,
    pump: JoinHandle<()>,
    _port: Port,
}

impl Node {
    /// Starts a node; to be called inside a runtime with several threads.
    pub fn start(name: &str, chain: SocketAddr) -> Self {
        let port = Port::reserve();
        let config = Config {
            network: Network::Regtest,
            listening_addresses: Some(vec![SocketAddress::TcpIpV4 { addr: [127, 0, 0, 1], port: port.number() }]),
            anchor_channels_config: Some(AnchorChannelsConfig {
                trusted_peers_no_reserve: Vec::new(),
                per_channel_reserve_sats: 25_000,
            }),
            ..Config::default()
        };
        let mut builder = Builder::from_config(config);
        builder.set_entropy_seed_bytes([name.as_bytes()[0]; 64]);
        builder.set_chain_source_bitcoind_rpc(chain.ip().to_string(), chain.port(), "u".to_owned(), "p".to_owned());
        builder.set_gossip_source_p2p();
        builder.set_node_alias(name.to_owned()).unwrap();
        builder.set_log_facade_logger();
        let inner = Arc::new(builder.build_with_store(Arc::new(MemoryStore::default())).unwrap());
        inner.start().unwrap();
        let (events, _) = broadcast::channel(EVENTS_MAX);
        let (node, to_all) = (Arc::clone(&inner), events.clone());
        let pump = tokio::spawn(async move {
            loop {
                // Nobody may be listening.
                let _ = to_all.send(node.next_event_async().await);
                if node.event_handled().is_err() {
                    break;
                }
            }
        });
        Self { inner, events, pump, _port: port }
    }

    /// 66 hex digits.
    pub fn pubkey(&self) -> String {
        self.inner.node_id().to_string()
    }

    /// What its channels hold on its side, millisatoshi, reserves included.
    pub fn local_msat(&self) -> u64 {
        let reserve = |sat: Option<u64>| sat.unwrap_or(0) * 1_000;
        let channels = self.inner.list_channels();
        channels.iter().map(|one| one.outbound_capacity_msat + reserve(one.unspendable_punishment_reserve)).sum()
    }

    /// An invoice of this node.
    pub fn invoice(&self, amount_msat: Option<u64>, what_for: &str) -> String {
        let payments = self.inner.bolt11_payment();
        let invoice = match amount_msat {
            Some(msat) => payments.receive(msat, &described(what_for), 3_600),
            None => payments.receive_variable_amount(&described(what_for), 3_600),
        };
        invoice.unwrap().to_string()
    }

    /// The first event that `pick` picks, from those that come after `events` was made.
    pub async fn event<T>(events: &mut broadcast::Receiver<Event>, what: &str, mut pick: impl FnMut(&Event) -> Option<T>) -> T {
        let found = async {
            loop {
                if let Some(found) = pick(&events.recv().await.unwrap()) {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
    }

    fn address(&self) -> SocketAddress {
        self.inner.listening_addresses().unwrap()[0].clone()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.pump.abort();
        let _ = self.inner.stop();
    }
}

/// What for.
pub fn described(text: &str) -> Bolt11InvoiceDescription {
    Bolt11InvoiceDescription::Direct(Description::new(text.to_owned()).unwrap())
}

/// Some nodes in a row with an announced channel from each to the next, half of it on either side.
pub struct Row {
    pub nodes: Vec<Node>,
}

impl Row {
    /// Starts nodes of these names, with channels of this size.
    pub async fn start(names: &[&str], channel_sat: u64) -> Self {
        let chain = Chain::new();
        let served_at = chain.serve().await;
        let nodes: Vec<Node> = names.iter().map(|name| Node::start(name, served_at)).collect();
        for node in &nodes {
            for _ in 0..2 {
                chain.fund(&node.inner.onchain_payment().new_address().unwrap(), FUNDING_SAT);
                chain.mine(1);
            }
        }
        nodes.iter().for_each(|node| node.inner.sync_wallets().unwrap());
        for pair in nodes.windows(2) {
            open_channel(&chain, &nodes, &pair[0], &pair[1], channel_sat).await;
        }
        let row = Self { nodes };
        // Neighbours need no map.
        if names.len() > 2 {
            row.everybody_knows_the_way(&chain).await;
        }
        row
    }

    async fn everybody_knows_the_way(&self, chain: &Chain) {
        let channels = self.nodes.len() - 1;
        for node in &self.nodes {
            eventually("every channel in every graph, both ways", async || {
                // A neighbour that saw the last block first announces the channel with the next one.
                chain.mine(1);
                self.nodes.iter().for_each(|node| node.inner.sync_wallets().unwrap());
                let graph = node.inner.network_graph();
                let ids = graph.list_channels();
                let both = |id: &u64| graph.channel(*id).is_some_and(|one| one.one_to_two.is_some() && one.two_to_one.is_some());
                ids.len() == channels && ids.iter().all(both)
            })
            .await;
        }
    }
}

async fn open_channel(chain: &Chain, all: &[Node], from: &Node, to: &Node, sat: u64) {
    let (mut from_events, mut to_events) = (from.events.subscribe(), to.events.subscribe());
    let half_msat = Some(sat * 1_000 / 2);
    from.inner.open_announced_channel(to.inner.node_id(), to.address(), sat, half_msat, None).unwrap();
    let pending = |event: &Event| matches!(event, Event::ChannelPending { .. }).then_some(());
    Node::event(&mut from_events, "a channel that is pending", pending).await;
    eventually("the funding transaction", async || chain.mempool_len() > 0).await;
    chain.mine(ANNOUNCE_BLOCKS);
    all.iter().for_each(|node| node.inner.sync_wallets().unwrap());
    let ready = |event: &Event| matches!(event, Event::ChannelReady { .. }).then_some(());
    Node::event(&mut from_events, "a channel that is ready", ready).await;
    Node::event(&mut to_events, "a channel that is ready", ready).await;
    for node in [from, to] {
        eventually("a usable channel", async || node.inner.list_channels().iter().all(|one| one.is_usable)).await;
    }
}
