//! What was seen of the traffic: logs, analytics, reports, metrics.

use crate::openapi::operation::Shape::{Any, Flag, Integer, List, Map, Maybe, Number, Object, Text};
use crate::openapi::operation::{Content, Parameter, Section, Shape, Taken, get};

const LINE: Shape = Object(&[
    ("timestamp", Text),
    ("level", Text),
    ("message", Text),
    ("source", Text),
    ("user", Maybe(&Text)),
    ("api", Maybe(&Text)),
    ("endpoint", Maybe(&Text)),
    ("method", Maybe(&Text)),
    ("status_code", Maybe(&Integer)),
    ("response_time", Maybe(&Number)),
    ("ip_address", Maybe(&Text)),
    ("protocol", Maybe(&Text)),
    ("request_id", Maybe(&Text)),
]);
const SOURCES: Taken = Taken::Word(&["platform", "auth", "gateway"]);

const FILTER: [Parameter; 15] = [
    ("start_date", Taken::Day, "From this day, UTC"),
    ("start_time", Taken::Text, "And this time of day, HH:MM"),
    ("end_date", Taken::Day, "Up to this day"),
    ("end_time", Taken::Text, "And this time of day"),
    ("user", Taken::Text, "Of a user"),
    ("api", Taken::Text, "Of an API"),
    ("endpoint", Taken::Text, "Of an endpoint"),
    ("request_id", Taken::Text, "Of one request"),
    ("method", Taken::Text, "Of a method"),
    ("ip_address", Taken::Text, "From an address"),
    ("level", Taken::Text, "Of a level"),
    ("type", SOURCES, "Only of this source"),
    ("exclude_type", SOURCES, "Not of this source"),
    ("min_response_time", Taken::Real, "That took at least so many milliseconds"),
    ("max_response_time", Taken::Real, "That took at most so many milliseconds"),
];

/// The filter with two more.
const fn filtered(one: Parameter, other: Parameter) -> [Parameter; 17] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o] = FILTER;
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, one, other]
}

const PAGED: &[Parameter] =
    &filtered(super::LIMIT, ("offset", Taken::Between(0, i64::MAX), "Lines passed over"));
const EXPORTED: &[Parameter] = &filtered(
    ("format", Taken::Word(&["json", "csv"]), "json if not given"),
    ("limit", Taken::Between(1, 10_000), "Lines, 1000 if not given"),
);
const NAMED: Shape = List(&Object(&[("name", Text), ("count", Integer)]));
const COUNTS: Shape = Object(&[
    ("total_logs", Integer),
    ("error_count", Integer),
    ("warning_count", Integer),
    ("info_count", Integer),
    ("debug_count", Integer),
    ("avg_response_time", Number),
    ("top_apis", NAMED),
    ("top_users", NAMED),
    ("top_endpoints", NAMED),
    ("complete", Flag),
]);

pub(crate) const LOGGING: Section = Section {
    tag: "Logging",
    about: "Access records and audit trail, newest first",
    prefix: "/platform",
    operations: &[
        get("/logging/logs", "Lines").needs("view_logs").query(PAGED).gives(&[(
            200,
            Content::Json(Object(&[
                ("logs", List(&LINE)),
                ("total", Integer),
                ("has_more", Flag),
                ("complete", Flag),
            ])),
        )]),
        get("/logging/logs/files", "The files there are")
            .needs("view_logs")
            .gives(&[(200, Content::Json(Object(&[("count", Integer), ("log_files", List(&Text))])))]),
        get("/logging/logs/statistics", "Counts")
            .needs("view_logs")
            .query(&FILTER)
            .gives(&[(200, Content::Json(COUNTS))]),
        get("/logging/logs/export", "Lines as text inside JSON")
            .needs("export_logs")
            .query(EXPORTED)
            .gives(&[(200, Content::Json(Object(&[("format", Text), ("data", Text), ("filename", Text)])))]),
        get("/logging/logs/download", "Lines as a file").needs("export_logs").query(EXPORTED).gives(&[(
            200,
            Content::File(&[("application/json", List(&LINE)), ("text/csv; charset=utf-8", Text)]),
        )]),
    ],
};

const RANGE: Parameter = ("range", Taken::Word(&["1h", "24h", "7d", "30d"]), "24h if not given");
const START: Parameter = ("start_ts", Taken::Between(0, i64::MAX), "Begin, Unix seconds");
const END: Parameter = ("end_ts", Taken::Between(0, i64::MAX), "End, Unix seconds");
const MOST: Parameter = ("limit", Taken::Between(1, 100), "Names, 10 if not given");
const SPAN: Shape = Object(&[("start_ts", Integer), ("end_ts", Integer), ("duration_seconds", Integer)]);
const PERCENTILES: Shape = Object(&[
    ("p50", Number),
    ("p75", Number),
    ("p90", Number),
    ("p95", Number),
    ("p99", Number),
    ("min", Number),
    ("max", Number),
]);
const SUM: Shape = Object(&[
    ("total_requests", Integer),
    ("total_errors", Integer),
    ("error_rate", Number),
    ("avg_response_ms", Number),
    ("unique_users", Integer),
    ("total_bandwidth", Integer),
    ("bandwidth_in", Integer),
    ("bandwidth_out", Integer),
]);
const TOP_APIS: Shape = List(&Object(&[("api", Text), ("count", Integer)]));
const TOP_USERS: Shape = List(&Object(&[("user", Text), ("count", Integer)]));
const POINT: Shape = Object(&[("timestamp", Integer), ("value", Number)]);
const ENDPOINT: Shape = Object(&[
    ("endpoint_uri", Text),
    ("method", Text),
    ("count", Integer),
    ("error_count", Integer),
    ("error_rate", Number),
    ("avg_ms", Number),
    ("percentiles", PERCENTILES),
    ("status_counts", Map(&Integer)),
]);
const NEEDS: &str = "view_analytics";

pub(crate) const ANALYTICS: Section = Section {
    tag: "Analytics",
    about: "What the access records tell of a span of time, a year at most",
    prefix: "/platform",
    operations: &[
        get("/analytics/overview", "Sums, percentiles and the most frequent names")
            .needs(NEEDS)
            .query(&[RANGE, START, END])
            .gives(&[(
                200,
                Content::Json(Object(&[
                    ("time_range", SPAN),
                    ("summary", SUM),
                    ("percentiles", PERCENTILES),
                    ("top_apis", TOP_APIS),
                    ("top_users", TOP_USERS),
                    ("status_distribution", Map(&Integer)),
                    ("complete", Flag),
                ])),
            )]),
        get("/analytics/timeseries", "A series of one metric")
            .needs(NEEDS)
            .query(&[
                RANGE,
                START,
                END,
                (
                    "granularity",
                    Taken::Word(&["auto", "minute", "5minute", "hour", "day"]),
                    "auto if not given",
                ),
                (
                    "metric_type",
                    Taken::Word(&["request_count", "error_rate", "latency", "bandwidth"]),
                    "request_count if not given",
                ),
            ])
            .gives(&[(
                200,
                Content::Json(Object(&[
                    ("time_range", SPAN),
                    ("granularity", Text),
                    ("data_points", Integer),
                    ("series", List(&POINT)),
                    ("complete", Flag),
                ])),
            )]),
        get("/analytics/top-apis", "The APIs with the most calls")
            .needs(NEEDS)
            .query(&[RANGE, START, END, MOST])
            .gives(&[(
                200,
                Content::Json(Object(&[
                    ("time_range", SPAN),
                    ("top_apis", TOP_APIS),
                    ("total_apis", Integer),
                ])),
            )]),
        get("/analytics/top-users", "The users with the most calls")
            .needs(NEEDS)
            .query(&[RANGE, START, END, MOST])
            .gives(&[(
                200,
                Content::Json(Object(&[
                    ("time_range", SPAN),
                    ("top_users", TOP_USERS),
                    ("total_users", Integer),
                ])),
            )]),
        get("/analytics/top-endpoints", "The endpoints with the most calls, errors or delay")
            .needs(NEEDS)
            .query(&[
                RANGE,
                START,
                END,
                MOST,
                ("sort_by", Taken::Word(&["count", "avg_ms", "error_rate"]), "count if not given"),
            ])
            .gives(&[(
                200,
                Content::Json(Object(&[("top_endpoints", List(&ENDPOINT)), ("total_endpoints", Integer)])),
            )]),
        get("/analytics/api/{name}/{version}", "One API")
            .needs(NEEDS)
            .query(&[RANGE, START, END])
            .gives(&[(200, Content::Json(Object(&[("summary", SUM), ("percentiles", PERCENTILES)])))]),
        get("/analytics/user/{username}", "One user")
            .needs(NEEDS)
            .query(&[RANGE, START, END])
            .gives(&[(200, Content::Json(Object(&[("summary", SUM), ("percentiles", PERCENTILES)])))]),
    ],
};

const REPORT: Shape = Object(&[
    ("period", Text),
    ("from", Integer),
    ("total_requests", Integer),
    ("total_errors", Integer),
    ("error_rate", Number),
    ("avg_response_ms", Number),
    ("status_counts", Map(&Integer)),
    ("series", List(&Any)),
]);
const MONITOR_NEEDS: &str = "manage_gateway";

pub(crate) const MONITOR: Section = Section {
    tag: "Monitor",
    about: "Whether it lives, and what it has carried for up to a month",
    prefix: "/platform",
    operations: &[
        get("/monitor/liveness", "Whether the daemon lives")
            .open()
            .gives(&[(200, Content::Json(Object(&[("status", Text)])))]),
        get("/monitor/readiness", "Whether it takes calls: 503 while it drains")
            .open()
            .gives(&[(200, Content::Json(Object(&[("status", Text), ("mode", Maybe(&Text))])))]),
        get("/monitor/metrics", "Sums and a series")
            .needs(MONITOR_NEEDS)
            .query(&[
                RANGE,
                ("group", Taken::Word(&["minute", "day"]), "minute if not given"),
                ("sort", Taken::Word(&["asc", "desc"]), "asc if not given"),
            ])
            .gives(&[(200, Content::Json(REPORT))]),
        get("/monitor/report", "A table of some days")
            .needs(MONITOR_NEEDS)
            .query(&[("start", Taken::Day, "First day"), ("end", Taken::Day, "Last day")])
            .asked(&["start", "end"])
            .gives(&[(200, Content::File(&[("text/csv; charset=utf-8", Text)]))]),
        get("/dashboard", "One look at the whole").gives(&[(
            200,
            Content::Json(Object(&[
                ("totalRequests", Integer),
                ("activeUsers", Integer),
                ("newApis", Integer),
                ("monthlyUsage", Map(&Integer)),
                (
                    "activeUsersList",
                    List(&Object(&[("username", Text), ("requests", Text), ("subscribers", Integer)])),
                ),
                (
                    "popularApis",
                    List(&Object(&[("name", Text), ("requests", Text), ("subscribers", Integer)])),
                ),
            ])),
        )]),
    ],
};

pub(crate) const METRICS: Section = Section {
    tag: "Monitor",
    about: "",
    prefix: "",
    operations: &[get(
        "/metrics",
        "Prometheus' page; open to the addresses that the settings name, else by their token",
    )
    .open()
    .gives(&[(
        200,
        Content::File(&[
            ("text/plain; version=0.0.4; charset=utf-8", Text),
            ("application/openmetrics-text; version=1.0.0; charset=utf-8", Text),
        ]),
    )])],
};
