//! The table of our own codes: code, status, title, remedy. `docs/errors.md` is generated from it.

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Stable code.
    pub code: &'static str,
    /// HTTP status.
    pub status: u16,
    /// Short title.
    pub title: &'static str,
    /// What to do; empty where the detail already says it.
    pub remedy: &'static str,
}

macro_rules! codes {
    ($($variant:ident $code:literal $status:literal $title:literal $remedy:literal;)*) => {
        /// A code of ours.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code { $(#[doc = $title] $variant),* }

        impl Code {
            /// Every code, in the table's order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its row.
            #[must_use]
            pub const fn entry(self) -> Entry {
                match self {
                    $(Self::$variant => Entry { code: $code, status: $status, title: $title, remedy: $remedy }),*
                }
            }
        }
    };
}

codes! {
    BadInput "GH-BAD-INPUT" 400 "The request is not well formed" "";
    TooLarge "GH-TOO-LARGE" 413 "The body is larger than allowed" "Send less, or raise the limit named in the detail.";
    Unauthenticated "GH-UNAUTHENTICATED" 401 "No valid credential" "Log in again, or use another key.";
    NotPermitted "GH-NOT-PERMITTED" 403 "Not permitted" "Use the operate socket, or ask an administrator.";
    NotFound "GH-NOT-FOUND" 404 "Unknown id" "";
    Conflict "GH-CONFLICT" 409 "In conflict with the present state" "";
    Precondition "GH-PRECONDITION" 412 "The resource is not what the request expects" "Read it again and send its ETag in If-Match.";
    PlanOutdated "GH-PLAN-OUTDATED" 409 "The world moved since the plan was made" "Look at the new plan and confirm that.";
    PlanExpired "GH-PLAN-EXPIRED" 409 "The plan is no longer valid" "Make a new plan.";
    ConfirmationWrong "GH-CONFIRMATION-WRONG" 422 "The confirmation does not match" "Type exactly the word the plan asks for.";
    Busy "GH-BUSY" 409 "Another run holds the resource" "Wait for it, or watch it.";
    BrowserRefused "GH-BROWSER-REFUSED" 403 "The request looks like a browser's" "Use the console or curl.";
    TooManyRequests "GH-TOO-MANY-REQUESTS" 429 "Too many requests" "Wait as long as Retry-After says.";
    DiskFull "GH-DISK-FULL" 507 "No space left to write the change" "Free space; the daemon recovers by itself.";
    StoreFailed "GH-STORE-FAILED" 503 "The change could not be stored" "See the health screen.";
    ShuttingDown "GH-SHUTTING-DOWN" 503 "The daemon is shutting down" "Try again in a moment.";
    Internal "GH-INTERNAL" 500 "Unexpected failure" "Report it with the request id.";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn codes_are_unique() {
        let names: BTreeSet<_> = Code::ALL.iter().map(|code| code.entry().code).collect();
        assert_eq!(names.len(), Code::ALL.len());
    }
}
