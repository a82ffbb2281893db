//! The bytes of a snapshot's objects.
//!
//! ```text
//! object = magic `WEIRQIDX` | version u32 | XXH3 of the rest u64 | rest          integers little endian
//! part   = applied | groups (text*) | entries
//! index  = at | parts | clock | next transfer | stamps | repeats
//! ```

use weir_types::SequenceNumber;
use xxhash_rust::xxh3::xxh3_64;

use crate::codec::{Malformed, Reader, put_bytes, put_i64, put_u64};
use crate::entry::{Entry, Link, Phase};
use crate::record::Key;
use crate::state::{LastStamp, State};

const MAGIC: &[u8; 8] = b"WEIRQIDX";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 20;

/// A part: the entries of some slots, as bytes.
pub(crate) type Part = Vec<u8>;

/// What a queue knows beside its messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Globals {
    /// The place from which replay goes on.
    pub at: SequenceNumber,
    pub clock: i64,
    pub next_transfer: u64,
    pub stamps: Vec<(Box<str>, LastStamp)>,
    /// Until when, key, number; oldest first.
    pub repeats: Vec<(i64, Key, u64)>,
}

fn seal(mut object: Vec<u8>) -> Vec<u8> {
    object[..8].copy_from_slice(MAGIC);
    object[8..12].copy_from_slice(&VERSION.to_le_bytes());
    let checksum = xxh3_64(&object[HEADER_BYTES..]);
    object[12..20].copy_from_slice(&checksum.to_le_bytes());
    object
}

fn open(object: &[u8]) -> Result<Reader<'_>, Malformed> {
    let mut reader = Reader::new(object);
    if &reader.array::<8>()? != MAGIC {
        return Err(Malformed("it is no part of a snapshot"));
    }
    if u32::from_le_bytes(reader.array()?) != VERSION {
        return Err(Malformed("it has a version that this weir does not know"));
    }
    if u64::from_le_bytes(reader.array()?) != xxh3_64(reader.rest()) {
        return Err(Malformed("its checksum does not match"));
    }
    Ok(reader)
}

impl Globals {
    pub(crate) fn of(state: &State, at: SequenceNumber) -> Self {
        Self {
            at,
            clock: state.clock,
            next_transfer: state.next_transfer,
            stamps: state.stamps.iter().map(|(producer, last)| (producer.clone(), *last)).collect(),
            repeats: state.repeats.all().map(|(until, key, number)| (until, *key, number)).collect(),
        }
    }

    /// Writes the index object; `parts` tells how many parts there are.
    pub(crate) fn encode(&self, parts: usize) -> Vec<u8> {
        let mut out = vec![0; HEADER_BYTES];
        put_u64(&mut out, self.at.0);
        put_u64(&mut out, parts as u64);
        put_i64(&mut out, self.clock);
        put_u64(&mut out, self.next_transfer);
        put_u64(&mut out, self.stamps.len() as u64);
        for (producer, last) in &self.stamps {
            put_bytes(&mut out, producer.as_bytes());
            put_u64(&mut out, last.number);
            put_u64(&mut out, last.place);
        }
        put_u64(&mut out, self.repeats.len() as u64);
        for (until, key, number) in &self.repeats {
            put_i64(&mut out, *until);
            out.extend_from_slice(key);
            put_u64(&mut out, *number);
        }
        seal(out)
    }

    /// Reads the index object, and how many parts there are.
    pub(crate) fn decode(object: &[u8]) -> Result<(Self, usize), Malformed> {
        let mut reader = open(object)?;
        let at = SequenceNumber(reader.u64()?);
        let parts = reader.u32()? as usize;
        let (clock, next_transfer) = (reader.i64()?, reader.u64()?);
        let (mut stamps, mut repeats) = (Vec::new(), Vec::new());
        for _ in 0..reader.u64()? {
            let producer = reader.text()?.into();
            stamps.push((producer, LastStamp { number: reader.u64()?, place: reader.u64()? }));
        }
        for _ in 0..reader.u64()? {
            repeats.push((reader.i64()?, reader.array()?, reader.u64()?));
        }
        Ok((Self { at, clock, next_transfer, stamps, repeats }, parts))
    }

    /// Puts it into a state that is being loaded.
    pub(crate) fn load(self, state: &mut State) {
        state.clock = self.clock;
        state.next_transfer = self.next_transfer;
        state.stamps.extend(self.stamps);
        for (until, key, number) in self.repeats {
            state.repeats.load(until, key, number);
        }
    }
}

/// Writes the entries of some slots, as of the place `applied`.
pub(crate) fn encode_part(state: &State, slots: std::ops::Range<u32>, applied: u64) -> Part {
    let mut groups: Vec<u32> = Vec::new();
    let mut places: hashbrown::HashMap<u32, u64> = hashbrown::HashMap::new();
    let mut entries = Vec::with_capacity(slots.len() * 16);
    let mut count = 0_u64;
    let mut last = (0_u64, 0_i64);
    for entry in slots.filter_map(|slot| state.slab.get(slot)) {
        let group = *places.entry(entry.group).or_insert_with(|| {
            groups.push(entry.group);
            groups.len() as u64 - 1
        });
        let id = state.own_id(entry.number);
        // The lowest bit says whether an id follows, the next whether it was ever received, the others are the phase.
        let flags = u8::from(id.is_some()) | u8::from(entry.first_received != 0) << 1 | (entry.phase as u8) << 2;
        entries.push(flags);
        put_i64(&mut entries, entry.number.wrapping_sub(last.0) as i64);
        put_u64(&mut entries, entry.place - entry.number);
        put_i64(&mut entries, entry.sent_at.wrapping_sub(last.1));
        put_i64(&mut entries, entry.visible_at.wrapping_sub(entry.sent_at));
        put_u64(&mut entries, u64::from(entry.receives));
        if flags & 2 != 0 {
            put_i64(&mut entries, entry.first_received.wrapping_sub(entry.sent_at));
            put_u64(&mut entries, u64::from(entry.last_received_s));
        }
        put_u64(&mut entries, u64::from(entry.delay_s));
        put_u64(&mut entries, group);
        put_u64(&mut entries, u64::from(entry.bytes));
        if let Some(id) = id {
            entries.extend_from_slice(&id.to_be_bytes());
        }
        last = (entry.number, entry.sent_at);
        count += 1;
    }
    let mut out = vec![0; HEADER_BYTES];
    put_u64(&mut out, applied);
    put_u64(&mut out, groups.len() as u64);
    for group in groups {
        let name = state.groups.name(group);
        out.push(u8::from(name.is_some()));
        put_bytes(&mut out, name.unwrap_or_default().as_bytes());
    }
    put_u64(&mut out, count);
    out.extend_from_slice(&entries);
    seal(out)
}

/// Reads a part into a state that is being loaded.
pub(crate) fn load_part(object: &[u8], state: &mut State) -> Result<(), Malformed> {
    let mut reader = open(object)?;
    let applied = reader.u64()?;
    let mut groups = Vec::new();
    for _ in 0..reader.u64()? {
        let named = reader.u8()? == 1;
        let name = reader.text()?;
        groups.push(named.then_some(name));
    }
    let count = reader.u32()? as usize;
    state.begin_part(applied, count);
    let mut last = (0_u64, 0_i64);
    for _ in 0..count {
        let flags = reader.u8()?;
        let phase = Phase::from_u8(flags >> 2).ok_or(Malformed("a message has an unknown phase"))?;
        let number = last.0.wrapping_add(reader.i64()? as u64);
        let place = number.wrapping_add(reader.u64()?);
        let sent_at = last.1.wrapping_add(reader.i64()?);
        let visible_at = sent_at.wrapping_add(reader.i64()?);
        let receives = reader.u32()?;
        let (first_received, last_received_s) =
            if flags & 2 == 0 { (0, 0) } else { (sent_at.wrapping_add(reader.i64()?), reader.u32()?) };
        let delay_s = reader.u32()?;
        let group = usize::try_from(reader.u64()?).ok().and_then(|index| groups.get(index));
        let group = group.ok_or(Malformed("a message has an unknown group"))?;
        let bytes = reader.u32()?;
        let id = if flags & 1 == 0 { None } else { Some(u128::from_be_bytes(reader.array()?)) };
        let entry = Entry {
            number,
            place,
            sent_at,
            visible_at,
            first_received,
            last_received_s,
            delay_s,
            receives,
            group: 0,
            bytes,
            in_group: Link::FREE,
            in_log: Link::FREE,
            phase,
            list: 0,
        };
        state.load(entry, *group, id);
        last = (number, sent_at);
    }
    if reader.is_empty() { Ok(()) } else { Err(Malformed("it is longer than it should be")) }
}
