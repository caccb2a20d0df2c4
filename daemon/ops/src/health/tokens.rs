//! Which tokens end soon? A token without a person behind it fails silently when its time is over (spec/agnes.md 6.3).

use super::{Sight, ill, item};
use gatehouse_common::health::{HealthItem, Severity};
use gatehouse_common::ops::entities::Token;
use gatehouse_corridor::actor::Actor;
use gatehouse_corridor::command::Command;
use gatehouse_corridor::permission::grant;

const DAY_MS: i64 = 86_400_000;
/// Days before its end at which a token is told of; at each the item changes.
const DAYS: [i64; 3] = [1, 3, 14];
/// Tokens named in one item.
const NAMED: usize = 3;

pub(crate) async fn look(sight: &Sight<'_>) -> Vec<HealthItem> {
    let read = grant(&Actor::System).read;
    match sight.world.control.ask(|reply| Command::Tokens(read, reply)).await {
        Ok(tokens) => told(&tokens, sight.world.clock.unix_ms()),
        Err(problem) => vec![item("TOKENS", Severity::Unknown, problem.detail)],
    }
}

/// An item for each of the days that some token ends within, the nearest first.
fn told(tokens: &[Token], now_ms: i64) -> Vec<HealthItem> {
    let within = |token: &&Token| {
        let left = token.expires_unix_ms.filter(|_| token.revoked_unix_ms.is_none())?.checked_sub(now_ms)?;
        DAYS.into_iter().find(|days| left > 0 && left <= days * DAY_MS)
    };
    let mut items = Vec::new();
    for days in DAYS {
        let ending: Vec<&Token> = tokens.iter().filter(|token| within(token) == Some(days)).collect();
        if ending.is_empty() {
            continue;
        }
        let names = ending.iter().take(NAMED).map(|token| format!("{} of {}", token.name, token.consumer));
        let more = if ending.len() > NAMED { ", …" } else { "" };
        let names = names.collect::<Vec<_>>().join(", ");
        let summary = format!("{} within {days} d: {names}{more}", ending.len());
        let remedy = "Make a new token in each one's place, and revoke the old one.";
        items.push(ill(&format!("TOKENS-END-{days}D"), Severity::Warning, summary, remedy));
    }
    match items.is_empty() {
        true => vec![item("TOKENS", Severity::Ok, "no token ends within 14 d".to_owned())],
        false => items,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatehouse_common::ids::{ConsumerId, TokenId};

    #[test]
    fn what_ends_soon_is_told_and_what_has_ended_is_not() {
        let token = |name: &str, left: Option<i64>, revoked: bool| Token {
            id: TokenId::from(name),
            consumer: ConsumerId::from("ana"),
            name: name.to_owned(),
            prefix: String::new(),
            created_unix_ms: 0,
            expires_unix_ms: left.map(|left| 1_000 + left),
            revoked_unix_ms: revoked.then_some(1),
        };
        let codes = |tokens: &[Token]| {
            let items = told(tokens, 1_000);
            items.into_iter().map(|item| (item.code, item.summary)).collect::<Vec<_>>()
        };
        let quiet = [
            token("never", None, false),
            token("far", Some(14 * DAY_MS + 1), false),
            token("over", Some(0), false),
            token("revoked", Some(5), true),
        ];
        assert_eq!(codes(&quiet)[0].0, "TOKENS");
        let soon = [
            token("a", Some(DAY_MS), false),
            token("b", Some(DAY_MS + 1), false),
            token("c", Some(1), false),
        ];
        let found = codes(&soon);
        assert_eq!(found[0], ("TOKENS-END-1D".to_owned(), "2 within 1 d: a of ana, c of ana".to_owned()));
        assert_eq!(found[1].0, "TOKENS-END-3D");
        let many: Vec<_> = (0..9).map(|one| token(&one.to_string(), Some(9 * DAY_MS), false)).collect();
        assert!(codes(&many)[0].1.starts_with("9 within 14 d") && codes(&many)[0].1.ends_with('…'));
    }
}
