//! Planted violations: each rule complains of what it is for, and of nothing beside it.

use super::source::{Source, TEXT, is_test, tokens};
use super::*;

fn complaints(path: &str, code: &str) -> Complaints {
    all_rules(&Source::new(path, &format!("//! Planted.\n{code}\n")))
}

#[track_caller]
fn complains(path: &str, code: &str, expected: &str) {
    assert_eq!(complaints(path, code), [format!("{path}:2: {expected}")], "{code}");
}

#[track_caller]
fn passes(path: &str, code: &str) {
    assert_eq!(complaints(path, code), Complaints::new(), "{code}");
}

#[test]
fn a_room_that_knows_too_much() {
    complains("src/decisions/grant.rs", "use crate::store::Record;", "decisions must not know store");
    complains(
        "src/decisions/grant.rs",
        "use crate::{decisions::x, secrets::Plain};",
        "decisions must not know secrets",
    );
    complains("src/decisions/grant.rs", "fn f() { crate::clock::now(); }", "decisions must not know clock");
    complains("src/decisions/mod.rs", "use super::ledger::Ledger;", "decisions must not know ledger");
    complains("src/decisions/a/b.rs", "use super::super::super::{store};", "decisions must not know store");
    complains("src/store/mod.rs", "use crate::decisions;", "store must not know decisions");
    complains("src/http/token.rs", "use crate::store::Store;", "http must not know store");
    complains("src/pages/consent.rs", "use crate::{a, http::{b::{c}}};", "pages must not know http");
    complains("src/ledger/mod.rs", "pub use crate::http::Form as F;", "ledger must not know http");
    complains("src/main.rs", "use grantbook::store::Store;", "main must not know store");
    let unknown = complaints("src/rumours.rs", "");
    assert_eq!(unknown, ["src/rumours.rs:1: rumours is no known room: give it a row in tests/tidy/rooms.rs"]);

    passes("src/ledger/mod.rs", "use crate::{decisions::Command, store::{self, Store}};");
    passes("src/http/token.rs", "use super::form; use super::super::ledger::Ledger; use self::store::x;");
    passes(
        "src/decisions/a.rs",
        "// crate::store\n/* crate::store /* */ crate::http */ const S: &str = \"crate::store\";",
    );
    passes(
        "src/decisions/a.rs",
        "#[cfg(test)] mod tests { use crate::store::Store; fn f() { x.unwrap(); } }",
    );
}

#[test]
fn what_follows_a_test_is_looked_at() {
    complains("src/store/a.rs", "#[cfg(test)] mod tests; use crate::http::X;", "store must not know http");
    complains(
        "src/store/a.rs",
        "#[cfg(test)] fn f() { g([1; 2]); } use crate::http::X;",
        "store must not know http",
    );
    complains(
        "src/store/a.rs",
        "const Q: char = '\"'; use crate::http::X; const R: char = '\"';",
        "store must not know http",
    );
    complains("src/store/a.rs", "const Q: char = '\\''; use crate::http::X;", "store must not know http");
    complains("src/store/a.rs", "const R: &str = r#\"\"#; use crate::http::X;", "store must not know http");
    complains("src/store/a.rs", "fn f<'a>(a: &'a str) {} use crate::http::X;", "store must not know http");
}

#[test]
fn a_word_that_must_not_be_said() {
    complains("src/decisions/a.rs", "async fn f() {}", "decisions must not say async");
    complains("src/decisions/a.rs", "use std::time::Instant;", "decisions must not say Instant");
    complains("src/decisions/a.rs", "use actix_web::web;", "decisions must not say actix_web");
    complains("src/decisions/a.rs", "fn f() { rand::random() }", "decisions must not say rand");
    complains("src/store/a.rs", "use grantbook_events::codec;", "store must not say codec");
    complains("src/identity/a.rs", "use grantbook_events::ClientId;", "identity must not say ClientId");
    complains("src/server.rs", "use std::time::SystemTime;", "server must not say SystemTime");
    complains("src/ledger/mod.rs", "use rusqlite::Connection;", "ledger must not say rusqlite");
    complains("events/src/a.rs", "use tokio::sync;", "an event or a fold must not say tokio");
    complains(
        "projections/src/a.rs",
        "use std::time::SystemTime;",
        "an event or a fold must not say SystemTime",
    );
    passes("src/store/a.rs", "use rusqlite::Connection;");
    passes("src/clock.rs", "use std::time::SystemTime;");
    passes("src/decisions/a.rs", "fn asynchronous() { brand() }");
}

#[test]
fn the_environment_elsewhere() {
    let said = "the environment is read in config.rs only";
    complains("src/telemetry.rs", "fn f() { std::env::var(\"RUST_LOG\"); }", said);
    complains("src/http/mod.rs", "use std::{env, fs};", said);
    complains("events/src/a.rs", "use std::env::args;", said);
    passes("src/config/sources.rs", "use std::env;");
    passes("src/cli/mod.rs", "fn f() { std::env::args() }");
    passes("src/http/mod.rs", "const V: &str = env!(\"CARGO_PKG_VERSION\");");
}

#[test]
fn shortcuts_and_wildcards() {
    complains("src/http/a.rs", "fn f() { x.unwrap(); }", ".unwrap() outside tests");
    complains("events/src/a.rs", "fn f() { x.expect(\"y\"); }", ".expect() outside tests");
    passes("src/http/a.rs", "#[expect(dead_code)] fn f() { x.unwrap_or_default(); x.expect_err(y); }");
    passes("tests/a.rs", "fn f() { x.unwrap(); }");

    let said = "an event must not be skipped by a wildcard";
    complains("projections/src/app.rs", "fn f() { match e { A => 1, _ => {} } }", said);
    complains("projections/src/app.rs", "fn f() { match e { A => 1, _ => Ok(()) } }", said);
    complains("projections/src/app.rs", "fn f() { match e { A => 1, _ => () } }", said);
    passes("projections/src/app.rs", "fn f() { match n { 1 => a, _ => b } }");
}

#[test]
fn the_form_of_a_file() {
    let silent = Source::new("src/http/a.rs", "fn f() {}");
    assert_eq!(form(&silent), ["src/http/a.rs:1: a file opens with //! and what it knows and must not know"]);
    let long = format!("//! Long.\n{}", "fn f() {}\n".repeat(MAX_LINES));
    assert!(
        form(&Source::new("src/http/a.rs", &long))[0].contains("401 lines before the tests, more than 400")
    );
    let tests =
        format!("//! Short.\nfn f() {{}}\n#[cfg(test)]\nmod tests {{\n{}}}", "fn f() {}\n".repeat(900));
    assert_eq!(form(&Source::new("src/http/a.rs", &tests)), Complaints::new());
    for path in ["src/http/util.rs", "src/common/mod.rs", "tests/helpers/a.rs"] {
        let said = form(&Source::new(path, "//! A.\n"));
        assert_eq!(said, [format!("{path}:1: a name that says nothing of what is inside")]);
    }
}

#[test]
fn a_file_declared_as_a_test_is_one_and_its_neighbour_is_not() {
    let parents = [
        Source::new("src/store/mod.rs", "//! A.\n#[cfg(test)]\npub(crate) mod contract;\nmod record;"),
        Source::new("src/config.rs", "//! A.\n#[cfg(test)] mod tests;"),
    ];
    for test in [
        "src/store/contract.rs",
        "src/store/contract/more.rs",
        "src/config/tests.rs",
        "src/config/tests/mod.rs",
    ] {
        assert!(is_test(Path::new(test), &parents), "{test}");
    }
    for product in
        ["src/store/record.rs", "src/store/mod.rs", "src/contract.rs", "src/tests.rs", "src/config.rs"]
    {
        assert!(!is_test(Path::new(product), &parents), "{product}");
    }
}

#[test]
fn a_stranger_on_the_top_level() {
    let names = ["Cargo.toml", "src", ".ci", "LICENSE-MIT", "target", "scripts", "deny.toml"];
    let said = top_level(names, "/target\n*.tmp\n");
    assert_eq!(
        said,
        ["scripts does not belong on the top level", "deny.toml does not belong on the top level"]
    );
}

#[test]
fn lines_are_counted_through_texts_and_comments() {
    let text = "a\n\"two\nlines\"\n/* three\n\nlines */ b\nr#\"\n\"# c";
    let lines: Vec<(String, usize)> =
        tokens(text).into_iter().map(|token| (token.text, token.line)).collect();
    let texts = [2, 3].map(|line| (TEXT.to_owned(), line));
    let raw = [7, 8].map(|line| (TEXT.to_owned(), line));
    let [a, b, c] = [("a", 1), ("b", 6), ("c", 8)].map(|(text, line)| (text.to_owned(), line));
    assert_eq!(lines, [&[a][..], &texts, &[b], &raw, &[c]].concat());
}
