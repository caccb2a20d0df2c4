//! The one authorisation function: what a user may do now, by role and by the scopes of the token they came with. The same
//! checks decide and explain.

use super::roles;
use super::scopes::Scopes;
use crate::state::{Fields as _, Row, State};
use gatehouse_corridor::snapshot::{Api, Consumer};
use serde_json::{Value, json};

/// Who wants to do what.
pub(crate) struct Wish<'s> {
    pub(crate) state: &'s State,
    pub(crate) user: &'s Row,
    pub(crate) permission: &'s str,
    /// Of a personal access token; `None` for whoever logged in.
    pub(crate) scopes: Option<&'s Scopes>,
    /// It changes something.
    pub(crate) writes: bool,
}

impl Wish<'_> {
    fn role(&self) -> &str {
        self.user.text("role")
    }
}

/// A check: its word, whether it holds, and what it looked at.
struct Check {
    word: &'static str,
    holds: fn(&Wish<'_>) -> bool,
    tell: fn(&Wish<'_>) -> String,
}

/// All checks; each has to hold.
const CHECKS: [Check; 5] = [
    Check {
        word: "active",
        holds: |wish| wish.user.flag("active"),
        tell: |wish| format!("user {} is active or not", wish.user.text("username")),
    },
    Check {
        word: "not_revoked",
        holds: |wish| !wish.user.flag("tokens_revoked"),
        tell: |_| "an administrator has revoked all tokens of the user, or not".to_owned(),
    },
    Check {
        word: "role",
        holds: |wish| wish.state.get("roles", wish.role()).is_some(),
        tell: |wish| format!("the user has the role {:?}", wish.role()),
    },
    Check {
        word: "permission",
        holds: |wish| wish.state.get("roles", wish.role()).is_some_and(|role| role.flag(wish.permission)),
        tell: |wish| format!("the role {:?} has {} or not", wish.role(), wish.permission),
    },
    Check {
        word: "scopes",
        holds: |wish| wish.scopes.is_none_or(|scopes| scopes.permit(wish.permission, wish.writes)),
        tell: |wish| match wish.scopes {
            None => "a session bounds nothing".to_owned(),
            Some(scopes) => format!("the token has {}", scopes.words().join(", ")),
        },
    },
];

/// Whether it may be done.
pub(crate) fn allows(wish: &Wish<'_>) -> bool {
    CHECKS.iter().all(|check| (check.holds)(wish))
}

fn step(word: &str, holds: bool, told: impl Into<String>) -> Value {
    json!({"check": word, "holds": holds, "because": told.into()})
}

fn chain(steps: Vec<Value>) -> Value {
    let allowed = steps.iter().all(|step| step.get("holds") == Some(&Value::Bool(true)));
    json!({"allowed": allowed, "chain": steps})
}

/// Why it may be done, or may not.
pub(crate) fn explain(wish: &Wish<'_>) -> Value {
    chain(CHECKS.iter().map(|check| step(check.word, (check.holds)(wish), (check.tell)(wish))).collect())
}

/// Why a user may call an API, or may not: what the data plane was given of both. Limits and credits are not in it, since
/// they come and go with the calls.
pub(crate) fn explain_api(api: &Api, consumer: Option<&Consumer>, scopes: Option<&Scopes>) -> Value {
    let list = |names: &[String]| names.join(", ");
    let mut steps = vec![step("api_active", api.active, format!("{}/{}", api.name, api.version))];
    if api.public || !api.auth_required {
        steps.push(step("open", true, "the API asks nobody who they are"));
        return chain(steps);
    }
    let Some(who) = consumer else {
        steps.push(step("user", false, "the data plane knows no such user"));
        return chain(steps);
    };
    let route = format!("{}/{}", api.name, api.version);
    let gateway = scopes.is_none_or(Scopes::gateway);
    steps.push(step(
        "active",
        who.active && !who.revoked,
        "the user is active, and their tokens are not revoked",
    ));
    steps.push(step("scopes", gateway, "a token needs the scope gateway"));
    let subscribed = who.subscription_exempt || who.subscriptions.contains(&route);
    let why = if who.subscription_exempt { "an administrator needs none" } else { "of the user to this API" };
    steps.push(step("subscription", subscribed, why));
    let group = api.allowed_groups.iter().any(|group| who.groups.contains(group));
    steps.push(step(
        "group",
        group,
        format!("has {}; the API takes {}", list(&who.groups), list(&api.allowed_groups)),
    ));
    let role = api.allowed_roles.is_empty() || api.allowed_roles.contains(&who.role);
    let takes = if api.allowed_roles.is_empty() { "any".to_owned() } else { list(&api.allowed_roles) };
    steps.push(step("role", role, format!("has {}; the API takes {takes}", who.role)));
    chain(steps)
}

/// Whether a user's role is an administrator's.
pub(crate) fn administers(state: &State, user: &Row) -> bool {
    roles::is_admin(state, user.text("role"))
}

/// Whether somebody can give out rights: an administrator who may log in, with a role that may change roles.
fn administered(state: &State) -> bool {
    roles::admins(state).filter_map(|name| state.get("users", name)).any(|user| {
        let role = state.get("roles", user.text("role"));
        user.flag("active")
            && !user.flag("tokens_revoked")
            && role.is_some_and(|role| role.flag("manage_roles"))
    })
}

/// Whether a change takes the last one away who can give out rights, by whatever way.
pub(crate) fn locks_out(before: &State, after: &State, tables: &[&str]) -> bool {
    let touched = tables.iter().any(|table| ["users", "roles"].contains(table));
    touched && administered(before) && !administered(after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn row(value: &Value) -> Option<Arc<Row>> {
        value.as_object().cloned().map(Arc::new)
    }

    fn state(users: &[Value], roles: &[Value]) -> State {
        let mut state = State::default();
        for user in users {
            state.set("users", user["username"].as_str().unwrap(), row(user));
        }
        for role in roles {
            state.set("roles", role["role_name"].as_str().unwrap(), row(role));
        }
        state
    }

    #[test]
    fn the_last_who_gives_out_rights_stays() {
        let root = json!({"username": "root", "role": "admin", "active": true});
        let with = |field: &str, value: Value| {
            let mut user = root.clone();
            user[field] = value;
            user
        };
        let admin = json!({"role_name": "admin", "manage_roles": true});
        let own = json!({"role_name": "own", "manage_roles": true, "platform_admin": true});
        let before = state(std::slice::from_ref(&root), &[admin.clone(), own.clone()]);
        let user = json!({"username": "eva", "role": "own", "active": true});
        for (users, roles, locked) in [
            (vec![root.clone()], vec![admin.clone()], false),
            (vec![], vec![admin.clone()], true),
            (vec![with("active", json!(false))], vec![admin.clone()], true),
            (vec![with("tokens_revoked", json!(true))], vec![admin.clone()], true),
            (vec![with("role", json!("user"))], vec![admin.clone()], true),
            (vec![root.clone()], vec![json!({"role_name": "admin"})], true),
            (vec![root.clone()], vec![], true),
            (vec![user.clone()], vec![own.clone()], false),
            (vec![user.clone()], vec![json!({"role_name": "own", "manage_roles": true})], true),
        ] {
            let after = state(&users, &roles);
            assert_eq!(locks_out(&before, &after, &["users"]), locked, "{users:?} {roles:?}");
            assert!(!locks_out(&after, &after, &["roles"]), "it was so already");
            assert!(!locks_out(&before, &after, &["apis"]));
        }
    }

    proptest! {
        #[test]
        fn what_is_explained_is_what_is_decided(active: bool, revoked: bool, has: bool, known: bool, writes: bool, scope in 0usize..5) {
            let role = json!({"role_name": "r", "manage_apis": has});
            let state = state(&[], if known { std::slice::from_ref(&role) } else { &[] });
            let user = json!({"username": "ana", "role": "r", "active": active, "tokens_revoked": revoked});
            let user = row(&user).unwrap();
            let word = ["", "admin", "apis:read", "apis:write", "users:write"][scope];
            let scopes = Scopes::parse(vec![word.to_owned()]).ok();
            let wish = Wish { state: &state, user: &user, permission: "manage_apis", scopes: scopes.as_ref(), writes };
            let told = explain(&wish);
            prop_assert_eq!(told["allowed"].as_bool().unwrap(), allows(&wish));
            let through = match word {
                "" | "admin" | "apis:write" => true,
                "apis:read" => !writes,
                _ => false,
            };
            prop_assert_eq!(allows(&wish), active && !revoked && has && known && through);
            prop_assert_eq!(told["chain"].as_array().unwrap().len(), CHECKS.len());
        }
    }
}
