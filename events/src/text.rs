//! Values whose JSON is the text they display. Knows: serde. Must not know: any value in particular.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{self, Visitor};

/// Reads a value through its `FromStr`, from borrowed and from owned text alike.
pub(crate) struct FromText<T>(pub PhantomData<T>);

impl<T> Visitor<'_> for FromText<T>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// Implements `Serialize` through `Display` and `Deserialize` through `FromStr`; with a binary form, formats that no
/// person reads (snapshots) hold that instead.
macro_rules! serde_as_text {
    ($name:ident, binary $binary:ty) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match serializer.is_human_readable() {
                    true => serializer.collect_str(self),
                    false => self.0.serialize(serializer),
                }
            }
        }

        crate::text::serde_from_text!($name, binary $binary);
    };
    ($name:ident) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        crate::text::serde_from_text!($name);
    };
}

/// Implements `Deserialize` through `FromStr`, and from the binary form if there is one.
macro_rules! serde_from_text {
    ($name:ident, binary $binary:ty) => {
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                match deserializer.is_human_readable() {
                    true => deserializer.deserialize_str(crate::text::FromText(std::marker::PhantomData)),
                    false => <$binary>::deserialize(deserializer).map(Self),
                }
            }
        }
    };
    ($name:ident) => {
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(crate::text::FromText(std::marker::PhantomData))
            }
        }
    };
}

pub(crate) use {serde_as_text, serde_from_text};
