//! Login at a real OpenID provider: `oidc-provider-mock` from PyPI, which speaks the protocol by authlib.
//! `packaging/setup.sh` installs it.

use gatehouse_tests::daemon::{Daemon, PASSWORD};
use gatehouse_tests::root;
use gatehouse_tests::wait::eventually;
use serde_json::{Value, json};
use std::process::{Child, Command, Stdio};

/// Where the provider sends browsers; the test goes to the daemon's own port instead.
const PUBLIC: &str = "http://gate.example";

/// The provider; ended with the test.
struct Provider {
    child: Child,
    url: String,
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Provider {
    fn start(users: &[Value]) -> Self {
        let program = root().join("target/oidc/bin/oidc-provider-mock");
        assert!(program.exists(), "{} is missing: run packaging/setup.sh", program.display());
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(program);
        command.args(["--port", &port.to_string(), "--require-nonce", "true"]);
        for user in users {
            command.args(["--user-claims", &user.to_string()]);
        }
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let provider = Self { child, url: format!("http://127.0.0.1:{port}") };
        let place = format!("{}/.well-known/openid-configuration", provider.url);
        eventually("the provider to answer", || ask("GET", &place, "", None)).unwrap();
        provider
    }
}

struct Heard {
    status: u16,
    location: String,
    cookies: Vec<String>,
    body: String,
}

/// One request as a browser makes it, redirects left to the test.
fn ask(method: &str, url: &str, cookie: &str, form: Option<&str>) -> Result<Heard, ureq::Error> {
    let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).max_redirects(0);
    let agent = config.max_redirects_will_error(false).build().new_agent();
    let request = ureq::http::Request::builder()
        .method(method)
        .uri(url)
        .header("cookie", cookie)
        .header("accept", "application/json")
        .header("content-type", "application/x-www-form-urlencoded");
    let mut response = match form {
        Some(form) => agent.run(request.body(form.to_owned())?)?,
        None => agent.run(request.body(())?)?,
    };
    let texts = |name: &str| {
        let values = response.headers().get_all(name).iter();
        values.filter_map(|value| value.to_str().ok()).map(str::to_owned).collect::<Vec<_>>()
    };
    let (location, cookies) = (texts("location").pop().unwrap_or_default(), texts("set-cookie"));
    let body = response.body_mut().read_to_string()?;
    Ok(Heard { status: response.status().as_u16(), location, cookies, body })
}

/// Begins at the gateway: where the browser is sent to, and the cookie that it keeps.
fn begin(daemon: &Daemon) -> (String, String) {
    let heard = ask("GET", &format!("{}/auth/oidc/login", daemon.url), "", None).unwrap();
    assert_eq!(heard.status, 303, "{}", heard.body);
    let cookie = heard.cookies.iter().find(|line| line.starts_with("gatehouse_login=")).unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    (heard.location, cookie.split(';').next().unwrap().to_owned())
}

/// Where the provider sends somebody back to.
fn vouched(daemon: &Daemon, place: &str, subject: &str) -> String {
    let heard = ask("POST", place, "", Some(&format!("sub={subject}"))).unwrap();
    assert_eq!(heard.status, 302, "{}", heard.body);
    heard.location.replacen(PUBLIC, &daemon.url, 1)
}

fn enter(daemon: &Daemon, subject: &str) -> (u16, Value) {
    let (place, cookie) = begin(daemon);
    let heard = ask("GET", &vouched(daemon, &place, subject), &cookie, None).unwrap();
    (heard.status, serde_json::from_str(&heard.body).unwrap_or_default())
}

#[test]
fn who_the_provider_vouches_for_comes_in_with_the_role_of_their_group() {
    let user = |sub: &str, name: &str, groups: Value| json!({"sub": sub, "email": format!("{name}@x.org"), "preferred_username": name, "groups": groups});
    let provider = Provider::start(&[
        user("s1", "olga", json!(["others", "staff"])),
        user("s2", "boss", json!(["chiefs"])),
        user("s3", "nobody", json!([])),
        user("s4", "admin", json!(["staff"])),
    ]);
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(
        folder.path(),
        &[
            ("PUBLIC_BASE_URL", PUBLIC),
            ("GATEHOUSE_OIDC_ISSUER", &provider.url),
            ("GATEHOUSE_OIDC_CLIENT_ID", "gatehouse"),
            ("GATEHOUSE_OIDC_CLIENT_SECRET", "a secret of the client"),
            ("GATEHOUSE_OIDC_ROLES", "chiefs=admin, staff=user"),
            ("GATEHOUSE_REQUIRE_TOTP_FOR_ADMINS", "true"),
        ],
    )
    .unwrap();
    let (status, entered) = enter(&daemon, "s1");
    assert_eq!((status, &entered["role"]), (200, &json!("user")), "{entered}");
    let me = |token: &Value| daemon.call("GET", "/platform/user/me", token.as_str().unwrap(), None).unwrap();
    let (_, olga) = me(&entered["access_token"]);
    assert_eq!((&olga["username"], &olga["email"]), (&json!("olga"), &json!("olga@x.org")));
    let (status, boss) = enter(&daemon, "s2");
    assert_eq!((status, &boss["role"]), (200, &json!("admin")), "{boss}");
    let boss = boss["access_token"].as_str().unwrap();
    assert_eq!(
        daemon.call("GET", "/platform/user/all", boss, None).unwrap().0,
        200,
        "the provider asks for factors"
    );
    assert_eq!(enter(&daemon, "s3").0, 403, "no group with a role");
    let (_, other) = enter(&daemon, "s4");
    let (_, other) = me(&other["access_token"]);
    assert!(other["username"].as_str().unwrap().starts_with("oidc-"), "the name of somebody here: {other}");
    assert!(daemon.login("olga", PASSWORD).is_err(), "there is no password");

    let (place, cookie) = begin(&daemon);
    for part in ["code_challenge_method=S256", "code_challenge=", "nonce=", "response_type=code"] {
        assert!(place.contains(part), "{part}: {place}");
    }
    let back = vouched(&daemon, &place, "s1");
    let (_, other) = begin(&daemon);
    assert_eq!(ask("GET", &back, &other, None).unwrap().status, 400, "begun in another browser");
    assert_eq!(ask("GET", &back, "", None).unwrap().status, 400);
    assert_eq!(
        ask("GET", &back.replace("code=", "code=x"), &cookie, None).unwrap().status,
        401,
        "no code of its own"
    );
    assert_eq!(ask("GET", &back, &cookie, None).unwrap().status, 200);
    assert_eq!(ask("GET", &back, &cookie, None).unwrap().status, 400, "a second time");

    assert_eq!(daemon.call("POST", "/platform/authorization/admin/disable/olga", boss, None).unwrap().0, 200);
    assert_eq!((me(&entered["access_token"]).0, enter(&daemon, "s1").0), (401, 403));
    drop(provider);
    // What the provider said last is known for some minutes; its absence shows when somebody comes back.
    let (_, cookie) = begin(&daemon);
    let state = cookie.split_once('=').unwrap().1;
    let lost = format!("{}/auth/oidc/callback?state={state}&code=c", daemon.url);
    assert_eq!(ask("GET", &lost, &cookie, None).unwrap().status, 502);
}

#[test]
fn without_a_provider_there_is_no_such_page() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), &[]).unwrap();
    for path in ["/auth/oidc/login", "/auth/oidc/callback?state=a&code=b"] {
        assert_eq!(daemon.call("GET", path, "", None).unwrap().0, 404, "{path}");
    }
}
