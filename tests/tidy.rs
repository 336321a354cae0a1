//! The borders of `docs/architecture.md`, held. Each rule is a function from sources to complaints;
//! `tidy/planted.rs` shows that each one complains.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

#[path = "tidy/checks.rs"]
mod checks;
#[path = "tidy/planted.rs"]
mod planted;
#[path = "tidy/rooms.rs"]
mod rooms;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/whole.rs"]
mod whole;

use rooms::{HTTP, ROOMS};
use source::{Source, is_test};

/// Rooms where the ambient time, the environment, and the database may be named.
const TIME: &[&str] = &["clock"];
const ENVIRONMENT: &[&str] = &["config", "main", "cli"];
const DATABASE: &[&str] = &["store", "audit", "replay"];

/// What the two crates beside the server may not name.
const NOT_IN_CRATES: &[&str] =
    &[HTTP, "async", "await", "tokio", "rusqlite", "rand", "ureq", "Instant", "SystemTime"];

const TOP_LEVEL: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "src",
    "events",
    "projections",
    "tests",
    "benches",
    "docs",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
];

const MAX_LINES: usize = 400;
/// Files that may be longer, and why.
const LONGER: &[(&str, &str)] = &[];

/// Names that say nothing of what is inside.
const NO_NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "misc"];

type Complaints = Vec<String>;

fn complaint(source: &Source, line: usize, what: impl std::fmt::Display) -> String {
    format!("{}:{line}: {what}", source.path.display())
}

/// The room a file of `src/` lies in.
fn room_of(source: &Source) -> Option<String> {
    let below_src = source.path.strip_prefix("src").ok()?;
    below_src.with_extension("").iter().next().map(|part| part.to_string_lossy().into_owned())
}

/// A room names only the rooms it may know.
fn borders(source: &Source) -> Complaints {
    let Some(here) = room_of(source) else { return vec![] };
    let Some(room) = ROOMS.iter().find(|room| room.name == here) else {
        return vec![complaint(
            source,
            1,
            format!("{here} is no known room: give it a row in tests/tidy/rooms.rs"),
        )];
    };
    let is_elsewhere = |name: &str| name != here && ROOMS.iter().any(|room| room.name == name);
    let foreign = source.paths().into_iter().filter_map(|(path, line)| match path.as_slice() {
        [root, name, ..]
            if root == "crate" && is_elsewhere(name) && !room.may_know.contains(&name.as_str()) =>
        {
            Some(complaint(source, line, format!("{here} must not know {name}")))
        }
        _ => None,
    });
    foreign.collect()
}

/// A room, or a crate, says none of the words it must not.
fn words(source: &Source) -> Complaints {
    let (here, forbidden) = match room_of(source) {
        Some(here) => {
            let room = ROOMS.iter().find(|room| room.name == here);
            let mut forbidden = room.map_or_else(Vec::new, |room| room.must_not_say.to_vec());
            for (word, rooms) in [("SystemTime", TIME), ("rusqlite", DATABASE)] {
                if !rooms.contains(&here.as_str()) && !forbidden.contains(&word) {
                    forbidden.push(word);
                }
            }
            (here, forbidden)
        }
        None if is_in_crate(source) => ("an event or a fold".to_owned(), NOT_IN_CRATES.to_vec()),
        None => return vec![],
    };
    // A library may use the same word for something of its own.
    let is_librarys =
        |at: usize| source.tokens[at.saturating_sub(3)..at].iter().any(|before| before.text == "tonic");
    let said = source.tokens.iter().enumerate();
    let said = said.filter(|(at, token)| forbidden.contains(&token.text.as_str()) && !is_librarys(*at));
    said.map(|(_, token)| complaint(source, token.line, format!("{here} must not say {}", token.text)))
        .collect()
}

fn is_in_crate(source: &Source) -> bool {
    source.path.starts_with("events/src") || source.path.starts_with("projections/src")
}

/// The environment is touched in one place.
fn environment(source: &Source) -> Complaints {
    if room_of(source).is_some_and(|here| ENVIRONMENT.contains(&here.as_str())) || !is_product(source) {
        return vec![];
    }
    let named =
        source.paths().into_iter().filter(|(path, _)| path.starts_with(&["std".into(), "env".into()]));
    named.map(|(_, line)| complaint(source, line, "the environment is read in config.rs only")).collect()
}

/// Code that runs in production, as opposed to tests and benchmarks.
fn is_product(source: &Source) -> bool {
    room_of(source).is_some() || is_in_crate(source)
}

/// No shortcut past an error.
fn shortcuts(source: &Source) -> Complaints {
    if !is_product(source) {
        return vec![];
    }
    let shortcut = |name: &'static str| {
        let lines = source.lines_with(&[".", name, "("]);
        lines.into_iter().map(move |line| complaint(source, line, format!(".{name}() outside tests")))
    };
    shortcut("unwrap").chain(shortcut("expect")).collect()
}

/// A fold says what each event does, also if it does nothing.
fn wildcards(source: &Source) -> Complaints {
    if !source.path.starts_with("projections/src") {
        return vec![];
    }
    let nothing: [&[&str]; 3] =
        [&["_", "=>", "{", "}"], &["_", "=>", "(", ")"], &["_", "=>", "Ok", "(", "(", ")", ")"]];
    let lines = nothing.into_iter().flat_map(|arm| source.lines_with(arm));
    lines.map(|line| complaint(source, line, "an event must not be skipped by a wildcard")).collect()
}

/// A file says what it knows before anything else, is short enough to read, and has a name that says something.
fn form(source: &Source) -> Complaints {
    let mut complaints = Complaints::new();
    if !source.text.starts_with("//!") {
        complaints.push(complaint(source, 1, "a file opens with //! and what it knows and must not know"));
    }
    let may_be_longer = LONGER.iter().any(|(path, _)| source.path == Path::new(path));
    if source.lines() > MAX_LINES && !may_be_longer {
        let what = format!("{} lines before the tests, more than {MAX_LINES}", source.lines());
        complaints.push(complaint(source, MAX_LINES, what));
    }
    let names = source.path.with_extension("");
    if names.iter().any(|name| NO_NAMES.iter().any(|no| name == *no)) {
        complaints.push(complaint(source, 1, "a name that says nothing of what is inside"));
    }
    complaints
}

/// The top level holds what the first page of the documentation names, what git ignores, and dotfiles.
fn top_level<'a>(names: impl IntoIterator<Item = &'a str>, gitignore: &str) -> Complaints {
    let ignored: BTreeSet<&str> = gitignore.lines().filter_map(|line| line.strip_prefix('/')).collect();
    let strange =
        |name: &&str| !name.starts_with('.') && !TOP_LEVEL.contains(name) && !ignored.contains(name);
    names.into_iter().filter(strange).map(|name| format!("{name} does not belong on the top level")).collect()
}

/// Every rule on one file that is no test.
fn all_rules(source: &Source) -> Complaints {
    [borders, words, environment, shortcuts, wildcards, form].iter().flat_map(|rule| rule(source)).collect()
}

fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file of the repository.
fn sources() -> &'static [Source] {
    static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(read_sources);
    &SOURCES
}

#[expect(clippy::expect_used, reason = "a test that cannot read what it checks has failed")]
fn read_sources() -> Vec<Source> {
    let mut found = Vec::new();
    let mut directories: Vec<PathBuf> =
        ["src", "events", "projections", "tests", "benches"].iter().map(|name| top().join(name)).collect();
    while let Some(directory) = directories.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source");
                found.push(Source::new(path.strip_prefix(top()).expect("below the top"), &text));
            }
        }
    }
    found
}

#[test]
fn the_borders_hold() {
    let sources = sources();
    assert!(sources.len() > 10, "the sources were found");
    let complaints: Complaints = sources
        .iter()
        .flat_map(
            |source| if is_test(&source.path, sources) { form_of_test(source) } else { all_rules(source) },
        )
        .collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// Of a file with nothing but tests, all that matters is that it says so.
fn form_of_test(source: &Source) -> Complaints {
    form(source).into_iter().filter(|complaint| !complaint.contains("lines before the tests")).collect()
}

#[test]
fn the_top_level_is_short() {
    let entries: Vec<String> = fs::read_dir(top())
        .expect("the top level")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    let gitignore = fs::read_to_string(top().join(".gitignore")).expect(".gitignore");
    let complaints = top_level(entries.iter().map(String::as_str), &gitignore);
    assert!(complaints.is_empty(), "{complaints:?}");
}

/// If knowledge went round in a circle, there would be no direction left to hold.
#[test]
fn knowledge_has_a_direction() {
    let mut settled: BTreeSet<&str> = BTreeSet::new();
    loop {
        let ready: Vec<&str> = ROOMS
            .iter()
            .filter(|room| {
                !settled.contains(room.name) && room.may_know.iter().all(|name| settled.contains(name))
            })
            .map(|room| room.name)
            .collect();
        if ready.is_empty() {
            break;
        }
        settled.extend(ready);
    }
    let circle: Vec<&str> =
        ROOMS.iter().map(|room| room.name).filter(|name| !settled.contains(name)).collect();
    assert!(
        circle.is_empty(),
        "these rooms know each other in a circle, or a room that is not there: {circle:?}"
    );
}
