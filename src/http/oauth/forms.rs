//! What the forms of the OAuth endpoints may have, for the description of the interface. Knows: their fields. Must
//! not know: how a form is read, which is the work of the endpoints.

#![expect(
    dead_code,
    reason = "a description: the endpoints read a form field by field, so that each is missed by name"
)]

use utoipa::ToSchema;

/// A code, to be exchanged (RFC 6749 section 4.1.3).
#[derive(ToSchema)]
pub(super) struct TokenForm {
    /// May be absent.
    #[schema(nullable = false, pattern = "^authorization_code$")]
    grant_type: Option<String>,
    /// The code that came with the user's browser.
    #[schema(min_length = 1)]
    code: String,
    /// As it was in the authorization request; required if it was there, and refused if it is another.
    #[schema(nullable = false)]
    redirect_uri: Option<String>,
    /// Required if the authorization request had a `code_challenge` (RFC 7636).
    #[schema(nullable = false)]
    code_verifier: Option<String>,
    /// The app, unless it authenticates by Basic.
    #[schema(nullable = false)]
    client_id: Option<String>,
    /// The app's secret, unless it authenticates by Basic or has none.
    #[schema(nullable = false, format = Password)]
    client_secret: Option<String>,
}

/// A token, to be ended (RFC 7009).
#[derive(ToSchema)]
pub(super) struct RevocationForm {
    /// The token.
    #[schema(min_length = 1, format = Password)]
    token: String,
    /// Ignored.
    #[schema(nullable = false)]
    token_type_hint: Option<String>,
    /// The app, unless it authenticates by Basic.
    #[schema(nullable = false)]
    client_id: Option<String>,
    /// The app's secret, unless it authenticates by Basic or has none.
    #[schema(nullable = false, format = Password)]
    client_secret: Option<String>,
}

/// A token, to be looked up (RFC 7662).
#[derive(ToSchema)]
pub(super) struct IntrospectionForm {
    /// The token.
    #[schema(min_length = 1, format = Password)]
    token: String,
    /// Ignored.
    #[schema(nullable = false)]
    token_type_hint: Option<String>,
    /// The id of the operator key, or of an app that asks about its own tokens, unless it authenticates in a header.
    #[schema(nullable = false, pattern = "^[0-9a-f-]{32,36}$")]
    client_id: Option<String>,
    /// The operator key, or the app's secret.
    #[schema(nullable = false, format = Password)]
    client_secret: Option<String>,
}
