//! Identify: refuses what must not go further, gives the request its id (spec/doorman.md 1.3).

use crate::call::{Arrived, Call};
use crate::failure::Failure;
use crate::stages::record::{REQUEST_ID, Record};
use actix_web::http::Method;
use actix_web::http::header::{HeaderName, UPGRADE};
use gatehouse_corridor::text::Text;

/// Longest id taken from a client, bytes.
const ID_BYTES: usize = 128;
static OTHER_REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

pub(crate) fn identify(call: &Call<'_, Arrived>, record: &mut Record) -> Result<(), Failure> {
    let headers = call.request.headers();
    let given = headers.get(&REQUEST_ID).or_else(|| headers.get(&OTHER_REQUEST_ID));
    let given = given.and_then(|value| value.to_str().ok());
    match given
        .filter(|id| !id.is_empty() && id.len() <= ID_BYTES && id.bytes().all(|b| b.is_ascii_graphic()))
    {
        Some(id) => record.access.request = id.into(),
        None => {
            let mut room = uuid::Uuid::encode_buffer();
            record.access.request = Text::from(&*uuid::Uuid::new_v4().hyphenated().encode_lower(&mut room));
        }
    }
    // An upgrade's body has no end: a reader of it would wait for ever.
    if call.request.method() == Method::CONNECT || headers.contains_key(UPGRADE) {
        return Err(Failure::Upgrade);
    }
    Ok(())
}
