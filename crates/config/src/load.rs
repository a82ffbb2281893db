//! From a folder to a plan: files, blocks, variables, then each kind after those that it refers to.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use hcl_edit::Span;
use hcl_edit::structure::{Block, Structure};
use weir_types::TableName;

use crate::block::{
    Attributes, KINDS, KINDS_LATER, Shape, api, archive, crawl, files as files_block, function, lookup, noun, queue,
    rollup, schedule, stream, table, variable,
};
use crate::diagnostic::Report;
use crate::eval::{Evaluator, Scope};
use crate::files::Parsed;
use crate::limits::BLOCKS_MAX;
use crate::{Diagnostic, Inputs, Place, Plan, Source, files, flow, nearest};

mod unpinned;
mod unused;

/// Blocks of one kind by name; `None` for those that were refused.
pub(crate) type Known<T> = BTreeMap<String, Option<T>>;

/// Reads and checks the configuration in a folder.
///
/// Blocks on the disk: the configuration's files, and the schemas, SQL and lookups that they name, are read.
///
/// # Errors
/// Everything that is wrong, as far as it can be told apart from its consequences, in the order of places; warnings
/// are among them. Without errors, warnings are in [`Plan::warnings`].
pub fn load(dir: &Path, inputs: &Inputs) -> Result<Plan, Vec<Diagnostic>> {
    let mut report = Report::default();
    let parsed = files::read(dir, &mut report);
    if report.has_errors() {
        // What is missing from a file that can't be read would be reported as dangling elsewhere.
        return Err(report.finish());
    }
    let declared = declare(&parsed, &mut report);
    let plan = check(dir, inputs, &declared, &mut report);
    let refused = report.has_errors();
    let found = report.finish();
    if refused { Err(found) } else { Ok(Plan { warnings: found, ..plan }) }
}

/// A block of a known kind, with a name of its own.
struct Declared<'a> {
    kind: &'static str,
    name: &'a str,
    block: &'a Block,
    source: &'a Arc<Source>,
}

/// The names of all blocks that are declared, refused ones included.
pub(crate) struct Names {
    of_kind: BTreeMap<&'static str, BTreeSet<String>>,
    /// Whether there are blocks whose kind or name can't be told: what seems to be missing may be one of them.
    pub(crate) partial: bool,
}

/// The blocks of all files.
struct Blocks<'a> {
    declared: Vec<Declared<'a>>,
    /// See [`Names::partial`].
    partial: bool,
}

impl Names {
    pub(crate) fn has(&self, kind: &str, name: &str) -> bool {
        self.of_kind.get(kind).is_some_and(|known| known.contains(name))
    }

    pub(crate) fn of(&self, kind: &str) -> impl Iterator<Item = &str> {
        self.of_kind.get(kind).into_iter().flatten().map(String::as_str)
    }

    /// Tells whether there is such a block; a reference to one that is not there is reported.
    pub(crate) fn check(&self, kind: &str, name: &str, place: impl FnOnce() -> Place, report: &mut Report) -> bool {
        let known = self.of_kind.get(kind);
        if known.is_some_and(|known| known.contains(name)) {
            return true;
        }
        if self.partial {
            return false;
        }
        let known: Vec<&str> = known.into_iter().flatten().map(String::as_str).collect();
        let hint = match weir_types::nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{kind}.{near}`?"),
            None => nearest::there_are(known, &format!("{}s", noun(kind))),
        };
        report.push(Diagnostic::error(format!("there is no {} \"{name}\"", noun(kind))).at(place()).hint(hint));
        false
    }
}

fn declare<'a>(parsed: &'a [Parsed], report: &mut Report) -> Blocks<'a> {
    let mut declared: Vec<Declared<'a>> = Vec::new();
    let mut partial = false;
    let mut first: HashMap<(&'static str, String), Place> = HashMap::new();
    let structures = parsed.iter().flat_map(|file| file.body.iter().map(move |structure| (&file.source, structure)));
    for (index, (source, structure)) in structures.enumerate() {
        let block = match structure {
            Structure::Block(block) => block,
            Structure::Attribute(attribute) => {
                let place = Place::new(Arc::clone(source), attribute.key.span().unwrap_or_default());
                let message = format!("attribute `{}` stands outside of a block", attribute.key.as_str());
                report.push(Diagnostic::error(message).at(place).hint("move it into a block: `kind \"name\" { ... }`"));
                continue;
            }
        };
        let place = Place::new(Arc::clone(source), block.ident.span().unwrap_or_default());
        if index >= BLOCKS_MAX {
            let message = format!("there are more than {BLOCKS_MAX} blocks");
            report.push(Diagnostic::error(message).at(place).hint("split the configuration into several folders"));
            break;
        }
        let Some((kind, name)) = header(block, &place, report) else {
            partial |= !KINDS_LATER.contains(&block.ident.as_str());
            continue;
        };
        // Names that differ in case alone would meet in SQL and in file names.
        match first.entry((kind, name.to_lowercase())) {
            std::collections::hash_map::Entry::Occupied(entry) => {
                let message = format!("{kind} \"{name}\" is declared twice");
                let hint = format!("rename or remove one of the two; the first is at {}", entry.get());
                report.push(Diagnostic::error(message).at(place).hint(hint));
            }
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(place);
                declared.push(Declared { kind, name, block, source });
            }
        }
    }
    if declared.is_empty()
        && !report.has_errors()
        && let Some(file) = parsed.first()
    {
        let hint = "begin with a stream: stream \"events\" { schema = \"event.avsc\" }";
        report.push(Diagnostic::error("the configuration is empty").at(Place::whole(&file.source.name)).hint(hint));
    }
    Blocks { declared, partial }
}

/// Returns a block's kind and name, if this version knows them.
fn header<'a>(block: &'a Block, place: &Place, report: &mut Report) -> Option<(&'static str, &'a str)> {
    let word = block.ident.as_str();
    let Some(kind) = KINDS.iter().copied().find(|kind| *kind == word) else {
        let diagnostic = if KINDS_LATER.contains(&word) {
            Diagnostic::error(format!("block `{word}` is not yet supported by this version")).hint("remove it for now")
        } else {
            let hint = nearest::hint(word, KINDS, "kinds of blocks");
            Diagnostic::error(format!("unknown kind of block `{word}`")).hint(hint)
        };
        report.push(diagnostic.at(place.clone()));
        return None;
    };
    match block.labels.as_slice() {
        [label] => match label.as_str().parse::<TableName>() {
            // All kinds of names follow one rule.
            Ok(_) => Some((kind, label.as_str())),
            Err(error) => {
                let place = Place::new(Arc::clone(place.source()), label.span().unwrap_or_default());
                let message = format!("{kind} \"{}\": {error}", label.as_str());
                report.push(
                    Diagnostic::error(message)
                        .at(place)
                        .hint("rename it: letters, digits, `_` and `-`, a letter first"),
                );
                None
            }
        },
        [] => {
            let message = format!("a {} needs a name", noun(kind));
            report
                .push(Diagnostic::error(message).at(place.clone()).hint(format!("write `{kind} \"name\" {{ ... }}`")));
            None
        }
        [_, second, ..] => {
            let place = Place::new(Arc::clone(place.source()), second.span().unwrap_or_default());
            let message = format!("a {} has one name", noun(kind));
            report.push(Diagnostic::error(message).at(place).hint(format!("write `{kind} \"name\" {{ ... }}`")));
            None
        }
    }
}

fn check(dir: &Path, inputs: &Inputs, blocks: &Blocks<'_>, report: &mut Report) -> Plan {
    let declared = &blocks.declared;
    let mut scope = Scope { inputs, variables: None, used: RefCell::default() };
    let variables = variables(&mut scope, declared, report);
    let mut names = Names { of_kind: BTreeMap::new(), partial: blocks.partial };
    for block in declared {
        names.of_kind.entry(block.kind).or_default().insert(block.name.to_owned());
    }
    let streams: Known<_> = of_kind("stream", declared, report, |declared, name, report| {
        stream::read(&declared.open(&scope, &stream::SHAPE, report), name, dir, report)
    });
    let schedules: Known<_> = of_kind("schedule", declared, report, |declared, name, report| {
        schedule::read(&declared.open(&scope, &schedule::SHAPE, report), name, report)
    });
    let queues: Known<_> = of_kind("queue", declared, report, |declared, label: String, report| {
        queue::read(&declared.open(&scope, &queue::SHAPE, report), &label, &names, report)
    });
    let queues = queue::link(queues, report);
    let files: Known<_> = of_kind("files", declared, report, |declared, name, report| {
        files_block::read(
            &declared.open(&scope, &files_block::SHAPE, report),
            name,
            &files_block::Around { dir, names: &names, queues: &queues },
            report,
        )
    });
    let lookups: Known<_> = of_kind("lookup", declared, report, |declared, name, report| {
        lookup::read(&declared.open(&scope, &lookup::SHAPE, report), name, dir, inputs, report)
    });
    let apis: Known<_> = of_kind("api", declared, report, |declared, name, report| {
        api::read(&declared.open(&scope, &api::SHAPE, report), name, report)
    });
    let around = crawl::Around { dir, names: &names, streams: &streams, apis: &apis };
    let crawls: Known<crawl::Flow> = of_kind("crawl", declared, report, |declared, name, report| {
        let before = report.errors();
        Some(crawl::read(&declared.open(&scope, &crawl::SHAPE, report), name, &around, before, report))
    });
    let around = function::Around {
        dir,
        names: &names,
        streams: &streams,
        queues: &queues,
        schedules: &schedules,
        files: &files,
        lookups: &lookups,
        apis: &apis,
    };
    let functions: Known<function::Flow> = of_kind("function", declared, report, |declared, name, report| {
        Some(function::read(&declared.open(&scope, &function::SHAPE, report), name, &around, report))
    });
    flow::check(&functions, &queues, report);
    archive::check(&streams, report);
    let around =
        table::Around { names: &names, streams: &streams, files: &files, functions: &functions, crawls: &crawls };
    let mut rollups = Vec::new();
    let mut tables: Known<_> = of_kind("table", declared, report, |declared, name, report| {
        let block = declared.open(&scope, &table::SHAPE, report);
        if rollup::is(&block) {
            rollups.push(rollup::Draft { block, name });
            return None;
        }
        table::read(&block, name, &around, report)
    });
    let around = rollup::Around { dir, tables: &around, lookups: &lookups };
    rollup::read(rollups, &around, &mut tables, report);
    if !report.has_errors() {
        unpinned::leave_out(&crawls, declared, &mut tables, report);
        let mut lost = Lost { dir, report };
        lost.tell("stream", &streams);
        lost.tell("files", &files);
        lost.tell("schedule", &schedules);
        lost.tell("queue", &queues);
        lost.tell("lookup", &lookups);
        lost.tell("api", &apis);
        let unplanned = crawls.iter().filter(|(_, flow)| flow.as_ref().is_none_or(|flow| flow.plan.is_none()));
        unplanned.for_each(|(name, _)| lost.one("crawl", name));
        lost.tell("table", &tables);
        let unplanned = functions.iter().filter(|(_, flow)| flow.as_ref().is_none_or(|flow| flow.plan.is_none()));
        unplanned.for_each(|(name, _)| lost.one("function", name));
    }
    // What is used can't be told where something was refused.
    if !report.has_errors() {
        let around = unused::Around { functions: &functions, tables: &tables, crawls: &crawls };
        unused::check(&scope, declared, &around, report);
    }
    Plan {
        streams: streams.into_values().flatten().map(|plan| (plan.name.clone(), plan)).collect(),
        queues: queues.into_values().flatten().map(|plan| (plan.name.clone(), plan)).collect(),
        schedules: schedules.into_values().flatten().map(|plan| (plan.name.clone(), plan)).collect(),
        files: files.into_values().flatten().map(|plan| (plan.name.clone(), plan)).collect(),
        lookups: lookups.into_values().flatten().map(|plan| (plan.name.clone(), plan)).collect(),
        functions: functions
            .into_values()
            .flatten()
            .filter_map(|flow| flow.plan)
            .map(|plan| (plan.name.clone(), plan))
            .collect(),
        tables: tables.into_values().flatten().map(|plan| (plan.name.clone(), plan)).collect(),
        apis: apis.into_values().flatten().map(|plan| (plan.name.clone(), plan)).collect(),
        crawls: crawls
            .into_values()
            .flatten()
            .filter_map(|flow| flow.plan)
            .map(|plan| (plan.name.clone(), plan))
            .collect(),
        variables,
        warnings: Vec::new(),
    }
}

/// What was refused without a word would be missing from the plan in silence.
struct Lost<'a> {
    dir: &'a Path,
    report: &'a mut Report,
}

impl Lost<'_> {
    fn tell<T>(&mut self, kind: &str, known: &Known<T>) {
        known.iter().filter(|(_, plan)| plan.is_none()).for_each(|(name, _)| self.one(kind, name));
    }

    fn one(&mut self, kind: &str, name: &str) {
        let message = format!("{} \"{name}\" was refused, and the reason was lost", noun(kind));
        let hint = "this is a mistake in weir: please report it, with the configuration";
        self.report.push(Diagnostic::error(message).at(Place::whole(self.dir.display().to_string())).hint(hint));
    }
}

impl<'a> Declared<'a> {
    fn open<'b>(&'b self, scope: &'b Scope<'b>, shape: &Shape, report: &mut Report) -> Attributes<'b> {
        let evaluator = Evaluator { scope, source: self.source };
        Attributes::open(self.kind, self.name, self.block, evaluator, shape, report)
    }
}

fn of_kind<'d, 'a, T, N: FromStr>(
    kind: &str,
    declared: &'d [Declared<'a>],
    report: &mut Report,
    mut read: impl FnMut(&'d Declared<'a>, N, &mut Report) -> Option<T>,
) -> Known<T> {
    let of_kind = declared.iter().filter(|declared| declared.kind == kind);
    of_kind
        .map(|declared| {
            // The name was checked with the block's header.
            let name = declared.name.parse().ok();
            (declared.name.to_owned(), name.and_then(|name| read(declared, name, report)))
        })
        .collect()
}

fn variables(
    scope: &mut Scope<'_>,
    declared: &[Declared<'_>],
    report: &mut Report,
) -> BTreeMap<String, crate::VariablePlan> {
    let of_kind = || declared.iter().filter(|declared| declared.kind == "variable");
    let mut values = BTreeMap::new();
    let mut plans = BTreeMap::new();
    for declared in of_kind() {
        // Variables see the environment, and not one another: there is no order to get wrong.
        let block = declared.open(scope, &variable::SHAPE, report);
        let (plan, value) = variable::read(&block, &scope.inputs.vars, report);
        values.insert(declared.name.to_owned(), value);
        plans.insert(declared.name.to_owned(), plan);
    }
    variable::check_given(&scope.inputs.vars, of_kind().map(|declared| declared.name), report);
    scope.variables = Some(values);
    scope.used.borrow_mut().clear();
    plans
}
