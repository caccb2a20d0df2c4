//! What is below `/auth`: tokens of one's own, the second factor, links of one use, login at a provider.

use crate::openapi::operation::Shape::{Between, Bounded, Flag, Integer, List, Maybe, Message, Object, Text};
use crate::openapi::operation::{Body, Content, Member, Parameter, Section, Shape, Taken, delete, get, post};

const PREFIX: &str = "/auth";
const GONE: &[(u16, Content)] = &[(204, Content::Empty(None))];

const TOKEN: Shape = Object(&[
    ("id", Text),
    ("name", Text),
    ("prefix", Text),
    ("scopes", List(&Text)),
    ("networks", List(&Text)),
    ("created_at", Maybe(&Text)),
    ("expires_at", Maybe(&Text)),
    ("last_used_at", Maybe(&Text)),
    ("revoked_at", Maybe(&Text)),
    ("active", Flag),
]);
const NEW_TOKEN: &[Member] = &[
    ("name", Bounded(1, 100), true),
    ("scopes", List(&Text), true),
    ("networks", Maybe(&List(&Text)), false),
    ("expires_in_days", Maybe(&Between(1, 3_650)), false),
];
const MADE: Shape = Object(&[("id", Text), ("name", Text), ("scopes", List(&Text)), ("token", Text)]);
const OF_ALL: Shape = Object(&[("id", Text), ("user_id", Text), ("email", Maybe(&Text)), ("active", Flag)]);

pub(crate) const TOKENS: Section = Section {
    tag: "Personal access tokens",
    about: "Tokens that a user makes, with scopes, for programs",
    prefix: PREFIX,
    operations: &[
        get("/tokens", "The caller's tokens, revoked ones too").gives(&[(200, Content::Json(List(&TOKEN)))]),
        post("/tokens", "Makes a token, which is shown this once; in an interactive session")
            .exactly(NEW_TOKEN)
            .gives(&[(201, Content::Json(MADE))]),
        get("/tokens/{id}", "A token of the caller").gives(&[(200, Content::Json(TOKEN))]),
        delete("/tokens/{id}", "Revokes a token of the caller").gives(GONE),
        get("/admin/tokens", "All tokens; for administrators").gives(&[(200, Content::Json(List(&OF_ALL)))]),
        delete("/admin/tokens/{id}", "Revokes any token; for administrators").gives(GONE),
    ],
};

const CODE: Shape = Bounded(1, usize::MAX);

pub(crate) const FACTOR: Section = Section {
    tag: "Second factor",
    about: "Codes of an authenticator, and codes for the day it is lost; in an interactive session",
    prefix: PREFIX,
    operations: &[
        get("/totp", "Whether the caller has one").gives(&[(
            200,
            Content::Json(Object(&[("enrolled", Flag), ("recovery_codes_left", Maybe(&Integer))])),
        )]),
        post("/totp/enrol", "A new secret, which counts once it is confirmed")
            .gives(&[(201, Content::Json(Object(&[("secret", Text), ("otpauth_url", Text)])))]),
        post("/totp/confirm", "Confirms it by a code; answers the recovery codes, this once")
            .exactly(&[("code", CODE, true)])
            .gives(&[(200, Content::Json(Object(&[("recovery_codes", List(&Text))])))]),
        post("/totp/disable", "Takes it away, by a code").exactly(&[("code", CODE, true)]).gives(GONE),
        delete("/admin/totp/{username}", "Takes a user's away; for administrators").gives(GONE),
    ],
};

const HTML: (&str, Shape) = ("text/html; charset=utf-8", Text);
const PAGE: &[(u16, Content)] = &[(200, Content::File(&[HTML]))];
const LINK: &[Parameter] = &[("token", Taken::Text, "As the link has it")];
const DONE: &[(u16, Content)] = &[(200, Content::File(&[("application/json", Message), HTML]))];
const SESSION: Shape = Object(&[("access_token", Text), ("token_type", Text), ("role", Text)]);
const LET_IN: &[(u16, Content)] = &[(200, Content::File(&[("application/json", SESSION), HTML]))];
const TOKEN_FIELD: Member = ("token", CODE, true);
const PASSWORD: Body =
    Body::Form(&[TOKEN_FIELD, ("password", CODE, true), ("confirm_password", Text, false)]);

const LOG_IN: Body = Body::Form(&[TOKEN_FIELD, ("totp_code", Text, false), ("recovery_code", Text, false)]);

pub(crate) const LINKS: Section = Section {
    tag: "Links of one use",
    about: "What a link leads to. The page uses nothing up; its button does",
    prefix: PREFIX,
    operations: &[
        get("/password/reset", "The form for a new password").open().query(LINK).gives(PAGE),
        post("/password/reset/confirm", "Sets the password").open().takes(PASSWORD).gives(DONE),
        get("/password/setup", "The form for the first password").open().query(LINK).gives(PAGE),
        post("/password/setup", "As `/auth/password/setup/confirm`").open().takes(PASSWORD).gives(DONE),
        post("/password/setup/confirm", "Sets the first password").open().takes(PASSWORD).gives(DONE),
        get("/email/verify", "The button that logs in").open().query(LINK).gives(PAGE),
        post("/email/verify", "Logs in; with a code, if there is a second factor")
            .open()
            .takes(LOG_IN)
            .gives(LET_IN),
    ],
};

pub(crate) const PROVIDER: Section = Section {
    tag: "Login at a provider",
    about: "OpenID Connect, where `oidc_issuer` is set",
    prefix: PREFIX,
    operations: &[
        get("/oidc/login", "Sends the browser to the provider")
            .open()
            .gives(&[(303, Content::Empty(Some("Location")))]),
        get("/oidc/callback", "Takes it back")
            .open()
            .query(&[("state", Taken::Text, "As it was sent"), ("code", Taken::Text, "The provider's")])
            .gives(LET_IN),
    ],
};
