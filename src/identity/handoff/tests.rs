//! The whole way out and back, and everything that must not get through. The keys in `testdata/` were made
//! for these tests and protect nothing.

use std::cell::RefCell;

use actix_web::http::header::{COOKIE, HeaderMap, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::*;
use crate::identity::SessionKey;
use crate::identity::pending::SignIns;
use crate::identity::session::AccountRole;

const NOW: Timestamp = Timestamp::from_micros(1_767_323_045_000_000);
const NOW_SECS: i64 = NOW.as_secs();
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const RSA_PUBLIC: &[u8] = include_bytes!("../testdata/rsa.public.pem");
const ES256_PUBLIC: &[u8] = include_bytes!("../testdata/es256.public.pem");
const EDDSA_PUBLIC: &[u8] = include_bytes!("../testdata/eddsa.public.pem");

/// Each algorithm with what grantbook is given and what the host signs with.
fn hosts() -> [(Algorithm, &'static [u8], EncodingKey); 4] {
    let rsa = EncodingKey::from_rsa_pem(include_bytes!("../testdata/rsa.private.pem")).unwrap();
    let ec = EncodingKey::from_ec_pem(include_bytes!("../testdata/es256.private.pem")).unwrap();
    let ed = EncodingKey::from_ed_pem(include_bytes!("../testdata/eddsa.private.pem")).unwrap();
    [
        (Algorithm::HS256, SECRET, EncodingKey::from_secret(SECRET)),
        (Algorithm::RS256, RSA_PUBLIC, rsa),
        (Algorithm::ES256, ES256_PUBLIC, ec),
        (Algorithm::EdDSA, EDDSA_PUBLIC, ed),
    ]
}

const OURS: &str = "https://grantbook.example";

fn handoff_with(algorithm: Algorithm, key: &[u8]) -> Handoff {
    Handoff::new(
        "https://platform.example/login?theme=dark".parse().unwrap(),
        "https://platform.example".into(),
        HandoffKey::new(algorithm, key).unwrap(),
        Duration::from_secs(60),
    )
}

fn handoff() -> Handoff {
    handoff_with(Algorithm::HS256, SECRET)
}

/// A browser: what it sends.
fn session() -> RefCell<HeaderMap> {
    RefCell::default()
}

fn sign_ins() -> SignIns {
    SignIns::new(&SessionKey::new([1; 64]), true, NOW)
}

/// Sets out and returns the nonce the host was given.
fn set_out(session: &RefCell<HeaderMap>) -> String {
    let begun = sign_ins().begin(&session.borrow(), NOW);
    for cookie in begun.cookies {
        let sent = HeaderValue::from_str(&cookie.stripped().to_string()).unwrap();
        session.borrow_mut().append(COOKIE, sent);
    }
    begun.nonce
}

fn finish(handoff: &Handoff, session: &RefCell<HeaderMap>, token: &str) -> Result<Arrived, HandoffError> {
    handoff.finish(OURS, &sign_ins().of(&session.borrow(), NOW), token, NOW)
}

fn claims(nonce: &str) -> Value {
    json!({
        "iss": "https://platform.example", "aud": "https://grantbook.example",
        "sub": "ana", "account": "acme", "request": nonce,
        "iat": NOW_SECS, "exp": NOW_SECS + 60, "jti": "answer-1",
    })
}

fn sign(claims: &Value) -> String {
    encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(SECRET)).unwrap()
}

#[track_caller]
fn assert_wrong(refused: &HandoffError, why: &str) {
    let HandoffError::Wrong(said) = refused else { panic!("{refused}") };
    assert!(said.starts_with(why), "{said}");
}

/// What becomes of an answer that differs from a right one only in what `change` does to its claims.
fn answered(change: impl FnOnce(&mut Value)) -> Result<Arrived, HandoffError> {
    let (handoff, session) = (handoff(), session());
    let mut claims = claims(&set_out(&session));
    change(&mut claims);
    finish(&handoff, &session, &sign(&claims))
}

#[test]
fn every_algorithm_brings_a_person_home() {
    for (algorithm, key, host) in hosts() {
        let (handoff, session) = (handoff_with(algorithm, key), session());
        let claims = claims(&set_out(&session));
        let token = encode(&Header::new(algorithm), &claims, &host).unwrap();
        let Arrived { person, .. } = finish(&handoff, &session, &token).unwrap();
        assert_eq!((person.user.as_str(), person.account.as_str()), ("ana", "acme"), "{algorithm:?}");
    }
}

#[test]
fn the_way_out_keeps_the_login_pages_query_and_carries_ours() {
    let onward = Onward::authorize("client_id=abc&state=%26%25+é&redirect_uri=https%3A%2F%2Fapp").unwrap();
    let location = handoff().login_location(OURS, "nonce-1", &onward, false);
    assert!(location.as_str().starts_with("https://platform.example/login?theme=dark&request="));
    let pairs: Vec<_> = location.query_pairs().collect();
    assert_eq!(pairs[0], ("theme".into(), "dark".into()));
    assert_eq!(pairs[1], ("request".into(), "nonce-1".into()));
    let return_to = Url::parse(&pairs[2].1).unwrap();
    assert_eq!((pairs[2].0.as_ref(), return_to.path()), ("return_to", "/sign-in/handoff"));
    let (name, param) = return_to.query_pairs().next().unwrap();
    assert_eq!((name.as_ref(), Onward::from_param(&param)), ("continue", Ok(onward)));

    assert_eq!(pairs.len(), 3);

    let location = handoff().login_location(OURS, "nonce-1", &Onward::AccountApps, true);
    assert_eq!(location.query_pairs().last(), Some(("prompt".into(), "select_account".into())));
    let return_to = location.query_pairs().find(|(name, _)| name == "return_to").unwrap().1.into_owned();
    assert_eq!(return_to, "https://grantbook.example/sign-in/handoff");
}

#[test]
fn another_key_is_refused_for_every_algorithm() {
    let others = [
        EncodingKey::from_secret(b"another secret, as long as it must be"),
        EncodingKey::from_rsa_pem(include_bytes!("../testdata/other-rsa.private.pem")).unwrap(),
        EncodingKey::from_ec_pem(include_bytes!("../testdata/other-es256.private.pem")).unwrap(),
        EncodingKey::from_ed_pem(include_bytes!("../testdata/other-eddsa.private.pem")).unwrap(),
    ];
    for ((algorithm, key, _), other) in hosts().into_iter().zip(others) {
        let (handoff, session) = (handoff_with(algorithm, key), session());
        let claims = claims(&set_out(&session));
        let token = encode(&Header::new(algorithm), &claims, &other).unwrap();
        let refused = finish(&handoff, &session, &token).unwrap_err();
        assert_wrong(&refused, "'s signature does not match");
    }
}

#[test]
fn another_algorithm_is_refused_even_with_a_right_key() {
    for (configured, key, _) in hosts() {
        for (other, _, host) in hosts() {
            if other == configured {
                continue;
            }
            let (handoff, session) = (handoff_with(configured, key), session());
            let claims = claims(&set_out(&session));
            let token = encode(&Header::new(other), &claims, &host).unwrap();
            let refused = finish(&handoff, &session, &token).unwrap_err();
            assert_wrong(&refused, &format!(" is signed with {other:?}, and {configured:?} is configured"));
        }
    }
    // The same secret, a sibling algorithm.
    let (handoff, session) = (handoff(), session());
    let claims = claims(&set_out(&session));
    let key = EncodingKey::from_secret(SECRET);
    let token = encode(&Header::new(Algorithm::HS512), &claims, &key).unwrap();
    let refused = finish(&handoff, &session, &token).unwrap_err();
    assert_eq!(refused.to_string(), "the answer is signed with HS512, and HS256 is configured");
}

#[test]
fn a_public_key_is_never_a_shared_secret() {
    let keys = [(Algorithm::RS256, RSA_PUBLIC), (Algorithm::EdDSA, EDDSA_PUBLIC)];
    for (algorithm, public) in keys {
        let (handoff, session) = (handoff_with(algorithm, public), session());
        let claims = claims(&set_out(&session));
        let raw = handoff.key.decoding_key().try_get_as_bytes().unwrap().to_vec();
        for secret in [public, &raw] {
            let key = EncodingKey::from_secret(secret);
            let forged = encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap();
            let refused = finish(&handoff, &session, &forged).unwrap_err();
            assert_wrong(&refused, " is signed with HS256, and");
            // The same signature under a header that claims the configured algorithm.
            let header = encode_part(&json!({"alg": format!("{algorithm:?}"), "typ": "JWT"}));
            let forged = format!("{header}.{}", forged.split_once('.').unwrap().1);
            let refused = finish(&handoff, &session, &forged).unwrap_err();
            assert_wrong(&refused, "'s signature does not match");
        }
    }
}

fn encode_part(part: &Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}

#[test]
fn unsigned_and_mangled_answers_are_refused() {
    let (handoff, session) = (handoff(), session());
    let claims = claims(&set_out(&session));
    let body = encode_part(&claims);
    for alg in ["none", "None", "NONE", "", "HS256"] {
        let header = encode_part(&json!({"alg": alg, "typ": "JWT"}));
        for signature in ["", "AAAA"] {
            let unsigned = format!("{header}.{body}.{signature}");
            assert!(finish(&handoff, &session, &unsigned).is_err(), "{alg} {signature}");
        }
    }
    let right = sign(&claims);
    let cut = &right[..right.len() - 1];
    let long = format!("{right}{}", "A".repeat(9000));
    for mangled in ["", ".", "..", "a.b.c", cut, &format!("{right}."), &format!(" {right}"), &long] {
        assert!(finish(&handoff, &session, mangled).is_err(), "{mangled:?}");
    }
    let mut header = Header::new(Algorithm::HS256);
    header.crit = Some(vec!["exp".into()]);
    let critical = encode(&header, &claims, &EncodingKey::from_secret(SECRET)).unwrap();
    assert_wrong(&finish(&handoff, &session, &critical).unwrap_err(), "'s header says `crit`");
    // None of these spent the nonce.
    assert!(finish(&handoff, &session, &right).is_ok());
}

#[test]
fn another_issuer_or_audience_is_refused() {
    let issuer = |iss: Value| answered(|claims| claims["iss"] = iss).unwrap_err();
    assert_wrong(&issuer("https://evil.example".into()), "'s `iss` is \"https://evil.example\", and");
    assert_wrong(&issuer("https://platform.example/".into()), "'s `iss`");
    assert_wrong(&issuer(json!(["https://platform.example"])), "'s claims are wrong: iss: invalid type");

    let ours = "https://grantbook.example";
    assert!(answered(|claims| claims["aud"] = json!([ours])).is_ok());
    let others =
        [json!("https://other.example"), json!([ours, "https://other.example"]), json!([]), json!(7)];
    for other in others {
        let refused = answered(|claims| claims["aud"] = other).unwrap_err();
        assert_wrong(&refused, "'s `aud`");
    }
}

#[test]
fn times_are_compared_with_the_time_that_was_given() {
    let times = |iat: i64, exp: i64| {
        answered(|claims| {
            claims["iat"] = json!(NOW_SECS + iat);
            claims["exp"] = json!(NOW_SECS + exp);
        })
    };
    assert!(times(-59, 1).is_ok());
    assert!(matches!(times(-60, 0), Err(HandoffError::Expired(0))));
    assert!(matches!(times(-90, -30), Err(HandoffError::Expired(30))));
    assert!(times(0, 60).is_ok());
    assert_wrong(
        &times(0, 61).unwrap_err(),
        " is good for 61 s (`exp` minus `iat`), and must be for 1 to 60 s",
    );
    assert_wrong(&times(0, 0).unwrap_err(), " is good for 0 s");
    assert_wrong(&times(10, 5).unwrap_err(), " is good for -5 s");
    assert!(times(30, 90).is_ok());
    assert_wrong(&times(31, 91).unwrap_err(), "'s `iat` is 31 s ahead");
    assert!(times(i64::MIN - NOW_SECS.min(0), 60).is_err(), "no overflow");
    let early = answered(|claims| claims["nbf"] = json!(NOW_SECS + 31)).unwrap_err();
    assert_wrong(&early, "'s `nbf` is 31 s ahead");
    // Some libraries write fractions.
    assert!(answered(|claims| claims["iat"] = json!(NOW_SECS as f64 + 0.75)).is_ok());
    for wrong in [json!("soon"), json!(1e300), json!(u64::MAX), json!(true)] {
        let refused = answered(|claims| claims["exp"] = wrong).unwrap_err();
        assert_wrong(&refused, "'s claims are wrong: exp: ");
    }
}

#[test]
fn every_claim_must_be_there_and_be_what_it_says() {
    for claim in ["iss", "aud", "sub", "account", "request", "iat", "exp", "jti"] {
        let refused = answered(|claims| drop(claims.as_object_mut().unwrap().remove(claim))).unwrap_err();
        assert_wrong(&refused, &format!("'s claims are wrong: missing field `{claim}`"));
    }
    for claim in ["sub", "account", "request", "jti"] {
        for wrong in [json!(7), json!(""), json!(true)] {
            let refused = answered(|claims| claims[claim] = wrong).unwrap_err();
            assert_wrong(&refused, &format!("'s claims are wrong: {claim}: "));
        }
    }
    for claim in ["sub", "account"] {
        for wrong in ["a b", "é", "a\n", &"x".repeat(129)] {
            let refused = answered(|claims| claims[claim] = json!(wrong)).unwrap_err();
            assert_wrong(&refused, &format!("'s claims are wrong: {claim}: "));
        }
    }
}

#[test]
fn names_and_role_may_be_there() {
    let plain = answered(|_| {}).unwrap().person;
    assert_eq!((plain.name, plain.account_name, plain.role), (None, None, AccountRole::Member));
    let person = answered(|claims| {
        claims["name"] = json!(" Ana\u{0}\n Torres ");
        claims["account_name"] = json!("é".repeat(1000));
        claims["role"] = json!("admin");
    });
    let person = person.unwrap().person;
    assert_eq!(person.name.as_deref(), Some("Ana Torres"));
    assert_eq!(person.account_name, Some("é".repeat(100)));
    assert_eq!(person.role, AccountRole::Admin);
    for empty in [json!(null), json!(""), json!(" \u{7f} ")] {
        assert_eq!(answered(|claims| claims["name"] = empty).unwrap().person.name, None);
    }
    for (claim, wrong) in
        [("name", json!(7)), ("account_name", json!(["Acme"])), ("role", json!("owner")), ("role", json!(""))]
    {
        let refused = answered(|claims| claims[claim] = wrong).unwrap_err();
        assert_wrong(&refused, &format!("'s claims are wrong: {claim}: "));
    }
}

#[test]
fn an_answer_is_for_the_browser_that_set_out() {
    assert!(matches!(
        answered(|claims| claims["request"] = json!("another nonce")),
        Err(HandoffError::NotPending)
    ));
    let handoff = handoff();
    let (theirs, mine) = (session(), session());
    let token = sign(&claims(&set_out(&theirs)));
    assert!(matches!(finish(&handoff, &mine, &token), Err(HandoffError::NotPending)));
    set_out(&mine);
    assert!(matches!(finish(&handoff, &mine, &token), Err(HandoffError::NotPending)));
    assert!(finish(&handoff, &theirs, &token).is_ok());
}

#[test]
fn an_answer_is_taken_once_even_from_a_browser_that_kept_its_cookie() {
    let (handoff, session) = (handoff(), session());
    let token = sign(&claims(&set_out(&session)));
    assert!(finish(&handoff, &session, &token).is_ok());
    assert!(matches!(finish(&handoff, &session, &token), Err(HandoffError::Reused)));
}

#[test]
fn reasons_are_for_the_log_and_sentences_for_the_person() {
    let refused = answered(|claims| claims["iss"] = json!("https://evil.example")).unwrap_err();
    assert!(refused.to_string().contains("https://evil.example"));
    assert!(!refused.sentence().contains("evil"));
    assert!(refused.sentence().ends_with('.'));
}
