//! The first run: `serve --dev` of the real executable on an empty directory, clicked through as a newcomer
//! does, in a browser with cookies, from the one URL that it prints.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a story that cannot go on has failed")]

mod browser;
#[allow(dead_code, reason = "the stories read more of a page")]
#[path = "../stories/html.rs"]
mod html;
mod process;

use std::fs;

use browser::{Browser, Page};
use process::{Served, grantbook};
use serde_json::Value;

/// Signs in, approves, and gives the page that the app shows then.
#[track_caller]
fn install(browser: &Browser, home: &str, person: &str) -> Page {
    let asked = browser.open(home).expect(200).follow(browser, "/install");
    let consent = if asked.url.path() == "/sign-in" {
        asked.submit(browser, "/sign-in/dev", &[("person", person)])
    } else {
        asked
    };
    consent.expect(200).submit(browser, "/oauth/authorize", &[("decision", "approve")]).expect(200)
}

/// What the page shows below a heading, as JSON.
#[track_caller]
fn shown(page: &Page, heading: &str) -> Value {
    let below = page.body.split_once(&format!("<h2>{heading}</h2>")).unwrap_or_else(|| panic!("{page:?}")).1;
    let json = below.split_once("<pre tabindex=\"0\">").unwrap().1.split_once("</pre>").unwrap().0;
    serde_json::from_str(&html::text(&format!("<pre>{json}</pre>"))).unwrap()
}

/// Whether the token is valid and the app installed, as the page shows both.
#[track_caller]
fn state(page: &Page) -> (bool, bool) {
    let active = shown(page, "The introspection")["active"].as_bool().unwrap();
    (active, shown(page, "The installation")["installed"].as_bool().unwrap())
}

/// The types of the events that the page shows, in order.
fn events(page: &Page) -> Vec<String> {
    let lines = page.body.split("<summary><strong>").skip(1);
    lines.map(|line| line.split_once('<').unwrap().0.to_owned()).collect()
}

#[track_caller]
fn access_token(page: &Page) -> String {
    shown(page, "The token reply")["access_token"].as_str().unwrap().to_owned()
}

fn id_of(page: &Page) -> &str {
    page.url.path().strip_prefix("/installed/").unwrap()
}

#[test]
fn a_newcomer_installs_revokes_reinstalls_restarts_uninstalls_and_finds_everything_still_there() {
    let data = tempfile::tempdir().unwrap();
    let served = Served::start(data.path());
    let browser = Browser::default();

    let first = install(&browser, &served.url, "ana");
    assert_eq!(state(&first), (true, true));
    assert!(access_token(&first).starts_with("gbt_"));
    assert_eq!(shown(&first, "The token reply")["token_type"], "Bearer");
    assert_eq!(shown(&first, "The introspection")["sub"], "ana");
    assert_eq!(shown(&first, "The installation")["account_id"], "acme");
    assert_eq!(events(&first), ["access-granted", "code-exchanged"]);

    let revoked = first.submit(&browser, &format!("/installed/{}/revoke", id_of(&first)), &[]).expect(200);
    assert_eq!((revoked.url.path(), state(&revoked)), (first.url.path(), (false, false)));
    assert_eq!(events(&revoked).last().unwrap(), "token-revoked");

    let second = revoked.follow(&browser, "/install").expect(200);
    let second = second.submit(&browser, "/oauth/authorize", &[("decision", "approve")]).expect(200);
    assert_eq!(state(&second), (true, true));
    assert_ne!(access_token(&second), access_token(&first));
    let first_again = browser.open(first.url.as_str());
    assert_eq!(state(&first_again), (false, true), "another token keeps the app installed");

    let grantbook = served.log().split("serving url=").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let said = format!("Open {} to install the sample app; grantbook is at {grantbook}\n", served.url);
    assert_eq!(served.line, said);
    assert_eq!(served.stop(), "", "nothing but that line was printed");
    let served = Served::start(data.path());
    let home = browser.open(&served.url).expect(200);
    for page in [&first, &second] {
        assert!(home.body.contains(&format!("href=\"{}\"", page.url.path())), "{home:?}");
    }
    let after = browser.open(&format!("{}{}", served.url, second.url.path())).expect(200);
    assert_eq!((access_token(&after), state(&after)), (access_token(&second), (true, true)));
    assert_eq!(events(&after), events(&second));
    let told = |page: &Page, name: &str| shown(page, "The introspection")[name].clone();
    for fact in ["jti", "iat", "sub", "installation_id", "scope"] {
        assert_eq!(told(&after, fact), told(&second, fact));
    }

    let gone = after.submit(&browser, &format!("/installed/{}/uninstall", id_of(&after)), &[]).expect(200);
    assert_eq!(state(&gone), (false, false));
    assert_eq!(events(&gone).last().unwrap(), "app-uninstalled");
    let back = install(&browser, &served.url, "ana");
    assert_eq!(state(&back), (true, true));
    assert_eq!(events(&back).len(), 8);
    assert_eq!(served.stop(), "");
}

#[test]
fn who_says_no_or_answers_unasked_brings_no_token() {
    let data = tempfile::tempdir().unwrap();
    let served = Served::start(data.path());
    let (ana, mallory) = (Browser::default(), Browser::default());
    let consent = ana.open(&served.url).follow(&ana, "/install").submit(
        &ana,
        "/sign-in/dev",
        &[("user", "ana"), ("account", "acme")],
    );
    let denied = consent.submit(&ana, "/oauth/authorize", &[("decision", "deny")]).expect(200);
    assert!(denied.body.contains("You said no") && denied.body.contains("error=access_denied"), "{denied:?}");
    assert!(ana.open(&served.url).body.contains("Nowhere yet."));

    // The same answer again, one for another browser, and one made up.
    for (browser, url) in [
        (&ana, denied.url.to_string()),
        (&mallory, denied.url.to_string()),
        (&ana, format!("{}/callback?code=gbc_1&state=1", served.url)),
    ] {
        assert!(browser.open(&url).expect(400).body.contains("Nobody asked for this"), "{url}");
    }
}

#[test]
fn a_form_works_only_in_the_browser_it_was_made_for() {
    let data = tempfile::tempdir().unwrap();
    let served = Served::start(data.path());
    let (ana, mallory) = (Browser::default(), Browser::default());
    let page = install(&ana, &served.url, "ana");
    let seen_by_mallory = mallory.open(page.url.as_str()).expect(200);
    for action in ["revoke", "uninstall"] {
        let action = format!("/installed/{}/{action}", id_of(&page));
        for csrf in ["", seen_by_mallory.form(&action).field("csrf")] {
            let forged = ana.post(page.url.join(&action).unwrap(), &[("csrf", csrf)]).expect(400);
            assert!(forged.body.contains("not made for this browser"), "{forged:?}");
        }
    }
    assert_eq!(state(&ana.open(page.url.as_str())), (true, true));
    let csrf = page.form(&format!("/installed/{}/revoke", id_of(&page)));
    let elsewhere = page.url.join("/installed/019a0000-0000-7000-8000-000000000000/uninstall").unwrap();
    ana.post(elsewhere, &[("csrf", csrf.field("csrf"))]).expect(404);
}

#[test]
fn only_its_own_name_reaches_it_and_every_page_is_protected() {
    let data = tempfile::tempdir().unwrap();
    let served = Served::start(data.path());
    let browser = Browser::default();
    let authority = served.url.strip_prefix("http://").unwrap();
    let port = authority.strip_prefix("127.0.0.1:").unwrap();
    for host in ["evil.example", &format!("evil.example:{port}"), "127.0.0.1.evil.example"] {
        browser.get_as(host, &format!("{}/", served.url)).expect(421);
    }
    let moved =
        browser.get_as(&format!("localhost:{port}"), &format!("{}/install?a=b", served.url)).expect(303);
    assert_eq!(moved.header("location"), format!("{}/install?a=b", served.url));

    let installed = install(&browser, &served.url, "ben");
    let missing = browser.open(&format!("{}/nothing", served.url)).expect(404);
    for page in [browser.open(&served.url), installed, missing] {
        assert!(page.header("content-security-policy").starts_with("default-src 'none'; style-src 'self'"));
        assert_eq!(page.header("cache-control"), "no-store", "{page:?}");
        assert_eq!(page.header("x-frame-options"), "DENY");
    }
    let css = browser.open(&format!("{}/assets/grantbook.css", served.url)).expect(200);
    assert_eq!(css.header("content-type"), "text/css; charset=utf-8");
    let icon = browser.open(&format!("{}/assets/grantbook.svg", served.url)).expect(200);
    assert_eq!(icon.header("content-type"), "image/svg+xml");
}

#[test]
fn a_ledger_of_somebody_else_is_served_without_a_sample_app_and_stays_as_it_is() {
    let data = tempfile::tempdir().unwrap();
    let register = [
        ["app", "register"].as_slice(),
        &["--name", "Theirs", "--owner", "They", "--scope", "faqs"],
        &["--redirect-uri", "https://app.example/callback"],
    ];
    grantbook(data.path(), &register.concat());
    let before = grantbook(data.path(), &["events"]);
    let served = Served::start(data.path());
    assert!(served.url.ends_with("/account/apps"), "{}", served.url);
    assert!(Browser::default().open(&served.url).expect(200).url.path() == "/sign-in");
    assert!(served.log().contains("to see the sample app, start on an empty directory"), "{}", served.log());
    served.stop();
    assert_eq!(grantbook(data.path(), &["events"]), before);
}

#[test]
fn credentials_of_another_ledger_are_replaced_on_an_empty_one() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    Served::start(old.path()).stop();
    let file = |data: &tempfile::TempDir| data.path().join("sample-app.json");
    fs::copy(file(&old), file(&new)).unwrap();
    let served = Served::start(new.path());
    assert_ne!(fs::read(file(&old)).unwrap(), fs::read(file(&new)).unwrap());
    assert_eq!(state(&install(&Browser::default(), &served.url, "chen")), (true, true));
}

#[test]
fn the_app_asks_for_what_the_catalogue_holds_now() {
    let data = tempfile::tempdir().unwrap();
    Served::start(data.path()).stop();
    let scope = |name: &str| format!("[[scopes]]\nname = \"{name}\"\nsentence = \"Read your {name}.\"\n");
    fs::write(data.path().join("grantbook.toml"), scope("faqs") + &scope("invoices")).unwrap();
    let served = Served::start(data.path());
    let page = install(&Browser::default(), &served.url, "ana");
    assert_eq!(shown(&page, "The token reply")["scope"], "faqs invoices");
}
