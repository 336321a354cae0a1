//! An app is uninstalled from an account: the epoch ends, and with it every code and token.

use grantbook_events::{
    AppUninstalled, InstallationEvent, InstallationId, StreamKind, Timestamp, TokenId, UninstallReason,
};
use grantbook_projections::{CodeState, Grant, Installation};

use super::refusal::check_note;
use super::{Command, Decided, Decision, InstallationRefusal};

/// Uninstall an app from an account.
#[derive(Debug, Clone)]
pub struct UninstallApp {
    /// Which installation.
    pub installation_id: InstallationId,
    /// Why.
    pub reason: UninstallReason,
    /// Why, in an operator's words.
    pub note: Option<String>,
}

/// What an uninstall ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uninstalled {
    /// The tokens that it ended.
    pub token_ids: Vec<TokenId>,
    /// Whether there was nothing left to end, so that nothing happened.
    pub already: bool,
}

impl Command for UninstallApp {
    const NAME: &'static str = "uninstall_app";
    type State = Installation;
    type Answer = Uninstalled;
    type Refusal = InstallationRefusal;

    fn stream(&self) -> StreamKind {
        StreamKind::Installation(self.installation_id)
    }

    fn decide(&self, state: Option<&Installation>, now: Timestamp) -> Decided<Self> {
        check_note(self.note.as_ref())?;
        let installed = state.ok_or(InstallationRefusal::Unknown)?;
        let held = installed.held();
        let token_ids: Vec<_> = held.iter().map(|(_, held)| held.token.token_id).collect();
        let is_pending = |grant: &Grant| grant.code == CodeState::Pending && now < grant.code_expires_at;
        let pending = installed.grants().any(is_pending);
        if token_ids.is_empty() && !pending {
            return Ok(Decision::already(Uninstalled { token_ids, already: true }));
        }
        let event = AppUninstalled {
            client_id: installed.client_id,
            account_id: installed.account_id.clone(),
            reason: self.reason,
            tokens: held.iter().map(|(grant, held)| grant.ended(held.token)).collect(),
            epoch: installed.epoch,
            note: self.note.clone(),
        };
        let uninstalled = Uninstalled { token_ids, already: false };
        Ok(Decision::granted(uninstalled, [InstallationEvent::Uninstalled(event)]))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{TestStreams, exchange, grant, uninstall};
    use super::*;

    #[test]
    fn k4_every_token_of_the_installation_ends_and_it_can_be_installed_again() {
        let mut streams = TestStreams::installation([]);
        for n in [1, 2] {
            streams.run(&grant(n), 10).unwrap();
            streams.run(&exchange(n), 11).unwrap();
        }
        let ended = streams.run(&uninstall(), 12).unwrap().token_ids;
        assert_eq!(ended, [exchange(1).token_id, exchange(2).token_id]);
        assert_eq!(
            streams.decide(&uninstall(), 13),
            Decision::already(Uninstalled { token_ids: vec![], already: true })
        );
        streams.run(&grant(3), 14).unwrap();
        streams.run(&exchange(3), 15).unwrap();
        assert_eq!((streams.installed().epoch, streams.token_ids().len()), (1, 1));
    }

    #[test]
    fn c5_a_code_on_its_way_is_ended_too() {
        let mut streams = TestStreams::installation([]);
        streams.run(&grant(1), 10).unwrap();
        streams.run(&uninstall(), 11).unwrap();
        assert_eq!(streams.decide(&exchange(1), 12).answer, Err(InstallationRefusal::CodeEnded));
    }

    #[test]
    fn what_was_never_approved_cannot_be_uninstalled() {
        let streams = TestStreams::installation([]);
        assert_eq!(streams.decide(&uninstall(), 1), Decision::refused(InstallationRefusal::Unknown));
    }
}
