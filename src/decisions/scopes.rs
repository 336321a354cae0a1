//! Which scopes exist and what a request for some of them means. Knows: the operator's catalogue, and the
//! grammar of RFC 6749 section 3.3. Must not know: where the catalogue is written down, or who asks.

use std::fmt;

use serde::Deserialize;

/// The most scopes a catalogue may hold: a person has to read them on one page.
pub const MAX_SCOPES: usize = 64;
/// The longest name or alias of a scope, in characters.
pub const MAX_NAME_CHARS: usize = 64;
/// The longest sentence on a scope, in characters.
pub const MAX_SENTENCE_CHARS: usize = 200;

/// One scope as the operator describes it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScopeDefinition {
    /// The canonical name: what events store and replies say.
    pub name: String,
    /// Other names a request may use for it.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// What an app may do with it, for the person who is asked to consent.
    pub sentence: String,
    /// Whether a request that names no scope asks for it (RFC 6749 section 3.3).
    #[serde(default)]
    pub default: bool,
}

/// The scopes that exist, in the operator's order: never empty, no name or alias twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeCatalogue(Vec<ScopeDefinition>);

impl ScopeCatalogue {
    /// Checks the definitions.
    ///
    /// # Errors
    /// The first definition that cannot stand, by its index, and why.
    pub fn new(definitions: Vec<ScopeDefinition>) -> Result<Self, CatalogueError> {
        if definitions.is_empty() {
            return Err(CatalogueError { index: 0, problem: CatalogueProblem::Empty });
        }
        let mut seen: Vec<&str> = Vec::new();
        for (index, definition) in definitions.iter().enumerate() {
            let fault = |problem| CatalogueError { index, problem };
            if index == MAX_SCOPES {
                return Err(fault(CatalogueProblem::TooMany));
            }
            for name in definition.names() {
                check_name(name).map_err(fault)?;
                if seen.contains(&name) {
                    return Err(fault(CatalogueProblem::Duplicate(ShownToken::new(name))));
                }
                seen.push(name);
            }
            check_sentence(&definition.sentence).map_err(fault)?;
        }
        Ok(Self(definitions))
    }

    /// What a `scope` parameter asks for, as canonical names in the catalogue's order, each once. More than one
    /// space between names counts as one, and none counts at either end.
    ///
    /// # Errors
    /// If it has no name, breaks the grammar of RFC 6749 section 3.3, or names a scope that does not exist.
    pub fn resolve(&self, requested: &str) -> Result<Vec<String>, ScopeError> {
        let mut asked = vec![false; self.0.len()];
        for token in requested.split(' ').filter(|token| !token.is_empty()) {
            if !is_scope_token(token) {
                return Err(ScopeError::Malformed(ShownToken::new(token)));
            }
            let known = self.0.iter().position(|scope| scope.names().any(|name| name == token));
            match known.and_then(|index| asked.get_mut(index)) {
                Some(asked) => *asked = true,
                None => return Err(ScopeError::Unknown(ShownToken::new(token))),
            }
        }
        if !asked.contains(&true) {
            return Err(ScopeError::Empty);
        }
        Ok(self.names().zip(asked).filter(|(_, asked)| *asked).map(|(name, _)| name.to_owned()).collect())
    }

    /// The canonical names of the scopes that a request asks for if it names none.
    pub fn defaults(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|scope| scope.default).map(|scope| scope.name.as_str())
    }

    /// The sentence on a scope, by its canonical name.
    pub fn sentence(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|scope| scope.name == name).map(|scope| scope.sentence.as_str())
    }

    /// The canonical names, in the catalogue's order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|scope| scope.name.as_str())
    }

    /// The definitions, in the catalogue's order.
    pub fn definitions(&self) -> &[ScopeDefinition] {
        &self.0
    }
}

impl Default for ScopeCatalogue {
    /// What stands when the operator describes no scopes.
    fn default() -> Self {
        let scope = |name: &str, aliases: &[&str], sentence: &str| ScopeDefinition {
            name: name.to_owned(),
            aliases: aliases.iter().map(|&alias| alias.to_owned()).collect(),
            sentence: sentence.to_owned(),
            default: false,
        };
        Self(vec![
            scope("widgets", &["brands", "widget"], "See and change the widgets on your site."),
            scope("faqs", &[], "See and change your frequently asked questions."),
            scope("contacts", &[], "See and change the people in your contacts."),
            scope("conversations", &[], "Read your conversations and reply in them."),
        ])
    }
}

impl ScopeDefinition {
    /// The canonical name, then the aliases.
    fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.name).chain(&self.aliases).map(String::as_str)
    }
}

/// RFC 6749 section 3.3: `scope-token = 1*( %x21 / %x23-5B / %x5D-7E )`.
fn is_scope_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
}

fn check_name(name: &str) -> Result<(), CatalogueProblem> {
    if is_scope_token(name) && name.len() <= MAX_NAME_CHARS {
        Ok(())
    } else {
        Err(CatalogueProblem::Name(ShownToken::new(name)))
    }
}

fn check_sentence(sentence: &str) -> Result<(), CatalogueProblem> {
    let readable = !sentence.trim().is_empty() && !sentence.chars().any(char::is_control);
    if readable && sentence.chars().count() <= MAX_SENTENCE_CHARS {
        Ok(())
    } else {
        Err(CatalogueProblem::Sentence)
    }
}

/// A token someone sent, cut and cleaned so that it may stand in an `error_description` (RFC 6749 section
/// 5.2), a log line or a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownToken(String);

impl ShownToken {
    fn new(token: &str) -> Self {
        let clean = |c: char| if c.is_ascii_graphic() && c != '"' && c != '\\' { c } else { '?' };
        let mut shown: String = token.chars().take(MAX_NAME_CHARS).map(clean).collect();
        if token.chars().nth(MAX_NAME_CHARS).is_some() {
            shown.push_str("...");
        }
        Self(shown)
    }
}

impl fmt::Display for ShownToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'", self.0)
    }
}

/// Why a `scope` parameter is refused. Each displays in the characters RFC 6749 allows an
/// `error_description`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// Absent in effect.
    #[error("scope is empty: name at least one scope")]
    Empty,
    /// Not a scope-token.
    #[error("scope {0} holds a character that no scope may hold")]
    Malformed(ShownToken),
    /// A scope-token that names nothing here.
    #[error("scope {0} does not exist here")]
    Unknown(ShownToken),
}

/// A definition that cannot stand in a catalogue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct CatalogueError {
    /// Which definition, counted from 0.
    pub index: usize,
    /// What is wrong with it.
    pub problem: CatalogueProblem,
}

/// What can be wrong with a catalogue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogueProblem {
    /// Nothing in it.
    #[error("a catalogue needs at least one scope")]
    Empty,
    /// More than a person can read.
    #[error("a catalogue may hold at most {MAX_SCOPES} scopes")]
    TooMany,
    /// A name or alias that cannot be asked for.
    #[error(
        "{0} cannot name a scope: it takes 1 to {MAX_NAME_CHARS} visible ASCII characters, without spaces, quotes or backslashes"
    )]
    Name(ShownToken),
    /// A name or alias that is taken.
    #[error("{0} is already the name or an alias of a scope: each may stand once")]
    Duplicate(ShownToken),
    /// A sentence nobody can read.
    #[error(
        "the sentence must say in 1 to {MAX_SENTENCE_CHARS} characters, on one line, what an app may do with the scope"
    )]
    Sentence,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(name: &str, aliases: &[&str], sentence: &str) -> ScopeDefinition {
        let aliases = aliases.iter().map(|&alias| alias.to_owned()).collect();
        ScopeDefinition { name: name.to_owned(), aliases, sentence: sentence.to_owned(), default: false }
    }

    fn problem(definitions: Vec<ScopeDefinition>) -> (usize, CatalogueProblem) {
        let error = ScopeCatalogue::new(definitions).expect_err("must be refused");
        (error.index, error.problem)
    }

    fn refusal(requested: &str) -> String {
        ScopeCatalogue::default().resolve(requested).expect_err("must be refused").to_string()
    }

    #[test]
    fn the_default_catalogue_stands_and_is_the_one_of_the_contract() {
        let catalogue = ScopeCatalogue::default();
        assert_eq!(ScopeCatalogue::new(catalogue.0.clone()), Ok(catalogue.clone()));
        assert_eq!(catalogue.names().collect::<Vec<_>>(), ["widgets", "faqs", "contacts", "conversations"]);
        assert_eq!(catalogue.sentence("faqs"), Some("See and change your frequently asked questions."));
        assert_eq!(catalogue.sentence("brands"), None, "aliases are not canonical names");
    }

    #[test]
    fn a12_aliases_duplicates_and_order_are_normalised() {
        let catalogue = ScopeCatalogue::default();
        for (requested, resolved) in [
            ("widgets", vec!["widgets"]),
            ("brands", vec!["widgets"]),
            ("widget", vec!["widgets"]),
            ("conversations widgets", vec!["widgets", "conversations"]),
            ("widget contacts brands contacts widgets", vec!["widgets", "contacts"]),
            (" faqs  contacts ", vec!["faqs", "contacts"]),
            ("conversations contacts faqs widgets", vec!["widgets", "faqs", "contacts", "conversations"]),
        ] {
            assert_eq!(catalogue.resolve(requested).expect(requested), resolved, "{requested:?}");
        }
    }

    #[test]
    fn a12_empty_unknown_and_malformed_scopes_are_refused() {
        assert_eq!(refusal(""), "scope is empty: name at least one scope");
        assert_eq!(refusal("  "), refusal(""));
        assert_eq!(refusal("faqs admin"), "scope 'admin' does not exist here");
        assert_eq!(refusal("Faqs"), "scope 'Faqs' does not exist here", "scopes are case-sensitive");
        assert_eq!(refusal("faqs,contacts"), "scope 'faqs,contacts' does not exist here");
        for malformed in
            ["fa\tqs", "fa\nqs", "fa\u{a0}qs", "fa\"qs", "fa\\qs", "fa\u{7f}qs", "faüqs", "fa\0qs"]
        {
            assert_eq!(refusal(malformed), "scope 'fa?qs' holds a character that no scope may hold");
        }
    }

    #[test]
    fn what_is_said_of_a_token_is_short_and_fit_for_an_error_description() {
        let said = refusal(&"\u{202e}<script>\"\\".repeat(1000));
        assert!(said.len() < 200, "{said}");
        assert!(said.bytes().all(|byte| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e)), "{said}");
    }

    #[test]
    fn definitions_that_cannot_stand_are_named_by_their_index() {
        assert_eq!(problem(vec![]), (0, CatalogueProblem::Empty));
        let good = || scope("a", &["b"], "Do a.");
        for taken in ["a", "b"] {
            let duplicate = CatalogueProblem::Duplicate(ShownToken::new(taken));
            assert_eq!(problem(vec![good(), scope(taken, &[], "Do.")]), (1, duplicate.clone()));
            assert_eq!(problem(vec![good(), scope("c", &[taken], "Do.")]), (1, duplicate));
        }
        assert!(matches!(problem(vec![scope("c", &["c"], "Do.")]), (0, CatalogueProblem::Duplicate(_))));
        for name in ["", "two words", "quo\"te", "back\\slash", "ümlaut", &"x".repeat(MAX_NAME_CHARS + 1)] {
            assert!(
                matches!(problem(vec![scope(name, &[], "Do.")]), (0, CatalogueProblem::Name(_))),
                "{name}"
            );
            assert!(
                matches!(problem(vec![scope("c", &[name], "Do.")]), (0, CatalogueProblem::Name(_))),
                "{name}"
            );
        }
        for sentence in ["", "  ", "two\nlines", &"x".repeat(MAX_SENTENCE_CHARS + 1)] {
            assert_eq!(problem(vec![good(), scope("c", &[], sentence)]), (1, CatalogueProblem::Sentence));
        }
        assert!(ScopeCatalogue::new(vec![scope("c", &[], &"ü".repeat(MAX_SENTENCE_CHARS))]).is_ok());
        let many = (0..=MAX_SCOPES).map(|n| scope(&n.to_string(), &[], "Do.")).collect();
        assert_eq!(problem(many), (MAX_SCOPES, CatalogueProblem::TooMany));
    }
}
