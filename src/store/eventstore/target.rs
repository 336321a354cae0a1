//! Where a cluster is: the connection string. Knows: its parts, and what each may be. Must not know: how
//! anything is asked there.
//!
//! The client crate parses connection strings too, but what it says of a wrong one holds the whole string,
//! password included; it leaves escaped passwords escaped; and it lets unknown parameters pass. So the string
//! is read here, and the crate is given one that is right ([`Target::crate_url`]).

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::form_urlencoded;

use crate::secrets::PlainSecret;

/// The port of EventStoreDB and KurrentDB.
const DEFAULT_PORT: u16 = 2113;
/// The form of a connection string, for whoever got it wrong.
const FORM: &str = "it takes esdb://host:2113?tls=false, esdb://host1:2113,host2:2113,host3:2113, or \
                    esdb+discover://cluster.example:2113, with user:password@ before the hosts if need be";
/// The parameters that are read here, and those that only the crate reads.
const OURS: [&str; 7] =
    ["tls", "tlsVerifyCert", "tlsCaFile", "userCertFile", "userKeyFile", "gossipTimeout", "connectionName"];
const PASSED_ON: [&str; 5] =
    ["nodePreference", "maxDiscoverAttempts", "discoveryInterval", "keepAliveInterval", "keepAliveTimeout"];
/// Parameters of other clients that mean nothing here and harm nobody.
const WITHOUT_MEANING: [&str; 2] = ["throwOnAppendFailure", "defaultDeadline"];
/// How long a node may take to say who is in the cluster, if the connection string does not say.
const GOSSIP_WITHIN: Duration = Duration::from_secs(3);

/// A connection string that does not say where a cluster is. Its text never holds the password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}; {FORM}")]
pub struct TargetError {
    what: String,
}

impl TargetError {
    /// What is wrong, without what would be right.
    pub fn what(&self) -> &str {
        &self.what
    }
}

/// One node, as it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub host: String,
    pub port: u16,
}

/// Who asks.
pub(super) struct Login {
    pub user: String,
    pub password: PlainSecret,
}

/// Where a cluster is, and how it is reached.
pub struct Target {
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) discover: bool,
    pub(super) login: Option<Login>,
    pub(super) tls: Option<TlsChoices>,
    pub(super) gossip_within: Duration,
    pub(super) connection_name: String,
    passed_on: Vec<(&'static str, String)>,
}

/// How a node proves who it is, and how we do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TlsChoices {
    /// Whom to believe, in PEM; whom the system believes if there is none.
    pub ca_file: Option<PathBuf>,
    /// Our certificate and its key, in PEM.
    pub user_files: Option<(PathBuf, PathBuf)>,
    /// Whether certificates are looked at.
    pub verify: bool,
}

impl Target {
    /// Reads a connection string.
    ///
    /// # Errors
    /// What is wrong with it, and what would be right.
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong("it has no scheme"))?;
        let discover = match scheme {
            "esdb" | "kurrentdb" | "kdb" => false,
            "esdb+discover" | "kurrentdb+discover" | "kdb+discover" => true,
            _ => return Err(wrong("its scheme is not one of EventStoreDB or KurrentDB")),
        };
        let (authority, query) = rest.split_once('?').unwrap_or((rest, ""));
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (Some(read_login(login)?), hosts),
            None => (None, authority),
        };
        let endpoints = hosts.split(',').map(read_endpoint).collect::<Result<Vec<_>, _>>()?;
        if endpoints.len() > 1 && endpoints.iter().any(|endpoint| endpoint.host.contains(':')) {
            return Err(wrong("several nodes cannot be named by IPv6 addresses: give them names"));
        }
        if discover && endpoints.len() > 1 {
            return Err(wrong("one name is discovered, so one name is taken"));
        }
        let mut target = Self {
            endpoints,
            discover,
            login,
            tls: Some(TlsChoices { ca_file: None, user_files: None, verify: true }),
            gossip_within: GOSSIP_WITHIN,
            connection_name: "grantbook".to_owned(),
            passed_on: Vec::new(),
        };
        target.read_parameters(query)?;
        Ok(target)
    }

    fn read_parameters(&mut self, query: &str) -> Result<(), TargetError> {
        let (mut tls, mut verify, mut ca_file, mut cert, mut key) = (true, true, None, None, None);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let known = OURS.iter().chain(&PASSED_ON).chain(&WITHOUT_MEANING);
            let known = known.copied().find(|known| known.eq_ignore_ascii_case(&name)).ok_or_else(|| {
                wrong(&format!(
                    "it has no parameter {name:?}, but {} and {}",
                    OURS.join(", "),
                    PASSED_ON.join(", ")
                ))
            })?;
            let path = || Some(PathBuf::from(value.as_ref()));
            match known {
                "tls" => tls = read(known, &value, "true or false")?,
                "tlsVerifyCert" => verify = read(known, &value, "true or false")?,
                "tlsCaFile" => ca_file = path(),
                "userCertFile" => cert = path(),
                "userKeyFile" => key = path(),
                "gossipTimeout" => {
                    self.gossip_within =
                        Duration::from_millis(read(known, &value, "a number of milliseconds")?);
                }
                "connectionName" if value.bytes().all(|byte| byte.is_ascii_graphic()) => {
                    value.as_ref().clone_into(&mut self.connection_name);
                }
                "connectionName" => return Err(wrong("connectionName takes visible ASCII characters")),
                "nodePreference" => match value.to_ascii_lowercase().as_str() {
                    "leader" | "follower" | "random" | "readonlyreplica" => {
                        self.passed_on.push((known, value.into()));
                    }
                    _ => {
                        return Err(wrong(
                            "nodePreference takes leader, follower, random or readOnlyReplica",
                        ));
                    }
                },
                _ if WITHOUT_MEANING.contains(&known) => {}
                _ => {
                    read::<u64>(known, &value, "a number")?;
                    self.passed_on.push((known, value.into()));
                }
            }
        }
        let user_files = match (cert, key) {
            (None, None) => None,
            (Some(cert), Some(key)) => Some((cert, key)),
            _ => return Err(wrong("userCertFile and userKeyFile go together")),
        };
        let says_how = !verify || ca_file.is_some() || user_files.is_some();
        if !tls && says_how {
            return Err(wrong("it switches TLS off and says how TLS is done"));
        }
        self.tls = tls.then_some(TlsChoices { ca_file, user_files, verify });
        Ok(())
    }

    /// Whether the cluster has to be asked which nodes it has.
    pub(super) fn is_cluster(&self) -> bool {
        self.discover || self.endpoints.len() > 1
    }

    /// The connection string for the client crate, which is told what to believe by one file of
    /// certificates.
    pub(super) fn crate_url(&self, certificates: &str) -> String {
        let scheme = if self.discover { "esdb+discover" } else { "esdb" };
        let hosts: Vec<_> = self.endpoints.iter().map(Endpoint::authority).collect();
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("tls", if self.tls.is_some() { "true" } else { "false" });
        query.append_pair("gossipTimeout", &self.gossip_within.as_millis().to_string());
        query.append_pair("connectionName", &self.connection_name);
        // Without TLS, too: else the crate looks at the system's certificates and panics over a bad one.
        query.append_pair("tlsCaFile", certificates);
        if let Some(tls) = &self.tls {
            query.append_pair("tlsVerifyCert", if tls.verify { "true" } else { "false" });
            if let Some((cert, key)) = &tls.user_files {
                query.append_pair("userCertFile", &cert.to_string_lossy());
                query.append_pair("userKeyFile", &key.to_string_lossy());
            }
        }
        for (name, value) in &self.passed_on {
            query.append_pair(name, value);
        }
        format!("{scheme}://{}{}?{}", self.crate_login(), hosts.join(","), query.finish())
    }

    /// The crate sends an escaped password as it is, which is wrong: then it goes with each call instead, and
    /// the cluster is asked for its nodes without.
    fn crate_login(&self) -> String {
        let Some(login) = &self.login else { return String::new() };
        let (user, password) = (login.user.as_str(), login.password.expose());
        let escape = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        if escape(user) == user && escape(password) == password {
            format!("{user}:{password}@")
        } else {
            String::new()
        }
    }
}

/// Shows where the cluster is, and not who asks.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("endpoints", &self.endpoints)
            .field("discover", &self.discover)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// The connection string without the password, to be shown.
pub fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let end = rest.find('?').unwrap_or(rest.len());
    let (authority, query) = rest.split_at(end);
    match authority.rsplit_once('@') {
        Some((login, hosts)) => {
            let user = login.split_once(':').map_or(login, |(user, _)| user);
            format!("{scheme}://{user}:…@{hosts}{query}")
        }
        None => text.to_owned(),
    }
}

impl Endpoint {
    /// As it stands in a URL.
    pub(super) fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

fn wrong(what: &str) -> TargetError {
    TargetError { what: what.to_owned() }
}

fn read<T: std::str::FromStr>(name: &str, value: &str, takes: &str) -> Result<T, TargetError> {
    value.to_ascii_lowercase().parse().map_err(|_| wrong(&format!("{name} takes {takes}")))
}

fn read_login(text: &str) -> Result<Login, TargetError> {
    let (user, password) = text.split_once(':').ok_or_else(|| wrong("its user has no password"))?;
    let decode = |text: &str| {
        let decoded = percent_decode_str(text).decode_utf8();
        decoded.map(std::borrow::Cow::into_owned).map_err(|_| wrong("its user or password is not UTF-8"))
    };
    let (user, password) = (decode(user)?, decode(password)?);
    match user.is_empty() || password.is_empty() {
        true => Err(wrong("its user or password is empty")),
        false => Ok(Login { user, password: PlainSecret::presented(password) }),
    }
}

fn read_endpoint(text: &str) -> Result<Endpoint, TargetError> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':').ok_or_else(|| wrong("a port is missing"))?)),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        None => DEFAULT_PORT,
        Some(port) => port.parse().map_err(|_| wrong("a port is not a number up to 65535"))?,
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let is_host = match text.starts_with('[') {
        true => host.parse::<std::net::Ipv6Addr>().is_ok(),
        false => !host.is_empty() && host.bytes().all(is_name),
    };
    if !is_host {
        return Err(wrong("a host is missing or is no name or address"));
    }
    Ok(Endpoint { host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use eventstore::ClientSettings;

    use super::*;

    fn hosts(text: &str) -> Vec<String> {
        Target::parse(text).unwrap().endpoints.iter().map(Endpoint::authority).collect()
    }

    #[test]
    fn says_where_the_cluster_is() {
        assert_eq!(hosts("esdb://localhost?tls=false"), ["localhost:2113"]);
        assert_eq!(hosts("kurrentdb://a:1,b:2,c/?tls=FALSE"), ["a:1", "b:2", "c:2113"]);
        assert_eq!(hosts("esdb://u:p@[::1]:7"), ["[::1]:7"]);
        assert!(Target::parse("esdb+discover://cluster.example").unwrap().is_cluster());
        assert!(!Target::parse("esdb://one").unwrap().is_cluster());
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        for (text, says) in [
            ("http://localhost:2113", "scheme"),
            ("localhost", "no scheme"),
            ("esdb://", "a host is missing"),
            ("esdb://a b", "no name or address"),
            ("esdb://u:hunter2@host:port", "a port is not a number"),
            ("esdb://u:hunter2@host?tsl=false", "no parameter \"tsl\""),
            ("esdb://u:hunter2@host?tls=perhaps", "tls takes true or false"),
            ("esdb://u:hunter2@host?tls=false&tlsCaFile=ca.pem", "switches TLS off"),
            ("esdb://u:hunter2@host?userCertFile=a.pem", "go together"),
            ("esdb://u:@host", "is empty"),
            ("esdb://hunter2@host", "no password"),
            ("esdb://[::1]:1,[::2]:1", "IPv6"),
        ] {
            let error = Target::parse(text).err().unwrap().to_string();
            assert!(error.contains(says), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        let target = Target::parse("esdb://admin:hunter2@host").unwrap();
        assert!(!format!("{target:?}").contains("hunter2"));
        assert_eq!(without_password("esdb://admin:hunter2@host?tls=false"), "esdb://admin:…@host?tls=false");
        assert_eq!(without_password("esdb://host?a=b@c"), "esdb://host?a=b@c");
    }

    #[test]
    fn the_crate_reads_what_it_is_given() {
        for (text, secure, users) in [
            ("esdb://a:1,b:2,c:3?tls=false&nodePreference=random", false, None),
            ("esdb://admin:changeit@one:2113?userCertFile=a,b.pem&userKeyFile=k.pem", true, Some("changeit")),
            ("esdb+discover://cluster.example:2113?keepAliveInterval=20000", true, None),
            ("esdb://admin:p%40ss@one", true, None),
        ] {
            let target = Target::parse(text).unwrap();
            let settings: ClientSettings = target.crate_url("/tmp/x,y.pem").parse().unwrap();
            let given: Vec<_> =
                settings.hosts().iter().map(|host| format!("{}:{}", host.host, host.port)).collect();
            assert_eq!(given, hosts(text), "{text}");
            assert_eq!(settings.is_secure_mode_enabled(), secure, "{text}");
            assert_eq!(settings.tls_ca_file().unwrap(), "/tmp/x,y.pem", "{text}");
            assert_eq!(settings.default_authenticated_user().is_some(), users.is_some(), "{text}");
        }
        let login = Target::parse("esdb://admin:p%40ss@one").unwrap().login.unwrap();
        assert_eq!((login.user.as_str(), login.password.expose()), ("admin", "p@ss"));
    }
}
