//! What is wrong, where, and what to do about it.

use std::fmt::{self, Write};

use crate::Place;
use crate::limits::DIAGNOSTICS_MAX;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// There is no plan.
    Error,
    /// There is a plan, and it may not be what was meant.
    Warning,
}

/// Something wrong in a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// Where. Mistakes on the command line have no place.
    pub place: Option<Place>,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Characters of a source line that are shown.
const LINE_CHARS_MAX: usize = 120;

impl Diagnostic {
    /// An error without a place.
    pub fn error(message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, message: message.into(), place: None, hint: None }
    }

    /// A warning without a place.
    pub fn warning(message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(message) }
    }

    /// The same at a place.
    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// The same with what to do.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Renders the diagnostic as plain text: message, place, the source line with a caret, and hint.
    ///
    /// The same diagnostic always gives the same text. It ends in a line break.
    pub fn render(&self) -> String {
        let word = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let mut text = format!("{word}: {}\n", self.message);
        if let Some(place) = &self.place {
            // Writing to a string can't fail.
            let _ = writeln!(text, "  --> {place}");
            if let (Some(line), Some((excerpt, span))) = (place.line(), place.excerpt()) {
                write_excerpt(&mut text, line, excerpt, span.start, span.end);
            }
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "  hint: {hint}");
        }
        text
    }
}

fn write_excerpt(text: &mut String, line: usize, excerpt: &str, start: usize, end: usize) {
    let before = excerpt[..start].chars().count();
    let marked = excerpt[start..end].chars().count().max(1);
    // A long line is shown from a little before what is meant.
    let skipped = if before + marked > LINE_CHARS_MAX { before.saturating_sub(LINE_CHARS_MAX / 2) } else { 0 };
    // What would move the cursor of a terminal is not printed.
    let plain = |char: char| if char.is_control() && char != '\t' { '\u{fffd}' } else { char };
    let shown: String = excerpt.chars().skip(skipped).take(LINE_CHARS_MAX).map(plain).collect();
    // Tabs stay tabs, so that the caret stands below whatever their width.
    let indent: String = excerpt
        .chars()
        .skip(skipped)
        .take(before - skipped)
        .map(|char| if char == '\t' { '\t' } else { ' ' })
        .collect();
    let carets = "^".repeat(marked.min(LINE_CHARS_MAX.saturating_sub(before - skipped)).max(1));
    let number = line.to_string();
    let gutter = " ".repeat(number.len());
    let _ = writeln!(text, " {gutter} |\n {number} | {shown}\n {gutter} | {indent}{carets}");
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Diagnostic {}

/// The diagnostics found so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    found: Vec<Diagnostic>,
}

impl Report {
    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        if !self.found.contains(&diagnostic) {
            self.found.push(diagnostic);
        }
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.errors() > 0
    }

    /// Counts the errors, so that a block can tell whether it has added some.
    pub(crate) fn errors(&self) -> usize {
        self.found.iter().filter(|found| found.severity == Severity::Error).count()
    }

    /// Returns them in the order of their places, errors first if there are too many to show.
    pub(crate) fn finish(mut self) -> Vec<Diagnostic> {
        let place = |found: &Diagnostic| {
            found.place.as_ref().map(|place| (place.file().to_owned(), place.span().map_or(0, |span| span.start)))
        };
        self.found.sort_by_cached_key(place);
        if self.found.len() > DIAGNOSTICS_MAX {
            self.found.sort_by_key(|found| found.severity);
            let left_out = self.found.len() - DIAGNOSTICS_MAX;
            self.found.truncate(DIAGNOSTICS_MAX);
            let error = Diagnostic::error(format!("{left_out} more problems are not shown"));
            self.found.push(error.hint("mend these first"));
        }
        self.found
    }
}
