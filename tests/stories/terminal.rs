//! The command line as a person sees it: on a terminal of 80 columns.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::process::{Command, ExitStatus};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::Value;

use crate::executable::Place;
use crate::install::App;

const COLUMNS: u16 = 80;

/// What a person sees of a command, and how it ends.
fn seen(command: &mut Command) -> (String, ExitStatus) {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    tcsetwinsize(&terminal, Winsize { ws_row: 24, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
    let side = || OpenOptions::new().read(true).write(true).open(&name).unwrap();
    let mut child = command.stdout(side()).stderr(side()).spawn().unwrap();
    // Reading ends when the last side that can write is closed, and this process has two.
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut seen = Vec::new();
    let mut terminal = File::from(terminal);
    let mut part = [0; 4096];
    while let Ok(count @ 1..) = terminal.read(&mut part) {
        seen.extend_from_slice(&part[..count]);
    }
    let status = child.wait().unwrap();
    (String::from_utf8(seen).unwrap().replace("\r\n", "\n"), status)
}

/// What a person sees of a command that goes well.
#[track_caller]
fn shown(place: &Place, args: &[&str]) -> String {
    let (text, status) = seen(&mut place.command(args));
    assert!(status.success(), "{args:?}: {text}");
    text
}

fn register(place: &Place, name: &str, owner: &str) -> Value {
    let redirect =
        ["--redirect-uri", "https://app.example/callback", "--scope", "widgets", "--scope", "faqs"];
    place.json(&[&["app", "register", "--json", "--name", name, "--owner", owner][..], &redirect].concat())
}

#[test]
fn a_person_who_gets_nothing_is_told_so_and_why() {
    let place = Place::empty();
    let app = register(&place, "App", "Owner");
    let id = app["client_id"].as_str().unwrap();
    let serving = place.serve();
    let later = "2999-01-01T00:00:00.000000Z is still to come";
    for (args, said) in [
        (&["audit", "events", "--until", "2020-01-01"][..], "no events".to_owned()),
        (&["audit", "events", "--since", "2999-01-01"], format!("no events: {later}")),
        (
            &["audit", "events", "--account", "nosuch"],
            "no events: nothing in the ledger is about the account nosuch".to_owned(),
        ),
        (
            &["audit", "events", "--app", id, "--actor", "eve", "--format", "ndjson"],
            "no events: nothing in the ledger was done by the actor eve".to_owned(),
        ),
        (
            &["audit", "events", "--app", id, "--until", "2020-01-01", "--format", "csv"],
            "no events".to_owned(),
        ),
        (
            &["audit", "installations", "--account", "nosuch"],
            "nothing in the ledger is about the account nosuch".to_owned(),
        ),
        (
            &["audit", "diff", "--account", "nosuch", "--from", "1"],
            "nothing in the ledger is about the account nosuch".to_owned(),
        ),
        (
            &["installation", "list", "--account", "nosuch"],
            "nothing in the ledger is about the account nosuch".to_owned(),
        ),
        (&["events", "--after", "1"], "no events".to_owned()),
        (&["events", "--stream", &format!("app-{}", "0".repeat(32))], "no events".to_owned()),
        (&["replay", "run", "--until", "2020-01-01", "--dump"], "no events".to_owned()),
    ] {
        let text = shown(&place, args);
        assert!(text.lines().any(|line| line == said), "{args:?}: {text}");
        let output = place.run(args);
        assert!(output.status.success() && output.stderr.is_empty(), "nobody looks: {output:?}");
    }
    serving.stop();
}

/// How many columns of a terminal a line takes. The wide characters are those that these tests use.
fn width(line: &str) -> usize {
    line.chars().map(|c| if ('\u{3000}'..'\u{a000}').contains(&c) { 2 } else { 1 }).sum()
}

#[test]
fn a_list_fits_the_terminal_with_names_first_and_ids_whole() {
    let place = Place::empty();
    let long = "日本語のとても長い名前のアプリケーション";
    let app = register(&place, long, "The Company of Many Words and Few Deeds, Limited");
    let id = app["client_id"].as_str().unwrap();
    place.json(&[
        "key",
        "new",
        "--name",
        "a key with a name that goes on and on",
        "--role",
        "auditor",
        "--json",
    ]);
    let serving = place.serve();
    let installed = App::of(&serving, &app).install();
    for (args, head, whole) in [
        (&["app", "list"][..], "NAME", id),
        (&["key", "list"], "NAME", "auditor"),
        (&["installation", "list", "--app", id], "APP", &installed.installation_id),
        (&["audit", "events"], "POS", "access-granted"),
        (&["audit", "events", "--app", id], "POS", "code-exchanged"),
    ] {
        let text = shown(&place, args);
        assert!(text.trim_start().starts_with(head) && text.contains(whole), "{args:?}: {text}");
        for line in text.lines() {
            assert!(width(line) <= usize::from(COLUMNS), "{args:?}: {line}");
        }
        let wide = shown(&place, &[args, &["--wide"]].concat());
        assert!(!wide.contains('…') && wide.lines().any(|line| width(line) > 80), "{args:?}: {wide}");
        assert!(!place.ok(args).contains('…'), "where nobody looks nothing is cut");
    }
    let apps = shown(&place, &["app", "list"]);
    assert!(apps.contains("日本語") && apps.contains('…') && !apps.contains(long), "{apps}");
    assert!(shown(&place, &["app", "list", "--wide"]).contains(long));
    // What the environment says counts more.
    let columns = |columns: &str| seen(place.command(&["app", "list"]).env("COLUMNS", columns)).0;
    assert!(columns("300").contains(long) && columns("120").contains('…'));
    serving.stop();
}

#[test]
fn the_help_fits_the_terminal_and_names_own_options_first() {
    let place = Place::empty();
    let help = shown(&place, &["audit", "events", "--help"]);
    for line in help.lines() {
        assert!(width(line) <= usize::from(COLUMNS), "{line}");
    }
    let (own, shared) = help.split_once("Shared options:").unwrap();
    assert!(own.contains("--since") && own.contains("--wide") && !own.contains("--data"), "{help}");
    assert!(shared.contains("--data") && shared.contains("--server"), "{help}");
    assert!(shared.contains("WHEN is a position of the ledger") && shared.contains("7d, 12h"), "{help}");
}

#[test]
fn shells_and_man_are_told_of_the_commands() {
    let place = Place::empty();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = place.ok(&["completions", shell]);
        assert!(script.contains("grantbook") && script.contains("rotate-secret"), "{shell}");
    }
    assert_eq!(place.fails(&["completions", "sh"]).0, 2);
    let pages = place.dir.path().join("man").join("man1");
    place.ok(&["man", pages.to_str().unwrap()]);
    let page = |name: &str| std::fs::read_to_string(pages.join(name)).unwrap();
    assert!(page("grantbook.1").contains("audit"));
    assert!(page("grantbook-app-list.1").contains("wide"));
    let file = place.dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let (code, said) = place.fails(&["man", file.to_str().unwrap()]);
    assert!(code == 1 && said.contains("cannot be written"), "{code}: {said}");
}

/// The log and what is printed meet on a terminal.
#[test]
fn where_to_begin_is_the_last_line_of_a_start() {
    let place = Place::empty();
    let shown = place.dir.path().join("shown");
    let side = || OpenOptions::new().create(true).append(true).open(&shown).unwrap();
    let mut served = place.command(&["serve", "--dev"]).stdout(side()).stderr(side()).spawn().unwrap();
    let text = loop {
        let text = std::fs::read_to_string(&shown).unwrap();
        if text.contains("grantbook is at http://127.0.0.1:") && text.ends_with('\n') {
            break text;
        }
        assert!(served.try_wait().unwrap().is_none(), "{text}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    served.kill().unwrap();
    served.wait().unwrap();
    let last = text.lines().last().unwrap();
    assert!(last.starts_with("Open http://127.0.0.1:"), "{text}");
    assert!(last.contains(" to install the sample app; grantbook is at http://127.0.0.1:"), "{text}");
    assert!(text.contains("the sample app is registered") && text.contains("serving url="), "{text}");
}
