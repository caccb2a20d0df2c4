//! Settings of who callers are: tokens, second factor, links, an outer provider.

use gatehouse_common::secret::Secret;
use std::sync::Arc;

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
    /// Where users may log in elsewhere.
    pub oidc: Option<Arc<Oidc>>,
}

/// An OpenID provider.
#[derive(Debug, Clone)]
pub struct Oidc {
    /// `iss` of its tokens, to the letter.
    pub issuer: String,
    /// Our name there.
    pub client_id: String,
    /// What proves it; `None` for a public client.
    pub client_secret: Option<Secret<String>>,
    /// Asked for, with blanks between.
    pub scopes: String,
    /// Claim that names the account here.
    pub user_claim: String,
    /// Claim that lists groups.
    pub group_claim: String,
    /// Group and role; the first that fits counts.
    pub roles: Vec<(String, String)>,
    /// Role of who is in none of the groups; `None` refuses them.
    pub default_role: Option<String>,
}
