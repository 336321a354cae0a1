//! `docs/platforms.md`: the login pages that it prints, run as they stand there.

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use grantbook::clock::{Clock as _, SystemClock};

use crate::client::Http;
use crate::harness::{CALLBACK, Given, Grantbook};
use crate::html;

const DOCUMENT: &str = include_str!("../../docs/platforms.md");
const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// Nothing here may take longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A login page that runs.
struct LoginPage {
    child: Child,
    http: Http,
}

impl LoginPage {
    fn start(command: &str, file: &Path, port: u16, grantbook: &str) -> Self {
        let child = Command::new(command)
            .arg(file)
            .env("GRANTBOOK_URL", grantbook)
            .env("SIGN_IN_SECRET", SECRET)
            .env("PORT", port.to_string())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut page = Self { child, http: Http::new(&format!("http://127.0.0.1:{port}")) };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let ended = page.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "{command} does not serve: {ended:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        page
    }

    /// Where it sends a browser that comes from grantbook.
    #[track_caller]
    fn answer(&self, login_url: &str) -> String {
        let path = login_url.strip_prefix(self.http.base()).unwrap();
        self.http.get(path).expect(303).location().to_owned()
    }
}

impl Drop for LoginPage {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The one piece of code of a language in the document.
fn printed(language: &str) -> &'static str {
    let pieces: Vec<_> = DOCUMENT.split(&format!("```{language}\n")).skip(1).collect();
    assert_eq!(pieces.len(), 1, "{language}");
    pieces[0].split("```").next().unwrap()
}

fn brings_people_home(language: &str, command: &str, file: &str) {
    if Command::new(command).arg("--version").stdout(Stdio::null()).status().is_err() {
        let said = format!("{command} is missing: the {language} of docs/platforms.md was NOT run\n");
        // Not by a macro: it is to be seen also when the tests pass.
        let _ = std::io::stderr().write_all(said.as_bytes());
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (code, key) = (directory.path().join(file), directory.path().join("sign-in.key"));
    std::fs::write(&code, printed(language)).unwrap();
    std::fs::write(&key, SECRET).unwrap();
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let login_url = format!("http://127.0.0.1:{port}/sign-in");
    let grantbook = Grantbook::given(Given {
        settings: &[
            ("SIGN_IN_MODE", "handoff"),
            ("SIGN_IN_LOGIN_URL", &login_url),
            ("SIGN_IN_ISSUER", "https://platform.example"),
            ("SIGN_IN_ALGORITHM", "HS256"),
            ("SIGN_IN_KEY_FILE", key.to_str().unwrap()),
        ],
        at: Some(SystemClock.now()),
        ..Given::default()
    });
    let page = LoginPage::start(command, &code, port, &grantbook.issuer());

    let app = grantbook.app();
    for wanted in
        ["/account/apps".to_owned(), format!("/oauth/authorize?{}", app.query(&[("state", "a b&c")]))]
    {
        let browser = grantbook.browser();
        let to_sign_in = browser.get(&wanted).expect(303).location().to_owned();
        let back = page.answer(browser.get(&to_sign_in).expect(303).location());
        // The page says the time of the system, which this clock is not yet at.
        grantbook.clock.set(SystemClock.now());
        let path = back.strip_prefix(&grantbook.issuer()).unwrap();
        let onward = browser.get(path).expect(303).location().to_owned();
        assert_eq!(onward, wanted);
        let shown = html::text(&browser.get(&onward).expect(200).body);
        assert!(shown.contains("Ana Torres (ana)") && shown.contains("acme"), "{shown}");
        let approved = browser.approve(&app.query(&[])).expect(303);
        assert!(approved.location().starts_with(CALLBACK), "{approved:?}");
    }

    // It answers grantbook and nobody else.
    for elsewhere in ["", "https%3A%2F%2Fevil.example%2Fsign-in%2Fhandoff"] {
        page.http.get(&format!("/sign-in?request=x&return_to={elsewhere}")).expect(400);
    }
}

#[test]
fn the_login_page_in_python_brings_people_home() {
    brings_people_home("python", "python3", "login_page.py");
}

#[test]
fn the_login_page_in_javascript_brings_people_home() {
    brings_people_home("js", "node", "login_page.mjs");
}
