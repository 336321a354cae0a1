//! Whether every code was granted once, and exchanged at most once, in time, and for what was granted. The fold forgets a
//! code once nothing can depend on it any more, so over the whole ledger it cannot tell. Knows: grants and uninstalls. Must
//! not know: what becomes of tokens.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use grantbook_events::{
    Event, GrantId, InstallationEvent, InstallationId, Position, Recorded, StreamKind, Timestamp, UserId,
};
use rusqlite::{Connection, Row};
use uuid::Uuid;

use super::Finding;
use super::event_ids::temporary;

const TABLE: &str = "CREATE TABLE notes (grant_id BLOB, position INTEGER, kind INTEGER, about INTEGER, epoch INTEGER, \
                     time INTEGER, granted_at INTEGER)";
const INSERT: &str = "INSERT INTO notes VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
const IN_ORDER: &str = "SELECT * FROM notes ORDER BY grant_id, position";

/// What became of every code so far, in a temporary file.
#[derive(Debug)]
pub(super) struct Codes {
    conn: Connection,
    /// How often an installation was uninstalled, if it ever was: that ends its codes.
    epochs: HashMap<InstallationId, u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Granted,
    Exchanged,
    Replayed,
}

/// What is noted of an event about a code.
#[derive(Debug, Clone, Copy)]
struct Note {
    position: Position,
    kind: Kind,
    /// Of the installation, the user and the scopes, which an exchange has from the grant.
    about: i64,
    epoch: u32,
    /// When the code expires, or when it was presented.
    time: Timestamp,
    granted_at: Timestamp,
}

impl Codes {
    pub(super) fn new() -> rusqlite::Result<Self> {
        Ok(Self { conn: temporary(TABLE)?, epochs: HashMap::new() })
    }

    pub(super) fn add(&mut self, recorded: &Recorded) -> rusqlite::Result<()> {
        let Event::Installation(event) = &recorded.event else { return Ok(()) };
        let Ok(StreamKind::Installation(id)) = recorded.envelope.stream.kind() else { return Ok(()) };
        let at = recorded.envelope.recorded_at;
        let (grant_id, kind, about, time, granted_at) = match event {
            InstallationEvent::AccessGranted(event) => {
                let about = about(id, &event.user_id, &event.scopes);
                (event.grant_id, Kind::Granted, about, event.code_expires_at, at)
            }
            InstallationEvent::CodeExchanged(event) => {
                let about = about(id, &event.user_id, &event.scopes);
                (event.grant_id, Kind::Exchanged, about, at, event.granted_at)
            }
            InstallationEvent::CodeReplayed(event) => (event.grant_id, Kind::Replayed, 0, at, at),
            InstallationEvent::Uninstalled(_) => {
                *self.epochs.entry(id).or_default() += 1;
                return Ok(());
            }
            InstallationEvent::TokenRevoked(_) => return Ok(()),
        };
        self.conn.prepare_cached(INSERT)?.execute((
            grant_id.as_uuid().as_bytes(),
            recorded.envelope.position.as_u64().cast_signed(),
            kind as i64,
            about,
            self.epochs.get(&id).copied().unwrap_or(0),
            time.as_micros(),
            granted_at.as_micros(),
        ))?;
        Ok(())
    }

    /// What is wrong with each event that cannot be.
    pub(super) fn end(self) -> rusqlite::Result<Vec<Finding>> {
        let mut findings = Vec::new();
        let mut code = Code::default();
        let mut notes = self.conn.prepare(IN_ORDER)?;
        let mut notes = notes.query(())?;
        while let Some(row) = notes.next()? {
            let (id, note) = (Uuid::from_bytes(row.get(0)?), Note::read(row)?);
            if id != code.id {
                code = Code { id, ..Code::default() };
            }
            let finding = |why| Finding::at(note.position, format!("grant {}: {why}", GrantId::new(id)));
            findings.extend(code.refuses(note).map(finding));
            match note.kind {
                Kind::Granted => drop(code.granted.get_or_insert(note)),
                Kind::Exchanged => drop(code.exchanged.get_or_insert(note.position)),
                Kind::Replayed => {}
            }
        }
        Ok(findings)
    }
}

fn about(id: InstallationId, user: &UserId, scopes: &[String]) -> i64 {
    let mut hasher = DefaultHasher::new();
    (id.as_uuid(), user.as_str(), scopes).hash(&mut hasher);
    hasher.finish().cast_signed()
}

impl Note {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            position: Position::new(row.get::<_, i64>(1)?.cast_unsigned()),
            kind: match row.get::<_, i64>(2)? {
                0 => Kind::Granted,
                1 => Kind::Exchanged,
                _ => Kind::Replayed,
            },
            about: row.get(3)?,
            epoch: row.get(4)?,
            time: Timestamp::from_micros(row.get(5)?),
            granted_at: Timestamp::from_micros(row.get(6)?),
        })
    }
}

/// What was seen of one code.
#[derive(Debug, Clone, Copy, Default)]
struct Code {
    id: Uuid,
    granted: Option<Note>,
    exchanged: Option<Position>,
}

impl Code {
    fn refuses(&self, note: Note) -> Option<String> {
        match (note.kind, self.granted, self.exchanged) {
            (Kind::Granted, Some(first), _) => {
                Some(format!("it was granted at position {} already", first.position))
            }
            (Kind::Exchanged, None, _) => Some("a code is exchanged that was never granted".to_owned()),
            (Kind::Exchanged, Some(_), Some(at)) => {
                Some(format!("its code was exchanged at position {at} already"))
            }
            (Kind::Exchanged, Some(granted), None) => differs(note, granted),
            (Kind::Replayed, _, None) => {
                Some("a code is presented again that was never exchanged".to_owned())
            }
            (Kind::Granted, None, _) | (Kind::Replayed, _, Some(_)) => None,
        }
    }
}

/// Why an exchange does not follow from its grant, if it does not.
fn differs(exchanged: Note, granted: Note) -> Option<String> {
    let at = granted.position;
    if exchanged.about != granted.about {
        return Some(format!(
            "the token has another installation, user or scopes than position {at} granted"
        ));
    }
    if exchanged.epoch != granted.epoch {
        return Some(format!("the code of position {at} is exchanged after an uninstall has ended it"));
    }
    if exchanged.granted_at != granted.granted_at {
        return Some(format!(
            "the token says that its approval was recorded at {}, and position {at} was at {}: an app that was suspended \
             in between ends the code",
            exchanged.granted_at, granted.granted_at
        ));
    }
    // Where recorded time waits for a clock that was ahead, a code may end before its approval.
    let end = granted.time;
    (exchanged.time >= end && end > granted.granted_at)
        .then(|| format!("the code of position {at} is exchanged after its end at {end}"))
}
