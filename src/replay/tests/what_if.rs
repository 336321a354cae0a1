//! What would be different, on a ledger where it is known.

use super::*;

/// Two accounts: one with a token by each of two redirect URIs, one with a token by the second only.
async fn two_ways() -> Arc<MemoryStore> {
    let store = MemoryStore::new(Uuid::from_u128(5));
    let given = TestLedger::over(Arc::clone(&store) as _).await;
    let app = given.app().await;
    for (account, uri, scope, revoked) in [
        ("acme", "https://one.example/", "faqs", false),
        ("acme", "https://two.example/", "widgets", false),
        ("globex", "https://two.example/", "faqs", false),
        ("initech", "https://two.example/", "faqs", true),
    ] {
        let account = account.parse().unwrap();
        let mut granted = grant(app, &account);
        granted.redirect_uri = uri.to_owned();
        granted.scopes = vec![scope.to_owned()];
        let exchanged = exchange(&granted);
        given.settle(&granted).await.unwrap().unwrap();
        given.settle(&exchanged).await.unwrap().unwrap();
        if revoked {
            given.settle(&revoke(installation(app, &account), exchanged.token_id)).await.unwrap().unwrap();
        }
    }
    // A code that nobody exchanged changes nothing.
    let mut granted = grant(app, &"acme".parse().unwrap());
    granted.redirect_uri = "https://three.example/".to_owned();
    given.settle(&granted).await.unwrap().unwrap();
    store
}

async fn without(without: Without) -> Option<Vec<(String, bool, usize, usize)>> {
    let store = two_ways().await;
    let before = store.head().await.unwrap();
    let found = what_if(&*store, &without, START, |_| {}).await.unwrap();
    assert_eq!(store.head().await.unwrap(), before, "nothing is written");
    let shown = |found: &Consequence| {
        (found.account_id.to_string(), found.ends, found.tokens_gone, found.tokens_left)
    };
    Some(found?.iter().map(shown).collect())
}

fn redirect_uri(uri: &str) -> Without {
    Without::RedirectUri(uri.to_owned())
}

#[tokio::test]
async fn an_installation_ends_if_no_token_is_left() {
    let acme = |ends, gone, left| ("acme".to_owned(), ends, gone, left);
    let globex = ("globex".to_owned(), true, 1, 0);
    assert_eq!(without(redirect_uri("https://one.example/")).await.unwrap(), [acme(false, 1, 1)]);
    let two = without(redirect_uri("https://two.example/")).await.unwrap();
    assert_eq!(two, [acme(false, 1, 1), globex.clone()]);
    assert_eq!(without(redirect_uri("https://three.example/")).await.unwrap(), []);
    assert_eq!(without(Without::Scope("faqs".to_owned())).await.unwrap(), [acme(false, 1, 1), globex]);
}

#[tokio::test]
async fn what_nothing_ever_had_cannot_be_left_out() {
    assert_eq!(without(Without::Scope("orders".to_owned())).await, None);
    assert_eq!(without(redirect_uri("https://four.example/")).await, None);
}
