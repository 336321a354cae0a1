//! A Rust source as tokens and the paths in them. Knows: enough of the grammar to tell code from comments,
//! texts and tests. Must not know: any rule.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// An identifier, a number, a piece of punctuation, or [`TEXT`], and the line it is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub text: String,
    pub line: usize,
}

/// What stands for each line of a text.
pub const TEXT: &str = "\"";

/// A source file, its tests left out.
#[derive(Debug)]
pub struct Source {
    /// From the top of the repository, such as `src/store/mod.rs`.
    pub path: PathBuf,
    pub text: String,
    /// The tokens that are not in an item marked `#[cfg(test)]`.
    pub tokens: Vec<Token>,
    /// The modules declared here as `#[cfg(test)] mod name;`.
    pub test_modules: Vec<String>,
}

impl Source {
    pub fn new(path: impl Into<PathBuf>, text: &str) -> Self {
        let (tokens, test_modules) = without_tests(tokens(text));
        Self { path: path.into(), text: text.to_owned(), tokens, test_modules }
    }

    /// The path of the module within its crate: `src/store/mod.rs` is `[store]`, `src/lib.rs` is `[]`.
    pub fn module(&self) -> Vec<String> {
        let below_src = self.path.iter().skip_while(|part| *part != "src").skip(1).collect::<PathBuf>();
        let mut module: Vec<String> =
            below_src.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
        if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
            module.pop();
        }
        module
    }

    /// The last line with code that is no test.
    pub fn lines(&self) -> usize {
        self.tokens.last().map_or(0, |token| token.line)
    }

    /// How many lines have code that is no test.
    pub fn product_lines(&self) -> usize {
        self.tokens.iter().map(|token| token.line).collect::<BTreeSet<_>>().len()
    }

    /// The lines on which these tokens stand one after the other.
    pub fn lines_with(&self, sequence: &[&str]) -> Vec<usize> {
        let windows = self.tokens.windows(sequence.len());
        let found = windows
            .filter(|window| window.iter().map(|token| token.text.as_str()).eq(sequence.iter().copied()));
        found.map(|window| window[0].line).collect()
    }

    /// Every path, groups taken apart, with its line; `crate`, `super`, `self`, modules declared here and the crate's own
    /// name resolved to `crate`.
    pub fn paths(&self) -> Vec<(Vec<String>, usize)> {
        let (module, children) = (self.module(), self.children());
        paths(&self.tokens)
            .into_iter()
            .map(|(path, line)| (resolved(path, &module, &children), line))
            .collect()
    }

    /// The modules declared here.
    fn children(&self) -> Vec<&str> {
        let declared =
            self.tokens.windows(3).filter(|window| window[0].text == "mod" && window[2].text == ";");
        declared.map(|window| window[1].text.as_str()).collect()
    }

    /// The paths that `use` brings in, and those of everything but what is brought in only to be exported.
    pub fn uses_and_imports(&self) -> (Vec<Vec<String>>, Vec<Vec<String>>) {
        let (mut uses, mut imports) = (Vec::new(), Vec::new());
        let (module, children) = (self.module(), self.children());
        let paths_in = |tokens| paths(tokens).into_iter().map(|(path, _)| resolved(path, &module, &children));
        for statement in self.tokens.split(|token| token.text == ";") {
            let start = statement.iter().rposition(|token| token.text == "use").unwrap_or(statement.len());
            let (before, used) = statement.split_at(start);
            let is_exported = before.last().is_some_and(|token| matches!(token.text.as_str(), "pub" | ")"));
            uses.extend(paths_in(used));
            imports.extend(paths_in(before));
            imports.extend(paths_in(used).filter(|_| !is_exported));
        }
        (uses, imports)
    }
}

/// Whether a file lies in a module that its parent declares as a test.
pub fn is_test(path: &Path, sources: &[Source]) -> bool {
    sources.iter().any(|parent| {
        let directory = match parent.path.file_stem().and_then(|stem| stem.to_str()) {
            Some("mod" | "lib" | "main") => parent.path.with_file_name(""),
            _ => parent.path.with_extension(""),
        };
        let mut tests = parent.test_modules.iter().map(|name| directory.join(name));
        tests.any(|test| path.with_extension("") == test || path.starts_with(&test))
    })
}

fn resolved(path: Vec<String>, module: &[String], children: &[&str]) -> Vec<String> {
    let supers = path.iter().take_while(|part| *part == "super").count();
    let (up, skipped) = match path.first().map(String::as_str) {
        Some("super") => (supers, supers),
        Some("self") => (0, 1),
        Some("grantbook") => (module.len(), 1),
        Some(child) if children.contains(&child) => (0, 0),
        _ => return path,
    };
    let base = &module[..module.len().saturating_sub(up)];
    std::iter::once("crate".to_owned()).chain(base.iter().chain(&path[skipped..]).cloned()).collect()
}

/// Cuts a text into tokens. Comments and characters are left out.
pub fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let (mut i, mut line) = (0, 1);
    while i < chars.len() {
        let start = i;
        match (at(i), at(i + 1)) {
            ('/', '/') => i = end_of_line(&chars, i),
            ('/', '*') => i = end_of_comment(&chars, i),
            ('"', _) => i = end_of_text(&chars, i),
            ('\'', '\\') => i = end_of_character(&chars, i),
            ('\'', _) if at(i + 2) == '\'' => i += 3,
            ('r', '"' | '#') | ('b' | 'c', 'r') if end_of_raw_text(&chars, i).is_some() => {
                i = end_of_raw_text(&chars, i).unwrap_or(i + 1);
            }
            (':', ':') | ('=', '>') => i += 2,
            (c, _) if is_word(c) => {
                while is_word(at(i)) {
                    i += 1;
                }
            }
            _ => i += 1,
        }
        let text: String = chars[start..i.min(chars.len())].iter().collect();
        let is_code =
            is_word(at(start)) && !text.contains('"') || text.len() <= 2 && !text.starts_with(['"', '/']);
        let lines = text.matches('\n').count();
        if is_code && !text.trim().is_empty() {
            found.push(Token { text, line });
        } else if text.ends_with(['"', '#']) {
            found.extend((line..=line + lines).map(|line| Token { text: TEXT.to_owned(), line }));
        }
        line += lines;
    }
    found
}

fn end_of_line(chars: &[char], from: usize) -> usize {
    chars[from..].iter().position(|c| *c == '\n').map_or(chars.len(), |length| from + length)
}

fn end_of_comment(chars: &[char], from: usize) -> usize {
    let (mut depth, mut i) = (0, from);
    while i < chars.len() {
        match chars[i..].iter().take(2).collect::<String>().as_str() {
            "/*" => (depth, i) = (depth + 1, i + 2),
            "*/" => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            break;
        }
    }
    i
}

fn end_of_text(chars: &[char], from: usize) -> usize {
    let mut i = from + 1;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

fn end_of_character(chars: &[char], from: usize) -> usize {
    let close = chars.iter().skip(from + 3).position(|c| *c == '\'');
    close.map_or(chars.len(), |length| from + 4 + length)
}

/// The end of `r"…"`, `r#"…"#`, `br"…"` and so on; `None` if this is something else, such as `r#type`.
fn end_of_raw_text(chars: &[char], from: usize) -> Option<usize> {
    let mut i = from + if chars.get(from) == Some(&'r') { 1 } else { 2 };
    let hashes = chars.get(i..)?.iter().take_while(|c| **c == '#').count();
    i += hashes;
    if chars.get(i) != Some(&'"') || from > 0 && (chars[from - 1].is_alphanumeric() || chars[from - 1] == '_')
    {
        return None;
    }
    let close: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let length = chars[i + 1..].windows(close.len()).position(|window| window == close)?;
    Some(i + 1 + length + close.len())
}

/// Leaves out every item marked `#[cfg(test)]`, and says which modules were only declared so.
fn without_tests(tokens: Vec<Token>) -> (Vec<Token>, Vec<String>) {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let (mut kept, mut modules) = (Vec::new(), Vec::new());
    let mut i = 0;
    while i < tokens.len() {
        let here = tokens[i..].iter().map(|token| token.text.as_str());
        if !here.take(MARK.len()).eq(MARK) {
            kept.push(tokens[i].clone());
            i += 1;
            continue;
        }
        let start = i + MARK.len();
        i = end_of_item(&tokens, start);
        if let [.., keyword, name, semicolon] = &tokens[start..i]
            && (keyword.text.as_str(), semicolon.text.as_str()) == ("mod", ";")
        {
            modules.push(name.text.clone());
        }
    }
    (kept, modules)
}

/// The token after an item: after its semicolon, or after the block that closes it.
fn end_of_item(tokens: &[Token], from: usize) -> usize {
    let mut depth = 0;
    for (i, token) in tokens.iter().enumerate().skip(from) {
        match token.text.as_str() {
            "{" | "(" | "[" => depth += 1,
            ")" | "]" => depth -= 1,
            "}" => {
                depth -= 1;
                if depth == 0 {
                    return i + 1;
                }
            }
            ";" if depth == 0 => return i + 1,
            _ => {}
        }
    }
    tokens.len()
}

/// Every `a::b::c`; a group `a::{b, c::d}` gives each of its paths.
fn paths(tokens: &[Token]) -> Vec<(Vec<String>, usize)> {
    let mut found = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        i = path(tokens, i, &[], &mut found).max(i + 1);
    }
    found
}

fn path(tokens: &[Token], from: usize, prefix: &[String], found: &mut Vec<(Vec<String>, usize)>) -> usize {
    let text = |i: usize| tokens.get(i).map_or("", |token| token.text.as_str());
    let is_name = |i: usize| text(i).starts_with(|c: char| c.is_alphabetic() || c == '_');
    if !is_name(from) {
        return from;
    }
    let mut here = prefix.to_vec();
    let mut i = from;
    while is_name(i) {
        here.push(text(i).to_owned());
        i += 1;
        if text(i) != "::" {
            break;
        }
        i += 1;
    }
    if text(i) == "{" && text(i - 1) == "::" {
        i += 1;
        while i < tokens.len() && text(i) != "}" {
            i = path(tokens, i, &here, found).max(i + 1);
        }
        return i + 1;
    }
    if here.len() > 1 {
        found.push((here, tokens[from].line));
    }
    i
}
