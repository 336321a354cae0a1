//! The dev sign-in: people are who they say they are. Knows: a few built-in people and the form.
//! Must not know: sessions, or whether anything else would let them in.
//!
//! It proves nothing, so it exists only on an address that no other machine can reach.

use std::net::SocketAddr;

use super::session::{AccountRole, Person};

/// A built-in person to try grantbook as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DevPerson {
    pub name: &'static str,
    pub user: &'static str,
    pub account: &'static str,
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

impl DevSignIn {
    /// Only for a server that listens on loopback.
    pub fn new(listen: SocketAddr) -> Option<Self> {
        listen.ip().is_loopback().then_some(Self(()))
    }

    /// The people to choose from.
    pub fn people(&self) -> &'static [DevPerson] {
        &PEOPLE
    }

    /// The person that the form names: a built-in one by user id, or any user of any account, who is a member there.
    ///
    /// # Errors
    /// For the person who filled in the form: why it names nobody.
    pub fn read(&self, person: &str, user: &str, account: &str) -> Result<Person, &'static str> {
        let (user, account, name, role) = if person.is_empty() {
            (user.trim(), account.trim(), None, AccountRole::Member)
        } else {
            let known = PEOPLE.iter().find(|known| known.user == person);
            let known = known.ok_or(
                "There is no such built-in person. Choose one of the buttons, or type a user and an account.",
            )?;
            (known.user, known.account, Some(known.name.to_owned()), known.role)
        };
        if user.is_empty() || account.is_empty() {
            return Err("Choose a person, or type both a user and an account.");
        }
        let user = user
            .parse()
            .map_err(|_| "The user must be 1 to 128 visible ASCII characters without spaces, such as ana.")?;
        let account = account.parse().map_err(
            |_| "The account must be 1 to 128 visible ASCII characters without spaces, such as acme.",
        )?;
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
            let read = dev().read(person.user, "", "").unwrap();
            assert_eq!((read.user.as_str(), read.account.as_str()), (person.user, person.account));
            assert_eq!((read.name.as_deref(), read.role), (Some(person.name), person.role));
        }
    }

    #[test]
    fn anybody_can_be_typed_in() {
        let eve = dev().read("", " eve|7 ", "initech").unwrap();
        assert_eq!((eve.user.as_str(), eve.account.as_str()), ("eve|7", "initech"));
        assert_eq!((eve.name, eve.role), (None, AccountRole::Member));
    }

    #[test]
    fn a_form_that_names_nobody_says_what_would_be_right() {
        let refused = |person, user, account| dev().read(person, user, account).unwrap_err();
        assert!(refused("", "", "").contains("type both a user and an account"));
        assert!(refused("", "eve", " ").contains("type both a user and an account"));
        assert!(refused("mallory", "", "").contains("no such built-in person"));
        assert!(refused("", "e ve", "acme").starts_with("The user must be"));
        assert!(refused("", "eve", &"a".repeat(129)).starts_with("The account must be"));
    }
}
