//! Who may come in: logins, users, roles, groups, subscriptions.

use super::{PAGE, PAGE_SIZE, PAGING};
use crate::api::{groups, roles, subscriptions, users};
use crate::openapi::operation::Shape::{Flag, Integer, List, Maybe, Message, Object, Page, Text};
use crate::openapi::operation::{
    Body, Content, Fields, Record, Section, Shape, Taken, delete, get, post, put,
};
use crate::schema::{Absent, Field, Kind};

const EMAIL: Field = ("email", Kind::Text(1, 4_096), Absent::Required);
const PASSWORD: Field = ("password", Kind::Text(1, 4_096), Absent::Required);
const LOGIN: &[Field] = &[EMAIL, PASSWORD];

/// With the code of a second factor, if there is one.
const ENTRY: &[Field] = &[
    EMAIL,
    PASSWORD,
    ("totp_code", Kind::Text(0, 4_096), Absent::Null),
    ("recovery_code", Kind::Text(0, 4_096), Absent::Null),
];

const SESSION: Shape = Object(&[
    ("id", Text),
    ("username", Text),
    ("source", Text),
    ("created_unix_ms", Integer),
    ("expires_unix_ms", Integer),
    ("current", Flag),
]);

const STEP: Shape = Object(&[("check", Text), ("holds", Flag), ("because", Text)]);

pub(crate) const AUTHORIZATION: Section = Section {
    tag: "Authorization",
    about: "Logins, tokens and sessions",
    prefix: "/platform",
    operations: &[
        post("/authorization", "Logs in by user name or e-mail address; sets the session's cookies")
            .open()
            .creates(ENTRY)
            .gives(&[(200, Content::Json(Object(&[("access_token", Text)])))]),
        post(
            "/authorization/refresh",
            "Gives a new long-lived token; one that is spent twice ends the session",
        )
        .gives(&[(200, Content::Json(Object(&[("refresh_token", Text)])))]),
        post(
            "/authorization/register",
            "Makes an account of one's own, in no group; where `registration` is on",
        )
        .open()
        .creates(LOGIN)
        .gives(&[(201, Content::Json(Message))]),
        post("/authorization/invalidate", "Ends the session").disruptive("ends the session it is called in"),
        get("/authorization/status", "Whether the token is valid"),
        get("/authorization/why", "Why somebody may do something or call an API, or may not")
            .own_or("manage_auth")
            .query(&[
                ("user", Taken::Text, "Who; the caller if not given"),
                ("permission", Taken::Text, "May they do this"),
                ("read", Taken::Flag, "By reading alone"),
                ("api", Taken::Text, "Or: may they call this API, `NAME/VERSION`"),
                ("token", Taken::Text, "With this token of theirs, by its id"),
            ])
            .gives(&[(
                200,
                Content::Json(Object(&[("user", Text), ("allowed", Flag), ("chain", List(&STEP))])),
            )]),
        get("/authorization/sessions", "The sessions of a user that are alive")
            .own_or("manage_auth")
            .query(&[("username", Taken::Text, "Whose; the caller's if not given"), PAGE, PAGE_SIZE])
            .gives(&[(200, Content::Json(Page("sessions", &SESSION)))]),
        delete("/authorization/sessions/{id}", "Ends a session").own_or("manage_auth"),
        post("/authorization/admin/revoke/{username}", "Makes all tokens of a user invalid")
            .needs("manage_auth"),
        post("/authorization/admin/unrevoke/{username}", "Lets a user's tokens count again")
            .needs("manage_auth"),
        post("/authorization/admin/disable/{username}", "Disables a user").needs("manage_auth"),
        post("/authorization/admin/enable/{username}", "Enables a user").needs("manage_auth"),
        get("/authorization/admin/status/{username}", "Whether a user is active, and their tokens revoked")
            .needs("manage_auth")
            .gives(&[(200, Content::Json(Object(&[("active", Flag), ("revoked", Flag)])))]),
    ],
};

const USER: Shape = Shape::Record(&Record {
    name: "User",
    fields: Fields::Table(users::FIELDS),
    without: &["password"],
    with: &[],
});
const LISTED: &[(u16, Content)] = &[(200, Content::Json(Object(&[("users", List(&USER))])))];
const ONE_USER: &[(u16, Content)] = &[(200, Content::Json(USER))];

pub(crate) const USERS: Section = Section {
    tag: "Users",
    about: "Users, whom the gateway knows as consumers",
    prefix: "/platform",
    operations: &[
        get("/user/me", "The caller").gives(ONE_USER),
        get("/user/all", "Users; administrators are shown to administrators alone")
            .query(PAGING)
            .gives(LISTED),
        get("/user", "As `/platform/user/all`").query(PAGING).gives(LISTED),
        get("/user/email/{email}", "A user by e-mail address").own_or("manage_users").gives(ONE_USER),
        put("/user/{username}/update-password", "Sets a password and ends the tokens made before")
            .own_or("manage_users")
            .creates(&[("new_password", Kind::Text(6, 50), Absent::Required)]),
        get("/user/{username}", "A user").own_or("manage_users").gives(ONE_USER),
        put("/user/{username}", "Changes a user").own_or("manage_users").updates(users::FIELDS),
        delete("/user/{username}", "Deletes a user, with keys, credits and subscriptions")
            .own_or("manage_users"),
        post("/user", "Makes a user")
            .needs("manage_users")
            .creates(users::FIELDS)
            .gives(&[(201, Content::Json(Message))]),
    ],
};

const ROLE_FIELDS: Fields = Fields::Made(roles::fields);
const ROLE: Shape = Shape::Record(&Record { name: "Role", fields: ROLE_FIELDS, without: &[], with: &[] });
/// Whoever is no administrator is told of no pages.
const ROLES_LISTED: &[(u16, Content)] = &[(200, Content::Json(Object(&[("roles", List(&ROLE))])))];

pub(crate) const ROLES: Section = Section {
    tag: "Roles",
    about: "What users may do",
    prefix: "/platform",
    operations: &[
        get("/role/all", "Roles").query(PAGING).gives(ROLES_LISTED),
        get("/role", "As `/platform/role/all`").query(PAGING).gives(ROLES_LISTED),
        get("/role/{role}", "A role").gives(&[(200, Content::Json(ROLE))]),
        put("/role/{role}", "Changes a role")
            .needs("manage_roles")
            .takes(Body::Update(ROLE_FIELDS))
            .gives(&[(200, Content::Json(ROLE))]),
        delete("/role/{role}", "Deletes a role").needs("manage_roles"),
        post("/role", "Makes a role")
            .needs("manage_roles")
            .takes(Body::Create(ROLE_FIELDS))
            .gives(&[(201, Content::Json(Message))]),
    ],
};

const GROUP: Shape =
    Shape::Record(&Record { name: "Group", fields: Fields::Table(groups::FIELDS), without: &[], with: &[] });
const GROUPS_LISTED: &[(u16, Content)] = &[(200, Content::Json(Page("groups", &GROUP)))];

pub(crate) const GROUPS: Section = Section {
    tag: "Groups",
    about: "Which users reach which APIs",
    prefix: "/platform",
    operations: &[
        get("/group/all", "Groups").query(PAGING).gives(GROUPS_LISTED),
        get("/group", "As `/platform/group/all`").query(PAGING).gives(GROUPS_LISTED),
        get("/group/{group}", "A group").gives(&[(200, Content::Json(GROUP))]),
        put("/group/{group}", "Changes a group").needs("manage_groups").updates(groups::FIELDS),
        delete("/group/{group}", "Deletes a group").needs("manage_groups"),
        post("/group", "Makes a group")
            .needs("manage_groups")
            .creates(groups::FIELDS)
            .gives(&[(201, Content::Json(Message))]),
    ],
};

const SUBSCRIBED: &[(u16, Content)] = &[(
    200,
    Content::Json(Object(&[("apis", List(&Text)), ("subscriptions", Object(&[("apis", List(&Text))]))])),
)];
const AVAILABLE: Shape =
    Object(&[("api_name", Maybe(&Text)), ("api_version", Maybe(&Text)), ("api_description", Maybe(&Text))]);

pub(crate) const SUBSCRIPTIONS: Section = Section {
    tag: "Subscriptions",
    about: "Which user calls which API",
    prefix: "/platform",
    operations: &[
        post("/subscription/subscribe", "Subscribes a user to an API")
            .own_or("manage_subscriptions")
            .creates(subscriptions::FIELDS),
        post("/subscription/unsubscribe", "Takes a subscription back")
            .own_or("manage_subscriptions")
            .creates(subscriptions::FIELDS),
        get("/subscription/subscriptions", "The caller's subscriptions").gives(SUBSCRIBED),
        get("/subscription/subscriptions/{username}", "A user's subscriptions")
            .own_or("manage_subscriptions")
            .gives(SUBSCRIBED),
        get("/subscription/available-apis/{username}", "The APIs that a user may subscribe to")
            .own_or("manage_subscriptions")
            .gives(&[(200, Content::Json(Object(&[("apis", List(&AVAILABLE))])))]),
    ],
};
