//! The checksums that SQS gives for a message, so that a client can tell that it arrived as it was sent. Some clients
//! check them (JavaScript, Java), others don't (boto3).
//!
//! Source of the format: "Calculating the MD5 message digest for message attributes", Amazon SQS Developer Guide. For
//! each attribute, by name:
//!
//! ```text
//! length of name (4 bytes, big end first), name, length of type, type, 1 text or 2 binary, length of value, value
//! ```

use md5::{Digest, Md5};
use weir_queue::{Attribute, AttributeValue};

/// The name of the only system attribute that a sender may set.
pub const TRACE_HEADER: &str = "AWSTraceHeader";

/// Returns the checksum of a body, in hexadecimal.
pub fn of_bytes(bytes: &[u8]) -> String {
    format!("{:x}", Md5::digest(bytes))
}

/// Returns the checksum of a message's attributes, in hexadecimal. `None` if there are none.
pub fn of_attributes<'a>(attributes: impl IntoIterator<Item = &'a Attribute>) -> Option<String> {
    let mut attributes: Vec<&Attribute> = attributes.into_iter().collect();
    if attributes.is_empty() {
        return None;
    }
    attributes.sort_by(|a, b| a.name.cmp(&b.name));
    let mut digest = Md5::new();
    for attribute in attributes {
        put(&mut digest, attribute.name.as_bytes());
        put(&mut digest, attribute.data_type.as_bytes());
        match &attribute.value {
            AttributeValue::Text(text) => {
                digest.update([1]);
                put(&mut digest, text.as_bytes());
            }
            AttributeValue::Binary(bytes) => {
                digest.update([2]);
                put(&mut digest, bytes);
            }
        }
    }
    Some(format!("{:x}", digest.finalize()))
}

/// Returns the checksum of a message's system attributes, of which there is but one.
pub fn of_trace_header(header: &str) -> String {
    let mut digest = Md5::new();
    put(&mut digest, TRACE_HEADER.as_bytes());
    put(&mut digest, b"String");
    digest.update([1]);
    put(&mut digest, header.as_bytes());
    format!("{:x}", digest.finalize())
}

fn put(digest: &mut Md5, bytes: &[u8]) {
    // Nothing in a message is longer than a message may be, far below 4 GiB.
    digest.update(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    digest.update(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &str, value: &str) -> Attribute {
        Attribute { name: name.into(), data_type: "String".into(), value: AttributeValue::Text(value.into()) }
    }

    /// Recorded from SQS.
    #[test]
    fn checksums_are_those_that_sqs_gives() {
        assert_eq!(of_bytes(b"msg"), "6e2baaf3b97dbeef01c0043275f9a0e7");
        let (kenobi, hello, help) = (text("General", "Kenobi"), text("Hello", "There"), text("Help.Me", "Me"));
        assert_eq!(of_attributes([&help, &hello, &kenobi]).unwrap(), "4c360f3fdafd970e05fae2f149d997f5");
        assert_eq!(of_attributes([&hello, &kenobi]).unwrap(), "fca026605781cb4126a1e9044df24232");
        assert_eq!(of_attributes([&hello]).unwrap(), "a311262e065454b75da111d535b8dacd");
        assert_eq!(of_attributes([&help, &hello]).unwrap(), "83fee93c1bcd8b9a5a923ffacdc636c7");
        assert_eq!(of_attributes([&text("Foo", "Bar")]).unwrap(), "ae7155c6026991b6d54b11589678bf9c");
        let binary = Attribute {
            name: "attr1".into(),
            data_type: "Binary".into(),
            value: AttributeValue::Binary(
                b"traceparent\x1e00-774062d6c37081a5a0b9b5b88e30627c-2d2482211f6489da-01".as_slice().into(),
            ),
        };
        assert_eq!(of_attributes([&binary]).unwrap(), "8cbe4db156db8a94db8b801b7addb984");
        assert_eq!(of_attributes([]), None);
    }

    #[test]
    fn a_trace_header_is_summed_as_any_attribute() {
        let header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
        assert_eq!(of_trace_header(header), of_attributes([&text(TRACE_HEADER, header)]).unwrap());
    }
}
