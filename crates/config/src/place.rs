//! Places in files.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A file's name and text.
#[derive(PartialEq, Eq)]
pub struct Source {
    /// The name, relative to the folder.
    pub name: String,
    /// The text, without a byte-order mark.
    pub text: String,
}

/// Leaves out the text, which every place in the file would repeat.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.name)
    }
}

/// A place in a file, or the file as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    source: Arc<Source>,
    span: Option<Range<usize>>,
}

impl Place {
    /// The bytes `span` of a file.
    pub fn new(source: Arc<Source>, span: Range<usize>) -> Self {
        // Never inside of a character: the line is cut there when it is shown.
        let end = source.text.ceil_char_boundary(span.end);
        let span = source.text.floor_char_boundary(span.start.min(end))..end;
        Self { source, span: Some(span) }
    }

    /// The bytes `span` of a file, shown as asterisks: for what must not be repeated.
    pub(crate) fn masked(source: &Source, span: Range<usize>) -> Self {
        let hidden = "*".repeat(source.text.get(span.clone()).map_or(0, str::len));
        let mut text = source.text.clone();
        if !hidden.is_empty() {
            text.replace_range(span.clone(), &hidden);
        }
        Self::new(Arc::new(Source { name: source.name.clone(), text }), span)
    }

    /// A file or folder without a place in it, such as one that can't be read.
    pub fn whole(name: impl Into<String>) -> Self {
        Self { source: Arc::new(Source { name: name.into(), text: String::new() }), span: None }
    }

    /// Returns the file.
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// Returns the file's name.
    pub fn file(&self) -> &str {
        &self.source.name
    }

    /// Returns the bytes of the file that are meant.
    pub fn span(&self) -> Option<Range<usize>> {
        self.span.clone()
    }

    /// Returns the line, from 1.
    pub fn line(&self) -> Option<usize> {
        let start = self.span.as_ref()?.start;
        Some(self.source.text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count() + 1)
    }

    /// Returns the column, in characters, from 1.
    pub fn column(&self) -> Option<usize> {
        let start = self.span.as_ref()?.start;
        let before = &self.source.text.as_bytes()[line_start(&self.source.text, start)..start];
        // Bytes that begin a character.
        Some(before.iter().filter(|byte| **byte & 0xc0 != 0x80).count() + 1)
    }

    /// Returns the line's text, and the bytes in it that are meant.
    pub(crate) fn excerpt(&self) -> Option<(&str, Range<usize>)> {
        let span = self.span.as_ref()?;
        let text = &self.source.text;
        let from = line_start(text, span.start);
        let to = text[from..].find('\n').map_or(text.len(), |length| from + length);
        let line = text[from..to].trim_end_matches('\r');
        let start = (span.start - from).min(line.len());
        Some((line, start..(span.end - from).clamp(start, line.len())))
    }
}

/// Prints `file:line:column`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source.name)?;
        match (self.line(), self.column()) {
            (Some(line), Some(column)) => write!(f, ":{line}:{column}"),
            _ => Ok(()),
        }
    }
}

fn line_start(text: &str, at: usize) -> usize {
    text.as_bytes()[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        let text = "a = 1\nnäme = \"ü\" b\r\n".to_owned();
        let at = text.find("\" b").unwrap() + 2;
        let place = Place::new(Arc::new(Source { name: "weir.hcl".into(), text }), at..at + 1);
        assert_eq!(place.to_string(), "weir.hcl:2:12");
        assert_eq!(place.excerpt().unwrap().0, "näme = \"ü\" b");
    }
}
