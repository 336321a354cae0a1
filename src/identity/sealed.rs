//! Text that only this server can make and read. Knows: encryption, under a key for one purpose. Must not know: what the
//! text says, or how long it is good for.

use std::fmt;

use actix_web::cookie::{Cookie, CookieJar, Key};

use super::SessionKey;

/// Encrypts and decrypts, as cookies are.
#[derive(Clone)]
pub struct Sealer(Key);

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(…)")
    }
}

impl Sealer {
    /// With a key of its own, derived from the session key.
    pub fn new(key: &SessionKey, purpose: &str) -> Self {
        Self(Key::from(key.derive(purpose).as_slice()))
    }

    /// Encrypts a text. What comes out is in the characters of base64, and good under this name only.
    pub fn seal(&self, name: &str, plain: String) -> String {
        let mut jar = CookieJar::new();
        jar.private_mut(&self.0).add(Cookie::new(name.to_owned(), plain));
        jar.get(name).map_or_else(String::new, |cookie| cookie.value().to_owned())
    }

    /// The text that was encrypted here under this name.
    pub fn open(&self, name: &str, sealed: &str) -> Option<String> {
        let mut jar = CookieJar::new();
        jar.add_original(Cookie::new(name.to_owned(), sealed.to_owned()));
        jar.private(&self.0).get(name).map(|cookie| cookie.value().to_owned())
    }
}
