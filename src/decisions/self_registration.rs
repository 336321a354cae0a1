//! What an app may have that registers itself, and whether it may manage its registration (D1 to D3). Knows: the metadata it sends, and
//! what the operator allows. Must not know: forms, ids, or secrets.

use std::collections::BTreeSet;

use grantbook_events::{AppSource, ClientKeys, SecretDigest, TokenPolicy};
use grantbook_projections::{App, AppStatus};
use subtle::ConstantTimeEq;
use url::Url;

use super::app_profile::{NAME_MAX, ProfileError, check_homepage, check_name, check_redirect_uris, wrong};
use super::client_authentication::ClientError;
use super::client_metadata::ClientMetadata;
use super::redirect_uri::is_within;
use super::scopes::ScopeCatalogue;
use super::{Changes, Registration};

/// What an operator allows apps that register themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistrationPolicy {
    /// The scopes they may ask for, by canonical name.
    pub scopes: BTreeSet<String>,
    /// Where their https redirect URIs may lead.
    pub redirect_hosts: RedirectHosts,
    /// Whether they may have a secret or keys. Without, all are public clients.
    pub confidential: bool,
}

/// Hosts that codes may be sent to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RedirectHosts {
    /// Only these; all if there are none.
    only: BTreeSet<String>,
    /// Not these, nor names below them.
    except: BTreeSet<String>,
}

/// How an app authenticates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMethod {
    Nothing,
    SecretBasic,
    SecretPost,
    Keys,
}

impl RedirectHosts {
    /// Host names separated by commas, those after an exclamation mark excluded; `any` for all but these.
    ///
    /// # Errors
    /// A part that is no host, as words that continue "…, which ".
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut hosts = Self::default();
        let mut is_any = false;
        for part in text.split(',').map(str::trim) {
            let (name, list) = match part.strip_prefix('!') {
                _ if part == "any" => {
                    is_any = true;
                    continue;
                }
                Some(name) => (name, &mut hosts.except),
                None => (part, &mut hosts.only),
            };
            let url = Url::parse(&format!("https://{name}/")).ok();
            // What a parser changes is not a host, or another spelling of it.
            let is_host = url.is_some_and(|url| url.host_str() == Some(name) && url.port().is_none());
            if !is_host || name.contains('*') {
                return Err(format!("has {part:?}, which is no host"));
            }
            list.insert(name.to_owned());
        }
        match (is_any, hosts.only.is_empty()) {
            (true, true) | (false, false) => Ok(hosts),
            (true, false) => Err("names hosts beside any".to_owned()),
            (false, true) => Err("excludes hosts but allows none".to_owned()),
        }
    }

    pub fn allow(&self, host: &str) -> bool {
        let is_excluded = self.except.iter().any(|name| is_within(host, name));
        (self.only.is_empty() || self.only.contains(host)) && !is_excluded
    }
}

impl AuthMethod {
    /// What an app has, in the words of RFC 7591. Of two ways to send a secret, the one that was asked for: both are taken.
    pub fn of(app: &App, asked: Option<&str>) -> Self {
        match (app.confidential, app.keys.is_none()) {
            (false, _) => Self::Nothing,
            (true, false) => Self::Keys,
            (true, true) if asked == Some(Self::SecretPost.name()) => Self::SecretPost,
            (true, true) => Self::SecretBasic,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "none",
            Self::SecretBasic => "client_secret_basic",
            Self::SecretPost => "client_secret_post",
            Self::Keys => "private_key_jwt",
        }
    }

    pub const fn has_secret(self) -> bool {
        matches!(self, Self::SecretBasic | Self::SecretPost)
    }

    /// What the app asks for, which is a secret if it says nothing (RFC 7591 section 2); nothing if it may not have that.
    fn allowed(metadata: &ClientMetadata, policy: &RegistrationPolicy) -> Result<Self, ProfileError> {
        let all = [Self::Nothing, Self::SecretBasic, Self::SecretPost, Self::Keys];
        let asked = metadata.token_endpoint_auth_method.as_deref();
        let asked = asked.unwrap_or(Self::SecretBasic.name());
        match all.into_iter().find(|method| method.name() == asked) {
            Some(_) if !policy.confidential => Ok(Self::Nothing),
            Some(method) => Ok(method),
            None => {
                let known = all.map(Self::name).join(", ");
                wrong("token_endpoint_auth_method", format!("must be one of {known}"))
            }
        }
    }
}

impl RegistrationPolicy {
    /// What is registered of what an app says of itself, and how it authenticates. What it may not have is left out or replaced, as
    /// RFC 7591 section 3.2.1 allows, where the app can go on without; its answer says so.
    ///
    /// # Errors
    /// The member that is wrong, and what would be right.
    pub fn registration(
        &self,
        metadata: &ClientMetadata,
        catalogue: &ScopeCatalogue,
        token_policy: TokenPolicy,
        source: AppSource,
    ) -> Result<(Registration, AuthMethod), ProfileError> {
        metadata.check()?;
        let method = AuthMethod::allowed(metadata, self)?;
        let redirect_uris = self.redirect_uris(metadata)?;
        let place = redirect_uris.first().map_or_else(String::new, |uri| shortened(&destination(uri)));
        let registration = Registration {
            name: check_name("client_name", metadata.client_name.as_deref().unwrap_or(&place))?,
            homepage: homepage(metadata, &redirect_uris)?,
            // Nobody has checked who it is: all that is known is where codes go.
            owner: place,
            redirect_uris,
            scopes: self.scopes.iter().cloned().collect(),
            default_scopes: self.default_scopes(metadata.scope.as_deref(), catalogue)?,
            keys: if method == AuthMethod::Keys { metadata.keys()? } else { ClientKeys::None },
            token_policy,
            requires_pushed_requests: metadata.require_pushed_authorization_requests.unwrap_or_default(),
            source,
            ..Registration::default()
        };
        Ok((registration, method))
    }

    /// What an app changes that sends its metadata again (RFC 7592 section 2.2). How it authenticates stays: that was settled when it was
    /// registered.
    ///
    /// # Errors
    /// The member that is wrong, and what would be right.
    pub fn changes(
        &self,
        app: &App,
        metadata: &ClientMetadata,
        catalogue: &ScopeCatalogue,
        token_policy: TokenPolicy,
    ) -> Result<Changes, ProfileError> {
        let (registration, _) = self.registration(metadata, catalogue, token_policy, app.source.clone())?;
        let keys = if app.keys.is_none() { None } else { Some(metadata.keys()?) };
        Ok(Changes {
            name: Some(registration.name),
            owner: Some(registration.owner),
            homepage: Some(registration.homepage.unwrap_or_default()),
            redirect_uris: Some(registration.redirect_uris),
            scopes: Some(registration.scopes),
            default_scopes: Some(registration.default_scopes),
            keys,
            token_policy: Some(registration.token_policy),
            requires_pushed_requests: Some(registration.requires_pushed_requests),
        })
    }

    fn redirect_uris(&self, metadata: &ClientMetadata) -> Result<Vec<String>, ProfileError> {
        let uris = check_redirect_uris(metadata.redirect_uris.as_deref().unwrap_or_default())?;
        let is_refused = |uri: &&String| {
            Url::parse(uri).is_ok_and(|url| {
                url.scheme() == "https" && !self.redirect_hosts.allow(url.host_str().unwrap_or_default())
            })
        };
        match uris.iter().find(is_refused) {
            Some(uri) => {
                let host = destination(uri);
                wrong("redirect_uris", format!("apps with codes for {host} may not register themselves here"))
            }
            None => Ok(uris),
        }
    }

    /// What an app names as `scope` is what it gets when it asks for nothing in particular, and no bound. Agents register with the scope of
    /// their first request and ask for more when an API says so; an app that could not would register once more.
    fn default_scopes(
        &self,
        asked: Option<&str>,
        catalogue: &ScopeCatalogue,
    ) -> Result<Vec<String>, ProfileError> {
        let names_none = asked.is_none_or(|asked| asked.trim().is_empty());
        if names_none { Ok(Vec::new()) } else { self.scopes(asked, catalogue) }
    }

    /// Those it asks for and may have; all that it may have if it does not say.
    pub fn scopes(
        &self,
        asked: Option<&str>,
        catalogue: &ScopeCatalogue,
    ) -> Result<Vec<String>, ProfileError> {
        let allowed = |scopes: Vec<String>| scopes.into_iter().filter(|scope| self.scopes.contains(scope));
        let asked = asked.map(str::split_whitespace).into_iter().flatten().collect::<Vec<_>>();
        if asked.is_empty() {
            return Ok(self.scopes.iter().cloned().collect());
        }
        let known = asked.iter().filter_map(|scope| catalogue.resolve(scope).ok());
        let scopes: BTreeSet<String> = known.flat_map(allowed).collect();
        if scopes.is_empty() {
            let allowed = self.scopes.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
            return wrong(
                "scope",
                format!("must have some of the scopes that such an app may have: {allowed}"),
            );
        }
        Ok(scopes.into_iter().collect())
    }
}

/// Its page, if it is where codes go: nobody has checked that any other is its own.
fn homepage(metadata: &ClientMetadata, redirect_uris: &[String]) -> Result<Option<String>, ProfileError> {
    let page = check_homepage(metadata.client_uri.as_deref().unwrap_or_default());
    let page = page.map_err(|error| ProfileError { field: "client_uri", ..error })?;
    let host = |uri: &str| Url::parse(uri).ok()?.host_str().map(str::to_owned);
    let is_own =
        host(&page).is_some_and(|own| redirect_uris.iter().any(|uri| host(uri).as_ref() == Some(&own)));
    Ok(Some(page).filter(|_| is_own))
}

/// Where codes for a redirect URI go: its host, or the scheme of a private one.
pub fn destination(redirect_uri: &str) -> String {
    let Ok(url) = Url::parse(redirect_uri) else { return redirect_uri.to_owned() };
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => format!("{}:", url.scheme()),
    }
}

/// Of a host that is too long for a name, its end: that says whose it is.
fn shortened(host: &str) -> String {
    let chars = host.chars().count();
    if chars <= NAME_MAX {
        return host.to_owned();
    }
    format!("…{}", host.chars().skip(chars + 1 - NAME_MAX).collect::<String>())
}

/// Whether the digest of a registration access token is the one of an app (RFC 7592). An unknown app and a wrong token are the same.
///
/// # Errors
/// If it is not, or if the app is out of service: then it cannot change that by itself.
pub fn check_registration_token(app: Option<&App>, presented: &SecretDigest) -> Result<(), ClientError> {
    let known = app.filter(|app| !app.is_deleted()).and_then(|app| app.registration_digest);
    let is_it: bool = known.map_or([0; 32], |known| *known.as_bytes()).ct_eq(presented.as_bytes()).into();
    let Some(app) = app.filter(|_| is_it && known.is_some()) else { return Err(ClientError::Failed) };
    match app.status {
        AppStatus::Active => Ok(()),
        AppStatus::Suspended { .. } | AppStatus::Quarantined { .. } => Err(ClientError::Suspended),
        AppStatus::Deleted { .. } => Err(ClientError::Failed),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, TestStreams};
    use super::super::{RegisterApp, SuspendApp};
    use super::*;

    #[test]
    fn d2_redirect_hosts_are_any_or_a_list_less_those_excluded() {
        let allows = |list: &str, host: &str| RedirectHosts::parse(list).unwrap().allow(host);
        assert!(allows("any", "app.example") && allows("a.example, app.example", "app.example"));
        assert!(!allows("app.example", "www.app.example") && !allows("a.example", "app.example"));
        for host in ["evil.example", "www.evil.example"] {
            assert!(!allows("any,!evil.example", host) && !allows("!evil.example,www.evil.example", host));
        }
        assert!(allows("any,!evil.example", "notevil.example"));
        for wrong in [
            "",
            "any,app.example",
            "!evil.example",
            "App.example",
            "https://app.example",
            "a.example:1",
            "*.example",
        ] {
            assert!(RedirectHosts::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn d2_a_long_host_is_named_by_its_end() {
        let host = format!("{}.evil.example", "a".repeat(200));
        let place = shortened(&host);
        assert_eq!((place.chars().count(), place.ends_with(".evil.example")), (NAME_MAX, true));
        assert!(place.starts_with('…') && check_name("owner", &place).is_ok());
        assert_eq!(destination("com.example.app:/cb"), "com.example.app:");
    }

    #[test]
    fn d3_only_the_right_token_of_an_active_app_is_let_in() {
        let (right, wrong) = (testing::digest(7), testing::digest(8));
        let registration = Registration { registration_digest: Some(right), ..testing::registration() };
        let client_id = testing::client_id(1);
        let command = RegisterApp::new(client_id, None, &registration, &ScopeCatalogue::default()).unwrap();
        let mut streams = TestStreams::app([command]);
        assert_eq!(check_registration_token(Some(&streams.registered()), &right), Ok(()));
        assert_eq!(check_registration_token(Some(&streams.registered()), &wrong), Err(ClientError::Failed));
        assert_eq!(check_registration_token(None, &right), Err(ClientError::Failed));
        let nothing = SecretDigest::new([0; 32]);
        let without = TestStreams::app([testing::register(1)]);
        for app in [None, Some(without.registered())] {
            assert_eq!(check_registration_token(app.as_ref(), &nothing), Err(ClientError::Failed));
        }
        streams.run(&SuspendApp { client_id, reason: "x".to_owned() }, 2).unwrap();
        assert_eq!(
            check_registration_token(Some(&streams.registered()), &right),
            Err(ClientError::Suspended)
        );
        assert_eq!(check_registration_token(Some(&streams.registered()), &wrong), Err(ClientError::Failed));
    }
}
