//! Whether every code was granted once and exchanged at most once. The live projection forgets a code once it is
//! exchanged, so it cannot tell. Knows: grants. Must not know: tokens.

use std::io;

use grantbook_events::{Event, GrantId, InstallationEvent, Position, Recorded};

use super::Finding;
use super::sorted::{Entry, Sorted};

const GRANTED: u8 = 0;
const EXCHANGED: u8 = 1;
const REPLAYED: u8 = 2;

/// What became of every code so far, sorted on disk.
#[derive(Debug, Default)]
pub(super) struct Codes(Sorted);

impl Codes {
    /// # Errors
    /// If it cannot be put away.
    pub(super) fn see(&mut self, recorded: &Recorded) -> io::Result<()> {
        let Event::Installation(event) = &recorded.event else { return Ok(()) };
        let (grant_id, kind) = match event {
            InstallationEvent::AccessGranted(event) => (event.grant_id, GRANTED),
            InstallationEvent::CodeExchanged(event) => (event.grant_id, EXCHANGED),
            InstallationEvent::CodeReplayed(event) => (event.grant_id, REPLAYED),
            InstallationEvent::TokenRevoked(_) | InstallationEvent::Uninstalled(_) => return Ok(()),
        };
        let (id, position) = (grant_id.as_uuid().as_u128(), recorded.envelope.position);
        self.0.push(Entry { id, position, kind })
    }

    /// Says of every event that cannot be why.
    ///
    /// # Errors
    /// If what was put away cannot be read.
    pub(super) fn end(self, mut find: impl FnMut(Finding)) -> io::Result<()> {
        let mut code: Option<Code> = None;
        self.0.each(|entry| {
            let same = code.filter(|code| code.id == entry.id);
            let known = same.unwrap_or(Code { id: entry.id, granted: None, exchanged: None });
            let grant = GrantId::new(uuid::Uuid::from_u128(entry.id));
            if let Some(why) = known.refuses(entry.kind) {
                find(Finding { position: Some(entry.position), what: format!("grant {grant}: {why}") });
            }
            code = Some(known.after(entry));
        })
    }
}

#[derive(Debug, Clone, Copy)]
struct Code {
    id: u128,
    granted: Option<Position>,
    exchanged: Option<Position>,
}

impl Code {
    fn refuses(&self, kind: u8) -> Option<String> {
        match (kind, self.granted, self.exchanged) {
            (GRANTED, Some(at), _) => Some(format!("it was granted at position {at} already")),
            (EXCHANGED, None, _) => Some("a code is exchanged that was never granted".to_owned()),
            (EXCHANGED, Some(_), Some(at)) => {
                Some(format!("its code was exchanged at position {at} already"))
            }
            (REPLAYED, _, None) => Some("a code is presented again that was never exchanged".to_owned()),
            _ => None,
        }
    }

    fn after(self, entry: Entry) -> Self {
        let at = Some(entry.position);
        match entry.kind {
            GRANTED => Self { granted: self.granted.or(at), ..self },
            EXCHANGED => Self { exchanged: self.exchanged.or(at), ..self },
            _ => self,
        }
    }
}
