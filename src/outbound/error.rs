//! Why a fetch failed, in words that say what would be right. Must not know: addresses. What a name resolves to is nobody's
//! business but the operator's, so an internal name and one that does not exist get the same words.

/// The largest document, in KiB.
pub(super) const MAX_BODY_KIB: usize = 64;

/// Why a fetch failed, as words that follow the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    #[error("must be an https URL without user name, password or fragment")]
    Url,
    #[error(
        "must lead to port 443 of a public address by https (the setting outbound.allow can allow other hosts)"
    )]
    Refused,
    #[error("cannot be reached, or its certificate is not trusted")]
    Unreachable,
    #[error("took too long to answer")]
    TooSlow,
    #[error("answered {0}; it must answer 200, without a redirect")]
    Status(u16),
    #[error("must have the content type application/json")]
    ContentType,
    #[error("must not be compressed")]
    Compressed,
    #[error("must be at most {MAX_BODY_KIB} KiB")]
    TooLarge,
    #[error("did not answer as HTTP/1.1 says, or with too many headers")]
    Broken,
    #[error("was not fetched, because too many others are being fetched; try again")]
    Busy,
}
