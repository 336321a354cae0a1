//! `grantbook app list`.

use crate::cli::failure::Failure;
use crate::cli::reach::{Needs, Reach};
use crate::cli::table::{Column, Wide};

const COLUMNS: &[Column<'_>] = &[
    Column::name("name", "/name"),
    Column::name("owner", "/owner"),
    Column::whole("state", "/status/state"),
    Column::whole("client id", "/client_id"),
    Column::whole("scopes", "/scopes").extra(),
    Column::whole("confidential", "/confidential").extra(),
    Column::time("registered at", "/registered_at").extra(),
    Column::time("changed at", "/changed_at").extra(),
    Column::whole("homepage", "/homepage").extra(),
    Column::whole("redirect URIs", "/redirect_uris").extra(),
];

/// How it is shown.
#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    wide: Wide,
}

impl List {
    pub(super) fn run(self, reach: &Reach) -> Result<(), Failure> {
        reach.ask(Needs::Reading, |api| api.list("/apps", &[]), |list| self.wide.table(list, COLUMNS))
    }
}
