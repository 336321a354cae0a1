//! Assertions that are right, and everything that must not pass for one.

use std::sync::atomic::{AtomicUsize, Ordering};

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, encode};
use serde_json::{Value, json};

use super::*;
use crate::outbound::testing::{Does, JSON, Server, answer};
use crate::outbound::{Allowed, Rules};

const NOW: Timestamp = Timestamp::from_micros(1_767_323_045_000_000);
const NOW_SECS: i64 = NOW.as_secs();
const APP: &str = "0b5c4d7e-6a43-4b0f-9e57-0b8b8f3a2d11";
const AUDIENCES: [&str; 2] = ["https://auth.example", "https://auth.example/oauth/token"];

macro_rules! testdata {
    ($name:literal) => {
        include_bytes!(concat!("../../../identity/testdata/", $name))
    };
}

fn signers() -> [(Algorithm, EncodingKey); 3] {
    [
        (Algorithm::ES256, EncodingKey::from_ec_pem(testdata!("es256.private.pem")).unwrap()),
        (Algorithm::EdDSA, EncodingKey::from_ed_pem(testdata!("eddsa.private.pem")).unwrap()),
        (Algorithm::RS256, EncodingKey::from_rsa_pem(testdata!("rsa.private.pem")).unwrap()),
    ]
}

fn other_signers() -> [(Algorithm, EncodingKey); 3] {
    [
        (Algorithm::ES256, EncodingKey::from_ec_pem(testdata!("other-es256.private.pem")).unwrap()),
        (Algorithm::EdDSA, EncodingKey::from_ed_pem(testdata!("other-eddsa.private.pem")).unwrap()),
        (Algorithm::RS256, EncodingKey::from_rsa_pem(testdata!("other-rsa.private.pem")).unwrap()),
    ]
}

fn jwk(algorithm: Algorithm, key: &EncodingKey, id: Option<&str>) -> Value {
    let mut jwk = serde_json::to_value(Jwk::from_encoding_key(key, algorithm).unwrap()).unwrap();
    if let Some(id) = id {
        jwk["kid"] = id.into();
    }
    jwk
}

/// The set of the three keys of the app, named after their algorithms.
fn own_keys() -> String {
    let keys = signers().map(|(algorithm, key)| jwk(algorithm, &key, Some(&format!("{algorithm:?}"))));
    json!({ "keys": keys }).to_string()
}

fn claims() -> Value {
    json!({ "iss": APP, "sub": APP, "aud": AUDIENCES[0], "exp": NOW_SECS + 60, "jti": "once" })
}

fn sign(claims: &Value) -> String {
    let [_, (algorithm, key), _] = signers();
    encode(&Header::new(algorithm), claims, &key).unwrap()
}

struct Endpoint {
    outbound: Outbound,
    used: SingleUse,
}

impl Endpoint {
    fn new() -> Self {
        let rules = Rules { allowed: Allowed::parse("127.0.0.1").unwrap(), ..Rules::default() };
        Self { outbound: Outbound::new(rules), used: SingleUse::new(100) }
    }

    async fn check_at(&self, keys: ClientKeys, token: &str, now: Timestamp) -> Result<(), AssertionError> {
        let assertion = Assertion::read(JWT_BEARER, PlainSecret::presented(token))?;
        assert!(!format!("{assertion:?}").contains(token));
        assertion.check(&keys, &AUDIENCES, &self.outbound, &self.used, now).await
    }

    async fn check(&self, token: &str) -> Result<(), AssertionError> {
        self.check_at(ClientKeys::Jwks(own_keys()), token, NOW).await
    }
}

/// What becomes of an assertion with these claims.
async fn checked(claims: &Value) -> Result<(), AssertionError> {
    Endpoint::new().check(&sign(claims)).await
}

async fn changed(name: &str, value: impl Into<Value>) -> Result<(), AssertionError> {
    let mut claims = claims();
    claims[name] = value.into();
    checked(&claims).await
}

#[tokio::test]
async fn every_algorithm_proves_the_app_with_a_kid_or_without() {
    for (algorithm, key) in signers() {
        for kid in [None, Some(format!("{algorithm:?}"))] {
            let header = Header { kid, ..Header::new(algorithm) };
            let token = encode(&header, &claims(), &key).unwrap();
            assert_eq!(Endpoint::new().check(&token).await, Ok(()), "{header:?}");
            assert_eq!(Assertion::read(JWT_BEARER, PlainSecret::presented(token)).unwrap().client_id(), APP);
        }
    }
}

#[tokio::test]
async fn a_key_of_somebody_else_or_of_another_algorithm_proves_nothing() {
    for (algorithm, key) in other_signers() {
        let token = encode(&Header::new(algorithm), &claims(), &key).unwrap();
        assert_eq!(Endpoint::new().check(&token).await, Err(AssertionError::Signature), "{algorithm:?}");
    }
    // The right key under the id of another.
    let [(es, es_key), (ed, _), _] = signers();
    let header = Header { kid: Some(format!("{ed:?}")), ..Header::new(es) };
    let token = encode(&header, &claims(), &es_key).unwrap();
    assert_eq!(Endpoint::new().check(&token).await, Err(AssertionError::Signature));
    // A key that the assertion brings itself.
    let [(_, other), ..] = other_signers();
    let mut header = Header::new(es);
    header.jwk = Some(Jwk::from_encoding_key(&other, es).unwrap());
    let token = encode(&header, &claims(), &other).unwrap();
    assert_eq!(Endpoint::new().check(&token).await, Err(AssertionError::Signature));
    // Changed after it was signed.
    let token = sign(&claims());
    let parts: Vec<&str> = token.split('.').collect();
    let mut more = claims();
    more["jti"] = "twice".into();
    let token = format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(more.to_string()), parts[2]);
    assert_eq!(Endpoint::new().check(&token).await, Err(AssertionError::Signature));
}

#[tokio::test]
async fn no_signature_and_no_shared_secret_is_a_proof() {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    for algorithm in ["none", "None", ""] {
        let token = format!("{}.{}.", part(json!({ "alg": algorithm })), part(claims()));
        assert_eq!(Endpoint::new().check(&token).await, Err(AssertionError::NoJwt), "{algorithm:?}");
    }
    // What everyone knows (a public key) must not become a shared secret.
    for secret in [own_keys().as_bytes(), testdata!("rsa.public.pem"), testdata!("eddsa.public.pem"), b""] {
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            let token =
                encode(&Header::new(algorithm), &claims(), &EncodingKey::from_secret(secret)).unwrap();
            assert_eq!(Endpoint::new().check(&token).await, Err(AssertionError::Signature));
        }
    }
    let [.., (_, rsa)] = signers();
    for algorithm in [Algorithm::RS384, Algorithm::RS512, Algorithm::PS256] {
        let token = encode(&Header::new(algorithm), &claims(), &rsa).unwrap();
        assert_eq!(Endpoint::new().check(&token).await, Err(AssertionError::Signature), "{algorithm:?}");
    }
}

#[tokio::test]
async fn an_assertion_is_of_its_app_and_for_us_alone() {
    for name in ["iss", "sub"] {
        assert_eq!(changed(name, "somebody").await, Err(AssertionError::Issuer), "{name}");
    }
    for right in [json!(AUDIENCES[0]), json!(AUDIENCES[1]), json!([AUDIENCES[1]]), json!(AUDIENCES)] {
        assert_eq!(changed("aud", right.clone()).await, Ok(()), "{right}");
    }
    for wrong in [
        json!("https://other.example"),
        json!("https://auth.example/"),
        json!("https://auth.example/oauth"),
        json!([]),
        json!([AUDIENCES[0], "https://other.example"]),
    ] {
        assert_eq!(changed("aud", wrong.clone()).await, Err(AssertionError::Audience), "{wrong}");
    }
}

#[tokio::test]
async fn an_assertion_lives_for_minutes() {
    for (name, ahead, outcome) in [
        ("exp", 300.0, Ok(())),
        ("exp", 360.0, Ok(())),
        ("exp", 361.0, Err(AssertionError::Expiry)),
        ("exp", 86_400.0, Err(AssertionError::Expiry)),
        ("exp", -59.0, Ok(())),
        ("exp", -60.0, Err(AssertionError::Expiry)),
        ("exp", 1e300, Err(AssertionError::Expiry)),
        ("exp", -1e300, Err(AssertionError::Expiry)),
        ("exp", 0.5, Ok(())),
        ("iat", 60.0, Ok(())),
        ("iat", 61.0, Err(AssertionError::NotYet)),
        ("nbf", 61.0, Err(AssertionError::NotYet)),
        ("nbf", -1e9, Ok(())),
    ] {
        assert_eq!(changed(name, NOW_SECS as f64 + ahead).await, outcome, "{name} {ahead}");
    }
}

#[tokio::test]
async fn a_claim_that_is_missing_or_of_another_type_is_said() {
    for name in ["iss", "sub", "aud", "exp", "jti"] {
        let mut without = claims();
        without.as_object_mut().unwrap().remove(name);
        assert_eq!(checked(&without).await, Err(AssertionError::Claims), "{name}");
        for wrong in [json!(null), json!({}), json!(true)] {
            assert_eq!(changed(name, wrong.clone()).await, Err(AssertionError::Claims), "{name} {wrong}");
        }
    }
    assert_eq!(changed("exp", "soon").await, Err(AssertionError::Claims));
    assert_eq!(changed("jti", "").await, Err(AssertionError::Claims));
}

#[tokio::test]
async fn what_is_no_assertion_is_said() {
    let token = sign(&claims());
    let long = format!("{}{}", sign(&claims()), "A".repeat(MAX_BYTES));
    for wrong in ["", "a", "a.b.c", "..", &token[1..], &long] {
        assert_eq!(Endpoint::new().check(wrong).await, Err(AssertionError::NoJwt), "{wrong}");
    }
    let read = |kind: &str| Assertion::read(kind, PlainSecret::presented(token.as_str())).map(drop);
    assert_eq!(read("urn:ietf:params:oauth:client-assertion-type:saml2-bearer"), Err(AssertionError::Type));
    let [_, (algorithm, key), _] = signers();
    let header = Header { crit: Some(vec!["exp".to_owned()]), ..Header::new(algorithm) };
    let critical = encode(&header, &claims(), &key).unwrap();
    assert_eq!(Endpoint::new().check(&critical).await, Err(AssertionError::Critical));
}

#[tokio::test]
async fn an_assertion_is_used_once_and_until_it_cannot_be_used_at_all() {
    let endpoint = Endpoint::new();
    let token = sign(&claims());
    // What is refused is not used up.
    let foreign = endpoint.check_at(ClientKeys::Jwks(r#"{"keys": []}"#.to_owned()), &token, NOW).await;
    assert_eq!(foreign, Err(AssertionError::KeySet(KeySetError::Count)));
    assert_eq!(endpoint.check(&token).await, Ok(()));
    assert_eq!(endpoint.check(&token).await, Err(AssertionError::Reused));
    let mut again = claims();
    again["exp"] = (NOW_SECS + 61).into();
    assert_eq!(endpoint.check(&sign(&again)).await, Err(AssertionError::Reused), "another with the same jti");
    let at = |seconds: i64| Timestamp::from_micros((NOW_SECS + seconds) * 1_000_000);
    let full = Endpoint { used: SingleUse::new(1), ..Endpoint::new() };
    assert_eq!(full.check(&token).await, Ok(()));
    again["jti"] = "another".into();
    assert_eq!(full.check(&sign(&again)).await, Err(AssertionError::TooMany));
    let keys = own_keys();
    for (seconds, outcome) in [(119, Err(AssertionError::Reused)), (120, Err(AssertionError::Expiry))] {
        assert_eq!(
            full.check_at(ClientKeys::Jwks(keys.clone()), &token, at(seconds)).await,
            outcome,
            "{seconds}"
        );
    }
    assert_eq!(
        full.check_at(ClientKeys::Jwks(keys.clone()), &sign(&again), at(120)).await,
        Ok(()),
        "the first is forgotten"
    );
}

#[tokio::test]
async fn keys_at_a_url_are_kept_and_a_new_one_is_found_once_a_minute() {
    let [first, second] =
        [&signers()[1], &other_signers()[1]].map(|(algorithm, key)| (*algorithm, key.clone()));
    let set_of =
        |(algorithm, key): &(Algorithm, EncodingKey), id| json!({ "keys": [jwk(*algorithm, key, Some(id))] });
    let server = Server::answering(JSON, &set_of(&first, "1").to_string()).await;
    let (url, becomes) = (server.url("/jwks"), |set: &str| server.does(Does::Answers(answer(JSON, set))));
    let (endpoint, jti) = (Endpoint::new(), AtomicUsize::new(0));
    let check = async |(algorithm, key): &(Algorithm, EncodingKey), id: &str, after: i64| {
        let header = Header { kid: Some(id.to_owned()), ..Header::new(*algorithm) };
        let mut claims = claims();
        claims["jti"] = jti.fetch_add(1, Ordering::SeqCst).to_string().into();
        claims["exp"] = (NOW_SECS + after + 60).into();
        let now = Timestamp::from_micros((NOW_SECS + after) * 1_000_000);
        endpoint
            .check_at(ClientKeys::JwksUri(url.clone()), &encode(&header, &claims, key).unwrap(), now)
            .await
    };
    let asked = || server.connections();
    assert_eq!(check(&first, "1", 0).await, Ok(()));
    assert_eq!(check(&first, "1", 30).await, Ok(()));
    assert_eq!(asked(), 1);
    becomes(&set_of(&second, "2").to_string());
    // Anyone can name a key that is not there; that does not make us ask more than once a minute.
    assert_eq!(check(&second, "2", 59).await, Err(AssertionError::Signature));
    assert_eq!(asked(), 1);
    assert_eq!(check(&second, "2", 60).await, Ok(()));
    assert_eq!(asked(), 2);
    assert_eq!(check(&first, "1", 61).await, Err(AssertionError::Signature), "the old key is gone");
    assert_eq!(check(&second, "3", 119).await, Err(AssertionError::Signature));
    assert_eq!(asked(), 2);
    assert_eq!(check(&second, "3", 120).await, Err(AssertionError::Signature));
    assert_eq!(asked(), 3);
    // A set that is wrong is asked for again as soon as one that has no key for it.
    becomes(r#"{"keys": []}"#);
    assert_eq!(check(&second, "3", 180).await, Err(AssertionError::KeySet(KeySetError::Count)));
    becomes(&set_of(&second, "2").to_string());
    assert_eq!(check(&second, "2", 239).await, Err(AssertionError::KeySet(KeySetError::Count)));
    assert_eq!(check(&second, "2", 240).await, Ok(()));
    let refused =
        endpoint.check_at(ClientKeys::JwksUri("https://127.0.0.2/".to_owned()), &sign(&claims()), NOW).await;
    assert_eq!(refused, Err(AssertionError::Fetch(FetchError::Refused)));
}

/// An `error_description` has no quotes and no backslashes (RFC 6749 section 5.2).
#[test]
fn what_is_said_may_stand_in_an_error_description() {
    use AssertionError as E;
    let all = [
        E::Type,
        E::NoJwt,
        E::Critical,
        E::Signature,
        E::Claims,
        E::Issuer,
        E::Audience,
        E::Expiry,
        E::NotYet,
    ];
    let more = [E::Reused, E::TooMany, E::KeySet(KeySetError::Private), E::Fetch(FetchError::Refused)];
    for error in all.into_iter().chain(more) {
        let said = error.to_string();
        assert!(said.bytes().all(|byte| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e)), "{said}");
    }
}
