//! Connections that apps ask for: by link, by page, granted and declined at the command line; and the owner's ways to make one.

use serde_json::{Value, json};

use crate::support::http::http;
use crate::support::{App, Hearth, Key, clear_of_midnight};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn failure(hearth: &Hearth, arguments: &[&str]) -> (i32, String) {
    let output = hearth.run(arguments);
    (output.status.code().unwrap(), text(&output.stderr))
}

const STATE: &str = "000102030405060708090a0b0c0d0e0f";

/// An app with its own key, once it knows ours.
fn app(key: &Key, wallet: &Value) -> App {
    App { key: key.clone(), wallet: wallet.as_str().unwrap().to_owned(), uri: String::new() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_is_granted_whole_and_the_app_finds_its_answer() {
    clear_of_midnight().await;
    let hearth = Hearth::start();
    let key = Key::random();
    let mut client = hearth.client().await;
    client.subscribe("answer", &[json!({"kinds": [13_194], "#p": [key.hex]})]).await;
    client.until_eose("answer").await;
    let link = format!(
        "nostr+walletauth://{}?relay=wss%3A%2F%2Felsewhere.example&state={STATE}&name=Zap%20App&max_amount=5000\
         &budget_renewal=daily&request_methods=pay_invoice%20get_balance&isolated=true",
        key.hex
    );
    // Nobody is there to say yes, so nothing is granted.
    let (code, said) = failure(&hearth, &["wallet", "authorize", &link]);
    assert!(code == 2 && said.contains("--yes"), "{code} {said}");
    let waiting = hearth.json(&["wallet", "pending"]);
    let asked = &waiting["pending"][0];
    assert_eq!(
        (&asked["name"], &asked["methods"], &asked["budget_msat"], &asked["renewal"], &asked["isolated"]),
        (&json!("Zap App"), &json!(["pay_invoice", "get_balance"]), &json!(5_000), &json!("daily"), &json!(true)),
        "{waiting}"
    );
    assert_eq!(hearth.json(&["wallet", "list"])["connections"], json!([]));

    let granted = hearth.json(&["wallet", "authorize", &link, "--yes"]);
    assert_eq!(
        (&granted["name"], &granted["account"], &granted["listens_elsewhere"]),
        (&json!("Zap App"), &json!("Zap App"), &json!(true))
    );
    assert!(!granted.to_string().contains("secret"), "{granted}");
    let answer = client.live("answer").await;
    assert_eq!((answer.tag("p"), answer.tag("state")), (Some(key.hex.as_str()), Some(STATE)));
    assert_eq!(
        (answer.pubkey.as_str(), answer.content.as_str()),
        (granted["wallet_pubkey"].as_str().unwrap(), "pay_invoice get_balance")
    );
    assert!(!answer.json().contains("notifications"), "nothing that was not asked for: {}", answer.json());

    let shown = hearth.json(&["wallet", "show", "Zap App"]);
    assert_eq!(
        (&shown["budget_msat"], &shown["renewal"], &shown["client_pubkey"]),
        (&json!(5_000), &json!("daily"), &json!(key.hex))
    );
    hearth.fund("Zap App", 100_000);
    let shop = App::connect(&hearth, "shop", &["--account", "shop"]);
    let app = app(&key, &granted["wallet_pubkey"]);
    let cheap = shop.invoice(&mut client, 3_000).await;
    app.call(&mut client, "pay_invoice", json!({"invoice": cheap})).await;
    let dear = shop.invoice(&mut client, 3_000).await;
    assert_eq!(app.refusal(&mut client, "pay_invoice", json!({"invoice": dear})).await, "QUOTA_EXCEEDED");
    assert_eq!(app.refusal(&mut client, "make_invoice", json!({"amount": 1_000})).await, "RESTRICTED");
    assert_eq!(hearth.json(&["wallet", "pending"])["pending"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_granted_is_declined_with_words() {
    let hearth = Hearth::start();
    let key = Key::random();
    let link = |more: &str| format!("https://wallet.example/apps/new?pubkey={}&request_methods=get_info{more}", key.hex);
    for (link, words) in [
        ("lightning:lnbc1".to_owned(), "this is no request for a connection"),
        (link("+levitate"), "\"levitate\", which this wallet does not do"),
        (link("&max_amount=1000&renewal_period=hourly"), "renewal_period must be"),
        (link("&return_to=javascript:alert(1)"), "return_to must be"),
    ] {
        let (code, said) = failure(&hearth, &["wallet", "authorize", &link, "--yes"]);
        assert!(code == 1 && said.contains(words), "{link}: {said}");
    }
    let (code, said) = failure(&hearth, &["wallet", "authorize", &link(""), "--yes"]);
    assert!(code == 1 && said.contains("choose a name with --name"), "{said}");
    let isolated = link("&isolated=true&name=main");
    let (code, said) = failure(&hearth, &["wallet", "authorize", &isolated, "--yes"]);
    assert!(code == 1 && said.contains("an account of its own"), "{said}");
    let budget = link("&max_amount=1000&renewal_period=daily&name=small");
    let (code, said) = failure(&hearth, &["wallet", "authorize", &budget, "--yes", "--renewal", "weekly"]);
    assert!(code == 1 && said.contains("renewed daily"), "{said}");
    hearth.json(&["wallet", "authorize", &budget, "--yes", "--budget-msat", "400", "--max-payment-msat", "300"]);
    let shown = hearth.json(&["wallet", "show", "small"]);
    assert_eq!((&shown["budget_msat"], &shown["payment_max_msat"]), (&json!(400), &json!(300)), "the smaller one counts");
    for id in ["00000000", ""] {
        assert_eq!(failure(&hearth, &["wallet", "approve", id, "--yes"]).0, 1);
        assert_eq!(failure(&hearth, &["wallet", "decline", id]).0, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_asks_the_owner_decides_and_the_browser_goes_on() {
    let hearth = Hearth::start();
    let key = Key::random();
    let path = |name: &str, more: &str| {
        format!("/connections/new?pubkey={}&state={STATE}&name={name}&request_methods=get_info%20get_balance{more}", key.hex)
    };
    let evil = "%3Cimg%20src=x%20onerror=alert(1)%3E";
    let asked = http(hearth.address(), "GET", &path(evil, "&return_to=https%3A%2F%2Fapp.example%2Fdone"), &[]).await;
    assert_eq!(asked.status, 303, "{}", asked.body);
    let page = format!("/connections/{}", asked.headers["location"]);
    let shown = http(hearth.address(), "GET", &page, &[]).await;
    assert_eq!((shown.status, shown.headers["cache-control"].as_str()), (200, "no-store"));
    assert!(shown.headers["content-security-policy"].starts_with("default-src 'none'; style-src 'sha256-"));
    assert!(!shown.body.contains("<img") && shown.body.contains("&lt;img src=x onerror=alert(1)&gt;"), "{}", shown.body);
    assert!(hearth.json(&["wallet", "list"])["connections"].as_array().unwrap().is_empty());

    let waiting = hearth.json(&["wallet", "pending"]);
    let id = waiting["pending"][0]["id"].as_str().unwrap().to_owned();
    assert!(shown.body.contains(&format!("hearth wallet approve {id}")));
    assert!(waiting["pending"][0]["from"].as_str().unwrap().starts_with("127."), "{waiting}");
    let said = text(&hearth.run(&["wallet", "pending"]).stdout);
    assert!(said.contains("<img src=x onerror=alert(1)>") && said.contains("NONE: it may spend all"), "{said}");
    let granted = hearth.json(&["wallet", "approve", &id, "--yes", "--name", "page", "--budget-msat", "9000"]);
    let wallet = granted["wallet_pubkey"].as_str().unwrap();
    let gone = http(hearth.address(), "GET", &page, &[]).await;
    assert_eq!(gone.status, 303);
    let target = &gone.headers["location"];
    assert!(target.starts_with("https://app.example/done?relay=ws%3A%2F%2F127.0.0.1"), "{target}");
    assert!(
        target.ends_with(&format!("&pubkey={wallet}&state={STATE}")) && target == granted["return_to"].as_str().unwrap(),
        "{target}"
    );
    let mut client = hearth.client().await;
    assert_eq!(app(&key, &granted["wallet_pubkey"]).balance(&mut client).await, 0);
    let (code, said) = failure(&hearth, &["wallet", "decline", &id]);
    assert!(code == 1 && said.contains("decided before"), "{said}");

    // One address asks for four at most; the owner declines one.
    for number in 0..4 {
        let answer = http(hearth.address(), "GET", &path(&format!("app{number}"), ""), &[]).await;
        assert_eq!(answer.status, 303, "what was decided counts no more: {}", answer.body);
    }
    assert_eq!(http(hearth.address(), "GET", &path("one-more", ""), &[]).await.status, 429);
    let id = hearth.json(&["wallet", "pending"])["pending"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(hearth.json(&["wallet", "decline", &id])["id"], json!(id));
    for (method, path, status) in [
        ("GET", "/connections/new".to_owned(), 400),
        ("GET", "/apps/00112233445566778899aabbccddeeff".to_owned(), 404),
        ("POST", "/connections/new".to_owned(), 404),
        ("GET", "/connections/".to_owned(), 404),
    ] {
        assert_eq!(http(hearth.address(), method, &path, &[]).await.status, status, "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_owner_makes_connections_of_every_kind() {
    let hearth = Hearth::with_config("[wallet]\nlud16 = \"me@example.com\"\n[rates]\nenabled = false\n");
    let shop = App::connect(&hearth, "till", &["--receive-only", "--account", "till"]);
    assert!(shop.uri.ends_with("&lud16=me%40example.com"), "{}", shop.uri);
    let payer = App::connect(&hearth, "payer", &["--account", "payer", "--time-zone", "Europe/Vienna", "--budget-msat", "90000"]);
    hearth.fund("payer", 50_000);
    hearth.fund("till", 50_000);
    let mut client = hearth.client().await;
    let invoice = shop.invoice(&mut client, 4_000).await;
    payer.call(&mut client, "pay_invoice", json!({"invoice": invoice})).await;
    assert_eq!(shop.balance(&mut client).await, 54_000);
    let other = payer.invoice(&mut client, 1_000).await;
    assert_eq!(shop.refusal(&mut client, "pay_invoice", json!({"invoice": other})).await, "RESTRICTED");
    assert_eq!(hearth.json(&["wallet", "show", "payer"])["time_zone"], "Europe/Vienna");

    let key = Key::random();
    let made = hearth.json(&["wallet", "connect", "own-key", "--client-pubkey", &key.hex]);
    assert!(!made["uri"].as_str().unwrap().contains("secret="), "{made}");
    app(&key, &made["wallet_pubkey"]).balance(&mut client).await;
    let link = "nostrnwc://connect?appname=zap&callback=zapapp%3A%2F%2Fwallet";
    let made = hearth.json(&["wallet", "connect", "phone", "--deep-link", link]);
    let callback = made["callback"].as_str().unwrap();
    assert!(
        callback.starts_with("zapapp://wallet?value=nostr%2Bwalletconnect%3A%2F%2F") && callback.contains("secret%3D"),
        "{callback}"
    );
    for (arguments, code) in [
        (&["wallet", "connect", "a", "--receive-only", "--methods", "get_info"][..], 2),
        (&["wallet", "connect", "a", "--client-pubkey", "npub1x"], 1),
        (&["wallet", "connect", "a", "--deep-link", "https://x"], 1),
        (&["wallet", "connect", "a", "--budget-msat", "1", "--time-zone", "Mars/Olympus"], 1),
    ] {
        let (found, said) = failure(&hearth, arguments);
        assert_eq!(found, code, "{arguments:?}: {said}");
    }
    let broken = Hearth::prepared("[wallet]\nlud16 = \"nobody\"\n");
    let (code, said) = failure(&broken, &["check"]);
    assert!(code == 78 && said.contains("wallet.lud16"), "{said}");
}
