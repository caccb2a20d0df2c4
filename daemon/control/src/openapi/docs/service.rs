//! The appliance itself: health, security, configuration, tools, this document.

use super::gateway::{API, ENDPOINT, ROUTING};
use crate::api::{chaos, memory, tools};
use crate::openapi::operation::Shape::{
    Any, Flag, Integer, List, Map, Maybe, Message, Number, Object, Text, Word,
};
use crate::openapi::operation::{
    Body, Content, Fields, Parameter, Record, Section, Shape, Taken, delete, get, post, put,
};
use crate::schema::{Absent, Field, Kind};
use crate::subjects::security;

const GATEWAY: &str = "manage_gateway";

pub(crate) const HEALTH: Section = Section {
    tag: "Health",
    about: "Is it there, and how does it do",
    prefix: "",
    operations: &[
        get("/api/health", "Whether the gateway is there")
            .open()
            .gives(&[(200, Content::Json(Object(&[("status", Text)])))]),
        get("/api/status", "How it does").needs(GATEWAY).gives(&[(
            200,
            Content::Json(Object(&[
                ("status", Text),
                ("mode", Text),
                ("revision", Integer),
                ("uptime", Text),
                ("uptime_seconds", Integer),
                ("memory_usage", Text),
                ("memory_usage_mb", Integer),
                ("active_connections", Integer),
            ])),
        )]),
        delete("/api/caches", "Forgets kept answers and what limits have counted").needs(GATEWAY),
    ],
};

const COMPONENT: Shape =
    Object(&[("status", Word(&["healthy", "unhealthy", "unavailable"])), ("healthy", Flag)]);
const COMPONENTS: Shape = Object(&[("database", COMPONENT), ("docker", COMPONENT)]);
const WORKSPACES: Shape = Object(&[("total", Integer), ("active", Integer)]);

pub(crate) const VERSIONED_HEALTH: Section = Section {
    tag: "Health",
    about: "",
    prefix: "/api/v1",
    operations: &[get("/health", "Store and container engine").open().gives(&[(
        200,
        Content::Json(Object(&[
            ("status", Word(&["healthy", "degraded", "unhealthy"])),
            ("checks", COMPONENTS),
            ("components", COMPONENTS),
            ("workspaces", WORKSPACES),
            ("timestamp", Text),
            ("data", Object(&[("status", Text), ("components", COMPONENTS)])),
        ])),
    )])],
};

const SETTINGS: Shape = Shape::Record(&Record {
    name: "SecuritySettings",
    fields: Fields::Table(security::FIELDS),
    without: &[],
    with: &[
        ("type", Text),
        ("memory_only", Flag),
        ("allow_localhost_bypass_locked", Flag),
        ("security_warnings", List(&Text)),
        ("client_ip", Maybe(&Text)),
        ("client_ip_xff", Maybe(&Text)),
    ],
});

const PATH: &[Parameter] = &[("path", Taken::Text, "A path below the data folder, if there is no body")];

pub(crate) const SECURITY: Section = Section {
    tag: "Security",
    about: "Address lists, dumps, and the restart",
    prefix: "/platform",
    operations: &[
        get("/security/settings", "The settings")
            .needs("manage_security")
            .gives(&[(200, Content::Json(SETTINGS))]),
        put("/security/settings", "Changes them; not so that the caller would be shut out")
            .needs("manage_security")
            .updates(security::FIELDS)
            .gives(&[(200, Content::Json(SETTINGS))]),
        post("/security/restart", "Drains, and starts the daemon anew")
            .needs("manage_security")
            .gives(&[(202, Content::Json(Message))])
            .disruptive("restarts the daemon"),
        post("/memory/dump", "Writes an encrypted dump of all rows")
            .needs("manage_security")
            .query(PATH)
            .takes(Body::Maybe(Fields::Table(memory::FIELDS)))
            .gives(&[(200, Content::Json(Object(&[("response", Object(&[("path", Text)]))])))]),
        post("/memory/restore", "Puts a dump's rows in place of the present ones")
            .needs("manage_security")
            .query(PATH)
            .takes(Body::Maybe(Fields::Table(memory::FIELDS)))
            .gives(&[(200, Content::Json(Object(&[("response", Object(&[("version", Any)]))])))])
            .disruptive("replaces all rows"),
    ],
};

const ROWS: Shape = List(&Object(&[]));
const LISTS: &[Field] = &[
    ("roles", Kind::Objects, Absent::Null),
    ("groups", Kind::Objects, Absent::Null),
    ("apis", Kind::Objects, Absent::Null),
    ("endpoints", Kind::Objects, Absent::Null),
    ("routings", Kind::Objects, Absent::Null),
];
const OF_API: &[Parameter] =
    &[("api_name", Taken::Text, "Of one API, by name"), ("api_version", Taken::Text, "And version")];
/// A whole list, or the one row that was asked for.
const LIST_OR_ONE: &[(u16, Content)] = &[(200, Content::Json(Object(&[])))];

pub(crate) const CONFIGURATION: Section = Section {
    tag: "Configuration",
    about: "The configuration as one document, out, in and back",
    prefix: "/platform",
    operations: &[
        get("/config/export/all", "Everything").needs(GATEWAY).gives(&[(
            200,
            Content::Json(Object(&[
                ("roles", ROWS),
                ("groups", ROWS),
                ("apis", List(&API)),
                ("endpoints", List(&ENDPOINT)),
                ("routings", List(&ROUTING)),
            ])),
        )]),
        get("/config/export/apis", "APIs, or one with its endpoints")
            .needs("manage_apis")
            .query(OF_API)
            .gives(LIST_OR_ONE),
        get("/config/export/roles", "Roles, or one")
            .needs("manage_roles")
            .query(&[("role_name", Taken::Text, "Only this one")])
            .gives(LIST_OR_ONE),
        get("/config/export/groups", "Groups, or one")
            .needs("manage_groups")
            .query(&[("group_name", Taken::Text, "Only this one")])
            .gives(LIST_OR_ONE),
        get("/config/export/routings", "Routings, or one")
            .needs("manage_routings")
            .query(&[("client_key", Taken::Text, "Only this one")])
            .gives(LIST_OR_ONE),
        get("/config/export/endpoints", "Endpoints, or those of an API")
            .needs("manage_endpoints")
            .query(OF_API)
            .gives(&[(200, Content::Json(Object(&[("endpoints", List(&ENDPOINT))])))]),
        post("/config/import", "Takes lists in, all of them or nothing").needs(GATEWAY).creates(LISTS).gives(
            &[(200, Content::Json(Object(&[("imported", Map(&Integer)), ("snapshot_id", Maybe(&Text))])))],
        ),
        post("/config/rollback", "Takes imports back")
            .needs(GATEWAY)
            .query(&[("snapshot_id", Taken::Text, "Back to before this one; the newest if not given")])
            .gives(&[(200, Content::Json(Object(&[("message", Text), ("snapshot_id", Text)])))]),
        get("/config/current", "The settings as they count").needs(GATEWAY).gives(&[(
            200,
            Content::Json(Object(&[
                ("config", Map(&Any)),
                ("sources", Map(&Text)),
                ("source", Text),
                ("reload_command", Text),
            ])),
        )]),
        post("/config/reload", "Reads the settings anew, as SIGHUP does")
            .needs(GATEWAY)
            .gives(&[(200, Content::Json(Object(&[("message", Text), ("needs_restart", List(&Text))])))]),
        get("/config/reloadable-keys", "Which settings count without a restart").open().gives(&[(
            200,
            Content::Json(Object(&[("reloadable_keys", List(&Text)), ("needs_restart", List(&Text))])),
        )]),
    ],
};

pub(crate) const TOOLS: Section = Section {
    tag: "Tools",
    about: "Questions about the appliance",
    prefix: "/platform",
    operations: &[
        post("/tools/cors/check", "What the platform's cross-origin rules would answer")
            .needs("manage_security")
            .creates(tools::FIELDS)
            .gives(&[(
                200,
                Content::Json(Object(&[
                    ("config", Object(&[("allow_methods", List(&Text)), ("cors_strict", Flag)])),
                    ("input", Object(&[])),
                    ("preflight", Object(&[("allowed", Flag), ("response_headers", Map(&Text))])),
                    ("actual", Object(&[("allowed", Flag), ("response_headers", Map(&Text))])),
                    ("notes", List(&Text)),
                ])),
            )]),
        post("/tools/chaos/toggle", "Plays an outage of a backend that this appliance has not")
            .needs(GATEWAY)
            .creates(chaos::FIELDS)
            .gives(&[(200, Content::Json(Object(&[("backend", Text), ("enabled", Flag), ("note", Text)])))]),
        get("/tools/chaos/stats", "The outages that are on").needs(GATEWAY).gives(&[(
            200,
            Content::Json(Object(&[
                ("redis_outage", Flag),
                ("mongo_outage", Flag),
                ("error_budget_burn", Number),
                ("note", Text),
            ])),
        )]),
        get("/tools/grpc/check", "What of gRPC is there").needs("manage_security").gives(&[(
            200,
            Content::Json(Object(&[
                ("available", Map(&Flag)),
                ("reflection_enabled", Flag),
                ("notes", List(&Text)),
            ])),
        )]),
    ],
};

const DOCUMENT: &[(u16, Content)] =
    &[(200, Content::Json(Object(&[("openapi", Text), ("paths", Map(&Any))])))];

pub(crate) const CONTRACT: Section = Section {
    tag: "Contract",
    about: "This document, and a page of it",
    prefix: "",
    operations: &[
        get("/openapi.json", "This document").open().gives(DOCUMENT),
        get("/api/openapi.json", "This document").open().gives(DOCUMENT),
    ],
};

const PAGE: &[(u16, Content)] = &[(200, Content::File(&[("text/html; charset=utf-8", Text)]))];

pub(crate) const PLATFORM_CONTRACT: Section = Section {
    tag: "Contract",
    about: "",
    prefix: "/platform",
    operations: &[
        get("/openapi.json", "This document").open().gives(DOCUMENT),
        get("/docs", "A page to read it").open().gives(PAGE),
        get("/redoc", "The same page").open().gives(PAGE),
    ],
};
