//! Client ID metadata documents (draft-ietf-oauth-client-id-metadata-document): which URLs may name an app, and what a document
//! may say of it (D4). Knows: the URL and the text. Must not know: how a document is fetched, or what becomes of the app.

use grantbook_events::ClientKeys;
use serde::Deserialize;
use serde_json::Value;
use url::{Host, Url};

use super::app_profile::{ProfileError, check_homepage, check_name, check_redirect_uris, wrong};
use super::client_metadata::ClientMetadata;
use super::redirect_uri::{has_disguise, is_loopback};

/// The longest URL that names an app, in bytes.
const URL_MAX_BYTES: usize = 500;

/// A URL that may name an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentUrl(Url);

/// A URL that cannot name an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a client_id that is a URL must be https, name a host and a path, be written in its normal form without user name, query, \
     fragment and dot segments, and have at most {URL_MAX_BYTES} bytes"
)]
pub struct NoDocumentUrl;

/// What a document says of its app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataDocument {
    /// `client_name`; if it is missing, the host.
    pub name: String,
    /// `client_uri`, if it is on the origin of the document; else empty. People may follow it.
    pub homepage: String,
    /// On the origin of the document, or on loopback.
    pub redirect_uris: Vec<String>,
    /// The keys it signs with. It has no secret: anyone can read a document.
    pub keys: ClientKeys,
    /// Whether it wants refresh tokens.
    pub refreshes: bool,
    /// `scope`, as it is there: one document is for many servers, so it may name scopes that do not exist here.
    pub scope: Option<String>,
}

/// What a document says beside its app's metadata.
#[derive(Deserialize)]
struct Document {
    client_id: String,
    client_secret: Option<Value>,
    client_secret_expires_at: Option<Value>,
}

impl DocumentUrl {
    /// A client id that is a URL. On loopback it may be http; whether such a one is fetched is for the configuration to say.
    ///
    /// A query is refused: a page that repeats what its query says would be a document that anyone can write in its host's name.
    ///
    /// # Errors
    /// If it cannot name an app.
    pub fn parse(client_id: &str) -> Result<Self, NoDocumentUrl> {
        let url = Url::parse(client_id).map_err(|_| NoDocumentUrl)?;
        let is_right_host = match url.host() {
            Some(Host::Domain(_)) => url.scheme() == "https" || url.scheme() == "http" && is_loopback(&url),
            // People are shown the host.
            Some(Host::Ipv4(_) | Host::Ipv6(_)) => {
                matches!(url.scheme(), "https" | "http") && is_loopback(&url)
            }
            None => false,
        };
        let has_more = !url.username().is_empty()
            || url.password().is_some()
            || url.query().is_some()
            || url.fragment().is_some();
        // What a parser changes is a second spelling, and client ids are compared to the letter.
        let is_normal =
            url.as_str() == client_id && !has_disguise(client_id) && client_id.len() <= URL_MAX_BYTES;
        if is_right_host && is_normal && !has_more && url.path() != "/" {
            Ok(Self(url))
        } else {
            Err(NoDocumentUrl)
        }
    }

    /// The URL, which is the client id.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whose word the document is, for people and for lists of hosts.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    fn is_origin_of(&self, uri: &str) -> bool {
        Url::parse(uri).is_ok_and(|uri| uri.origin() == self.0.origin())
    }
}

impl MetadataDocument {
    /// Reads the document of a URL.
    ///
    /// # Errors
    /// The member that is wrong, and what would be right.
    pub fn parse(url: &DocumentUrl, text: &[u8]) -> Result<Self, ProfileError> {
        let (document, metadata) = read(text).or_else(|error| {
            let place = format!("line {}, column {}", error.line(), error.column());
            wrong(
                "client metadata document",
                format!("must be a JSON object with client_id and redirect_uris, of the types in RFC 7591 section 2 ({place})"),
            )
        })?;
        if document.client_id != url.as_str() {
            return wrong(
                "client_id",
                format!("must be {}, the URL of the document, to the letter", url.as_str()),
            );
        }
        if document.client_secret.is_some() || document.client_secret_expires_at.is_some() {
            return wrong(
                "client_secret",
                "must not be there, nor client_secret_expires_at: anyone can read the document",
            );
        }
        metadata.check()?;
        let keys = keys(&metadata)?;
        let redirect_uris = check_redirect_uris(metadata.redirect_uris.as_deref().unwrap_or_default())?;
        let is_own =
            |uri: &String| url.is_origin_of(uri) || Url::parse(uri).is_ok_and(|uri| is_web_loopback(&uri));
        if !redirect_uris.iter().all(is_own) {
            let origin = url.0.origin().ascii_serialization();
            return wrong(
                "redirect_uris",
                format!("must begin with {origin}, or with http and a loopback host"),
            );
        }
        let refreshes = metadata.refreshes();
        let homepage = metadata.client_uri.filter(|uri| url.is_origin_of(uri)).unwrap_or_default();
        Ok(Self {
            name: check_name("client_name", metadata.client_name.as_deref().unwrap_or(url.host()))?,
            homepage: check_homepage(&homepage)?,
            redirect_uris,
            keys,
            refreshes,
            scope: metadata.scope.filter(|scope| !scope.trim().is_empty()),
        })
    }
}

fn is_web_loopback(uri: &Url) -> bool {
    uri.scheme() == "http" && is_loopback(uri)
}

fn read(text: &[u8]) -> serde_json::Result<(Document, ClientMetadata)> {
    Ok((serde_json::from_slice(text)?, serde_json::from_slice(text)?))
}

fn keys(metadata: &ClientMetadata) -> Result<ClientKeys, ProfileError> {
    match metadata.token_endpoint_auth_method.as_deref() {
        None | Some("none") => Ok(ClientKeys::None),
        Some("private_key_jwt") => metadata.keys(),
        Some(_) => wrong(
            "token_endpoint_auth_method",
            "must be none or private_key_jwt: nothing in a document is secret",
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::key_set::ALGORITHMS;
    use super::*;

    const URL: &str = "https://app.example/oauth/client.json";

    fn document() -> Value {
        json!({ "client_id": URL, "redirect_uris": ["https://app.example/callback"] })
    }

    fn parse(document: &Value) -> Result<MetadataDocument, ProfileError> {
        MetadataDocument::parse(&DocumentUrl::parse(URL).unwrap(), document.to_string().as_bytes())
    }

    fn with(name: &str, value: impl Into<Value>) -> Value {
        let mut document = document();
        document[name] = value.into();
        document
    }

    #[track_caller]
    fn assert_wrong(document: &Value, field: &str, says: &str) {
        let refused = parse(document).expect_err(says);
        assert!(refused.field == field && refused.detail.contains(says), "{document}: {refused}");
    }

    fn keys() -> Value {
        json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": "A".repeat(43) }] })
    }

    #[test]
    fn d4_a_url_that_names_an_app_has_one_spelling_a_path_and_nothing_else() {
        for right in [
            URL,
            "https://app.example/a",
            "https://app.example/a/",
            "https://app.example:8443/a",
            "https://xn--bcher-kva.example/a",
            "http://localhost:4000/client.json",
            "http://127.0.0.1/client.json",
            "http://[::1]:4000/client.json",
        ] {
            assert_eq!(DocumentUrl::parse(right).map(|url| url.as_str().to_owned()).as_deref(), Ok(right));
        }
        assert_eq!(DocumentUrl::parse(URL).unwrap().host(), "app.example");
        for wrong in [
            "",
            "app.example/a",
            "0b5c4d7e-6a43-4b0f-9e57-0b8b8f3a2d11",
            "https://app.example",
            "https://app.example/",
            "http://app.example/a",
            "http://localhost.app.example/a",
            "ftp://app.example/a",
            "https://ana@app.example/a",
            "https://:hush@app.example/a",
            "https://app.example/a?b=c",
            "https://app.example/a?",
            "https://app.example/a#b",
            "https://app.example/a#",
            "https://app.example/a/../b",
            "https://app.example/./a",
            "https://app.example/a/%2e%2e/b",
            "https://app.example/a/.",
            "https://app.example/a%0d%0ab",
            "https://app.example\\a",
            "https://app.example/a b",
            "https://App.example/a",
            "HTTPS://app.example/a",
            "https://app.example:443/a",
            "https://bücher.example/a",
            " https://app.example/a",
            "https://app.example/a\n",
            "https://93.184.215.14/a",
            "https://[2606:4700::1111]/a",
            &format!("https://app.example/{}", "a".repeat(500)),
        ] {
            assert_eq!(DocumentUrl::parse(wrong), Err(NoDocumentUrl), "{wrong:?}");
        }
    }

    #[test]
    fn d4_a_document_describes_an_app() {
        let least = parse(&document()).unwrap();
        assert_eq!((least.name.as_str(), least.homepage.as_str()), ("app.example", ""));
        assert_eq!(least.redirect_uris, ["https://app.example/callback"]);
        assert_eq!((least.keys, least.refreshes, least.scope), (ClientKeys::None, false, None));

        let full = parse(&json!({
            "client_id": URL,
            "client_name": "Notes",
            "client_uri": "https://app.example/about",
            "logo_uri": "https://elsewhere.example/logo.svg",
            "redirect_uris": ["https://app.example/callback", "http://127.0.0.1/cb", "http://localhost:3000/cb"],
            "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
            "response_types": ["code", "id_token"],
            "scope": "notes:read widgets",
            "token_endpoint_auth_method": "none",
            "software_id": "4711",
        }))
        .unwrap();
        assert_eq!((full.name.as_str(), full.homepage.as_str()), ("Notes", "https://app.example/about"));
        assert_eq!((full.redirect_uris.len(), full.refreshes), (3, true));
        assert_eq!(full.scope.as_deref(), Some("notes:read widgets"));
        let elsewhere = parse(&with("client_uri", "https://accounts.example/")).unwrap();
        assert_eq!(elsewhere.homepage, "", "a link to somebody else is not shown");
    }

    #[test]
    fn d4_a_document_speaks_for_its_own_url_and_origin() {
        for wrong in [
            "https://app.example/oauth/client.json/",
            "https://app.example/oauth/Client.json",
            "https://app.example:443/oauth/client.json",
            "https://other.example/oauth/client.json",
            "",
        ] {
            assert_wrong(&with("client_id", wrong), "client_id", "to the letter");
        }
        for wrong in [
            "https://other.example/callback",
            "https://app.example.other.example/callback",
            "https://www.app.example/callback",
            "https://app.example:8443/callback",
            "com.example.app:/callback",
            "https://127.0.0.1/callback",
        ] {
            let uris = json!(["https://app.example/callback", wrong]);
            assert_wrong(
                &with("redirect_uris", uris),
                "redirect_uris",
                "must begin with https://app.example,",
            );
        }
        assert_wrong(&with("redirect_uris", json!([])), "redirect_uris", "1 to 20");
        assert_wrong(
            &with("redirect_uris", json!(["http://app.example/"])),
            "redirect_uris",
            "must use https",
        );
        let port = DocumentUrl::parse("https://app.example:8443/a").unwrap();
        let document =
            json!({ "client_id": port.as_str(), "redirect_uris": ["https://app.example:8443/cb"] });
        assert!(MetadataDocument::parse(&port, document.to_string().as_bytes()).is_ok());
    }

    #[test]
    fn d4_a_document_has_no_secret() {
        for (name, value) in [("client_secret", json!("hush")), ("client_secret_expires_at", json!(0))] {
            assert_wrong(&with(name, value), "client_secret", "anyone can read");
        }
        for method in
            ["client_secret_basic", "client_secret_post", "client_secret_jwt", "tls_client_auth", ""]
        {
            let document = with("token_endpoint_auth_method", method);
            assert_wrong(&document, "token_endpoint_auth_method", "none or private_key_jwt");
        }
    }

    #[test]
    fn d4_an_app_that_signs_names_its_public_keys() {
        let signing = |name: &str, value: Value| {
            let mut document = with(name, value);
            document["token_endpoint_auth_method"] = "private_key_jwt".into();
            document
        };
        let inline = parse(&signing("jwks", keys())).unwrap();
        assert_eq!(inline.keys, ClientKeys::Jwks(keys().to_string()));
        let elsewhere = parse(&signing("jwks_uri", json!("https://keys.example/jwks.json"))).unwrap();
        assert_eq!(elsewhere.keys, ClientKeys::JwksUri("https://keys.example/jwks.json".to_owned()));
        assert_eq!(parse(&with("jwks", keys())).unwrap().keys, ClientKeys::None);

        assert_wrong(&signing("scope", json!("a")), "jwks", "must be there");
        let mut both = signing("jwks", keys());
        both["jwks_uri"] = "https://keys.example/jwks.json".into();
        assert_wrong(&both, "jwks", "beside jwks_uri");
        let private =
            json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": "A".repeat(43), "d": "AAAA" }] });
        assert_wrong(&signing("jwks", private), "jwks", "public keys only");
        for wrong in
            ["http://keys.example/", "https://ana@keys.example/", "https://keys.example/#a", "keys", ""]
        {
            assert_wrong(&signing("jwks_uri", json!(wrong)), "jwks_uri", "must be an https URL");
        }
        for right in ALGORITHMS {
            assert!(parse(&with("token_endpoint_auth_signing_alg", right)).is_ok());
        }
        assert_wrong(
            &with("token_endpoint_auth_signing_alg", "HS256"),
            "token_endpoint_auth_signing_alg",
            "ES256",
        );
    }

    #[test]
    fn d4_what_is_malformed_is_said() {
        for wrong in [
            json!([]),
            json!({}),
            json!({ "redirect_uris": ["https://app.example/callback"] }),
            with("client_id", json!([URL])),
            with("redirect_uris", "https://app.example/callback"),
            with("grant_types", "authorization_code"),
            with("scope", json!(["a"])),
        ] {
            assert_wrong(&wrong, "client metadata document", "RFC 7591");
        }
        assert_wrong(&json!({ "client_id": URL }), "redirect_uris", "1 to 20 URIs");
        let twice = format!("{{\"client_id\": \"x\", \"client_id\": {URL:?}, \"redirect_uris\": []}}");
        assert!(MetadataDocument::parse(&DocumentUrl::parse(URL).unwrap(), twice.as_bytes()).is_err());
        assert_wrong(&with("grant_types", json!(["implicit"])), "grant_types", "authorization_code");
        assert_wrong(&with("response_types", json!(["token"])), "response_types", "code");
        assert_wrong(&with("client_name", "a\u{202e}b"), "client_name", "can be seen");
    }
}
