//! Files in memory that fail as disks and machines do, by a seed.
//!
//! A file has a durable content and a queue of changes since its last sync; reads see both. At a [`crash`] each unsynced
//! change is kept, lost, or kept in parts of a sector each, whatever became of the changes before it: writes are reordered,
//! torn and lost. Creations, renames and removals are kept up to some point in their order, as a journal does.
//!
//! [`crash`]: FaultyFiles::crash

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use weir_env::Random;

use super::{File, Files};

/// Bytes that a disk writes at once or not at all.
const SECTOR: usize = 512;

/// When the power fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// Not by itself.
    Never,
    /// In the middle of the change that comes after this many.
    After(u64),
}

/// A folder in memory. Clones are the same folder.
#[derive(Debug, Clone)]
pub struct FaultyFiles {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    random: Random,
    /// Contents by number; names point to them, as to inodes.
    contents: Vec<Content>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    name_changes: Vec<NameChange>,
    crash: Crash,
    off: bool,
    boots: u64,
    locked: bool,
    bytes_max: u64,
    failing_syncs: u32,
    failing_writes: u32,
    short: bool,
    syncs_failed: u32,
}

#[derive(Debug, Default)]
struct Content {
    durable: Vec<u8>,
    current: Vec<u8>,
    changes: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Debug, Clone)]
enum NameChange {
    Link(String, usize),
    Rename(String, String),
    Remove(String),
}

impl Content {
    fn apply(bytes: &mut Vec<u8>, change: &Change) {
        match change {
            Change::Length(len) => bytes.resize(*len, 0),
            Change::Write { offset, bytes: new } => {
                let end = offset + new.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*offset..end].copy_from_slice(new);
            }
        }
    }

    fn change(&mut self, change: Change) {
        Self::apply(&mut self.current, &change);
        self.changes.push(change);
    }

    fn sync(&mut self) {
        for change in self.changes.drain(..) {
            Self::apply(&mut self.durable, &change);
        }
    }

    fn crash(&mut self, random: &Random) {
        let changes: Vec<Change> = self.changes.drain(..).collect();
        // Each kind of crash must come up: all kept, all lost, and every mixture.
        let mood = random.next() % 4;
        let kept = |random: &Random| match mood {
            0 => true,
            1 => false,
            _ => random.next().is_multiple_of(2),
        };
        for change in changes {
            match change {
                Change::Length(_) if kept(random) => Self::apply(&mut self.durable, &change),
                Change::Length(_) => {}
                Change::Write { offset, bytes } => {
                    let mut at = 0;
                    while at < bytes.len() {
                        let end = bytes.len().min(at + SECTOR - (offset + at) % SECTOR);
                        if kept(random) {
                            let part = Change::Write { offset: offset + at, bytes: bytes[at..end].to_vec() };
                            Self::apply(&mut self.durable, &part);
                        }
                        at = end;
                    }
                }
            }
        }
        self.current.clone_from(&self.durable);
    }
}

impl State {
    fn apply_name(names: &mut BTreeMap<String, usize>, change: &NameChange) {
        match change {
            NameChange::Link(name, content) => {
                names.insert(name.clone(), *content);
            }
            NameChange::Rename(from, to) => {
                if let Some(content) = names.remove(from) {
                    names.insert(to.clone(), content);
                }
            }
            NameChange::Remove(name) => {
                names.remove(name);
            }
        }
    }

    fn change_names(&mut self, change: NameChange) {
        Self::apply_name(&mut self.names, &change);
        self.name_changes.push(change);
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn used(&self) -> u64 {
        self.names.values().map(|content| self.contents[*content].current.len() as u64).sum()
    }

    /// Counts a change; an error says that the power is off, and `true` that it fails within this one.
    fn count(&mut self) -> io::Result<bool> {
        if self.off {
            return Err(off());
        }
        let Crash::After(changes) = self.crash else { return Ok(false) };
        if changes > 0 {
            self.crash = Crash::After(changes - 1);
            return Ok(false);
        }
        self.off = true;
        Ok(true)
    }

    /// As [`State::count`], for changes that happen at once: some do just before the power fails.
    fn count_whole(&mut self) -> io::Result<()> {
        if self.count()? && self.random.next().is_multiple_of(2) {
            return Err(off());
        }
        Ok(())
    }
}

fn off() -> io::Error {
    io::Error::other("the power is off")
}

impl FaultyFiles {
    /// An empty folder without faults.
    pub fn new(seed: u64) -> Self {
        let state = State {
            random: Random::seeded(seed),
            contents: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            name_changes: Vec::new(),
            crash: Crash::Never,
            off: false,
            boots: 0,
            locked: false,
            bytes_max: u64::MAX,
            failing_syncs: 0,
            failing_writes: 0,
            short: false,
            syncs_failed: 0,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Says when the power fails.
    pub fn crash_at(&self, crash: Crash) {
        self.state().crash = crash;
    }

    /// Cuts the power, and comes back with what the disk kept. Files that were open stay dead.
    pub fn crash(&self) {
        let mut state = self.state();
        let State { random, contents, .. } = &mut *state;
        for content in contents.iter_mut() {
            content.crash(random);
        }
        let changes = std::mem::take(&mut state.name_changes);
        let kept = state.random.next() as usize % (changes.len() + 1);
        for change in &changes[..kept] {
            State::apply_name(&mut state.durable_names, change);
        }
        state.names = state.durable_names.clone();
        state.crash = Crash::Never;
        state.off = false;
        state.locked = false;
        state.boots += 1;
    }

    /// Returns whether the power failed.
    pub fn is_off(&self) -> bool {
        self.state().off
    }

    /// Limits the space that all files take together.
    pub fn set_bytes_max(&self, bytes_max: u64) {
        self.state().bytes_max = bytes_max;
    }

    /// Returns the space that all files take together.
    pub fn used(&self) -> u64 {
        self.state().used()
    }

    /// Lets the next syncs fail, and lose what they were to make durable.
    pub fn fail_syncs(&self, count: u32) {
        self.state().failing_syncs = count;
    }

    /// Lets the next writes fail, each after a part of it was written.
    pub fn fail_writes(&self, count: u32) {
        self.state().failing_writes = count;
    }

    /// Returns how many failed syncs were reported: each would have ended the process.
    pub fn syncs_failed(&self) -> u32 {
        self.state().syncs_failed
    }

    /// Lets reads and writes be short from now on.
    pub fn be_short(&self) {
        self.state().short = true;
    }

    /// Turns one bit of a file over, on the disk.
    ///
    /// # Panics
    /// If there is no such file or byte.
    pub fn flip(&self, name: &str, offset: u64, bit: u8) {
        let mut state = self.state();
        let index = *state.names.get(name).expect("a file to damage");
        let content = &mut state.contents[index];
        content.current[offset as usize] ^= 1 << bit;
        if let Some(byte) = content.durable.get_mut(offset as usize) {
            *byte ^= 1 << bit;
        }
    }

    /// Returns a file's bytes as a read would.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        let state = self.state();
        state.contents[*state.names.get(name).expect("a file to read")].current.clone()
    }

    /// Returns a copy of the folder as it would be after a clean shutdown of the machine.
    #[must_use]
    pub fn duplicate(&self, seed: u64) -> Self {
        let copy = Self::new(seed);
        {
            let (from, mut to) = (self.state(), copy.state());
            for (name, content) in &from.names {
                let bytes = from.contents[*content].current.clone();
                let index = to.contents.len();
                to.contents.push(Content { durable: bytes.clone(), current: bytes, changes: Vec::new() });
                to.names.insert(name.clone(), index);
            }
            to.durable_names = to.names.clone();
        }
        copy
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, content: usize, boots: u64) -> Arc<dyn File> {
        Arc::new(FaultyFile { files: self.clone(), content, boots })
    }
}

struct Lock {
    files: FaultyFiles,
    boots: u64,
}

impl Drop for Lock {
    fn drop(&mut self) {
        let mut state = self.files.state();
        if state.boots == self.boots {
            state.locked = false;
        }
    }
}

impl Files for FaultyFiles {
    fn path(&self) -> &Path {
        Path::new("/faulty")
    }

    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        let mut state = self.state();
        if state.locked {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        state.locked = true;
        Ok(Box::new(Lock { files: self.clone(), boots: state.boots }))
    }

    fn owner(&self) -> Option<u32> {
        None
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state().names.keys().filter(|name| !name.contains('/')).cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut state = self.state();
        state.count_whole()?;
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.contents.push(Content::default());
        let content = state.contents.len() - 1;
        state.change_names(NameChange::Link(name.to_owned(), content));
        Ok(self.handle(content, state.boots))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let state = self.state();
        let content = state.find(name)?;
        Ok(self.handle(content, state.boots))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.count_whole()?;
        state.find(from)?;
        state.change_names(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.count_whole()?;
        state.find(name)?;
        state.change_names(NameChange::Remove(name.to_owned()));
        Ok(())
    }

    fn keep_copy(&self, name: &str, folder: &str) -> io::Result<PathBuf> {
        let to = {
            let mut state = self.state();
            state.count_whole()?;
            let content = state.find(name)?;
            let taken = state.names.keys().filter(|held| held.starts_with(&format!("{folder}/{name}"))).count();
            let to = if taken == 0 { format!("{folder}/{name}") } else { format!("{folder}/{name}.{taken}") };
            state.change_names(NameChange::Link(to.clone(), content));
            to
        };
        self.sync_folder()?;
        Ok(self.path().join(to))
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut state = self.state();
        state.count_whole()?;
        for change in std::mem::take(&mut state.name_changes) {
            State::apply_name(&mut state.durable_names, &change);
        }
        Ok(())
    }

    fn sync_failed(&self, _name: &str, _error: &io::Error) {
        self.state().syncs_failed += 1;
    }
}

#[derive(Debug)]
struct FaultyFile {
    files: FaultyFiles,
    content: usize,
    boots: u64,
}

impl FaultyFile {
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.files.state();
        if state.boots != self.boots {
            return Err(off());
        }
        Ok(state)
    }
}

impl File for FaultyFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let state = self.state()?;
        let current = &state.contents[self.content].current;
        let rest = current.get(offset as usize..).unwrap_or_default();
        let mut len = rest.len().min(buffer.len());
        if state.short && len > 1 {
            len = 1 + state.random.next() as usize % len;
        }
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn write_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.state()?;
        let fails = state.count()?;
        let mut bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let refused = state.failing_writes > 0;
        state.failing_writes = state.failing_writes.saturating_sub(1);
        if (fails || refused || state.short) && bytes.len() > 1 {
            bytes.truncate(1 + state.random.next() as usize % bytes.len());
        }
        let end = offset as usize + bytes.len();
        let grown = end.saturating_sub(state.contents[self.content].current.len()) as u64;
        let room = state.bytes_max.saturating_sub(state.used());
        if grown > room {
            // As much as fits is written, as on a real disk.
            bytes.truncate(bytes.len().saturating_sub((grown - room) as usize));
            if bytes.is_empty() {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        let written = bytes.len();
        state.contents[self.content].change(Change::Write { offset: offset as usize, bytes });
        match (fails, refused) {
            (true, _) => Err(off()),
            (_, true) => Err(io::Error::other("the disk refused to write")),
            _ => Ok(written),
        }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.state()?.contents[self.content].current.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state()?;
        state.count_whole()?;
        state.contents[self.content].change(Change::Length(len as usize));
        Ok(())
    }

    fn allocate(&self, _offset: u64, end: u64) -> io::Result<()> {
        let mut state = self.state()?;
        state.count_whole()?;
        let len = state.contents[self.content].current.len() as u64;
        if end > len {
            if end - len > state.bytes_max.saturating_sub(state.used()) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            state.contents[self.content].change(Change::Length(end as usize));
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state()?;
        let fails = state.count()?;
        if state.failing_syncs > 0 {
            state.failing_syncs -= 1;
            let State { random, contents, .. } = &mut *state;
            contents[self.content].crash(random);
            return Err(io::Error::other("the disk failed to write"));
        }
        if !fails || state.random.next().is_multiple_of(2) {
            state.contents[self.content].sync();
        }
        if fails { Err(off()) } else { Ok(()) }
    }
}
