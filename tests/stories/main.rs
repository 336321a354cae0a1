//! The stories: everything grantbook promises, told over HTTP to a real server. Modules mirror the URLs;
//! a test that holds one of the numbered checks is named after its number.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends at the first surprise")]
#![allow(clippy::too_many_lines)]

mod client;
mod executable;
mod harness;
mod html;
mod log;
mod platform;

mod account;
mod approved_again;
mod apps;
mod arrivals;
mod authorize;
mod by_value;
mod codes;
mod command_line;
mod consent;
mod cors;
mod developers;
mod documents;
mod handoff;
mod install;
mod installations;
mod interface;
mod introspect;
mod keys;
mod leaked;
mod metadata;
mod operator;
mod par;
mod pasted;
mod people;
mod platforms;
mod prefix;
mod probes;
mod redirect_uris;
mod refresh;
mod register;
mod replay;
mod resources;
mod revoke;
mod scope_upgrade;
mod secrecy;
mod sign_in;
mod signed;
mod tabs;
mod terminal;
mod times;
mod token;
mod tokens;
mod unverified;
mod userinfo;
mod who_and_why;
mod wire;
