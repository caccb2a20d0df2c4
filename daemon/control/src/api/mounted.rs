//! What is mounted, for the test that holds it against the OpenAPI document. In tests alone.

use std::cell::RefCell;

thread_local! {
    static SEEN: RefCell<Vec<(String, String)>> = const { RefCell::new(Vec::new()) };
}

pub(crate) fn note(method: &str, path: &str) {
    SEEN.with_borrow_mut(|seen| seen.push((method.to_owned(), path.to_owned())));
}

/// Method and path of everything that is mounted, without the scopes' prefixes.
pub(crate) fn all() -> Vec<(String, String)> {
    SEEN.take();
    drop(actix_web::App::new().configure(super::mount));
    SEEN.take()
}
