//! An XML body as a map without namespaces, attributes left out: what validation looks at is the content of the first
//! element in a SOAP body, or of the root where there is no envelope. Leaves are text.

use quick_xml::Reader;
use quick_xml::events::{BytesDecl, BytesRef, Event};
use serde_json::{Map, Value};

/// Elements within elements.
const DEPTH: usize = 64;

#[derive(Default)]
struct Element {
    name: String,
    children: Map<String, Value>,
    text: String,
}

/// Parses.
///
/// # Errors
/// What was expected, without the text.
pub(super) fn parse(body: &[u8]) -> Result<Value, &'static str> {
    let text = std::str::from_utf8(body).map_err(|_| "XML in UTF-8")?;
    let mut reader = Reader::from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    let (mut open, mut root) = (Vec::<Element>::new(), None);
    loop {
        match reader.read_event().map_err(|_| "well-formed XML")? {
            Event::Start(tag) => begin(&mut open, root.is_some(), tag.local_name().into_inner())?,
            Event::Empty(tag) => {
                begin(&mut open, root.is_some(), tag.local_name().into_inner())?;
                end(&mut open, &mut root);
            }
            Event::End(_) => end(&mut open, &mut root),
            Event::Text(text) => characters(&mut open, &text)?,
            Event::CData(data) => match open.last_mut() {
                Some(element) => element.text.push_str(&data),
                None => return Err("one root element"),
            },
            Event::GeneralRef(reference) => {
                characters(&mut open, resolved(&reference)?.encode_utf8(&mut [0; 4]))?
            }
            Event::Decl(declaration) => encoding(&declaration)?,
            // Entities of one's own and what they may load and grow to.
            Event::DocType(_) => return Err("XML without a document type"),
            Event::Comment(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
    }
    let (name, value) = root.filter(|_| open.is_empty()).ok_or("one root element, closed")?;
    if name == "Envelope" { content_of(value) } else { Ok(value) }
}

fn begin(open: &mut Vec<Element>, finished: bool, name: &str) -> Result<(), &'static str> {
    if finished {
        return Err("one root element");
    }
    if open.len() >= DEPTH {
        return Err("at most 64 levels of XML");
    }
    open.push(Element { name: name.to_owned(), ..Element::default() });
    Ok(())
}

fn end(open: &mut Vec<Element>, root: &mut Option<(String, Value)>) {
    // The reader refuses an end without its begin.
    let Some(Element { name, children, text }) = open.pop() else { return };
    let value = if children.is_empty() { Value::String(text) } else { Value::Object(children) };
    let Some(parent) = open.last_mut() else {
        *root = Some((name, value));
        return;
    };
    match parent.children.get_mut(&name) {
        Some(Value::Array(items)) => items.push(value),
        Some(first) => *first = Value::Array(vec![first.take(), value]),
        None => {
            parent.children.insert(name, value);
        }
    }
}

fn characters(open: &mut [Element], text: &str) -> Result<(), &'static str> {
    match open.last_mut() {
        Some(element) => element.text.push_str(text),
        None if text.trim_ascii().is_empty() => {}
        None => return Err("one root element"),
    }
    Ok(())
}

fn resolved(reference: &BytesRef<'_>) -> Result<char, &'static str> {
    match &**reference {
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "amp" => Ok('&'),
        "apos" => Ok('\''),
        "quot" => Ok('"'),
        _ => reference.resolve_char_ref().ok().flatten().ok_or("references that XML itself defines"),
    }
}

/// An upstream that reads by another encoding would read another text.
fn encoding(declaration: &BytesDecl<'_>) -> Result<(), &'static str> {
    let known = ["utf-8", "us-ascii", "ascii"];
    match declaration.encoding() {
        None => Ok(()),
        Some(Ok(name)) if known.iter().any(|known| name.eq_ignore_ascii_case(known)) => Ok(()),
        Some(_) => Err("XML in UTF-8"),
    }
}

/// The one element in the one body of an envelope; `Null` if the body is empty. Of several an upstream may take another
/// than the one looked at here.
fn content_of(envelope: Value) -> Result<Value, &'static str> {
    let body = match envelope {
        Value::Object(mut parts) => parts.remove("Body"),
        _ => None,
    };
    match body {
        Some(Value::String(text)) if text.trim_ascii().is_empty() => Ok(Value::Null),
        Some(Value::Object(children)) => {
            let mut contents = children.into_iter().map(|(_, content)| content);
            let single = contents.next().filter(|content| contents.next().is_none() && !content.is_array());
            single.ok_or("one element in the body of the envelope")
        }
        Some(Value::String(_)) => Err("one element in the body of the envelope"),
        _ => Err("one body in the envelope"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn documents() {
        for (text, expected) in [
            ("<a/>", Ok(json!(""))),
            (
                "<?xml version='1.0' encoding='UTF-8'?><x:a xmlns:x='u' id='1'><x:b>1 &lt; &#x32;</x:b></x:a>\n",
                Ok(json!({"b": "1 < 2"})),
            ),
            (
                "<a><b>1</b><c><d/></c><b><![CDATA[<2>]]></b><b>3</b></a>",
                Ok(json!({"b": ["1", "<2>", "3"], "c": {"d": ""}})),
            ),
            (
                "<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'><s:Header/><s:Body><o:Order xmlns:o='u'><o:id>7</o:id></o:Order></s:Body></s:Envelope>",
                Ok(json!({"id": "7"})),
            ),
            ("<Envelope><Body/></Envelope>", Ok(Value::Null)),
            ("<Envelope><Body> \n</Body></Envelope>", Ok(Value::Null)),
            ("<Envelope><Body><o:z>1</o:z></Body></Envelope>", Ok(json!("1"))),
            (
                "<Envelope><Body><z>1</z><a>2</a></Body></Envelope>",
                Err("one element in the body of the envelope"),
            ),
            (
                "<Envelope><Body><z>1</z><z>2</z></Body></Envelope>",
                Err("one element in the body of the envelope"),
            ),
            ("<Envelope><Body>text</Body></Envelope>", Err("one element in the body of the envelope")),
            ("<Envelope><Body><a/></Body><Body/></Envelope>", Err("one body in the envelope")),
            (
                "<s:Envelope><s:Body><a/></s:Body><t:Body><b/></t:Body></s:Envelope>",
                Err("one body in the envelope"),
            ),
            ("<Envelope/>", Err("one body in the envelope")),
            ("<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>", Err("XML without a document type")),
            ("<a>&b;</a>", Err("references that XML itself defines")),
            ("<a>&#0;</a>", Err("references that XML itself defines")),
            ("<?xml version='1.0' encoding='utf-7'?><a/>", Err("XML in UTF-8")),
            ("<a></b>", Err("well-formed XML")),
            ("<a>", Err("one root element, closed")),
            ("", Err("one root element, closed")),
            ("<a/><b/>", Err("one root element")),
            ("<a/>text", Err("one root element")),
        ] {
            assert_eq!(parse(text.as_bytes()), expected, "{text}");
        }
        assert_eq!(parse(b"<a>\xff</a>"), Err("XML in UTF-8"));
        assert_eq!(parse("<a>".repeat(65).as_bytes()), Err("at most 64 levels of XML"));
        assert!(parse(format!("{}{}", "<a>".repeat(64), "</a>".repeat(64)).as_bytes()).is_ok());
    }

    proptest! {
        #[test]
        fn never_panics(parts in proptest::collection::vec(
            proptest::sample::select(vec![
                "<a>", "</a>", "<b/>", "&lt;", "&#65;", "&", "<!--", "-->", "<![CDATA[", "]]>", "<?x", "<?xml", "?>",
                "<!DOCTYPE", "<", ">", "'", "\"", " ", "x=", "é",
            ]),
            0..20,
        )) {
            let _either = parse(parts.concat().as_bytes());
        }
    }
}
