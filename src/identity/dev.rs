//! The dev sign-in: people are who they say they are. Knows: a few built-in people and the form.
//! Must not know: sessions, or whether anything else would let them in.
//!
//! It proves nothing, so it exists only on an address that no other machine can reach.

use std::net::SocketAddr;

use super::session::{AccountRole, Person};

/// A built-in person to try grantbook as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DevPerson {
    /// Shown on the page.
    pub name: &'static str,
    /// Their user id; also what the form names them by.
    pub user: &'static str,
    /// The account they act for.
    pub account: &'static str,
    /// What they are on it.
    pub role: AccountRole,
}

/// Two people on each of two accounts: enough to see who can see whose.
const PEOPLE: [DevPerson; 4] = [
    DevPerson { name: "Ana Torres", user: "ana", account: "acme", role: AccountRole::Admin },
    DevPerson { name: "Ben Okafor", user: "ben", account: "acme", role: AccountRole::Member },
    DevPerson { name: "Chen Wei", user: "chen", account: "globex", role: AccountRole::Admin },
    DevPerson { name: "Dana Novak", user: "dana", account: "globex", role: AccountRole::Member },
];

/// The dev sign-in of a server that only this machine can reach.
#[derive(Debug, Clone, Copy)]
pub struct DevSignIn(());

/// Whether a `Host` header names this machine by loopback. Where everyone may be anyone, a page elsewhere
/// must not get in through a name that it made point here.
pub fn names_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let name = name.map_or(host, |(name, _)| name).trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || name.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

/// What the form posts. Absent fields are empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default)]
pub struct DevForm {
    /// The user id of a built-in person.
    pub person: String,
    /// Or any user id,
    pub user: String,
    /// on any account.
    pub account: String,
}

/// Why the form names no person. The text is for the person who filled it in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DevFormError {
    #[error("There is no such built-in person. Choose one of the buttons, or type a user and an account.")]
    UnknownPerson,
    #[error("Choose a person, or type both a user and an account.")]
    Incomplete,
    #[error("The user must be 1 to 128 visible ASCII characters without spaces, such as ana.")]
    WrongUser,
    #[error("The account must be 1 to 128 visible ASCII characters without spaces, such as acme.")]
    WrongAccount,
}

impl DevSignIn {
    /// Only for a server that listens on loopback.
    pub fn new(listen: SocketAddr) -> Option<Self> {
        listen.ip().is_loopback().then_some(Self(()))
    }

    /// The people to choose from.
    pub fn people(&self) -> &'static [DevPerson] {
        &PEOPLE
    }

    /// The person that the form names. One who is typed in is a member of their account.
    pub fn read(&self, form: &DevForm) -> Result<Person, DevFormError> {
        let (user, account, name, role) = if form.person.is_empty() {
            (form.user.trim(), form.account.trim(), None, AccountRole::Member)
        } else {
            let known = PEOPLE.iter().find(|person| person.user == form.person);
            let known = known.ok_or(DevFormError::UnknownPerson)?;
            (known.user, known.account, Some(known.name.to_owned()), known.role)
        };
        if user.is_empty() || account.is_empty() {
            return Err(DevFormError::Incomplete);
        }
        let user = user.parse().map_err(|_| DevFormError::WrongUser)?;
        let account = account.parse().map_err(|_| DevFormError::WrongAccount)?;
        Ok(Person { user, account, name, account_name: None, role })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dev() -> DevSignIn {
        DevSignIn::new("127.0.0.1:8080".parse().unwrap()).unwrap()
    }

    #[test]
    fn it_exists_on_loopback_only() {
        for loopback in ["127.0.0.1:8080", "127.8.8.8:0", "[::1]:8080"] {
            assert!(DevSignIn::new(loopback.parse().unwrap()).is_some(), "{loopback}");
        }
        for open in ["0.0.0.0:8080", "[::]:8080", "192.168.0.2:80", "[::ffff:10.0.0.1]:80", "[fe80::1]:80"] {
            assert!(DevSignIn::new(open.parse().unwrap()).is_none(), "{open}");
        }
    }

    #[test]
    fn every_built_in_person_can_be_chosen() {
        for person in dev().people() {
            let form = DevForm { person: person.user.into(), ..DevForm::default() };
            let read = dev().read(&form).unwrap();
            assert_eq!((read.user.as_str(), read.account.as_str()), (person.user, person.account));
            assert_eq!((read.name.as_deref(), read.role), (Some(person.name), person.role));
        }
    }

    #[test]
    fn anybody_can_be_typed_in() {
        let form = DevForm { user: " eve|7 ".into(), account: "initech".into(), ..DevForm::default() };
        let eve = dev().read(&form).unwrap();
        assert_eq!((eve.user.as_str(), eve.account.as_str()), ("eve|7", "initech"));
        assert_eq!((eve.name, eve.role), (None, AccountRole::Member));
    }

    #[test]
    fn a_form_that_names_nobody_says_what_would_be_right() {
        let form = |person: &str, user: &str, account: &str| DevForm {
            person: person.into(),
            user: user.into(),
            account: account.into(),
        };
        assert_eq!(dev().read(&form("", "", "")), Err(DevFormError::Incomplete));
        assert_eq!(dev().read(&form("", "eve", " ")), Err(DevFormError::Incomplete));
        assert_eq!(dev().read(&form("mallory", "", "")), Err(DevFormError::UnknownPerson));
        assert_eq!(dev().read(&form("", "e ve", "acme")), Err(DevFormError::WrongUser));
        assert_eq!(dev().read(&form("", "eve", &"a".repeat(129))), Err(DevFormError::WrongAccount));
    }
}
