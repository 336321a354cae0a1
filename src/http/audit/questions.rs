//! Who asks about history, and what: logged before the question is read, so that one that is refused has its
//! line too. Knows: queries as they came. Must not know: what a question means.

use actix_web::HttpRequest;
use url::form_urlencoded;

use crate::http::{Context, Problem};
use crate::ledger::Origin;
use crate::secrets;

/// The longest question that is logged whole, in bytes.
const QUESTION_MAX_BYTES: usize = 2048;

/// Logs a question about history, and who asks it or why it is refused.
pub fn log_question(request: &HttpRequest, asked_by: Result<&Origin, &Problem>) {
    let context = Context::of(request);
    let (path, question) = (path(request), question(request.query_string()));
    let request_id = context.request_id.as_str();
    match asked_by {
        Ok(origin) => tracing::info!(
            target: "grantbook::audit",
            operator = origin.actor.id, path, question, request_id, "history was asked about"
        ),
        Err(refused) => tracing::info!(
            target: "grantbook::audit",
            code = refused.code, path, question, request_id, "a question about history was refused"
        ),
    }
}

/// The path, unless something in it may be a secret, or it is longer than any path of ours.
fn path(request: &HttpRequest) -> String {
    let path = request.path();
    if path.len() > QUESTION_MAX_BYTES || path.contains('%') || secrets::is_like_one(path) {
        return request.match_pattern().unwrap_or_else(|| secrets::CONCEALED.to_owned());
    }
    path.to_owned()
}

/// The query, encoded so that it stays on its line, and cut if no honest question is so long. A slip of the hand
/// must not bring a secret into the log.
fn question(query: &str) -> String {
    let mut question = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let [name, value] =
            [&name, &value].map(|text| if secrets::is_like_one(text) { secrets::CONCEALED } else { text });
        question.append_pair(name, value);
    }
    let mut question = question.finish();
    if question.len() > QUESTION_MAX_BYTES {
        let whole = question.len();
        // What is encoded is ASCII.
        question.truncate(QUESTION_MAX_BYTES);
        question.push_str(&format!("… (cut: {whole} bytes)"));
    }
    question
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn the_whole_question_is_told_and_no_secret() {
        let whole = "actor=ana&type=token-revoked&reason=two%0Alines&since=2026-01-01T00%3A00%3A00Z&after=7";
        assert_eq!(question(whole), whole);
        assert_eq!(question(""), "");
        for secret in ["gbt_x", "gbc_x", "gbs_x", "gbk_x", "gbt%5Fx"] {
            assert_eq!(question(&format!("token={secret}&a=1")), "token=%28a+secret%29&a=1");
            assert_eq!(question(&format!("{secret}=1")), "%28a+secret%29=1");
            let asked = path(&TestRequest::with_uri(&format!("/audit/token/{secret}")).to_http_request());
            assert!(!asked.contains("gb"), "{asked}");
        }
        let cut = question(&format!("type={}", "x".repeat(90_000)));
        assert!(cut.len() < 2100 && cut.ends_with("… (cut: 90005 bytes)"), "{}", cut.len());
        let asked = TestRequest::with_uri("/audit/events?a=1").to_http_request();
        assert_eq!(path(&asked), "/audit/events");
    }
}
