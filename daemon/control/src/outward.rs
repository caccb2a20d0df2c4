//! Questions to servers elsewhere that an operator named: certificates are checked by the system's roots, redirects are not
//! followed, time and size of an answer are bounded.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::time::Duration;

/// Longest time for an answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Largest answer.
const ANSWER_BYTES: usize = 262_144;

/// Asks.
pub(crate) struct Outward(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl Outward {
    /// # Errors
    /// When the system's roots cannot be read.
    pub(crate) fn new() -> Result<Self, std::io::Error> {
        let connector =
            HttpsConnectorBuilder::new().with_native_roots()?.https_or_http().enable_http1().build();
        // A question now and then: no connection is worth keeping.
        Ok(Self(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector)))
    }

    /// The answer to a question, whatever its status.
    ///
    /// # Errors
    /// In words; nothing of the question is in them.
    pub(crate) async fn ask(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), String> {
        let asked = async {
            let answer = self.0.request(request).await.map_err(|error| chain(&error))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await;
            Ok((status, body.map_err(|error| chain(&*error))?.to_bytes()))
        };
        tokio::time::timeout(ANSWER, asked).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
    }
}

/// An error with what is behind it: the outermost one mostly says nothing.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
