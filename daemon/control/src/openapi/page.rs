//! The document as a page for people: no script, nothing from another host, its one style named by hash.

use super::docs::SECTIONS;
use super::operation::{Access, Body, Content, Fields, Member, Operation, Section, Shape, Taken, variables};
use super::{access, schemas};
use crate::schema::Absent;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884;--soft:#8882}\
body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:0 auto;padding:1.5rem}\
h1{font-size:1.6rem;margin:0}h2{font-size:1.2rem;margin:2.2rem 0 .4rem;border-bottom:1px solid var(--line)}\
nav{columns:4 11rem;margin:1rem 0;padding:.8rem 1rem;background:var(--soft);border-radius:6px}nav a{display:block}\
details{border:1px solid var(--line);border-radius:6px;margin:.4rem 0}\
summary{cursor:pointer;padding:.4rem .7rem;display:flex;gap:.8rem;flex-wrap:wrap;align-items:baseline}\
details[open]>summary{border-bottom:1px solid var(--line);background:var(--soft)}\
.in{padding:.3rem 1rem 1rem}\
b.get,b.post,b.put,b.delete{font:700 .75rem/1.8 ui-monospace,monospace;min-width:4.2rem;text-align:center;border-radius:4px;color:#fff}\
b.get{background:#1f6f4a}b.post{background:#1d5fa8}b.put{background:#8a5a00}b.delete{background:#a32a2a}\
code,pre{font:13px/1.5 ui-monospace,monospace}pre{background:var(--soft);padding:.7rem;border-radius:6px;overflow-x:auto}\
table{border-collapse:collapse;width:100%;margin:.3rem 0 .8rem}\
th,td{text-align:left;padding:.2rem .6rem .2rem 0;border-bottom:1px solid var(--line);vertical-align:top}\
h3{font-size:.95rem;margin:.9rem 0 .2rem}summary span{opacity:.75}";

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Escaped, with what stands between backticks as code.
fn prose(text: &str) -> String {
    let parts = text.split('`').enumerate();
    parts
        .map(|(place, part)| match place % 2 {
            1 => format!("<code>{}</code>", escaped(part)),
            _ => escaped(part),
        })
        .collect()
}

fn table(head: [&str; 3], rows: &[[String; 3]]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let line = |tag: &str, cells: &[String]| {
        cells.iter().map(|cell| format!("<{tag}>{cell}</{tag}>")).collect::<String>()
    };
    let rows = rows.iter().map(|row| format!("<tr>{}</tr>", line("td", row))).collect::<String>();
    format!("<table><tr>{}</tr>{rows}</table>", line("th", &head.map(escaped)))
}

fn taken(taken: Taken) -> String {
    match taken {
        Taken::Text => "text".to_owned(),
        Taken::Word(words) => words.join(", "),
        Taken::Between(i64::MIN, _) => "a whole number".to_owned(),
        Taken::Between(least, i64::MAX) => format!("a whole number from {least}"),
        Taken::Between(least, most) => format!("a whole number from {least} to {most}"),
        Taken::Real => "a number from 0".to_owned(),
        Taken::Flag => "true or false".to_owned(),
        Taken::Day => "YYYY-MM-DD".to_owned(),
    }
}

fn parameters(operation: &Operation, path: &str) -> String {
    let variable = |name: &str| [format!("<code>{name}</code>"), "text".to_owned(), "in the path".to_owned()];
    let query = operation.query.iter().map(|(name, kind, about)| {
        let needed = if operation.asked.contains(name) { "; required" } else { "" };
        [format!("<code>{name}</code>"), escaped(&taken(*kind)), format!("{}{needed}", prose(about))]
    });
    let rows: Vec<_> = variables(path).map(variable).chain(query).collect();
    table(["Parameter", "Expected", "Meaning"], &rows)
}

/// A body's table of fields; whether all of them must be there.
fn fields(body: Body) -> Option<(Fields, bool)> {
    match body {
        Body::Create(fields) => Some((fields, true)),
        Body::Update(fields) | Body::Maybe(fields) => Some((fields, false)),
        _ => None,
    }
}

/// A body's members, where it has no table.
fn members(body: Body) -> &'static [Member] {
    match body {
        Body::Exact(members) | Body::MaybeExact(members) | Body::Form(members) | Body::OnlyForm(members) => {
            members
        }
        _ => &[],
    }
}

fn body(body: Body) -> String {
    let Some((fields, whole)) = fields(body) else {
        let row = |(name, shape, needed): &Member| {
            let needed = if *needed { "required" } else { "" };
            [format!("<code>{name}</code>"), escaped(&said(*shape)), needed.to_owned()]
        };
        return table(["Field", "Expected", ""], &members(body).iter().map(row).collect::<Vec<_>>());
    };
    let rows: Vec<_> = fields
        .list()
        .into_iter()
        .map(|(name, kind, absent)| {
            let default = match absent {
                Absent::Required if whole => "required".to_owned(),
                _ if !whole => "as it is".to_owned(),
                other => schemas::default(other).map_or("null".to_owned(), |value| value.to_string()),
            };
            [format!("<code>{name}</code>"), escaped(&schemas::words(kind)), escaped(&default)]
        })
        .collect();
    table(["Field", "Expected", "If absent"], &rows)
}

/// A member's shape in words.
fn said(shape: Shape) -> String {
    match shape {
        Shape::Text => "text".to_owned(),
        Shape::Bounded(least, usize::MAX) => format!("text of at least {least} characters"),
        Shape::Bounded(least, most) => format!("text of {least} to {most} characters"),
        Shape::Word(words) => words.join(", "),
        Shape::Number => "a number".to_owned(),
        Shape::Integer => "a whole number".to_owned(),
        Shape::Between(least, most) => taken(Taken::Between(least, most)),
        Shape::Flag => "true or false".to_owned(),
        Shape::Either(shapes) => shapes.iter().map(|shape| said(*shape)).collect::<Vec<_>>().join(", or "),
        Shape::Maybe(shape) => format!("{}, or null", said(*shape)),
        Shape::List(shape) => format!("a list; each {}", said(*shape)),
        Shape::Any => "anything".to_owned(),
        _ => "an object".to_owned(),
    }
}

/// A value of a shape, for people to look at.
fn sample(shape: Shape, depth: usize) -> Value {
    match shape {
        _ if depth > 4 => json!("…"),
        Shape::Any => json!("…"),
        Shape::Text | Shape::Bounded(..) => json!("text"),
        Shape::Between(least, _) => json!(least.max(1)),
        Shape::Either(shapes) => shapes.first().map_or(Value::Null, |shape| sample(*shape, depth)),
        Shape::Word(words) => json!(words.join(" | ")),
        Shape::Number => json!(0.5),
        Shape::Integer => json!(1),
        Shape::Flag => json!(true),
        Shape::Maybe(shape) => sample(*shape, depth),
        Shape::List(shape) => json!([sample(*shape, depth + 1)]),
        Shape::Map(shape) => json!({ "name": sample(*shape, depth + 1) }),
        Shape::Object(members) => {
            let members = members.iter().map(|(name, shape)| ((*name).to_owned(), sample(*shape, depth + 1)));
            Value::Object(members.collect())
        }
        Shape::Record(record) => {
            let fields = record.fields.list().into_iter().filter(|field| !record.without.contains(&field.0));
            let fields = fields.map(|(name, kind, _)| (name.to_owned(), json!(schemas::words(kind))));
            let more =
                record.with.iter().map(|(name, shape)| ((*name).to_owned(), sample(*shape, depth + 1)));
            Value::Object(fields.chain(more).collect())
        }
        Shape::Page(plural, item) => {
            let mut page = Map::new();
            page.insert(plural.to_owned(), json!([sample(*item, depth + 1)]));
            for (name, value) in [("page", json!(1)), ("page_size", json!(10)), ("total", json!(1))] {
                page.insert(name.to_owned(), value);
            }
            page.insert("has_next".to_owned(), json!(false));
            Value::Object(page)
        }
        Shape::Message => json!({ "message": "text" }),
    }
}

fn answers(operation: &Operation) -> String {
    let mut text = String::new();
    for (status, content) in operation.answers {
        let told = match content {
            Content::Json(shape) => serde_json::to_string_pretty(&sample(*shape, 0)).unwrap_or_default(),
            Content::Empty(field) => field.map_or("no body".to_owned(), |field| format!("no body; {field}")),
            Content::File(kinds) => kinds.iter().map(|(kind, _)| *kind).collect::<Vec<_>>().join("\n"),
        };
        // Into memory, here and below: this cannot fail.
        write!(text, "<h3>Answers {status}</h3><pre>{}</pre>", escaped(&told)).ok();
    }
    text
}

/// A call by hand, with the fields that must be given.
fn curl(operation: &Operation, path: &str) -> String {
    let mut line = format!("curl -X {} \"$GATEHOUSE{path}\"", operation.method.to_uppercase());
    if operation.access != Access::Everybody {
        line.push_str(" \\\n  -H \"Authorization: Bearer $TOKEN\"");
    }
    let form = matches!(operation.body, Body::OnlyForm(_));
    let given: Map<String, Value> = members(operation.body)
        .iter()
        .filter(|(.., needed)| *needed)
        .map(|(name, ..)| ((*name).to_owned(), json!("…")))
        .collect();
    if form {
        let pairs: Vec<_> = given.keys().map(|name| format!("-d {name}=…")).collect();
        write!(line, " \\\n  {}", pairs.join(" ")).ok();
    } else if !given.is_empty() {
        write!(line, " \\\n  -H \"Content-Type: application/json\" -d '{}'", Value::Object(given)).ok();
    }
    if let Body::Upload(field) = operation.body {
        write!(line, " \\\n  -F {field}=@service.proto").ok();
    }
    if let Body::Raw(kinds) = operation.body {
        write!(
            line,
            " \\\n  -H \"Content-Type: {}\" --data-binary @FILE",
            kinds.first().copied().unwrap_or_default()
        )
        .ok();
    }
    if let Some((fields, whole)) = fields(operation.body) {
        let fields = fields.list().into_iter().filter(|field| whole && matches!(field.2, Absent::Required));
        let given: Map<String, Value> = fields.map(|(name, ..)| (name.to_owned(), json!("…"))).collect();
        write!(line, " \\\n  -H \"Content-Type: application/json\" -d '{}'", Value::Object(given)).ok();
    }
    format!("<pre>{}</pre>", escaped(&line))
}

fn told(section: &Section, operation: &Operation) -> String {
    let path = section.path(operation);
    let warning =
        operation.disruptive.map_or(String::new(), |why| format!("<p>Careful: {}.</p>", escaped(why)));
    format!(
        "<details><summary><b class=\"{}\">{}</b><code>{}</code><span>{}</span></summary><div class=\"in\"><p>{}</p>{warning}{}{}{}{}</div></details>\n",
        operation.method,
        operation.method.to_uppercase(),
        escaped(&path),
        prose(operation.summary),
        prose(&access(operation.access)),
        parameters(operation, &path),
        body(operation.body),
        answers(operation),
        curl(operation, &path),
    )
}

/// The page, and the content security policy that lets a browser show it and nothing else.
pub(crate) fn text() -> (String, String) {
    let slug = |tag: &str| tag.to_lowercase().replace(' ', "-");
    let (mut links, mut sections, mut last) = (String::new(), String::new(), "");
    for section in SECTIONS {
        if section.tag != last {
            let (tag, id) = (escaped(section.tag), slug(section.tag));
            write!(links, "<a href=\"#{id}\">{tag}</a>").ok();
            writeln!(sections, "<h2 id=\"{id}\">{tag}</h2><p>{}</p>", prose(section.about)).ok();
            last = section.tag;
        }
        section.operations.iter().for_each(|operation| sections.push_str(&told(section, operation)));
    }
    let page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Gatehouse: management surface</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head><body>\
         <h1>Gatehouse</h1><p>Version {}. <a href=\"/platform/openapi.json\">openapi.json</a> is the same for programs.</p>\
         <p>{}</p><p>Errors have <code>error_code</code> and <code>error_message</code>, or <code>detail</code>.</p>\
         <nav>{links}</nav>{sections}</body></html>\n",
        env!("CARGO_PKG_VERSION"),
        prose(super::ABOUT),
    );
    let hash = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    (page, format!("default-src 'none'; style-src 'sha256-{hash}'; frame-ancestors 'none'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_on_the_page_and_nothing_comes_from_elsewhere() {
        let (page, policy) = text();
        for section in SECTIONS {
            for operation in section.operations {
                let path = format!("<code>{}</code>", section.path(operation));
                assert!(page.contains(&path), "{path}");
            }
        }
        for foreign in ["http:", "https:", "src=", "@import", "url(", "<script"] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"));
    }

    #[test]
    fn text_is_escaped() {
        assert_eq!(prose("a `<b>` & \"c\""), "a <code>&lt;b&gt;</code> &amp; &quot;c&quot;");
    }
}
