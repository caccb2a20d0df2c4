//! One consumer, ready to be asked.

use crate::policies::rate_limit::Limiter;
use crate::policies::tier::Limits;
use gatehouse_corridor::snapshot::Consumer;
use http::header::HeaderValue;
use std::sync::Arc;

/// A consumer.
pub(crate) struct Who {
    pub(crate) consumer: Arc<Consumer>,
    /// The name, as upstreams get it; `None` if no field can hold it.
    pub(crate) name: Option<HeaderValue>,
    pub(crate) limiter: Option<Arc<Limiter>>,
    pub(crate) tier: Option<Limits>,
}

impl Who {
    /// Compiles a consumer. A limiter whose rate did not change goes on where it stood.
    ///
    /// # Errors
    /// What its tier is not.
    pub(crate) fn compile(consumer: &Arc<Consumer>, before: Option<&Self>) -> Result<Self, String> {
        let old = before.and_then(|who| who.limiter.as_ref());
        let limiter = consumer.rate.map(|rate| match old {
            Some(old) if old.rate == rate => Arc::clone(old),
            _ => Arc::new(Limiter::new(rate)),
        });
        Ok(Self {
            name: HeaderValue::from_str(consumer.id.as_str()).ok(),
            limiter,
            tier: consumer.tier.as_deref().map(Limits::compile).transpose()?,
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
