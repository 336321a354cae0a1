//! What Prometheus reads. Knows: both formats. Must not know: where the numbers come from.

use super::*;
use crate::telemetry::LostLines;

fn rendered(format: TextFormat) -> String {
    let metrics = Metrics::new(Timestamp::from_micros(5_500_000));
    metrics.request("/apps/{client_id}".into(), StatusCode::OK, Duration::from_millis(2));
    metrics.request("/apps/{client_id}".into(), StatusCode::NOT_FOUND, Duration::from_millis(20));
    metrics.decision("exchange_code", "granted");
    metrics.introspection(true);
    metrics.introspection(false);
    metrics.introspection(false);
    let readings = Readings {
        apps: 1,
        installations: 2,
        live_tokens: 3,
        operator_keys: 4,
        quarantined: 7,
        quarantined_streams: vec![QuarantinedStream {
            stream: "app-5f0c".to_owned(),
            position: 17,
            reason: "type \"x\\y\"\nis unknown".to_owned(),
        }],
        position: 5,
        caught_up: true,
        history_position: 8,
        subscriber_lags: vec![("history", 1.5)],
        staleness: 0.25,
        strong_reads: 9,
        strong_shared: 10,
        strong_refused: 11,
        strong_running: 12,
        reconnected: 13,
        resubscribed: 14,
        lost_lines: LostLines { queue_full: 15, not_written: 16 },
        tasks: vec![("ledger-writer", true), ("history", false)],
    };
    metrics.render(&readings, format).unwrap()
}

#[track_caller]
fn assert_lines(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|found| found == *line), "{line} is missing from\n{text}");
    }
}

#[test]
fn what_was_counted_is_rendered_in_both_formats() {
    let version = concat!("grantbook_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1");
    for format in [TextFormat::OpenMetrics, TextFormat::Prometheus] {
        let samples = [
            version,
            r#"grantbook_http_requests_total{route="/apps/{client_id}",status="2xx"} 1"#,
            r#"grantbook_http_requests_total{route="/apps/{client_id}",status="4xx"} 1"#,
            r#"grantbook_http_request_duration_seconds_bucket{le="0.0025",route="/apps/{client_id}"} 1"#,
            r#"grantbook_http_request_duration_seconds_count{route="/apps/{client_id}"} 2"#,
            r#"grantbook_decisions_total{command="exchange_code",outcome="granted"} 1"#,
            r#"grantbook_introspections_total{outcome="active"} 1"#,
            r#"grantbook_introspections_total{outcome="inactive"} 2"#,
            "process_start_time_seconds 5.5",
            "grantbook_apps 1",
            "grantbook_installations 2",
            "grantbook_live_tokens 3",
            "grantbook_operator_keys 4",
            "grantbook_quarantined_streams 7",
            r#"grantbook_quarantined_stream{stream="app-5f0c",position="17",reason="type \"x\\y\"\nis unknown"} 1"#,
            "grantbook_position 5",
            "grantbook_caught_up 1",
            "grantbook_history_position 8",
            r#"grantbook_subscriber_lag_seconds{subscriber="history"} 1.5"#,
            "grantbook_staleness_seconds 0.25",
            "grantbook_strong_reads_total 9",
            "grantbook_strong_reads_shared_total 10",
            "grantbook_strong_reads_refused_total 11",
            "grantbook_strong_reads_running 12",
            "grantbook_store_reconnected_total 13",
            "grantbook_store_resubscribed_total 14",
            r#"grantbook_log_lines_lost_total{reason="queue_full"} 15"#,
            r#"grantbook_log_lines_lost_total{reason="not_written"} 16"#,
            r#"grantbook_task_running{task="ledger-writer"} 1"#,
            r#"grantbook_task_running{task="history"} 0"#,
        ];
        assert_lines(&rendered(format), &samples);
    }
}

#[test]
fn each_format_names_its_metrics_in_its_own_way() {
    let open_metrics = rendered(TextFormat::OpenMetrics);
    assert_lines(
        &open_metrics,
        &[
            "# TYPE grantbook_decisions counter",
            "# TYPE grantbook_build info",
            "# UNIT process_start_time_seconds seconds",
        ],
    );
    assert!(open_metrics.ends_with("\n# EOF\n"));
    let older = rendered(TextFormat::Prometheus);
    assert_lines(
        &older,
        &[
            "# HELP grantbook_decisions_total Commands settled, by command and outcome.",
            "# TYPE grantbook_decisions_total counter",
            "# TYPE grantbook_build_info gauge",
            "# TYPE grantbook_http_request_duration_seconds histogram",
            "# TYPE process_start_time_seconds gauge",
        ],
    );
    assert!(!older.contains("# UNIT") && !older.contains("# EOF"), "{older}");
}
