//! Octoprox's surface: what is below `/api/v1`, the login form, introspection from within. Bodies are read strictly.

use crate::openapi::operation::Shape::{
    Any, Bounded, Either, Flag, Integer, List, Maybe, Number, Object, Text, Word,
};
use crate::openapi::operation::{
    Body, Content, Member, Parameter, Section, Shape, Taken, delete, get, post, put,
};
use crate::subjects::accounts::NAME_CHARS;

const PREFIX: &str = "/api/v1";
const ADMIN: &str = "For administrators";

const PAGE: Parameter = ("page", Taken::Between(1, i64::MAX), "Page, from 1");
const PER_PAGE: Parameter = ("per_page", Taken::Between(1, 100), "Items of a page, 20 if not given");
const PAGES: Shape = Object(&[
    ("page", Integer),
    ("per_page", Integer),
    ("total", Integer),
    (
        "pagination",
        Object(&[("page", Integer), ("per_page", Integer), ("total", Integer), ("total_pages", Integer)]),
    ),
]);

const KEY: Shape = Object(&[
    ("id", Integer),
    ("prefix", Text),
    ("name", Maybe(&Text)),
    ("user_id", Maybe(&Integer)),
    ("created_at", Maybe(&Text)),
    ("expires_at", Maybe(&Text)),
    ("last_used_at", Maybe(&Text)),
    ("nexusgate_token_id", Maybe(&Text)),
]);
const USER: Shape = Object(&[
    ("id", Integer),
    ("username", Text),
    ("role", Word(&["admin", "user"])),
    ("status", Word(&["active", "inactive"])),
    ("is_active", Flag),
    ("email", Maybe(&Text)),
    ("gateway_role", Text),
    ("created_at", Maybe(&Text)),
    ("updated_at", Maybe(&Text)),
    ("nexusgate_user_id", Maybe(&Text)),
    ("nexusgate_role", Maybe(&Text)),
    ("last_synced_at", Maybe(&Text)),
]);
const WORKSPACE: Shape =
    Object(&[("id", Integer), ("name", Text), ("status", Text), ("created_at", Maybe(&Text))]);
/// With what belongs to the user.
const WHOLE: Shape = Object(&[
    ("id", Integer),
    ("username", Text),
    ("role", Word(&["admin", "user"])),
    ("status", Word(&["active", "inactive"])),
    ("api_keys", List(&KEY)),
    ("workspaces", List(&WORKSPACE)),
]);
const ONE: &[(u16, Content)] = &[(200, Content::Json(Object(&[("data", USER)])))];
const ONE_WHOLE: &[(u16, Content)] = &[(200, Content::Json(Object(&[("data", WHOLE)])))];
const DONE: &[(u16, Content)] =
    &[(200, Content::Json(Object(&[("data", Object(&[("message", Text), ("id", Integer)]))])))];

const TIME: Shape = Maybe(&Either(&[Text, Number]));
const ROLE: Member = ("role", Maybe(&Word(&["admin", "user"])), false);
const STATUS: Member = ("status", Maybe(&Word(&["active", "inactive"])), false);
const ACTIVE: Member = ("is_active", Maybe(&Flag), false);
const OUTER: [Member; 3] = [
    ("nexusgate_user_id", Maybe(&Bounded(1, 64)), false),
    ("nexusgate_role", Maybe(&Bounded(1, 64)), false),
    ("last_synced_at", TIME, false),
];
const NEW_USER: &[Member] = &[
    ("username", Bounded(1, NAME_CHARS), true),
    ("password", Bounded(1, 1_024), true),
    ("email", Maybe(&Bounded(1, 127)), false),
    ROLE,
    STATUS,
    ACTIVE,
    OUTER[0],
    OUTER[1],
    OUTER[2],
];
const CHANGED_USER: &[Member] = &[ROLE, STATUS, ACTIVE, OUTER[0], OUTER[1], OUTER[2]];
const NEW_PASSWORD: Member = ("new_password", Bounded(1, 1_024), true);

pub(crate) const USERS: Section = Section {
    tag: "Octoprox: users",
    about: "Users by number, with the two roles that this surface knows",
    prefix: PREFIX,
    operations: &[
        get("/users", "Users; for who is no administrator the caller alone")
            .query(&[
                PAGE,
                PER_PAGE,
                ("status", Taken::Text, "`active` or `inactive`"),
                ("role", Taken::Text, "`admin` or `user`"),
            ])
            .gives(&[(
                200,
                Content::Json(Object(&[("data", Object(&[("users", List(&USER))])), ("meta", PAGES)])),
            )]),
        post("/users", "Makes a user. For administrators")
            .exactly(NEW_USER)
            .gives(&[(201, Content::Json(Object(&[("data", WHOLE)])))]),
        get("/users/me", "The caller, with keys and workspaces").gives(ONE_WHOLE),
        put("/users/me/password", "Changes the caller's password")
            .exactly(&[("current_password", Bounded(1, 1_024), true), NEW_PASSWORD])
            .gives(DONE)
            .disruptive("ends every session and token of the caller"),
        get("/users/{user_id}", "A user, with keys and workspaces; oneself, or for administrators")
            .gives(ONE_WHOLE),
        put("/users/{user_id}", "Changes a user; null leaves a field alone. For administrators")
            .exactly(CHANGED_USER)
            .gives(ONE),
        delete("/users/{user_id}", "Deactivates a user. For administrators").gives(DONE),
        post("/users/{user_id}/activate", "Activates a user. For administrators").gives(ONE),
        put("/users/{user_id}/password", "Sets a user's password and ends the sessions. For administrators")
            .exactly(&[NEW_PASSWORD])
            .gives(DONE),
    ],
};

const SECRET: Shape = Object(&[
    ("id", Integer),
    ("prefix", Text),
    ("name", Maybe(&Text)),
    ("user_id", Maybe(&Integer)),
    ("token", Text),
    ("api_key", Text),
    ("key", Text),
    ("warning", Text),
]);
const NEW_KEY: &[Member] = &[
    ("name", Maybe(&Either(&[Bounded(1, 128), Number])), false),
    ("user_id", Maybe(&Integer), false),
    ("expires_at", TIME, false),
    ("nexusgate_token_id", Maybe(&Bounded(1, 64)), false),
];

pub(crate) const KEYS: Section = Section {
    tag: "Octoprox: API keys",
    about: "Keys of the gateway's consumers",
    prefix: PREFIX,
    operations: &[
        get("/api-keys", "The caller's keys that are alive; all of them for who manages users")
            .query(&[
                PAGE,
                PER_PAGE,
                ("user_id", Taken::Between(i64::MIN, i64::MAX), "Whose, for who manages users"),
            ])
            .gives(&[(
                200,
                Content::Json(Object(&[("data", Object(&[("api_keys", List(&KEY))])), ("meta", PAGES)])),
            )]),
        post("/api-keys", "Makes a key, which is shown this once")
            .takes(Body::MaybeExact(NEW_KEY))
            .gives(&[(201, Content::Json(Object(&[("data", SECRET)])))]),
        delete("/api-keys/{key_id}", "Revokes a key").gives(DONE),
    ],
};

const SOME: Shape = Bounded(1, usize::MAX);
const LOGIN: &[Member] = &[
    ("username", SOME, true),
    ("password", SOME, true),
    ("totp_code", Any, false),
    ("recovery_code", Any, false),
];
const PAIR: &[(u16, Content)] = &[(
    200,
    Content::Json(Object(&[(
        "data",
        Object(&[
            ("access_token", Text),
            ("refresh_token", Text),
            ("token_type", Text),
            ("expires_in", Integer),
        ]),
    )])),
)];
const INTROSPECTED: &[(u16, Content)] =
    &[(200, Content::Json(Object(&[("active", Flag), ("data", Object(&[("active", Flag)]))])))];
const TOKEN: Body = Body::Form(&[("token", Maybe(&Text), false)]);

pub(crate) const AUTH: Section = Section {
    tag: "Octoprox: logins",
    about: "Logins by JSON and by a form, and what a token counts for",
    prefix: PREFIX,
    operations: &[
        post("/auth/login", "Logs in by user name, or by `email` in its place")
            .open()
            .exactly(LOGIN)
            .gives(PAIR),
        post("/auth/refresh", "Gives a new pair of tokens; a second use of one ends the session")
            .open()
            .exactly(&[("refresh_token", SOME, true)])
            .gives(PAIR),
        post("/auth/introspect", "What a token or key counts for; with `X-Introspect-Secret`, if one is set")
            .open()
            .takes(TOKEN)
            .gives(INTROSPECTED),
    ],
};

const HTML: (&str, Shape) = ("text/html; charset=utf-8", Text);
const JSON: (&str, Shape) = ("application/json", Object(&[("detail", Any)]));
const PAGE_OF_LOGIN: Content = Content::File(&[HTML]);
const REFUSED: Content = Content::File(&[HTML, JSON]);
const THERE: Content = Content::Empty(Some("Location"));

pub(crate) const LOGIN_FORM: Section = Section {
    tag: "Octoprox: logins",
    about: "",
    prefix: "/login",
    operations: &[
        get("", "The form").open().gives(&[(200, PAGE_OF_LOGIN)]),
        post("", "Logs in by the form, and sets the session's cookie")
            .open()
            .takes(Body::OnlyForm(&[
                ("username", Text, true),
                ("password", Text, true),
                ("csrf_token", Text, false),
                ("totp_code", Text, false),
            ]))
            .gives(&[(303, THERE), (401, REFUSED), (403, REFUSED), (429, REFUSED)]),
    ],
};

pub(crate) const LOGOUT: Section = Section {
    tag: "Octoprox: logins",
    about: "",
    prefix: "/logout",
    operations: &[post("", "Ends the session of the cookie").open().gives(&[(303, THERE)])],
};

pub(crate) const INTERNAL: Section = Section {
    tag: "Octoprox: logins",
    about: "",
    prefix: "/internal",
    operations: &[post("/auth/introspect", "As below `/api/v1`, for peers of `workspace_networks` alone")
        .open()
        .takes(TOKEN)
        .gives(INTROSPECTED)],
};

const RECORD: Shape = Object(&[
    ("id", Integer),
    ("timestamp", Text),
    ("user_id", Maybe(&Integer)),
    ("username", Text),
    ("action", Text),
    ("gateway_action", Text),
    ("resource", Text),
    ("object", Text),
    ("ip", Text),
    ("outcome", Text),
    ("details", Any),
    ("hash", Text),
]);
const ASKED: &[Parameter] = &[
    PAGE,
    PER_PAGE,
    ("action", Taken::Text, "By the older name of an action, or by ours"),
    ("resource", Taken::Text, "What it was done to"),
    ("username", Taken::Text, "Who did it"),
    ("user_id", Taken::Text, "Who did it, by number"),
    ("ip", Taken::Text, "From where"),
    ("outcome", Taken::Text, "How it went"),
    ("since", Taken::Text, "A time; not before it"),
    ("until", Taken::Text, "A time; before it"),
];

pub(crate) const ADMINISTRATION: Section = Section {
    tag: "Octoprox: administration",
    about: ADMIN,
    prefix: PREFIX,
    operations: &[
        get("/audit", "The audit trail, newest first").query(ASKED).gives(&[(
            200,
            Content::Json(Object(&[("data", Object(&[("audit", List(&RECORD))])), ("meta", PAGES)])),
        )]),
        post("/admin/database/backup", "Writes a backup below the data folder")
            .gives(&[(
                200,
                Content::Json(Object(&[(
                    "data",
                    Object(&[
                        ("message", Text),
                        ("backup_path", Text),
                        ("rows", Integer),
                        ("bytes", Integer),
                    ]),
                )])),
            )])
            .disruptive("each call leaves a file of all rows"),
        get("/admin/database/verify", "Looks at every row").gives(&[(
            200,
            Content::Json(Object(&[(
                "data",
                Object(&[
                    ("valid", Flag),
                    ("issues", List(&Text)),
                    ("tables_checked", List(&Text)),
                    ("tables_found", List(&Text)),
                ]),
            )])),
        )]),
        get("/admin/database/health", "Whether the store answers").gives(&[(
            200,
            Content::Json(Object(&[("data", Object(&[("connected", Flag), ("response_time_ms", Number)]))])),
        )]),
    ],
};

pub(crate) const HEALTH: Section = Section {
    tag: "Health",
    about: "",
    prefix: "/health",
    operations: &[get("", "Whether it serves")
        .open()
        .gives(&[(200, Content::Json(Object(&[("status", Text)])))])],
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openapi::schemas;
    use serde_json::{Value, json};

    #[test]
    fn bodies_have_the_very_types_that_the_handlers_take() {
        let user = |more: Value| {
            let mut body = json!({"username": "ana", "password": "x"});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            body
        };
        for (body, value, valid) in [
            (Body::Exact(NEW_USER), user(json!({})), true),
            (Body::Exact(NEW_USER), user(json!({"role": null, "is_active": true, "else": 5})), true),
            (Body::Exact(NEW_USER), user(json!({"last_synced_at": 1_769_862_600})), true),
            (Body::Exact(NEW_USER), user(json!({"role": "root"})), false),
            (Body::Exact(NEW_USER), user(json!({"is_active": "yes"})), false),
            (Body::Exact(NEW_USER), user(json!({"username": 5})), false),
            (Body::Exact(NEW_USER), user(json!({"username": "x".repeat(NAME_CHARS + 1)})), false),
            (Body::Exact(NEW_USER), json!({"username": "ana"}), false),
            (Body::MaybeExact(NEW_KEY), json!({"name": 5, "expires_at": "2030-01-01"}), true),
            (Body::MaybeExact(NEW_KEY), json!({"name": ""}), false),
            (Body::MaybeExact(NEW_KEY), json!({"user_id": "1"}), false),
            (Body::MaybeExact(NEW_KEY), json!([]), false),
            (TOKEN, json!({"token": null}), true),
            (TOKEN, json!({"token": 5}), false),
        ] {
            let schema = serde_json::to_value(schemas::body(body).unwrap()).unwrap();
            assert_eq!(jsonschema::is_valid(&schema, &value), valid, "{value}");
        }
    }
}
