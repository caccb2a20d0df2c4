//! Reads merged text as types, and gathers what is wrong with it.

use super::secrets;
use super::signing::SigningKey;
use super::{Merged, Value};
use crate::upstreams::DNS_PORT;
use gatehouse_common::secret::Secret;
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

/// The settings that are being read, and what was wrong so far.
pub(super) struct Reader<'a> {
    pub(super) merged: &'a Merged,
    pub(super) problems: Vec<String>,
}

impl Reader<'_> {
    fn value(&self, name: &str) -> Value {
        let none = || Value { text: String::new(), source: "nowhere".to_owned() };
        self.merged.get(name).cloned().unwrap_or_else(none)
    }

    pub(super) fn text(&self, name: &str) -> String {
        self.value(name).text
    }

    pub(super) fn optional(&self, name: &str) -> Option<String> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    pub(super) fn list(&self, name: &str) -> Vec<String> {
        let text = self.text(name);
        text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }

    pub(super) fn problem(&mut self, name: &str, expected: impl Display) {
        let value = self.value(name);
        let secret = super::table::named(name).is_some_and(|setting| setting.secret);
        let shown =
            if secret { gatehouse_common::secret::MASK.to_owned() } else { format!("{:?}", value.text) };
        self.problems.push(format!("{name} = {shown} ({}): {expected}", value.source));
    }

    pub(super) fn number<T: FromStr + Default + PartialOrd + Display + Copy>(
        &mut self,
        name: &str,
        low: T,
        high: T,
    ) -> T {
        let expected = format!("expected a whole number from {low} to {high}");
        let value: T = match self.text(name).trim().parse() {
            Ok(value) => value,
            Err(_) => {
                self.problem(name, expected);
                return low;
            }
        };
        if value < low || value > high {
            self.problem(name, expected);
        }
        value
    }

    /// Seconds, a day at most.
    pub(super) fn seconds(&mut self, name: &str) -> Duration {
        Duration::from_secs(self.number(name, 0, 86_400))
    }

    pub(super) fn flag(&mut self, name: &str) -> bool {
        match self.text(name).trim().to_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => true,
            "false" | "0" | "no" | "off" => false,
            _ => {
                self.problem(name, "expected true or false");
                false
            }
        }
    }

    pub(super) fn one_of(&mut self, name: &str, allowed: &[&str]) -> String {
        let text = self.text(name).trim().to_lowercase();
        if !allowed.contains(&text.as_str()) {
            self.problem(name, format!("expected one of {}", allowed.join(", ")));
        }
        text
    }

    pub(super) fn dns_servers(&mut self) -> Vec<SocketAddr> {
        let text = self.text("dns_servers");
        let mut servers = Vec::new();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let alone = word.parse().map(|address: IpAddr| SocketAddr::new(address, DNS_PORT));
            match word.parse().or(alone) {
                Ok(server) => servers.push(server),
                Err(_) => {
                    self.problem("dns_servers", "expected ADDRESS or ADDRESS:PORT, with commas between")
                }
            }
        }
        servers
    }

    pub(super) fn signing_keys(&mut self) -> Vec<SigningKey> {
        let Some(text) = self.optional("signing_keys") else { return Vec::new() };
        super::signing::keys(&text).unwrap_or_else(|why| {
            self.problem("signing_keys", why);
            Vec::new()
        })
    }

    pub(super) fn key(&mut self, name: &str) -> Option<Secret<String>> {
        let text = self.optional(name)?;
        if let Some(why) = secrets::weakness(&text) {
            self.problem(name, why);
        }
        Some(Secret::new(text))
    }
}
