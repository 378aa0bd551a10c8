//! The owner's commands about money and history: moves, exports, logs, health.

use serde_json::{Value, json};

use crate::support::hearth::mode;
use crate::support::{App, Hearth, eventually};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn failure(hearth: &Hearth, arguments: &[&str]) -> (i32, String) {
    let output = hearth.run(arguments);
    (output.status.code().unwrap(), text(&output.stderr))
}

fn balance(hearth: &Hearth, name: &str) -> u64 {
    let accounts = hearth.json(&["wallet", "accounts"]);
    let named = accounts["accounts"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap().clone();
    named["balance_msat"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_moves_between_accounts_and_nowhere_else() {
    let mut hearth = Hearth::start();
    App::connect(&hearth, "phone", &["--account", "alice"]);
    App::connect(&hearth, "shop", &["--account", "bob"]);
    hearth.fund("alice", 50_000);
    let moved = hearth.json(&["wallet", "move", "alice", "bob", "20000"]);
    assert_eq!((&moved["from"]["balance_msat"], &moved["to"]["balance_msat"]), (&json!(30_000), &json!(20_000)), "{moved}");
    for (arguments, code, words) in [
        (&["wallet", "move", "alice", "bob", "30001"][..], 1, "30000 msat to spend, 30001 msat are needed"),
        (&["wallet", "move", "alice", "carol", "1"], 1, "no account named \"carol\""),
        (&["wallet", "move", "alice", "alice", "1"], 1, "nothing to move"),
        (&["wallet", "move", "alice", "bob", "0"], 2, "above zero"),
        (&["wallet", "move", "alice", "bob", "-1"], 2, ""),
        (&["wallet", "move", "alice", "bob"], 2, "AMOUNT_MSAT"),
    ] {
        let (found, said) = failure(&hearth, arguments);
        assert_eq!(found, code, "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
    hearth.kill();
    hearth.launch();
    assert_eq!((balance(&hearth, "alice"), balance(&hearth, "bob")), (30_000, 20_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_is_whole_private_and_without_proofs() {
    let hearth = Hearth::start();
    let app = App::connect(&hearth, "phone", &["--account", "alice"]);
    let shop = App::connect(&hearth, "shop", &["--account", "bob"]);
    hearth.fund("alice", 500_000);
    let mut client = hearth.client().await;
    let evil = "=1+1, \"quoted\"\nsecond line";
    let made = shop.call(&mut client, "make_invoice", json!({"amount": 2_000, "description": evil})).await;
    let paid = app.call(&mut client, "pay_invoice", json!({"invoice": made["invoice"]})).await;
    let preimage = paid["preimage"].as_str().unwrap();
    shop.invoice(&mut client, 7_000).await;

    let csv = text(&hearth.run(&["wallet", "export"]).stdout);
    let lines: Vec<&str> = csv.split("\r\n").collect();
    assert!(lines[0].starts_with("type,state,account,connection,payment_hash,amount_msat,"), "{csv}");
    assert_eq!(lines.len(), 1 + 3 + 1, "the payment on both sides, an open invoice, and the end: {csv}");
    assert!(csv.contains("\"'=1+1, \"\"quoted\"\"\nsecond line\""), "{csv}");
    assert!(!csv.contains(preimage) && !csv.contains("preimage"), "{csv}");
    for key in [&app.wallet, &app.key.hex] {
        assert!(!csv.contains(key), "no trace of wallet events: {key}");
    }
    // As a field of its own: the digits of a hash or a time may be these by chance.
    let fields: Vec<&str> = csv.split([',', '\r', '\n', '"']).collect();
    for kind in ["13194", "23194", "23195"] {
        assert!(!fields.contains(&kind), "no trace of wallet events: {kind}");
    }

    let file = hearth.data().with_file_name("out.json");
    let path = file.to_str().unwrap();
    let arguments = ["wallet", "export", "--account", "alice", "--format", "json", "--with-preimages", "--out", path];
    let output = hearth.run(&arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), format!("1 transactions written to {path}\n"));
    assert_eq!(mode(&file), 0o600);
    let rows: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(
        (&rows[0]["type"], &rows[0]["amount_msat"], &rows[0]["preimage"]),
        (&json!("outgoing"), &json!(2_000), &json!(preimage))
    );
    let (code, said) = failure(&hearth, &arguments);
    assert!(code == 1 && said.contains("is not overwritten"), "{said}");

    let missing = hearth.data().with_file_name("none.csv");
    let (code, said) = failure(&hearth, &["wallet", "export", "--account", "carol", "--out", missing.to_str().unwrap()]);
    assert!(code == 1 && said.contains("no account named \"carol\"") && !missing.exists(), "{said}");
    assert_eq!(text(&hearth.run(&["wallet", "export", "--account", "main", "--format", "json"]).stdout), "[]\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_says_what_was_asked_and_when_it_arrived_after_a_restart_too() {
    let mut hearth = Hearth::start();
    let app = App::connect(&hearth, "phone", &["--account", "alice", "--budget-msat", "5000"]);
    let shop = App::connect(&hearth, "shop", &["--account", "bob"]);
    hearth.fund("alice", 100_000);
    assert_eq!(hearth.json(&["wallet", "show", "phone"])["last_seen_at_s"], Value::Null);
    let mut client = hearth.client().await;
    let invoice = shop.invoice(&mut client, 3_000).await;
    let paid = app.call(&mut client, "pay_invoice", json!({"invoice": invoice})).await;
    let dear = shop.invoice(&mut client, 9_000).await;
    app.refusal(&mut client, "pay_invoice", json!({"invoice": dear})).await;
    app.call(&mut client, "get_balance", json!({})).await;
    // Asked and never fetched: it waits.
    let lonely = app.request("get_info", &json!({}));
    assert!(client.publish(&lonely).await.accepted);

    // That an answer arrived is noted when it has, and news are made beside.
    eventually("the balance is delivered and the news wait", async || {
        hearth.json(&["wallet", "log", "phone"])["entries"][1]["delivered_at_ms"].is_u64()
            && hearth.json(&["wallet", "show", "phone"])["answers_waiting"] == 2
    })
    .await;
    let check = |hearth: &Hearth| {
        let log = hearth.json(&["wallet", "log", "phone"]);
        let entries = log["entries"].as_array().unwrap().clone();
        let seen: Vec<_> = entries.iter().map(|one| (one["method"].as_str().unwrap(), one["result"].as_str().unwrap())).collect();
        let expected = [("get_info", "ok"), ("get_balance", "ok"), ("pay_invoice", "QUOTA_EXCEEDED"), ("pay_invoice", "ok")];
        assert_eq!(seen, expected, "{log}");
        assert_eq!((&entries[3]["amount_msat"], &entries[0]["request"]), (&json!(3_000), &json!(lonely.id)));
        assert!(
            entries[0]["delivered_at_ms"].is_null() && entries[1..].iter().all(|one| one["delivered_at_ms"].is_u64()),
            "{log}"
        );
        assert!(!log.to_string().contains(paid["preimage"].as_str().unwrap()));
        let made = hearth.json(&["wallet", "log", "shop", "--limit", "1"]);
        assert_eq!(made["entries"][0]["amount_msat"], json!(9_000), "{made}");
        let shown = hearth.json(&["wallet", "show", "phone"]);
        assert!(shown["last_seen_at_s"].is_u64() && shown["last_delivered_at_ms"].is_u64(), "{shown}");
        assert_eq!(shown["recent"].as_array().unwrap().len(), 4);
        shown
    };
    // The answer that nobody fetched, and the news of the payment that nobody listened for.
    assert_eq!(check(&hearth)["answers_waiting"], json!(2));
    assert!(hearth.terminate().success());
    let audit = hearth.data().join("audit");
    assert_eq!(mode(&audit), 0o700);
    for file in std::fs::read_dir(&audit).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600);
        assert!(!std::fs::read_to_string(&path).unwrap().contains(paid["preimage"].as_str().unwrap()));
    }
    hearth.launch();
    check(&hearth);
    for arguments in [&["wallet", "log", "phone"][..], &["wallet", "show", "phone"]] {
        let said = text(&hearth.run(arguments).stdout);
        assert!(said.contains("QUOTA_EXCEEDED") && said.contains("waits"), "{said}");
    }
    // What waited is fetched later, and the log says so.
    let mut client = hearth.client().await;
    app.call(&mut client, "get_balance", json!({})).await;
    eventually("the new request is logged", async || {
        hearth.json(&["wallet", "log", "phone"])["entries"][0]["method"] == "get_balance"
    })
    .await;
    assert_eq!(failure(&hearth, &["wallet", "log", "nobody"]).0, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_told_and_there_is_nothing_to_mend() {
    let hearth = Hearth::start();
    App::connect(&hearth, "phone", &[]);
    let state = hearth.json(&["wallet", "status"]);
    assert_eq!((&state["safe_mode"], &state["alarms"], &state["suspended"]), (&json!(""), &json!([]), &json!([])), "{state}");
    assert_eq!((&state["backend"]["network"], &state["backend"]["outside"]), (&json!("regtest"), &json!(false)));
    let said = text(&hearth.run(&["wallet", "status"]).stdout);
    assert!(said.contains("safe mode           no") && said.contains("settles inside this hearth only"), "{said}");
    let (code, said) = failure(&hearth, &["wallet", "resume", "phone"]);
    assert!(code == 1 && said.contains("is not suspended"), "{said}");
    let (code, said) = failure(&hearth, &["wallet", "reconcile", "--yes"]);
    assert!(code == 1 && said.contains("not in safe mode"), "{said}");
    let none = Hearth::prepared("");
    for command in [
        &["wallet", "move", "a", "b", "1"][..],
        &["wallet", "export"],
        &["wallet", "log", "a"],
        &["wallet", "status"],
        &["wallet", "resume", "a"],
        &["wallet", "reconcile"],
    ] {
        assert_eq!(failure(&none, command).0, 3, "{command:?}");
    }
}
