//! The stages of the column, in their order.

pub(crate) mod admit;
pub(crate) mod authenticate;
pub(crate) mod authorize;
pub(crate) mod cached;
pub(crate) mod exchange;
pub(crate) mod forward;
pub(crate) mod identify;
pub(crate) mod pay;
pub(crate) mod record;
pub(crate) mod reply;
pub(crate) mod route;
pub(crate) mod shape;
pub(crate) mod streamed;
