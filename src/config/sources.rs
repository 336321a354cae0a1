//! Where settings are found: the file, the environment, the flags. Knows: how each spells a key. Must not
//! know: what a value means.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::error::{ConfigError, Mistake, Place};
use super::file::{self, WrittenScope};
use super::remote::{KEY_VARIABLE, SERVER_VARIABLE};
use super::service_links;
use super::settings::{self, ALL, Setting};

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
    /// The directory the ledger rests in
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
    fn givens(&self) -> impl Iterator<Item = (&'static Setting, &str)> {
        let dev = self.dev.then_some("dev");
        let strict = self.strict.then_some("refuse");
        [
            (&settings::LISTEN, self.listen.as_deref()),
            (&settings::ISSUER, self.issuer.as_deref()),
            (&settings::DATA_DIR, self.data.as_deref()),
            (&settings::SIGN_IN_MODE, dev),
            (&settings::LEDGER_UNREADABLE, strict),
            (&settings::STORE_URL, self.store.as_deref()),
            (&settings::LOG_FORMAT, self.log_format.as_deref()),
        ]
        .into_iter()
        .filter_map(|(setting, text)| Some((setting, text?)))
    }
}

/// Which file to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigFile {
    /// None.
    Nowhere,
    /// This one, if it is there.
    IfPresent(PathBuf),
    /// This one; it is an error if it is not there.
    Named(PathBuf),
    /// The same, if a variable names it: `GRANTBOOK_CONFIG`.
    NamedByVariable(PathBuf),
}

/// Everything a configuration is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// The file.
    pub file: ConfigFile,
    /// The environment, by name and value.
    pub environment: Vec<(String, String)>,
    /// The flags.
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
                    mistakes.push(Mistake::new(Place::Variable(name.to_owned()), "the value is not UTF-8"));
                }
            }
        }
        if mistakes.is_empty() { Ok(Self::new(environment, flags)) } else { Err(ConfigError::of(mistakes)) }
    }
}

/// A value as it was written, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given {
    pub text: String,
    pub place: Place,
}

/// All sources laid over each other: for each key what the strongest source says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Layers {
    givens: BTreeMap<&'static str, Given>,
    /// The scopes of the file, if it has any.
    pub scopes: Vec<WrittenScope>,
}

impl Layers {
    /// Reads the sources, the weakest first: defaults, file, environment, flags. What is wrong with them is
    /// noted; nothing is known if there is a file that says nothing.
    pub fn read(sources: &Sources, mistakes: &mut Vec<Mistake>) -> Option<Self> {
        let mut layers = Self::default();
        for setting in ALL {
            if let Some(default) = setting.default {
                layers.set(setting, default, Place::Default);
            }
        }
        let written = match read_file(&sources.file) {
            Ok(None) => Some(file::Written::default()),
            Ok(Some((path, text))) => file::parse(&path, &text, mistakes),
            Err(mistake) => {
                mistakes.push(mistake);
                None
            }
        };
        let is_read = written.is_some();
        let written = written.unwrap_or_default();
        layers.givens.extend(written.givens);
        layers.scopes = written.scopes;
        // A variable that is empty is not set.
        for (name, value) in sources.environment.iter().filter(|(_, value)| !value.is_empty()) {
            match setting_of_variable(name, value) {
                Ok(Some(setting)) => layers.set(setting, value, Place::Variable(name.clone())),
                Ok(None) => {}
                Err(mistake) => mistakes.push(mistake),
            }
        }
        for (setting, text) in sources.flags.givens() {
            layers.set(setting, text, Place::Flag(setting.flag.unwrap_or_default()));
        }
        is_read.then_some(layers)
    }

    /// Lays a value over what is there.
    pub fn set(&mut self, setting: &Setting, text: impl Into<String>, place: Place) {
        self.givens.insert(setting.key, Given { text: text.into(), place });
    }

    /// What the strongest source says, if any does.
    pub fn get(&self, setting: &Setting) -> Option<&Given> {
        self.givens.get(setting.key)
    }

    /// Where a key that has a value got it from.
    pub fn place(&self, setting: &Setting) -> Place {
        self.get(setting).map_or(Place::Default, |given| given.place.clone())
    }
}

fn read_file(file: &ConfigFile) -> Result<Option<(PathBuf, String)>, Mistake> {
    let (path, namer) = match file {
        ConfigFile::Nowhere => return Ok(None),
        ConfigFile::IfPresent(path) => (path, None),
        ConfigFile::Named(path) => (path, Some(Place::Flag(FILE_FLAG))),
        ConfigFile::NamedByVariable(path) => (path, Some(Place::Variable(FILE_VARIABLE.to_owned()))),
    };
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some((path.clone(), text))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && namer.is_none() => Ok(None),
        Err(_) if path.as_os_str().is_empty() => {
            let message = "it is empty: name the configuration file, or leave it out";
            Err(Mistake::new(namer.unwrap_or(Place::Default), message))
        }
        Err(error) => {
            let place = Place::WholeFile(path.clone());
            Err(match namer {
                // The file alone does not say where it was named.
                Some(variable @ Place::Variable(_)) => {
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
    if let Some(setting) = ALL.into_iter().find(|setting| setting.variable() == name) {
        return Ok(Some(setting));
    }
    let message = if name == "GRANTBOOK_SCOPES" {
        "scopes cannot be set by a variable: describe them as [[scopes]] in the configuration file".to_owned()
    } else {
        let known: Vec<String> = ALL.iter().map(|setting| setting.variable()).collect();
        let known = known.iter().map(String::as_str).chain(VARIABLES_OF_OTHERS);
        let nearest = settings::nearest(name, known).unwrap_or_default();
        format!("unknown variable: the nearest known one is {nearest}")
    };
    Err(Mistake::new(Place::Variable(name.to_owned()), message))
}
