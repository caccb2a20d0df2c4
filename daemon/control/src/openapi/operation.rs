//! What is told of an operation: constants, a line or a few for each, in `docs/`.

use crate::schema::Field;

/// The fields of a resource, as `schema.rs` reads them.
#[derive(Clone, Copy)]
pub(crate) enum Fields {
    Table(&'static [Field]),
    Made(fn() -> Vec<Field>),
}

impl Fields {
    pub(crate) fn list(self) -> Vec<Field> {
        match self {
            Self::Table(fields) => fields.to_vec(),
            Self::Made(make) => make(),
        }
    }
}

/// What an operation reads of a body.
#[derive(Clone, Copy)]
pub(crate) enum Body {
    None,
    /// A whole resource.
    Create(Fields),
    /// The fields to be changed.
    Update(Fields),
    /// Some fields of a resource, or no body at all.
    Maybe(Fields),
    /// JSON of another shape.
    Other(&'static Shape),
    /// An object whose members are of the very types told here, or no body at all.
    Exact(&'static [Member]),
    MaybeExact(&'static [Member]),
    /// As `Exact`, as JSON or as an HTML form sends it.
    Form(&'static [Member]),
    /// An HTML form alone.
    OnlyForm(&'static [Member]),
    /// A file in this field of `multipart/form-data`.
    Upload(&'static str),
    /// Text of one of these media types.
    Raw(&'static [&'static str]),
}

/// A member of a body: name, shape, whether it must be there.
pub(crate) type Member = (&'static str, Shape, bool);

/// A resource as it is answered.
pub(crate) struct Record {
    pub(crate) name: &'static str,
    pub(crate) fields: Fields,
    /// Fields that are never shown.
    pub(crate) without: &'static [&'static str],
    /// Fields beside those of the table; each is always there.
    pub(crate) with: &'static [(&'static str, Shape)],
}

/// The shape of a value.
#[derive(Clone, Copy)]
pub(crate) enum Shape {
    Any,
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    Number,
    Integer,
    /// A whole number from here to there.
    Between(i64, i64),
    /// Text of so many characters.
    Bounded(usize, usize),
    Flag,
    /// One of these shapes.
    Either(&'static [Shape]),
    /// Or null.
    Maybe(&'static Shape),
    List(&'static Shape),
    /// An object with members of one shape.
    Map(&'static Shape),
    /// An object that has at least these members.
    Object(&'static [(&'static str, Shape)]),
    Record(&'static Record),
    /// A page of a list, under its plural (spec/doorman.md 1.5).
    Page(&'static str, &'static Shape),
    /// An object with `message`.
    Message,
}

/// The bytes of an answer.
#[derive(Clone, Copy)]
pub(crate) enum Content {
    Json(Shape),
    /// One of these media types.
    File(&'static [(&'static str, Shape)]),
    /// No bytes, and this field in the head, if one is named.
    Empty(Option<&'static str>),
}

/// What a parameter of the query may be.
#[derive(Clone, Copy)]
pub(crate) enum Taken {
    Text,
    Word(&'static [&'static str]),
    Between(i64, i64),
    Real,
    Flag,
    /// `YYYY-MM-DD`.
    Day,
}

/// A parameter of the query: name, what it may be, what it does.
pub(crate) type Parameter = (&'static str, Taken, &'static str);

/// Who may call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    Everybody,
    /// Whoever proved who they are.
    User,
    /// Whose role has this permission.
    Permission(&'static str),
    /// For oneself; for others with this permission.
    SelfOr(&'static str),
}

/// One method of one path.
#[derive(Clone, Copy)]
pub(crate) struct Operation {
    pub(crate) method: &'static str,
    /// As it is mounted, without the scope's prefix.
    pub(crate) path: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) access: Access,
    pub(crate) query: &'static [Parameter],
    /// Parameters of the query that must be given.
    pub(crate) asked: &'static [&'static str],
    pub(crate) body: Body,
    pub(crate) answers: &'static [(u16, Content)],
    /// Why a test against a living daemon leaves it out, if it does.
    pub(crate) disruptive: Option<&'static str>,
}

const OK_MESSAGE: &[(u16, Content)] = &[(200, Content::Json(Shape::Message))];

const fn operation(method: &'static str, path: &'static str, summary: &'static str) -> Operation {
    Operation {
        method,
        path,
        summary,
        access: Access::User,
        query: &[],
        asked: &[],
        body: Body::None,
        answers: OK_MESSAGE,
        disruptive: None,
    }
}

pub(crate) const fn get(path: &'static str, summary: &'static str) -> Operation {
    operation("get", path, summary)
}

pub(crate) const fn post(path: &'static str, summary: &'static str) -> Operation {
    operation("post", path, summary)
}

pub(crate) const fn put(path: &'static str, summary: &'static str) -> Operation {
    operation("put", path, summary)
}

pub(crate) const fn delete(path: &'static str, summary: &'static str) -> Operation {
    operation("delete", path, summary)
}

impl Operation {
    /// Needs a permission.
    pub(crate) const fn needs(self, permission: &'static str) -> Self {
        Self { access: Access::Permission(permission), ..self }
    }

    /// For oneself, or with a permission.
    pub(crate) const fn own_or(self, permission: &'static str) -> Self {
        Self { access: Access::SelfOr(permission), ..self }
    }

    /// Without a credential.
    pub(crate) const fn open(self) -> Self {
        Self { access: Access::Everybody, ..self }
    }

    pub(crate) const fn query(self, query: &'static [Parameter]) -> Self {
        Self { query, ..self }
    }

    pub(crate) const fn asked(self, asked: &'static [&'static str]) -> Self {
        Self { asked, ..self }
    }

    /// A body whose members are of the very types told here.
    pub(crate) const fn exactly(self, members: &'static [Member]) -> Self {
        Self { body: Body::Exact(members), ..self }
    }

    pub(crate) const fn takes(self, body: Body) -> Self {
        Self { body, ..self }
    }

    /// A body with all fields of a table that have no default.
    pub(crate) const fn creates(self, fields: &'static [Field]) -> Self {
        Self { body: Body::Create(Fields::Table(fields)), ..self }
    }

    /// A body with some fields of a table.
    pub(crate) const fn updates(self, fields: &'static [Field]) -> Self {
        Self { body: Body::Update(Fields::Table(fields)), ..self }
    }

    /// Answers; without this it is 200 with a message.
    pub(crate) const fn gives(self, answers: &'static [(u16, Content)]) -> Self {
        Self { answers, ..self }
    }

    pub(crate) const fn disruptive(self, why: &'static str) -> Self {
        Self { disruptive: Some(why), ..self }
    }
}

/// Operations of one kind below one prefix.
pub(crate) struct Section {
    /// Heading, and tag in the document.
    pub(crate) tag: &'static str,
    pub(crate) about: &'static str,
    pub(crate) prefix: &'static str,
    pub(crate) operations: &'static [Operation],
}

impl Section {
    /// Whether it is Octoprox's surface, which has errors and a session of its own.
    pub(crate) fn versioned(&self) -> bool {
        ["/api/v1", "/health", "/login", "/logout", "/internal"].contains(&self.prefix)
    }

    /// An operation's whole path, without the patterns of its variables: `{uri:.*}` is `{uri}`.
    pub(crate) fn path(&self, operation: &Operation) -> String {
        let mut path = self.prefix.to_owned();
        for part in operation.path.split_inclusive('/') {
            match part.split_once(':') {
                Some((name, rest)) => {
                    path.push_str(name);
                    path.push_str(rest.trim_start_matches(|c| c != '}'));
                }
                None => path.push_str(part),
            }
        }
        path
    }
}

/// The variables of a path.
pub(crate) fn variables(path: &str) -> impl Iterator<Item = &str> {
    path.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_told_without_its_patterns() {
        let section = Section { tag: "", about: "", prefix: "/platform", operations: &[] };
        for (mounted, told, names) in [
            ("/user", "/platform/user", vec![]),
            ("/user/{name}/x", "/platform/user/{name}/x", vec!["name"]),
            ("/e/{method}/{uri:.*}", "/platform/e/{method}/{uri}", vec!["method", "uri"]),
        ] {
            let path = section.path(&get(mounted, ""));
            assert_eq!(path, told);
            assert_eq!(variables(&path).collect::<Vec<_>>(), names);
        }
    }
}
