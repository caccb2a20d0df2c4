//! What the gateway carries: APIs, endpoints, routings, credits, secrets.

use super::{PAGE, PAGE_SIZE, PAGING};
use crate::api::{endpoints, routings, vault};
use crate::openapi::operation::Shape::{Flag, Integer, List, Map, Maybe, Message, Object, Page, Text};
use crate::openapi::operation::{
    Body, Content, Fields, Record, Section, Shape, Taken, delete, get, post, put,
};
use crate::schema::{Absent, Kind};
use crate::subjects::{apis, credits, validations};

pub(crate) const API: Shape =
    Shape::Record(&Record { name: "Api", fields: Fields::Table(apis::FIELDS), without: &[], with: &[] });
const APIS_LISTED: &[(u16, Content)] = &[(200, Content::Json(Page("apis", &API)))];

pub(crate) const APIS: Section = Section {
    tag: "APIs",
    about: "What clients call, and where it is forwarded",
    prefix: "/platform",
    operations: &[
        get("/api/all", "APIs").query(PAGING).gives(APIS_LISTED),
        get("/api", "As `/platform/api/all`").query(PAGING).gives(APIS_LISTED),
        get("/api/{name}/{version}", "An API").gives(&[(200, Content::Json(API))]),
        put("/api/{name}/{version}", "Changes an API").needs("manage_apis").updates(apis::FIELDS),
        delete("/api/{name}/{version}", "Deletes an API, with its endpoints and subscriptions")
            .needs("manage_apis"),
        post("/api", "Makes an API; one that is there already is left as it is")
            .needs("manage_apis")
            .creates(apis::FIELDS)
            .gives(&[(201, Content::Json(Object(&[("api", API)]))), (200, Content::Json(Message))]),
    ],
};

pub(crate) const ENDPOINT: Shape = Shape::Record(&Record {
    name: "Endpoint",
    fields: Fields::Table(endpoints::FIELDS),
    without: &[],
    with: &[],
});
const VALIDATION: Shape = Shape::Record(&Record {
    name: "Validation",
    fields: Fields::Table(validations::FIELDS),
    without: &[],
    with: &[],
});
const ONE_VALIDATION: &[(u16, Content)] = &[(200, Content::Json(VALIDATION))];
const MADE: &[(u16, Content)] = &[(201, Content::Json(Message))];
const ENDPOINTS_NEED: &str = "manage_endpoints";

pub(crate) const ENDPOINTS: Section = Section {
    tag: "Endpoints",
    about: "Methods and paths of an API, and what their bodies must be",
    prefix: "/platform",
    operations: &[
        get("/endpoint/{name}/{version}", "The endpoints of an API")
            .gives(&[(200, Content::Json(Object(&[("endpoints", List(&ENDPOINT))])))]),
        get("/endpoint/{method}/{name}/{version}/{uri:.*}", "An endpoint; its URI keeps its slashes")
            .gives(&[(200, Content::Json(ENDPOINT))]),
        put("/endpoint/{method}/{name}/{version}/{uri:.*}", "Changes an endpoint")
            .needs(ENDPOINTS_NEED)
            .updates(endpoints::FIELDS),
        delete("/endpoint/{method}/{name}/{version}/{uri:.*}", "Deletes an endpoint").needs(ENDPOINTS_NEED),
        post("/endpoint", "Makes an endpoint").needs(ENDPOINTS_NEED).creates(endpoints::FIELDS).gives(MADE),
        get("/endpoint/endpoint/validation/{id}", "What an endpoint's body must be").gives(ONE_VALIDATION),
        put("/endpoint/endpoint/validation/{id}", "Changes what an endpoint's body must be")
            .needs(ENDPOINTS_NEED)
            .updates(validations::FIELDS),
        delete("/endpoint/endpoint/validation/{id}", "Takes the check of bodies away").needs(ENDPOINTS_NEED),
        post("/endpoint/endpoint/validation", "Says what an endpoint's body must be")
            .needs(ENDPOINTS_NEED)
            .creates(validations::FIELDS)
            .gives(MADE),
        get("/endpoint/validation/{id}", "As the longer path").gives(ONE_VALIDATION),
        put("/endpoint/validation/{id}", "As the longer path")
            .needs(ENDPOINTS_NEED)
            .updates(validations::FIELDS),
        delete("/endpoint/validation/{id}", "As the longer path").needs(ENDPOINTS_NEED),
        post("/endpoint/validation", "As the longer path")
            .needs(ENDPOINTS_NEED)
            .creates(validations::FIELDS)
            .gives(MADE),
    ],
};

pub(crate) const ROUTING: Shape = Shape::Record(&Record {
    name: "Routing",
    fields: Fields::Table(routings::FIELDS),
    without: &[],
    with: &[],
});
const ROUTINGS_LISTED: &[(u16, Content)] = &[(200, Content::Json(Page("routings", &ROUTING)))];
const ROUTINGS_NEED: &str = "manage_routings";

pub(crate) const ROUTINGS: Section = Section {
    tag: "Routings",
    about: "Servers by the request header `client-key`",
    prefix: "/platform",
    operations: &[
        get("/routing/all", "Routings").needs(ROUTINGS_NEED).query(PAGING).gives(ROUTINGS_LISTED),
        get("/routing", "As `/platform/routing/all`")
            .needs(ROUTINGS_NEED)
            .query(PAGING)
            .gives(ROUTINGS_LISTED),
        get("/routing/{client_key}", "A routing")
            .needs(ROUTINGS_NEED)
            .gives(&[(200, Content::Json(ROUTING))]),
        put("/routing/{client_key}", "Changes a routing").needs(ROUTINGS_NEED).updates(routings::FIELDS),
        delete("/routing/{client_key}", "Deletes a routing").needs(ROUTINGS_NEED),
        post("/routing", "Makes a routing; without a key one is made")
            .needs(ROUTINGS_NEED)
            .creates(routings::FIELDS)
            .gives(MADE),
    ],
};

const DEFINITION: Shape = Shape::Record(&Record {
    name: "CreditDefinition",
    fields: Fields::Table(credits::FIELDS),
    without: &["api_key", "api_key_new"],
    with: &[("api_key_present", Flag), ("api_key_new_present", Flag)],
});
const ACCOUNT: Shape = Object(&[
    ("username", Text),
    ("users_credits", Map(&Object(&[("available_credits", Integer), ("user_api_key_present", Flag)]))),
]);
const CREDITS_NEED: &str = "manage_credits";

pub(crate) const CREDITS: Section = Section {
    tag: "Credits",
    about: "Definitions of credit groups, whose keys are never answered, and users' accounts",
    prefix: "/platform",
    operations: &[
        get("/credit/defs", "Definitions")
            .needs(CREDITS_NEED)
            .query(PAGING)
            .gives(&[(200, Content::Json(Page("items", &DEFINITION)))]),
        get("/credit/defs/{group}", "A definition")
            .needs(CREDITS_NEED)
            .gives(&[(200, Content::Json(DEFINITION))]),
        get("/credit/all", "Users' accounts")
            .needs(CREDITS_NEED)
            .query(&[("search", Taken::Text, "Part of a user name"), PAGE, PAGE_SIZE])
            .gives(&[(200, Content::Json(Page("user_credits", &ACCOUNT)))]),
        post("/credit/rotate-key", "Gives the caller's account a new key, which is answered this once")
            .takes(Body::Other(&Object(&[("api_credit_group", Text)])))
            .gives(&[(200, Content::Json(Object(&[("api_key", Text), ("message", Text)])))]),
        get("/credit/{name}", "A user's accounts")
            .own_or(CREDITS_NEED)
            .gives(&[(200, Content::Json(ACCOUNT))]),
        post("/credit/{name}", "Puts a user's accounts in place of those there were")
            .needs(CREDITS_NEED)
            .creates(credits::ACCOUNT_FIELDS),
        put("/credit/{name}", "Changes a definition").needs(CREDITS_NEED).updates(credits::FIELDS),
        delete("/credit/{name}", "Deletes a definition").needs(CREDITS_NEED),
        post("/credit", "Makes a definition").needs(CREDITS_NEED).creates(credits::FIELDS).gives(MADE),
    ],
};

const ENTRY: Shape = Object(&[
    ("key_name", Text),
    ("description", Maybe(&Text)),
    ("created_at", Maybe(&Text)),
    ("updated_at", Maybe(&Text)),
]);

pub(crate) const VAULT: Section = Section {
    tag: "Vault",
    about: "Each user's own secrets; no answer has a value",
    prefix: "/platform",
    operations: &[
        get("/vault", "The caller's entries")
            .gives(&[(200, Content::Json(Object(&[("count", Integer), ("entries", List(&ENTRY))])))]),
        get("/vault/{key}", "An entry").gives(&[(200, Content::Json(ENTRY))]),
        put("/vault/{key}", "Changes an entry's description").updates(&[(
            "description",
            Kind::Text(0, 500),
            Absent::Null,
        )]),
        delete("/vault/{key}", "Deletes an entry"),
        post("/vault", "Makes an entry").creates(vault::CREATE).gives(MADE),
    ],
};
