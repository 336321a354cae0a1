//! `docs/apps.md` and `docs/resources.md`: the programs that they print, run as they stand there.

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use grantbook::secrets;
use serde_json::json;

use crate::client::{Browser, Http, Pairs, Reply, encode};
use crate::harness::{App, Grantbook, touched};

const APPS: &str = include_str!("../../docs/apps.md");
const RESOURCES: &str = include_str!("../../docs/resources.md");
/// Nothing here may take longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// The piece of code of a language in a document that has this in it.
fn printed<'a>(document: &'a str, language: &str, with: &str) -> &'a str {
    let opening = format!("```{language}\n");
    let pieces = document.split(&opening).skip(1).map(|rest| rest.split("\n```").next().unwrap());
    let found: Vec<_> = pieces.filter(|piece| piece.contains(with)).collect();
    assert_eq!(found.len(), 1, "{language} with {with}");
    found[0]
}

/// Whether this machine can run a language; if not, that is said.
fn can_run(command: &str) -> bool {
    let is_there = Command::new(command).arg("--version").stdout(Stdio::null()).status().is_ok();
    if !is_there {
        // Not by a macro: people who run the tests are to see it also when they pass.
        let said = format!("{command} is missing: what docs/ prints for it was NOT run\n");
        let _ = std::io::stderr().write_all(said.as_bytes());
    }
    is_there
}

/// A program of the documents that serves.
struct Program {
    child: Child,
    http: Http,
    _directory: tempfile::TempDir,
}

impl Program {
    fn serve(command: &str, file: &str, code: &str, environment: Pairs<'_>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(file);
        std::fs::write(&path, code).unwrap();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let mut command = Command::new(command);
        command.arg(path).env("PORT", port.to_string()).envs(environment.iter().copied());
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "{file} does not serve: {ended:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        let http = Http::new(&format!("http://127.0.0.1:{port}"));
        Self { child, http, _directory: directory }
    }

    fn ask(&self, authorization: &str) -> Reply {
        let headers = [("authorization", authorization)];
        self.http.send("GET", "/", if authorization.is_empty() { &[] } else { &headers }, None)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A token of ana's with one scope.
fn token_for(grantbook: &Grantbook, app: &App, scope: &str) -> String {
    let query = encode(&[("client_id", &app.client_id), ("scope", scope)]);
    let code = grantbook.person("ana", "acme").approve(&query).param("code").unwrap();
    grantbook.exchange(app, &code).expect(200).text("access_token")
}

#[test]
fn the_api_of_resources_md_lets_in_whom_it_should() {
    if !can_run("python3") {
        return;
    }
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let key = grantbook.operator("resource").key;
    let environment = [("GRANTBOOK_URL", grantbook.issuer()), ("GRANTBOOK_KEY", key)];
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    let code = printed(RESOURCES, "python", "/oauth/introspect");
    let api = Program::serve("python3", "api.py", code, &environment);

    // In this order: a request for more is granted with what the app has.
    let (other, token) = (token_for(&grantbook, &app, "faqs"), token_for(&grantbook, &app, "widgets"));
    let bearer = |token: &str| format!("Bearer {token}");
    assert_eq!(api.ask(&bearer(&token)).expect(200).json(), json!({ "widgets of": "acme" }));
    for (authorization, status, challenge) in [
        ("", 401, "Bearer realm=\"api\""),
        ("Basic eDp5", 401, "Bearer realm=\"api\""),
        (&bearer(&touched(&token)), 401, "Bearer realm=\"api\", error=\"invalid_token\""),
        (&bearer("no token"), 401, "Bearer realm=\"api\", error=\"invalid_token\""),
        (&bearer(&other), 403, "Bearer realm=\"api\", error=\"insufficient_scope\", scope=\"widgets\""),
    ] {
        let reply = api.ask(authorization).expect(status);
        assert_eq!(reply.header("www-authenticate"), challenge, "{authorization}");
    }

    // What it kept is soon over.
    let revoke = [&app.credentials()[..], &[("token", &token)]].concat();
    grantbook.post("/oauth/revoke", &revoke).expect(200);
    let deadline = Instant::now() + PATIENCE;
    while api.ask(&bearer(&token)).status != 401 {
        assert!(Instant::now() < deadline, "a revoked token is let in");
        std::thread::sleep(Duration::from_millis(100));
    }
    // Of a grantbook that is not there, it takes nothing.
    let unknown = secrets::mint_token(secrets::locate_token(&token).unwrap());
    drop(grantbook);
    api.ask(&bearer(unknown.expose())).expect(503);
}

#[test]
fn l1_the_finder_of_resources_md_finds_what_leaked_and_nothing_else() {
    if !can_run("python3") {
        return;
    }
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let secrets = [
        grantbook.token(&app),
        grantbook.code(&app),
        app.secret.clone().unwrap(),
        grantbook.operator("auditor").key,
        secrets::MintedRefresh::first(secrets::locate_code(&grantbook.code(&app)).unwrap())
            .plain
            .expose()
            .to_owned(),
        grantbook.token(&app),
    ];
    let mut text = format!("nothing here\n{}\n", touched(&secrets[0]));
    for secret in &secrets {
        text.push_str(&format!("Authorization: Bearer {secret};\n"));
    }
    let code = printed(RESOURCES, "python", "crc32");
    let mut command = Command::new("python3");
    let mut child = command.args(["-c", code]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let found = String::from_utf8(output.stdout).unwrap();
    let expected: String = secrets
        .iter()
        .enumerate()
        .map(|(at, secret)| format!("line {}: {}…\n", at + 3, &secret[..12]))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn l1_the_example_of_resources_md_is_a_token_and_its_last_character_counts() {
    let example = RESOURCES.split('`').find(|code| code.starts_with("gbt_") && code.len() > 12).unwrap();
    assert!(secrets::locate_token(example).is_some(), "{example}");
    assert_eq!(secrets::locate_token(&touched(example)), None);
    let number = crc32fast::hash(&example.as_bytes()[..70]);
    assert!(
        RESOURCES.contains(&format!("characters is {number}, which is `{}`", &example[70..])),
        "{number}"
    );
}

#[test]
fn the_app_of_apps_md_is_installed_and_uninstalled() {
    if !can_run("node") {
        return;
    }
    let grantbook = Grantbook::start();
    let registered = |app: &mut grantbook::decisions::Registration| {
        app.redirect_uris = vec!["http://127.0.0.1/callback".to_owned()];
    };
    let app = grantbook.app_with(registered);
    let environment = [
        ("GRANTBOOK_URL", grantbook.issuer()),
        ("CLIENT_ID", app.client_id.clone()),
        ("CLIENT_SECRET", app.secret.unwrap()),
    ];
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    let program = Program::serve("node", "app.mjs", printed(APPS, "js", "/oauth/authorize"), &environment);

    let (ana, at_app) = (grantbook.person("ana", "acme"), Browser::new(&program.http));
    let install = |decision: &str| -> String {
        let away = at_app.get("/install").expect(303).location().to_owned();
        let query = away.strip_prefix(&format!("{}/oauth/authorize?", grantbook.issuer())).unwrap();
        let back = ana.submit(&ana.consent(query), &[("decision", decision)]).expect(303);
        back.location().strip_prefix(program.http.base()).unwrap().to_owned()
    };
    assert!(at_app.get(&install("deny")).expect(200).body.starts_with("Not installed: "));
    let back = install("approve");
    // Somebody else's browser, and an answer of somebody else.
    program.http.get(&back).expect(400);
    at_app.get(&back.replace("&iss=", "&iss=x")).expect(400);
    assert_eq!(at_app.get(&back).expect(200).body, "Installed, with widgets");
    at_app.get(&back).expect(400);
    assert_eq!(at_app.get("/status").expect(200).body, "Installed on acme");
    at_app.get("/uninstall").expect(200);
    assert_eq!(at_app.get("/status").expect(200).body, "Not installed");
}
