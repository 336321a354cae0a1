//! The audit API over a server in this process.

use std::time::Duration;

use actix_web::http::header;
use actix_web::test::TestRequest;
use grantbook_events::Role;
use serde_json::{Value, json};

use crate::http::testing::{TestServer, count_of};

/// Every item of a list, page by page; `between` happens after each page.
async fn pages(server: &TestServer, query: &str, between: impl AsyncFn()) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = server.get(&format!("/audit/events?limit=3{query}{cursor}")).await.json(200);
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 3);
        all.extend(items.iter().cloned());
        let Some(next) = page["next_cursor"].as_str() else { return all };
        cursor = format!("&cursor={next}");
        between().await;
    }
}

fn positions(items: &[Value]) -> Vec<u64> {
    items.iter().map(|item| item["position"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn pages_neither_repeat_nor_miss_an_event_while_others_arrive() {
    let server = TestServer::start().await;
    let app = server.register("One").await;
    for account in ["a", "b", "c", "d"] {
        server.install(&app, account).await;
    }
    let arrive = async || {
        server.register("Another").await;
    };
    // From the newest back: what arrives is newer than all of it.
    assert_eq!(positions(&pages(&server, "", arrive).await), (1..=9).rev().collect::<Vec<_>>());
    let filtered = pages(&server, "&type=access-granted&order=oldest", arrive).await;
    assert_eq!(positions(&filtered), [2, 4, 6, 8]);
    // From the oldest on: what arrives is at the end, and is seen when the end is reached.
    let before = positions(&pages(&server, "&order=oldest", async || {}).await).len() as u64;
    let arrived = std::cell::Cell::new(0);
    let seen = pages(&server, "&order=oldest", async || {
        if arrived.get() < 2 {
            server.register("Another").await;
            arrived.set(arrived.get() + 1);
        }
    });
    assert_eq!(positions(&seen.await), (1..=before + 2).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_cursor_is_for_the_list_that_it_is_of() {
    let server = TestServer::start().await;
    let app = server.register("One").await;
    server.install(&app, "acme").await;
    let page = server.get("/audit/events?limit=1").await.json(200);
    let cursor = page["next_cursor"].as_str().unwrap();
    for other in ["&order=oldest", "&account=acme", "&type=app-registered", "&after=0"] {
        let detail = server.get(&format!("/audit/events?limit=1&cursor={cursor}{other}")).await.problem(400);
        assert!(detail.contains("of another list"), "{other}: {detail}");
    }
    let detail = server.get("/audit/events?cursor=abc").await.problem(400);
    assert!(detail.contains("next_cursor of the page before"), "{detail}");
}

/// So long ago is another time in each request, and the same list.
#[tokio::test]
async fn a_list_since_so_long_ago_goes_on() {
    let server = TestServer::start().await;
    server.register("One").await;
    server.register("Two").await;
    let page = server.get("/audit/events?since=7d&limit=1").await.json(200);
    let cursor = page["next_cursor"].as_str().unwrap();
    server.clock.advance(Duration::from_secs(60));
    let next = server.get(&format!("/audit/events?since=7d&limit=1&cursor={cursor}")).await.json(200);
    assert_eq!(positions(next["items"].as_array().unwrap()), [1]);
    let detail = server.get(&format!("/audit/events?since=8d&limit=1&cursor={cursor}")).await.problem(400);
    assert!(detail.contains("of another list"), "{detail}");
    server.clock.advance(Duration::from_secs(2 * 86_400));
    assert_eq!(server.get("/audit/events?since=1d").await.json(200)["items"], json!([]));
}

#[tokio::test]
async fn everything_comes_as_lines_or_as_csv() {
    let server = TestServer::start().await;
    let app = server.register("One").await;
    let installed = server.install(&app, "=cmd|'/C'!A0").await;
    // More than is read at once.
    for number in 0..600 {
        server.install(&app, &format!("account-{number}")).await;
    }
    let last = 2 * 601 + 1;
    let lines = server.get("/audit/events?format=ndjson").await;
    assert_eq!(lines.header(header::CONTENT_TYPE), "application/x-ndjson");
    let items: Vec<Value> = lines.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(positions(&items), (1..=last).rev().collect::<Vec<_>>());

    let key = format!("Bearer {}", server.key(Role::Auditor));
    let request = TestRequest::with_uri("/audit/events?order=oldest&until=2099-01-01T00:00:00Z");
    let request =
        request.insert_header((header::AUTHORIZATION, key)).insert_header((header::ACCEPT, "text/csv"));
    let csv = server.send(request).await;
    assert_eq!(csv.header(header::CONTENT_TYPE), "text/csv; charset=utf-8; header=present");
    assert_eq!(csv.header(header::CACHE_CONTROL), "no-store");
    let mut reader = csv::Reader::from_reader(csv.text.as_bytes());
    let names = reader.headers().unwrap().clone();
    assert_eq!(
        (names.get(0), names.get(14), names.get(15)),
        (Some("position"), Some("request_id"), Some("token_users"))
    );
    let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let found: Vec<u64> = records.iter().map(|record| record[0].parse().unwrap()).collect();
    assert_eq!(found, (1..=last).collect::<Vec<_>>());
    assert_eq!(&records[1][7], "'=cmd|'/C'!A0", "{:?}", records[1]);
    assert!(csv.text.lines().count() > 1000 && csv.text.contains("\r\n"));
    assert_eq!(records[2][10], installed.token_id.to_string());
    // Nothing that is secret is in it.
    for secret in [&installed.token, &installed.code] {
        assert_eq!(count_of(&server.answers(), secret.expose()), 0);
    }
    // A limit and a cursor hold for lines as they do for pages.
    let page = server.get("/audit/events?limit=3").await.json(200);
    let cursor = page["next_cursor"].as_str().unwrap();
    let some = server.get(&format!("/audit/events?format=ndjson&limit=2&cursor={cursor}")).await;
    let items: Vec<Value> = some.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(positions(&items), [last - 3, last - 4]);
    let some = server.get("/audit/events?format=csv&limit=3").await;
    assert_eq!(some.text.lines().count(), 4);
}

/// A row that is found by a user says so, in every form.
#[tokio::test]
async fn an_uninstall_shows_whose_tokens_it_ended() {
    let server = TestServer::start().await;
    let app = server.register("One").await;
    let installed = server.install(&app, "acme").await;
    server.delete(&format!("/installations/{}", installed.installation_id)).await.json(200);
    let found = "/audit/events?user=ada&type=app-uninstalled";
    let page = server.get(found).await.json(200);
    let row = &page["items"][0];
    assert_eq!((&row["user_id"], &row["token_users"]), (&Value::Null, &json!(["ada"])));
    let line = server.get(&format!("{found}&format=ndjson")).await;
    assert_eq!(serde_json::from_str::<Value>(&line.text).unwrap(), *row);
    let csv = server.get(&format!("{found}&format=csv")).await;
    let mut reader = csv::Reader::from_reader(csv.text.as_bytes());
    let record = reader.records().next().unwrap().unwrap();
    assert_eq!((&record[8], &record[15]), ("", "ada"));
}

#[tokio::test]
async fn what_was_true_then_is_told() {
    let server = TestServer::start().await;
    let app = server.register("One").await;
    let installed = server.install(&app, "acme").await;
    let other = server.install(&app, "globex").await;
    let token = |at: &str| format!("/audit/token/{}{at}", installed.token_id);
    server.delete(&format!("/installations/{}", installed.installation_id)).await.json(200);

    let then = server.get("/audit/installations?account=acme&as_of=3").await.json(200);
    assert_eq!(then["as_of"]["position"], 3);
    assert_eq!(
        (&then["items"][0]["installed"], &then["items"][0]["app_name"]),
        (&json!(true), &json!("One"))
    );
    assert_eq!(then["items"][0]["tokens"][0]["token_id"], installed.token_id.to_string());
    let now = server.get("/audit/installations?account=acme").await.json(200);
    assert_eq!((&now["items"][0]["installed"], &now["items"][0]["scopes"]), (&json!(false), &json!([])));

    assert_eq!(server.get(&token("?as_of=2")).await.json(200)["state"], "not_issued");
    assert_eq!(server.get(&token("?as_of=3")).await.json(200)["valid"], true);
    let ended = server.get(&token("")).await.json(200);
    assert_eq!((&ended["state"], &ended["event"]["position"]), (&json!("ended"), &json!(6)));
    assert!(ended["why"].as_str().unwrap().contains("was uninstalled by operator"), "{ended}");

    let changed = server.get("/audit/diff?account=acme&from=3").await.json(200);
    assert_eq!(changed["items"][0]["change"], "ended");
    assert_eq!(changed["items"][0]["tokens_ended"], json!([installed.token_id.to_string()]));
    assert_eq!(server.get("/audit/diff?account=globex&from=5").await.json(200)["items"], json!([]));

    let told = server.get(&format!("/audit/token/{}/timeline", other.token_id)).await.json(200);
    let sentences: Vec<_> =
        told["items"].as_array().unwrap().iter().map(|item| item["sentence"].as_str().unwrap()).collect();
    assert_eq!(sentences.len(), 3, "{sentences:?}");
    assert!(sentences[2].contains("was exchanged by"), "{sentences:?}");
}

#[tokio::test]
async fn a_wrong_question_gets_what_would_be_right() {
    let server = TestServer::start().await;
    server.register("One").await;
    for (uri, words) in [
        ("/audit/installations", "account is required"),
        ("/audit/installations?account=a%20b", "account_id"),
        ("/audit/installations?account=acme&as_of=then", "neither a position"),
        ("/audit/installations?account=acme&as_of=99", "the ledger ends at position 1, before 99"),
        ("/audit/installations?account=acme&as_of=2999-01-01T00:00:00Z", "is still to come: it is "),
        ("/audit/diff?account=acme&from=2999-01-01T00:00:00Z", "and the ledger ends at position 1"),
        ("/audit/diff?account=acme&from=1&to=2999-01-01T00:00:00Z", "and the ledger ends at position 1"),
        ("/audit/diff?account=acme", "from is required"),
        ("/audit/diff?account=acme&from=now", "neither a position"),
        ("/audit/diff?account=acme&from=1&to=0", "is after to ("),
        ("/audit/diff?account=acme&from=1h&to=2h", "name the earlier one first"),
        ("/audit/events?since=then", "RFC 3339"),
        ("/audit/events?since=1200", "`1200` is no time"),
        ("/audit/events?until=2026-01-31T12:00:00+02:00", "in a URL, write + as %2B"),
        ("/audit/token/01a20dda-6389-79ea-8dfb-17f9fd25b66c?as_of=2026-01-31T12:00:00", "has no offset"),
        ("/audit/events?limit=201", "limit must be"),
        ("/audit/events?after=-1", "after must be a position, such as 42, and is \"-1\""),
        ("/audit/events?before=x", "before must be a position"),
        (
            "/audit/events?type=token-revokd",
            "type \"token-revokd\" is unknown: it takes one of app-registered",
        ),
        (
            "/audit/events?reason=boredom",
            "reason \"boredom\" is unknown: it takes one of user, app, operator",
        ),
        ("/audit/events?format=csv&cursor=abc", "next_cursor of the page before"),
        ("/audit/events?order=up", "`newest` or `oldest`"),
        ("/audit/events?format=xml", "`ndjson`"),
        ("/audit/events?colour=red", "colour"),
        ("/audit/events?token=gbt_secret", "token_id"),
    ] {
        let detail = server.get(uri).await.problem(400);
        assert!(detail.contains(words), "{uri}: {detail}");
    }
    let unknown = crate::secrets::new_token_id(grantbook_events::Timestamp::EPOCH);
    assert_eq!(server.get(&format!("/audit/token/{unknown}")).await.problem(404), "no such token");
    assert_eq!(server.get(&format!("/audit/token/{unknown}/timeline")).await.problem(404), "no such token");
}

#[tokio::test]
async fn what_only_the_ledger_knows_may_be_asked_for_too() {
    let server = TestServer::start().await;
    let app = server.register("One").await;
    let app: grantbook_events::ClientId = app["client_id"].as_str().unwrap().parse().unwrap();
    server.post(&format!("/apps/{app}/suspend"), json!({ "reason": "an odd smell" })).await.json(200);
    let stream = grantbook_events::StreamKind::App(app).into();
    let expected = crate::store::Expected::Exactly(grantbook_events::Revision::new(1));
    let foreign = vec![crate::ledger::tests::poison::foreign()];
    crate::store::Store::append(&*server.store, &stream, expected, foreign).await.unwrap();
    server.service.ledger.caught_up().await.unwrap();
    server.service.history.reached(grantbook_events::Position::new(3)).await.unwrap();
    for (query, found) in [
        ("reason=an%20odd%20smell", 1),
        ("type=app-teleported", 1),
        ("type=app-deleted", 0),
        ("reason=leaked", 0),
    ] {
        let page = server.get(&format!("/audit/events?{query}")).await.json(200);
        assert_eq!(page["items"].as_array().unwrap().len(), found, "{query}");
    }
}
