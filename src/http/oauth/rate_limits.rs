//! How often something is done. Knows: which forms each person of an account sent within the last minute, how many
//! reports of leaks matched no token within it, from which networks apps registered themselves within it, and which clients a warning was about within the last
//! hour, on this node. Must not know: apps, ledgers, or pages.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use grantbook_events::{AccountId, ClientId, GrantId, Timestamp, UserId};
use parking_lot::Mutex;

/// How many forms one person may approve on one account within a minute. Each is recorded and remembered for a
/// while, so this bounds what one person costs all others.
pub const APPROVALS_PER_MINUTE: usize = 30;
/// What the approvals are counted over.
const MINUTE: Duration = Duration::from_secs(60);
/// How many people are remembered: one more, and the one who approved longest ago is forgotten.
const MAX_PEOPLE: usize = 10_000;

type Person = (AccountId, UserId);

/// What each person approved within the last minute.
#[derive(Debug, Default)]
pub struct Approvals(Mutex<HashMap<Person, Vec<(GrantId, Timestamp)>>>);

/// How many whole seconds to wait until the next approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooOften(pub u8);

impl Approvals {
    /// Counts an approval. The same form sent again is the same approval. What is refused is not counted.
    pub fn count(&self, person: Person, grant_id: GrantId, now: Timestamp) -> Result<(), TooOften> {
        let mut people = self.0.lock();
        if people.len() >= MAX_PEOPLE && !people.contains_key(&person) {
            let last = |approved: &[(GrantId, Timestamp)]| approved.last().map(|(_, at)| *at);
            let idle = people.iter().min_by_key(|(_, approved)| last(approved)).map(|(who, _)| who.clone());
            idle.and_then(|who| people.remove(&who));
        }
        let approved = people.entry(person).or_default();
        approved.retain(|(_, at)| now < at.plus(MINUTE));
        if approved.iter().any(|(id, _)| *id == grant_id) {
            return Ok(());
        }
        if approved.len() >= APPROVALS_PER_MINUTE
            && let Some((_, oldest)) = approved.first()
        {
            return Err(TooOften::since(*oldest, now));
        }
        approved.push((grant_id, now));
        Ok(())
    }
}

impl TooOften {
    /// Until a minute has passed since the oldest of what is counted.
    fn since(oldest: Timestamp, now: Timestamp) -> Self {
        let micros = oldest.plus(MINUTE).as_micros().saturating_sub(now.as_micros());
        let seconds = micros.unsigned_abs().div_ceil(1_000_000);
        Self(u8::try_from(seconds).unwrap_or(u8::MAX))
    }
}

/// How many reports of leaks within a minute may match no token, from all callers together: callers are not known.
pub const UNMATCHED_REPORTS_PER_MINUTE: usize = 60;

/// When there were reports of leaks within the last minute that matched no token.
#[derive(Debug, Default)]
pub struct UnmatchedReports(Mutex<VecDeque<Timestamp>>);

impl UnmatchedReports {
    /// Counts a report. What is refused is not counted.
    pub fn count(&self, now: Timestamp) -> Result<(), TooOften> {
        let mut reports = self.0.lock();
        reports.retain(|at| now < at.plus(MINUTE));
        match reports.front() {
            Some(oldest) if reports.len() >= UNMATCHED_REPORTS_PER_MINUTE => {
                Err(TooOften::since(*oldest, now))
            }
            Some(_) | None => {
                reports.push_back(now);
                Ok(())
            }
        }
    }
}

/// When apps registered themselves within the last minute, and from which network; as many as may.
#[derive(Debug, Default)]
pub struct Registrations(Mutex<VecDeque<(Timestamp, Option<IpAddr>)>>);

impl Registrations {
    /// Counts a registration. One network may have half of all, so that it does not keep all others out. What is refused is
    /// not counted.
    pub fn count(&self, from: Option<IpAddr>, per_minute: usize, now: Timestamp) -> Result<(), TooOften> {
        let from = from.map(network);
        let mut counted = self.0.lock();
        counted.retain(|(at, _)| now < at.plus(MINUTE));
        let mut own = counted.iter().filter(|(_, other)| *other == from);
        let oldest = match (counted.front(), own.clone().count() >= per_minute.div_ceil(2)) {
            (oldest, _) if counted.len() >= per_minute => oldest,
            (_, true) => own.next(),
            (_, false) => None,
        };
        if let Some((oldest, _)) = oldest {
            return Err(TooOften::since(*oldest, now));
        }
        counted.push_back((now, from));
        Ok(())
    }
}

/// What one caller has of IPv6 is a network of 64 bits.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
        address @ IpAddr::V4(_) => address,
    }
}

/// The shortest time between two warnings about one client.
const HOUR: Duration = Duration::from_secs(60 * 60);
/// How many clients are remembered: beyond that, all are forgotten, and may be warned about again.
const MAX_CLIENTS: usize = 10_000;

/// Which clients there was a warning about, and when.
#[derive(Debug, Default)]
pub struct Warnings(Mutex<HashMap<ClientId, Timestamp>>);

impl Warnings {
    /// Whether a warning is due. If so, the next one is due an hour later.
    pub fn is_due(&self, client_id: ClientId, now: Timestamp) -> bool {
        let mut warned = self.0.lock();
        if warned.get(&client_id).is_some_and(|last| now < last.plus(HOUR)) {
            return false;
        }
        if warned.len() >= MAX_CLIENTS {
            warned.clear();
        }
        warned.insert(client_id, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets;

    fn new_form() -> GrantId {
        secrets::new_grant_id(at(0))
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::EPOCH.plus(Duration::from_secs(seconds))
    }

    fn person(account: &str, user: &str) -> Person {
        (account.parse().unwrap(), user.parse().unwrap())
    }

    #[test]
    fn a_person_approves_so_many_forms_a_minute_and_the_same_form_counts_once() {
        let (approvals, ana) = (Approvals::default(), person("acme", "ana"));
        let first = new_form();
        approvals.count(ana.clone(), first, at(0)).unwrap();
        for _ in 1..APPROVALS_PER_MINUTE {
            approvals.count(ana.clone(), new_form(), at(10)).unwrap();
            approvals.count(ana.clone(), first, at(10)).unwrap();
        }
        let another = new_form();
        assert_eq!(approvals.count(ana.clone(), another, at(20)), Err(TooOften(40)));
        assert_eq!(approvals.count(ana.clone(), first, at(20)), Ok(()), "a form that was counted");
        for other in [person("acme", "ben"), person("other", "ana")] {
            assert_eq!(approvals.count(other, new_form(), at(20)), Ok(()));
        }
        assert_eq!(approvals.count(ana.clone(), another, at(60)), Ok(()));
        assert_eq!(approvals.count(ana, new_form(), at(60)), Err(TooOften(10)));
    }

    #[test]
    fn memory_is_bounded_and_keeps_who_approved_last() {
        let approvals = Approvals::default();
        for n in 0..=MAX_PEOPLE {
            let who = person("acme", &format!("u{n}"));
            approvals.count(who, new_form(), at(n as u64)).unwrap();
        }
        let people = approvals.0.lock();
        assert_eq!(people.len(), MAX_PEOPLE);
        assert!(!people.contains_key(&person("acme", "u0")) && people.contains_key(&person("acme", "u1")));
    }

    #[test]
    fn l1_so_many_reports_a_minute_may_match_no_token() {
        let reports = UnmatchedReports::default();
        for n in 0..UNMATCHED_REPORTS_PER_MINUTE {
            reports.count(at(n as u64 / 2)).unwrap();
        }
        assert_eq!(reports.count(at(30)), Err(TooOften(30)));
        assert_eq!(reports.count(at(59)), Err(TooOften(1)));
        reports.count(at(60)).unwrap();
        reports.count(at(60)).unwrap();
        assert_eq!(reports.count(at(60)), Err(TooOften(1)));
        assert_eq!(reports.0.lock().len(), UNMATCHED_REPORTS_PER_MINUTE);
    }

    #[test]
    fn d2_so_many_apps_a_minute_register_themselves_and_half_of_them_from_one_network() {
        let registrations = Registrations::default();
        let count = |from: &str, seconds| registrations.count(Some(from.parse().unwrap()), 4, at(seconds));
        count("192.0.2.1", 0).unwrap();
        count("::ffff:192.0.2.1", 10).unwrap();
        assert_eq!(count("192.0.2.1", 20), Err(TooOften(40)));
        count("2001:db8::1", 20).unwrap();
        count("2001:db8::ffff:2", 30).unwrap();
        assert_eq!(count("2001:db8:0:1::1", 30), Err(TooOften(30)), "all of the node");
        assert_eq!(count("2001:db8::3", 60), Err(TooOften(20)), "one network");
        count("192.0.2.1", 60).unwrap();
        assert_eq!(registrations.0.lock().len(), 4);
    }

    #[test]
    fn each_client_has_one_warning_an_hour_and_memory_is_bounded() {
        let (warnings, one) = (Warnings::default(), secrets::new_client_id());
        assert!(warnings.is_due(one, at(0)) && warnings.is_due(secrets::new_client_id(), at(0)));
        assert!(!warnings.is_due(one, at(3599)));
        assert!(warnings.is_due(one, at(3600)));
        for _ in 0..MAX_CLIENTS * 2 {
            warnings.is_due(secrets::new_client_id(), at(3600));
        }
        assert!(warnings.0.lock().len() <= MAX_CLIENTS);
    }
}
