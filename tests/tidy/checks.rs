//! `docs/checks.md` is right: each test that it names exists, and each check number that code and tests use is
//! in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::source::Source;
use super::{Complaints, sources, top};

/// The letters that check numbers begin with.
const GROUPS: &str = "ABCDKLPRTUX";

/// The checks of the page, each with the tests that prove it, as `path::name`.
fn defined(page: &str) -> BTreeMap<String, Vec<String>> {
    let rows = page.lines().filter_map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let number = cells.first().filter(|cell| is_number(cell))?;
        let proofs = cells.last()?.split('`').filter(|part| part.contains("::"));
        Some(((*number).to_owned(), proofs.map(str::to_owned).collect()))
    });
    rows.collect()
}

/// Such as `A3` or `T8`.
fn is_number(word: &str) -> bool {
    word.split_at_checked(1).is_some_and(|(group, digits)| {
        GROUPS.contains(group)
            && matches!(digits.len(), 1 | 2)
            && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// The check numbers in a source: words of its comments, and what names of functions begin with.
fn used(source: &Source) -> BTreeSet<String> {
    let comments = source.text.lines().filter(|line| line.trim_start().starts_with("//"));
    let words = comments.flat_map(|comment| comment.split(|c: char| !c.is_ascii_alphanumeric()));
    let names = source.text.lines().filter_map(|line| line.split_once("fn "));
    let names =
        names.flat_map(|(_, name)| name.split('_').map(str::to_uppercase).take_while(|part| is_number(part)));
    words.filter(|word| is_number(word)).map(str::to_owned).chain(names).collect()
}

fn complaints(page: &str, sources: &[Source]) -> Complaints {
    let defined = defined(page);
    let exists = |proof: &str| {
        proof.rsplit_once("::").is_some_and(|(path, name)| {
            let declaration = format!("fn {name}(");
            sources
                .iter()
                .any(|source| source.path.to_str() == Some(path) && source.text.contains(&declaration))
        })
    };
    let unproved = defined.iter().filter(|(_, proofs)| proofs.is_empty());
    let unproved = unproved.map(|(number, _)| format!("{number} names no test"));
    let missing = defined.iter().flat_map(|(number, proofs)| proofs.iter().map(move |proof| (number, proof)));
    let missing = missing.filter(|(_, proof)| !exists(proof));
    let missing = missing.map(|(number, proof)| format!("{number} names {proof}, which does not exist"));
    let undefined =
        sources.iter().flat_map(|source| used(source).into_iter().map(move |number| (source, number)));
    let undefined = undefined.filter(|(_, number)| !defined.contains_key(number));
    let undefined = undefined
        .map(|(source, number)| format!("{} uses {number}, which is not there", source.path.display()));
    unproved.chain(missing).chain(undefined).collect()
}

#[test]
fn every_check_is_defined_and_proved() {
    let page = fs::read_to_string(top().join("docs/checks.md")).expect("docs/checks.md");
    assert!(defined(&page).len() > 30, "the page was read");
    let complaints = complaints(&page, sources());
    assert!(complaints.is_empty(), "docs/checks.md:\n{}\n", complaints.join("\n"));
}

#[test]
fn a_check_that_is_undefined_or_unproved_is_complained_of() {
    let page = "| A1 | `x` holds | RFC 1 | `tests/a.rs::a1_is_so`, `tests/a.rs::a1_is_gone` |\n| T2 | y | z | later |";
    let source =
        Source::new("tests/a.rs", "//! Planted (A1; K30, S256).\nfn a1_c3_is_so() {}\nfn a1_is_so() {}\n");
    assert_eq!(
        complaints(page, &[source]),
        [
            "T2 names no test",
            "A1 names tests/a.rs::a1_is_gone, which does not exist",
            "tests/a.rs uses C3, which is not there",
            "tests/a.rs uses K30, which is not there",
        ]
    );
}
