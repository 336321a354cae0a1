//! The one place of this room that draws randomness. Knows: nothing else.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Bytes from the operating-system-seeded generator.
pub(super) fn bytes<const N: usize>() -> [u8; N] {
    rand::random()
}

/// 256 random bits as 43 URL-safe characters.
pub(super) fn text() -> String {
    URL_SAFE_NO_PAD.encode(bytes::<32>())
}
