//! Keeps the shape of the house (ARCHITECTURE.md): floors, absences and sizes, read off the source text.
//!
//! Every rule is run on the sources, and every rule is shown a snippet that breaks it and one that does not, so that no check
//! is one that cannot fail. Exceptions stand in [`ALLOWED`], each with its reason; one that is no longer needed fails too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub, clippy::disallowed_methods, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};

#[path = "tidy/paths.rs"]
mod paths;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/source.rs"]
mod source;

use rules::{RULES, Rule, check};
use source::Source;

/// Exceptions: rule, path, part of the finding, reason.
const ALLOWED: &[(&str, &str, &str, &str)] = &[
    (
        "globals",
        "src/server/connection.rs",
        "thread_local!",
        "scratch buffers of a worker thread, empty between uses: ten thousand idle connections need no buffers of their own",
    ),
    (
        "globals",
        "src/server/connection/wire.rs",
        "thread_local!",
        "scratch buffers of a thread that sends, empty between uses: ten thousand idle connections need no buffers of their own",
    ),
    (
        "globals",
        "src/live/direct.rs",
        "thread_local!",
        "whom this thread is to send to itself, empty outside of one call: the verdicts it tells come from parts that do not know",
    ),
];

/// Folders and files of the repository whose text is read.
const TEXTS: &[&str] = &[
    "src",
    "tests",
    "benches",
    "proto",
    "scripts",
    "docs",
    ".ci",
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "Makefile",
    "config.toml",
    "Cargo.toml",
    "build.rs",
    "deny.toml",
    "clippy.toml",
    "rustfmt.toml",
];
/// Endings of files that are text of ours.
const ENDINGS: &[&str] = &["rs", "md", "toml", "proto", "sh", "mjs", "js", "json", "html", "css", "run", ""];

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files_under(path: &Path, into: &mut Vec<PathBuf>) {
    if path.is_file() {
        into.push(path.to_owned());
    } else if path.is_dir() && !path.ends_with("node_modules") {
        let mut entries: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        entries.iter().for_each(|entry| files_under(entry, into));
    }
}

fn relative(path: &Path) -> String {
    path.strip_prefix(repository()).unwrap().to_string_lossy().replace('\\', "/")
}

fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    files_under(&repository().join("src"), &mut files);
    let rust = files.iter().filter(|path| path.extension().is_some_and(|ending| ending == "rs"));
    let all: Vec<Source> = rust.map(|path| Source::new(&relative(path), &fs::read_to_string(path).unwrap())).collect();
    let tests: Vec<String> = all.iter().flat_map(|source| test_modules(&source.path, &source.text)).collect();
    let is_test = |path: &str| {
        tests.iter().any(|test| path == test || test.strip_suffix("mod.rs").is_some_and(|folder| path.starts_with(folder)))
    };
    all.into_iter().filter(|source| !is_test(&source.path)).collect()
}

/// Files that a file declares under `#[cfg(test)]`: a part's own tests, to which the rules do not apply.
fn test_modules(path: &str, text: &str) -> Vec<String> {
    let (folder, file) = path.rsplit_once('/').unwrap();
    let below = match file {
        "mod.rs" | "lib.rs" | "main.rs" => folder.to_owned(),
        file => format!("{folder}/{}", file.trim_end_matches(".rs")),
    };
    let mut found = Vec::new();
    let mut lines = text.lines().map(str::trim);
    while lines.by_ref().any(|line| line.starts_with("#[cfg(test)]")) {
        let mut named = None;
        for line in lines.by_ref() {
            if let Some(file) = line.strip_prefix("#[path = \"") {
                named = Some(format!("{folder}/{}", file.trim_end_matches("\"]")));
            } else if !line.starts_with("#[") {
                let declared = line.strip_suffix(';').and_then(|line| line.rsplit_once("mod ")).map(|(_, name)| name);
                match (named, declared) {
                    (Some(file), Some(_)) => found.push(file),
                    (None, Some(name)) => found.extend([format!("{below}/{name}.rs"), format!("{below}/{name}/mod.rs")]),
                    _ => {}
                }
                break;
            }
        }
    }
    found
}

#[test]
fn test_modules_are_found() {
    let text = "mod a;\n#[cfg(test)]\nmod b;\n#[cfg(test)]\n#[path = \"c_tests.rs\"]\nmod tests;\n#[cfg(test)]\nmod d {\n}\n";
    assert_eq!(test_modules("src/x/y.rs", text), ["src/x/y/b.rs", "src/x/y/b/mod.rs", "src/x/c_tests.rs"]);
    assert_eq!(test_modules("src/x/mod.rs", "#[cfg(test)]\npub(crate) mod b;"), ["src/x/b.rs", "src/x/b/mod.rs"]);
}

fn rule(name: &str) -> &'static Rule {
    RULES.iter().find(|rule| rule.name == name).unwrap_or_else(|| panic!("no rule {name}"))
}

#[test]
fn the_sources_keep_every_rule() {
    let sources = sources();
    assert!(sources.len() > 10, "only {} sources found", sources.len());
    let mut used = vec![false; ALLOWED.len()];
    let mut broken = Vec::new();
    for rule in RULES {
        for finding in check(rule, &sources) {
            let exception = ALLOWED
                .iter()
                .position(|(name, path, what, _)| *name == rule.name && finding.path == *path && finding.what.contains(what));
            match exception {
                Some(index) => used[index] = true,
                None => {
                    broken.push(format!("{}:{}: {}: {} ({})", finding.path, finding.line, rule.name, finding.what, rule.reason))
                }
            }
        }
    }
    for ((name, path, what, _), used) in ALLOWED.iter().zip(used) {
        if !used {
            broken.push(format!("{path}: the exception from {name} for `{what}` is no longer needed"));
        }
    }
    assert!(broken.is_empty(), "{} findings:\n{}", broken.len(), broken.join("\n"));
}

#[test]
fn no_text_names_a_machine() {
    let mut files = Vec::new();
    for place in TEXTS {
        files_under(&repository().join(place), &mut files);
    }
    let ours = |path: &&PathBuf| ENDINGS.contains(&path.extension().map_or("", |ending| ending.to_str().unwrap()));
    let mut found = Vec::new();
    for path in files.iter().filter(ours) {
        let Ok(text) = fs::read_to_string(path) else { continue };
        found.extend(machine_paths(&text).into_iter().map(|(line, what)| format!("{}:{line}: {what}", relative(path))));
    }
    assert!(found.is_empty(), "paths of a machine, which mean nothing on another:\n{}", found.join("\n"));
}

/// Absolute paths that exist on one machine only.
fn machine_paths(text: &str) -> Vec<(usize, String)> {
    // Written in two parts so that this file does not find itself.
    let places =
        [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/Us", "ers/"), concat!("C:", "\\\\")];
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        // `https://example.org/work/` and `a/root/b` are no absolute paths.
        let absolute = |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "./_-}".contains(c));
        for place in places {
            if line.match_indices(place).any(|(at, _)| absolute(at)) {
                found.push((index + 1, line.trim().chars().take(100).collect()));
            }
        }
    }
    found
}

#[test]
fn machine_paths_are_seen() {
    let path = concat!("/ho", "me/", "someone/x");
    assert_eq!(machine_paths(&format!("a\nopen(\"{path}\")")).len(), 1);
    assert_eq!(machine_paths(&format!("https://example.org{path}")), []);
}

/// For each rule: a path, source that breaks it, and source that does not.
const SNIPPETS: &[(&str, &str, &str, &str)] = &[
    ("floors", "src/store/scan.rs", "use crate::live::Live;", "use crate::kv::Db; // crate::live::Live"),
    ("floors", "src/live/mod.rs", "fn f(x: crate::policy::Limits) {}", "fn f(x: crate::store::Store) {}"),
    ("floors", "src/relay/verbs/req.rs", "use super::super::super::wallet::Wallet;", "use super::super::session::Session;"),
    ("floors", "src/policy/rate.rs", "use crate::{base::hex32, server::Config};", "use crate::{base::hex32, protocol::kind};"),
    ("floors", "src/base/amount.rs", "pub use crate::telemetry::log;", "#[cfg(test)] mod tests { use crate::store::Store; }"),
    ("floors", "src/attic/mod.rs", "fn f() {}", ""),
    ("wallet-floors", "src/wallet/money/ledger.rs", "use super::super::methods::pay;", "use super::super::access::Connection;"),
    (
        "wallet-floors",
        "src/wallet/wire/mod.rs",
        "use crate::wallet::intake::Take;",
        "use crate::wallet::wire::envelope::Envelope;",
    ),
    ("wallet-floors", "src/wallet/access/mod.rs", "use crate::wallet::money::Money;", "use crate::wallet::backend::Backend;"),
    ("crates", "src/store/mod.rs", "use rocksdb::DB;", "/// like rocksdb::DB\nuse crate::kv::Db;"),
    ("crates", "src/relay/session.rs", "fn f(m: tokio_tungstenite::tungstenite::Message) {}", "fn f(m: &str) {}"),
    ("crates", "src/wallet/methods/pay.rs", "use lightning_invoice::Bolt11Invoice;", "use crate::wallet::backend::Invoice;"),
    ("crates", "src/policy/rate.rs", "use tonic::Status;", "use governor::Quota;"),
    ("pure-protocol", "src/protocol/auth.rs", "use std::time::SystemTime;", "fn f(now_s: u64) {}"),
    ("pure-protocol", "src/protocol/auth.rs", "use crate::base::clock::Clock;", "use crate::base::hex32::Hex32;"),
    (
        "pure-protocol",
        "src/protocol/auth.rs",
        "async fn f() { tokio::spawn(async {}); }",
        "#[cfg(test)]\nfn f() { tokio::spawn(); }",
    ),
    ("no-sockets", "src/relay/session.rs", "use tokio::net::TcpStream;", "use std::net::IpAddr;"),
    ("no-sockets", "src/live/mod.rs", "use std::net::TcpStream;", "use tokio::sync::Notify;"),
    ("json", "src/relay/session.rs", "let x = serde_json::to_string(&y);", "let x = relay_message::notice(\"serde_json::x\");"),
    ("panics", "src/kv/mod.rs", "fn f() { x.unwrap(); }", "fn f() { x.unwrap_or_default(); }"),
    ("panics", "src/kv/mod.rs", "fn f() { x\n.expect(\"reason\"); }", "#[expect(dead_code)]\nfn f() { /* x.expect(\"\") */ }"),
    ("panics", "src/kv/mod.rs", "fn f() { panic!(\"x\") }", "#[cfg(test)]\nmod tests { fn f() { panic!(\"x\") } }"),
    (
        "panics",
        "src/kv/mod.rs",
        "fn f() { match x {\n#[cfg(test)]\n1 => g(a, b),\n2 => panic!() } }",
        "struct A {\n#[cfg(test)]\npub(super) b: B,\n}\n#[cfg(test)]\nfn f<A, B>() { panic!() }",
    ),
    ("panics", "src/kv/mod.rs", "#[cfg(test)] use a::b; fn f() { todo!() }", "fn f() { let s = \"todo!()\"; }"),
    ("prints", "src/store/mod.rs", "fn f() { println!(\"x\"); }", "fn f() { tracing::info!(\"x\"); }"),
    ("prints", "src/store/mod.rs", "use std::io; fn f() { io::stdout(); }", "fn f() { let x = r#\"println!()\"#; }"),
    ("globals", "src/live/mod.rs", "static X: Mutex<u8> = Mutex::new(1);", "static X: [u8; 2] = [1, 2];"),
    (
        "globals",
        "src/live/mod.rs",
        "pub static N: std::sync::atomic::AtomicU64 = AtomicU64::new(0);",
        "fn f(x: &'static Mutex<u8>) {}",
    ),
    ("globals", "src/live/mod.rs", "thread_local! { static X: u8 = 1; }", "const X: u8 = 1;"),
    ("first-words", "src/live/mod.rs", "use std::fmt;", "//! Who is listening, and how an event reaches them."),
];

#[test]
fn every_rule_finds_what_breaks_it_and_nothing_else() {
    for (name, path, bad, good) in SNIPPETS {
        let rule = rule(name);
        assert!(!(rule.check)(&Source::new(path, bad)).is_empty(), "{name} does not see: {bad}");
        if !good.is_empty() {
            assert_eq!((rule.check)(&Source::new(path, good)), [], "{name} wrongly refuses: {good}");
        }
    }
    let long = |lines: usize| format!("fn long(a: [u8; 3]) -> fn() {{\n{}}}\nfn other() {{}}\n", "x();\n".repeat(lines));
    assert_eq!((rule("function-length").check)(&Source::new("src/a.rs", &long(69))).len(), 1);
    assert_eq!((rule("function-length").check)(&Source::new("src/a.rs", &long(68))), []);
    let tall = |lines: usize| format!("{}#[cfg(test)]\nmod tests {{\n{}}}", "x();\n".repeat(lines), "y();\n".repeat(900));
    assert_eq!((rule("file-length").check)(&Source::new("src/a.rs", &tall(501))).len(), 1);
    assert_eq!((rule("file-length").check)(&Source::new("src/a.rs", &tall(500))), []);
    for rule in RULES {
        let shown =
            SNIPPETS.iter().any(|(name, ..)| *name == rule.name) || ["function-length", "file-length"].contains(&rule.name);
        assert!(shown, "no snippet breaks {}", rule.name);
    }
}

#[test]
fn literals_comments_and_lifetimes_are_no_code() {
    let text = r####"fn f<'a>(x: &'a str) -> char { /* a /* nested */ b */ let c = '"'; let d = '\''; let e = br##"q"#"##; 'x' } // y"####;
    let words: Vec<_> = source::tokenise(text).into_iter().map(|token| token.text).collect();
    let expected = "fn f < > ( x : & str ) - > char { let c = ' ; let d = ' ; let e = \" ; ' }";
    assert_eq!(words.join(" "), expected);
}

#[test]
fn use_trees_are_resolved_from_the_crate_root() {
    let source = Source::new("src/wallet/money/ledger.rs", "use super::{types::{A, B as C}, super::access::*}; use std::fmt;");
    let paths: Vec<_> = paths::named(&source).into_iter().map(|named| named.segments.join("::")).collect();
    let expected = ["crate::wallet::money::types::A", "crate::wallet::money::types::B", "crate::wallet::access::*", "std::fmt"];
    assert_eq!(paths, expected);
}
