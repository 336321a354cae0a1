//! Where settings are found: the file, the environment, the flags. Knows: how each spells a key. Must not
//! know: what a value means.

use std::path::PathBuf;

use super::environment::{KEY_VARIABLE, SERVER_VARIABLE};
use super::error::{ConfigError, Mistake, Origin};
use super::file;
use super::merged::Merged;
use super::service_links;
use super::settings::{ALL, Setting, nearest};

/// The file that is read if it is there and no other is named.
pub const DEFAULT_FILE: &str = "grantbook.toml";
/// What every environment variable of grantbook begins with.
const PREFIX: &str = "GRANTBOOK_";
/// Names the configuration file, as `--config` does.
const FILE_VARIABLE: &str = "GRANTBOOK_CONFIG";
/// The flag that does the same.
const FILE_FLAG: &str = "--config";
/// Variables that other parts of grantbook read: the operator key and the address of the command line.
const VARIABLES_OF_OTHERS: [&str; 3] = [FILE_VARIABLE, KEY_VARIABLE, SERVER_VARIABLE];
/// Left to tests.
const TEST_PREFIX: &str = "GRANTBOOK_TEST_";

/// The flags that say something about the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct ConfigFlags {
    /// The configuration file [default: ./grantbook.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The address and port to serve on
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// The URL that names this server to everyone
    #[arg(long, value_name = "URL")]
    pub issuer: Option<String>,
    /// The directory the ledger is in
    #[arg(long, value_name = "DIR")]
    pub data: Option<String>,
    /// Let anyone sign in as anyone, on loopback only: for development
    #[arg(long)]
    pub dev: bool,
    /// Refuse to serve a ledger with an event that cannot be read or folded, rather than put its stream in
    /// quarantine
    #[arg(long)]
    pub strict: bool,
    /// Keep the ledger in an EventStoreDB or KurrentDB cluster (a password is better kept in the file or in
    /// GRANTBOOK_STORE_URL)
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// How log lines are written: text or json
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
}

impl ConfigFlags {
    /// What a flag says.
    fn text(&self, flag: &str) -> Option<&str> {
        match flag {
            "--listen" => self.listen.as_deref(),
            "--issuer" => self.issuer.as_deref(),
            "--data" => self.data.as_deref(),
            "--dev" => self.dev.then_some("dev"),
            "--strict" => self.strict.then_some("refuse"),
            "--store" => self.store.as_deref(),
            "--log-format" => self.log_format.as_deref(),
            _ => None,
        }
    }
}

/// Which file to read. One that is named must be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigFile {
    Nowhere,
    IfPresent(PathBuf),
    Named(PathBuf),
    /// By `GRANTBOOK_CONFIG`.
    NamedByVariable(PathBuf),
}

/// Everything a configuration is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    pub file: ConfigFile,
    /// By name and value.
    pub environment: Vec<(String, String)>,
    pub flags: ConfigFlags,
}

impl Sources {
    /// No file, no environment, no flags: the defaults.
    pub fn none() -> Self {
        Self { file: ConfigFile::Nowhere, environment: Vec::new(), flags: ConfigFlags::default() }
    }

    /// The file is the one `--config` names, else `GRANTBOOK_CONFIG`, else `./grantbook.toml` if it is there.
    pub fn new(environment: Vec<(String, String)>, flags: ConfigFlags) -> Self {
        let variable = environment.iter().find(|(name, _)| name == FILE_VARIABLE);
        let file = match (&flags.config, variable) {
            (Some(path), _) => ConfigFile::Named(path.clone()),
            (None, Some((_, path))) => ConfigFile::NamedByVariable(path.into()),
            (None, None) => ConfigFile::IfPresent(DEFAULT_FILE.into()),
        };
        Self { file, environment, flags }
    }

    /// From the environment of this process and its flags.
    ///
    /// # Errors
    /// The variables of grantbook that are not UTF-8.
    pub fn from_process(flags: ConfigFlags) -> Result<Self, ConfigError> {
        let (mut environment, mut mistakes) = (Vec::new(), Vec::new());
        for (name, value) in std::env::vars_os() {
            // The operator key is a secret and none of the configuration's business.
            let ours = |name: &&str| name.starts_with(PREFIX) && *name != KEY_VARIABLE;
            let Some(name) = name.to_str().filter(ours) else { continue };
            match value.into_string() {
                Ok(value) => environment.push((name.to_owned(), value)),
                Err(_) => {
                    mistakes.push(Mistake::new(Origin::Variable(name.to_owned()), "the value is not UTF-8"));
                }
            }
        }
        if mistakes.is_empty() { Ok(Self::new(environment, flags)) } else { Err(ConfigError::of(mistakes)) }
    }
}

/// Reads the sources, the weakest first: defaults, file, environment, flags. What is wrong with them is noted. None if
/// there is a file that says nothing.
pub(super) fn merge(sources: &Sources, mistakes: &mut Vec<Mistake>) -> Option<Merged> {
    let mut merged = Merged::defaults();
    let is_read = match read_file(&sources.file) {
        Ok(None) => true,
        Ok(Some((path, text))) => file::read(&path, &text, &mut merged, mistakes),
        Err(mistake) => {
            mistakes.push(mistake);
            false
        }
    };
    // A variable that is empty is not set.
    for (name, value) in sources.environment.iter().filter(|(_, value)| !value.is_empty()) {
        match setting_of_variable(name, value) {
            Ok(Some(setting)) => merged.set(setting, value, Origin::Variable(name.clone())),
            Ok(None) => {}
            Err(mistake) => mistakes.push(mistake),
        }
    }
    for setting in &ALL {
        if let Some(flag) = setting.flag
            && let Some(text) = sources.flags.text(flag)
        {
            merged.set(setting, text, Origin::Flag(flag));
        }
    }
    is_read.then_some(merged)
}

fn read_file(file: &ConfigFile) -> Result<Option<(PathBuf, String)>, Mistake> {
    let (path, namer) = match file {
        ConfigFile::Nowhere => return Ok(None),
        ConfigFile::IfPresent(path) => (path, None),
        ConfigFile::Named(path) => (path, Some(Origin::Flag(FILE_FLAG))),
        ConfigFile::NamedByVariable(path) => (path, Some(Origin::Variable(FILE_VARIABLE.to_owned()))),
    };
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some((path.clone(), text))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && namer.is_none() => Ok(None),
        Err(_) if path.as_os_str().is_empty() => {
            let message = "it is empty: name the configuration file, or leave it out";
            Err(Mistake::new(namer.unwrap_or(Origin::Default), message))
        }
        Err(error) => {
            let place = Origin::WholeFile(path.clone());
            Err(match namer {
                // The file alone does not say where it was named.
                Some(variable @ Origin::Variable(_)) => {
                    Mistake::new(variable, format!("the configuration file {place} cannot be read: {error}"))
                }
                _ => Mistake::new(place, format!("the configuration file cannot be read: {error}")),
            })
        }
    }
}

/// The setting a variable is for; `None` if the variable is none of the configuration's business.
fn setting_of_variable(name: &str, value: &str) -> Result<Option<&'static Setting>, Mistake> {
    let foreign =
        !name.starts_with(PREFIX) || name.starts_with(TEST_PREFIX) || service_links::is_one(name, value);
    if foreign || VARIABLES_OF_OTHERS.contains(&name) {
        return Ok(None);
    }
    if let Some(setting) = ALL.iter().find(|setting| setting.variable() == name) {
        return Ok(Some(setting));
    }
    let message = if name == "GRANTBOOK_SCOPES" {
        "scopes cannot be set by a variable: describe them as [[scopes]] in the configuration file".to_owned()
    } else {
        let known: Vec<String> = ALL.iter().map(|setting| setting.variable()).collect();
        let known = known.iter().map(String::as_str).chain(VARIABLES_OF_OTHERS);
        let (nearest, _) = nearest(name, known).unwrap_or_default();
        format!("unknown variable: the nearest known one is {nearest}")
    };
    Err(Mistake::new(Origin::Variable(name.to_owned()), message))
}
