//! The variables that Kubernetes gives every container about the services around it. One named `grantbook`, or
//! `grantbook-…`, has variables that look like ours. Knows: how they are named and written. Must not know: any
//! key.

/// How the value of a link's address begins.
const PROTOCOLS: [&str; 3] = ["tcp://", "udp://", "sctp://"];

/// Whether a variable is a link to a service: `…_SERVICE_HOST`, `…_SERVICE_PORT`, `…_SERVICE_PORT_{name}`,
/// `…_PORT` with an address, `…_PORT_{number}_{protocol}` and what follows that.
pub(super) fn is_one(name: &str, value: &str) -> bool {
    let is_address = PROTOCOLS.iter().any(|protocol| value.starts_with(protocol));
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || (name.ends_with("_PORT") && is_address)
        || name.match_indices("_PORT_").any(|(at, found)| is_of_port(name.get(at + found.len()..)))
}

/// `8700_TCP`, `8700_TCP_ADDR` and the like.
fn is_of_port(rest: Option<&str>) -> bool {
    let mut parts = rest.unwrap_or_default().split('_');
    let is_number = parts.next().is_some_and(|part| part.parse::<u16>().is_ok());
    let is_protocol = parts.next().is_some_and(|part| matches!(part, "TCP" | "UDP" | "SCTP"));
    let is_detail = parts.next().is_none_or(|part| matches!(part, "PROTO" | "PORT" | "ADDR"));
    is_number && is_protocol && is_detail && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::super::settings::ALL;
    use super::*;

    #[test]
    fn what_kubernetes_sets_is_a_link_and_what_we_read_is_none() {
        for (name, value) in [
            ("GRANTBOOK_SERVICE_HOST", "10.0.0.1"),
            ("GRANTBOOK_SERVICE_PORT", "8700"),
            ("GRANTBOOK_SERVICE_PORT_HTTP", "8700"),
            ("GRANTBOOK_PORT", "tcp://10.0.0.1:8700"),
            ("GRANTBOOK_PORT_8700_TCP", "tcp://10.0.0.1:8700"),
            ("GRANTBOOK_PORT_8700_TCP_PROTO", "tcp"),
            ("GRANTBOOK_PORT_8700_TCP_PORT", "8700"),
            ("GRANTBOOK_PORT_8700_TCP_ADDR", "10.0.0.1"),
            ("GRANTBOOK_NODE_2_SERVICE_HOST", "10.0.0.2"),
            ("GRANTBOOK_NODE_2_PORT", "udp://10.0.0.2:53"),
            ("GRANTBOOK_NODE_2_PORT_53_UDP_ADDR", "10.0.0.2"),
        ] {
            assert!(is_one(name, value), "{name}");
        }
        for (name, value) in [
            ("GRANTBOOK_PORT", "8700"),
            ("GRANTBOOK_PORT_8700", "x"),
            ("GRANTBOOK_PORT_HTTP_TCP", "x"),
            ("GRANTBOOK_PORT_8700_TCP_HOST", "x"),
            ("GRANTBOOK_LISTN", "tcp://10.0.0.1:8700"),
        ] {
            assert!(!is_one(name, value), "{name}");
        }
        for setting in &ALL {
            assert!(!is_one(&setting.variable(), "tcp://10.0.0.1:8700"), "{}", setting.key);
        }
    }
}
