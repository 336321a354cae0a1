//! `/account/apps`: what people see and end on their own account.

use crate::harness::Grantbook;

#[test]
fn k5_who_is_signed_in_signs_out_with_a_form_of_their_own() {
    let grantbook = Grantbook::start();
    let (ana, ben) = (grantbook.person("ana", "acme"), grantbook.person("ben", "acme"));
    let bens = ben.get("/account/apps").expect(200).form("/sign-out");
    ana.submit(&bens, &[]).expect(400);
    let anas = ana.get("/account/apps").expect(200).form("/sign-out");
    ana.submit(&anas, &[]).expect(200);
    assert!(ana.get("/account/apps").expect(303).location().contains("/sign-in"));
    ben.get("/account/apps").expect(200);
}
