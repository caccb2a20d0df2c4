//! Users as they are declared, with their subscriptions, tier and credits. A password is declared by a reference or as a
//! hash; where neither is, the one that is there stays, and a new user cannot log in until there is one.

use super::document::Item;
use super::making::{Making, known, refused};
use super::shapes::ACCOUNT;
use crate::api::{addressable, users};
use crate::leases::{ACCOUNTS, GROUPS, groups};
use crate::schema;
use crate::state::{Fields as _, Row};
use crate::subjects::{credits, tiers, times};
use gatehouse_common::problem::Problem;
use serde_json::{Value, json};

const MORE: [&str; 5] = ["password", "password_hash", "subscriptions", "tier", "credits"];

impl Making<'_> {
    pub(super) fn user(&mut self, item: &Item) -> Result<(), Problem> {
        let fields = self.fields("users");
        known(&item.value, &fields, &MORE)?;
        let declared = schema::create(&fields, &Value::Object(item.value.clone()))?;
        let name = declared.text("username").to_owned();
        addressable(&name, users::TAKEN, "USR001", "username")?;
        let old = self.after.get("users", &name).cloned();
        let mut row = self.whole(("users", &name), &fields, declared);
        let before = old.as_ref().map(|old| old.text("password_hash").to_owned()).unwrap_or_default();
        let hash = match self.means.hashes.get(&name) {
            Some(hash) => hash.clone(),
            None if item.value.contains_key("password_hash") => item.value.text("password_hash").to_owned(),
            None => before.clone(),
        };
        if !hash.is_empty() && !hash.starts_with("$argon2") {
            return Err(refused("password_hash", "a hash of Argon2 in PHC form, as $argon2id$v=19$…"));
        }
        if old.is_none() || hash != before {
            let epoch = match &old {
                // An earlier user of this name may have left tokens that have not expired.
                None => self.means.now_ms,
                // Whoever held the old password holds no token any more.
                Some(old) => old.number("token_epoch") + 1,
            };
            row.extend([("password_hash".to_owned(), json!(hash)), ("token_epoch".to_owned(), json!(epoch))]);
        }
        self.put(&item.place, "users", &name, row)?;
        self.subscriptions(item, &name)?;
        self.tier(item, &name)?;
        self.credits(item, &name)
    }

    fn subscriptions(&mut self, item: &Item, name: &str) -> Result<(), Problem> {
        let Some(given) = item.value.get("subscriptions") else { return Ok(()) };
        let texts =
            given.as_array().and_then(|list| list.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
        let apis = texts.ok_or_else(|| refused("subscriptions", "a list of NAME/VERSION"))?;
        if let Some(api) = apis.iter().find(|api| self.after.get("apis", api).is_none()) {
            return Err(refused("subscriptions", &format!("an API that is there, not {api:?}")));
        }
        let mut row = Row::new();
        row.extend([("username".to_owned(), json!(name)), ("apis".to_owned(), json!(apis))]);
        self.put(&item.place, "subscriptions", name, row)
    }

    /// A tier that is in force already stays as it was assigned.
    fn tier(&mut self, item: &Item, name: &str) -> Result<(), Problem> {
        let Some(given) = item.value.get("tier") else { return Ok(()) };
        let tier = given.as_str().ok_or_else(|| refused("tier", "the id of a tier"))?;
        if !self.after.get("tiers", tier).is_some_and(|tier| tier.flag("enabled")) {
            return Err(refused("tier", &format!("a tier that is there and enabled, not {tier:?}")));
        }
        let now_ms = self.means.now_ms;
        let old = self.after.get("assignments", name).cloned();
        let now = old.as_deref().and_then(|old| tiers::in_force(old, now_ms));
        if let (Some(old), true) = (&old, now.is_some_and(|now| now.text("tier_id") == tier)) {
            return self.put(&item.place, "assignments", name, Row::clone(old));
        }
        let mut row = schema::create(tiers::ASSIGNMENT, &json!({"user_id": name, "tier_id": tier}))?;
        let now = json!(times::text(now_ms));
        row.extend(["effective_from", "assigned_at"].map(|field| (field.to_owned(), now.clone())));
        row.insert("assigned_by".to_owned(), json!("config"));
        self.put(&item.place, "assignments", name, row)
    }

    /// An account that is there in the same tier keeps what is left in it: the number declared is what it begins with.
    fn credits(&mut self, item: &Item, name: &str) -> Result<(), Problem> {
        let Some(given) = item.value.get("credits") else { return Ok(()) };
        let given = given.as_object().ok_or_else(|| refused("credits", "accounts by credit group"))?;
        let old = self.after.get(ACCOUNTS, name).cloned().unwrap_or_default();
        let mut accounts = Row::new();
        for (group, account) in given {
            let object =
                account.as_object().ok_or_else(|| refused(&format!("credits.{group}"), "an account"))?;
            known(object, ACCOUNT, &[])?;
            let declared = schema::create(ACCOUNT, account)?;
            let there = groups(&old).and_then(|groups| groups.get(group)?.as_object());
            let kept = there.filter(|there| there.text("tier_name") == declared.text("tier_name")).cloned();
            let place = credits::user_place(name, group);
            let key = match declared.get(credits::USER_KEY).and_then(Value::as_str) {
                Some(reference) => {
                    let old = there.and_then(|there| there.get(credits::USER_KEY));
                    self.sealed(&place, reference, old)?
                }
                None => there.and_then(|there| there.get(credits::USER_KEY)).cloned().unwrap_or(Value::Null),
            };
            let mut account = match kept {
                Some(kept) => kept,
                None => self.opened(name, group, &declared)?,
            };
            account.insert(credits::USER_KEY.to_owned(), key);
            accounts.insert(group.clone(), Value::Object(account));
        }
        let mut row = Row::new();
        row.extend([("username".to_owned(), json!(name)), (GROUPS.to_owned(), Value::Object(accounts))]);
        self.put(&item.place, ACCOUNTS, name, row)
    }

    /// A new account, with the number that it begins with.
    fn opened(&mut self, name: &str, group: &str, declared: &Row) -> Result<Row, Problem> {
        let field = format!("credits.{group}");
        if self.after.get(credits::DEFINITIONS, group).is_none() {
            return Err(refused(&field, "a credit group that is there"));
        }
        let account = json!({"tier_name": declared.get("tier_name"),
                             "available_credits": declared.get("available_credits")});
        let given = Row::from_iter([(group.to_owned(), account)]);
        let (sealer, secs) = (self.means.sealer, self.means.now_ms / 1_000);
        let mut made = credits::accounts(sealer, &self.after, name, &given, secs)?;
        self.settles.push((name.to_owned(), group.to_owned()));
        let account = made.remove(group).and_then(|account| account.as_object().cloned());
        account.ok_or_else(|| refused(&field, "an account"))
    }
}
