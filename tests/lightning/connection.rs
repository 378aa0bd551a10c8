//! The connection to LND: who is believed, what is said while it is away, and that everything comes back by itself.

use hearth::base::clock::Clock;
use hearth::wallet::backend::lnd::{Config, Lnd};
use hearth::wallet::backend::{Backend, LookupResult, Network, SendResult};

use crate::lnd::{LndServer, write_macaroon};
use crate::rig::{Rig, hash_of, order, row, run};

async fn refused(config: Config, mark: &str, server: &LndServer) -> String {
    let opened = Lnd::open(config, server.file(mark), &Clock::system()).await;
    opened.map(|_| ()).unwrap_err().to_string()
}

#[test]
fn at_the_first_start_the_node_must_be_there_and_be_the_right_one() {
    run(async {
        let row = row().await;
        let (server, other) = (LndServer::start(&row.nodes[0]).await, LndServer::start(&row.nodes[1]).await);
        let config = server.config();

        let other_certificate = Config { cert_file: other.config().cert_file, ..config.clone() };
        let words = refused(other_certificate, "m", &server).await;
        assert!(words.contains("another certificate than the one in wallet.lnd.cert_file"), "{words}");

        write_macaroon(&server.file("wrong.macaroon"), &[2, 2, 1, 9]);
        let words = refused(Config { macaroon_file: server.file("wrong.macaroon"), ..config.clone() }, "m", &server).await;
        assert!(words.contains("refuses the macaroon") && words.contains("lncli bakemacaroon"), "{words}");

        let words = refused(Config { network: Network::Mainnet, ..config.clone() }, "m", &server).await;
        assert!(words.contains("it is on \"regtest\", and wallet.lnd.network says \"mainnet\""), "{words}");

        server.fault(|faults| faults.refuse_all = Some("wallet locked, unlock it to enable full RPC access"));
        let words = refused(config.clone(), "m", &server).await;
        assert!(words.contains("unlock it with: lncli unlock"), "{words}");
        server.fault(|faults| faults.refuse_all = None);

        server.pause().await;
        let words = refused(config.clone(), "m", &server).await;
        assert!(words.contains("cannot be reached") && words.contains("At the first start it must be reachable"), "{words}");
        assert!(!server.file("m").exists(), "nothing was written in the name of a node that was not met");
        server.resume().await;
        let lnd = Lnd::open(config.clone(), server.file("m"), &Clock::system()).await.unwrap();
        assert_eq!(lnd.ready(), Ok(()));
        drop(lnd);

        // A mark that cannot be read is no first contact: what was paid since would be left out.
        let since_s = |text: &str| text.split(' ').nth(2).unwrap().parse::<u64>().unwrap();
        let mark = std::fs::read_to_string(server.file("m")).unwrap();
        assert!(since_s(&mark) > 1_700_000_000, "{mark}");
        std::fs::write(server.file("m"), &mark[..20]).unwrap();
        let words = refused(config.clone(), "m", &server).await;
        assert!(words.contains("cannot be read") && words.contains("put it back from a copy"), "{words}");
        // Moved away beside a wallet that was opened before: invoices of any age count.
        std::fs::remove_file(server.file("m")).unwrap();
        std::fs::write(server.file("CURRENT"), "").unwrap();
        drop(Lnd::open(config, server.file("m"), &Clock::system()).await.unwrap());
        assert_eq!(since_s(&std::fs::read_to_string(server.file("m")).unwrap()), 0);
    });
}

#[test]
fn a_lost_connection_is_said_at_once_and_comes_back_by_itself() {
    run(async {
        let rig = Rig::start().await;
        let paid = rig.near().invoice(Some(3_000), "before");
        assert!(matches!(rig.send(order(&paid, 3_000, 0)).await, SendResult::Settled { .. }));

        rig.server.pause().await;
        let words = rig.refuses("cannot be used now: it cannot be reached").await;
        assert!(words.contains("Nothing was sent"), "{words}");
        assert!(rig.lnd().node_balance().is_some(), "what was seen last is still shown");
        // A payment that slips through before that is noticed was certainly not made.
        let unpaid = rig.near().invoice(Some(4_000), "meanwhile");
        let SendResult::NotGiven(words) = rig.send(order(&unpaid, 4_000, 0)).await else { panic!("not failed") };
        assert!(words.contains("was not asked") && words.ends_with("no money moved"), "{words}");
        assert!(matches!(rig.lookup(hash_of(&paid)).await, LookupResult::Unknown(_)), "no answer is no failure");

        rig.server.resume().await;
        rig.ready().await;
        assert!(matches!(rig.lookup(hash_of(&paid)).await, LookupResult::Settled { .. }));
        assert!(matches!(rig.send(order(&unpaid, 4_000, 0)).await, SendResult::Settled { .. }));
    });
}

#[test]
fn a_node_that_was_met_before_may_be_away_at_the_start() {
    run(async {
        let mut rig = Rig::start().await;
        let pubkey = rig.lnd().info().pubkey;
        rig.close();
        rig.server.pause().await;
        rig.open().await;
        assert_eq!(rig.lnd().info().pubkey, pubkey);
        assert!(rig.lnd().ready().unwrap_err().to_string().contains("Nothing was sent"));
        rig.server.resume().await;
        rig.ready().await;
    });
}

#[test]
fn another_node_at_the_same_place_is_not_used() {
    run(async {
        let rig = Rig::start().await;
        let other = LndServer::start(rig.near()).await;
        let there = other.config();
        let at_other = Config {
            cert_file: there.cert_file,
            macaroon_file: there.macaroon_file,
            address: there.address,
            ..rig.config.clone()
        };
        let lnd = Lnd::open(at_other, rig.mark.clone(), &Clock::system()).await.unwrap();
        let words = lnd.ready().unwrap_err().to_string();
        assert!(words.contains("and this wallet belongs to node"), "{words}");
    });
}

#[test]
fn a_macaroon_that_was_replaced_is_used_without_a_restart() {
    run(async {
        let rig = Rig::start().await;
        rig.server.change_macaroon(&[2, 2, 1, 5]);
        rig.server.cut_connections();
        rig.refuses("refuses the macaroon").await;
        write_macaroon(&rig.config.macaroon_file, &[2, 2, 1, 5]);
        rig.ready().await;
    });
}
