//! A disk without room: what cannot be made durable is answered 503, what needs no room is answered, and
//! nothing that was acknowledged is lost.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::client::Reply;
use crate::html;
use crate::process::{Serving, eventually};
use crate::site::Site;
use crate::wanted::{App, registration};

/// More registrations than any of these disks has room for.
const TOO_MANY: usize = 2_000;
/// How many refusals it takes until nothing at all has room.
const REFUSALS: usize = 3;

/// Registers apps until even small ones are refused: the names of those that were acknowledged, and the
/// last refusal.
#[track_caller]
fn fill(serving: &Serving, prefix: &str) -> (Vec<String>, Reply) {
    let (mut acknowledged, mut refused) = (Vec::new(), 0);
    for number in 0..TOO_MANY {
        let name = format!("{prefix} {number}");
        let mut body = registration(&name);
        if refused == 0 {
            body["redirect_uris"] =
                (0..10).map(|uri| format!("https://app.example/{uri}/{}", "x".repeat(400))).collect();
        }
        let reply = serving.ask("POST", "/apps", Some(&body));
        if reply.status == 201 {
            acknowledged.push(name);
            continue;
        }
        refused += 1;
        if refused > REFUSALS {
            return (acknowledged, reply);
        }
    }
    panic!("the disk never filled");
}

/// 503, with advice, in the form that operators' programs read.
#[track_caller]
fn assert_unavailable(reply: &Reply, codes: &[&str]) {
    assert_eq!(reply.status, 503, "{reply:?}");
    assert!(reply.header("retry-after").parse::<u32>().is_ok(), "{reply:?}");
    assert_eq!(reply.header("content-type"), "application/problem+json");
    assert!(codes.contains(&reply.text("code").as_str()), "{reply:?}");
}

/// 503, with advice, in the form that OAuth clients read.
#[track_caller]
fn assert_oauth_unavailable(reply: &Reply) {
    assert_eq!(reply.status, 503, "{reply:?}");
    assert!(reply.header("retry-after").parse::<u32>().is_ok(), "{reply:?}");
    assert_eq!(reply.header("cache-control"), "no-store");
    assert!(!reply.text("error").is_empty() && !reply.body.contains("gbt_"), "{reply:?}");
}

/// 503, with advice, on a page for people; the app hears of nothing.
#[track_caller]
fn assert_page_unavailable(reply: &Reply) {
    assert_eq!((reply.status, reply.location()), (503, ""), "{reply:?}");
    assert!(reply.header("retry-after").parse::<u32>().is_ok(), "{reply:?}");
    assert!(reply.header("content-type").starts_with("text/html"), "{reply:?}");
    assert!(!reply.body.contains("gbc_"), "{reply:?}");
}

/// How many small events, at the least, do not fit where a larger one has found no room.
const NO_ROOM_FOR: usize = 16;

/// Accounts with the app, for those who uninstall it.
fn accounts() -> impl Iterator<Item = String> {
    (0..2 * NO_ROOM_FOR).map(|number| format!("globex-{number}"))
}

/// The tokens of those accounts.
fn install_on_accounts(serving: &Serving, app: &App) -> Vec<String> {
    let install = |account: String| {
        let reply = serving.person("ana", &account).approve(&app.query()).expect(303);
        serving.exchange(app, &reply.param("code").unwrap()).expect(200).text("access_token")
    };
    accounts().map(install).collect()
}

/// The first answer that says there is no room: an event that is smaller than the last one may still find some.
#[track_caller]
fn refused_in_the_end(ask: impl FnMut() -> Reply) -> Reply {
    let mut answers = std::iter::repeat_with(ask).take(NO_ROOM_FOR);
    answers.find(|reply| !matches!(reply.status, 200 | 303)).expect("there was room for everything")
}

/// What people and operators ask for beside.
#[track_caller]
fn assert_others_are_told(serving: &Serving, app: &App) {
    let ana = serving.person("ana", "acme");
    assert_page_unavailable(&refused_in_the_end(|| ana.approve(&app.query())));
    let mut accounts = accounts();
    assert_page_unavailable(&refused_in_the_end(|| {
        let ana = serving.person("ana", &accounts.next().unwrap());
        let account = ana.get("/account/apps").expect(200);
        let mut forms = html::forms(&account.body).into_iter();
        ana.submit(&forms.find(|form| form.action.ends_with("/uninstall")).unwrap(), &[])
    }));
    let deleted = refused_in_the_end(|| {
        let account = accounts.next().unwrap();
        let listed =
            serving.ask("GET", &format!("/installations?account={account}"), None).expect(200).json();
        let installation = listed["items"][0]["installation_id"].as_str().unwrap().to_owned();
        serving.ask("DELETE", &format!("/installations/{installation}"), None)
    });
    assert_unavailable(&deleted, &["temporarily_unavailable", "outcome_unknown"]);
}

/// What needs no room is answered as ever.
#[track_caller]
fn assert_reads(serving: &Serving, app: &App, token: &str) {
    assert!(serving.is_active(token));
    serving.ask("GET", &format!("/apps/{}", app.client_id), None).expect(200);
    serving.http.get("/readyz").expect(200);
    serving.http.get("/metrics").expect(200);
    let browser = serving.person("bob", "initech");
    browser.get(&format!("/oauth/authorize?{}", app.query())).expect(200);
}

/// The names of all registered apps, in order.
fn names(events: &[Value]) -> Vec<String> {
    let registered = events.iter().filter(|event| event["type"] == "app-registered");
    registered.map(|event| event["data"]["name"].as_str().unwrap().to_owned()).collect()
}

/// A file may not grow beyond a size: every write beyond it fails, also in the middle of a commit.
#[test]
fn a_ledger_that_may_not_grow() {
    let site = Site::new();
    let limited = site.command_behind(r#"trap "" XFSZ; ulimit -S -f 800; exec "$@""#);
    let serving = site.serve_by(limited);
    let app = serving.app();
    install_on_accounts(&serving, &app);
    let (token, code) = (serving.token(&app), serving.code(&app));
    let (acknowledged, refused) = fill(&serving, "Filler");
    assert!(!acknowledged.is_empty());
    // The write that failed may have been the last of the commit, which only a reader of the file can tell.
    assert_unavailable(&refused, &["temporarily_unavailable", "outcome_unknown"]);
    assert_oauth_unavailable(&serving.exchange(&app, &code));
    let revoked = serving.http.post_raw("/oauth/revoke", &[], &app.form(&[("token", &token)]));
    assert_oauth_unavailable(&revoked);
    assert_others_are_told(&serving, &app);
    assert_reads(&serving, &app, &token);
    serving.kill();

    let serving = site.serve();
    let events = site.events();
    let (mut expected, found) = (vec!["Sample App".to_owned()], names(&events));
    expected.extend(acknowledged);
    assert!(found.starts_with(&expected), "an acknowledged app is not there");
    assert!(found.len() <= expected.len() + 1, "more apps than were asked for");
    // A 503 was no answer: what was asked for then has happened or not, and the ledger says which.
    let granted = events.iter().find(|event| event["data"]["account_id"] == "acme").unwrap();
    let of_acme = |event: &&Value| event["stream"] == granted["stream"];
    let has = |kind: &str| events.iter().filter(of_acme).filter(|event| event["type"] == kind).count();
    let ended = has("token-revoked") + has("app-uninstalled");
    assert_eq!(serving.is_active(&token), ended == 0);
    let again = serving.exchange(&app, &code);
    let is_good = has("code-exchanged") == 1 && has("app-uninstalled") == 0;
    assert_eq!(again.status, if is_good { 200 } else { 400 }, "{again:?}");
}

/// A small file system in a mount namespace of its own, which other processes reach through `/proc`.
struct Disk {
    holder: Child,
    /// Where it is, seen from within the namespace.
    mounted: PathBuf,
}

impl Disk {
    /// None where mounting is not allowed.
    fn of(size: &str, site: &Site) -> Option<Self> {
        let mounted = site.beside().join("disk");
        fs::create_dir(&mounted).unwrap();
        let script = format!(r#"mount -t tmpfs -o size={size} none "$0" && echo mounted && exec cat"#);
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]).arg(&mounted);
        unshare.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut holder = unshare.spawn().ok()?;
        let mut said = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let disk = Self { holder, mounted };
        (said == "mounted\n").then_some(disk)
    }

    /// A file on the disk, seen from here.
    fn file(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{}", self.holder.id(), self.mounted.join(name).display()))
    }

    /// A site with its data on the disk.
    fn site(&self, site: Site) -> Site {
        let target = format!("--target={}", self.holder.id());
        let enter = ["nsenter", &target, "--user", "--mount", "--preserve-credentials"];
        site.within(enter.map(str::to_owned).to_vec(), self.mounted.join("data"), self.file("data"))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // It goes with whoever holds it.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// A small disk, a site with its data on it, and a file there that makes room when it goes. None where mounting is not
/// allowed, which is said.
#[expect(clippy::print_stdout, reason = "a test that was not tried says so")]
fn nearly_full() -> Option<(Disk, Site, PathBuf)> {
    let site = Site::new();
    let Some(disk) = Disk::of("3m", &site) else {
        println!("not tried: this machine lets nobody mount a file system in a namespace of their own");
        return None;
    };
    let (site, ballast) = (disk.site(site), disk.file("ballast"));
    fs::write(&ballast, vec![0; 1 << 20]).unwrap();
    Some((disk, site, ballast))
}

/// The log is on the same disk. What it loses is counted and told, and nothing but the log loses anything.
#[test]
fn a_full_disk_that_the_log_is_on_too() {
    let Some((disk, site, ballast)) = nearly_full() else { return };
    let log = disk.file("log");
    let serving = site.serve_to(fs::File::create(&log).unwrap());
    let app = serving.app();
    let (token, code) = (serving.token(&app), serving.code(&app));
    let (_, refused) = fill(&serving, "Filler");
    assert_unavailable(&refused, &["temporarily_unavailable"]);
    while serving.not_written() == 0 {
        assert_oauth_unavailable(&serving.exchange(&app, &code));
    }
    assert_reads(&serving, &app, &token);

    fs::remove_file(&ballast).unwrap();
    serving.exchange(&app, &code).expect(200);
    serving.http.get("/readyz").expect(200);
    serving.ask("GET", "/audit/events?type=code-exchanged", None).expect(200);
    eventually("the log says what it lost", || {
        serving.http.get("/nowhere");
        fs::read_to_string(&log).unwrap().contains("log lines were lost").then_some(())
    });
    serving.stop();
}

/// A real disk that is full, and has room again while the server runs.
#[test]
fn a_full_disk_that_gets_room_again() {
    let Some((disk, site, ballast)) = nearly_full() else { return };
    fs::write(disk.file("spare"), vec![0; 512 << 10]).unwrap();
    let serving = site.serve();
    let app = serving.app();
    let mut tokens = install_on_accounts(&serving, &app);
    let (token, code) = (serving.token(&app), serving.code(&app));
    let (mut acknowledged, refused) = fill(&serving, "Filler");
    assert!(!acknowledged.is_empty());
    // A commit that found no room has not happened, and the caller is told so.
    assert_unavailable(&refused, &["temporarily_unavailable"]);
    assert_oauth_unavailable(&serving.exchange(&app, &code));
    assert_others_are_told(&serving, &app);
    assert_reads(&serving, &app, &token);
    assert_eq!(names(&site.events()).len(), 1 + acknowledged.len());

    // With room again it goes on, without a restart: the code was not spent.
    fs::remove_file(&ballast).unwrap();
    let second = serving.exchange(&app, &code).expect(200).text("access_token");
    let (more, refused) = fill(&serving, "Late filler");
    assert!(!more.is_empty());
    assert_unavailable(&refused, &["temporarily_unavailable"]);
    acknowledged.extend(more);

    // A server that starts without any room answers what needs none, and says why nobody here finds it.
    serving.kill();
    fs::write(disk.file("last"), vec![0; 4 << 20]).unwrap_err();
    let mut serving = Serving::spawn(site.command(&["serve"]));
    serving.until_it_says("control.json cannot be written");
    serving.until_it_says("serving url=");
    let log = serving.log();
    let url = log.split("serving url=").nth(1).unwrap().split(' ').next().unwrap();
    serving.until_ready(url, String::new());
    let own = app.form(&[("token", &token)]);
    assert_eq!(serving.http.post_raw("/oauth/introspect", &[], &own).expect(200).json()["active"], true);
    let ana = serving.person("ana", "acme");
    ana.get("/account/apps").expect(200);
    assert_page_unavailable(&ana.approve(&app.query()));
    // The last accounts were not uninstalled above.
    assert_oauth_unavailable(&refused_in_the_end(|| {
        let form = app.form(&[("token", &tokens.pop().unwrap())]);
        serving.http.post_raw("/oauth/revoke", &[], &form)
    }));
    // With room again it is found.
    fs::remove_file(disk.file("spare")).unwrap();
    serving.until_it_says("there is room again");
    let (found, key) = eventually("the server says where it is", || site.control_of(serving.pid()));
    assert_eq!(found, url);
    serving.until_ready(url, key);
    assert_reads(&serving, &app, &token);
    serving.kill();
    // Moved to where there is room, everything is there.
    let site = site.copy();
    let expected: Vec<String> = std::iter::once("Sample App".to_owned()).chain(acknowledged).collect();
    let serving = site.serve();
    assert_eq!(names(&site.events()), expected);
    assert!(serving.is_active(&token) && serving.is_active(&second));
    serving.app();
    serving.stop();
}
