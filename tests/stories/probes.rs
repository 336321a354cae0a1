//! `/healthz`, `/readyz`, `/metrics`: what load balancers and Prometheus ask, without a key.

use crate::harness::Grantbook;

/// The value of a line of the metrics.
#[track_caller]
fn metric(grantbook: &Grantbook, line: &str) -> u64 {
    let text = grantbook.get("/metrics").expect(200).body;
    let found = text.lines().find_map(|known| known.strip_prefix(line)?.strip_prefix(' ')?.parse().ok());
    found.unwrap_or_else(|| panic!("no {line} in {text}"))
}

#[test]
fn a_server_that_answers_is_alive_and_ready() {
    let grantbook = Grantbook::start();
    let health = grantbook.get("/healthz").expect(200);
    assert_eq!((health.body.as_str(), health.header("cache-control")), ("ok\n", "no-store"));
    let ready = grantbook.get("/readyz").expect(200);
    assert_eq!((&ready.json()["ready"], ready.header("cache-control")), (&true.into(), "no-store"));
    let before = ready.json()["position"].as_u64().unwrap();
    grantbook.app();
    assert_eq!(grantbook.get("/readyz").expect(200).json()["position"], before + 1);
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(grantbook.send("HEAD", path, &[], None).expect(200).body, "");
    }
}

#[test]
fn the_metrics_count_what_happens_and_name_nobody() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let (granted, refused) = ("granted", "refused");
    let exchanges = |outcome: &str| {
        metric(
            &grantbook,
            &format!("grantbook_decisions_total{{command=\"exchange_code\",outcome=\"{outcome}\"}}"),
        )
    };
    let code = grantbook.code(&app);
    let token = grantbook.exchange(&app, &code).expect(200).text("access_token");
    assert_eq!(exchanges(granted), 1);
    assert_eq!(metric(&grantbook, "grantbook_live_tokens"), 1);
    grantbook.exchange(&app, &code).expect(400);
    assert_eq!((exchanges(granted), exchanges(refused)), (1, 1));
    let tokens = |class: &str| {
        metric(
            &grantbook,
            &format!("grantbook_http_requests_total{{route=\"/oauth/token\",status=\"{class}\"}}"),
        )
    };
    assert_eq!((tokens("2xx"), tokens("4xx")), (1, 1));
    assert_eq!(metric(&grantbook, "grantbook_live_tokens"), 0);
    assert_eq!(metric(&grantbook, "grantbook_apps"), 1);

    // Whatever is asked for, the names of the routes do not multiply.
    for path in ["/no/such/path", "/another?x=y", &format!("/apps/{}", app.client_id)] {
        grantbook.get(path);
    }
    let reply = grantbook.get("/metrics").expect(200);
    assert!(reply.header("content-type").starts_with("text/plain; version=0.0.4"), "{reply:?}");
    for name in ["/no/such", "/another", "ana", "acme", &app.client_id, &token] {
        assert!(!reply.body.contains(name), "{name} in {}", reply.body);
    }
}

/// Whoever refuses a request, it counts for the path that it was for.
#[test]
fn a_request_that_is_refused_before_it_is_routed_counts_for_its_route() {
    let grantbook = Grantbook::start();
    let long = "x".repeat(90_000);
    grantbook.post_raw("/oauth/token", &[("x-long", &long)], "").expect(431);
    assert_eq!(metric(&grantbook, "grantbook_http_requests_total{route=\"/oauth/token\",status=\"4xx\"}"), 1);
}
