//! Cutting a body that arrives in chunks into JSON texts, one per record.
//!
//! A text that lies within one chunk is not copied. At most one record is ever buffered; what is longer than
//! [`RECORD_BYTES_MAX`](weir_types::limits::RECORD_BYTES_MAX) is refused at that point and skipped without being kept.

use weir_types::limits::RECORD_BYTES_MAX;

use crate::RecordError;

/// The byte-order mark, which some editors put before UTF-8. A body may begin with it.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Cuts NDJSON into lines. Lines end with LF or CRLF; blank ones are counted and skipped.
#[derive(Debug, Default)]
pub struct LineSplitter {
    /// The beginning of a line whose end has not come.
    carry: Vec<u8>,
    /// The lines that have ended.
    lines: u64,
    /// The line is too long; its end is all that matters.
    skipping: bool,
}

impl LineSplitter {
    /// Begins at line 1.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next chunk, and hands over each line that ends in it with its number, from 1.
    pub fn feed(&mut self, chunk: &[u8], mut each: impl FnMut(u64, Result<&[u8], RecordError>)) {
        let mut rest = chunk;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, after) = (&rest[..end], &rest[end + 1..]);
            rest = after;
            if self.carry.is_empty() {
                self.end(line, &mut each);
            } else if self.keep(line, &mut each) {
                let carry = std::mem::take(&mut self.carry);
                self.end(&carry, &mut each);
                self.carry = carry;
                self.carry.clear();
            } else {
                self.end(&[], &mut each);
            }
        }
        self.keep(rest, &mut each);
    }

    /// Hands over the last line, if the body does not end with a line's end.
    pub fn finish(mut self, mut each: impl FnMut(u64, Result<&[u8], RecordError>)) {
        if !self.carry.is_empty() {
            let carry = std::mem::take(&mut self.carry);
            self.end(&carry, &mut each);
        }
    }

    /// Adds to the line that has not ended; false if it is too long.
    fn keep(&mut self, part: &[u8], each: &mut impl FnMut(u64, Result<&[u8], RecordError>)) -> bool {
        if !self.skipping && self.carry.len() + part.len() > RECORD_BYTES_MAX {
            self.skipping = true;
            self.carry = Vec::new();
            each(self.lines + 1, Err(too_long()));
        }
        if !self.skipping {
            self.carry.extend_from_slice(part);
        }
        !self.skipping
    }

    #[inline]
    fn end(&mut self, line: &[u8], each: &mut impl FnMut(u64, Result<&[u8], RecordError>)) {
        self.lines += 1;
        if std::mem::take(&mut self.skipping) {
            return;
        }
        let line = if self.lines == 1 { line.strip_prefix(MARK).unwrap_or(line) } else { line };
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > RECORD_BYTES_MAX {
            each(self.lines, Err(too_long()));
        } else if line.iter().any(|byte| !byte.is_ascii_whitespace()) {
            each(self.lines, Ok(line));
        }
    }
}

fn too_long() -> RecordError {
    RecordError::whole(format!("the record has more than the {RECORD_BYTES_MAX} bytes that are allowed"))
}

/// Cuts a JSON array into its elements; a body that is one object is one element.
#[derive(Debug, Default)]
pub struct ValueSplitter {
    place: Place,
    /// The beginning of an element whose end has not come.
    carry: Vec<u8>,
    elements: u64,
    bytes: u64,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nothing has come.
    #[default]
    Start,
    /// Behind `[`.
    First,
    /// Behind a comma.
    Next,
    /// Inside an element.
    Element(Element),
    /// Behind an element.
    Behind,
    /// Behind `]` or the single object.
    End,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Element {
    depth: usize,
    text: Text,
    /// The body is this one object.
    lone: bool,
    /// It is too long; its end is all that matters.
    skipping: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Text {
    #[default]
    Outside,
    Inside,
    Escape,
}

impl ValueSplitter {
    /// Begins at element 1.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next chunk, and hands over each element that ends in it with its number, from 1. An element is not yet
    /// known to be JSON.
    ///
    /// # Errors
    /// If the body is neither an array nor an object; what follows can't be told apart then.
    pub fn feed(
        &mut self,
        chunk: &[u8],
        mut each: impl FnMut(u64, Result<&[u8], RecordError>),
    ) -> Result<(), RecordError> {
        let mut at = 0;
        while at < chunk.len() {
            if let Place::Element(element) = self.place {
                at = self.element(element, chunk, at, &mut each);
                continue;
            }
            let byte = chunk[at];
            let marks = self.place == Place::Start && MARK.get(self.bytes as usize + at) == Some(&byte);
            if marks || matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                at += 1;
                continue;
            }
            let opens = Element { lone: self.place == Place::Start, ..Element::default() };
            self.place = match (self.place, byte) {
                (Place::Start, b'[') => Place::First,
                (Place::First, b']') | (Place::Behind, b']') => Place::End,
                (Place::Behind, b',') => Place::Next,
                (Place::Start, b'{') => Place::Element(opens),
                (Place::First | Place::Next, other) if !matches!(other, b']' | b',' | b'}' | b':') => {
                    Place::Element(opens)
                }
                (place, other) => return Err(self.broken(place, other, at)),
            };
            // An element's first byte belongs to it.
            at += usize::from(!matches!(self.place, Place::Element(_)));
        }
        self.bytes += chunk.len() as u64;
        Ok(())
    }

    /// Ends the body.
    ///
    /// # Errors
    /// If it ends too early: inside an element, or before the array's end.
    pub fn finish(self, _each: impl FnMut(u64, Result<&[u8], RecordError>)) -> Result<(), RecordError> {
        match self.place {
            Place::End => Ok(()),
            Place::Start => Err(RecordError::whole("the body is empty: an array of records or one object is wanted")),
            Place::Element(_) => Err(RecordError::whole(format!("the body ends inside element {}", self.elements + 1))),
            _ => Err(RecordError::whole(format!("the body ends behind element {} without `]`", self.elements))),
        }
    }

    fn broken(&self, place: Place, byte: u8, at: usize) -> RecordError {
        let wanted = match place {
            Place::Start => "`[` or `{`",
            Place::First | Place::Next => "an element",
            Place::End => "the end of the body",
            Place::Behind | Place::Element(_) => "`,` or `]`",
        };
        let at = self.bytes + at as u64 + 1;
        RecordError::whole(format!(
            "{wanted} should stand at byte {at} of the body, behind element {}, and `{}` does",
            self.elements,
            byte.escape_ascii()
        ))
    }

    /// Goes through an element until its end or the chunk's, and returns where that is.
    fn element(
        &mut self,
        mut element: Element,
        chunk: &[u8],
        start: usize,
        each: &mut impl FnMut(u64, Result<&[u8], RecordError>),
    ) -> usize {
        let mut at = start;
        let mut ended = false;
        while let Some(byte) = chunk.get(at) {
            match (element.text, byte) {
                (Text::Escape, _) => element.text = Text::Inside,
                (Text::Inside, b'\\') => element.text = Text::Escape,
                (Text::Inside, b'"') => element.text = Text::Outside,
                (Text::Inside, _) => {}
                (Text::Outside, b'"') => element.text = Text::Inside,
                (Text::Outside, b'{' | b'[') => element.depth += 1,
                (Text::Outside, b'}' | b']') if element.depth > 0 => {
                    element.depth -= 1;
                    if element.depth == 0 {
                        at += 1;
                        ended = true;
                        break;
                    }
                }
                (Text::Outside, b',' | b']' | b'}') if element.depth == 0 => {
                    ended = true;
                    break;
                }
                (Text::Outside, _) => {}
            }
            at += 1;
        }
        let part = &chunk[start..at];
        if !element.skipping && self.carry.len() + part.len() > RECORD_BYTES_MAX {
            element.skipping = true;
            self.carry = Vec::new();
            each(self.elements + 1, Err(too_long()));
        }
        if !ended {
            if !element.skipping {
                self.carry.extend_from_slice(part);
            }
            self.place = Place::Element(element);
            return at;
        }
        self.elements += 1;
        if !element.skipping {
            if self.carry.is_empty() {
                each(self.elements, Ok(part));
            } else {
                self.carry.extend_from_slice(part);
                each(self.elements, Ok(&self.carry));
                self.carry.clear();
            }
        }
        self.place = if element.lone { Place::End } else { Place::Behind };
        at
    }
}
