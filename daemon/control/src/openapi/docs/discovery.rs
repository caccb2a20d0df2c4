//! What upstreams say about themselves, proto files, and made-up data to look at.

use crate::openapi::operation::Shape::{Any, Flag, Integer, List, Map, Maybe, Object, Text};
use crate::openapi::operation::{
    Body, Content, Operation, Parameter, Section, Shape, Taken, delete, get, post, put,
};

const READS: &str = "manage_apis";
const IMPORTS: &str = "manage_endpoints";
const PREFIX: &str = "/platform";

const ENDPOINT: Shape =
    Object(&[("endpoint_uri", Text), ("endpoint_method", Text), ("endpoint_description", Any)]);
const IMPORTED: &[(u16, Content)] = &[(
    200,
    Content::Json(Object(&[
        ("message", Text),
        ("endpoints_found", Integer),
        ("endpoints_imported", Integer),
        ("endpoints_skipped", Integer),
        ("skipped", List(&Any)),
    ])),
)];
const OPENAPI_TYPES: Body = Body::Raw(&["application/json", "application/yaml"]);
const WSDL_TYPES: Body = Body::Raw(&["text/xml"]);

/// As many of these as there are APIs: each is fetched from where the API says.
const fn read(path: &'static str, summary: &'static str) -> Operation {
    get(path, summary).needs(READS)
}

pub(crate) const DISCOVERY: Section = Section {
    tag: "Documents of APIs",
    about: "OpenAPI, WSDL, GraphQL and gRPC: fetched from where an API says, kept for an hour, made endpoints of",
    prefix: PREFIX,
    operations: &[
        read("/api/{name}/{version}/openapi", "The API's OpenAPI document")
            .gives(&[(200, Content::Json(Object(&[])))]),
        post("/api/{name}/{version}/openapi/refresh", "Fetches it anew")
            .needs(READS)
            .gives(&[(200, Content::Json(Object(&[("message", Text), ("endpoints_found", Integer)])))]),
        post("/api/{name}/{version}/openapi/import", "Makes the endpoints that are missing")
            .needs(IMPORTS)
            .gives(IMPORTED),
        post("/openapi/parse", "What a document says, without keeping it")
            .needs(READS)
            .takes(OPENAPI_TYPES)
            .gives(&[(
                200,
                Content::Json(Object(&[
                    ("title", Any),
                    ("version", Any),
                    ("endpoints_count", Integer),
                    ("endpoints", List(&ENDPOINT)),
                ])),
            )]),
        read("/api/{name}/{version}/wsdl", "The API's WSDL")
            .gives(&[(200, Content::Json(Object(&[("wsdl", Text), ("cached", Flag)])))]),
        post("/api/{name}/{version}/wsdl/refresh", "Fetches it anew").needs(READS).gives(&[(
            200,
            Content::Json(Object(&[("message", Text), ("service_name", Any), ("operations_found", Integer)])),
        )]),
        post("/api/{name}/{version}/wsdl/import", "Makes the endpoints that are missing")
            .needs(IMPORTS)
            .gives(IMPORTED),
        post("/wsdl/parse", "What a WSDL says, without keeping it").needs(READS).takes(WSDL_TYPES).gives(&[
            (
                200,
                Content::Json(Object(&[
                    ("service_name", Any),
                    ("target_namespace", Any),
                    ("operations", List(&Object(&[("name", Text)]))),
                    ("endpoints_count", Integer),
                    ("locations", List(&Any)),
                ])),
            ),
        ]),
        read("/api/{name}/{version}/graphql/schema", "The API's GraphQL schema, by introspection").gives(&[
            (
                200,
                Content::Json(Object(&[
                    ("schema", Any),
                    ("cached", Flag),
                    ("operation_types", Map(&Any)),
                    ("has_subscriptions", Flag),
                ])),
            ),
        ]),
        post("/api/{name}/{version}/graphql/schema/refresh", "Asks anew").needs(READS).gives(&[(
            200,
            Content::Json(Object(&[
                ("message", Text),
                ("types_count", Integer),
                ("has_subscriptions", Flag),
            ])),
        )]),
        read("/api/{name}/{version}/graphql/types", "The types of that schema")
            .gives(&[(200, Content::Json(Object(&[("types", List(&Any)), ("types_count", Integer)])))]),
        read("/api/{name}/{version}/grpc/services", "Services, by proto file and by the API's list").gives(
            &[(
                200,
                Content::Json(Object(&[
                    ("services", List(&Text)),
                    ("methods", List(&Any)),
                    ("reflection_enabled", Flag),
                    ("note", Text),
                ])),
            )],
        ),
    ],
};

pub(crate) const PROTOS: Section = Section {
    tag: "Proto files",
    about: "Files of gRPC services: compiled as they are taken, and kept as text",
    prefix: PREFIX,
    operations: &[
        get("/proto/{name}/{version}", "The text of an API's file")
            .needs(READS)
            .gives(&[(200, Content::Json(Object(&[("content", Text)])))]),
        post("/proto/{name}/{version}", "Takes a file").needs(READS).takes(Body::Upload("file")),
        put("/proto/{name}/{version}", "Puts another in its place")
            .needs(READS)
            .takes(Body::Upload("proto_file")),
        delete("/proto/{name}/{version}", "Removes it, if there is one").needs(READS),
    ],
};

const SIZES: &[Parameter] = &[
    ("users", Taken::Between(0, 1_000), "How many; 40 if not given"),
    ("apis", Taken::Between(0, 200), "How many; 15 if not given"),
    ("endpoints", Taken::Between(0, 50), "How many of each API; 6 if not given"),
    ("groups", Taken::Between(0, 100), "How many; 8 if not given"),
    ("protos", Taken::Between(0, 50), "How many; 6 if not given"),
    ("seed", Taken::Between(0, 999_999), "Names what is made; 1 if not given"),
];

pub(crate) const DEMO: Section = Section {
    tag: "Made-up data",
    about: "Something to look at",
    prefix: PREFIX,
    operations: &[post("/demo/seed", "Makes groups, APIs, users and proto files up; for administrators")
        .query(SIZES)
        .gives(&[(
            200,
            Content::Json(Object(&[
                ("message", Text),
                ("users", Integer),
                ("apis", Integer),
                ("endpoints", Integer),
                ("groups", Integer),
                ("protos", Integer),
                ("subscriptions", Integer),
            ])),
        )])
        .disruptive("makes up to thousands of rows")],
};

const REVISION: Shape = Object(&[
    ("id", Integer),
    ("time", Text),
    ("actor", Text),
    ("source", Text),
    ("action", Text),
    ("object", Text),
    ("rows", Integer),
    ("bytes", Integer),
    ("kept", Flag),
    ("undoes", List(&Integer)),
]);
const CHANGE: Shape = Object(&[("table", Text), ("op", Text)]);
const SHOWN: Parameter = ("limit", Taken::Between(1, 10_000), "Rows that are shown, 1000 if not given");
const UNDONE: &[(u16, Content)] =
    &[(200, Content::Json(Object(&[("message", Text), ("revision", Integer)])))];
const GATEWAY: &str = "manage_gateway";

pub(crate) const REVISIONS: Section = Section {
    tag: "Configuration",
    about: "",
    prefix: PREFIX,
    operations: &[
        get("/config/schema", "The JSON Schema of files that declare the configuration")
            .gives(&[(200, Content::Json(Object(&[])))]),
        get("/config/revisions", "What was changed, newest first")
            .needs(GATEWAY)
            .query(&[
                ("actor", Taken::Text, "Who changed it"),
                ("action", Taken::Text, "How"),
                ("object", Taken::Text, "What; a part of its name"),
                ("limit", Taken::Between(1, 1_000), "Revisions, 100 if not given"),
                ("offset", Taken::Between(0, i64::MAX), "Revisions passed over"),
            ])
            .gives(&[(
                200,
                Content::Json(Object(&[
                    ("revisions", List(&REVISION)),
                    ("total", Integer),
                    ("has_more", Flag),
                    ("current", Integer),
                ])),
            )]),
        get("/config/revisions/diff", "What changed between two")
            .needs(GATEWAY)
            .query(&[
                ("from", Taken::Between(0, i64::MAX), "The older one"),
                ("to", Taken::Text, "The newer one, or `current`"),
                SHOWN,
            ])
            .asked(&["from"])
            .gives(&[(
                200,
                Content::Json(Object(&[
                    ("from", Integer),
                    ("to", Maybe(&Integer)),
                    ("total", Integer),
                    ("changes", List(&CHANGE)),
                ])),
            )]),
        get("/config/revisions/{id}", "One, with its rows before and after")
            .needs(GATEWAY)
            .query(&[SHOWN])
            .gives(&[(
                200,
                Content::Json(Object(&[
                    ("id", Integer),
                    ("time", Text),
                    ("action", Text),
                    ("changes", List(&CHANGE)),
                ])),
            )]),
        post("/config/revisions/{id}/revert", "Takes one back alone").needs(GATEWAY).gives(UNDONE),
        post("/config/revisions/{id}/rollback", "Takes back all that came after one")
            .needs(GATEWAY)
            .gives(UNDONE)
            .disruptive("takes back whatever came since"),
    ],
};
