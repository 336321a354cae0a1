//! The configuration file. Knows: TOML, which keys there are, and at which line and column each stands.
//! Must not know: what a value means.

use std::ops::Range;
use std::path::Path;

use serde::Deserialize as _;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::error::{Mistake, Origin, quoted};
use super::merged::{Merged, Written};
use super::settings::{ALL, Setting, nearest};
use crate::decisions::scopes::ScopeDefinition;

/// The name of the array of tables that describes the scopes.
const SCOPES: &str = "scopes";
const SCOPE_TAKES: &str = "each takes a name, a sentence and, if need be, aliases (a list of strings, such as [\"brands\"]) and \
                           default (true or false)";

/// Reads the text of a file into what is there, and notes what is wrong with it. False if it is not TOML.
pub(super) fn read(path: &Path, text: &str, merged: &mut Merged, mistakes: &mut Vec<Mistake>) -> bool {
    let file = File { path, text };
    let (top, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let message = format!("this is not TOML: {}", error.message());
        mistakes.push(file.error(error.span().unwrap_or_default(), message));
    }
    if !errors.is_empty() {
        return false;
    }
    for (key, value) in top.get_ref() {
        let name = key.get_ref().as_ref();
        if name == SCOPES {
            merged.scopes = file.scopes(value, mistakes);
        } else if !ALL.iter().any(|setting| setting.section() == name) {
            mistakes.extend(file.setting(merged, "", key, value).err());
        } else if let DeValue::Table(section) = value.get_ref() {
            let read = section.iter().map(|(key, value)| file.setting(merged, name, key, value));
            mistakes.extend(read.filter_map(Result::err));
        } else {
            mistakes.push(file.error(value.span(), format!("{name} is a section: write it as [{name}]")));
        }
    }
    true
}

struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

type Key<'a> = Spanned<std::borrow::Cow<'a, str>>;

impl File<'_> {
    fn setting(
        &self,
        merged: &mut Merged,
        section: &str,
        key: &Key<'_>,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<(), Mistake> {
        let name = key.get_ref().as_ref();
        let known = |setting: &&Setting| setting.section() == section && setting.name() == name;
        let Some(setting) = ALL.iter().find(known) else {
            return Err(self.error(key.span(), unknown_key(section, name)));
        };
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().to_owned(),
            other => {
                let (Setting { key, takes, .. }, kind) = (setting, other.type_str());
                return Err(
                    self.error(value.span(), format!("{key} is of the type {kind}; it takes {takes}"))
                );
            }
        };
        merged.set(setting, text, self.origin(value.span()));
        Ok(())
    }

    /// Those that can be read; what is wrong with the others is noted.
    fn scopes(
        &self,
        value: &Spanned<DeValue<'_>>,
        mistakes: &mut Vec<Mistake>,
    ) -> Vec<Written<ScopeDefinition>> {
        let shape = "scopes is a list of tables: begin each with the line [[scopes]]";
        let DeValue::Array(entries) = value.get_ref() else {
            mistakes.push(self.error(value.span(), shape));
            return Vec::new();
        };
        if entries.is_empty() {
            let message =
                "a catalogue needs at least one scope: describe one, or leave scopes out for the default";
            mistakes.push(self.error(value.span(), message));
        }
        let scope = |entry: &Spanned<DeValue<'_>>| match entry.get_ref() {
            DeValue::Table(_) => self.scope(entry),
            _ => Err(self.error(entry.span(), shape)),
        };
        let read = entries.iter().map(scope);
        read.filter_map(|scope| scope.map_err(|mistake| mistakes.push(mistake)).ok()).collect()
    }

    fn scope(&self, entry: &Spanned<DeValue<'_>>) -> Result<Written<ScopeDefinition>, Mistake> {
        match ScopeDefinition::deserialize(ValueDeserializer::from(entry.clone())) {
            Ok(value) => Ok(Written { value, origin: self.origin(entry.span()) }),
            Err(error) => {
                let message = format!("this scope has a mistake: {}; {SCOPE_TAKES}", error.message());
                Err(self.error(error.span().unwrap_or_else(|| entry.span()), message))
            }
        }
    }

    fn error(&self, span: Range<usize>, message: impl Into<String>) -> Mistake {
        Mistake::new(self.origin(span), message)
    }

    fn origin(&self, span: Range<usize>) -> Origin {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Origin::File {
            path: self.path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
        }
    }
}

fn unknown_key(section: &str, name: &str) -> String {
    let mut known: Vec<&str> =
        ALL.iter().filter(|setting| setting.section() == section).map(|setting| setting.name()).collect();
    if section.is_empty() {
        let sections = ALL.iter().map(|setting| setting.section()).filter(|section| !section.is_empty());
        known.extend(sections.chain([SCOPES]));
        known.dedup();
        return unknown(name, "the top level", &known);
    }
    unknown(name, &format!("[{section}]"), &known)
}

/// Names the nearest key if it is near enough to be what was meant, and every key that may stand there.
fn unknown(name: &str, place: &str, known: &[&str]) -> String {
    let meant = nearest(name, known.iter().copied()).filter(|(_, edits)| *edits <= 3);
    let meant = meant.map_or_else(String::new, |(near, _)| format!("did you mean {near}? "));
    format!("unknown key {}: {meant}{place} takes {}", quoted(name), known.join(", "))
}
