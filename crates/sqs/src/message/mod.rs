//! A message on the wire: its body, its attributes, and the checksums of both.

mod attribute;
mod body;
mod checksum;

pub use attribute::{Attributes, Value, check, check_trace_header};
pub use body::{Encoding, check_text, presented};
pub use checksum::{TRACE_HEADER, of_attributes, of_bytes, of_trace_header};
