//! Whether data written with one schema can be read with another, and if not, why not.
//!
//! The rules are those of Avro's schema resolution: fields by name or the reader's alias, promotions, unions, enum
//! defaults. Names match without their namespace, as the specification has it. Two rules are stricter than it, since
//! bytes that resolve would change their meaning: the units of dates and times must be the same where both sides state
//! one, and a decimal's scale.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Schema;
use crate::limits::COMPARED_DEPTH_MAX;
use crate::schema::{Enum, FullName, Kind, Logical, Node, NodeId, Record};

/// One thing that keeps a reader from reading a writer's data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incompatibility {
    /// The field's path with dots, empty for the whole.
    pub path: String,
    /// What does not fit, and where it helps, what would.
    pub reason: String,
}

impl fmt::Display for Incompatibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.reason)
        } else {
            write!(f, "field `{}`: {}", self.path, self.reason)
        }
    }
}

/// What a subject's new version must be able to do. Confluent's levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Compatibility {
    /// Anything.
    None,
    /// Read what the latest version wrote.
    #[default]
    Backward,
    /// Read what any version wrote.
    BackwardTransitive,
    /// Be read by the latest version.
    Forward,
    /// Be read by every version.
    ForwardTransitive,
    /// Both, with the latest version.
    Full,
    /// Both, with every version.
    FullTransitive,
}

const LEVELS: [(&str, Compatibility); 7] = [
    ("NONE", Compatibility::None),
    ("BACKWARD", Compatibility::Backward),
    ("BACKWARD_TRANSITIVE", Compatibility::BackwardTransitive),
    ("FORWARD", Compatibility::Forward),
    ("FORWARD_TRANSITIVE", Compatibility::ForwardTransitive),
    ("FULL", Compatibility::Full),
    ("FULL_TRANSITIVE", Compatibility::FullTransitive),
];

/// A text that is no level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no level of compatibility: write NONE, BACKWARD, BACKWARD_TRANSITIVE, FORWARD, FORWARD_TRANSITIVE, FULL or FULL_TRANSITIVE"
)]
pub struct LevelError {
    text: String,
}

impl FromStr for Compatibility {
    type Err = LevelError;
    fn from_str(text: &str) -> Result<Self, LevelError> {
        let found = LEVELS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, level)| *level);
        found.ok_or_else(|| LevelError { text: text.to_owned() })
    }
}

impl fmt::Display for Compatibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(LEVELS.iter().find(|(_, level)| level == self).map_or("NONE", |(name, _)| name))
    }
}

/// Checks a new schema against the versions before it, oldest first. Nothing returned says that it may follow them.
pub fn check(new: &Schema, versions: &[Schema], level: Compatibility) -> Vec<Incompatibility> {
    use Compatibility::{Backward, BackwardTransitive, Forward, ForwardTransitive, Full, FullTransitive, None};
    let last = versions.len().saturating_sub(1);
    let versions = match level {
        None => &[],
        Backward | Forward | Full => &versions[last..],
        BackwardTransitive | ForwardTransitive | FullTransitive => versions,
    };
    let mut found = Vec::new();
    for old in versions.iter().rev() {
        if matches!(level, Backward | BackwardTransitive | Full | FullTransitive) {
            add(&mut found, can_read(new, old), "the new schema can't read older data");
        }
        if matches!(level, Forward | ForwardTransitive | Full | FullTransitive) {
            add(&mut found, can_read(old, new), "an older schema can't read new data");
        }
    }
    found
}

fn add(found: &mut Vec<Incompatibility>, more: Vec<Incompatibility>, side: &str) {
    for Incompatibility { path, reason } in more {
        let entry = Incompatibility { path, reason: format!("{side}: {reason}") };
        if !found.contains(&entry) {
            found.push(entry);
        }
    }
}

/// Returns what keeps `reader` from reading data of `writer`; nothing says that it can.
pub fn can_read(reader: &Schema, writer: &Schema) -> Vec<Incompatibility> {
    if reader.same(writer) {
        return Vec::new();
    }
    let mut fit = Fit::new(reader, writer);
    let mut explained = HashSet::new();
    let mut found = Vec::new();
    let root = (reader.root_id(), writer.root_id());
    fit.explain(root, String::new(), &mut explained, &mut found);
    if found.is_empty() && !fit.fits(root) {
        let reason = "the types of the two schemas lead too deep into each other to be compared".to_owned();
        found.push(Incompatibility { path: String::new(), reason });
    }
    found
}

/// A reader's type and a writer's.
pub(crate) type Pair = (NodeId, NodeId);

/// Pairs that must fit for a pair to fit, each with the path that leads to it.
type Needs = Vec<(String, Pair)>;

/// Which of a reader's types fit which of a writer's: the greatest answer that contradicts nothing, so that recursive
/// types fit if nothing speaks against it.
pub(crate) struct Fit<'a> {
    reader: &'a Schema,
    writer: &'a Schema,
    misfits: HashSet<Pair>,
}

impl<'a> Fit<'a> {
    pub(crate) fn new(reader: &'a Schema, writer: &'a Schema) -> Self {
        Self { reader, writer, misfits: HashSet::new() }
    }

    /// Whether data of the pair's writer can be read as its reader.
    pub(crate) fn fits(&mut self, pair: Pair) -> bool {
        // What was taken to fit because of a pair that turned out not to is looked at again, until nothing changes.
        loop {
            let known = self.misfits.len();
            let fits = self.walk(pair, &mut HashSet::new(), 0);
            if self.misfits.len() == known {
                return fits;
            }
        }
    }

    fn walk(&mut self, pair: Pair, visited: &mut HashSet<Pair>, depth: usize) -> bool {
        if self.misfits.contains(&pair) || depth > COMPARED_DEPTH_MAX {
            return false;
        }
        if !visited.insert(pair) {
            return true;
        }
        let (reader, writer) = (self.reader.node(pair.0), self.writer.node(pair.1));
        let fits = match (&reader.kind, &writer.kind) {
            (Kind::Union(branches), kind) if !matches!(kind, Kind::Union(_)) => {
                candidates(self.reader, branches, writer)
                    .into_iter()
                    .any(|index| self.walk((branches[index], pair.1), visited, depth + 1))
            }
            _ => {
                let (needs, reasons) = relate(pair, reader, writer);
                reasons.is_empty() && needs.into_iter().all(|(_, pair)| self.walk(pair, visited, depth + 1))
            }
        };
        if !fits {
            self.misfits.insert(pair);
        }
        fits
    }

    /// The branch of a reader's union that a writer's type (no union) is read as: the same type before a promotion.
    pub(crate) fn branch(&mut self, branches: &[NodeId], writer: NodeId) -> Option<usize> {
        let candidates = candidates(self.reader, branches, self.writer.node(writer));
        candidates.into_iter().find(|index| self.fits((branches[*index], writer)))
    }

    fn explain(&mut self, pair: Pair, path: String, explained: &mut HashSet<Pair>, found: &mut Vec<Incompatibility>) {
        if self.fits(pair) || !explained.insert(pair) {
            return;
        }
        let (reader, writer) = (self.reader.node(pair.0), self.writer.node(pair.1));
        if let Kind::Union(branches) = &reader.kind
            && !matches!(writer.kind, Kind::Union(_))
        {
            // One candidate that is nearly it says more than that none is.
            match candidates(self.reader, branches, writer).as_slice() {
                [only] => self.explain((branches[*only], pair.1), path, explained, found),
                _ => {
                    let reason = format!(
                        "{} was written, and is no branch of the reader's union ({})",
                        describe(writer),
                        branches
                            .iter()
                            .map(|branch| self.reader.node(*branch).branch_name())
                            .collect::<Vec<_>>()
                            .join(", ")
                    );
                    found.push(Incompatibility { path, reason });
                }
            }
            return;
        }
        let (needs, reasons) = relate(pair, reader, writer);
        for (step, reason) in reasons {
            found.push(Incompatibility { path: join(&path, &step), reason });
        }
        for (step, pair) in needs {
            self.explain(pair, join(&path, &step), explained, found);
        }
    }
}

fn join(path: &str, step: &str) -> String {
    let joint = if path.is_empty() || step.is_empty() || step.starts_with('[') { "" } else { "." };
    format!("{path}{joint}{step}")
}

/// The branches that could be meant for a writer's type, likeliest first.
fn candidates(reader: &Schema, branches: &[NodeId], writer: &Node) -> Vec<usize> {
    let mut ranked: Vec<(usize, usize)> = Vec::new();
    for (index, branch) in branches.iter().enumerate() {
        let branch = reader.node(*branch);
        let rank = match (branch.name(), writer.name()) {
            (Some(a), Some(b)) if branch.kind.word() == writer.kind.word() && a == b => 0,
            (Some(a), Some(b)) if branch.kind.word() == writer.kind.word() && a.unqualified() == b.unqualified() => 1,
            (Some(_), Some(b)) if branch.kind.word() == writer.kind.word() && is_alias(branch, b) => 2,
            (None, None) if branch.kind.word() == writer.kind.word() => 0,
            _ if promotes(&branch.kind, &writer.kind) => 3,
            _ => continue,
        };
        ranked.push((rank, index));
    }
    ranked.sort_unstable();
    ranked.into_iter().map(|(_, index)| index).collect()
}

/// Whether a number or text of the writer's kind becomes one of the reader's.
pub(crate) fn promotes(reader: &Kind, writer: &Kind) -> bool {
    matches!(
        (writer, reader),
        (Kind::Int, Kind::Long | Kind::Float | Kind::Double)
            | (Kind::Long, Kind::Float | Kind::Double)
            | (Kind::Float, Kind::Double)
            | (Kind::String, Kind::Bytes)
            | (Kind::Bytes, Kind::String)
    )
}

fn is_alias(reader: &Node, writer: &FullName) -> bool {
    let aliases = match &reader.kind {
        Kind::Record(record) => &record.aliases,
        Kind::Enum(symbols) => &symbols.aliases,
        Kind::Fixed(fixed) => &fixed.aliases,
        _ => return false,
    };
    aliases.contains(writer)
}

/// Which field of the writer each field of the reader is read from: by name, else by one of the reader's aliases. No
/// field of the writer is read twice.
pub(crate) fn sources(reader: &Record, writer: &Record) -> Vec<Option<usize>> {
    let named = |name: &str| writer.fields.iter().position(|field| field.name == name);
    let mut sources: Vec<Option<usize>> = reader.fields.iter().map(|field| named(&field.name)).collect();
    for (index, field) in reader.fields.iter().enumerate() {
        if sources[index].is_none() {
            let mut by_alias = field.aliases.iter().filter_map(|alias| named(alias));
            sources[index] = by_alias.find(|found| !sources.contains(&Some(*found)));
        }
    }
    sources
}

/// What a pair needs, and what already speaks against it. A reader's union is not for this function unless the writer
/// has one too.
fn relate(pair: Pair, reader: &Node, writer: &Node) -> (Needs, Vec<(String, String)>) {
    let mut needs = Vec::new();
    let mut reasons = Vec::new();
    let mut against = |reason: String| reasons.push((String::new(), reason));
    if let Kind::Union(branches) = &writer.kind {
        needs.extend(branches.iter().map(|branch| (String::new(), (pair.0, *branch))));
        return (needs, reasons);
    }
    if let (Some(a), Some(b)) = (reader.name(), writer.name())
        && reader.kind.word() == writer.kind.word()
        && a.unqualified() != b.unqualified()
        && !is_alias(reader, b)
    {
        against(format!(
            "`{}` was written, and `{}` is wanted: rename it, or give it that alias",
            b.as_str(),
            a.as_str()
        ));
        return (needs, reasons);
    }
    if let Some(reason) = logical_misfit(reader.logical, writer.logical) {
        against(reason);
        return (needs, reasons);
    }
    match (&reader.kind, &writer.kind) {
        (Kind::Record(new), Kind::Record(old)) => {
            for (field, source) in new.fields.iter().zip(sources(new, old)) {
                match source {
                    Some(index) => needs.push((field.name.clone(), (field.node, old.fields[index].node))),
                    None if field.default.is_none() => {
                        let reason = "the field is not in the written data and has no default: give it one".to_owned();
                        reasons.push((field.name.clone(), reason));
                    }
                    None => {}
                }
            }
        }
        (Kind::Enum(new), Kind::Enum(old)) => {
            let unknown = unknown_symbols(new, old);
            if !unknown.is_empty() {
                against(format!(
                    "the symbols {} can be written, and are not known: add them, or a default",
                    unknown.join(", ")
                ));
            }
        }
        (Kind::Fixed(new), Kind::Fixed(old)) => {
            if new.size != old.size {
                against(format!("a fixed of {} bytes was written, and one of {} is wanted", old.size, new.size));
            }
        }
        (Kind::Array(new), Kind::Array(old)) => needs.push(("[]".to_owned(), (*new, *old))),
        (Kind::Map(new), Kind::Map(old)) => needs.push(("{}".to_owned(), (*new, *old))),
        (new, old) if new.word() == old.word() || promotes(new, old) => {}
        _ => against(format!("{} was written, and {} is wanted", describe(writer), describe(reader))),
    }
    (needs, reasons)
}

fn unknown_symbols<'a>(reader: &Enum, writer: &'a Enum) -> Vec<&'a str> {
    if reader.default.is_some() {
        return Vec::new();
    }
    let known: HashSet<&str> = reader.symbols.iter().map(String::as_str).collect();
    writer.symbols.iter().map(String::as_str).filter(|symbol| !known.contains(symbol)).collect()
}

fn logical_misfit(reader: Option<Logical>, writer: Option<Logical>) -> Option<String> {
    match (reader?, writer?) {
        (Logical::Decimal { precision: new, scale: a }, Logical::Decimal { precision: old, scale: b }) => (a != b
            || new < old)
            .then(|| format!("a decimal({old}, {b}) was written, and a decimal({new}, {a}) is wanted")),
        (new, old) if new == old => None,
        (new, old) => Some(format!("{} was written, and {} is wanted", word(old), word(new))),
    }
}

fn word(logical: Logical) -> &'static str {
    match logical {
        Logical::Date => "a date",
        Logical::TimeMillis => "a time-millis",
        Logical::TimeMicros => "a time-micros",
        Logical::TimestampMillis => "a timestamp-millis",
        Logical::TimestampMicros => "a timestamp-micros",
        Logical::LocalTimestampMillis => "a local-timestamp-millis",
        Logical::LocalTimestampMicros => "a local-timestamp-micros",
        Logical::Decimal { .. } => "a decimal",
        Logical::Uuid => "a uuid",
    }
}

fn describe(node: &Node) -> String {
    match node.name() {
        Some(name) => format!("the {} `{}`", node.kind.word(), name.as_str()),
        None => format!("a {}", node.kind.word()),
    }
}

#[cfg(test)]
mod tests;
