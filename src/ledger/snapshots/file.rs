//! One snapshot: a line of JSON that says what it is, the image of the state, and SHA-256 of both. Knows: that
//! form. Must not know: when one is taken, or whether the ledger agrees.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write as _};
use std::path::{Path, PathBuf};

use grantbook_events::{Position, Timestamp};
use grantbook_projections::live::{Image, Live, Mark};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::SnapshotError;
use crate::files;

/// How snapshots are written.
const FORMAT: u32 = 1;
/// How names of snapshots end.
pub(super) const NAME_END: &str = ".snapshot";
/// How names of those end that are being written.
pub(super) const UNFINISHED_END: &str = ".unfinished";
/// The longest first line, in bytes.
const LONGEST_HEADER: u64 = 4096;
/// Bytes of the digest at the end.
const DIGEST: usize = 32;
/// Bytes written at once.
const BUFFER: usize = 1 << 20;

/// What a snapshot says of itself, in its first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotHeader {
    /// How the file is written.
    pub grantbook_snapshot: u32,
    /// What the state is a state of: the version of the live projection.
    pub live_version: u32,
    /// The ledger it was taken of.
    pub ledger: Uuid,
    /// The last event in it.
    pub mark: Mark,
    /// When it was taken.
    pub taken_at: Timestamp,
}

/// The name of the snapshot of a position. Names sort as positions do.
pub(super) fn name_of(position: Position) -> String {
    format!("live-{:020}{NAME_END}", position.as_u64())
}

/// The position in a name, if it is the name of a snapshot.
pub(super) fn position_of(path: &Path) -> Option<Position> {
    let digits = path.file_name()?.to_str()?.strip_prefix("live-")?.strip_suffix(NAME_END)?;
    digits.parse().ok().map(Position::new)
}

/// Writes a snapshot beside the others. It gets its name once it is durable. It has digests of secrets, so it is for its
/// owner only.
pub(super) fn write(
    dir: &Path,
    image: &Image<'_>,
    ledger: Uuid,
    now: Timestamp,
) -> Result<PathBuf, SnapshotError> {
    files::create_dir_all(dir)?;
    let path = dir.join(name_of(image.mark().position));
    files::replace(&path, |file| write_to(file, image, ledger, now))?;
    Ok(path)
}

fn write_to(file: &mut File, image: &Image<'_>, ledger: Uuid, now: Timestamp) -> Result<(), SnapshotError> {
    let mut out = Hashed { out: BufWriter::with_capacity(BUFFER, file), hasher: Sha256::new() };
    let header = SnapshotHeader {
        grantbook_snapshot: FORMAT,
        live_version: Live::VERSION,
        ledger,
        mark: image.mark(),
        taken_at: now,
    };
    let mut line = serde_json::to_vec(&header)?;
    line.push(b'\n');
    out.write(&line)?;
    image.write::<SnapshotError>(|part| Ok(out.write(part)?))?;
    let digest = out.hasher.finalize();
    out.out.write_all(&digest)?;
    Ok(out.out.flush()?)
}

/// A file and the digest of what was written to it.
struct Hashed<'a> {
    out: BufWriter<&'a mut File>,
    hasher: Sha256,
}

impl Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.out.write_all(bytes)
    }
}

/// Reads the first line of a snapshot.
pub(super) fn header(path: &Path) -> Result<SnapshotHeader, SnapshotError> {
    let header = read_header(&mut BufReader::new(File::open(path)?)).map(|(_, header)| header);
    header.map_err(|why| if_intact(path, why))
}

/// What a first line says of another format or version is only true if the file is what was written: every
/// format ends with its digest.
fn if_intact(path: &Path, why: SnapshotError) -> SnapshotError {
    match why {
        SnapshotError::OtherFormat { .. } | SnapshotError::OtherVersion { .. } => match is_intact(path) {
            Ok(true) => why,
            Ok(false) => SnapshotError::Damaged,
            Err(error) => error.into(),
        },
        why => why,
    }
}

pub(super) fn is_intact(path: &Path) -> io::Result<bool> {
    let file = File::open(path)?;
    let Some(left) = file.metadata()?.len().checked_sub(DIGEST as u64) else { return Ok(false) };
    let mut file = BufReader::with_capacity(BUFFER, file);
    let mut body = Hashing { from: (&mut file).take(left), hasher: Sha256::new() };
    io::copy(&mut body, &mut io::sink())?;
    let computed = body.hasher.finalize();
    let mut digest = [0; DIGEST];
    file.read_exact(&mut digest)?;
    Ok(computed.as_slice() == digest)
}

/// The first line of a snapshot, and what it says.
fn read_header(file: &mut impl BufRead) -> Result<(Vec<u8>, SnapshotHeader), SnapshotError> {
    /// The format decides how the rest is read.
    #[derive(Deserialize)]
    struct Format {
        grantbook_snapshot: u32,
    }
    let mut line = Vec::new();
    file.take(LONGEST_HEADER).read_until(b'\n', &mut line)?;
    let format: Format = serde_json::from_slice(&line).map_err(|_| SnapshotError::NotASnapshot)?;
    if format.grantbook_snapshot != FORMAT {
        return Err(SnapshotError::OtherFormat { found: format.grantbook_snapshot, expected: FORMAT });
    }
    let header: SnapshotHeader = serde_json::from_slice(&line).map_err(|_| SnapshotError::NotASnapshot)?;
    if header.live_version != Live::VERSION {
        let (found, expected) = (header.live_version, Live::VERSION);
        return Err(SnapshotError::OtherVersion { found, expected });
    }
    Ok((line, header))
}

/// Reads a snapshot of a ledger.
pub(super) fn read(path: &Path, ledger: Uuid) -> Result<(SnapshotHeader, Live), SnapshotError> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut file = BufReader::with_capacity(BUFFER, file);
    let (line, header) = read_header(&mut file).map_err(|why| if_intact(path, why))?;
    let left = length.checked_sub((line.len() + DIGEST) as u64).ok_or(SnapshotError::Damaged)?;
    let mut hasher = Sha256::new();
    hasher.update(&line);
    let mut body = Hashing { from: (&mut file).take(left), hasher };
    // What is read must not be used before the digest is known.
    let live = Live::from_image(&mut body);
    // If that broke off, the rest still decides whether the file is what was written.
    io::copy(&mut body, &mut io::sink())?;
    let computed = body.hasher.finalize();
    let mut digest = [0; DIGEST];
    file.read_exact(&mut digest).map_err(|_| SnapshotError::Damaged)?;
    if computed.as_slice() != digest {
        return Err(SnapshotError::Damaged);
    }
    if header.ledger != ledger {
        return Err(SnapshotError::Foreign { found: header.ledger, expected: ledger });
    }
    let live = live?;
    if live.mark() != Some(header.mark) {
        return Err(SnapshotError::Damaged);
    }
    Ok((header, live))
}

/// A reader, and the digest of what was read from it.
struct Hashing<R> {
    from: R,
    hasher: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(into)?;
        self.hasher.update(into.get(..count).unwrap_or_default());
        Ok(count)
    }
}
