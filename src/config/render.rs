//! The effective configuration as a file that could have been written. Knows: values as text and where each
//! came from. Must not know: any secret; files with keys in them are named, never read.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::Config;
use super::error::Origin;
use super::settings::ALL;

impl Config {
    /// The effective configuration as TOML, each value with where it came from as a comment. Reading it back
    /// gives the same configuration. It holds no secret.
    pub fn render(&self) -> String {
        let mut toml = String::from(
            "# The effective configuration. What stands later wins: default, file, environment, flags.\n",
        );
        let mut section = "";
        for setting in &ALL {
            if setting.section() != section {
                section = setting.section();
                let _ = writeln!(toml, "\n[{section}]");
            }
            let name = setting.name();
            // Writing to a String cannot fail.
            let _ = match self.merged.get(setting) {
                None => writeln!(toml, "# {name} is not set"),
                Some(written) => {
                    writeln!(toml, "{name} = {} # {}", literal(&written.value), origin(&written.origin))
                }
            };
        }
        for (index, scope) in self.scopes.definitions().iter().enumerate() {
            let place = self.merged.scopes.get(index).map_or(Origin::Default, |scope| scope.origin.clone());
            let aliases: Vec<String> = scope.aliases.iter().map(|alias| string(alias)).collect();
            let _ = writeln!(toml, "\n[[scopes]] # {}", origin(&place));
            let _ = writeln!(toml, "name = {}", string(&scope.name));
            let _ = writeln!(toml, "aliases = [{}]", aliases.join(", "));
            let _ = writeln!(toml, "sentence = {}", string(&scope.sentence));
            let _ = writeln!(toml, "default = {}", scope.default);
        }
        toml
    }

    /// The same for programs: `{"ok": true, "settings": [{"key", "value", "source"}], "scopes": […]}`; a key
    /// that is not set has the value null.
    pub fn document(&self) -> Value {
        let settings = ALL.iter().map(|setting| {
            let written = self.merged.get(setting);
            let source = written.map(|written| written.origin.to_string());
            json!({ "key": setting.key, "value": written.map(|written| &written.value), "source": source })
        });
        let scopes =
            self.scopes.definitions().iter().map(
                |scope| json!({ "name": scope.name, "aliases": scope.aliases, "sentence": scope.sentence }),
            );
        json!({ "ok": true, "settings": settings.collect::<Vec<_>>(), "scopes": scopes.collect::<Vec<_>>() })
    }
}

/// A whole number as it is, everything else as a string.
fn literal(text: &str) -> String {
    match text.parse::<u32>() {
        Ok(number) if number.to_string() == text => text.to_owned(),
        _ => string(text),
    }
}

fn string(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn origin(place: &Origin) -> String {
    match place {
        Origin::File { path, line, .. } => Origin::WholeFile(path.clone()).to_string() + &format!(":{line}"),
        place => place.to_string(),
    }
}
