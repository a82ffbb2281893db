//! Blocks: their kinds, and the typed reading of their attributes.
//!
//! One file per kind. Invariant: an attribute that a kind does not know is refused, never passed over.

pub(crate) mod api;
pub(crate) mod archive;
mod compaction;
pub(crate) mod crawl;
pub(crate) mod files;
pub(crate) mod function;
mod json;
mod location;
pub(crate) mod lookup;
mod paginator;
pub(crate) mod queue;
pub(crate) mod rollup;
pub(crate) mod schedule;
pub(crate) mod stream;
pub(crate) mod table;
pub(crate) mod variable;

use std::fmt;
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;
use std::time::Duration;

use hcl_edit::Span;
use hcl_edit::structure::{Attribute, Block};
use weir_types::{ByteSize, FunctionName, span};

use crate::diagnostic::Report;
use crate::eval::Evaluator;
use crate::value::{Kind, Value};
use crate::{Diagnostic, Place, nearest};

/// The kinds of blocks that this version runs.
pub(crate) const KINDS: [&str; 10] =
    ["stream", "queue", "schedule", "files", "lookup", "api", "crawl", "function", "table", "variable"];

/// The kinds that are weir's, and not this version's.
pub(crate) const KINDS_LATER: [&str; 7] = ["job", "alarm", "notify", "endpoint", "module", "archive", "locals"];

/// What a kind of block may hold.
pub(crate) struct Shape {
    pub(crate) attributes: &'static [&'static str],
    /// Attributes that a later version will know.
    pub(crate) later: &'static [&'static str],
    /// Blocks inside.
    pub(crate) blocks: &'static [Inner],
}

/// A kind of block inside another.
pub(crate) struct Inner {
    pub(crate) kind: &'static str,
    pub(crate) times: Times,
}

/// How often a block may stand inside another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Times {
    /// Once, without a name.
    Once,
    /// Each with a name of its own.
    Named,
    /// Any number, without names.
    Repeated,
}

/// Says what a block of the kind is called: `files` is a plural.
pub(crate) fn noun(kind: &str) -> String {
    if kind == "files" { "files block".to_owned() } else { kind.to_owned() }
}

/// A value that was read, and where it is written.
#[derive(Debug, Clone)]
pub(crate) struct Spanned<T> {
    pub(crate) value: T,
    pub(crate) span: Range<usize>,
}

/// A reference to a block of a known kind.
#[derive(Debug, Clone)]
pub(crate) struct Reference {
    pub(crate) kind: String,
    pub(crate) name: String,
}

/// A block's attributes, read one by one.
pub(crate) struct Attributes<'a> {
    kind: &'static str,
    pub(crate) name: &'a str,
    /// The block around, as it is called in errors.
    within: Option<String>,
    block: &'a Block,
    pub(crate) evaluator: Evaluator<'a>,
}

impl<'a> Attributes<'a> {
    /// Opens a block for reading, and refuses what its kind does not know.
    pub(crate) fn open(
        kind: &'static str,
        name: &'a str,
        block: &'a Block,
        evaluator: Evaluator<'a>,
        shape: &Shape,
        report: &mut Report,
    ) -> Self {
        let opened = Self { kind, name, within: None, block, evaluator };
        opened.refuse_unknown(shape, report);
        opened
    }

    fn refuse_unknown(&self, shape: &Shape, report: &mut Report) {
        for attribute in self.block.body.attributes() {
            let key = attribute.key.as_str();
            if shape.later.contains(&key) {
                let message =
                    format!("attribute `{key}` of a {} is not yet supported by this version", noun(self.kind));
                report.push(Diagnostic::error(message).at(self.key_place(attribute)).hint("remove it for now"));
            } else if !shape.attributes.contains(&key) && shape.blocks.iter().any(|inner| inner.kind == key) {
                let message = format!("`{key}` of {self} is a block, and no attribute");
                let hint = format!("write it without `=`: `{key} {{ ... }}`");
                report.push(Diagnostic::error(message).at(self.key_place(attribute)).hint(hint));
            } else if !shape.attributes.contains(&key) {
                let blocks = shape.blocks.iter().map(|inner| inner.kind);
                let blocks = blocks.filter(|kind| !shape.attributes.contains(kind));
                let known = shape.attributes.iter().copied().chain(blocks);
                let hint = nearest::hint(key, known, "attributes here");
                let message = format!("unknown attribute `{key}` in {self}");
                report.push(Diagnostic::error(message).at(self.key_place(attribute)).hint(hint));
            }
        }
        let mut seen: Vec<(&str, &str)> = Vec::new();
        for inner in self.block.body.blocks() {
            let kind = inner.ident.as_str();
            match shape.blocks.iter().find(|known| known.kind == kind) {
                Some(known) => self.check_header(known, inner, &mut seen, report),
                None => {
                    let message = format!("unknown block `{kind}` in {self}");
                    let hint = if shape.attributes.contains(&kind) {
                        format!("it is an attribute: write `{kind} = ...`")
                    } else if shape.blocks.is_empty() {
                        format!("a {} has attributes alone", noun(self.kind))
                    } else {
                        nearest::hint(kind, shape.blocks.iter().map(|inner| inner.kind), "blocks here")
                    };
                    report.push(Diagnostic::error(message).at(self.place_of(inner.ident.span())).hint(hint));
                }
            }
        }
    }

    /// Checks the name of a block inside, and that it is there once.
    fn check_header<'b>(
        &self,
        known: &Inner,
        inner: &'b Block,
        seen: &mut Vec<(&'b str, &'b str)>,
        report: &mut Report,
    ) {
        let kind = known.kind;
        let mut refuse = |span: Option<Range<usize>>, message: String, hint: String| {
            report.push(Diagnostic::error(message).at(self.place_of(span)).hint(hint));
        };
        let name = match (known.times, inner.labels.as_slice()) {
            (Times::Repeated, []) => return,
            (Times::Once, []) => "",
            (Times::Once | Times::Repeated, [label, ..]) => {
                let hint = format!("write `{kind} {{ ... }}`");
                return refuse(label.span(), format!("the {kind} of {self} has no name"), hint);
            }
            (Times::Named, [label]) => match label.as_str().parse::<FunctionName>() {
                // All kinds of names follow one rule.
                Ok(_) => label.as_str(),
                Err(error) => {
                    let hint = "rename it: letters, digits, `_` and `-`, a letter first".to_owned();
                    return refuse(label.span(), format!("{kind} \"{}\" of {self}: {error}", label.as_str()), hint);
                }
            },
            (Times::Named, _) => {
                let hint = format!("write `{kind} \"name\" {{ ... }}`");
                let article = if kind == "output" { "an" } else { "a" };
                return refuse(inner.ident.span(), format!("{article} {kind} of {self} has one name"), hint);
            }
        };
        if seen.iter().any(|(other, of)| *other == kind && of.eq_ignore_ascii_case(name)) {
            let what = if known.times == Times::Named { format!("{kind} \"{name}\"") } else { kind.to_owned() };
            let hint = "rename or remove one of the two".to_owned();
            return refuse(inner.ident.span(), format!("{self} has {what} twice"), hint);
        }
        seen.push((kind, name));
    }

    /// Opens the blocks of a kind inside. Those whose names were refused are among them.
    pub(crate) fn inner(&self, kind: &'static str, shape: &Shape, report: &mut Report) -> Vec<Attributes<'a>> {
        let opened = self.blocks_of(kind).map(|block| self.open_inner(kind, block, shape, report));
        opened.collect()
    }

    /// Opens the blocks of a kind inside whose names say what they may hold; those of other names are left out.
    pub(crate) fn inner_by_name<'s>(
        &self,
        kind: &'static str,
        shape_of: impl Fn(&str) -> Option<&'s Shape>,
        report: &mut Report,
    ) -> Vec<Attributes<'a>> {
        let opened = self.blocks_of(kind).filter_map(|block| {
            let shape = shape_of(block.labels.first()?.as_str())?;
            Some(self.open_inner(kind, block, shape, report))
        });
        opened.collect()
    }

    /// Returns the names of the blocks of a kind inside, with their places.
    pub(crate) fn inner_names(&self, kind: &str) -> Vec<Spanned<String>> {
        let labels = self.blocks_of(kind).map(|block| {
            let label = block.labels.first();
            let span = label.and_then(Span::span).or_else(|| block.ident.span()).unwrap_or_default();
            Spanned { value: label.map_or("", |label| label.as_str()).to_owned(), span }
        });
        labels.collect()
    }

    fn blocks_of(&self, kind: &str) -> impl Iterator<Item = &'a Block> + use<'a, '_> {
        let kind = kind.to_owned();
        self.block.body.blocks().filter(move |inner| inner.ident.as_str() == kind)
    }

    fn open_inner(&self, kind: &'static str, block: &'a Block, shape: &Shape, report: &mut Report) -> Attributes<'a> {
        let name = block.labels.first().map_or("", |label| label.as_str());
        let within = Some(self.to_string());
        let opened = Attributes { kind, name, within, block, evaluator: self.evaluator };
        opened.refuse_unknown(shape, report);
        opened
    }

    /// Refuses those of the attributes and blocks that are there, for a reason that names them.
    pub(crate) fn forbid<'n>(
        &self,
        names: impl IntoIterator<Item = &'n str>,
        message: impl Fn(&str) -> String,
        hint: &str,
        report: &mut Report,
    ) {
        for name in names {
            let attribute = self.block.body.get_attribute(name).map(|attribute| self.key_place(attribute));
            let blocks = self.block.body.blocks().filter(|inner| inner.ident.as_str() == name);
            for place in attribute.into_iter().chain(blocks.map(|inner| self.place_of(inner.ident.span()))) {
                report.push(Diagnostic::error(message(name)).at(place).hint(hint));
            }
        }
    }

    /// Returns where the block begins: its kind and labels.
    pub(crate) fn place(&self) -> Place {
        let start = self.block.ident.span().unwrap_or_default();
        let end = self.block.labels.iter().filter_map(Span::span).map(|span| span.end).max().unwrap_or(start.end);
        self.evaluator.place(start.start..end)
    }

    pub(crate) fn place_of(&self, span: Option<Range<usize>>) -> Place {
        self.evaluator.place(span.unwrap_or_default())
    }

    fn key_place(&self, attribute: &Attribute) -> Place {
        self.place_of(attribute.key.span())
    }

    /// Tells whether an attribute is written, to null perhaps.
    pub(crate) fn is_written(&self, name: &str) -> bool {
        self.block.body.get_attribute(name).is_some()
    }

    /// Tells whether one of the attributes is set, and not to null.
    pub(crate) fn has_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.has(name))
    }

    /// Tells whether an attribute is set, and not to null.
    pub(crate) fn has(&self, name: &str) -> bool {
        // What is wrong with the value is reported where it is read.
        let mut unread = Report::default();
        let attribute = self.block.body.get_attribute(name);
        attribute
            .is_some_and(|attribute| !matches!(self.evaluator.value(&attribute.value, &mut unread).kind, Kind::Null))
    }

    /// Returns the place of an attribute's value, or else of the block.
    pub(crate) fn value_place(&self, name: &str) -> Place {
        match self.block.body.get_attribute(name) {
            Some(attribute) => self.place_of(attribute.value.span()),
            None => self.place(),
        }
    }

    /// Returns the place of an attribute's value, or of the first block of that kind inside, if there is one.
    pub(crate) fn place_named(&self, name: &str) -> Option<Place> {
        if self.is_written(name) {
            return Some(self.value_place(name));
        }
        self.blocks_of(name).next().map(|block| self.place_of(block.ident.span()))
    }

    /// Reports that an attribute must be set.
    pub(crate) fn missing(&self, name: &str, hint: &str, report: &mut Report) {
        report.push(Diagnostic::error(format!("{self} has no `{name}`")).at(self.place()).hint(hint));
    }

    pub(crate) fn refuse(&self, name: &str, message: impl Into<String>, hint: impl Into<String>, report: &mut Report) {
        report.push(Diagnostic::error(message).at(self.value_place(name)).hint(hint));
    }

    /// Evaluates an attribute, whatever it is; `None` if it is not set.
    pub(crate) fn any_value(&self, name: &str, report: &mut Report) -> Option<Value> {
        let attribute = self.block.body.get_attribute(name)?;
        Some(self.evaluator.value(&attribute.value, report))
    }

    /// Evaluates an attribute; `None` if it is not set, or null, or was refused.
    pub(crate) fn value(&self, name: &str, report: &mut Report) -> Option<Value> {
        let attribute = self.block.body.get_attribute(name)?;
        let value = self.evaluator.value(&attribute.value, report);
        match value.kind {
            Kind::Null | Kind::Unknown => None,
            Kind::Secret(_) => {
                let message = format!("`{name}` can't be a secret: it is shown in plans and logs");
                report.push(Diagnostic::error(message).at(self.place_of(Some(value.span))).hint("write it plainly"));
                None
            }
            _ => Some(value),
        }
    }

    pub(crate) fn wrong_type(&self, name: &str, wanted: &str, value: &Value, hint: &str, report: &mut Report) {
        if matches!(value.kind, Kind::Unknown) {
            return;
        }
        let message = format!("`{name}` is {wanted}, and this is {}", value.kind.described());
        report.push(Diagnostic::error(message).at(self.place_of(Some(value.span.clone()))).hint(hint));
    }

    pub(crate) fn text(&self, name: &str, example: &str, report: &mut Report) -> Option<Spanned<String>> {
        let value = self.value(name, report)?;
        match value.kind {
            Kind::Text(text) => Some(Spanned { value: text, span: value.span }),
            _ => {
                self.wrong_type(name, "a string", &value, &format!("such as `{name} = \"{example}\"`"), report);
                None
            }
        }
    }

    /// Reads a string that must not be empty.
    pub(crate) fn name_text(&self, name: &str, example: &str, report: &mut Report) -> Option<Spanned<String>> {
        let text = self.text(name, example, report)?;
        if text.value.trim().is_empty() {
            self.refuse(name, format!("`{name}` is empty"), format!("such as `{name} = \"{example}\"`"), report);
            return None;
        }
        Some(text)
    }

    pub(crate) fn texts(&self, name: &str, example: &str, report: &mut Report) -> Option<Vec<Spanned<String>>> {
        let value = self.value(name, report)?;
        let hint = format!("such as `{name} = [{example}]`");
        let Kind::List(elements) = value.kind else {
            self.wrong_type(name, "a list of strings", &value, &hint, report);
            return None;
        };
        let mut texts: Vec<Spanned<String>> = Vec::new();
        let mut whole = true;
        for element in elements {
            match element.kind {
                Kind::Text(text) if texts.iter().any(|known| known.value == text) => {
                    let message = format!("`{text}` stands twice in `{name}`");
                    report.push(
                        Diagnostic::error(message).at(self.place_of(Some(element.span))).hint("remove one of the two"),
                    );
                    whole = false;
                }
                Kind::Text(text) => texts.push(Spanned { value: text, span: element.span }),
                _ => {
                    self.wrong_type(name, "a list of strings", &element, &hint, report);
                    whole = false;
                }
            }
        }
        whole.then_some(texts)
    }

    pub(crate) fn whole_number(&self, name: &str, range: RangeInclusive<u32>, report: &mut Report) -> Option<u32> {
        let value = self.value(name, report)?;
        let (from, to) = (*range.start(), *range.end());
        let hint = format!("write a whole number from {from} to {to}, without quotes");
        let Kind::Number(number) = value.kind else {
            self.wrong_type(name, "a number", &value, &hint, report);
            return None;
        };
        if number.fract() != 0.0 || number < f64::from(from) || number > f64::from(to) {
            self.refuse(name, format!("`{name}` is {number}, which is out of range"), hint, report);
            return None;
        }
        // In range, so that nothing is cut.
        Some(number as u32)
    }

    /// Reads a length of time within `range`.
    pub(crate) fn span(&self, name: &str, range: RangeInclusive<Duration>, report: &mut Report) -> Option<Duration> {
        let (from, to) = (span::display(*range.start()), span::display(*range.end()));
        let text = self.text(name, &from, report)?;
        match span::parse(&text.value) {
            Ok(span) if range.contains(&span) => Some(span),
            Ok(_) => {
                let message = format!("`{name}` is {}, which is out of range", text.value);
                self.refuse(name, message, format!("write a length of time from {from} to {to}"), report);
                None
            }
            Err(_) => {
                let hint = "write a whole number and a unit (ms, s, m, h, d, w), such as \"12h\"";
                self.refuse(name, format!("`{}` is not a length of time", text.value), hint, report);
                None
            }
        }
    }

    pub(crate) fn bytes(&self, name: &str, range: RangeInclusive<ByteSize>, report: &mut Report) -> Option<ByteSize> {
        let text = self.text(name, "128MiB", report)?;
        match ByteSize::from_str(&text.value) {
            Ok(size) if range.contains(&size) => Some(size),
            Ok(_) => {
                let message = format!("`{name}` is {}, which is out of range", text.value);
                self.refuse(
                    name,
                    message,
                    format!("write an amount from {} to {}", range.start().exact(), range.end().exact()),
                    report,
                );
                None
            }
            Err(_) => {
                let hint = "write a whole number and a unit, such as \"128MiB\" or \"10GB\"";
                self.refuse(name, format!("`{}` is not an amount of bytes", text.value), hint, report);
                None
            }
        }
    }

    /// Reads one of a few words, in any case.
    pub(crate) fn choice<T: Copy>(&self, name: &str, choices: &[(&'static str, T)], report: &mut Report) -> Option<T> {
        let text = self.text(name, choices[0].0, report)?;
        let chosen = choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(&text.value));
        if chosen.is_none() {
            let hint = nearest::hint(&text.value, choices.iter().map(|(word, _)| *word), "choices");
            self.refuse(name, format!("`{}` is not a choice of `{name}`", text.value), hint, report);
        }
        chosen.map(|(_, choice)| *choice)
    }

    /// Reads a reference to a block of one of `kinds`; `refusal` says what to do about other kinds.
    pub(crate) fn reference(
        &self,
        name: &str,
        kinds: &[&str],
        refusal: impl Fn(&Reference) -> (String, String),
        report: &mut Report,
    ) -> Option<Spanned<Reference>> {
        let value = self.value(name, report)?;
        match value.kind {
            Kind::Reference { kind, name: target } => {
                let reference = Reference { kind, name: target };
                if !kinds.contains(&reference.kind.as_str()) {
                    let (message, hint) = refusal(&reference);
                    self.refuse(name, message, hint, report);
                    return None;
                }
                Some(Spanned { value: reference, span: value.span })
            }
            Kind::Text(ref text) => {
                let written = text.split_once('.').filter(|(kind, _)| kinds.contains(kind));
                let (kind, bare) = written.unwrap_or((kinds[0], text));
                let hint = format!("write it without quotes: `{name} = {kind}.{bare}`");
                self.wrong_type(name, "a reference", &value, &hint, report);
                None
            }
            _ => {
                self.wrong_type(name, "a reference", &value, &format!("such as `{name} = {}.NAME`", kinds[0]), report);
                None
            }
        }
    }

    pub(crate) fn flag(&self, name: &str, report: &mut Report) -> Option<bool> {
        let value = self.value(name, report)?;
        match value.kind {
            Kind::Bool(flag) => Some(flag),
            _ => {
                self.wrong_type(name, "true or false", &value, &format!("such as `{name} = true`"), report);
                None
            }
        }
    }

    /// Reads one string, or a list of them.
    pub(crate) fn one_or_more(&self, name: &str, example: &str, report: &mut Report) -> Option<Vec<Spanned<String>>> {
        // What is wrong with it is reported where it is read in earnest.
        match self.value(name, &mut Report::default()) {
            Some(Value { kind: Kind::Text(text), span }) => Some(vec![Spanned { value: text, span }]),
            Some(value) if !matches!(value.kind, Kind::List(_)) => {
                let hint = format!("such as `{name} = [{example}]`");
                self.wrong_type(name, "a string or a list of strings", &value, &hint, report);
                None
            }
            _ => self.texts(name, example, report),
        }
    }

    /// Reads a map of strings, numbers and booleans, as texts; a list is its key several times.
    pub(crate) fn plain_map(
        &self,
        name: &str,
        secret_hint: &str,
        report: &mut Report,
    ) -> Option<Vec<(String, String)>> {
        let value = self.value(name, report)?;
        let hint = format!("such as `{name} = {{ page_size = 100 }}`");
        let Kind::Map(entries) = value.kind else {
            self.wrong_type(name, "a map", &value, &hint, report);
            return None;
        };
        let mut texts = Vec::new();
        let mut whole = true;
        for (key, value) in entries {
            let values = match value.kind {
                Kind::List(values) => values,
                _ => vec![value],
            };
            for value in values {
                match &value.kind {
                    Kind::Secret(_) => {
                        let message = format!("`{key}` of `{name}` can't be a secret: it is shown in plans and logs");
                        let place = self.place_of(Some(value.span.clone()));
                        report.push(Diagnostic::error(message).at(place).hint(secret_hint));
                        whole = false;
                    }
                    kind => match kind.as_text() {
                        Some(text) => texts.push((key.clone(), text)),
                        None => {
                            self.wrong_type(name, "a map of strings and numbers", &value, &hint, report);
                            whole = false;
                        }
                    },
                }
            }
        }
        whole.then_some(texts)
    }

    /// Reads a map of strings.
    pub(crate) fn text_map(&self, name: &str, report: &mut Report) -> Option<Vec<(String, String)>> {
        let value = self.value(name, report)?;
        let hint = format!("such as `{name} = {{ team = \"data\" }}`");
        let Kind::Map(entries) = value.kind else {
            self.wrong_type(name, "a map of strings", &value, &hint, report);
            return None;
        };
        let mut texts = Vec::new();
        for (key, value) in entries {
            match value.kind {
                Kind::Text(text) => texts.push((key, text)),
                _ => self.wrong_type(name, "a map of strings", &value, &hint, report),
            }
        }
        Some(texts)
    }
}

/// Prints the block's kind and name, as in `stream "clicks"` or `batch of function "score"`.
impl fmt::Display for Attributes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            "" => f.write_str(self.kind)?,
            name => write!(f, "{} \"{name}\"", self.kind)?,
        }
        self.within.as_ref().map_or(Ok(()), |within| write!(f, " of {within}"))
    }
}
