//! Where a cluster is: the connection string. Knows: its parts, and what each may be. Must not know: how
//! anything is asked there.
//!
//! The client crate parses connection strings too. But its errors contain the whole string, with the password; it
//! sends escaped passwords escaped; and it accepts unknown parameters. So the string is parsed here, and the crate
//! gets one that is right ([`Target::crate_url`]).

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use eventstore::Endpoint;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::form_urlencoded;

use crate::secrets::PlainSecret;

/// The port of EventStoreDB and KurrentDB.
const DEFAULT_PORT: u16 = 2113;
const PARAMETERS: &str = "tls, tlsVerifyCert, tlsCaFile, userCertFile, userKeyFile, gossipTimeout, connectionName, \
                          nodePreference, maxDiscoverAttempts, discoveryInterval, keepAliveInterval and \
                          keepAliveTimeout";
/// How long a node may take to name the cluster's nodes, if the connection string does not say.
const GOSSIP_WITHIN: Duration = Duration::from_secs(3);

/// What is wrong with a connection string. The text never holds the password.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TargetError(String);

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
    /// Parameters that only the crate reads.
    passed_on: Vec<(String, String)>,
    without_password: String,
}

/// How a node proves who it is, and how we do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TlsChoices {
    /// The certificate authorities to trust, in PEM; `None` for those of the system.
    pub ca_file: Option<PathBuf>,
    /// Our certificate and its key, in PEM.
    pub user_files: Option<(PathBuf, PathBuf)>,
    pub verify: bool,
}

impl Target {
    /// Parses a connection string.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong("it has no scheme"))?;
        let discover = match scheme {
            "esdb" | "kurrentdb" | "kdb" => false,
            "esdb+discover" | "kurrentdb+discover" | "kdb+discover" => true,
            _ => return Err(wrong("its scheme is not one of EventStoreDB or KurrentDB")),
        };
        let (authority, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (login, hosts, without_password) = match authority.rsplit_once('@') {
            Some((login, hosts)) => {
                let (user, _) = login.split_once(':').ok_or_else(|| wrong("its user has no password"))?;
                let shown = format!("{scheme}://{user}:…{}", &rest[login.len()..]);
                (Some(read_login(login)?), hosts, shown)
            }
            None => (None, authority, text.to_owned()),
        };
        let hosts = hosts.strip_suffix('/').unwrap_or(hosts);
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
            tls: None,
            gossip_within: GOSSIP_WITHIN,
            connection_name: "grantbook".to_owned(),
            passed_on: Vec::new(),
            without_password,
        };
        target.read_parameters(query)?;
        Ok(target)
    }

    fn read_parameters(&mut self, query: &str) -> Result<(), TargetError> {
        let (mut tls, mut verify, mut ca_file, mut cert, mut key) = (true, true, None, None, None);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let (name, value) = (name.as_ref(), value.as_ref());
            match name.to_ascii_lowercase().as_str() {
                "tls" => tls = read(name, value, "true or false")?,
                "tlsverifycert" => verify = read(name, value, "true or false")?,
                "tlscafile" => ca_file = Some(value.into()),
                "usercertfile" => cert = Some(value.into()),
                "userkeyfile" => key = Some(value.into()),
                "gossiptimeout" => {
                    let millis = read(name, value, "a number of milliseconds")?;
                    self.gossip_within = Duration::from_millis(millis);
                }
                "connectionname" if value.bytes().all(|byte| byte.is_ascii_graphic()) => {
                    value.clone_into(&mut self.connection_name);
                }
                "connectionname" => return Err(wrong("connectionName takes visible ASCII characters")),
                "nodepreference" => match value.to_ascii_lowercase().as_str() {
                    "leader" | "follower" | "random" | "readonlyreplica" => self.pass_on(name, value),
                    _ => {
                        let takes = "nodePreference takes leader, follower, random or readOnlyReplica";
                        return Err(wrong(takes));
                    }
                },
                "maxdiscoverattempts" | "discoveryinterval" | "keepaliveinterval" | "keepalivetimeout" => {
                    read::<u64>(name, value, "a number")?;
                    self.pass_on(name, value);
                }
                // Of other clients: they mean nothing here and do no harm.
                "throwonappendfailure" | "defaultdeadline" => {}
                _ => return Err(wrong(&format!("it has no parameter {name:?}, but {PARAMETERS}"))),
            }
        }
        let user_files = match (cert, key) {
            (None, None) => None,
            (Some(cert), Some(key)) => Some((cert, key)),
            _ => return Err(wrong("userCertFile and userKeyFile go together")),
        };
        if !tls && (!verify || ca_file.is_some() || user_files.is_some()) {
            return Err(wrong("it switches TLS off and says how TLS is done"));
        }
        self.tls = tls.then_some(TlsChoices { ca_file, user_files, verify });
        Ok(())
    }

    fn pass_on(&mut self, name: &str, value: &str) {
        self.passed_on.push((name.to_owned(), value.to_owned()));
    }

    /// The connection string, to be shown.
    pub fn without_password(&self) -> &str {
        &self.without_password
    }

    /// Whether the cluster has to be asked which nodes it has.
    pub(super) fn is_cluster(&self) -> bool {
        self.discover || self.endpoints.len() > 1
    }

    /// The connection string for the client crate, which is to trust the certificates in one file.
    pub(super) fn crate_url(&self, certificates: &str) -> String {
        let scheme = if self.discover { "esdb+discover" } else { "esdb" };
        let hosts: Vec<_> = self.endpoints.iter().map(authority).collect();
        let mut query = form_urlencoded::Serializer::new(String::new());
        query
            .append_pair("tls", &self.tls.is_some().to_string())
            .append_pair("gossipTimeout", &self.gossip_within.as_millis().to_string())
            .append_pair("connectionName", &self.connection_name)
            // Without TLS, too: else the crate looks at the system's certificates and panics over a bad one.
            .append_pair("tlsCaFile", certificates);
        if let Some(tls) = &self.tls {
            query.append_pair("tlsVerifyCert", &tls.verify.to_string());
            if let Some((cert, key)) = &tls.user_files {
                query.append_pair("userCertFile", &cert.to_string_lossy());
                query.append_pair("userKeyFile", &key.to_string_lossy());
            }
        }
        query.extend_pairs(&self.passed_on);
        format!("{scheme}://{}{}?{}", self.crate_login(), hosts.join(","), query.finish())
    }

    /// The crate sends an escaped password as it is, which is wrong: then it goes with each call instead, and
    /// the cluster is asked for its nodes without.
    fn crate_login(&self) -> String {
        let Some(login) = &self.login else { return String::new() };
        let plain = format!("{}{}", login.user, login.password.expose());
        match utf8_percent_encode(&plain, NON_ALPHANUMERIC).to_string() == plain {
            true => format!("{}:{}@", login.user, login.password.expose()),
            false => String::new(),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.without_password)
    }
}

/// An endpoint as it stands in a URL.
pub(super) fn authority(endpoint: &Endpoint) -> String {
    match endpoint.host.contains(':') {
        true => format!("[{}]:{}", endpoint.host, endpoint.port),
        false => format!("{}:{}", endpoint.host, endpoint.port),
    }
}

fn wrong(what: &str) -> TargetError {
    TargetError(format!("is no connection string: {what}"))
}

fn read<T: FromStr>(name: &str, value: &str, takes: &str) -> Result<T, TargetError> {
    value.to_ascii_lowercase().parse().map_err(|_| wrong(&format!("{name} takes {takes}")))
}

fn read_login(text: &str) -> Result<Login, TargetError> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let decode = |text| {
        let decoded = percent_decode_str(text).decode_utf8();
        decoded.map(|text| text.into_owned()).map_err(|_| wrong("its user or password is not UTF-8"))
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
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port: u16 =
        port.map_or(Ok(DEFAULT_PORT), str::parse).map_err(|_| wrong("a port is not a number up to 65535"))?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let is_host = match text.starts_with('[') {
        true => host.parse::<std::net::Ipv6Addr>().is_ok(),
        false => !host.is_empty() && host.bytes().all(is_name),
    };
    match is_host {
        true => Ok(Endpoint { host: host.to_owned(), port: port.into() }),
        false => Err(wrong("a host is missing or is no name or address")),
    }
}

#[cfg(test)]
mod tests {
    use eventstore::ClientSettings;

    use super::*;

    fn hosts(text: &str) -> Vec<String> {
        Target::parse(text).unwrap().endpoints.iter().map(authority).collect()
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
        let shown = |text| Target::parse(text).unwrap().without_password().to_owned();
        assert_eq!(shown("esdb://admin:hunter2@host?tls=false"), "esdb://admin:…@host?tls=false");
        assert_eq!(shown("esdb://host?tlsCaFile=b@c"), "esdb://host?tlsCaFile=b@c");
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
