//! Discovery: documents of upstreams, shown and made endpoints of, and whom the gateway asks for them.

use crate::market::{Market, bearer};
use gatehouse_tests::scripted::Scripted;
use serde_json::{Value, json};

const OF_SHOP: &str = "/platform/api/shop/v1";

/// Status and body of the administrator's call; the body as it stands.
pub(crate) fn send(market: &Market, method: &str, path: &str, fields: &str, body: &str) -> (u16, Value) {
    let reply = market.ask(method, path, &format!("{}{fields}", bearer(&market.admin)), body);
    (reply.status, serde_json::from_str(&reply.body).unwrap_or(Value::String(reply.body)))
}

pub(crate) fn get(market: &Market, path: &str) -> (u16, Value) {
    send(market, "GET", &format!("{OF_SHOP}/{path}"), "", "")
}

fn post(market: &Market, path: &str) -> (u16, Value) {
    send(market, "POST", &format!("{OF_SHOP}/{path}"), "", "")
}

pub(crate) fn code((status, body): (u16, Value)) -> (u16, String) {
    (status, body["error_code"].as_str().unwrap_or("none").to_owned())
}

pub(crate) fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

const PETS: &str = r##"openapi: 3.0.3
info: {title: Pets, version: "1"}
paths:
  /echo:
    get: {summary: There already, responses: {"200": {description: ok}}}
  /pets/{id}:
    get: {summary: One pet, responses: {"200": {description: ok}}}
    delete: {responses: {"204": {description: gone}}}
    trace: {responses: {"200": {description: no endpoint}}}
"##;

#[test]
fn an_openapi_document_becomes_endpoints() {
    let market = Market::open(&[]);
    assert_eq!(code(get(&market, "openapi")), refused(404, "OPENAPI001"));
    market.change(json!({"api_openapi_url": "/docs/openapi.yaml"}));
    market.upstream.always(200, "", PETS.as_bytes());
    let (status, document) = get(&market, "openapi");
    assert_eq!((status, &document["info"]["title"]), (200, &json!("Pets")), "{document}");
    let asked = market.upstream.requests();
    assert_eq!(get(&market, "openapi").0, 200);
    assert_eq!(market.upstream.requests(), asked, "kept for an hour");
    let (status, told) = post(&market, "openapi/refresh");
    assert_eq!((status, &told["endpoints_found"]), (200, &json!(4)), "{told}");
    assert_eq!(market.upstream.requests(), asked + 1, "fetched anew");

    let (status, told) = post(&market, "openapi/import");
    let counts = |told: &Value| {
        ["endpoints_found", "endpoints_imported", "endpoints_skipped"]
            .map(|name| told[name].as_u64().unwrap())
    };
    assert_eq!((status, counts(&told)), (200, [4, 2, 2]), "{told}");
    assert!(told["message"].is_string() && told["skipped"].as_array().unwrap().len() == 2, "{told}");
    let (_, made) = send(&market, "GET", "/platform/endpoint/GET/shop/v1/pets/%7Bid%7D", "", "");
    assert_eq!(made["endpoint_description"], "One pet", "{made}");
    // What was imported is served at once.
    market.upstream.always(200, "", b"the pet");
    let reply = market.as_ana("GET", "/api/rest/shop/v1/pets/7", "", "");
    assert_eq!((reply.status, reply.body.as_str()), (200, "the pet"), "{reply:?}");
    assert_eq!(counts(&post(&market, "openapi/import").1), [4, 0, 4], "nothing twice");

    // Only what reads as a document is kept and shown.
    for (body, expected) in [("<html>", 400), ("{\"openapi\": \"9\"}", 400), ("", 400)] {
        market.upstream.always(200, "", body.as_bytes());
        assert_eq!(code(post(&market, "openapi/refresh")), refused(expected, "OPENAPI004"), "{body}");
    }
    assert_eq!(get(&market, "openapi").0, 200, "what was kept stays");
    market.upstream.always(503, "", b"");
    assert_eq!(code(post(&market, "openapi/refresh")), refused(502, "OPENAPI003"));
    market.change(json!({"api_openapi_url": "/other"}));
    assert_eq!(code(post(&market, "openapi/import")), refused(404, "OPENAPI003"));
    market.change(json!({"api_servers": []}));
    assert_eq!(code(get(&market, "openapi")), refused(404, "OPENAPI002"));
}

#[test]
fn hostile_answers_end_as_errors() {
    let market = Market::open(&[]);
    market.change(json!({"api_openapi_url": "/openapi", "api_wsdl_url": "/wsdl"}));
    let inside = Scripted::start("inside").unwrap();
    let mut bomb = "openapi: 3.0.0\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        bomb.push_str(&format!(
            "a{level}: &a{level} [{}]\n",
            vec![format!("*a{}", level - 1); 10].join(", ")
        ));
    }
    let circle =
        json!({"openapi": "3.0.0", "paths": {"/a": {"$ref": "#/paths/~1b"}, "/b": {"$ref": "#/paths/~1a"}}});
    for (body, expected) in [
        (bomb, (400, "OPENAPI004")),
        ("[".repeat(500_000), (400, "OPENAPI004")),
        (circle.to_string(), (200, "none")),
        (" ".repeat(9 * 1_024 * 1_024), (502, "OPENAPI003")),
    ] {
        market.upstream.always(200, "", body.as_bytes());
        assert_eq!(code(post(&market, "openapi/refresh")), refused(expected.0, expected.1), "{body:.60}");
    }
    for place in [
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "http://[::ffff:a9fe:a9fe]/".to_owned(),
        "http://100.100.100.200/".to_owned(),
        // A private host that is not the API's own server.
        inside.url(),
        inside.url().replace("127.0.0.1", "2130706433"),
        inside.url().replace("127.0.0.1", "localhost"),
        "file:///etc/passwd".to_owned(),
    ] {
        market.upstream.always(302, &format!("Location: {place}\r\n"), b"");
        let answer = post(&market, "openapi/refresh");
        assert!(!answer.1.to_string().contains("root:"), "{answer:?}");
        assert_eq!(code(answer), refused(502, "OPENAPI003"), "redirected to {place}");
        let field = json!({ "api_openapi_url": place }).to_string();
        let fields = "Content-Type: application/json\r\n";
        let expected = if place.starts_with("file:") { (400, "API002") } else { (200, "none") };
        assert_eq!(
            code(send(&market, "PUT", OF_SHOP, fields, &field)),
            refused(expected.0, expected.1),
            "{place}"
        );
        if expected.0 == 200 {
            assert_eq!(code(get(&market, "openapi")), refused(502, "OPENAPI003"), "{place} itself");
        }
        market.change(json!({"api_openapi_url": "/openapi"}));
    }
    assert_eq!(inside.requests(), 0, "nobody there was asked");
    let laughs = "<!DOCTYPE d [<!ENTITY a 'aa'><!ENTITY b '&a;&a;'>]><definitions>&b;</definitions>";
    market.upstream.always(200, "", laughs.as_bytes());
    assert_eq!(code(get(&market, "wsdl")), refused(400, "WSDL004"));
    assert_eq!(market.call().status, 200, "the gateway serves on");
}

#[test]
fn what_the_settings_list_may_be_asked() {
    let market = Market::open(&[("GATEHOUSE_EGRESS_ALLOW", "127.0.0.0/8")]);
    let inside = Scripted::start("inside").unwrap();
    inside.always(200, "", PETS.as_bytes());
    market.change(json!({"api_openapi_url": format!("{}/openapi", inside.url())}));
    assert_eq!(get(&market, "openapi").0, 200);
    market.change(json!({"api_openapi_url": "http://169.254.169.254/"}));
    assert_eq!(code(get(&market, "openapi")), refused(502, "OPENAPI003"));
}

const CALC: &str = r#"<definitions targetNamespace="urn:calc" xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:t="urn:calc"
    xmlns:s="http://schemas.xmlsoap.org/wsdl/soap/">
  <portType name="P"><operation name="Add"/><operation name="Sub"/></portType>
  <binding name="B" type="t:P"><s:binding transport="x"/><operation name="Add"><s:operation soapAction="urn:add"/></operation>
    <operation name="Sub"/></binding>
  <service name="Calc"><port name="p" binding="t:B"><s:address location="http://inside.example/ws/calc"/></port></service>
</definitions>"#;

#[test]
fn a_wsdl_becomes_the_endpoint_of_its_address() {
    let market = Market::open(&[]);
    assert_eq!(code(get(&market, "wsdl")), refused(404, "WSDL001"));
    market.change(json!({"api_wsdl_url": "/ws/calc?wsdl"}));
    market.upstream.always(200, "Content-Type: text/xml\r\n", CALC.as_bytes());
    let (status, told) = get(&market, "wsdl");
    assert_eq!((status, &told["cached"], &told["wsdl"]), (200, &json!(false), &json!(CALC)));
    assert_eq!(get(&market, "wsdl").1["cached"], true);
    let (status, told) = post(&market, "wsdl/refresh");
    assert_eq!(status, 200);
    assert_eq!((&told["service_name"], &told["operations_found"]), (&json!("Calc"), &json!(2)), "{told}");
    let (status, told) = post(&market, "wsdl/import");
    assert_eq!(status, 200, "{told}");
    assert_eq!(
        (&told["operations_found"], &told["endpoints_imported"], &told["endpoints_skipped"]),
        (&json!(2), &json!(1), &json!(0)),
        "{told}"
    );
    let (status, made) = send(&market, "GET", "/platform/endpoint/POST/shop/v1/ws/calc", "", "");
    assert_eq!((status, &made["endpoint_description"]), (200, &json!("Calc: Add, Sub")), "{made}");
    market.upstream.always(200, "", b"no xml");
    assert_eq!(code(post(&market, "wsdl/refresh")), refused(400, "WSDL004"));
    market.upstream.always(500, "", b"");
    assert_eq!(code(post(&market, "wsdl/refresh")), refused(502, "WSDL003"));
    let (status, told) = send(&market, "POST", "/platform/wsdl/parse", "Content-Type: text/xml\r\n", CALC);
    assert_eq!((status, &told["endpoints_count"]), (200, &json!(1)), "{told}");
    assert_eq!(told["operations"][0]["soap_action"], "urn:add");
    assert_eq!(code(send(&market, "POST", "/platform/wsdl/parse", "", "<a/>")), refused(400, "WSDL004"));
}

#[test]
fn a_document_that_is_sent_is_read() {
    let market = Market::open(&[]);
    let path = "/platform/openapi/parse";
    for text in [
        PETS.to_owned(),
        json!({"openapi": "3.1.0", "info": {"title": "Pets", "version": "1"}, "paths": {
        "/a": {"get": {}}, "/b": {"get": {}}, "/c": {"get": {}}, "/d": {"get": {}}}})
        .to_string(),
    ] {
        let (status, told) = send(&market, "POST", path, "", &text);
        assert_eq!(
            (status, &told["title"], &told["endpoints_count"]),
            (200, &json!("Pets"), &json!(4)),
            "{told}"
        );
        assert!(told["endpoints"][0]["endpoint_responses"].is_object(), "{told}");
    }
    assert_eq!(code(send(&market, "POST", path, "", "{}")), refused(400, "OPENAPI004"));
    assert_eq!(code(send(&market, "POST", path, "", "")), refused(400, "OPENAPI004"));
}

#[test]
fn a_schema_is_asked_by_introspection() {
    let market = Market::open(&[]);
    let schema = json!({"queryType": {"name": "Query"}, "subscriptionType": {"name": "Feed"},
                        "types": [{"kind": "OBJECT", "name": "Query", "fields": [{"name": "hello"}]}]});
    market.upstream.always(
        200,
        "",
        json!({"errors": [{"message": "introspection is off"}]}).to_string().as_bytes(),
    );
    assert_eq!(code(get(&market, "graphql/schema")), refused(502, "GQL002"));
    assert_eq!(code(get(&market, "graphql/types")), refused(404, "GQL003"));
    market.upstream.always(200, "", json!({"data": {"__schema": schema}}).to_string().as_bytes());
    let (status, told) = get(&market, "graphql/schema");
    assert_eq!(
        (status, &told["schema"]["__schema"], &told["cached"]),
        (200, &schema, &json!(false)),
        "{told}"
    );
    assert_eq!(told["operation_types"], json!({"query": "Query", "subscription": "Feed"}));
    assert_eq!(
        (&told["has_subscriptions"], get(&market, "graphql/schema").1["cached"].clone()),
        (&json!(true), json!(true))
    );
    let (status, told) = post(&market, "graphql/schema/refresh");
    assert_eq!(
        (status, &told["types_count"], &told["has_subscriptions"]),
        (200, &json!(1), &json!(true)),
        "{told}"
    );
    let (status, told) = get(&market, "graphql/types");
    assert_eq!(
        (status, &told["types"][0]["name"], &told["types_count"]),
        (200, &json!("Query"), &json!(1)),
        "{told}"
    );
    // The scripted upstream tells what it is asked where nothing else is said.
    let plain = Scripted::start("plain").unwrap();
    market.change(json!({"api_servers": [plain.url()], "api_graphql_schema_url": "/gql"}));
    assert_eq!(code(post(&market, "graphql/schema/refresh")), refused(502, "GQL002"));
    assert_eq!(plain.requests(), 1);
    market.change(json!({"api_servers": []}));
    assert_eq!(code(get(&market, "graphql/schema")), refused(404, "GQL001"));
}

#[test]
fn who_may_discover() {
    let market = Market::open(&[]);
    market.change(json!({"api_openapi_url": "/openapi"}));
    for (method, path) in [
        ("GET", "openapi"),
        ("POST", "openapi/refresh"),
        ("POST", "openapi/import"),
        ("GET", "wsdl"),
        ("POST", "wsdl/refresh"),
        ("POST", "wsdl/import"),
        ("GET", "graphql/schema"),
        ("POST", "graphql/schema/refresh"),
        ("GET", "graphql/types"),
        ("GET", "grpc/services"),
    ] {
        let call = |api: &str, token: &str| {
            let reply = market.ask(method, &format!("/platform/api/{api}/{path}"), &bearer(token), "");
            (reply.status, reply.code())
        };
        assert_eq!(call("shop/v1", "none"), refused(401, "AUTHN001"), "{path}");
        assert_eq!(call("shop/v1", &market.ana), refused(403, "AUTHZ001"), "{path}");
        assert_eq!(call("none/v1", &market.admin), refused(404, "API001"), "{path}");
    }
    assert_eq!(market.upstream.requests(), 0, "nobody was asked for who may not");
    for path in ["/platform/openapi/parse", "/platform/wsdl/parse"] {
        let call = |token: &str| market.ask("POST", path, &bearer(token), "{}");
        assert_eq!((call("none").status, call("none").code()), refused(401, "AUTHN001"), "{path}");
        assert_eq!((call(&market.ana).status, call(&market.ana).code()), refused(403, "AUTHZ001"), "{path}");
    }
    // What imports needs the permission of endpoints, and that alone.
    let role = json!({"role_name": "importer", "manage_endpoints": true});
    market.manage("POST", "/platform/role", role);
    market.manage("PUT", "/platform/user/ana", json!({"role": "importer"}));
    market.upstream.always(200, "", PETS.as_bytes());
    let ana = market.daemon.login("ana@x.org", gatehouse_tests::daemon::PASSWORD).unwrap();
    let call =
        |method: &str, path: &str| market.ask(method, &format!("{OF_SHOP}/{path}"), &bearer(&ana), "").status;
    assert_eq!((call("POST", "openapi/import"), call("GET", "openapi")), (200, 403));
}

#[test]
fn demo_data_is_made_up_once() {
    let market = Market::open(&[]);
    let path = "/platform/demo/seed?users=6&apis=3&endpoints=2&groups=2&protos=1&logs=10&seed=5";
    assert_eq!(market.ask("POST", path, &bearer("none"), "").status, 401);
    let reply = market.ask("POST", path, &bearer(&market.ana), "");
    assert_eq!((reply.status, reply.code()), refused(403, "DEMO001"));
    let (status, told) = send(&market, "POST", path, "", "");
    assert_eq!(
        (status, &told["users"], &told["apis"], &told["endpoints"]),
        (200, &json!(6), &json!(3), &json!(6)),
        "{told}"
    );
    assert_eq!((&told["protos"], &told["logs"]), (&json!(1), &json!(0)), "{told}");
    assert_eq!(send(&market, "GET", "/platform/user/demo5-user1", "", "").0, 200);
    assert_eq!(send(&market, "POST", path, "", "").1["users"], 0, "once");
    assert_eq!(send(&market, "POST", "/platform/demo/seed?users=100000", "", "").0, 422);
}
