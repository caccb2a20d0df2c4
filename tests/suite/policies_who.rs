//! Who calls: addresses and who tells them, roles and groups, tokens of an external issuer.

use crate::market::{ECHO, Market, bearer, told, verdict};
use crate::raw::{record, request};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gatehouse_tests::daemon::PASSWORD;
use gatehouse_tests::scripted::Scripted;
use gatehouse_tests::wait::eventually;
use rcgen::{KeyPair, PKCS_ED25519, SigningKey as _};
use serde_json::{Value, json};

#[test]
fn an_apis_address_lists_go_by_who_is_told_to_call() {
    let market = Market::open(&[]);
    let lists = json!({"api_ip_mode": "whitelist", "api_ip_whitelist": ["1.2.3.4/32", "10.0.0.0/8"],
                       "api_ip_blacklist": ["8.8.8.8/32"], "api_trust_x_forwarded_for": true});
    market.change(lists);
    for (fields, status, code) in [
        ("X-Real-IP: 1.2.3.4\r\n", 200, ""),
        ("X-Real-IP: 10.9.9.9\r\n", 200, ""),
        ("X-Real-IP: 8.8.8.8\r\n", 403, "API011"),
        ("X-Real-IP: 9.9.9.9\r\n", 403, "API010"),
        ("", 403, "API010"),
        ("X-Forwarded-For: 10.1.1.1\r\n", 200, ""),
        // Right to left through trusted hops: what a client writes in front of them is not believed.
        ("X-Forwarded-For: 1.2.3.4, 9.9.9.9\r\n", 403, "API010"),
        ("X-Forwarded-For: 9.9.9.9, 1.2.3.4, 127.0.0.1\r\n", 200, ""),
        ("Forwarded: for=1.2.3.4\r\n", 200, ""),
    ] {
        assert_eq!(verdict(&market.as_ana("GET", ECHO, fields, "")), (status, code.to_owned()), "{fields:?}");
    }
    market.change(json!({"api_trust_x_forwarded_for": false}));
    assert_eq!(market.as_ana("GET", ECHO, "X-Real-IP: 1.2.3.4\r\n", "").status, 403, "not believed");
    market.change(json!({"api_ip_mode": "allow_all", "api_ip_blacklist": ["127.0.0.0/8"]}));
    assert_eq!(verdict(&market.call()), (403, "API011".to_owned()));
    let wrong = json!({"api_ip_whitelist": ["10.0.0.0/33"]});
    assert_eq!(
        market.daemon.call("PUT", "/platform/api/shop/v1", &market.admin, Some(wrong)).unwrap().0,
        400
    );
}

#[test]
fn loopback_passes_an_empty_list_where_settings_say_so() {
    let market = Market::open(&[("LOCAL_HOST_IP_BYPASS", "true")]);
    market.change(
        json!({"api_ip_mode": "whitelist", "api_ip_whitelist": [], "api_trust_x_forwarded_for": true}),
    );
    assert_eq!(market.call().status, 200);
    assert_eq!(
        verdict(&market.as_ana("GET", ECHO, "X-Real-IP: 127.0.0.1\r\n", "")),
        (403, "API010".to_owned())
    );
}

#[test]
fn the_platforms_lists_hold_for_every_call() {
    let market = Market::open(&[]);
    let put = |settings: Value| market.manage("PUT", "/platform/security/settings", settings);
    put(json!({"trust_x_forwarded_for": true, "ip_blacklist": ["8.8.8.8"]}));
    let from = |address: &str| verdict(&market.as_ana("GET", ECHO, &format!("X-Real-IP: {address}\r\n"), ""));
    assert_eq!(from("8.8.8.8"), (403, "SEC011".to_owned()));
    assert_eq!(from("9.9.9.9"), (200, String::new()));
    put(json!({"ip_whitelist": ["127.0.0.0/8", "10.0.0.0/8"]}));
    assert_eq!(from("9.9.9.9"), (403, "SEC010".to_owned()));
    assert_eq!(from("10.1.2.3"), (200, String::new()));
    put(json!({"ip_whitelist": [], "ip_blacklist": []}));
    assert_eq!(from("8.8.8.8"), (200, String::new()));
}

#[test]
fn roles_and_groups_open_an_api() {
    let market = Market::open(&[]);
    market.manage("POST", "/platform/role", json!({"role_name": "baker", "role_description": "bakes"}));
    market.manage("POST", "/platform/group", json!({"group_name": "bread", "group_description": "eats"}));
    market.change(json!({"api_allowed_roles": ["baker"]}));
    assert_eq!(verdict(&market.call()), (403, "GTW014".to_owned()));
    market.manage("PUT", "/platform/user/ana", json!({"role": "baker"}));
    assert_eq!(market.call().status, 200);
    market.change(json!({"api_allowed_groups": ["bread"]}));
    let text = "You do not have the correct group for this".to_owned();
    assert_eq!(verdict(&market.call()), (401, text));
    market.manage("PUT", "/platform/user/ana", json!({"groups": ["ALL", "bread"]}));
    assert_eq!(market.call().status, 200);
    let away = json!({"username": "ana", "api_name": "shop", "api_version": "v1"});
    market.manage("POST", "/platform/subscription/unsubscribe", away);
    assert_eq!(market.call().status, 403);
}

#[test]
fn a_call_of_a_test_is_recorded_as_one() {
    let market = Market::open(&[]);
    assert_eq!(market.as_ana("GET", "/api/rest/shop/v1/items/7", "X-IS-TEST: true\r\n", "").status, 200);
    assert_eq!(market.call().status, 200);
    assert_eq!(record(&market.daemon, "/api/rest/shop/v1/items/7", 1)["test"], true);
    assert_ne!(record(&market.daemon, ECHO, 1)["test"], true);
}

/// What a balancer says in front of a request, version 1 and 2.
fn heads(client: [u8; 4]) -> [Vec<u8>; 2] {
    let text = client.map(|byte| byte.to_string()).join(".");
    let first = format!("PROXY TCP4 {text} 127.0.0.1 40000 80\r\n").into_bytes();
    let mut second = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    second.extend_from_slice(&client);
    second.extend_from_slice(&[127, 0, 0, 1, 0x9c, 0x40, 0, 80]);
    [first, second]
}

#[test]
fn a_balancer_names_the_client_by_proxy_protocol() {
    let folder = tempfile::tempdir().unwrap();
    // The harness asks without such a head, so another daemon makes what this one serves.
    let market = Market::open(&[]);
    market.change(json!({"api_public": true, "api_auth_required": false, "api_ip_blacklist": ["8.8.8.8"]}));
    let Market { folder: data, daemon, .. } = market;
    assert!(std::process::Command::new("kill").arg(daemon.pid().to_string()).status().unwrap().success());
    assert_eq!(daemon.ended().unwrap(), 0);
    drop(folder);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut child = gatehouse_tests::daemon::command()
        .env("GATEHOUSE_DATA_DIR", data.path())
        .env("GATEHOUSE_RUNTIME_DIR", data.path().join("run"))
        .env("GATEHOUSE_LISTEN", format!("127.0.0.1:{port}"))
        .env("GATEHOUSE_PROXY_PROTOCOL", "true")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let address = format!("127.0.0.1:{port}");
    let status = |head: &[u8]| {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(&address).map_err(|error| error.to_string())?;
        let ask = request("GET", ECHO, "Connection: close\r\n", "");
        stream.write_all(&[head, ask.as_bytes()].concat()).map_err(|error| error.to_string())?;
        let mut text = String::new();
        // A connection without a head is reset.
        stream.read_to_string(&mut text).ok();
        Ok::<_, String>(text.split(' ').nth(1).unwrap_or("none").to_owned())
    };
    let [first, second] = heads([9, 9, 9, 9]);
    let ready = || match status(&first) {
        Ok(text) if text == "200" => Ok(()),
        other => Err(other),
    };
    let came = eventually("the daemon behind the balancer", ready);
    let seen: Vec<_> = [second]
        .into_iter()
        .chain(heads([8, 8, 8, 8]))
        .chain([Vec::new()])
        .map(|head| status(&head))
        .collect();
    child.kill().unwrap();
    child.wait().unwrap();
    came.unwrap();
    let seen: Vec<_> = seen.into_iter().map(Result::unwrap).collect();
    assert_eq!(seen, ["200", "403", "403", "none"]);
}

/// A key of an issuer: its name, and what signs.
pub(crate) struct Key(&'static str, KeyPair);

impl Key {
    pub(crate) fn new(name: &'static str) -> Self {
        Self(name, KeyPair::generate_for(&PKCS_ED25519).unwrap())
    }

    /// What it is published as.
    pub(crate) fn set(&self) -> String {
        let public = URL_SAFE_NO_PAD.encode(self.1.public_key_raw());
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": self.0, "use": "sig", "x": public}]})
            .to_string()
    }

    pub(crate) fn token(&self, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&json!({"alg": "EdDSA", "kid": self.0})), part(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.1.sign(signed.as_bytes()).unwrap());
        format!("{signed}.{signature}")
    }
}

#[test]
fn tokens_of_an_external_issuer_count_where_an_api_trusts_it() {
    let market = Market::open(&[]);
    market.api("other", &market.upstream.url(), json!({}));
    let issuer = Scripted::start("issuer").unwrap();
    let (first, second) = (Key::new("one"), Key::new("two"));
    let keys = |set: String| issuer.always(200, "Cache-Control: public, max-age=1\r\n", set.as_bytes());
    keys(first.set());
    let url = format!("{}/keys", issuer.url());
    market
        .change(json!({"api_issuer": {"name": "https://issuer.test", "audience": "shop", "jwks_url": url}}));
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let claims = |user: &str, audience: &str, expires: u64| json!({"iss": "https://issuer.test", "aud": audience, "sub": user, "exp": expires});
    let good = claims("ana", "shop", now + 600);
    let call = |token: &str| market.ask("GET", ECHO, &bearer(token), "");
    let served = |token: &str| if call(token).status == 200 { Ok(()) } else { Err(call(token)) };
    eventually("the issuer's keys to be fetched", || served(&first.token(&good))).unwrap();
    assert_eq!(told(&call(&first.token(&good)))["fields"]["x-doorman-user"], "ana");
    for (what, token) in [
        ("a key that is not the issuer's", second.token(&good)),
        ("another audience", first.token(&claims("ana", "other", now + 600))),
        ("expired", first.token(&claims("ana", "shop", now - 600))),
        ("nobody here", first.token(&claims("eva", "shop", now + 600))),
    ] {
        assert_eq!(call(&token).status, 401, "{what}");
    }
    let elsewhere = market.ask("GET", "/api/rest/other/v1/echo", &bearer(&first.token(&good)), "");
    assert_eq!(elsewhere.status, 401, "it counts for this API alone");
    assert_eq!(market.call().status, 200, "our own tokens count beside it");
    keys(second.set());
    eventually("the new key to count", || served(&second.token(&good))).unwrap();
    assert_eq!(call(&first.token(&good)).status, 401, "the old one does not");
    // The last keys count for as long as there are no better ones.
    issuer.always(500, "", b"");
    let asked = issuer.requests();
    let again = || if issuer.requests() > asked { Ok(()) } else { Err(issuer.requests()) };
    eventually("the issuer to be asked again", again).unwrap();
    assert_eq!(call(&second.token(&good)).status, 200);
    market.manage("PUT", "/platform/user/ana", json!({"active": false}));
    assert_eq!(call(&second.token(&good)).status, 401, "who is not let in is not, whoever vouches");
    assert_eq!(market.daemon.login("ana@x.org", PASSWORD).ok(), None);
}
