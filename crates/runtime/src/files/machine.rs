//! What was taken of each place where files arrive: a machine of its own.
//!
//! ```text
//! look --> claim (durable) --> handed on: messages, records, dead letters --> done (durable): its objects are marked
//!            |                                                                  |
//!            +--- a start finds the claim open, and hands it on once more ------+
//! ```
//!
//! Invariants: a block has at most one open claim; claims have rising numbers, by which what they hand on is recognised
//! when it is handed on again; an object is marked when its claim is done, and not before. A mark takes 16 bytes, so that
//! millions fit.

use std::collections::BTreeMap;

use hashbrown::HashSet;
use serde::{Deserialize, Serialize};
use weir_machine::{At, Machine, RestoreError};
use weir_types::FilesName;

use super::object::{Mark, Object};

/// Marks in one command: what keeps commands far below the log's limit.
pub(crate) const MARKS_MAX: usize = 4096;
/// Objects of one claim.
pub(crate) const CLAIM_OBJECTS_MAX: usize = 256;

const VERSION: u32 = 1;

/// Objects that are being handed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claim {
    /// Higher than that of the block's claim before.
    pub number: u64,
    /// In the order in which they are handed on.
    pub objects: Vec<Object>,
}

/// What has become of an object of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fate {
    /// It was handed on.
    Taken,
    /// It can't be read, and is a dead letter.
    Failed,
    /// It was gone or had changed: whatever is there now is found by the next look.
    Gone,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Command {
    /// The first look is over: what comes from now on is taken.
    Begin { files: FilesName },
    /// Marks objects that are not handed on: they were there before the first look.
    Pass { files: FilesName, marks: Vec<Mark> },
    /// Opens a claim.
    Claim { files: FilesName, objects: Vec<Object> },
    /// Closes a claim: what became of its objects, one by one.
    Done { files: FilesName, number: u64, fates: Vec<Fate> },
    /// Drops the marks of objects that are gone.
    Forget { files: FilesName, marks: Vec<Mark> },
}

/// One block's part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Block {
    /// Whether the first look is over.
    pub begun: bool,
    /// The number of the last claim.
    pub last: u64,
    /// Objects that were handed on.
    pub taken: u64,
    /// Objects that could not be read.
    pub failed: u64,
    /// The claim that is open.
    pub claim: Option<Claim>,
    /// What need not be looked at again.
    pub marks: HashSet<Mark>,
}

impl Block {
    /// Tells whether an object was taken, or could not be read and is as it was then.
    pub fn knows(&self, object: &Object) -> Option<Mark> {
        [object.mark(), object.mark_of_failure()].into_iter().find(|mark| self.marks.contains(mark))
    }
}

/// The state of all blocks.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Files {
    blocks: BTreeMap<FilesName, Block>,
}

impl Files {
    /// Returns one block's state; none before its first command.
    pub fn block(&self, name: &FilesName) -> Option<&Block> {
        self.blocks.get(name)
    }
}

impl Machine for Files {
    const NAME: &'static str = "files";
    type Command = Command;
    /// The claim that is open now, if one is.
    type Outcome = Option<Claim>;

    fn apply(&mut self, _at: At, command: Command) -> Option<Claim> {
        match command {
            Command::Begin { files } => {
                self.blocks.entry(files).or_default().begun = true;
                None
            }
            Command::Pass { files, marks } => {
                self.blocks.entry(files).or_default().marks.extend(marks);
                None
            }
            Command::Claim { files, objects } => {
                let block = self.blocks.entry(files).or_default();
                if block.claim.is_none() && !objects.is_empty() {
                    block.last += 1;
                    block.claim = Some(Claim { number: block.last, objects });
                }
                block.claim.clone()
            }
            Command::Done { files, number, fates } => {
                let block = self.blocks.entry(files).or_default();
                let claim = block.claim.take_if(|claim| claim.number == number);
                for (object, fate) in claim.iter().flat_map(|claim| &claim.objects).zip(fates) {
                    match fate {
                        Fate::Taken => {
                            block.taken += 1;
                            block.marks.insert(object.mark());
                        }
                        Fate::Failed => {
                            block.failed += 1;
                            block.marks.insert(object.mark_of_failure());
                        }
                        Fate::Gone => {}
                    }
                }
                block.claim.clone()
            }
            Command::Forget { files, marks } => {
                let block = self.blocks.entry(files).or_default();
                for mark in marks {
                    block.marks.remove(&mark);
                }
                None
            }
        }
    }

    /// Version, blocks; each: name, begun, last, taken, failed, the claim as JSON (empty: none), marks. Integers are
    /// little endian, texts have their length in front, marks are sorted.
    fn snapshot(&self) -> Vec<u8> {
        let marks: usize = self.blocks.values().map(|block| block.marks.len()).sum();
        let mut out = Vec::with_capacity(64 * self.blocks.len() + 16 * marks + 8);
        out.extend(VERSION.to_le_bytes());
        out.extend((self.blocks.len() as u64).to_le_bytes());
        for (name, block) in &self.blocks {
            put(&mut out, name.as_str().as_bytes());
            out.push(u8::from(block.begun));
            for number in [block.last, block.taken, block.failed] {
                out.extend(number.to_le_bytes());
            }
            let claim =
                block.claim.as_ref().map(|claim| serde_json::to_vec(claim).expect("texts and numbers serialise"));
            put(&mut out, &claim.unwrap_or_default());
            let mut marks: Vec<Mark> = block.marks.iter().copied().collect();
            marks.sort_unstable();
            out.extend((marks.len() as u64).to_le_bytes());
            for mark in marks {
                out.extend(mark.0.to_le_bytes());
            }
        }
        out
    }

    fn restore(bytes: &[u8]) -> Result<Self, RestoreError> {
        let mut input = Input { bytes };
        let restored = input.files();
        restored.map_err(|reason| RestoreError { machine: Self::NAME, reason })
    }
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

struct Input<'a> {
    bytes: &'a [u8],
}

impl<'a> Input<'a> {
    fn files(&mut self) -> Result<Files, String> {
        let version = u32::from_le_bytes(self.array()?);
        if version != VERSION {
            return Err(format!("it has version {version}, and this weir reads {VERSION}"));
        }
        let mut blocks = BTreeMap::new();
        for _ in 0..self.number()? {
            let name = std::str::from_utf8(self.text()?).map_err(|error| error.to_string())?;
            let name: FilesName = name.parse().map_err(|error| format!("{error}"))?;
            blocks.insert(name, self.block()?);
        }
        match self.bytes {
            [] => Ok(Files { blocks }),
            rest => Err(format!("{} bytes follow its end", rest.len())),
        }
    }

    fn block(&mut self) -> Result<Block, String> {
        let [begun] = self.array()?;
        let (last, taken, failed) = (self.number()?, self.number()?, self.number()?);
        let claim = match self.text()? {
            [] => None,
            claim => Some(serde_json::from_slice(claim).map_err(|error| error.to_string())?),
        };
        let count = self.number()?;
        let (marks, rest) = usize::try_from(count)
            .ok()
            .and_then(|count| self.bytes.split_at_checked(count.checked_mul(16)?))
            .ok_or("it ends within marks")?;
        self.bytes = rest;
        let (marks, _) = marks.as_chunks::<16>();
        let marks = marks.iter().map(|mark| Mark(u128::from_le_bytes(*mark))).collect();
        Ok(Block { begun: begun != 0, last, taken, failed, claim, marks })
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (head, rest) = self.bytes.split_first_chunk::<N>().ok_or("it ends within a number")?;
        self.bytes = rest;
        Ok(*head)
    }

    fn number(&mut self) -> Result<u64, String> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn text(&mut self) -> Result<&'a [u8], String> {
        let length = usize::try_from(self.number()?).map_err(|error| error.to_string())?;
        let (text, rest) = self.bytes.split_at_checked(length).ok_or("it ends within a text")?;
        self.bytes = rest;
        Ok(text)
    }
}

#[cfg(test)]
mod tests;
