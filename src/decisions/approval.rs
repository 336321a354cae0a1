//! What a person approves for an app: what it asks for now, and with that what it has from them already (A14). Knows:
//! scopes by their canonical names. Must not know: tokens, or how the person is asked.

use std::collections::BTreeSet;

use grantbook_projections::App;

use super::authorization_request::{AuthorizationRequest, may_ask};
use super::scopes::ScopeCatalogue;

/// What a person is asked to approve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// All that is granted, in the catalogue's order.
    pub scopes: Vec<String>,
    /// Those of them that the app does not have from this person.
    pub new: Vec<String>,
}

impl Approval {
    /// What a request comes down to for a person from whom the app has these scopes. A request for something new is for
    /// what the app has too, so that its new token can do all that it may do now. One for nothing new is taken as it is:
    /// an app may want a token that can do less.
    pub fn of(request: &AuthorizationRequest, has: &BTreeSet<String>, catalogue: &ScopeCatalogue) -> Self {
        let asked = &request.scopes;
        let new: Vec<String> = asked.iter().filter(|scope| !has.contains(*scope)).cloned().collect();
        let keeps = |name: &str| !new.is_empty() && keeps(name, has, &request.app);
        let granted = catalogue.names().filter(|name| asked.iter().any(|scope| scope == name) || keeps(name));
        Self { scopes: granted.map(str::to_owned).collect(), new }
    }
}

/// Whether what a form showed can still be granted: it has all that is asked for, and else only what the app has from
/// this person even now. `has` is asked only if that matters.
pub fn can_still_be_granted(
    shown: &[String],
    request: &AuthorizationRequest,
    has: impl FnOnce() -> BTreeSet<String>,
    catalogue: &ScopeCatalogue,
) -> bool {
    if shown == request.scopes {
        return true;
    }
    let (asked, has) = (&request.scopes, has());
    let may_keep = |scope: &str| catalogue.sentence(scope).is_some() && keeps(scope, &has, &request.app);
    asked.iter().all(|scope| shown.contains(scope))
        && shown.iter().all(|scope| asked.contains(scope) || may_keep(scope))
}

/// Whether an app has a scope that it could still ask for.
fn keeps(scope: &str, has: &BTreeSet<String>, app: &App) -> bool {
    has.contains(scope) && may_ask(app, scope)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::authorization_request::RedirectTarget;
    use super::super::testing;
    use super::*;

    /// A request of an app that may ask for widgets, faqs and contacts.
    fn asking(scopes: &[&str]) -> AuthorizationRequest {
        let mut app = testing::registered_app();
        app.scopes = owned(&["contacts", "faqs", "widgets"]);
        let target = RedirectTarget { redirect_uri: app.redirect_uris[0].clone(), sent: false, state: None };
        let (app, scopes) = (Arc::new(app), owned(scopes));
        AuthorizationRequest {
            app,
            record: None,
            target,
            scopes,
            resources: Vec::new(),
            code_challenge: None,
        }
    }

    fn owned(scopes: &[&str]) -> Vec<String> {
        scopes.iter().map(|&scope| scope.to_owned()).collect()
    }

    fn has(scopes: &[&str]) -> BTreeSet<String> {
        owned(scopes).into_iter().collect()
    }

    #[test]
    fn a14_what_is_new_comes_with_what_the_app_has_and_could_ask_for() {
        let catalogue = ScopeCatalogue::default();
        for (asked, from_this_person, granted, new) in [
            (&["faqs"][..], &[][..], &["faqs"][..], &["faqs"][..]),
            (&["contacts"], &["widgets"], &["widgets", "contacts"], &["contacts"]),
            (&["widgets", "contacts"], &["widgets", "faqs"], &["widgets", "faqs", "contacts"], &["contacts"]),
            (&["contacts"], &["conversations", "gone"], &["contacts"], &["contacts"]),
            (&["widgets"], &["widgets", "faqs"], &["widgets"], &[]),
        ] {
            let approval = Approval::of(&asking(asked), &has(from_this_person), &catalogue);
            let expected = Approval { scopes: owned(granted), new: owned(new) };
            assert_eq!(approval, expected, "{asked:?} {from_this_person:?}");
        }
    }

    #[test]
    fn a14_a_form_is_good_while_the_app_has_what_it_showed() {
        let can = |shown: &[&str], asked: &[&str], from_this_person: &[&str]| {
            let has = || has(from_this_person);
            can_still_be_granted(&owned(shown), &asking(asked), has, &ScopeCatalogue::default())
        };
        assert!(can(&["widgets", "contacts"], &["contacts"], &["widgets"]));
        // The app got more while the form was open.
        assert!(can(&["widgets", "contacts"], &["contacts"], &["widgets", "faqs", "contacts"]));
        assert!(can(&["contacts"], &["contacts"], &["widgets"]));
        assert!(!can(&["widgets", "contacts"], &["contacts"], &[]), "it was revoked");
        assert!(
            !can(&["contacts", "conversations"], &["contacts"], &["conversations"]),
            "not asked for any more"
        );
        assert!(!can(&["widgets"], &["widgets", "faqs"], &["widgets"]), "more is asked for");
    }
}
