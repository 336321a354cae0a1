//! Which APIs tokens may be for (RFC 8707). Knows: the grammar of a resource, and the operator's list. Must not know:
//! where the list is written down, or who asks.

use serde::Deserialize;
use url::Url;

/// How many resources one request may name, and how long each may be, in bytes: they are recorded with every token.
pub const MAX_RESOURCES: usize = 10;
pub const RESOURCE_MAX: usize = 512;

/// The resources that requests may name; any, if there are none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ResourceList(Vec<String>);

/// Why what a request names is refused: `invalid_target` (RFC 8707 section 2).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResourceError {
    /// Not a resource at all.
    #[error("resource must be an absolute URI without a fragment, of at most {RESOURCE_MAX} bytes")]
    Malformed,
    /// More than can be recorded.
    #[error("at most {MAX_RESOURCES} resources may be named")]
    TooMany,
    /// Not one of the list.
    #[error("the resource is not one that tokens of this server are for")]
    Unknown,
}

impl ResourceList {
    /// Reads a list: URIs with spaces between them.
    ///
    /// # Errors
    /// If one of them is not a resource.
    pub fn parse(text: &str) -> Result<Self, ResourceError> {
        let resources: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        resources
            .iter()
            .all(|resource| is_resource(resource))
            .then_some(())
            .ok_or(ResourceError::Malformed)?;
        Ok(Self(resources))
    }

    /// What a request names, each once. They are compared as texts.
    ///
    /// # Errors
    /// If one cannot be, or there are too many.
    pub fn check(&self, sent: &[String]) -> Result<Vec<String>, ResourceError> {
        let mut resources: Vec<String> = Vec::new();
        for resource in sent {
            if !is_resource(resource) {
                return Err(ResourceError::Malformed);
            }
            if !self.0.is_empty() && !self.0.contains(resource) {
                return Err(ResourceError::Unknown);
            }
            if !resources.contains(resource) {
                resources.push(resource.clone());
            }
        }
        if resources.len() > MAX_RESOURCES { Err(ResourceError::TooMany) } else { Ok(resources) }
    }
}

impl TryFrom<String> for ResourceList {
    type Error = ResourceError;

    fn try_from(text: String) -> Result<Self, ResourceError> {
        Self::parse(&text)
    }
}

/// Parsing a URL is forgiving, and what is recorded is the text, so it may hold nothing that parsing would change
/// or drop.
fn is_resource(text: &str) -> bool {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic()) && !text.contains('#');
    is_plain && text.len() <= RESOURCE_MAX && Url::parse(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const API: &str = "https://api.example/mcp?tenant=1";

    fn check(list: &str, sent: &[&str]) -> Result<Vec<String>, ResourceError> {
        let sent: Vec<String> = sent.iter().map(|&resource| resource.to_owned()).collect();
        ResourceList::parse(list).unwrap().check(&sent)
    }

    #[test]
    fn u1_a_resource_is_an_absolute_uri_without_a_fragment() {
        assert_eq!(check("", &[]).unwrap(), [""; 0]);
        assert_eq!(check("", &[API, "urn:example:faqs", API]).unwrap(), [API, "urn:example:faqs"]);
        let long = format!("https://api.example/{}", "x".repeat(RESOURCE_MAX));
        for wrong in ["api", "/mcp", "https://api.example/#x", "https://api.example/#", "https://a b/", &long]
        {
            assert_eq!(check("", &[API, wrong]), Err(ResourceError::Malformed), "{wrong}");
            if !wrong.contains(' ') {
                assert_eq!(ResourceList::parse(&format!("{API} {wrong}")), Err(ResourceError::Malformed));
            }
        }
        let many: Vec<String> = (0..=MAX_RESOURCES).map(|n| format!("https://{n}.example/")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(check("", &many), Err(ResourceError::TooMany));
        assert_eq!(check("", &many[1..]).unwrap().len(), MAX_RESOURCES);
    }

    #[test]
    fn u1_of_a_list_only_what_is_in_it_may_be_named() {
        let list = format!(" {API}  https://faqs.example ");
        assert_eq!(check(&list, &[API]).unwrap(), [API]);
        assert_eq!(check(&list, &[]).unwrap(), [""; 0]);
        for unknown in ["https://faqs.example/", "https://api.example/mcp", "https://evil.example"] {
            assert_eq!(check(&list, &[API, unknown]), Err(ResourceError::Unknown), "{unknown}");
        }
    }
}
