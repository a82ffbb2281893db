//! Reads a folder's files.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use hcl_edit::structure::Body;

use crate::diagnostic::Report;
use crate::limits::{FILE_BYTES_MAX, FILES_MAX};
use crate::{Diagnostic, Place, Source, oneline};

/// One `*.hcl` file, parsed.
pub(crate) struct Parsed {
    pub(crate) source: Arc<Source>,
    pub(crate) body: Body,
}

/// Reads and parses the folder's `*.hcl` files, in the order of their names.
pub(crate) fn read(dir: &Path, report: &mut Report) -> Vec<Parsed> {
    let shown = dir.display().to_string();
    let names = match names(dir) {
        Ok(names) => names,
        Err(error) => {
            let hint = "give the folder that holds weir.hcl";
            report.push(
                Diagnostic::error(format!("the folder can't be read: {}", reason(&error)))
                    .at(Place::whole(&shown))
                    .hint(hint),
            );
            return Vec::new();
        }
    };
    if names.is_empty() {
        let hint = "write weir.hcl there, or give another folder";
        report.push(Diagnostic::error("the folder has no *.hcl file").at(Place::whole(&shown)).hint(hint));
    }
    if names.len() > FILES_MAX {
        let message = format!("the folder has {} *.hcl files, and may have {FILES_MAX}", names.len());
        report.push(Diagnostic::error(message).at(Place::whole(&shown)).hint("put several blocks into one file"));
        return Vec::new();
    }
    names
        .iter()
        .filter_map(|name| parse(read_text(dir, name).map_err(|error| report.push(*error)).ok()?, report))
        .collect()
}

fn names(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        // A name that is not UTF-8 may still end in .hcl, and must not be passed over.
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        // Editors keep unsaved copies under names that begin with a dot.
        if name.ends_with(".hcl") && !name.starts_with('.') {
            names.push(name.into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Reads a text file of the folder; `name` is relative to it.
pub(crate) fn read_text(dir: &Path, name: &str) -> Result<Arc<Source>, Box<Diagnostic>> {
    let refused = |message: String, hint: &str| Box::new(Diagnostic::error(message).at(Place::whole(name)).hint(hint));
    let mut bytes = Vec::new();
    let read = File::open(dir.join(name)).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        return Err(refused(
            format!("the file can't be read: {}", reason(&error)),
            "check its name and its permissions",
        ));
    }
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(refused(format!("the file is larger than {FILE_BYTES_MAX} bytes"), "split it"));
    }
    // Windows' editors like to put a byte-order mark in front, which means nothing in UTF-8.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").map(<[u8]>::to_vec).unwrap_or(bytes);
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Arc::new(Source { name: name.to_owned(), text })),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            let utf16 = error.as_bytes().starts_with(b"\xff\xfe") || error.as_bytes().starts_with(b"\xfe\xff");
            let message = if utf16 { "the file is UTF-16, and must be UTF-8" } else { "this is not UTF-8" };
            let place = Place::new(Arc::new(Source { name: name.to_owned(), text }), at..at + 1);
            Err(Box::new(Diagnostic::error(message).at(place).hint("save the file as UTF-8")))
        }
    }
}

fn parse(source: Arc<Source>, report: &mut Report) -> Option<Parsed> {
    let strict = hcl_edit::parser::parse_body(&source.text);
    let parsed = match strict {
        Ok(body) => Ok(body),
        // Only what is not HCL to the letter is read in the wider sense.
        Err(error) => match oneline::widen(&source.text) {
            Some(text) => hcl_edit::parser::parse_body(&text),
            None => Err(error),
        },
    };
    match parsed {
        Ok(body) => Some(Parsed { source, body }),
        Err(error) => {
            report.push(syntax(&source, &error));
            None
        }
    }
}

fn syntax(source: &Arc<Source>, error: &hcl_edit::parser::Error) -> Diagnostic {
    let at = error.location().offset().min(source.text.len());
    let mut length = source.text[at..].chars().next().map_or(0, char::len_utf8);
    let message = error.message();
    if message.contains("redefined attribute") {
        let name: String =
            source.text[at..].chars().take_while(|char| char.is_alphanumeric() || matches!(char, '_' | '-')).collect();
        length = name.len();
        return Diagnostic::error(format!("attribute `{name}` is set twice in one block"))
            .at(Place::new(Arc::clone(source), at..at + length))
            .hint("remove one of the two");
    }
    let hint = if source.text[at..].starts_with('}') && message.contains("unexpected token") {
        "is there one `}` too many, or a `{` missing before here?"
    } else if message.contains("nesting") {
        "write it flatter"
    } else if message.contains("heredoc") {
        "a heredoc ends with a line that holds its delimiter alone"
    } else if message.contains("block body") {
        "is the `}` of a block missing before here, or the `=` of an attribute?"
    } else if message.contains("newline") {
        "a line holds one attribute; is a quote or a bracket missing before here?"
    } else if message.contains("identifier") || message.contains('=') || message.ends_with("expected `{`") {
        "an attribute is `name = value`, and a block `kind \"name\" { ... }`"
    } else {
        "is a comma, a quote, a bracket or a value missing before here?"
    };
    // The parser's words for a line break are fit for its tests, not for people.
    let message = message.replace('\n', "a line break").replace("`a line break`", "a line break");
    Diagnostic::error(format!("syntax: {message}")).at(Place::new(Arc::clone(source), at..at + length)).hint(hint)
}

/// Says why a file can't be read in words that are the same on every system.
pub(crate) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        io::ErrorKind::NotADirectory => "it is not a folder".to_owned(),
        _ => error.to_string(),
    }
}
