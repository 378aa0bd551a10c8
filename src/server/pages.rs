//! The page for people who open the relay's address in a browser. One file, nothing loaded from elsewhere, everything escaped.

use bytes::Bytes;

use super::nip11::{About, Limitation, Served};

const PAGE: &str = include_str!("page.html");

/// Short names of the NIPs that hearth serves.
const NIP_NAMES: [(u16, &str); 8] = [
    (1, "events and subscriptions"),
    (9, "deletion"),
    (11, "relay information"),
    (40, "expiration"),
    (42, "authentication"),
    (45, "counting"),
    (47, "wallet connect"),
    (70, "protected events"),
];

/// Renders the page.
pub fn render(about: &About, served: Served, limitation: &Limitation, url: &str) -> Bytes {
    let name = if about.name.is_empty() { "hearth" } else { &about.name };
    let nips: Vec<String> = served
        .nips()
        .into_iter()
        .map(|nip| {
            let words = NIP_NAMES.iter().find(|(number, _)| *number == nip).map_or("", |(_, words)| words);
            format!("<li>NIP-{nip:02} {words}</li>")
        })
        .collect();
    let page = fill(
        PAGE,
        &[
            ("name", &escape(name)),
            ("description", &escape(&about.description)),
            ("url", &escape(url)),
            ("nips", &nips.join("\n")),
            ("facts", &facts(about, limitation)),
            ("version", env!("CARGO_PKG_VERSION")),
        ],
    );
    Bytes::from(page)
}

fn facts(about: &About, limitation: &Limitation) -> String {
    let writers = if limitation.restricted_writes { "some keys" } else { "everybody" };
    let length = format!("{} bytes", limitation.max_message_length);
    let rows = [
        ("Operator", about.pubkey.as_str()),
        ("Contact", &about.contact),
        ("Terms", &about.terms_of_service),
        ("Relay key", &about.own_pubkey),
        ("Who may write", writers),
        ("Longest message", &length),
    ];
    let rows = rows.iter().filter(|(_, value)| !value.is_empty());
    rows.map(|(name, value)| format!("<dt>{name}</dt><dd>{}</dd>", escape(value))).collect::<Vec<_>>().join("\n")
}

/// Puts values into a template in one pass: what a value says is never taken for a placeholder.
pub(super) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut page = String::with_capacity(template.len() + 2_048);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        page.push_str(before);
        let Some((key, after)) = after.split_once("}}") else { break };
        page.push_str(values.iter().find(|(name, _)| *name == key).map_or("", |(_, value)| value));
        rest = after;
    }
    page.push_str(rest);
    page
}

pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(about: &About) -> String {
        let limitation = Limitation {
            max_message_length: 131_072,
            max_subscriptions: 200,
            max_limit: 5_000,
            max_subid_length: 64,
            max_event_tags: 2_000,
            max_content_length: 65_536,
            min_pow_difficulty: 0,
            auth_required: false,
            payment_required: false,
            restricted_writes: false,
            created_at_lower_limit: 1,
            created_at_upper_limit: 1,
            default_limit: 500,
        };
        let bytes = render(about, Served { count: true, wallet: true }, &limitation, "ws://relay.example/");
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn what_an_operator_writes_is_shown_and_never_run() {
        let evil = "</title><script>alert(1)</script>&'\"{{version}}";
        let page = page(&About { name: evil.into(), description: evil.into(), contact: evil.into(), ..About::default() });
        assert!(!page.contains("<script>"));
        assert_eq!(page.matches("&lt;script&gt;alert(1)&lt;/script&gt;&amp;&#39;&quot;{{version}}").count(), 4);
    }

    #[test]
    fn every_placeholder_is_filled_and_nothing_is_loaded_from_elsewhere() {
        let page = page(&About { name: "A".into(), ..About::default() });
        assert!(!page.contains("{{") && !page.contains("}}"));
        for outside in ["src=", "href=", "url(", "@import", "http://", "https://"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("ws://relay.example/") && page.contains("NIP-47 wallet connect"));
    }
}
