//! JSON Schemas of bodies, parameters and answers. A body's schema takes exactly what `schema.rs` takes: a number may come as
//! text, a flag as 0 or `"yes"` (spec/doorman.md 1.2). Those of answers are strict.

use super::operation::{Body, Fields, Member, Record, Shape, Taken};
use crate::schema::{Absent, Field, Kind};
use serde_json::{Value, json};
use utoipa::openapi::schema::{
    AdditionalProperties, AnyOfBuilder, Array, ArrayBuilder, Object, ObjectBuilder, SchemaType, Type,
};
use utoipa::openapi::{Ref, RefOr, Schema};

/// A schema, or the name of one.
type Part = RefOr<Schema>;

const DIGITS: &str = r"^\s*[+-]?[0-9]+\s*$";
const DECIMAL: &str = r"^\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*$";
const FLAG: &str =
    "^([tT]([rR][uU][eE])?|1|[yY]([eE][sS])?|[oO][nN]|[fF]([aA][lL][sS][eE])?|0|[nN][oO]?|[oO][fF][fF])$";

/// As [`FLAG`]; one that is empty is not given.
const QUERY_FLAG: &str =
    "^([tT]([rR][uU][eE])?|1|[yY]([eE][sS])?|[oO][nN]|[fF]([aA][lL][sS][eE])?|0|[nN][oO]?|[oO][fF][fF])?$";

/// Types with null among them where it is taken.
fn types(list: &[Type], null: bool) -> SchemaType {
    match list {
        [one] if !null => SchemaType::Type(one.clone()),
        _ => SchemaType::Array(list.iter().cloned().chain(null.then_some(Type::Null)).collect()),
    }
}

fn object(list: &[Type], null: bool) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(types(list, null))
}

/// A whole number as far as the builder holds one.
fn whole(number: i64) -> Option<isize> {
    isize::try_from(number).ok()
}

/// What a number must be so that it is not below the least once its fraction is cut off.
fn least(builder: ObjectBuilder, least: i64) -> ObjectBuilder {
    match least {
        i64::MIN => builder,
        1.. => builder.minimum(whole(least)),
        _ => builder.exclusive_minimum(whole(least - 1)),
    }
}

/// What is expected of a field, in words.
pub(crate) fn words(kind: Kind) -> String {
    match kind {
        Kind::Text(least, most) => format!("{least} to {most} characters"),
        Kind::Texts => "a list of texts".to_owned(),
        Kind::Int(i64::MIN) => "a whole number".to_owned(),
        Kind::Int(least) => format!("a whole number from {least}"),
        Kind::Between(least, most) => format!("a whole number from {least} to {most}"),
        Kind::Seconds => "seconds from 0.001 to 86400".to_owned(),
        Kind::Real(least) => format!("a number from {least}"),
        Kind::Time => "a time: RFC 3339, or Unix seconds".to_owned(),
        Kind::Flag => "true or false".to_owned(),
        Kind::Object => "an object".to_owned(),
        Kind::Objects => "a list of objects".to_owned(),
    }
}

/// What an absent field becomes; `None` where there is nothing to tell.
pub(crate) fn default(absent: Absent) -> Option<Value> {
    match absent {
        Absent::Required | Absent::Null => None,
        Absent::Empty => Some(json!([])),
        Absent::Is(flag) => Some(json!(flag)),
        Absent::Text(text) => Some(json!(text)),
        Absent::Number(number) => Some(json!(number)),
    }
}

fn list(items: impl Into<Part>, null: bool) -> ArrayBuilder {
    ArrayBuilder::new().items(items.into()).schema_type(types(&[Type::Array], null))
}

/// What a field takes in a body, and what it becomes if it is absent.
fn taken((_, kind, _): &Field, null: bool, default: Option<Value>) -> Schema {
    let text = || object(&[Type::String, Type::Number, Type::Boolean], null);
    let number = || object(&[Type::Number, Type::String, Type::Boolean], null).pattern(Some(DIGITS));
    let built = match *kind {
        Kind::Text(least, most) => text().min_length(Some(least)).max_length(Some(most)),
        Kind::Int(from) => least(number(), from),
        Kind::Between(from, to) => {
            let builder = least(number(), from);
            match to {
                0.. => builder.exclusive_maximum(whole(to + 1)),
                _ => builder.maximum(whole(to)),
            }
        }
        Kind::Seconds => object(&[Type::Number], null).minimum(Some(0.001)).maximum(Some(86_400.0)),
        Kind::Real(least) => {
            object(&[Type::Number, Type::String], null).minimum(Some(least)).pattern(Some(DECIMAL))
        }
        Kind::Time => object(&[Type::String, Type::Number], null),
        Kind::Flag => {
            let flag = object(&[Type::Boolean, Type::Integer, Type::String], null);
            flag.minimum(Some(0)).maximum(Some(1)).pattern(Some(FLAG))
        }
        Kind::Object => object(&[Type::Object], null),
        Kind::Texts | Kind::Objects => {
            let item = match kind {
                Kind::Texts => object(&[Type::String, Type::Number, Type::Boolean], false),
                _ => object(&[Type::Object], false),
            };
            let about = Some(words(*kind));
            return list(item.build(), null).default(default).description(about).build().into();
        }
    };
    built.default(default).description(Some(words(*kind))).build().into()
}

/// A body's schema; `None`: it takes none.
pub(crate) fn body(body: Body) -> Option<Part> {
    let table = |fields: Fields, whole: bool| {
        let mut builder = object(&[Type::Object], false);
        for field in fields.list() {
            let required = whole && matches!(field.2, Absent::Required);
            builder = builder.property(field.0, taken(&field, !required, default(field.2).filter(|_| whole)));
            if required {
                builder = builder.required(field.0);
            }
        }
        RefOr::T(builder.build().into())
    };
    match body {
        Body::None => None,
        Body::Create(fields) => Some(table(fields, true)),
        Body::Update(fields) | Body::Maybe(fields) => Some(table(fields, false)),
        Body::Other(shape) => Some(answer(*shape)),
        Body::Exact(members) | Body::MaybeExact(members) | Body::Form(members) | Body::OnlyForm(members) => {
            Some(RefOr::T(exact(members).build().into()))
        }
        Body::Upload(field) => {
            let file = ObjectBuilder::new().content_media_type("application/octet-stream");
            let builder = object(&[Type::Object], false).property(field, file).required(field);
            Some(RefOr::T(builder.build().into()))
        }
        Body::Raw(_) => Some(answer(Shape::Text)),
    }
}

fn exact(members: &[Member]) -> ObjectBuilder {
    let with = |builder: ObjectBuilder, (name, shape, needed): &Member| {
        let builder = builder.property(*name, answer(*shape));
        if *needed { builder.required(*name) } else { builder }
    };
    members.iter().fold(object(&[Type::Object], false), with)
}

/// A parameter's schema; one that is empty counts as not given.
pub(crate) fn parameter(taken: Taken) -> Schema {
    let text = || object(&[Type::String], false);
    match taken {
        Taken::Text => text(),
        Taken::Word(words) => text().enum_values(Some(words.iter().copied().chain([""]))),
        Taken::Between(least, most) => {
            let builder = object(&[Type::Integer], false);
            let builder = if least == i64::MIN { builder } else { builder.minimum(whole(least)) };
            if most == i64::MAX { builder } else { builder.maximum(whole(most)) }
        }
        Taken::Real => object(&[Type::Number], false).minimum(Some(0.0)),
        Taken::Flag => text().pattern(Some(QUERY_FLAG)),
        Taken::Day => text().pattern(Some("^([0-9]{4}-[0-9]{2}-[0-9]{2})?$")),
    }
    .build()
    .into()
}

/// A field as it is stored.
fn stored((_, kind, absent): &Field) -> Schema {
    let null = matches!(absent, Absent::Null);
    let one = |kind: Type| object(&[kind], null).build().into();
    match kind {
        Kind::Text(..) | Kind::Time => one(Type::String),
        Kind::Int(_) | Kind::Between(..) => one(Type::Integer),
        Kind::Seconds | Kind::Real(_) => one(Type::Number),
        Kind::Flag => one(Type::Boolean),
        Kind::Object => one(Type::Object),
        Kind::Texts => list(Object::with_type(Type::String), null).build().into(),
        Kind::Objects => list(Object::with_type(Type::Object), null).build().into(),
    }
}

/// The schema of a record, kept among the document's components under its name.
pub(crate) fn record(record: &Record) -> Schema {
    let mut builder = object(&[Type::Object], false);
    for field in record.fields.list().iter().filter(|field| !record.without.contains(&field.0)) {
        builder = builder.property(field.0, stored(field));
        if matches!(field.2, Absent::Required) {
            builder = builder.required(field.0);
        }
    }
    members(builder, record.with).build().into()
}

fn members(mut builder: ObjectBuilder, members: &[(&str, Shape)]) -> ObjectBuilder {
    for (name, shape) in members {
        builder = builder.property(*name, answer(*shape)).required(*name);
    }
    builder
}

const PAGE: &[(&str, Shape)] = &[
    ("page", Shape::Integer),
    ("page_size", Shape::Integer),
    ("has_next", Shape::Flag),
    ("total", Shape::Integer),
];

/// Or null.
fn maybe(shape: Shape) -> Part {
    let null = |kind: Type| RefOr::T(object(&[kind], true).build().into());
    match shape {
        Shape::Text => null(Type::String),
        Shape::Number => null(Type::Number),
        Shape::Integer => null(Type::Integer),
        Shape::Flag => null(Type::Boolean),
        other => {
            let either = AnyOfBuilder::new().item(answer(other));
            RefOr::T(Schema::AnyOf(either.item(Object::with_type(Type::Null)).build()))
        }
    }
}

/// An answer's schema.
pub(crate) fn answer(shape: Shape) -> Part {
    let one = |kind: Type| RefOr::T(Object::with_type(kind).into());
    match shape {
        Shape::Any => RefOr::T(Object::with_type(SchemaType::AnyValue).into()),
        Shape::Text => one(Type::String),
        Shape::Number => one(Type::Number),
        Shape::Integer => one(Type::Integer),
        Shape::Flag => one(Type::Boolean),
        Shape::Word(words) => {
            RefOr::T(object(&[Type::String], false).enum_values(Some(words.iter().copied())).build().into())
        }
        Shape::Between(least, most) => {
            let builder = object(&[Type::Integer], false).minimum(whole(least));
            RefOr::T(if most == i64::MAX { builder } else { builder.maximum(whole(most)) }.build().into())
        }
        Shape::Bounded(least, most) => {
            let builder = object(&[Type::String], false).min_length(Some(least));
            RefOr::T(builder.max_length(Some(most)).build().into())
        }
        Shape::Either(shapes) => {
            let either = shapes.iter().fold(AnyOfBuilder::new(), |either, shape| either.item(answer(*shape)));
            RefOr::T(Schema::AnyOf(either.build()))
        }
        Shape::Maybe(shape) => maybe(*shape),
        Shape::List(shape) => RefOr::T(Array::new(answer(*shape)).into()),
        Shape::Map(shape) => {
            let each = AdditionalProperties::RefOr(answer(*shape));
            RefOr::T(object(&[Type::Object], false).additional_properties(Some(each)).build().into())
        }
        Shape::Object(list) => RefOr::T(members(object(&[Type::Object], false), list).build().into()),
        Shape::Record(record) => RefOr::Ref(Ref::from_schema_name(record.name)),
        Shape::Page(plural, item) => {
            let builder = object(&[Type::Object], false).property(plural, Array::new(answer(*item)));
            RefOr::T(members(builder.required(plural), PAGE).build().into())
        }
        Shape::Message => answer(Shape::Object(&[("message", Shape::Text)])),
    }
}

/// Every record that a shape speaks of.
pub(crate) fn records(shape: Shape, found: &mut Vec<&'static Record>) {
    match shape {
        Shape::Record(record) => {
            found.push(record);
            record.with.iter().for_each(|(_, shape)| records(*shape, found));
        }
        Shape::Maybe(shape) | Shape::List(shape) | Shape::Map(shape) | Shape::Page(_, shape) => {
            records(*shape, found);
        }
        Shape::Object(members) => members.iter().for_each(|(_, shape)| records(*shape, found)),
        Shape::Either(shapes) => shapes.iter().for_each(|shape| records(*shape, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{create, update};
    use proptest::prelude::*;

    const FIELDS: &[Field] = &[
        ("text", Kind::Text(2, 4), Absent::Required),
        ("texts", Kind::Texts, Absent::Empty),
        ("int", Kind::Int(0), Absent::Number(5)),
        ("any", Kind::Int(i64::MIN), Absent::Null),
        ("positive", Kind::Int(1), Absent::Null),
        ("between", Kind::Between(-3, 9), Absent::Null),
        ("below", Kind::Between(-9, -3), Absent::Null),
        ("seconds", Kind::Seconds, Absent::Null),
        ("real", Kind::Real(0.5), Absent::Null),
        ("time", Kind::Time, Absent::Null),
        ("flag", Kind::Flag, Absent::Is(true)),
        ("object", Kind::Object, Absent::Null),
        ("objects", Kind::Objects, Absent::Empty),
    ];

    fn validator(body: Body) -> jsonschema::Validator {
        let schema = serde_json::to_value(super::body(body).unwrap()).unwrap();
        jsonschema::validator_for(&schema).unwrap()
    }

    fn value() -> impl Strategy<Value = Value> {
        let words =
            ["true", "YES", "off", "0", "1", "+7", " 8 ", "-1", "2.5", "1e3", ".5", "2026-01-31", "", "x"];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(|flag| json!(flag)),
            (-12_i64..12).prop_map(|number| json!(number)),
            (-12.0..12.0).prop_map(|number: f64| json!(number)),
            any::<i64>().prop_map(|number| json!(number)),
            proptest::sample::select(words.to_vec()).prop_map(|text| json!(text)),
            ".{0,6}".prop_map(|text| json!(text)),
        ];
        leaf.prop_recursive(2, 6, 3, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(|items| json!(items)),
                inner.prop_map(|item| json!({ "member": item })),
            ]
        })
    }

    #[test]
    fn what_is_refused_for_its_type_or_bounds_violates_the_schema() {
        let schema = validator(Body::Create(Fields::Table(FIELDS)));
        for (field, value) in [
            ("text", json!("x")),
            ("text", json!("xxxxx")),
            ("text", json!({})),
            ("text", Value::Null),
            ("texts", json!([{}])),
            ("int", json!(-1)),
            ("int", json!("five")),
            ("int", json!([])),
            ("positive", json!(0.9)),
            ("between", json!(10)),
            ("below", json!(-2)),
            ("seconds", json!(0)),
            ("seconds", json!("1")),
            ("real", json!(0.4)),
            ("real", json!("inf")),
            ("time", json!(true)),
            ("flag", json!("perhaps")),
            ("flag", json!(2)),
            ("object", json!([])),
            ("objects", json!([1])),
        ] {
            let mut body = json!({"text": "abc"});
            body[field] = value;
            assert!(create(FIELDS, &body).is_err() && !schema.is_valid(&body), "{body}");
        }
        assert!(!schema.is_valid(&json!({})) && !schema.is_valid(&json!([])));
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_valid(place in 0..FIELDS.len(), value in value()) {
            let mut body = json!({"text": "abc"});
            body[FIELDS[place].0] = value;
            if create(FIELDS, &body).is_ok() {
                prop_assert!(validator(Body::Create(Fields::Table(FIELDS))).is_valid(&body), "create {}", body);
            }
            if update(FIELDS, &body).is_ok() {
                prop_assert!(validator(Body::Update(Fields::Table(FIELDS))).is_valid(&body), "update {}", body);
            }
        }

        #[test]
        fn what_is_stored_is_as_answers_say(place in 0..FIELDS.len(), value in value()) {
            let mut body = json!({"text": "abc"});
            body[FIELDS[place].0] = value;
            let record_ = Record { name: "X", fields: Fields::Table(FIELDS), without: &[], with: &[] };
            let schema = serde_json::to_value(record(&record_)).unwrap();
            let schema = jsonschema::validator_for(&schema).unwrap();
            if let Ok(row) = create(FIELDS, &body) {
                prop_assert!(schema.is_valid(&Value::Object(row.clone())), "{:?}", row);
            }
        }
    }
}
