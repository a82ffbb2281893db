//! SQL as it is written in a configuration, and the way back from a place in the SQL to one in the file.

use std::ops::Range;
use std::sync::Arc;

use crate::{Place, Source};

/// A query and where it is written.
pub(crate) struct Sql {
    pub(crate) text: String,
    origin: Origin,
}

enum Origin {
    /// A file of its own.
    File(Arc<Source>),
    /// A string or heredoc in a configuration file, quotes and markers included.
    Attribute(Arc<Source>, Range<usize>),
}

impl Sql {
    pub(crate) fn of_file(source: Arc<Source>) -> Self {
        Self { text: source.text.clone(), origin: Origin::File(source) }
    }

    pub(crate) fn of_attribute(text: String, source: Arc<Source>, span: Range<usize>) -> Self {
        Self { text, origin: Origin::Attribute(source, span) }
    }

    /// Returns the place of a line and column (in characters) of the SQL, or, where there is none or the text was not
    /// written letter by letter (escapes, `${...}`), of the SQL as a whole.
    pub(crate) fn place(&self, at: Option<(usize, usize)>) -> Place {
        match &self.origin {
            Origin::File(source) => {
                let first = source.text.trim_start();
                let start = source.text.len() - first.len();
                let whole = start..start + first.lines().next().map_or(0, str::len);
                let span = at.and_then(|at| locate(&source.text, at)).map_or(whole, |at| word(&source.text, at));
                Place::new(Arc::clone(source), span)
            }
            Origin::Attribute(source, written) => {
                let at = at.and_then(|at| self.in_attribute(source, written, at));
                Place::new(Arc::clone(source), at.map_or(written.clone(), |at| word(&source.text, at)))
            }
        }
    }

    fn in_attribute(&self, source: &Source, written: &Range<usize>, (line, column): (usize, usize)) -> Option<usize> {
        let raw = source.text.get(written.clone())?;
        // A heredoc's text begins on the line after its marker.
        let skipped = if raw.starts_with("<<") { raw.find('\n')? + 1 } else { 1 };
        let line_text = self.text.lines().nth(line.checked_sub(1)?)?;
        let mut start = written.start + skipped;
        for _ in 1..line {
            start += source.text.get(start..)?.find('\n')? + 1;
        }
        let raw_line = source.text.get(start..written.end)?.lines().next()?;
        let raw_line = if raw.starts_with("<<") { raw_line } else { raw_line.strip_suffix('"')? };
        // `<<-` takes away indentation, and nothing else may differ.
        let indent = raw_line.strip_suffix(line_text)?.len();
        Some(start + indent + locate(line_text, (1, column))?)
    }
}

/// Returns the byte at a line and column (in characters), both from 1.
fn locate(text: &str, (line, column): (usize, usize)) -> Option<usize> {
    let mut start = 0;
    for _ in 1..line {
        start += text[start..].find('\n')? + 1;
    }
    let rest = text[start..].split('\n').next()?;
    let within = rest.char_indices().nth(column.checked_sub(1)?).map_or(rest.len(), |(at, _)| at);
    Some(start + within)
}

/// Returns the word, dots included, that begins at a byte, or else its one character.
fn word(text: &str, at: usize) -> Range<usize> {
    let rest = &text[at..];
    let length: usize =
        rest.chars().take_while(|char| char.is_alphanumeric() || matches!(char, '_' | '.')).map(char::len_utf8).sum();
    at..at + length.max(rest.chars().next().map_or(0, char::len_utf8))
}
