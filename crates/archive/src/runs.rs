//! Which file each record of a chunk is in, when it arrived, and its key, where it had one: in the order of the shard.
//!
//! A run is a number of records that agree in all of that. As bytes, integers as unsigned LEB128:
//!
//! ```text
//! records missing before | records | part | milliseconds since the run before | 0, or key length + 1 and key
//! ```
//!
//! compressed with zstd, in base64, in the chunk's manifest. Invariant: a log never goes back in time, so differences are
//! not negative; the first is since 1970 (a clock before that is taken for 1970).

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use weir_types::Timestamp;

use crate::limits::{RECORD_KEY_SPARE, RUN_BYTES_MAX};

const ZSTD_LEVEL: i32 = 3;

/// Records that agree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Run {
    /// Places without a record before the first.
    pub missing: u64,
    pub records: u64,
    pub part: usize,
    pub arrived_at: Timestamp,
    pub key: Option<Vec<u8>>,
}

/// Collects a chunk's runs.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    bytes: Vec<u8>,
    current: Option<Run>,
    last_at: i64,
}

impl Collector {
    /// Adds the next record; `missing` places before it have none.
    pub fn push(&mut self, missing: u64, part: usize, arrived_at: Timestamp, key: Option<&[u8]>) {
        if let Some(run) = &mut self.current
            && missing == 0
            && run.part == part
            && run.arrived_at == arrived_at
            && run.key.as_deref() == key
        {
            run.records += 1;
            return;
        }
        self.end_run();
        self.current = Some(Run { missing, records: 1, part, arrived_at, key: key.map(<[u8]>::to_vec) });
    }

    fn end_run(&mut self) {
        let Some(run) = self.current.take() else { return };
        put_varint(&mut self.bytes, run.missing);
        put_varint(&mut self.bytes, run.records);
        put_varint(&mut self.bytes, run.part as u64);
        let at = run.arrived_at.0.max(self.last_at);
        put_varint(&mut self.bytes, at.abs_diff(self.last_at));
        self.last_at = at;
        match run.key {
            None => put_varint(&mut self.bytes, 0),
            Some(key) => {
                put_varint(&mut self.bytes, key.len() as u64 + 1);
                self.bytes.extend_from_slice(&key);
            }
        }
    }

    /// Returns the bytes so far, before compression.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the runs in the form of the manifest.
    pub fn finish(mut self) -> std::io::Result<String> {
        self.end_run();
        Ok(BASE64.encode(zstd::bulk::compress(&self.bytes, ZSTD_LEVEL)?))
    }
}

/// Gives back a chunk's runs.
#[derive(Debug)]
pub(crate) struct Runs {
    bytes: Vec<u8>,
    at: usize,
    last_at: i64,
}

impl Runs {
    /// Reads the manifest's form.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let compressed = BASE64.decode(text).map_err(|_| "its runs are not base64")?;
        // The last key pushes the bytes over the bound once.
        let bytes = zstd::bulk::decompress(&compressed, RUN_BYTES_MAX + RECORD_KEY_SPARE)
            .map_err(|_| "its runs do not decompress")?;
        Ok(Self { bytes, at: 0, last_at: 0 })
    }

    /// Returns the next run; none at the end.
    pub fn next(&mut self) -> Result<Option<Run>, &'static str> {
        if self.at == self.bytes.len() {
            return Ok(None);
        }
        let missing = self.varint()?;
        let records = self.varint()?;
        let part = usize::try_from(self.varint()?).map_err(|_| "a run's part is out of range")?;
        let since = i64::try_from(self.varint()?).map_err(|_| "a run's time is out of range")?;
        self.last_at = self.last_at.checked_add(since).ok_or("a run's time is out of range")?;
        let key = match usize::try_from(self.varint()?).map_err(|_| "a run's key is out of range")? {
            0 => None,
            length => {
                let end = self.at.checked_add(length - 1).filter(|end| *end <= self.bytes.len());
                let end = end.ok_or("its runs end too early")?;
                let key = self.bytes[self.at..end].to_vec();
                self.at = end;
                Some(key)
            }
        };
        if records == 0 {
            return Err("a run has no records");
        }
        Ok(Some(Run { missing, records, part, arrived_at: Timestamp(self.last_at), key }))
    }

    fn varint(&mut self) -> Result<u64, &'static str> {
        let (value, length) = get_varint(&self.bytes[self.at..]).ok_or("its runs end too early")?;
        self.at += length;
        Ok(value)
    }
}

/// Writes an unsigned LEB128.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads an unsigned LEB128 and returns it with its length.
pub(crate) fn get_varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        if index == 9 && *byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn runs_give_back_every_record(
            records in prop::collection::vec((0u64..3, 0usize..3, 0i64..3, prop::option::of("[a-c]{0,2}")), 0..300),
        ) {
            let mut collector = Collector::default();
            let mut at = 1_700_000_000_000i64;
            let mut sent = Vec::new();
            for (missing, part, later, key) in records {
                at += later;
                let missing = if missing == 2 { 5 } else { 0 };
                let key = key.map(String::into_bytes);
                collector.push(missing, part, Timestamp(at), key.as_deref());
                sent.push(Run { missing, records: 1, part, arrived_at: Timestamp(at), key });
            }
            let mut runs = Runs::parse(&collector.finish().unwrap()).unwrap();
            let mut read = Vec::new();
            while let Some(run) = runs.next().unwrap() {
                for index in 0..run.records {
                    let missing = if index == 0 { run.missing } else { 0 };
                    read.push(Run { missing, records: 1, ..run.clone() });
                }
            }
            prop_assert_eq!(read, sent);
        }

        #[test]
        fn any_bytes_are_runs_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let mut runs = Runs { bytes, at: 0, last_at: 0 };
            while let Ok(Some(run)) = runs.next() {
                prop_assert!(run.records > 0);
            }
        }
    }
}
