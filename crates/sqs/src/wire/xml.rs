//! The query protocol's answers: XML in the namespace of 2012-11-05.

use std::fmt::Write;

use crate::error::Failure;
use crate::wire::Reply;

/// The namespace of every answer.
pub const NAMESPACE: &str = "http://queue.amazonaws.com/doc/2012-11-05/";

/// XML that is being written. Text is escaped here and nowhere else.
#[derive(Debug)]
pub struct Xml {
    text: String,
}

impl Xml {
    fn new() -> Self {
        Self { text: String::from("<?xml version=\"1.0\"?>") }
    }

    /// Writes an element and what `inside` puts into it.
    pub fn element(&mut self, name: &str, inside: impl FnOnce(&mut Self)) {
        let _ = write!(self.text, "<{name}>");
        inside(self);
        let _ = write!(self.text, "</{name}>");
    }

    /// Writes an element that holds text.
    pub fn text(&mut self, name: &str, value: &str) {
        self.element(name, |xml| {
            // A parser makes a bare carriage return a line feed, and the body's MD5 would not fit any more.
            for (index, part) in value.split('\r').enumerate() {
                if index > 0 {
                    xml.text.push_str("&#13;");
                }
                xml.text.push_str(&quick_xml::escape::escape(part));
            }
        });
    }

    /// Writes an element that holds text, if there is any.
    pub fn optional(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// Writes an element that holds a number or another plain word.
    pub fn plain(&mut self, name: &str, value: impl std::fmt::Display) {
        self.text(name, &value.to_string());
    }

    /// Writes a flattened map: one element for each pair.
    pub fn pairs<'a>(
        &mut self,
        name: &str,
        [key, value]: [&str; 2],
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) {
        for (k, v) in pairs {
            self.element(name, |xml| {
                xml.text(key, k);
                xml.text(value, v);
            });
        }
    }
}

/// Writes the answer of an action.
pub fn answer(action: &str, reply: &impl Reply, request_id: &str) -> String {
    let mut xml = Xml::new();
    let _ = write!(xml.text, "<{action}Response xmlns=\"{NAMESPACE}\">");
    if !reply.is_empty() {
        xml.element(&format!("{action}Result"), |xml| reply.xml(xml));
    }
    xml.element("ResponseMetadata", |xml| xml.text("RequestId", request_id));
    let _ = write!(xml.text, "</{action}Response>");
    xml.text
}

/// Writes a failure.
pub fn failure(failure: &Failure, request_id: &str) -> String {
    let mut xml = Xml::new();
    let _ = write!(xml.text, "<ErrorResponse xmlns=\"{NAMESPACE}\">");
    xml.element("Error", |xml| {
        xml.text("Type", if failure.code.is_senders() { "Sender" } else { "Receiver" });
        xml.text("Code", failure.code.query());
        xml.text("Message", &failure.message);
        xml.text.push_str("<Detail/>");
    });
    xml.text("RequestId", request_id);
    xml.text.push_str("</ErrorResponse>");
    xml.text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_carriage_return_survives_a_parser_that_normalises_line_ends() {
        let mut xml = Xml::new();
        xml.text("Body", "a\r\n<&>\"'");
        assert_eq!(xml.text, "<?xml version=\"1.0\"?><Body>a&#13;\n&lt;&amp;&gt;&quot;&apos;</Body>");
    }
}
