//! A shard of the table of installations, as it is in an image.

use std::sync::Arc;

use grantbook_events::InstallationId;
use uuid::Uuid;

use super::super::image::{Bytes, ImageError, Known, Out, Spread};
use super::super::shards::{Frozen, Place, spread};
use super::{Few, Installations, Installed, Shard, hash_of};

impl Installations {
    /// Lets installations be found by their accounts, all of which are found in one shard.
    pub(in crate::live) fn find_by_accounts(&self, shard: usize, found: &[(u32, Place)]) {
        let mut accounts = self.by_account.write(shard);
        accounts.reserve(found.len(), |&(hash, _)| spread(hash));
        for &(hash, place) in found {
            accounts.insert_unique(spread(hash), (hash, place), |&(hash, _)| spread(hash));
        }
    }

    /// Every shard's bytes as of now, which must be a moment at which nothing is written.
    pub(in crate::live) fn freeze_image(&self) -> Frozen<'_, Shard, Vec<u8>> {
        self.shards.freeze(|shard| {
            let mut out = Out(Vec::with_capacity(shard.rows.len() * 80));
            out.u32(shard.rows.len() as u32);
            for row in &shard.rows {
                out.0.extend_from_slice(row.id.as_uuid().as_bytes());
                out.u32(row.app.number);
                out.short_text(row.account.as_str());
                out.time(row.first_granted_at);
                out.time(row.turned_at);
                out.u32(row.epoch);
                out.0.push(u8::from(row.ever_installed));
                out.places(row.tokens.as_slice());
            }
            out.0
        })
    }

    /// Fills one shard, and says by what its installations are to be found.
    pub(in crate::live) fn read_image(
        &self,
        shard: usize,
        mut bytes: Bytes<'_>,
        known: &Known<'_>,
        found: &mut Spread,
    ) -> Result<(), ImageError> {
        let count = bytes.u32()? as usize;
        let mut guard = self.shards.write(shard);
        guard.rows.reserve_exact(count.min(1 << 24));
        guard.by_id.reserve(count.min(1 << 24), |_| 0);
        for slot in 0..count {
            let row = read_row(&mut bytes, known)?;
            let place = Place::new(shard, slot).map_err(ImageError::Malformed)?;
            let (account_shard, hash) = self.account_hash(&row.account);
            found.add(account_shard, hash, place);
            let Shard { rows, by_id } = &mut *guard;
            by_id.insert_unique(hash_of(&row.id), slot as u32, |&slot| hash_of(&rows[slot as usize].id));
            rows.push(row);
        }
        if bytes.is_empty() { Ok(()) } else { Err(ImageError::Malformed("a shard goes on after its end")) }
    }
}

fn read_row(bytes: &mut Bytes<'_>, known: &Known<'_>) -> Result<Installed, ImageError> {
    Ok(Installed {
        id: InstallationId::new(Uuid::from_bytes(bytes.array()?)),
        app: Arc::clone(known.app(bytes.u32()?)?),
        account: Box::<str>::from(bytes.short_text()?)
            .try_into()
            .map_err(|_| ImageError::Malformed("an account id in it is none"))?,
        first_granted_at: bytes.time()?,
        turned_at: bytes.time()?,
        epoch: bytes.u32()?,
        ever_installed: bytes.array()? != [0],
        tokens: Few::from_vec(bytes.places()?),
    })
}
