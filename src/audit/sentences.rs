//! Events in plain sentences. Knows: events. Must not know: where they are read from.

use grantbook_events::{
    AccessGranted, Actor, ActorKind, AppEvent, AppSource, AppUninstalled, CodeExchanged, CodeReplayed,
    EndedToken, GrantRevoked, InstallationEvent, RefreshIssued, RefreshReplayed, RevocationReason, SecretId,
    Timestamp, TokenRefreshed, TokenRevoked, UninstallReason,
};

/// Of the exchange of a code that a suspension had ended.
pub(super) const DEAD_CODE: &str = "The app was suspended between the approval and the exchange, so the code was dead, and the token never counts.";

/// Who did it.
pub(super) fn who(actor: &Actor) -> String {
    match actor.kind {
        ActorKind::User => format!("user {}", actor.id),
        ActorKind::App => format!("app {}", actor.id),
        ActorKind::Operator => format!("operator {}", actor.id),
        ActorKind::System => format!("grantbook ({})", actor.id),
    }
}

/// What happened to an app, if it matters to its installations.
pub(super) fn of_app(event: &AppEvent, actor: &Actor) -> Option<String> {
    let who = who(actor);
    match event {
        AppEvent::Registered(app) => {
            let how = match &app.source {
                AppSource::Operator => String::new(),
                AppSource::Open => ", by its own software, as anyone may".to_owned(),
                AppSource::InitialAccessToken(key_id) => {
                    format!(", by its own software, with initial access token {key_id}")
                }
                AppSource::Document(url) => format!(", as the metadata document {url} says"),
            };
            Some(format!("The app {} (client id {}) was registered by {who}{how}.", app.name, app.client_id))
        }
        AppEvent::Suspended(suspended) => Some(format!(
            "The app was suspended by {who}: none of its codes and tokens counts until it is resumed. Reason: {}.",
            suspended.reason
        )),
        AppEvent::Resumed(resumed) => {
            Some(format!("The app was resumed by {who}. Reason: {}.", resumed.reason))
        }
        AppEvent::Deleted(deleted) => Some(format!(
            "The app was deleted by {who}: none of its codes and tokens counts any more. Reason: {}.",
            deleted.reason
        )),
        AppEvent::Updated(_) | AppEvent::SecretAdded(_) | AppEvent::SecretRetired(_) => None,
    }
}

/// What happened to an installation.
pub(super) fn of_installation(event: &InstallationEvent, actor: &Actor) -> String {
    match event {
        InstallationEvent::AccessGranted(event) => granted(event, actor),
        InstallationEvent::CodeExchanged(event) => exchanged(event, actor),
        InstallationEvent::CodeReplayed(event) => replayed(event, actor),
        InstallationEvent::TokenRefreshed(event) => refreshed(event, actor),
        InstallationEvent::RefreshReplayed(event) => refresh_replayed(event, actor),
        InstallationEvent::TokenRevoked(event) => revoked(event, actor),
        InstallationEvent::GrantRevoked(event) => grant_revoked(event, actor),
        InstallationEvent::Uninstalled(event) => uninstalled(event, actor),
    }
}

fn granted(event: &AccessGranted, actor: &Actor) -> String {
    format!(
        "Access to account {} with {}{} was granted by {}; the code of grant {} was sent to {} and could be exchanged \
         until {}.",
        event.account_id,
        scopes(&event.scopes),
        resources(&event.resources),
        who(actor),
        event.grant_id,
        event.redirect_uri,
        event.code_expires_at
    )
}

fn exchanged(event: &CodeExchanged, actor: &Actor) -> String {
    format!(
        "The code of grant {} was exchanged by {} {}, for token {} of user {} with {}{}, {}{}.",
        event.grant_id,
        who(actor),
        by_secret(event.secret_id),
        event.token_id,
        event.user_id,
        scopes(&event.scopes),
        resources(&event.resources),
        end(event.expires_at),
        event.refresh.as_ref().map_or_else(String::new, with_refresh)
    )
}

fn refreshed(event: &TokenRefreshed, actor: &Actor) -> String {
    format!(
        "Refresh token {} of grant {} was used by {} {}, for token {} of user {} with {}{}, {}{}.",
        event.spent_token_id,
        event.grant_id,
        who(actor),
        by_secret(event.secret_id),
        event.token_id,
        event.user_id,
        scopes(&event.scopes),
        resources(&event.resources),
        end(event.expires_at),
        with_refresh(&event.refresh)
    )
}

fn by_secret(secret_id: Option<SecretId>) -> String {
    secret_id.map_or_else(|| "without a secret".to_owned(), |secret_id| format!("with secret {secret_id}"))
}

fn end(expires_at: Option<Timestamp>) -> String {
    match expires_at {
        Some(end) => format!("good until {end}"),
        None => "which does not expire".to_owned(),
    }
}

fn with_refresh(refresh: &RefreshIssued) -> String {
    format!("; and for refresh token {}, {}", refresh.token_id, end(refresh.expires_at))
}

fn replayed(event: &CodeReplayed, actor: &Actor) -> String {
    format!(
        "The spent code of grant {} was presented once more by {}, as a stolen code would be: {}.",
        event.grant_id,
        who(actor),
        ended(&event.tokens)
    )
}

fn refresh_replayed(event: &RefreshReplayed, actor: &Actor) -> String {
    format!(
        "A spent refresh token of grant {} was presented once more by {}, as a stolen one would be: {}.",
        event.grant_id,
        who(actor),
        ended(&event.tokens)
    )
}

fn revoked(event: &TokenRevoked, actor: &Actor) -> String {
    let note = noted(event.note.as_deref());
    format!("Token {} was revoked by {}, {}.{note}", event.token_id, who(actor), why(event.reason))
}

fn grant_revoked(event: &GrantRevoked, actor: &Actor) -> String {
    format!(
        "Grant {} was revoked by {}, {}: {}.{}",
        event.grant_id,
        who(actor),
        why(event.reason),
        ended(&event.tokens),
        noted(event.note.as_deref())
    )
}

fn why(reason: RevocationReason) -> &'static str {
    match reason {
        RevocationReason::User => "as its user wished",
        RevocationReason::App => "as the app gave it back",
        RevocationReason::Operator => "by the operator's decision",
        RevocationReason::Superseded => "because its user got more tokens of the app than one may have",
        RevocationReason::Leaked => "because it had leaked",
    }
}

fn uninstalled(event: &AppUninstalled, actor: &Actor) -> String {
    let why = match event.reason {
        UninstallReason::User => "as a user of the account wished",
        UninstallReason::Operator => "by the operator's decision",
    };
    let note = noted(event.note.as_deref());
    format!("The app was uninstalled by {}, {why}: {}.{note}", who(actor), ended(&event.tokens))
}

/// What an operator said, as a sentence of its own.
fn noted(note: Option<&str>) -> String {
    note.map_or_else(String::new, |note| format!(" Reason: {note}."))
}

fn ended(tokens: &[EndedToken]) -> String {
    let names = tokens.iter().map(|token| token.token_id.to_string()).collect::<Vec<_>>().join(", ");
    match tokens.len() {
        0 => "no token was left to end".to_owned(),
        1 => format!("token {names} ended"),
        _ => format!("tokens {names} ended"),
    }
}

fn scopes(scopes: &[String]) -> String {
    let noun = if scopes.len() == 1 { "scope" } else { "scopes" };
    format!("{noun} {}", scopes.join(", "))
}

fn resources(resources: &[String]) -> String {
    if resources.is_empty() { String::new() } else { format!(" for {}", resources.join(", ")) }
}
