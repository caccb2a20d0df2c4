//! One consumer, ready to be asked.

use crate::policies::rate_limit::Limiter;
use crate::policies::tier::Limits;
use crate::prepare::route::{Wrong, at};
use gatehouse_corridor::snapshot::Consumer;
use http::header::HeaderValue;
use std::sync::Arc;

/// A consumer.
pub(crate) struct Who {
    pub(crate) consumer: Arc<Consumer>,
    /// The name, as upstreams get it: its bytes, in UTF-8.
    pub(crate) name: HeaderValue,
    pub(crate) limiter: Option<Arc<Limiter>>,
    pub(crate) tier: Option<Limits>,
}

impl Who {
    /// Compiles a consumer. A limiter whose rate did not change goes on where it stood.
    ///
    /// # Errors
    /// A name that no field can hold as it is, or what its tier is not.
    pub(crate) fn compile(consumer: &Arc<Consumer>, before: Option<&Self>) -> Result<Self, Wrong> {
        let old = before.and_then(|who| who.limiter.as_ref());
        let limiter = consumer.rate.map(|rate| match old {
            Some(old) if old.rate == rate => Arc::clone(old),
            _ => Arc::new(Limiter::new(rate)),
        });
        // A blank at an end is lost on the way, and the name would be another's.
        let name = Some(consumer.id.as_str()).filter(|name| name.trim_matches([' ', '\t']) == *name);
        let name = name.and_then(|name| HeaderValue::from_bytes(name.as_bytes()).ok());
        let expected = || at("username")("expected no control character and no blank at an end".to_owned());
        Ok(Self {
            name: name.ok_or_else(expected)?,
            limiter,
            tier: consumer.tier.as_deref().map(Limits::compile).transpose().map_err(at("tier"))?,
            consumer: Arc::clone(consumer),
        })
    }

    /// Whether it may show itself at all.
    pub(crate) fn alive(&self) -> bool {
        self.consumer.active && !self.consumer.revoked
    }

    /// Whether it is subscribed to `name/version`, or need not be.
    pub(crate) fn subscribed(&self, route: &str) -> bool {
        self.consumer.subscription_exempt || self.consumer.subscriptions.iter().any(|one| one == route)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_goes_upstream_as_it_is_or_not_at_all() {
        for (name, fits) in [
            ("ana", true),
            ("J\u{fc}rgen", true),
            ("\u{6771}\u{4eac} 1", true),
            (" ana", false),
            ("ana\t", false),
            ("a\r\nx-y: 1", false),
            ("a\u{7f}", false),
        ] {
            let consumer = Arc::new(Consumer { id: name.into(), ..Consumer::default() });
            match Who::compile(&consumer, None) {
                Ok(who) => assert!(fits && who.name.as_bytes() == name.as_bytes(), "{name:?}"),
                Err(wrong) => assert!(!fits && wrong.field == "username", "{name:?} {wrong:?}"),
            }
        }
    }
}
