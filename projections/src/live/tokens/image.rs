//! A shard of the token table, as it is in an image.

use std::sync::Arc;

use grantbook_events::{SecretDigest, TokenId};
use uuid::Uuid;

use super::super::image::{Bytes, ImageError, Known, Out, Spread};
use super::super::scope_sets::{ScopeSet, ScopeSets};
use super::super::shards::{Frozen, Place};
use super::{Details, Entry, Shard, Tokens, hash_of, id_hash, id_shard, spread};

impl Tokens {
    /// An empty table that knows these scope sets.
    pub(in crate::live) fn with(scopes: ScopeSets) -> Self {
        Self { scopes: Arc::new(scopes), ..Self::default() }
    }

    /// Lets tokens be found by their ids, all of which are found in one shard.
    pub(in crate::live) fn find_by_ids(&self, shard: usize, found: &[(u32, Place)]) {
        let mut ids = self.ids.write(shard);
        ids.0.reserve(found.len(), |&(hash, _)| spread(hash));
        for &(hash, place) in found {
            ids.0.insert_unique(spread(hash), (hash, place), |&(hash, _)| spread(hash));
        }
    }

    /// Every shard's bytes as of now, which must be a moment at which nothing is written.
    pub(in crate::live) fn freeze_image(&self) -> Frozen<'_, Shard, Vec<u8>> {
        self.shards.freeze(|shard| {
            let mut out = Out(Vec::with_capacity(shard.entries.len() * 112));
            out.u32(shard.details.len() as u32);
            out.u32(shard.entries.len() as u32);
            for entry in &shard.entries {
                let Some(Some(details)) = shard.details.get(entry.slot as usize) else { continue };
                out.u32(entry.slot);
                out.0.extend_from_slice(entry.digest.as_bytes());
                out.time(entry.expires_at);
                out.u32(entry.app.number);
                out.0.extend_from_slice(details.token_id.as_uuid().as_bytes());
                out.short_text(details.user_id.as_str());
                out.time(details.issued_at);
                out.u32(details.scopes.number());
                out.u32(details.installation.as_u32());
            }
            out.0
        })
    }

    /// Fills one shard, and says by what its tokens are to be found.
    pub(in crate::live) fn read_image(
        &self,
        shard: usize,
        mut bytes: Bytes<'_>,
        known: &Known<'_>,
        found: &mut Spread,
    ) -> Result<(), ImageError> {
        let (slots, count) = (bytes.u32()? as usize, bytes.u32()? as usize);
        if count > slots || Place::new(shard, slots.saturating_sub(1)).is_err() {
            return Err(ImageError::Malformed("a shard has more tokens than places"));
        }
        let sets = self.scopes.all().len();
        let mut guard = self.shards.write(shard);
        guard.details.reserve_exact(slots);
        guard.details.resize_with(slots, || None);
        guard.entries.reserve(count, |_| 0);
        for _ in 0..count {
            let (entry, details) = read_row(&mut bytes, known, sets)?;
            let slot = entry.slot as usize;
            let place = Place::new(shard, slot).map_err(ImageError::Malformed)?;
            let free = guard.details.get_mut(slot).filter(|details| details.is_none());
            let free = free.ok_or(ImageError::Malformed("two tokens are in one place"))?;
            found.add(id_shard(&details.token_id), id_hash(&details.token_id), place);
            let hash = details.hash;
            *free = Some(details);
            guard.entries.insert_unique(hash, entry, |entry| hash_of(&entry.digest));
        }
        let Shard { details, free, .. } = &mut *guard;
        let places = details.iter().enumerate();
        free.extend(places.filter(|(_, details)| details.is_none()).map(|(slot, _)| slot as u32));
        if bytes.is_empty() { Ok(()) } else { Err(ImageError::Malformed("a shard goes on after its end")) }
    }
}

fn read_row(bytes: &mut Bytes<'_>, known: &Known<'_>, sets: usize) -> Result<(Entry, Details), ImageError> {
    let slot = bytes.u32()?;
    let digest = SecretDigest::new(bytes.array()?);
    let entry = Entry { digest, expires_at: bytes.time()?, app: Arc::clone(known.app(bytes.u32()?)?), slot };
    let details = Details {
        token_id: TokenId::new(Uuid::from_bytes(bytes.array()?)),
        hash: hash_of(&digest),
        user_id: Box::<str>::from(bytes.short_text()?)
            .try_into()
            .map_err(|_| ImageError::Malformed("a user id in it is none"))?,
        issued_at: bytes.time()?,
        scopes: ScopeSet::of(bytes.u32()?, sets).ok_or(ImageError::Malformed("it has no such scopes"))?,
        installation: Place::from_u32(bytes.u32()?),
    };
    Ok((entry, details))
}
