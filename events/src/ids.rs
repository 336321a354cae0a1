//! Identifiers. Knows: their forms. Must not know: who mints them or what they point at.
//!
//! The host platform's identifiers are opaque: grantbook compares them and never interprets them.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use smol_str::SmolStr;
use uuid::Uuid;

use crate::text::{serde_as_text, serde_from_text};

/// Why a text is not an identifier of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is not a UUID.
    #[error("{what} must be a UUID, such as {example}")]
    NotUuid {
        /// The kind of identifier.
        what: &'static str,
        /// A text that would be right.
        example: &'static str,
    },
    /// The text is not 1 to 128 visible ASCII characters.
    #[error("{what} must be 1 to 128 visible ASCII characters without spaces")]
    NotOpaque {
        /// The kind of identifier.
        what: &'static str,
    },
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $form:ident, $example:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        serde_from_text!($name, binary Uuid);

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match serializer.is_human_readable() {
                    // Without a formatter, which each token check would pay for.
                    true => serializer.serialize_str(self.0.$form().encode_lower(&mut Uuid::encode_buffer())),
                    false => self.0.serialize(serializer),
                }
            }
        }

        impl $name {
            /// Wraps a UUID that was minted or read elsewhere.
            pub const fn new(id: Uuid) -> Self {
                Self(id)
            }

            /// The UUID itself.
            pub const fn as_uuid(&self) -> &Uuid {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.$form().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            /// Accepts only the form that `Display` writes, so that one identifier has one spelling.
            fn from_str(text: &str) -> Result<Self, IdError> {
                let wrong = IdError::NotUuid { what: $what, example: $example };
                let id = Self(Uuid::parse_str(text).map_err(|_| wrong.clone())?);
                if id.to_string() == text { Ok(id) } else { Err(wrong) }
            }
        }
    };
}

uuid_id!(
    /// `client_id` (RFC 6749 section 2.2): 32 lower-case hex digits.
    ClientId, "client_id", simple, "5f0c61a1b1f24a2c8d0c7a3e5f6b7c8d"
);
uuid_id!(
    /// One app on one account, for ever: UUIDv5 of client id and account id.
    InstallationId, "installation_id", hyphenated, "5f0c61a1-b1f2-5a2c-8d0c-7a3e5f6b7c8d"
);
uuid_id!(
    /// One approval by one user, UUIDv7.
    GrantId, "grant_id", hyphenated, "019a0000-0000-7000-8000-000000000000"
);
uuid_id!(
    /// One access token, UUIDv7. Safe to show, to log and to revoke by; it is not the token.
    TokenId, "token_id", hyphenated, "019a0000-0000-7000-8000-000000000000"
);
uuid_id!(
    /// One client secret of an app, UUIDv7; it is not the secret.
    SecretId, "secret_id", hyphenated, "019a0000-0000-7000-8000-000000000000"
);
uuid_id!(
    /// One operator key, UUIDv7; it is not the key.
    OperatorKeyId, "key_id", hyphenated, "019a0000-0000-7000-8000-000000000000"
);
uuid_id!(
    /// One ledger: tells it from every other, wherever it is kept.
    LedgerId, "ledger_id", hyphenated, "5f0c61a1-b1f2-4a2c-8d0c-7a3e5f6b7c8d"
);
uuid_id!(
    /// One event. Random per attempt, and reused only to retry that very attempt.
    EventId, "event_id", hyphenated, "3b241101-e2bb-4255-8caf-4136c566a962"
);

/// The namespace of installation ids. It is part of the stored contract: never change it.
const INSTALLATION_NAMESPACE: Uuid = Uuid::from_u128(0x7c1d_3f5e_52a0_4b7e_9a54_6f0f_3f1b_8f11);

impl ClientId {
    /// The id of the app that names itself by a URL, the same on every node.
    pub fn of_document(url: &str) -> Self {
        Self(Uuid::new_v5(&Uuid::NAMESPACE_URL, url.as_bytes()))
    }

    /// Whether it is such an id. All others are random.
    pub fn is_of_document(&self) -> bool {
        self.0.get_version_num() == 5
    }
}

impl InstallationId {
    /// The installation of one app on one account, the same on every node.
    pub fn of(client: &ClientId, account: &AccountId) -> Self {
        // The client id has a fixed length, so the concatenation cannot be ambiguous.
        let mut name = Vec::with_capacity(16 + account.as_str().len());
        name.extend_from_slice(client.as_uuid().as_bytes());
        name.extend_from_slice(account.as_str().as_bytes());
        Self(Uuid::new_v5(&INSTALLATION_NAMESPACE, &name))
    }
}

/// The longest opaque identifier, in bytes.
const OPAQUE_MAX: usize = 128;

macro_rules! opaque_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(SmolStr);

        serde_as_text!($name);

        impl $name {
            /// The text as the host platform wrote it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
                if text.is_empty() || text.len() > OPAQUE_MAX || !visible {
                    return Err(IdError::NotOpaque { what: $what });
                }
                Ok(Self(text.into()))
            }
        }
    };
}

opaque_id!(
    /// The customer account an app is installed on, as the host platform names it.
    AccountId, "account_id"
);
opaque_id!(
    /// The person who approves, as the host platform names them.
    UserId, "user_id"
);
opaque_id!(
    /// One request from outside, named in logs and in every event it caused.
    RequestId, "request_id"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installation_ids_are_stable_across_releases() {
        let client: ClientId = "5f0c61a1b1f24a2c8d0c7a3e5f6b7c8d".parse().unwrap();
        let account: AccountId = "acme".parse().unwrap();
        let id = InstallationId::of(&client, &account);
        assert_eq!(id.to_string(), "98f1b1a0-279b-5082-a1d9-c221440d2739");
        assert_ne!(id, InstallationId::of(&client, &"acme2".parse().unwrap()));
    }

    #[test]
    fn the_ids_of_documents_are_stable_across_releases() {
        let id = ClientId::of_document("https://app.example/client.json");
        assert_eq!(id.to_string(), "0982d4b57c3e52dc834eef050b845320");
        assert!(id.is_of_document());
        assert!(!"5f0c61a1b1f24a2c8d0c7a3e5f6b7c8d".parse::<ClientId>().unwrap().is_of_document());
    }

    #[test]
    fn one_identifier_has_one_spelling() {
        let upper = "5F0C61A1B1F24A2C8D0C7A3E5F6B7C8D";
        assert!(upper.parse::<ClientId>().is_err());
        assert!("5f0c61a1-b1f2-4a2c-8d0c-7a3e5f6b7c8d".parse::<ClientId>().is_err());
        assert!("5f0c61a1b1f24a2c8d0c7a3e5f6b7c8d".parse::<TokenId>().is_err());
    }

    #[test]
    fn opaque_identifiers_are_visible_ascii_of_bounded_length() {
        assert!("user|42".parse::<UserId>().is_ok());
        for wrong in ["", "a b", "a\n", "é", &"x".repeat(129)] {
            assert!(wrong.parse::<UserId>().is_err(), "{wrong:?}");
            let json = serde_json::to_string(wrong).unwrap();
            assert!(serde_json::from_str::<UserId>(&json).is_err(), "{wrong:?}");
        }
    }
}
