//! Whether every code was granted once, and exchanged at most once, in time, and for what was granted. The live
//! projection forgets a code once it is exchanged, so it cannot tell. Knows: grants and uninstalls. Must not know:
//! what becomes of tokens.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;

use grantbook_events::{
    Event, GrantId, InstallationEvent, InstallationId, Position, Recorded, StreamKind, Timestamp, UserId,
};

use super::Finding;
use super::sorted::{Entry, Sorted};

/// Bytes of what is noted of an event.
const NOTE: usize = 29;

/// What became of every code so far, sorted on disk.
#[derive(Debug, Default)]
pub(super) struct Codes {
    notes: Sorted<NOTE>,
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
    kind: Kind,
    /// Of the installation, the user and the scopes, which an exchange has from the grant.
    about: u64,
    epoch: u32,
    /// When the code expires, or when it was presented.
    time: Timestamp,
    /// When it was granted.
    granted_at: Timestamp,
}

impl Codes {
    /// # Errors
    /// If it cannot be put away.
    pub(super) fn see(&mut self, recorded: &Recorded) -> io::Result<()> {
        let Event::Installation(event) = &recorded.event else { return Ok(()) };
        let Ok(StreamKind::Installation(id)) = recorded.envelope.stream.kind() else { return Ok(()) };
        let time = recorded.envelope.recorded_at;
        let epoch = self.epochs.get(&id).copied().unwrap_or(0);
        let (grant_id, note) = match event {
            InstallationEvent::AccessGranted(event) => {
                let about = about(id, &event.user_id, &event.scopes);
                (
                    event.grant_id,
                    Note { kind: Kind::Granted, about, epoch, time: event.code_expires_at, granted_at: time },
                )
            }
            InstallationEvent::CodeExchanged(event) => {
                let about = about(id, &event.user_id, &event.scopes);
                (
                    event.grant_id,
                    Note { kind: Kind::Exchanged, about, epoch, time, granted_at: event.granted_at },
                )
            }
            InstallationEvent::CodeReplayed(event) => {
                (event.grant_id, Note { kind: Kind::Replayed, about: 0, epoch, time, granted_at: time })
            }
            InstallationEvent::Uninstalled(_) => {
                self.epochs.insert(id, epoch + 1);
                return Ok(());
            }
            InstallationEvent::TokenRevoked(_) => return Ok(()),
        };
        let (id, position) = (grant_id.as_uuid().as_u128(), recorded.envelope.position);
        self.notes.push(Entry { id, position, with: note.written() })
    }

    /// Says of every event that cannot be why.
    ///
    /// # Errors
    /// If what was put away cannot be read.
    pub(super) fn end(self, mut find: impl FnMut(Finding)) -> io::Result<()> {
        let mut code = Code::default();
        self.notes.each(|entry| {
            if entry.id != code.id {
                code = Code { id: entry.id, ..Code::default() };
            }
            let Some(note) = Note::read(entry.with) else { return };
            if let Some(why) = code.refuses(note) {
                let grant = GrantId::new(uuid::Uuid::from_u128(entry.id));
                find(Finding::at(entry.position, format!("grant {grant}: {why}")));
            }
            match note.kind {
                Kind::Granted => drop(code.granted.get_or_insert((entry.position, note))),
                Kind::Exchanged => drop(code.exchanged.get_or_insert(entry.position)),
                Kind::Replayed => {}
            }
        })
    }
}

fn about(id: InstallationId, user: &UserId, scopes: &[String]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (id.as_uuid(), user.as_str(), scopes).hash(&mut hasher);
    hasher.finish()
}

impl Note {
    fn written(self) -> [u8; NOTE] {
        let mut bytes = [self.kind as u8; NOTE];
        bytes[1..9].copy_from_slice(&self.about.to_be_bytes());
        bytes[9..13].copy_from_slice(&self.epoch.to_be_bytes());
        bytes[13..21].copy_from_slice(&self.time.as_micros().to_be_bytes());
        bytes[21..].copy_from_slice(&self.granted_at.as_micros().to_be_bytes());
        bytes
    }

    fn read(bytes: [u8; NOTE]) -> Option<Self> {
        let kinds = [Kind::Granted, Kind::Exchanged, Kind::Replayed];
        let ([kind], rest) = bytes.split_first_chunk()?;
        let (about, rest) = rest.split_first_chunk()?;
        let (epoch, rest) = rest.split_first_chunk()?;
        let (time, rest) = rest.split_first_chunk()?;
        Some(Self {
            kind: kinds.into_iter().find(|known| *known as u8 == *kind)?,
            about: u64::from_be_bytes(*about),
            epoch: u32::from_be_bytes(*epoch),
            time: Timestamp::from_micros(i64::from_be_bytes(*time)),
            granted_at: Timestamp::from_micros(i64::from_be_bytes(*rest.first_chunk()?)),
        })
    }
}

/// What was seen of one code.
#[derive(Debug, Clone, Copy, Default)]
struct Code {
    id: u128,
    granted: Option<(Position, Note)>,
    exchanged: Option<Position>,
}

impl Code {
    fn refuses(&self, note: Note) -> Option<String> {
        match (note.kind, self.granted, self.exchanged) {
            (Kind::Granted, Some((at, _)), _) => Some(format!("it was granted at position {at} already")),
            (Kind::Exchanged, None, _) => Some("a code is exchanged that was never granted".to_owned()),
            (Kind::Exchanged, Some(_), Some(at)) => {
                Some(format!("its code was exchanged at position {at} already"))
            }
            (Kind::Exchanged, Some((at, granted)), None) => differs(note, at, granted),
            (Kind::Replayed, _, None) => {
                Some("a code is presented again that was never exchanged".to_owned())
            }
            (Kind::Granted, None, _) | (Kind::Replayed, _, Some(_)) => None,
        }
    }
}

/// Why an exchange does not follow from its grant, if it does not.
fn differs(exchanged: Note, at: Position, granted: Note) -> Option<String> {
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
