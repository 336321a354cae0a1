//! What holds for every page: it parses, escapes what it shows, runs nothing and can be used.

use std::collections::HashSet;

use grantbook_events::Timestamp;

use super::*;

/// What a stranger might call their app.
const HOSTILE: &str = "\"><script>alert(1)</script><img src=x onerror='alert(1)'> & </title>{{7*7}} \u{202e}";

fn scopes(text: &str) -> Vec<ScopeLine> {
    let line = |name: &str, sentence: &str| ScopeLine { name: name.into(), sentence: sentence.into() };
    if text.is_empty() {
        return vec![
            line("widgets", "Read and change your widgets."),
            line("contacts", "Read and change your contacts."),
        ];
    }
    vec![line(text, text)]
}

/// Every page, with the given text wherever a text goes, or with plausible texts if it is empty.
fn pages(text: &str) -> Vec<(&'static str, String)> {
    let or = |plausible: &str| if text.is_empty() { plausible.to_owned() } else { text.to_owned() };
    let consent = ConsentPage {
        app_name: or("Widget Wizard"),
        owner: or("Example Apps Ltd"),
        homepage: Some(or("https://widgets.example/about")),
        redirect_host: or("widgets.example"),
        app_host: or("widgets.example"),
        unverified_by: None,
        user: or("ana"),
        account: or("acme"),
        installed_since: None,
        scopes: scopes(text),
        held: vec![],
        resources: vec![or("https://api.example/"), or("https://mcp.example/")],
        ticket: or("eyJhbGciOiJIUzI1NiJ9.e30.AAAA"),
        switch_user_href: Some(or("/sign-in?continue=Y2xpZW50X2lk")),
    };
    let unverified = ConsentPage { unverified_by: Some(or("accounts.example")), ..consent.clone() };
    let again = ConsentPage {
        installed_since: Some(Timestamp::from_micros(1_767_323_045_000_006)),
        held: scopes(text),
        ..consent.clone()
    };
    let error = ErrorPage {
        status: 400,
        title: "This link does not work",
        sentence: or("The app that sent you here asked to be answered at an address it has not registered."),
        hint: Some("Tell the people who make the app: redirect_uri must be one of the registered ones."),
        ways_on: vec![WayOn { text: or("Start again"), href: or("/oauth/authorize?client_id=a") }],
        request_id: or("req-7f3a"),
    };
    let dev = DevSignInPage {
        people: ["Ana Torres", "Ben Okafor", "Chen Wei"]
            .map(|name| DevPersonLine { name: or(name), user: or("ana"), account: or("acme") })
            .to_vec(),
        error: Some(or("Choose a person, or type both a user and an account.")),
        continue_query: or("Y2xpZW50X2lk"),
        csrf: or("c3JmdG9rZW4"),
    };
    let time = Timestamp::from_micros(1_767_323_045_000_006);
    let approval = |user: &str, mine| ApprovalLine {
        token_id: or("019a0000-0000-7000-8000-000000000000"),
        user: or(user),
        approved_at: time,
        scopes: vec![or("widgets"), or("contacts")],
        renewable: mine,
        until: Some(time).filter(|_| mine),
        mine,
    };
    let app = |name: &str| AccountApp {
        installation_id: or("98f1b1a0-279b-5082-a1d9-c221440d2739"),
        app_name: or(name),
        owner: or("Example Apps Ltd"),
        verified: false,
        scopes: scopes(text),
        installed_since: Some(time),
        stopped: None,
        approvals: vec![approval("ana", true), approval("ben", false)],
    };
    let account = AccountAppsPage {
        user: or("ana"),
        account: or("acme"),
        apps: vec![
            app("Widget Wizard"),
            AccountApp { installed_since: None, stopped: Some("out of service"), ..app("FAQ Finder") },
        ],
        may_uninstall: true,
        csrf: or("c3JmdG9rZW4"),
        notice: Some(or("Inbox Helper was uninstalled.")),
    };
    let member = AccountAppsPage { may_uninstall: false, ..account.clone() };
    let empty = AccountAppsPage { apps: vec![], notice: None, ..account.clone() };
    let signed_out = SignedOutPage { sign_in_href: or("/sign-in"), another_href: or("/sign-in") };
    let sign_out = SignOutPage { user: or("ana"), csrf: or("c3JmdG9rZW4") };
    let home = HomePage { user: Some(or("ana")) };
    let unavailable = SignInUnavailablePage { request_id: or("req-7f3a") };
    vec![
        ("consent", consent.render().unwrap()),
        ("error", error.render().unwrap()),
        ("dev-sign-in", dev.render().unwrap()),
        ("account-apps", account.render().unwrap()),
        ("account-apps-member", member.render().unwrap()),
        ("account-apps-empty", empty.render().unwrap()),
        ("consent-unverified", unverified.render().unwrap()),
        ("consent-again", again.render().unwrap()),
        ("signed-out", signed_out.render().unwrap()),
        ("home", home.render().unwrap()),
        ("sign-out", sign_out.render().unwrap()),
        ("sign-in-unavailable", unavailable.render().unwrap()),
    ]
}

struct Tag {
    name: String,
    closing: bool,
    attributes: Vec<(String, String)>,
}

impl Tag {
    fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// The tags of a page in order. Stricter than HTML: a stray `<`, or a value without double quotes, fails.
fn tags(html: &str) -> Vec<Tag> {
    let body = html.strip_prefix("<!doctype html>").expect("a doctype");
    let mut tags = Vec::new();
    for piece in body.split('<').skip(1) {
        let (inside, text) = piece.split_once('>').expect("a `<` that is closed");
        assert!(!text.contains('>'), "a stray `>` after <{inside}>");
        let closing = inside.starts_with('/');
        let inside = inside.trim_start_matches('/');
        let (name, mut rest) = inside.split_once(' ').unwrap_or((inside, ""));
        assert!(!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric()), "<{inside}>");
        let mut attributes = Vec::new();
        while !rest.trim().is_empty() {
            let end = rest.find(['=', ' ']).unwrap_or(rest.len());
            let (attribute, after) = rest.split_at(end);
            let (value, after) = match after.strip_prefix('=') {
                Some(value) => value
                    .strip_prefix('"')
                    .and_then(|value| value.split_once('"'))
                    .expect("a value in double quotes"),
                None => ("", after),
            };
            attributes.push((attribute.to_owned(), value.to_owned()));
            rest = after.trim_start();
        }
        tags.push(Tag { name: name.to_owned(), closing, attributes });
    }
    tags
}

fn assert_balanced(page: &str, tags: &[Tag]) {
    let mut open = Vec::new();
    for tag in tags {
        if ["meta", "link", "input"].contains(&tag.name.as_str()) {
            assert!(!tag.closing, "{page}: </{}>", tag.name);
        } else if tag.closing {
            assert_eq!(open.pop(), Some(tag.name.as_str()), "{page}");
        } else {
            open.push(&tag.name);
        }
    }
    assert!(open.is_empty(), "{page}: {open:?}");
}

#[test]
fn every_page_parses_and_can_be_used() {
    for (page, html) in pages("") {
        let tags = tags(&html);
        assert_balanced(page, &tags);
        let count = |name: &str| tags.iter().filter(|tag| tag.name == name && !tag.closing).count();
        assert_eq!((count("main"), count("h1"), count("title")), (1, 1, 1), "{page}");
        let lang = tags.iter().find(|tag| tag.name == "html").and_then(|tag| tag.attribute("lang"));
        assert_eq!(lang, Some("en"), "{page}");

        let ids: Vec<_> = tags.iter().filter_map(|tag| tag.attribute("id")).collect();
        assert_eq!(ids.len(), ids.iter().collect::<HashSet<_>>().len(), "{page}: an id occurs twice");
        for reference in
            tags.iter().filter_map(|tag| tag.attribute("aria-labelledby").or(tag.attribute("for")))
        {
            assert!(ids.contains(&reference), "{page}: nothing has the id {reference}");
        }
        for input in tags.iter().filter(|tag| tag.name == "input" && tag.attribute("type") != Some("hidden"))
        {
            let id = input.attribute("id").expect("a visible field has an id");
            assert!(tags.iter().any(|tag| tag.attribute("for") == Some(id)), "{page}: {id} has no label");
        }
    }
}

#[test]
fn no_page_runs_anything_or_loads_more_than_the_stylesheet_and_the_icon() {
    for text in ["", HOSTILE] {
        for (page, html) in pages(text) {
            for tag in tags(&html) {
                assert!(
                    !["script", "style", "img", "iframe", "object", "embed", "base", "svg"]
                        .contains(&&*tag.name),
                    "{page}: <{}>",
                    tag.name
                );
                for (name, value) in &tag.attributes {
                    // Only what was just done is where the reading goes on.
                    let may_focus = tag.attribute("role") == Some("status");
                    assert!(
                        name != "style" && !name.starts_with("on") && (name != "autofocus" || may_focus),
                        "{page}: {name}"
                    );
                    assert!(!value.starts_with("javascript:"), "{page}: {name}={value}");
                }
                if tag.name == "link" {
                    let loaded = [("stylesheet", STYLESHEET_PATH), ("icon", ICON_PATH)];
                    let link = (tag.attribute("rel").unwrap(), tag.attribute("href").unwrap());
                    assert!(loaded.contains(&link), "{page}: {link:?}");
                }
            }
        }
    }
    assert!(!STYLESHEET.contains("url(") && !STYLESHEET.contains("@import"));
    assert!(!ICON.contains("script") && !ICON.contains("href"));
}

#[test]
fn a2_a10_what_strangers_wrote_stays_text() {
    let plain = pages("");
    for ((page, html), (_, plausible)) in pages(HOSTILE).into_iter().zip(plain) {
        let shape = |html: &str| tags(html).iter().map(|tag| tag.name.clone()).collect::<HashSet<_>>();
        assert_balanced(page, &tags(&html));
        assert!(shape(&html).is_subset(&shape(&plausible)), "{page} has tags it should not have");
        assert!(html.contains("&#60;script&#62;"), "{page} does not show the text at all");
    }
}

#[test]
fn a10_the_consent_page_says_what_who_where_and_for_how_long() {
    let (_, html) = pages("").swap_remove(0);
    for said in [
        "Widget Wizard",
        "Example Apps Ltd",
        "https://widgets.example/about",
        "Read and change your contacts.",
        "until you revoke it or uninstall the app",
        "acme",
        "ana",
        "you go on to <strong><bdi>widgets.example</bdi></strong>",
        r#"<input type="hidden" name="ticket" value="eyJhbGciOiJIUzI1NiJ9.e30.AAAA">"#,
        r#"<form method="post" action="/oauth/authorize">"#,
    ] {
        assert!(html.contains(said), "{said}");
    }
    let decisions: Vec<_> = tags(&html)
        .into_iter()
        .filter(|tag| tag.attribute("name") == Some("decision"))
        .map(|tag| tag.attribute("value").unwrap_or_default().to_owned())
        .collect();
    assert_eq!(decisions, ["approve", "deny"]);
}

#[test]
fn only_a_web_page_becomes_a_link() {
    let mut page = ConsentPage {
        app_name: "App".into(),
        owner: "Owner".into(),
        homepage: None,
        redirect_host: "app.example".into(),
        app_host: "app.example".into(),
        unverified_by: None,
        user: "ana".into(),
        account: "acme".into(),
        installed_since: None,
        scopes: vec![],
        held: vec![],
        resources: vec![],
        ticket: "t".into(),
        switch_user_href: None,
    };
    for wrong in [
        "javascript:alert(1)",
        "javascript://app.example/%0aalert(1)",
        "data:text/html,x",
        "ftp://app.example/",
        "/relative",
        "x",
    ] {
        page.homepage = Some(wrong.into());
        let links = page.render().unwrap().matches("<a ").count();
        assert_eq!(links, 1, "{wrong}: only the one to the apps on the account");
    }
    page.homepage = Some("https://app.example".into());
    let link = r#"<a href="https://app.example/" target="_blank" rel="noopener noreferrer">"#;
    assert!(page.render().unwrap().contains(link));
    page.unverified_by = Some("accounts.example".into());
    assert!(!page.render().unwrap().contains(link), "nobody has checked that it is the app's");
}

#[test]
fn k5_every_form_of_the_account_page_carries_the_token_and_only_ones_own_are_revoked() {
    let (_, html) = pages("").swap_remove(3);
    let tags = tags(&html);
    let forms: Vec<_> = tags.iter().filter(|tag| tag.name == "form" && !tag.closing).collect();
    assert_eq!(forms.len(), 5, "sign out, and revoke and uninstall for two apps");
    assert!(forms.iter().all(|form| form.attribute("method") == Some("post")));
    assert_eq!(tags.iter().filter(|tag| tag.attribute("name") == Some("csrf")).count(), 5);
    assert_eq!(html.matches("/revoke\"").count(), 2, "of four tokens two are mine");
}

#[test]
fn who_may_not_uninstall_has_no_form_for_it() {
    let uninstall = |page: &str| {
        let (_, html) = pages("").into_iter().find(|(name, _)| *name == page).unwrap();
        (html.matches("/uninstall\"").count(), html.matches("An admin of the account").count())
    };
    assert_eq!(uninstall("account-apps"), (2, 0));
    assert_eq!(uninstall("account-apps-member"), (0, 2));
}
