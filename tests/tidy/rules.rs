//! The rules: what each room of the house must not know, and how long things may grow. Each has its reason.

use super::paths::named;
use super::source::Source;

/// Something that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    pub rule: &'static str,
    pub path: String,
    pub line: usize,
    pub what: String,
}

/// A rule, the reason for it, and how it looks at one file.
pub struct Rule {
    pub name: &'static str,
    pub reason: &'static str,
    pub check: fn(&Source) -> Vec<(usize, String)>,
}

pub const RULES: &[Rule] = &[
    Rule {
        name: "floors",
        reason: "a part imports only what lies below it, so that it can be understood and tested alone",
        check: floors,
    },
    Rule {
        name: "wallet-floors",
        reason: "inside the wallet, terms < wire and backend < access < money < methods < root",
        check: wallet_floors,
    },
    Rule { name: "crates", reason: "one part knows each outside library, so that it can be replaced there", check: crates },
    Rule {
        name: "pure-protocol",
        reason: "the wire format has no runtime, no disk and no clock, so that it is the same everywhere",
        check: pure_protocol,
    },
    Rule {
        name: "no-sockets",
        reason: "only the server and the way to a node touch sockets; a session is a state machine that tests drive",
        check: no_sockets,
    },
    Rule { name: "json", reason: "protocol alone writes JSON for a client, so that escaping is right in one place", check: json },
    Rule { name: "panics", reason: "operating errors are values; a panic in a task loses a client's answer", check: panics },
    Rule { name: "prints", reason: "only the command line prints; everything else logs or returns", check: prints },
    Rule { name: "globals", reason: "there is no global state, so that two of anything can live in one test", check: globals },
    Rule { name: "function-length", reason: "a function of 70 lines is long", check: function_length },
    Rule { name: "file-length", reason: "a file has one duty", check: file_length },
    Rule { name: "first-words", reason: "the first lines of a file say what it is for", check: first_words },
];

/// Most lines of one function.
const FUNCTION_LINES: usize = 70;
/// Most lines of one file before its tests.
const FILE_LINES: usize = 500;

/// The floors from the ground up; those on one floor do not name each other.
const FLOORS: &[&[&str]] = &[
    &["base", "telemetry"],
    &["protocol", "kv", "pb"],
    &["store"],
    &["live", "policy"],
    &["relay", "wallet", "cluster"],
    &["server"],
    &["config"],
    &["app", "bench"],
    &["cli"],
];

/// Floors inside the wallet (`terms` are the words that all of them use); files directly under `wallet/` are its root.
const WALLET_FLOORS: &[&[&str]] = &[&["terms"], &["wire", "backend"], &["access"], &["money"], &["methods"]];

/// Outside crates and who may name them. (`bench` is a client of a running hearth: a command of its own, with its own sockets.)
const CRATES: &[(&[&str], &[&str])] = &[
    (&["rocksdb"], &["src/kv/"]),
    (&["hyper", "http_body_util", "tungstenite", "tokio_tungstenite"], &["src/server/", "src/bench/"]),
    (&["hyper_util"], &["src/server/", "src/bench/", "src/wallet/backend/"]),
    (&["rustls", "tokio_rustls"], &["src/wallet/backend/", "src/bench/"]),
    (
        &["lightning", "lightning_invoice", "lightning_types", "ldk_node", "bitcoin"],
        &["src/wallet/backend/", "src/wallet/backend.rs"],
    ),
    (&["tonic", "tower"], &["src/pb", "src/policy/remote", "src/wallet/backend/", "src/server/admin"]),
    (&["clap", "qrcode"], &["src/cli/", "src/bench/"]),
    (&["argon2", "chacha20poly1305", "bip39"], &["src/app/keys/"]),
    (&["toml", "toml_edit"], &["src/config/", "src/bench/profile.rs"]),
];

fn floor_of(floors: &[&[&str]], name: &str) -> Option<usize> {
    floors.iter().position(|floor| floor.contains(&name))
}

fn floors(source: &Source) -> Vec<(usize, String)> {
    let module = source.module();
    let Some(own) = module.first() else { return Vec::new() };
    let Some(height) = floor_of(FLOORS, own) else {
        return vec![(1, format!("`{own}` stands on no floor; add it to FLOORS where it belongs"))];
    };
    let mut found = Vec::new();
    for named in named(source) {
        let [root, part, ..] = named.segments.as_slice() else { continue };
        if root == "crate" && part != own && floor_of(FLOORS, part).is_some_and(|other| other >= height) {
            found.push((named.line, format!("`{own}` names `{part}`, which does not lie below it")));
        }
    }
    found
}

fn wallet_floors(source: &Source) -> Vec<(usize, String)> {
    let module = source.module();
    let own = match module.as_slice() {
        [wallet, room, ..] if wallet == "wallet" => room.as_str(),
        _ => return Vec::new(),
    };
    let Some(height) = floor_of(WALLET_FLOORS, own) else { return Vec::new() };
    let mut found = Vec::new();
    for named in named(source) {
        let [root, wallet, room, ..] = named.segments.as_slice() else { continue };
        if root != "crate" || wallet != "wallet" || room == own {
            continue;
        }
        if floor_of(WALLET_FLOORS, room).is_none_or(|other| other >= height) {
            found.push((named.line, format!("`wallet::{own}` names `wallet::{room}`, which does not lie below it")));
        }
    }
    found
}

fn crates(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for named in named(source) {
        let Some(first) = named.segments.first() else { continue };
        for (crates, places) in CRATES {
            let may = places.iter().any(|place| source.path.starts_with(place));
            if crates.contains(&first.as_str()) && !may {
                found.push((named.line, format!("`{first}` may be named by {} only", places.join(", "))));
            }
        }
    }
    found
}

fn pure_protocol(source: &Source) -> Vec<(usize, String)> {
    if !source.path.starts_with("src/protocol/") {
        return Vec::new();
    }
    let mut found = Vec::new();
    for named in named(source) {
        let path: Vec<&str> = named.segments.iter().map(String::as_str).collect();
        let impure = matches!(
            path.as_slice(),
            ["tokio" | "rocksdb" | "tracing" | "metrics" | "rand" | "getrandom", ..]
                | ["std", "time" | "net" | "fs" | "thread" | "env" | "process" | "io", ..]
                | ["crate", "base", "clock", ..]
                | ["SystemTime" | "Instant" | "Clock", ..]
        );
        if impure {
            found.push((named.line, format!("`{}` in the pure part", named.segments.join("::"))));
        }
    }
    found
}

fn no_sockets(source: &Source) -> Vec<(usize, String)> {
    const MAY: &[&str] = &["src/server/", "src/app", "src/cli/", "src/bench/", "src/wallet/backend/"];
    if MAY.iter().any(|place| source.path.starts_with(place)) {
        return Vec::new();
    }
    let socket = |path: &[String]| match path.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["tokio", "net", ..] => true,
        // Addresses are values; what opens a socket is not.
        ["std", "net", what, ..] => what.starts_with("Tcp") || what.starts_with("Udp"),
        ["std", "os", "unix", "net", ..] => true,
        _ => false,
    };
    let sockets = named(source).into_iter().filter(|named| socket(&named.segments));
    sockets.map(|named| (named.line, format!("`{}` outside the server", named.segments.join("::")))).collect()
}

fn json(source: &Source) -> Vec<(usize, String)> {
    const WITHOUT: &[&str] = &["src/base/", "src/kv/", "src/store/", "src/live/", "src/policy/", "src/relay/"];
    if !WITHOUT.iter().any(|place| source.path.starts_with(place)) {
        return Vec::new();
    }
    let writers = named(source).into_iter().filter(|named| named.segments.first().is_some_and(|first| first == "serde_json"));
    writers.map(|named| (named.line, format!("`{}`", named.segments.join("::")))).collect()
}

fn panics(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for at in 0..source.tokens.len() {
        for name in ["unwrap", "expect", "unwrap_err", "expect_err"] {
            if source.at(at, &[".", name, "("]) {
                found.push((source.line_at(at + 1), format!(".{name}()")));
            }
        }
        for name in ["panic", "todo", "unimplemented", "dbg"] {
            if source.at(at, &[name, "!"]) {
                found.push((source.line_at(at), format!("{name}!")));
            }
        }
    }
    found
}

fn prints(source: &Source) -> Vec<(usize, String)> {
    if ["src/cli/", "src/cli.rs", "src/bench/"].iter().any(|place| source.path.starts_with(place)) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for at in 0..source.tokens.len() {
        for name in ["print", "println", "eprint", "eprintln"] {
            if source.at(at, &[name, "!"]) {
                found.push((source.line_at(at), format!("{name}!")));
            }
        }
    }
    for named in named(source) {
        if named.segments.ends_with(&["io".to_owned(), "stdout".to_owned()]) {
            found.push((named.line, "io::stdout".to_owned()));
        }
    }
    found
}

fn globals(source: &Source) -> Vec<(usize, String)> {
    const CELLS: &[&str] = &["Mutex", "RwLock", "OnceLock", "LazyLock", "OnceCell", "LazyCell", "RefCell", "Cell", "UnsafeCell"];
    let mut found = Vec::new();
    let mut inside_thread_local = 0;
    for at in 0..source.tokens.len() {
        let declared = source.text_at(at) == "static" && source.text_at(at + 1) != "|" && at >= inside_thread_local;
        if source.at(at, &["thread_local", "!"]) {
            found.push((source.line_at(at), "thread_local!".to_owned()));
            inside_thread_local = source.closing(at + 2);
        }
        if !declared {
            continue;
        }
        let kind = (at + 1..source.tokens.len()).take_while(|at| !matches!(source.text_at(*at), "=" | ";" | "{"));
        let mut kind = kind.map(|at| source.text_at(at));
        if kind.any(|word| word == "mut" || CELLS.contains(&word) || word.starts_with("Atomic")) {
            found.push((source.line_at(at), format!("static {}", source.text_at(at + 1))));
        }
    }
    found
}

fn function_length(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for at in 0..source.tokens.len() {
        // `fn(` is a type.
        if source.text_at(at) != "fn" || source.text_at(at + 1) == "(" {
            continue;
        }
        let mut body = at;
        while !matches!(source.text_at(body), "{" | ";" | "") {
            body = if matches!(source.text_at(body), "(" | "[") { source.closing(body) + 1 } else { body + 1 };
        }
        if source.text_at(body) == "{" {
            let lines = source.line_at(source.closing(body)) - source.line_at(at) + 1;
            if lines > FUNCTION_LINES {
                found.push((
                    source.line_at(at),
                    format!("fn {} has {lines} lines, at most {FUNCTION_LINES}", source.text_at(at + 1)),
                ));
            }
        }
    }
    found
}

fn file_length(source: &Source) -> Vec<(usize, String)> {
    let lines: Vec<&str> = source.text.lines().collect();
    let is_tests = |at: &usize| {
        lines[*at] == "#[cfg(test)]"
            && lines[at + 1..].iter().find(|line| !line.starts_with("#[")).is_some_and(|line| line.contains("mod "))
    };
    let lines = (0..lines.len()).find(is_tests).unwrap_or(lines.len());
    if lines > FILE_LINES { vec![(1, format!("{lines} lines before its tests, at most {FILE_LINES}"))] } else { Vec::new() }
}

fn first_words(source: &Source) -> Vec<(usize, String)> {
    let words = source.text.lines().next().and_then(|line| line.strip_prefix("//!"));
    if words.is_some_and(|words| words.trim().len() > 10) { Vec::new() } else { vec![(1, "no `//!` line at the top".to_owned())] }
}

/// Everything a rule says about the files that it is asked about.
pub fn check(rule: &Rule, sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        for (line, what) in (rule.check)(source) {
            let finding = Finding { rule: rule.name, path: source.path.clone(), line, what };
            if !findings.contains(&finding) {
                findings.push(finding);
            }
        }
    }
    findings
}
