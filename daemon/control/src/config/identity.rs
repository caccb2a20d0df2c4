//! Settings of who callers are: tokens, second factor, links, an outer provider.

/// Settings of identity.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// Personal access tokens may be made that never expire.
    pub endless_tokens: bool,
    /// Failed logins of one account in a row before it has to wait; 0 never lets it wait.
    pub account_failures: u64,
    /// Administrators without a second factor may do nothing but set one up.
    pub require_totp: bool,
    /// How browsers reach the appliance, without a slash at the end; `None` if nobody said.
    pub public_base_url: Option<String>,
}
