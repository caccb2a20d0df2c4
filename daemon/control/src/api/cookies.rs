//! Cookies of a session (spec/doorman.md 2.2): the token, which scripts cannot read, and the value that pages send with
//! changes, which they can.

use crate::Inner;
use crate::config::ControlConfig;
use crate::session::COOKIE;
use crate::subjects::csrf;
use actix_web::cookie::{Cookie, SameSite, time::Duration};
use actix_web::{HttpRequest, HttpResponse};

/// Cookie of a login that has begun at the provider, and its life, seconds.
const BEGUN: &str = "gatehouse_login";
const BEGUN_SECS: i64 = 600;

/// Where the cookies of an answer belong.
struct Place {
    secure: bool,
    domain: Option<String>,
}

impl Place {
    fn of(config: &ControlConfig, request: &HttpRequest) -> Self {
        let field = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
        // Whoever lies about this only keeps their own cookie from a plain connection.
        let told = field("x-forwarded-proto").and_then(|list| list.split(',').next_back());
        let secure = config.cookie_secure || told.is_some_and(|proto| proto.trim() == "https");
        let host = request.connection_info().host().to_ascii_lowercase();
        Self { secure, domain: config.cookie_domain.as_deref().and_then(|own| domain(own, &host)) }
    }
}

/// The domain, if it is one that the host lies in: a browser refuses cookies of another, and the login with them.
fn domain(own: &str, host: &str) -> Option<String> {
    let own = own.trim_start_matches('.').to_ascii_lowercase();
    let host =
        host.rsplit_once(':').map_or(host, |(name, port)| match port.bytes().all(|b| b.is_ascii_digit()) {
            true => name,
            false => host,
        });
    let within = host == own || host.strip_suffix(own.as_str()).is_some_and(|rest| rest.ends_with('.'));
    (own.contains('.') && within).then_some(own)
}

fn cookie<'c>(
    config: &ControlConfig,
    place: &Place,
    name: &'c str,
    (value, secs): (String, i64),
) -> Cookie<'c> {
    let same_site = match config.cookie_samesite.as_str() {
        "lax" => SameSite::Lax,
        // Browsers refuse None without Secure.
        "none" if place.secure => SameSite::None,
        "none" => SameSite::Lax,
        _ => SameSite::Strict,
    };
    let mut cookie = Cookie::new(name, value);
    cookie.set_path("/");
    cookie.set_max_age(Duration::seconds(secs));
    cookie.set_same_site(same_site);
    cookie.set_secure(place.secure);
    cookie.set_http_only(name == COOKIE);
    if let Some(domain) = &place.domain {
        cookie.set_domain(domain.clone());
    }
    cookie
}

fn add(response: &mut HttpResponse, cookie: &Cookie<'_>) {
    if let Err(error) = response.add_cookie(cookie) {
        tracing::error!(target: "authorization", %error, "cookie not set");
    }
}

/// Sets both for a token of a session, for as long as the token lives, seconds.
pub(crate) fn set(
    control: &Inner,
    request: &HttpRequest,
    response: &mut HttpResponse,
    (token, session): (&str, &str),
    secs: i64,
) {
    let config = control.config();
    let place = Place::of(&config, request);
    add(response, &cookie(&config, &place, COOKIE, (token.to_owned(), secs)));
    add(response, &cookie(&config, &place, csrf::COOKIE, (csrf::value(&config, session), secs)));
}

/// Removes both.
pub(crate) fn clear(control: &Inner, request: &HttpRequest, response: &mut HttpResponse) {
    let config = control.config();
    let place = Place::of(&config, request);
    for name in [COOKIE, csrf::COOKIE] {
        add(response, &cookie(&config, &place, name, (String::new(), 0)));
    }
}

/// Keeps the state of a login that has begun at the provider; it comes back from another site, so Lax at most.
pub(crate) fn begin(control: &Inner, request: &HttpRequest, response: &mut HttpResponse, state: &str) {
    add(response, &begun_cookie(control, request, (state.to_owned(), BEGUN_SECS)));
}

/// Forgets it.
pub(crate) fn begun(control: &Inner, request: &HttpRequest, response: &mut HttpResponse) {
    add(response, &begun_cookie(control, request, (String::new(), 0)));
}

/// The state that this browser keeps.
pub(crate) fn state(request: &HttpRequest) -> Option<String> {
    request.cookie(BEGUN).map(|cookie| cookie.value().to_owned())
}

fn begun_cookie(control: &Inner, request: &HttpRequest, kept: (String, i64)) -> Cookie<'static> {
    let config = control.config();
    let mut cookie = cookie(&config, &Place::of(&config, request), BEGUN, kept);
    cookie.set_same_site(SameSite::Lax);
    cookie.set_http_only(true);
    cookie.set_path("/auth/oidc");
    cookie
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::config;
    use actix_web::test::TestRequest;
    use std::path::Path;

    #[test]
    fn a_domain_counts_where_the_host_lies_in_it() {
        for (own, host, wanted) in [
            ("example.org", "example.org", Some("example.org")),
            ("example.org", "Gate.Example.org:8080", Some("example.org")),
            (".Example.org", "gate.example.org", Some("example.org")),
            ("example.org", "badexample.org", None),
            ("example.org", "example.org.evil", None),
            ("org", "example.org", None),
            ("localhost", "localhost", None),
            ("example.org", "", None),
        ] {
            assert_eq!(domain(own, &host.to_ascii_lowercase()).as_deref(), wanted, "{own} {host}");
        }
    }

    #[test]
    fn flags_follow_settings_and_connection() {
        for (samesite, secure, proto, wanted) in [
            ("strict", false, "", "SameSite=Strict; Path=/; Max-Age=5"),
            ("strict", true, "", "SameSite=Strict; Secure; Path=/; Max-Age=5"),
            ("lax", false, "https", "SameSite=Lax; Secure; Path=/; Max-Age=5"),
            ("none", false, "http", "SameSite=Lax; Path=/; Max-Age=5"),
            ("none", false, "http, https", "SameSite=None; Secure; Path=/; Max-Age=5"),
        ] {
            let config = ControlConfig {
                cookie_samesite: samesite.to_owned(),
                cookie_secure: secure,
                ..config(Path::new("/none"))
            };
            let request =
                TestRequest::default().insert_header(("x-forwarded-proto", proto)).to_http_request();
            let place = Place::of(&config, &request);
            let made = |name| cookie(&config, &place, name, ("v".to_owned(), 5)).to_string();
            assert_eq!(made(COOKIE), format!("{COOKIE}=v; HttpOnly; {wanted}"));
            assert_eq!(made(csrf::COOKIE), format!("{}=v; {wanted}", csrf::COOKIE));
        }
    }
}
