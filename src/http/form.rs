//! `application/x-www-form-urlencoded`, read strictly: what is not UTF-8 is an error, not a guess.

use percent_encoding::percent_decode_str;
use serde::de::value::{Error, MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::problem::Problem;

/// The parameters of a form or a query, in the order they were sent.
#[derive(Default)]
pub struct Form(Vec<(String, String)>);

impl std::fmt::Debug for Form {
    /// Names only: values may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Form {
    /// Reads a form.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        });
        pairs.collect::<Result<_, _>>().map(Self)
    }

    /// The value of a parameter; empty counts as absent (RFC 6749 section 3.1). Of several, the first.
    pub fn get(&self, name: &str) -> Option<&str> {
        let value = self.0.iter().find(|(known, _)| known == name)?;
        Some(value.1.as_str()).filter(|value| !value.is_empty())
    }

    /// Every value of a parameter, in the order they were sent; empty ones count as absent.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let values = self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str());
        values.filter(|value| !value.is_empty())
    }

    /// The parameters as a type of their own; empty ones count as absent. One that may be there more than once is a list.
    pub fn read<T: DeserializeOwned>(self) -> Result<T, Error> {
        let mut present: Vec<(String, Values)> = Vec::new();
        for (name, value) in self.0.into_iter().filter(|(_, value)| !value.is_empty()) {
            match present.iter_mut().find(|(known, _)| *known == name) {
                Some((_, values)) => values.0.push(value),
                None => present.push((name, Values(vec![value]))),
            }
        }
        T::deserialize(MapDeserializer::new(present.into_iter()))
    }

    /// The first of these names that is there more than once.
    pub fn repeated<'a>(&self, names: &[&'a str]) -> Option<&'a str> {
        let count = |name: &str| self.0.iter().filter(|(known, _)| known == name).count();
        names.iter().find(|name| count(name) > 1).copied()
    }
}

/// The values of a parameter that is there, for a field that may be absent too. A field that is no list takes the first.
struct Values(Vec<String>);

impl<'de> Deserializer<'de> for Values {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_string(self.0.into_iter().next().unwrap_or_default())
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(SeqDeserializer::new(self.0.into_iter()))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit unit_struct newtype_struct
        tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl IntoDeserializer<'_, Error> for Values {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Decodes one name or value.
pub fn decode(text: &str) -> Result<String, Problem> {
    // Ids and secrets of ours are spelt so that nothing in them needs decoding.
    if !text.bytes().any(|byte| matches!(byte, b'+' | b'%')) {
        return Ok(text.to_owned());
    }
    let plain = text.replace('+', " ");
    percent_decode_str(&plain).decode_utf8().map(Into::into).map_err(|_| malformed())
}

/// What is answered to bytes that are not a form.
pub fn malformed() -> Problem {
    Problem::bad_request("parameters must be UTF-8, percent-encoded as application/x-www-form-urlencoded")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a1_an_empty_value_counts_as_absent_and_repeats_are_seen() {
        let form = Form::parse("scope=a+b%20c&state=&scope=d&&odd").unwrap();
        assert_eq!(form.get("scope"), Some("a b c"));
        assert_eq!(form.get("state"), None);
        assert_eq!(form.get("odd"), None);
        assert_eq!(form.repeated(&["state", "scope"]), Some("scope"));
        assert_eq!(form.repeated(&["state"]), None);
    }

    #[test]
    fn a_form_reads_as_a_type() {
        #[derive(Debug, PartialEq, serde::Deserialize)]
        struct Fields {
            state: Option<String>,
            scope: Option<String>,
            code: String,
            #[serde(default)]
            resource: Vec<String>,
        }
        let form = Form::parse("code=c&resource=r&state=&scope=a+b&other=x&resource=&resource=s").unwrap();
        let fields = Fields {
            state: None,
            scope: Some("a b".to_owned()),
            code: "c".to_owned(),
            resource: vec!["r".to_owned(), "s".to_owned()],
        };
        assert_eq!(form.read::<Fields>(), Ok(fields));
        assert!(Form::parse("state=s").unwrap().read::<Fields>().is_err());
    }

    #[test]
    fn what_is_not_utf_8_is_refused() {
        assert_eq!(Form::parse("state=%ff").unwrap_err().status, 400);
        assert_eq!(Form::parse("state=%C3%BC").unwrap().get("state"), Some("ü"));
        assert_eq!(Form::parse("state=100%").unwrap().get("state"), Some("100%"));
    }

    #[test]
    fn t8_debug_shows_no_value() {
        let form = Form::parse("client_secret=hush").unwrap();
        assert_eq!(format!("{form:?}"), r#"["client_secret"]"#);
    }
}
