//! Rust source as a list of tokens with line numbers: comments, literals and test code taken away.
//!
//! Enough of the language to see names, paths and the extent of functions; what it cannot read it leaves as punctuation.

/// One token: an identifier (or number), or a single punctuation character. String literals are `"`, characters are `'`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub text: String,
    pub line: usize,
}

/// A file: where it is and what it holds.
pub struct Source {
    /// Relative to the repository, with `/`.
    pub path: String,
    /// The text as it is.
    pub text: String,
    /// Its tokens without `#[cfg(test)]` items.
    pub tokens: Vec<Token>,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), tokens: without_tests(tokenise(text)) }
    }

    /// The module that the file is: `src/a/b.rs` and `src/a/b/mod.rs` are `[a, b]`, `src/lib.rs` is `[]`.
    pub fn module(&self) -> Vec<String> {
        let inner = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        inner.split('/').filter(|part| !matches!(*part, "mod" | "lib" | "main")).map(str::to_owned).collect()
    }

    /// Whether the token sequence starts at `at`.
    pub fn at(&self, at: usize, sequence: &[&str]) -> bool {
        sequence
            .iter()
            .enumerate()
            .all(|(offset, wanted)| self.tokens.get(at + offset).is_some_and(|token| token.text == *wanted))
    }

    pub fn text_at(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| &token.text)
    }

    pub fn line_at(&self, at: usize) -> usize {
        self.tokens.get(at).map_or(0, |token| token.line)
    }

    /// Where the bracket that opens at `open` closes.
    pub fn closing(&self, open: usize) -> usize {
        closing(&self.tokens, open)
    }
}

fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at;
                }
            }
            _ => {}
        }
    }
    tokens.len().saturating_sub(1)
}

/// Drops every item that stands under `#[cfg(test)]`.
fn without_tests(tokens: Vec<Token>) -> Vec<Token> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        let marked = MARK.iter().enumerate().all(|(offset, wanted)| tokens.get(at + offset).is_some_and(|t| t.text == *wanted));
        if marked {
            at = end_of_item(&tokens, at + MARK.len()) + 1;
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

/// The last token of the item that starts at `from`: its `;`, or the brace that closes its body. What is no item (a field, an arm)
/// ends at its comma, or before the brace around it.
fn end_of_item(tokens: &[Token], from: usize) -> usize {
    const ITEMS: [&str; 13] =
        ["fn", "impl", "mod", "struct", "enum", "use", "const", "static", "type", "trait", "unsafe", "async", "let"];
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let mut at = from;
    if text(at) == "pub" {
        at = if text(at + 1) == "(" { closing(tokens, at + 1) + 1 } else { at + 1 };
    }
    let is_item = ITEMS.contains(&text(at));
    while at < tokens.len() {
        match text(at) {
            "," if !is_item => return at,
            "}" if !is_item => return at - 1,
            "{" => return closing(tokens, at),
            "(" | "[" => at = closing(tokens, at),
            ";" => return at,
            _ => {}
        }
        at += 1;
    }
    tokens.len().saturating_sub(1)
}

/// Splits source text.
pub fn tokenise(text: &str) -> Vec<Token> {
    Lexer { chars: text.chars().collect(), at: 0, line: 1, tokens: Vec::new() }.run()
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    line: usize,
    tokens: Vec<Token>,
}

impl Lexer {
    fn run(mut self) -> Vec<Token> {
        while let Some(next) = self.peek(0) {
            match next {
                '/' if self.peek(1) == Some('/') => self.skip_line(),
                '/' if self.peek(1) == Some('*') => self.skip_block_comment(),
                '"' => self.string(),
                '\'' => self.quote(),
                'r' | 'b' | 'c' if self.raw_hashes().is_some() => self.raw_string(),
                'b' | 'c' if self.peek(1) == Some('"') => {
                    self.advance();
                    self.string();
                }
                'b' if self.peek(1) == Some('\'') => {
                    self.advance();
                    self.quote();
                }
                letter if letter.is_alphanumeric() || letter == '_' => self.word(),
                space if space.is_whitespace() => self.advance(),
                other => {
                    self.push(other.to_string());
                    self.advance();
                }
            }
        }
        self.tokens
    }

    fn peek(&self, offset: usize) -> Option<char> {
        self.chars.get(self.at + offset).copied()
    }

    fn advance(&mut self) {
        if self.peek(0) == Some('\n') {
            self.line += 1;
        }
        self.at += 1;
    }

    fn push(&mut self, text: String) {
        self.tokens.push(Token { text, line: self.line });
    }

    fn skip_line(&mut self) {
        while self.peek(0).is_some_and(|c| c != '\n') {
            self.advance();
        }
    }

    fn skip_block_comment(&mut self) {
        let mut depth = 0_usize;
        while self.peek(0).is_some() {
            match (self.peek(0), self.peek(1)) {
                (Some('/'), Some('*')) => depth += 1,
                (Some('*'), Some('/')) => depth -= 1,
                _ => {
                    self.advance();
                    continue;
                }
            }
            self.advance();
            self.advance();
            if depth == 0 {
                return;
            }
        }
    }

    fn word(&mut self) {
        let start = self.at;
        while self.peek(0).is_some_and(|c| c.is_alphanumeric() || c == '_') {
            self.at += 1;
        }
        self.push(self.chars[start..self.at].iter().collect());
    }

    fn string(&mut self) {
        self.push("\"".to_owned());
        self.advance();
        while let Some(next) = self.peek(0) {
            if next == '\\' {
                self.advance();
            }
            self.advance();
            if next == '"' {
                return;
            }
        }
    }

    /// Hashes of a raw string (`r"`, `br#"`, ...) that starts here.
    fn raw_hashes(&self) -> Option<usize> {
        let mut offset = usize::from(matches!(self.peek(0), Some('b' | 'c')));
        if self.peek(offset) != Some('r') {
            return None;
        }
        offset += 1;
        let hashes = (0..).take_while(|more| self.peek(offset + more) == Some('#')).count();
        (self.peek(offset + hashes) == Some('"')).then_some(hashes)
    }

    fn raw_string(&mut self) {
        let hashes = self.raw_hashes().unwrap_or(0);
        self.push("\"".to_owned());
        while self.peek(0).is_some_and(|c| c != '"') {
            self.advance();
        }
        self.advance();
        while self.peek(0).is_some() {
            let ends = self.peek(0) == Some('"') && (1..=hashes).all(|more| self.peek(more) == Some('#'));
            self.advance();
            if ends {
                self.at += hashes;
                return;
            }
        }
    }

    /// A character literal, or the tick of a lifetime (which is dropped: its name then reads as a word).
    fn quote(&mut self) {
        if self.peek(1) == Some('\\') {
            self.push("'".to_owned());
            self.at += 3;
            while self.peek(0).is_some_and(|c| c != '\'') {
                self.advance();
            }
            self.advance();
        } else if self.peek(2) == Some('\'') {
            self.push("'".to_owned());
            self.at += 3;
        } else {
            // A lifetime: its name is no name that any rule asks about.
            self.at += 1;
            while self.peek(0).is_some_and(|c| c.is_alphanumeric() || c == '_') {
                self.at += 1;
            }
        }
    }
}
