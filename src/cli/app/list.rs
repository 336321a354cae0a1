//! `grantbook app list`.

use crate::cli::failure::Failure;
use crate::cli::reach::{Needs, Reach};
use crate::cli::render::{self, Shown};

const COLUMNS: &[Shown<'_>] =
    &[("client id", "/client_id"), ("name", "/name"), ("owner", "/owner"), ("state", "/status/state")];

pub(super) fn run(reach: &Reach) -> Result<(), Failure> {
    reach.ask(Needs::Ledger, |api| api.list("/apps", &[]), |list| render::table(list, COLUMNS))
}
