//! What upstreams say about themselves (spec/doorman.md 4.15): fetched from where an API says, shown, made endpoints of.

mod graphql;
mod grpc;
mod openapi;
mod wsdl;

use super::{Outcome, part};
use crate::Inner;
use crate::egress::{self, ANSWER_BYTES, Ask, EgressError};
use crate::envelope::Reply;
use crate::session::{Caller, caller};
use crate::state::{Fields as _, Row, State};
use crate::subjects::discovery::importing::{self, Wanted, gone};
use actix_web::HttpRequest;
use actix_web::web::{Bytes, ServiceConfig};
use gatehouse_common::problem::{Code, Problem};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Servers of an API that are asked, one after the other, until one answers.
const SERVERS: usize = 3;

pub(super) fn routes(config: &mut ServiceConfig) {
    openapi::routes(config);
    wsdl::routes(config);
    graphql::routes(config);
    grpc::routes(config);
}

/// Permission of what is read and fetched, and of what makes endpoints.
const READS: &str = "manage_apis";
const IMPORTS: &str = "manage_endpoints";

/// The caller, who may.
fn permitted(control: &Inner, request: &HttpRequest, permission: &str) -> Result<Caller, Problem> {
    let caller =
        caller(control, request).map_err(|problem| Problem::compat(401, "AUTHN001", problem.detail))?;
    caller.needs(permission, "AUTHZ001")?;
    Ok(caller)
}

/// A caller who may, and the API that the path names.
struct Asked {
    caller: Caller,
    key: String,
    api: Arc<Row>,
}

fn asked(control: &Inner, request: &HttpRequest, permission: &str) -> Result<Asked, Problem> {
    let caller = permitted(control, request, permission)?;
    let key = format!("{}/{}", part(request, "name"), part(request, "version"));
    let api = Arc::clone(caller.state.get("apis", &key).ok_or_else(gone)?);
    Ok(Asked { caller, key, api })
}

/// A kind of document: where it is, and the codes of what may be missing.
struct Kind {
    name: &'static str,
    field: &'static str,
    /// Where it is if the API does not say.
    usual: Option<&'static str>,
    no_url: &'static str,
    no_servers: &'static str,
    accept: &'static str,
    /// Posted, as JSON; else it is fetched.
    question: Option<&'static str>,
}

/// A text that was fetched.
struct Found {
    text: Bytes,
    url: String,
    cached: bool,
}

/// URLs that a document may be at: the API's own, or its path behind each server.
fn urls(api: &Row, kind: &Kind) -> Result<Vec<String>, Problem> {
    let missing = |code: &str, text: String| Err(Problem::compat(404, code, text));
    let own = Some(api.text(kind.field)).filter(|url| !url.is_empty()).or(kind.usual);
    let Some(own) = own else { return missing(kind.no_url, format!("{}: the API has none", kind.field)) };
    if own.contains("://") {
        return Ok(vec![own.to_owned()]);
    }
    let servers = api.list("api_servers");
    let web: Vec<_> = servers.iter().filter(|server| server.starts_with("http")).take(SERVERS).collect();
    if web.is_empty() {
        return missing(kind.no_servers, "api_servers: the API has none of http or https".to_owned());
    }
    let whole = |server: &String| format!("{}/{}", server.trim_end_matches('/'), own.trim_start_matches('/'));
    Ok(web.into_iter().map(whole).collect())
}

/// A document of an API: as it was kept, or fetched. What does not read as such a document is not kept and not shown.
async fn found<T: Send + 'static>(
    control: &Inner,
    api: &Row,
    kind: &Kind,
    fresh: bool,
    read: fn(&[u8]) -> Result<T, String>,
) -> Result<(T, Found), Failure> {
    let urls = urls(api, kind).map_err(Failure::Missing)?;
    let key = |url: &str| format!("{} {} {url}", kind.name, api.text("api_id"));
    let now_ms = control.clock.unix_ms();
    if !fresh {
        let kept = urls.iter().find_map(|url| Some((url, control.documents.get(&key(url), now_ms)?)));
        if let Some((url, text)) = kept {
            let found = Found { text: text.clone(), url: url.clone(), cached: true };
            return Ok((control.documents.read(text, read).await.map_err(Failure::Read)?, found));
        }
    }
    let named: Vec<_> = api.list("api_servers").iter().filter_map(|server| egress::place(server)).collect();
    let allow = control.config();
    let mut last = None;
    for url in urls {
        let body = |question| Bytes::from(json!({ "query": question }).to_string());
        let post = kind.question.map(|question| ("application/json", body(question)));
        let ask = Ask {
            url: &url,
            accept: kind.accept,
            post,
            authorization: None,
            most: ANSWER_BYTES,
            named: &named,
        };
        match control.egress.ask(&allow.egress_allow, ask).await {
            Ok(answer) => {
                let document =
                    control.documents.read(answer.body.clone(), read).await.map_err(Failure::Read)?;
                control.documents.put(key(&url), answer.body.clone(), now_ms);
                return Ok((document, Found { text: answer.body, url, cached: false }));
            }
            Err(error) => {
                tracing::info!(target: "egress", kind = kind.name, api = api.text("api_path"), %error, "no document");
                last = Some(error);
            }
        }
    }
    Err(last.map_or(Failure::Missing(gone()), Failure::Fetch))
}

/// Why there is no document.
enum Failure {
    /// The API does not say where it is.
    Missing(Problem),
    Fetch(EgressError),
    /// What was fetched is none.
    Read(String),
}

impl Failure {
    /// The answer, by the codes of what was not had and of what was not understood.
    fn problem(self, not_had: (u16, &str), not_read: &str) -> Problem {
        match self {
            Self::Missing(problem) => problem,
            Self::Fetch(error) => Problem::compat(not_had.0, not_had.1, error.to_string()),
            Self::Read(why) => Problem::compat(400, not_read, format!("what the upstream answered: {why}")),
        }
    }
}

/// Reads the body of a request as a document.
async fn given<T: Send + 'static>(
    control: &Inner,
    body: &Bytes,
    code: &str,
    read: fn(&[u8]) -> Result<T, String>,
) -> Result<T, Problem> {
    let done = control.documents.read(body.clone(), read).await;
    done.map_err(|why| Problem::compat(400, code, format!("body: {why}")).at("body"))
}

/// Makes the endpoints that a document asks for; what the answer begins with is `told`.
async fn import(control: &Inner, asked: &Asked, wanted: Vec<Wanted>, mut told: Row) -> Outcome {
    let (tell, hear) = oneshot::channel();
    let key = asked.key.clone();
    let make = move |state: &State, caller: &Caller| {
        caller.needs(IMPORTS, "AUTHZ001")?;
        let (draft, outcome) = importing::draft(state, &key, &wanted)?;
        let nothing = outcome.imported == 0;
        // Only a caller who has gone away does not hear.
        drop(tell.send(outcome));
        if nothing { Err(Problem::compat(200, "", "nothing to import")) } else { Ok(draft) }
    };
    match asked.caller.submit(control, make).await {
        Err(problem) if problem.status != 200 => return Err(problem),
        _ => {}
    }
    let lost = |_| Problem::new(Code::Internal, "the outcome of the import was lost");
    let outcome = hear.await.map_err(lost)?;
    told.insert("message".to_owned(), json!(format!("{} endpoints imported", outcome.imported)));
    outcome.told(&mut told);
    Ok(Reply::Data(200, Value::Object(told)))
}

/// Pairs to the beginning of an answer.
fn begun<const N: usize>(pairs: [(&str, Value); N]) -> Row {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
