//! What a process and its descendants hold in memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Descendants that are looked at; a tree that has more is looked at in part.
const PROCESSES_MAX: usize = 1024;

/// Reads a tree's memory from `/proc`.
#[derive(Debug)]
pub(crate) struct Tree {
    pid: u32,
    /// Of the first process, kept open: the usual case is one process, and a look then costs one read.
    first: File,
    page_bytes: u64,
}

impl Tree {
    /// Watches the process and whatever it starts.
    pub fn of(pid: u32) -> io::Result<Self> {
        Ok(Self { pid, first: File::open(format!("/proc/{pid}/statm"))?, page_bytes: page_bytes() })
    }

    /// Returns what the first process holds, in bytes: resident pages, libraries included, as AWS counts.
    pub fn first_bytes(&self) -> u64 {
        let mut text = [0; 128];
        let length = self.first.read_at(&mut text, 0).unwrap_or(0);
        let (resident, _) = parse(&text[..length]);
        resident * self.page_bytes
    }

    /// Returns what all processes of the tree hold, in bytes. Of descendants, files and shared pages are not counted: they
    /// mostly are the first one's. Pages that a fork still shares are counted in each.
    pub fn bytes(&self) -> u64 {
        let mut sum = self.first_bytes();
        let mut waiting = children(self.pid);
        for _ in 0..PROCESSES_MAX {
            let Some(pid) = waiting.pop() else { break };
            let statm = std::fs::read(format!("/proc/{pid}/statm")).unwrap_or_default();
            let (resident, shared) = parse(&statm);
            sum += resident.saturating_sub(shared) * self.page_bytes;
            waiting.extend(children(pid));
        }
        sum
    }
}

/// Returns resident and shared pages out of `statm`'s text; zeros if the process is gone.
fn parse(statm: &[u8]) -> (u64, u64) {
    let text = std::str::from_utf8(statm).unwrap_or_default();
    let mut numbers = text.split_whitespace().map(|number| number.parse().unwrap_or(0));
    (numbers.nth(1).unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Returns the page's size as the kernel told this process at its start: `AT_PAGESZ`, entry 6 of the auxiliary vector.
fn page_bytes() -> u64 {
    const AT_PAGESZ: u64 = 6;
    let vector = std::fs::read("/proc/self/auxv").unwrap_or_default();
    let word = |bytes: &[u8]| bytes.try_into().map(u64::from_ne_bytes).unwrap_or(0);
    let found = vector.chunks_exact(16).find(|entry| word(&entry[..8]) == AT_PAGESZ).map(|entry| word(&entry[8..]));
    found.unwrap_or(4096)
}

fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let mut found = Vec::new();
    for thread in threads.flatten() {
        let listed = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        found.extend(listed.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_holds_at_least_what_its_first_process_does() {
        let tree = Tree::of(std::process::id()).unwrap();
        let first = tree.first_bytes();
        assert!(first > 100_000, "{first}");
        assert!(tree.bytes() > 100_000);
    }

    #[test]
    fn statm_of_a_process_that_is_gone_is_zero() {
        assert_eq!(parse(b""), (0, 0));
        assert_eq!(parse(b"900 55 12 1 0 30 0\n"), (55, 12));
    }
}
