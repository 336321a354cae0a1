//! The stories: everything grantbook promises, told over HTTP to a real server. Modules mirror the URLs;
//! a test that holds one of the numbered checks is named after its number.

mod client;
mod executable;
mod harness;
mod html;

mod account;
mod authorize;
mod command_line;
mod consent;
mod install;
mod redirect_uris;
