//! Two schemas compiled into one way from the writer's binary to the reader's.

use hashbrown::HashMap;

use super::validate::{deeper, skip};
use crate::binary::{Cursor, Items, write_bytes, write_long};
use crate::compatibility::{Fit, Pair, can_read, sources};
use crate::limits::COMPARED_DEPTH_MAX;
use crate::schema::{Kind, NodeId};
use crate::{Fault, Incompatibility, RecordError, Schema};

/// Turns records of a writer's schema into records of a reader's: fields by name or alias, defaults for what is missing,
/// promotions, unions, enum defaults.
#[derive(Debug)]
pub struct Resolver {
    writer: Schema,
    ops: Vec<Op>,
    root: usize,
}

/// What happens to one writer's type where one reader's type is wanted. Numbers are places in the table of these.
#[derive(Debug)]
enum Op {
    /// The bytes are the same; they are checked and copied.
    Copy(NodeId),
    IntToFloat,
    IntToDouble,
    LongToFloat,
    LongToDouble,
    FloatToDouble,
    BytesToString,
    /// The reader's number of each of the writer's symbols.
    Enum(Vec<Option<usize>>),
    Array {
        item: usize,
        empty: bool,
    },
    Map {
        value: usize,
    },
    Record(RecordOp),
    /// The op of each branch of the writer's union.
    Branches(Vec<usize>),
    /// The value becomes this branch of the reader's union.
    IntoBranch {
        index: i64,
        op: usize,
    },
    /// Reserved for a type that is being compiled, or for one that compatibility has ruled out.
    Never,
}

#[derive(Debug)]
struct RecordOp {
    steps: Vec<Step>,
    /// In the reader's order.
    slots: Vec<Slot>,
    /// The steps that fill slots do so in the slots' order.
    ordered: bool,
}

#[derive(Debug)]
enum Step {
    Skip { node: NodeId, name: Box<str> },
    Fill { slot: usize, op: usize, name: Box<str> },
}

#[derive(Debug)]
enum Slot {
    Filled,
    Default(Box<[u8]>),
}

impl Resolver {
    /// Compiles the way from `writer` to `reader`.
    ///
    /// # Errors
    /// What keeps the reader from reading the writer's data.
    pub fn new(writer: &Schema, reader: &Schema) -> Result<Self, Vec<Incompatibility>> {
        let misfits = can_read(reader, writer);
        if !misfits.is_empty() {
            return Err(misfits);
        }
        let mut compiler = Compiler {
            reader,
            writer,
            fit: Fit::new(reader, writer),
            ops: Vec::new(),
            known: HashMap::new(),
            depth: 0,
        };
        let root = compiler.op((reader.root_id(), writer.root_id()));
        Ok(Self { writer: writer.clone(), ops: compiler.ops, root })
    }

    /// Appends the record, as the reader's binary, to `out`.
    ///
    /// # Errors
    /// If the bytes are no record of the writer's schema, or more than one; `out` is then as it was.
    pub fn resolve(&self, record: &[u8], out: &mut Vec<u8>) -> Result<(), RecordError> {
        let mut cursor = Cursor::new(record);
        let start = out.len();
        let result = self.next(&mut cursor, out).and_then(|()| match cursor.rest() {
            0 => Ok(()),
            rest => Err(format!("{rest} bytes are left behind the record").into()),
        });
        result.map_err(|fault| {
            out.truncate(start);
            *fault
        })
    }

    /// Resolves the record that stands at the cursor, others behind it.
    pub(crate) fn next(&self, cursor: &mut Cursor<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
        self.run(self.root, cursor, 0, out)
    }

    fn run(&self, op: usize, cursor: &mut Cursor<'_>, depth: usize, out: &mut Vec<u8>) -> Result<(), Fault> {
        match &self.ops[op] {
            Op::Copy(node) => {
                let start = cursor.at();
                skip(&self.writer, *node, cursor, depth)?;
                out.extend_from_slice(cursor.since(start));
            }
            Op::IntToFloat => out.extend((cursor.int()? as f32).to_le_bytes()),
            Op::IntToDouble => out.extend(f64::from(cursor.int()?).to_le_bytes()),
            Op::LongToFloat => out.extend((cursor.long()? as f32).to_le_bytes()),
            Op::LongToDouble => out.extend((cursor.long()? as f64).to_le_bytes()),
            Op::FloatToDouble => out.extend(f64::from(f32::from_le_bytes(cursor.array()?)).to_le_bytes()),
            Op::BytesToString => write_bytes(cursor.text()?.as_bytes(), out),
            Op::Enum(numbers) => {
                let index = cursor.long()?;
                let number = usize::try_from(index).ok().and_then(|index| numbers.get(index));
                let number = number.ok_or_else(|| format!("{index} is the number of no symbol of the enum"))?;
                write_long(number.ok_or("the symbol is not known to the reader, who has no default")? as i64, out);
            }
            Op::Array { item, empty } => {
                let depth = deeper(depth)?;
                self.blocks(Items::new(*empty), cursor, out, |cursor, index, out| {
                    self.run(*item, cursor, depth, out).map_err(|fault| fault.within_item(index))
                })?;
            }
            Op::Map { value } => {
                let depth = deeper(depth)?;
                self.blocks(Items::new(false), cursor, out, |cursor, _, out| {
                    let key = cursor.text()?;
                    write_bytes(key.as_bytes(), out);
                    self.run(*value, cursor, depth, out).map_err(|fault| fault.within_key(key))
                })?;
            }
            Op::Record(record) => self.record(record, cursor, deeper(depth)?, out)?,
            Op::Branches(ops) => {
                let index = cursor.long()?;
                let op = usize::try_from(index).ok().and_then(|index| ops.get(index));
                let op = op.ok_or_else(|| format!("{index} is the number of no branch of the union"))?;
                self.run(*op, cursor, depth, out)?;
            }
            Op::IntoBranch { index, op } => {
                write_long(*index, out);
                self.run(*op, cursor, depth, out)?;
            }
            Op::Never => return Err("the reader can't take this branch".into()),
        }
        Ok(())
    }

    /// Blocks keep their counts, and lose their sizes.
    fn blocks<'a>(
        &self,
        mut items: Items,
        cursor: &mut Cursor<'a>,
        out: &mut Vec<u8>,
        each: impl Fn(&mut Cursor<'a>, u64, &mut Vec<u8>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut index = 0;
        loop {
            let count = cursor.block(&mut items)?;
            write_long(count as i64, out);
            if count == 0 {
                return Ok(());
            }
            for _ in 0..count {
                each(cursor, index, out)?;
                index += 1;
            }
        }
    }

    fn record(&self, record: &RecordOp, cursor: &mut Cursor<'_>, depth: usize, out: &mut Vec<u8>) -> Result<(), Fault> {
        let start = out.len();
        // Most records have few fields: their places need no memory of their own.
        let mut few = [(0, 0); 32];
        let mut many = Vec::new();
        let spans = match few.get_mut(..record.slots.len()) {
            Some(few) => few,
            None => {
                many.resize(record.slots.len(), (0, 0));
                &mut many[..]
            }
        };
        let mut next = 0;
        for step in &record.steps {
            match step {
                Step::Skip { node, name } => {
                    skip(&self.writer, *node, cursor, depth).map_err(|fault| fault.within_field(name))?;
                }
                Step::Fill { slot, op, name } => {
                    if record.ordered {
                        defaults(&record.slots[next..*slot], out);
                        next = *slot + 1;
                    }
                    let from = out.len();
                    self.run(*op, cursor, depth, out).map_err(|fault| fault.within_field(name))?;
                    if !record.ordered {
                        spans[*slot] = (from, out.len());
                    }
                }
            }
        }
        if record.ordered {
            defaults(&record.slots[next..], out);
            return Ok(());
        }
        // Behind what was written in the writer's order, the same in the reader's; then that takes its place.
        let end = out.len();
        for (slot, (from, to)) in record.slots.iter().zip(spans) {
            match slot {
                Slot::Filled => out.extend_from_within(*from..*to),
                Slot::Default(bytes) => out.extend_from_slice(bytes),
            }
        }
        out.copy_within(end.., start);
        out.truncate(start + out.len() - end);
        Ok(())
    }
}

fn defaults(slots: &[Slot], out: &mut Vec<u8>) {
    for slot in slots {
        if let Slot::Default(bytes) = slot {
            out.extend_from_slice(bytes);
        }
    }
}

struct Compiler<'a> {
    reader: &'a Schema,
    writer: &'a Schema,
    fit: Fit<'a>,
    ops: Vec<Op>,
    known: HashMap<Pair, usize>,
    depth: usize,
}

impl Compiler<'_> {
    fn op(&mut self, pair: Pair) -> usize {
        if let Some(known) = self.known.get(&pair) {
            return *known;
        }
        let place = self.ops.len();
        self.ops.push(Op::Never);
        self.known.insert(pair, place);
        if self.depth <= COMPARED_DEPTH_MAX {
            self.depth += 1;
            self.ops[place] = self.compile(pair);
            self.depth -= 1;
        }
        place
    }

    fn compile(&mut self, pair: Pair) -> Op {
        let (reader, writer) = (self.reader.node(pair.0), self.writer.node(pair.1));
        match (&reader.kind, &writer.kind) {
            (_, Kind::Union(branches)) => {
                Op::Branches(branches.iter().map(|branch| self.op((pair.0, *branch))).collect())
            }
            (Kind::Union(branches), _) => match self.fit.branch(branches, pair.1) {
                Some(index) => Op::IntoBranch { index: index as i64, op: self.op((branches[index], pair.1)) },
                None => Op::Never,
            },
            (Kind::Record(new), Kind::Record(old)) => {
                let sources = sources(new, old);
                let mut steps = Vec::with_capacity(old.fields.len());
                for (index, field) in old.fields.iter().enumerate() {
                    match sources.iter().position(|source| *source == Some(index)) {
                        None => steps.push(Step::Skip { node: field.node, name: field.name.as_str().into() }),
                        Some(slot) => {
                            let op = self.op((new.fields[slot].node, field.node));
                            steps.push(Step::Fill { slot, op, name: new.fields[slot].name.as_str().into() });
                        }
                    }
                }
                let filled: Vec<usize> = steps
                    .iter()
                    .filter_map(|step| if let Step::Fill { slot, .. } = step { Some(*slot) } else { None })
                    .collect();
                let slots = new.fields.iter().zip(&sources).map(|(field, source)| match (source, &field.default) {
                    (None, Some(default)) => Slot::Default(default.clone()),
                    _ => Slot::Filled,
                });
                Op::Record(RecordOp { slots: slots.collect(), ordered: filled.is_sorted(), steps })
            }
            (Kind::Enum(new), Kind::Enum(old)) => {
                let number = |symbol: &String| new.symbols.iter().position(|known| known == symbol).or(new.default);
                Op::Enum(old.symbols.iter().map(number).collect())
            }
            (Kind::Array(new), Kind::Array(old)) => {
                Op::Array { item: self.op((*new, *old)), empty: self.writer.node(*old).empty }
            }
            (Kind::Map(new), Kind::Map(old)) => Op::Map { value: self.op((*new, *old)) },
            (Kind::Float, Kind::Int) => Op::IntToFloat,
            (Kind::Double, Kind::Int) => Op::IntToDouble,
            (Kind::Float, Kind::Long) => Op::LongToFloat,
            (Kind::Double, Kind::Long) => Op::LongToDouble,
            (Kind::Double, Kind::Float) => Op::FloatToDouble,
            (Kind::String, Kind::Bytes) => Op::BytesToString,
            // An int is written as a long of the same value is, and a text as its bytes are.
            (new, old) if new.word() == old.word() || crate::compatibility::promotes(new, old) => Op::Copy(pair.1),
            _ => Op::Never,
        }
    }
}
