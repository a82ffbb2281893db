//! Generations: which files one compaction made, told by their names alone.
//!
//! ```text
//! part-<random>.parquet                              a commit's, or of a merge of small files
//! part-<random>-c<options>-<generation>.parquet      a compaction's
//! ```
//!
//! The generation is a hash of the names of all files that went in and of the options; the options (the order, which
//! repeat stays, the target size) stand beside it. Files of one compaction appear in one Delta version. So a place whose
//! files all have one generation has not changed since it was compacted, whoever opens the table: nothing else is kept.
//! Should other writers delete one of them, the rest is as compact as before.

use siphasher::sip::SipHasher24;

use crate::file::DataFile;
use crate::spec::{Keep, Spec};

/// What a file's name says of the compaction that made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Generation {
    /// A hash of the options.
    pub(crate) options: u32,
    /// A hash of what went in, and of the options.
    pub(crate) inputs: u64,
}

impl Generation {
    /// Names a compaction of these files of one place.
    pub(crate) fn of<'a>(spec: &Spec, files: impl Iterator<Item = &'a DataFile>) -> Self {
        let mut paths: Vec<&str> = files.map(|file| file.path.as_str()).collect();
        paths.sort_unstable();
        let options = options(spec);
        let text = serde_json::json!([options, paths]).to_string();
        Self { options, inputs: SipHasher24::new().hash(text.as_bytes()) }
    }

    /// Reads a file's name; none if no compaction made it.
    pub(crate) fn parse(path: &str) -> Option<Self> {
        let name = path.rsplit('/').next()?.strip_suffix(".parquet")?;
        let mut parts = name.strip_prefix("part-")?.split('-');
        let (random, options, inputs) = (parts.next()?, parts.next()?.strip_prefix('c')?, parts.next()?);
        if parts.next().is_some() || random.len() != 32 || options.len() != 8 || inputs.len() != 16 {
            return None;
        }
        Some(Self { options: u32::from_str_radix(options, 16).ok()?, inputs: u64::from_str_radix(inputs, 16).ok()? })
    }

    /// Returns what stands in the name behind the random part.
    pub(crate) fn suffix(self) -> String {
        format!("-c{:08x}-{:016x}", self.options, self.inputs)
    }
}

/// Returns a hash of what a table's compactions are told to make.
pub(crate) fn options(spec: &Spec) -> u32 {
    let keep = match spec.keep {
        Keep::First => "first",
        Keep::Last => "last",
    };
    let text = serde_json::json!([spec.order(), keep, spec.target_file_bytes]).to_string();
    SipHasher24::new().hash(text.as_bytes()) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_reads_back_from_a_name_and_other_names_have_none() {
        let generation = Generation { options: 7, inputs: u64::MAX };
        let name = format!("_day=2013-01-01/part-{:032x}{}.parquet", 1, generation.suffix());
        assert_eq!(Generation::parse(&name), Some(generation));
        for other in [
            format!("_day=2013-01-01/part-{:032x}.parquet", 1),
            "part-00000-6a5b5f2e-1c1e-4d5e-9d4c-2f6b8f6f3c11-c000.snappy.parquet".to_owned(),
            format!("part-{:032x}{}.parquet.tmp", 1, generation.suffix()),
            format!("part-1{}.parquet", generation.suffix()),
        ] {
            assert_eq!(Generation::parse(&other), None, "{other}");
        }
    }
}
