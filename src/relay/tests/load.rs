//! Many: REQ storms leave nothing behind.

use super::support::{House, key_hex};
use crate::live::{Outbox, Subscription};
use crate::relay::Session;

#[test]
fn a_storm_of_replacements_leaves_nothing_behind() {
    let house = House::new();
    let mut clients: Vec<_> = (0..4).map(|_| house.client()).collect();
    let filters = [
        r#"{"kinds":[1],"limit":0}"#.to_owned(),
        format!(r#"{{"authors":["{}","{}"],"limit":0}}"#, key_hex(1), key_hex(2)),
        r##"{"#t":["a","b","c"],"limit":0},{"kinds":[7],"limit":0}"##.to_owned(),
        r#"{"limit":0}"#.to_owned(),
    ];
    for round in 0..20_000_usize {
        let at = round % clients.len();
        let client = &mut clients[at];
        client.session.on_text(&format!(r#"["REQ","s{}",{}]"#, round % 7, filters[(round / 3) % filters.len()]));
        if round % 5 == 0 {
            client.session.on_text(&format!(r#"["CLOSE","s{}"]"#, round % 7));
        }
        if round % 50 == 0 {
            client.frames();
        }
    }
    assert!(house.live.subscriptions() <= 28);
    assert!(house.live.index_size().1 <= 28 * 4);
    clients.iter_mut().for_each(|client| drop(client.frames()));
    assert_eq!(house.total.used(), 0);
    drop(clients);
    assert_eq!((house.live.subscriptions(), house.live.index_size()), (0, (0, 0)));
}

#[test]
fn an_idle_connection_costs_little() {
    let (session, outbox, subscription) = (size_of::<Session>(), size_of::<Outbox>(), size_of::<Subscription>());
    assert!(session + outbox + subscription <= 1_024, "{session} + {outbox} + {subscription} bytes");
}
