//! WSDL of upstreams, 1.1 and 2.0: the operations, and the paths that calls go to. Nothing that a document imports is
//! fetched; a document type, with which entities come, is refused.

use quick_xml::NsReader;
use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::ResolveResult;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Elements within elements.
const DEPTH: usize = 64;
/// Elements of one document, those of its schemas not counted.
const ELEMENTS: usize = 50_000;
/// Operations of one document.
const OPERATIONS: usize = 2_000;
/// Longest documentation kept, characters.
const DOCUMENTATION: usize = 1_000;

const WSDL_11: &str = "http://schemas.xmlsoap.org/wsdl/";
const WSDL_20: &str = "http://www.w3.org/ns/wsdl";
const SOAP_11: &str = "http://schemas.xmlsoap.org/wsdl/soap/";
const SOAP_12: &str = "http://schemas.xmlsoap.org/wsdl/soap12/";
const SOAP_20: &str = "http://www.w3.org/ns/wsdl/soap";

/// One element, as far as it says anything here.
#[derive(Debug, Default)]
struct Element {
    space: String,
    name: String,
    attributes: BTreeMap<String, String>,
    text: String,
    children: Vec<Element>,
}

impl Element {
    fn named<'e>(&'e self, name: &'e str) -> impl Iterator<Item = &'e Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    fn of_soap<'e>(&'e self, name: &'e str) -> Option<&'e Self> {
        self.named(name).find(|child| [SOAP_11, SOAP_12].contains(&child.space.as_str()))
    }

    fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map(String::as_str).unwrap_or_default()
    }

    /// An attribute that is a qualified name, without its prefix.
    fn local(&self, name: &str) -> &str {
        let value = self.attribute(name);
        value.rsplit(':').next().unwrap_or(value)
    }
}

/// One operation.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) name: String,
    action: String,
    documentation: String,
    input: String,
    output: String,
}

/// A document, read.
#[derive(Debug)]
pub(crate) struct Wsdl {
    pub(crate) service: String,
    namespace: String,
    pub(crate) operations: Vec<Operation>,
    /// URLs of the ports that speak SOAP, each once.
    pub(crate) locations: Vec<String>,
}

/// Reads a document.
///
/// # Errors
/// What was expected.
pub(crate) fn read(text: &[u8]) -> Result<Wsdl, String> {
    let root = tree(text)?;
    let found = match (root.name.as_str(), root.space.as_str()) {
        ("definitions", WSDL_11) => first_version(&root),
        ("description", WSDL_20) => second_version(&root),
        _ => return Err("expected `definitions` of WSDL 1.1 or `description` of WSDL 2.0".to_owned()),
    };
    if found.operations.len() > OPERATIONS {
        return Err(format!("expected at most {OPERATIONS} operations"));
    }
    Ok(found)
}

fn tree(text: &[u8]) -> Result<Element, String> {
    let text = std::str::from_utf8(text).map_err(|_| "expected XML in UTF-8".to_owned())?;
    let mut reader = NsReader::from_str(text.trim_start_matches('\u{feff}').trim_start());
    let (mut open, mut root, mut count) = (Vec::<Element>::new(), None, 0);
    loop {
        let (space, event) =
            reader.read_resolved_event().map_err(|error| format!("expected well-formed XML: {error}"))?;
        match event {
            Event::Start(tag) | Event::Empty(tag) if open.is_empty() && root.is_some() => {
                return Err(format!(
                    "expected one root element, not {:?} too",
                    tag.local_name().into_inner()
                ));
            }
            Event::Start(tag) => {
                count += 1;
                if open.len() == DEPTH || count > ELEMENTS {
                    return Err(format!("expected at most {DEPTH} levels and {ELEMENTS} elements"));
                }
                let new = element(&space, &tag)?;
                let schemas = new.name == "types" && open.len() == 1;
                if schemas {
                    reader
                        .read_to_end(tag.name())
                        .map_err(|error| format!("expected well-formed XML: {error}"))?;
                } else {
                    open.push(new);
                }
            }
            Event::Empty(tag) => {
                count += 1;
                let new = element(&space, &tag)?;
                closed(&mut open, &mut root, new);
            }
            Event::End(_) => {
                if let Some(last) = open.pop() {
                    closed(&mut open, &mut root, last);
                }
            }
            Event::Text(text) => said(&mut open, &text),
            Event::CData(text) => said(&mut open, &text),
            Event::DocType(_) => return Err("expected XML without a document type".to_owned()),
            Event::GeneralRef(_) | Event::Decl(_) | Event::Comment(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
    }
    root.filter(|_| open.is_empty()).ok_or_else(|| "expected one root element, closed".to_owned())
}

fn element(space: &ResolveResult<'_>, tag: &BytesStart<'_>) -> Result<Element, String> {
    let space = match space {
        ResolveResult::Bound(space) => space.0.to_owned(),
        _ => String::new(),
    };
    let mut attributes = BTreeMap::new();
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(|error| format!("expected well-formed attributes: {error}"))?;
        let value = attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .map_err(|error| format!("expected attributes without entities of their own: {error}"))?;
        attributes.insert(attribute.key.local_name().into_inner().to_owned(), value.into_owned());
    }
    let name = tag.local_name().into_inner().to_owned();
    Ok(Element { space, name, attributes, ..Element::default() })
}

fn closed(open: &mut [Element], root: &mut Option<Element>, done: Element) {
    match open.last_mut() {
        Some(parent) => parent.children.push(done),
        None => *root = Some(done),
    }
}

fn said(open: &mut [Element], text: &str) {
    if let Some(element) = open.last_mut().filter(|element| element.name == "documentation") {
        let room = DOCUMENTATION.saturating_sub(element.text.chars().count());
        element.text.extend(text.chars().take(room));
    }
}

fn documentation(element: &Element) -> String {
    let text = element.named("documentation").next().map(|found| found.text.as_str()).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn distinct(locations: impl Iterator<Item = String>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for location in locations.filter(|location| !location.is_empty()) {
        if !found.contains(&location) {
            found.push(location);
        }
    }
    found
}

fn first_version(root: &Element) -> Wsdl {
    let spoken: Vec<&Element> =
        root.named("binding").filter(|binding| binding.of_soap("binding").is_some()).collect();
    let mut operations: BTreeMap<String, Operation> = BTreeMap::new();
    for binding in &spoken {
        let port = root.named("portType").find(|port| port.attribute("name") == binding.local("type"));
        for bound in binding.named("operation") {
            let name = bound.attribute("name");
            let told =
                port.and_then(|port| port.named("operation").find(|one| one.attribute("name") == name));
            let message = |part: &str| {
                told.and_then(|told| told.named(part).next()).map(|one| one.local("message").to_owned())
            };
            let action = bound.of_soap("operation").map(|soap| soap.attribute("soapAction"));
            operations.entry(name.to_owned()).or_insert_with(|| Operation {
                name: name.to_owned(),
                action: action.unwrap_or_default().to_owned(),
                documentation: told.map(documentation).unwrap_or_default(),
                input: message("input").unwrap_or_default(),
                output: message("output").unwrap_or_default(),
            });
        }
    }
    let service = root.named("service").next();
    let ports = root.named("service").flat_map(|service| service.named("port"));
    let ports = ports.filter(|port| spoken.iter().any(|one| one.attribute("name") == port.local("binding")));
    let at = |port: &Element| port.of_soap("address").map(|found| found.attribute("location").to_owned());
    Wsdl {
        service: service.map(|service| service.attribute("name").to_owned()).unwrap_or_default(),
        namespace: root.attribute("targetNamespace").to_owned(),
        operations: operations.into_values().collect(),
        locations: distinct(ports.filter_map(at)),
    }
}

fn second_version(root: &Element) -> Wsdl {
    let spoken: Vec<&Element> =
        root.named("binding").filter(|binding| binding.attribute("type") == SOAP_20).collect();
    let mut operations: BTreeMap<String, Operation> = BTreeMap::new();
    for operation in root.named("interface").flat_map(|interface| interface.named("operation")) {
        let name = operation.attribute("name");
        let bound = spoken.iter().flat_map(|binding| binding.named("operation"));
        let action = bound.filter(|one| one.local("ref") == name).map(|one| one.attribute("action")).next();
        let part = |part: &str| operation.named(part).next().map(|one| one.local("element").to_owned());
        operations.entry(name.to_owned()).or_insert_with(|| Operation {
            name: name.to_owned(),
            action: action.unwrap_or_default().to_owned(),
            documentation: documentation(operation),
            input: part("input").unwrap_or_default(),
            output: part("output").unwrap_or_default(),
        });
    }
    let ends = root.named("service").flat_map(|service| service.named("endpoint"));
    let ends = ends.filter(|end| spoken.iter().any(|one| one.attribute("name") == end.local("binding")));
    Wsdl {
        service: root.named("service").next().map(|one| one.attribute("name").to_owned()).unwrap_or_default(),
        namespace: root.attribute("targetNamespace").to_owned(),
        operations: operations.into_values().collect(),
        locations: distinct(ends.map(|end| end.attribute("address").to_owned())),
    }
}

/// What a document says, as it is answered.
pub(crate) fn shown(wsdl: &Wsdl) -> Value {
    let operation = |one: &Operation| {
        json!({"name": one.name, "soap_action": one.action, "documentation": one.documentation,
               "input": one.input, "output": one.output})
    };
    json!({
        "service_name": wsdl.service, "target_namespace": wsdl.namespace,
        "operations": wsdl.operations.iter().map(operation).collect::<Vec<_>>(),
        "endpoints_count": wsdl.locations.len().max(1), "locations": wsdl.locations,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CALC: &str = r#"<?xml version="1.0"?>
<definitions name="Calc" targetNamespace="urn:calc" xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:t="urn:calc"
    xmlns:s="http://schemas.xmlsoap.org/wsdl/soap/" xmlns:s12="http://schemas.xmlsoap.org/wsdl/soap12/"
    xmlns:h="http://schemas.xmlsoap.org/wsdl/http/">
  <types><schema><element name="operation"/></schema></types>
  <message name="AddIn"/><message name="AddOut"/>
  <portType name="CalcPort">
    <operation name="Add"><documentation>Adds two
      numbers.</documentation><input message="t:AddIn"/><output message="t:AddOut"/></operation>
    <operation name="Sub"><input message="t:SubIn"/></operation>
  </portType>
  <binding name="CalcSoap" type="t:CalcPort"><s:binding style="document" transport="x"/>
    <operation name="Add"><s:operation soapAction="urn:calc#Add"/></operation>
    <operation name="Sub"><s:operation soapAction=""/></operation></binding>
  <binding name="CalcSoap12" type="t:CalcPort"><s12:binding/><operation name="Add"><s12:operation soapAction="x"/></operation></binding>
  <binding name="CalcHttp" type="t:CalcPort"><h:binding verb="GET"/><operation name="Other"/></binding>
  <service name="CalcService">
    <port name="a" binding="t:CalcSoap"><s:address location="http://h/ws/calc"/></port>
    <port name="b" binding="t:CalcSoap12"><s12:address location="http://h/ws/calc"/></port>
    <port name="c" binding="t:CalcSoap12"><s12:address location="http://h/ws/calc12"/></port>
    <port name="d" binding="t:CalcHttp"><h:address location="http://h/http"/></port>
  </service>
</definitions>"#;

    const SECOND: &str = r#"<w:description xmlns:w="http://www.w3.org/ns/wsdl" xmlns:t="urn:x" targetNamespace="urn:x"
    xmlns:s="http://www.w3.org/ns/wsdl/soap">
  <w:interface name="I"><w:operation name="Go"><w:input element="t:go"/></w:operation></w:interface>
  <w:binding name="B" interface="t:I" type="http://www.w3.org/ns/wsdl/soap"><w:operation ref="t:Go" s:action="urn:go"/></w:binding>
  <w:service name="S" interface="t:I"><w:endpoint name="e" binding="t:B" address="http://h/go"/></w:service>
</w:description>"#;

    #[test]
    fn operations_and_where_they_are() {
        let first = shown(&read(CALC.as_bytes()).unwrap());
        assert_eq!(
            first,
            json!({
                "service_name": "CalcService", "target_namespace": "urn:calc", "endpoints_count": 2,
                "locations": ["http://h/ws/calc", "http://h/ws/calc12"],
                "operations": [
                    {"name": "Add", "soap_action": "urn:calc#Add", "documentation": "Adds two numbers.",
                     "input": "AddIn", "output": "AddOut"},
                    {"name": "Sub", "soap_action": "", "documentation": "", "input": "SubIn", "output": ""},
                ],
            })
        );
        let second = shown(&read(SECOND.as_bytes()).unwrap());
        assert_eq!(second["operations"][0]["soap_action"], "urn:go");
        assert_eq!((&second["service_name"], &second["locations"]), (&json!("S"), &json!(["http://h/go"])));
    }

    #[test]
    fn what_is_no_document_is_told() {
        let laughs = r#"<!DOCTYPE d [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><definitions name="&b;"/>"#;
        for (text, expected) in [
            (laughs.to_owned(), "document type"),
            (r#"<!DOCTYPE d SYSTEM "file:///etc/passwd"><d/>"#.to_owned(), "document type"),
            (CALC.replace("name=\"Calc\"", "name=\"&b;\""), "entities"),
            ("<definitions/>".to_owned(), "WSDL 1.1"),
            (String::new(), "one root element"),
            (CALC.replace("</definitions>", ""), "one root element"),
            (format!("{CALC}<a/>"), "one root element"),
            ("<a>".repeat(10_000), "64 levels"),
            (format!("<a>{}</a>", "<b></b>".repeat(ELEMENTS)), "50000 elements"),
            ("<a b='1' b='2'/>".to_owned(), "attributes"),
            ("<a></b>".to_owned(), "well-formed"),
        ] {
            let found = read(text.as_bytes()).unwrap_err();
            assert!(found.contains(expected), "{text:.60}: {found}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(cut in 0..CALC.len(), text in "[<>/a-z:=\"'&;! ]{0,20}", bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let planted = format!("{}{text}{}", &CALC[..cut], &CALC[cut..]);
            for text in [planted.as_bytes(), &bytes] {
                if let Ok(wsdl) = read(text) {
                    prop_assert!(shown(&wsdl).is_object());
                }
            }
        }
    }
}
