//! What users may use: tiers, rules, quotas.

use super::{LIMIT, SKIP};
use crate::api::{assignments, rate_limits};
use crate::openapi::operation::Shape::{Any, Flag, Integer, List, Map, Maybe, Object, Text};
use crate::openapi::operation::{
    Body, Content, Fields, Parameter, Record, Section, Shape, Taken, delete, get, post, put,
};
use crate::schema::{Absent, Field, Kind};
use crate::subjects::{rate_rules, tiers};

const TIER: Shape =
    Shape::Record(&Record { name: "Tier", fields: Fields::Table(tiers::FIELDS), without: &[], with: &[] });
const ASSIGNMENT: Shape = Shape::Record(&Record {
    name: "Assignment",
    fields: Fields::Table(tiers::ASSIGNMENT),
    without: &[],
    with: &[],
});
const ASSIGNED: &[(u16, Content)] = &[(200, Content::Json(ASSIGNMENT))];
const ONE_TIER: &[(u16, Content)] = &[(200, Content::Json(TIER))];
const COUNTED: Shape = Object(&[
    ("tier_id", Text),
    ("name", Text),
    ("display_name", Text),
    ("enabled", Flag),
    ("total_users", Integer),
    ("scheduled_users", Integer),
]);
const TIER_LIST: Shape = Object(&[
    ("tiers", List(&TIER)),
    ("skip", Integer),
    ("limit", Integer),
    ("page", Integer),
    ("page_size", Integer),
    ("has_next", Flag),
    ("total", Integer),
]);
const STATISTICS: Shape = Object(&[
    ("total_tiers", Integer),
    ("enabled_tiers", Integer),
    ("total_assignments", Integer),
    ("tiers", List(&COUNTED)),
]);
const ENABLED_ONLY: Parameter = ("enabled_only", Taken::Flag, "Only those that are enabled");
const TIERS_NEED: &str = "manage_tiers";

pub(crate) const TIERS: Section = Section {
    tag: "Tiers",
    about: "Limits of a kind of users, and who has which",
    prefix: "/platform",
    operations: &[
        get("/tiers", "Tiers")
            .needs(TIERS_NEED)
            .query(&[
                SKIP,
                LIMIT,
                ("search", Taken::Text, "Part of an id, a name or a description"),
                ENABLED_ONLY,
            ])
            .gives(&[(200, Content::Json(TIER_LIST))]),
        post("/tiers", "Makes a tier; one that is there already is answered as it is")
            .needs(TIERS_NEED)
            .creates(tiers::FIELDS)
            .gives(&[(201, Content::Json(TIER))]),
        get("/tiers/{id}", "A tier").needs(TIERS_NEED).gives(ONE_TIER),
        put("/tiers/{id}", "Changes a tier").needs(TIERS_NEED).updates(tiers::FIELDS).gives(ONE_TIER),
        delete("/tiers/{id}", "Deletes a tier that nobody has").needs(TIERS_NEED),
        get("/tiers/{id}/users", "Who has a tier")
            .needs(TIERS_NEED)
            .query(&[SKIP, LIMIT])
            .gives(&[(200, Content::Json(List(&ASSIGNMENT)))]),
        get("/tiers/{id}/statistics", "How many have a tier")
            .needs(TIERS_NEED)
            .gives(&[(200, Content::Json(COUNTED))]),
        get("/tiers/statistics/all", "How many have each tier")
            .needs(TIERS_NEED)
            .gives(&[(200, Content::Json(STATISTICS))]),
        post("/tiers/compare", "Tiers side by side: a list of ids, or an object with `tier_ids`")
            .needs(TIERS_NEED)
            .takes(Body::Other(&Any))
            .gives(&[(200, Content::Json(Map(&Object(&[("tier_id", Text)]))))]),
        post("/tiers/assignments", "Gives a user a tier")
            .needs(TIERS_NEED)
            .creates(tiers::ASSIGNMENT)
            .gives(&[(201, Content::Json(ASSIGNMENT))]),
        get("/tiers/assignments/{user}", "A user's assignment in force, else the one to come")
            .needs(TIERS_NEED)
            .gives(ASSIGNED),
        delete("/tiers/assignments/{user}", "Takes a user's tier away").needs(TIERS_NEED),
        get("/tiers/assignments/{user}/tier", "A user's tier, with the limits of their own")
            .needs(TIERS_NEED)
            .gives(ONE_TIER),
        post("/tiers/upgrade", "Moves a user up, at once or later")
            .needs(TIERS_NEED)
            .creates(assignments::UPGRADE)
            .gives(ASSIGNED),
        post("/tiers/downgrade", "Moves a user down after days of grace")
            .needs(TIERS_NEED)
            .creates(assignments::DOWNGRADE)
            .gives(ASSIGNED),
        post("/tiers/temporary-upgrade", "Moves a user up for some days")
            .needs(TIERS_NEED)
            .creates(assignments::TEMPORARY)
            .gives(ASSIGNED),
        post("/tiers/trial/start", "Begins a trial")
            .needs(TIERS_NEED)
            .creates(assignments::TRIAL)
            .gives(ASSIGNED),
        post("/tiers/payment/failure", "Moves who does not pay to the default tier")
            .needs(TIERS_NEED)
            .creates(assignments::FAILURE)
            .gives(ASSIGNED),
    ],
};

const RULE: Shape = Shape::Record(&Record {
    name: "RateLimitRule",
    fields: Fields::Table(rate_rules::FIELDS),
    without: &[],
    with: &[],
});
const RULES: &[(u16, Content)] = &[(200, Content::Json(List(&RULE)))];
const ONE_RULE: &[(u16, Content)] = &[(200, Content::Json(RULE))];
const NEW_RULE: &[(u16, Content)] = &[(201, Content::Json(RULE))];
const IDS: &[Field] = &[("rule_ids", Kind::Texts, Absent::Required)];
const SUMMARY: Shape = Object(&[
    ("total_rules", Integer),
    ("enabled_rules", Integer),
    ("disabled_rules", Integer),
    ("rules_by_type", Map(&Integer)),
]);
const RULES_NEED: &str = "manage_rate_limits";

pub(crate) const RATE_LIMITS: Section = Section {
    tag: "Rate limits",
    about: "Rules that count calls of users, addresses, APIs and endpoints",
    prefix: "/platform",
    operations: &[
        get("/rate-limits", "Rules")
            .needs(RULES_NEED)
            .query(&[SKIP, LIMIT, ("rule_type", Taken::Text, "Only of this type"), ENABLED_ONLY])
            .gives(RULES),
        get("/rate-limits/search", "Rules by a word")
            .needs(RULES_NEED)
            .query(&[("q", Taken::Text, "Part of id, type, target or description"), SKIP, LIMIT])
            .gives(RULES),
        get("/rate-limits/status", "The rules that may count the caller's own calls").gives(&[(
            200,
            Content::Json(Object(&[("user_id", Text), ("applicable_rules", List(&RULE)), ("note", Text)])),
        )]),
        get("/rate-limits/statistics/summary", "How many rules there are")
            .needs(RULES_NEED)
            .gives(&[(200, Content::Json(SUMMARY))]),
        post("/rate-limits/bulk/delete", "Deletes rules")
            .needs(RULES_NEED)
            .creates(IDS)
            .gives(&[(200, Content::Json(Object(&[("deleted_count", Integer)])))]),
        post("/rate-limits/bulk/enable", "Enables rules")
            .needs(RULES_NEED)
            .creates(IDS)
            .gives(&[(200, Content::Json(Object(&[("enabled_count", Integer)])))]),
        post("/rate-limits/bulk/disable", "Disables rules")
            .needs(RULES_NEED)
            .creates(IDS)
            .gives(&[(200, Content::Json(Object(&[("disabled_count", Integer)])))]),
        post("/rate-limits/{id}/enable", "Enables a rule").needs(RULES_NEED).gives(ONE_RULE),
        post("/rate-limits/{id}/disable", "Disables a rule").needs(RULES_NEED).gives(ONE_RULE),
        post("/rate-limits/{id}/duplicate", "Copies a rule under another id, from the query or the body")
            .needs(RULES_NEED)
            .query(&[("new_rule_id", Taken::Text, "The copy's id")])
            .takes(Body::Maybe(Fields::Table(rate_limits::COPY)))
            .gives(NEW_RULE),
        get("/rate-limits/{id}", "A rule").needs(RULES_NEED).gives(ONE_RULE),
        put("/rate-limits/{id}", "Changes a rule")
            .needs(RULES_NEED)
            .updates(rate_rules::FIELDS)
            .gives(ONE_RULE),
        delete("/rate-limits/{id}", "Deletes a rule")
            .needs(RULES_NEED)
            .gives(&[(200, Content::Json(Object(&[("deleted", Flag), ("rule_id", Text)])))]),
        post("/rate-limits", "Makes a rule").needs(RULES_NEED).creates(rate_rules::FIELDS).gives(NEW_RULE),
    ],
};

const ONE_QUOTA: Shape = Object(&[
    ("quota_type", Text),
    ("current_usage", Integer),
    ("limit", Integer),
    ("remaining", Integer),
    ("percentage_used", Shape::Number),
    ("reset_at", Text),
    ("is_warning", Flag),
    ("is_critical", Flag),
    ("is_exhausted", Flag),
]);
const USED: Shape = Object(&[
    ("total_requests_used", Integer),
    ("total_requests_limit", Maybe(&Integer)),
    ("has_warnings", Flag),
    ("has_critical", Flag),
    ("has_exhausted", Flag),
]);
const DESCRIBED: Shape = Object(&[("tier_id", Text), ("tier_name", Text), ("display_name", Text)]);
const STATUS: Shape = Object(&[
    ("user_id", Text),
    ("tier_info", DESCRIBED),
    ("quotas", List(&ONE_QUOTA)),
    ("usage_summary", USED),
]);
const BURST: Shape = Object(&[
    ("user_id", Text),
    ("burst_limits", Map(&Integer)),
    ("burst_usage", Map(&Integer)),
    ("note", Text),
]);

pub(crate) const QUOTA: Section = Section {
    tag: "Quota",
    about: "What the caller's tier allows, and what of it is used",
    prefix: "/platform",
    operations: &[
        get("/quota/status", "All quotas").gives(&[(200, Content::Json(STATUS))]),
        get("/quota/status/{kind}", "One of `monthly_requests`, `daily_requests`, `monthly_bandwidth`")
            .gives(&[(200, Content::Json(ONE_QUOTA))]),
        get("/quota/usage/history", "Months and days past").gives(&[(
            200,
            Content::Json(Object(&[
                ("user_id", Text),
                ("history", List(&Object(&[("period", Text)]))),
                ("note", Text),
            ])),
        )]),
        post("/quota/usage/export", "Months past, as JSON or CSV")
            .query(&[("format", Taken::Word(&["json", "csv"]), "json if not given")])
            .gives(&[(200, Content::Json(Object(&[("format", Text), ("data", Any)])))]),
        get("/quota/tier/info", "The tier, and those that cost no less").gives(&[(
            200,
            Content::Json(Object(&[
                ("current_tier", DESCRIBED),
                ("upgrade_options", List(&Object(&[("tier_id", Text)]))),
            ])),
        )]),
        get("/quota/burst/status", "Calls above the limits of the present windows")
            .gives(&[(200, Content::Json(BURST))]),
    ],
};
