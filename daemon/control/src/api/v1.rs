//! THE LIST of what the surface below `/api/v1` has (spec/octoprox.md), with its login form. All of it is served at the
//! root and below `/app`.

pub(crate) mod answers;
pub(crate) mod audit;
pub(crate) mod auth;
pub(crate) mod credential;
pub(crate) mod database;
pub(crate) mod gate;
pub(crate) mod introspect;
pub(crate) mod keys;
pub(crate) mod pages;
pub(crate) mod users;

use super::health;
use crate::subjects::windows::Windows;
use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};

/// What this surface remembers between requests.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    /// Requests, by class and by who asks.
    pub(crate) requests: Windows,
    /// Logins that failed, by address and by name.
    pub(crate) failures: Windows,
}

/// What a handler gives.
pub(crate) type Outcome = super::Outcome;

/// A resource: `GET`, `POST`, … to handlers of the shape `fn(&Data<Inner>, &HttpRequest, &Bytes) -> Outcome`, with 405 for
/// the rest.
#[macro_export]
macro_rules! versioned {
    ($config:expr, $path:literal, $($method:ident => $handler:path),+ $(,)?) => {
        $crate::whole_versioned!($config, $path, $($method =>
            |control: actix_web::web::Data<$crate::Inner>,
             request: actix_web::HttpRequest,
             body: Result<actix_web::web::Bytes, actix_web::Error>| async move {
                let outcome = match body {
                    Ok(body) => $handler(&control, &request, &body).await,
                    Err(error) => Err($crate::api::unreadable(&error)),
                };
                $crate::api::v1::answers::answer($crate::envelope::settled(&control, &request, outcome))
            }
        ),+)
    };
}

/// As [`versioned`], to handlers that take what actix extracts and make the whole answer. A trailing slash is for `gate.rs`.
#[macro_export]
macro_rules! whole_versioned {
    ($config:expr, $path:literal, $($method:ident => $handler:expr),+ $(,)?) => {
        $crate::mounts!(
            $config,
            [$path],
            || async { $crate::api::v1::answers::wrong_method(&[$(stringify!($method)),+]) },
            $($method => $handler),+
        )
    };
}

/// Below the root, and below `/app`.
pub(crate) fn routes(config: &mut ServiceConfig) {
    mount(config);
    let unknown = web::to(answers::unknown);
    config.service(web::scope("/app").configure(mount).default_service(unknown));
}

/// Scopes, so that what the gateway carries passes few patterns.
fn mount(config: &mut ServiceConfig) {
    let scope = |path: &str| web::scope(path).wrap(from_fn(gate::gate));
    let surface = scope("/api/v1")
        .configure(users::routes)
        .configure(keys::routes)
        .configure(auth::routes)
        .configure(introspect::routes)
        .configure(database::routes)
        .configure(audit::routes)
        .configure(health::versioned);
    config.service(surface.default_service(web::to(answers::unknown)));
    for (path, routes) in [
        ("/health", health::plain as fn(&mut ServiceConfig)),
        ("/login", pages::login),
        ("/logout", pages::logout),
        ("/internal", introspect::internal),
    ] {
        config.service(scope(path).configure(routes).default_service(web::to(answers::unknown)));
    }
}
