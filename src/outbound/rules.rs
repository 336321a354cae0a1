//! Where requests may go. Knows: URLs, the hosts and networks that the operator allows. Must not know: what is asked or answered
//! there, or what a name resolves to.

use std::net::{IpAddr, Ipv6Addr};

use rustls::pki_types::CertificateDer;
use url::{Host, Url};

use super::addresses::{Place, place, real};
use super::error::FetchError;

/// The longest URL that is fetched, in bytes.
const URL_MAX_BYTES: usize = 2048;
const HTTPS_PORT: u16 = 443;

/// Where requests may go, and which certificates are trusted there.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    pub allowed: Allowed,
    /// Whether this machine may be asked, without TLS too: for development.
    pub loopback: bool,
    /// Trusted beside those of the system.
    pub authorities: Vec<CertificateDer<'static>>,
}

/// Hosts and networks that may be private, and asked on any port.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed {
    hosts: Vec<String>,
    networks: Vec<Network>,
}

/// An address and how many of its first bits count; IPv4 as mapped to IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    bits: u128,
    prefix: u32,
}

/// A URL that may be fetched, if its host has an address that may be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) url: Url,
    pub(super) host: Host<String>,
    pub(super) port: u16,
    pub(super) is_https: bool,
}

impl Allowed {
    /// Host names, addresses and networks, separated by commas.
    ///
    /// # Errors
    /// What is wrong with them, as words that follow "which ".
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut allowed = Self::default();
        for entry in text.split(',').map(str::trim) {
            if let Some(network) = Network::parse(entry)? {
                allowed.networks.push(network);
            } else if matches!(Host::parse(entry), Ok(Host::Domain(name)) if name == entry && !name.contains('*'))
            {
                allowed.hosts.push(entry.to_owned());
            } else {
                return Err(format!(
                    "has the entry {entry:?}, which is no host name in lower case, address or network"
                ));
            }
        }
        Ok(allowed)
    }

    fn host(&self, host: &Host<String>) -> bool {
        matches!(host, Host::Domain(name) if self.hosts.contains(name))
    }

    fn network(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.has(bits(address)))
    }
}

impl Network {
    /// `None` if the text is neither an address nor a network.
    fn parse(text: &str) -> Result<Option<Self>, String> {
        let (address, prefix) =
            text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let Ok(address) = address.parse::<IpAddr>() else { return Ok(None) };
        let (length, mapped) = if address.is_ipv4() { (32, 96) } else { (128, 0) };
        let prefix = match prefix {
            None => Some(length),
            Some(digits) => digits.parse::<u32>().ok().filter(|prefix| *prefix <= length),
        };
        let prefix =
            prefix.ok_or_else(|| format!("has the network {text:?}, whose prefix is not 0 to {length}"))?;
        let network = Self { bits: bits(address), prefix: prefix + mapped };
        if network.bits & network.mask() != network.bits {
            return Err(format!("has the network {text:?}, which does not begin at its first address"));
        }
        Ok(Some(network))
    }

    fn mask(self) -> u128 {
        u128::MAX.checked_shl(128 - self.prefix).unwrap_or(0)
    }

    fn has(self, address: u128) -> bool {
        address & self.mask() == self.bits
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => Ipv6Addr::to_bits(v6),
    }
}

impl Rules {
    /// Whether a target may be asked at an address of its host. A host that the operator named may be private, but nothing
    /// other than a network that the operator named makes an address of another kind right.
    pub(super) fn admit(&self, target: &Target, address: IpAddr) -> bool {
        let address = real(address);
        let place = place(address);
        let is_allowed = self.allowed.network(address)
            || self.allowed.host(&target.host) && place != Place::Special
            || self.loopback && address.is_loopback();
        if target.is_https {
            is_allowed || place == Place::Public && target.port == HTTPS_PORT
        } else {
            is_allowed && address.is_loopback()
        }
    }
}

impl Target {
    pub(super) fn parse(text: &str) -> Result<Self, FetchError> {
        let url = Url::parse(text).map_err(|_| FetchError::Url)?;
        let has_login = !url.username().is_empty() || url.password().is_some();
        if has_login || url.fragment().is_some() || text.len() > URL_MAX_BYTES {
            return Err(FetchError::Url);
        }
        let is_https = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(FetchError::Url),
        };
        let (Some(host), Some(port)) = (url.host().map(|host| host.to_owned()), url.port_or_known_default())
        else {
            return Err(FetchError::Url);
        };
        Ok(Self { url, host, port, is_https })
    }

    /// The host as a URL writes it, with the port if it is not the usual one.
    pub(super) fn authority(&self) -> String {
        let port = self.url.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}{port}", self.host)
    }

    /// The path and the query.
    pub(super) fn path(&self) -> &str {
        &self.url[url::Position::BeforePath..url::Position::AfterQuery]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(rules: &Rules, url: &str, address: &str) -> bool {
        rules.admit(&Target::parse(url).expect(url), address.parse().expect(address))
    }

    fn allowing(text: &str) -> Rules {
        Rules { allowed: Allowed::parse(text).expect(text), ..Rules::default() }
    }

    #[test]
    fn x1_without_configuration_only_port_443_of_the_internet_is_asked() {
        let rules = Rules::default();
        assert!(admits(&rules, "https://app.example/a", "1.1.1.1"));
        assert!(admits(&rules, "https://1.1.1.1/a", "1.1.1.1"));
        for (url, address) in [
            ("https://app.example:8443/a", "1.1.1.1"),
            ("https://app.example:22/a", "1.1.1.1"),
            ("http://app.example/a", "1.1.1.1"),
            ("http://app.example:443/a", "1.1.1.1"),
            ("https://app.example/a", "10.0.0.1"),
            ("https://app.example/a", "127.0.0.1"),
            ("https://app.example/a", "169.254.169.254"),
            ("https://app.example/a", "::ffff:127.0.0.1"),
            ("http://localhost/a", "127.0.0.1"),
        ] {
            assert!(!admits(&rules, url, address), "{url} {address}");
        }
    }

    #[test]
    fn x1_the_operator_allows_hosts_and_networks() {
        let rules = allowing("idp.internal, 10.1.0.0/16,127.0.0.1, fd00:1::/32");
        assert!(admits(&rules, "https://idp.internal:8443/a", "192.168.0.1"));
        assert!(admits(&rules, "https://any.example:8443/a", "10.1.255.255"));
        assert!(admits(&rules, "https://any.example/a", "::ffff:10.1.0.1"));
        assert!(admits(&rules, "https://any.example/a", "64:ff9b::10.1.0.1"));
        assert!(admits(&rules, "https://any.example/a", "fd00:1:2::1"));
        assert!(admits(&rules, "http://localhost:4000/a", "127.0.0.1"));
        for (url, address) in [
            ("https://idp.internal/a", "169.254.169.254"),
            ("https://idp.internal/a", "fd00:ec2::254"),
            ("https://not.idp.internal/a", "192.168.0.1"),
            ("https://any.example/a", "10.2.0.0"),
            ("https://any.example/a", "fd00:2::1"),
            ("http://idp.internal/a", "192.168.0.1"),
            ("http://any.example/a", "10.1.0.1"),
            ("http://localhost:4000/a", "127.0.0.2"),
        ] {
            assert!(!admits(&rules, url, address), "{url} {address}");
        }
        assert!(admits(&allowing("169.254.0.0/16"), "https://any.example/a", "169.254.169.254"));
        assert!(admits(&allowing("0.0.0.0/0"), "https://any.example/a", "10.0.0.1"));
        assert!(!admits(&allowing("0.0.0.0/0"), "https://any.example/a", "::1"));
        let dev = Rules { loopback: true, ..Rules::default() };
        assert!(admits(&dev, "http://localhost:4000/a", "::1"));
        assert!(!admits(&dev, "http://localhost:4000/a", "10.0.0.1"));
    }

    #[test]
    fn what_cannot_be_allowed_is_said() {
        for (wrong, says) in [
            ("Idp.internal", "no host name"),
            ("*.internal", "no host name"),
            ("https://idp.internal", "no host name"),
            ("idp.internal:8443", "no host name"),
            ("a.example,", "no host name"),
            ("127.1", "no host name"),
            ("10.0.0.0/33", "0 to 32"),
            ("10.0.0.0/-1", "0 to 32"),
            ("fd00::/129", "0 to 128"),
            ("10.0.0.1/8", "first address"),
        ] {
            let refused = Allowed::parse(wrong).unwrap_err();
            assert!(refused.contains(says), "{wrong}: {refused}");
        }
    }

    #[test]
    fn x1_a_url_hides_nothing() {
        for wrong in [
            "app.example/a",
            "ftp://app.example/a",
            "file:///etc/passwd",
            "data:application/json,{}",
            "https://ana@app.example/a",
            "https://:hush@app.example/a",
            "https://app.example/a#b",
            "https://",
            &format!("https://app.example/{}", "a".repeat(2048)),
        ] {
            assert_eq!(Target::parse(wrong), Err(FetchError::Url), "{wrong}");
        }
        // However an address is written, it is judged as what it is.
        for loopback in [
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0177.0.0.1/",
            "http://127.1/",
            "http://0x7f.1/",
            "http://①②⑦.0.0.1/",
        ] {
            assert_eq!(Target::parse(loopback).unwrap().authority(), "127.0.0.1", "{loopback}");
        }
        let target = Target::parse("https://[::ffff:7f00:1]:8443/a?b=c").unwrap();
        assert_eq!((target.authority().as_str(), target.path()), ("[::ffff:7f00:1]:8443", "/a?b=c"));
    }
}
