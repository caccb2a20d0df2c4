//! Identify: gives the request its id (spec/doorman.md 1.3), refuses what must not go further.

use crate::call::{Arrived, Call};
use crate::failure::Failure;
use crate::http1::fields::Name;
use crate::stages::record::Record;

/// Longest id taken from a client, bytes.
const ID_BYTES: usize = 128;

pub(crate) fn identify(call: &Call<'_, Arrived>, record: &mut Record) -> Result<(), Failure> {
    let head = call.head;
    let given = head.get_text(Name::RequestId).or_else(|| head.get_text(Name::OtherRequestId));
    let plain =
        |id: &&str| !id.is_empty() && id.len() <= ID_BYTES && id.bytes().all(|b| b.is_ascii_graphic());
    record.name(given.filter(plain));
    // A tunnel has no end and no request behind it.
    if head.method() == "CONNECT" || head.get(Name::Upgrade).is_some() {
        return Err(Failure::Upgrade);
    }
    Ok(())
}
