//! Avro binary: variable-length numbers, lengths and blocks, with every bound checked.
//!
//! [`Cursor`] is the one place that reads untrusted binary; what it returns lies within the record.

use weir_types::limits::RECORD_BYTES_MAX;

use crate::limits::EMPTY_ITEMS_MAX;

#[inline]
pub(crate) fn write_long(value: i64, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[inline]
pub(crate) fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    write_long(bytes.len() as i64, out);
    out.extend_from_slice(bytes);
}

/// A place in a record's binary form.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

pub(crate) const CUT_OFF: &str = "the record ends inside this value";

const NOT_UTF8: &str = "a text is not valid UTF-8";

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    #[inline]
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The cursor at an earlier place of its own.
    pub(crate) fn back_to(self, at: usize) -> Self {
        Self { at, ..self }
    }

    #[inline]
    pub(crate) fn rest(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The bytes from an earlier place up to here.
    #[inline]
    pub(crate) fn since(&self, start: usize) -> &'a [u8] {
        &self.bytes[start..self.at]
    }

    #[inline]
    pub(crate) fn byte(&mut self) -> Result<u8, &'static str> {
        let byte = *self.bytes.get(self.at).ok_or(CUT_OFF)?;
        self.at += 1;
        Ok(byte)
    }

    #[inline]
    pub(crate) fn long(&mut self) -> Result<i64, &'static str> {
        let rest = &self.bytes[self.at..];
        match rest.first() {
            Some(first) if *first < 0x80 => {
                self.at += 1;
                return Ok(i64::from(first >> 1) ^ -i64::from(first & 1));
            }
            Some(_) => {}
            None => return Err(CUT_OFF),
        }
        if let Some(eight) = rest.first_chunk::<8>() {
            let word = u64::from_le_bytes(*eight);
            let ends = !word & 0x8080_8080_8080_8080;
            if ends != 0 {
                let bits = ends.trailing_zeros() + 1;
                self.at += (bits / 8) as usize;
                // Seven bits of each byte, pushed together in three steps.
                let groups = word & (u64::MAX >> (64 - bits)) & 0x7f7f_7f7f_7f7f_7f7f;
                let groups = (groups & 0x007f_007f_007f_007f) | ((groups & 0x7f00_7f00_7f00_7f00) >> 1);
                let groups = (groups & 0x0000_3fff_0000_3fff) | ((groups & 0x3fff_0000_3fff_0000) >> 2);
                let value = (groups & 0x0fff_ffff) | ((groups & 0x0fff_ffff_0000_0000) >> 4);
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        self.long_of_many()
    }

    #[inline(never)]
    fn long_of_many(&mut self) -> Result<i64, &'static str> {
        let mut value = 0u64;
        for (index, byte) in self.bytes[self.at..].iter().take(10).enumerate() {
            // The tenth byte holds the last bit of 64.
            if index == 9 && *byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if *byte < 0x80 {
                self.at += index + 1;
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err(if self.rest() < 10 { CUT_OFF } else { "a number has more than 64 bits" })
    }

    #[inline]
    pub(crate) fn int(&mut self) -> Result<i32, &'static str> {
        i32::try_from(self.long()?).map_err(|_| "a number has more than the 32 bits of an int")
    }

    #[inline]
    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], &'static str> {
        let end = self.at.checked_add(length).ok_or(CUT_OFF)?;
        let taken = self.bytes.get(self.at..end).ok_or(CUT_OFF)?;
        self.at = end;
        Ok(taken)
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| CUT_OFF)
    }

    #[inline]
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], &'static str> {
        let length = usize::try_from(self.long()?).map_err(|_| "a length is negative")?;
        self.take(length)
    }

    #[inline]
    pub(crate) fn text(&mut self) -> Result<&'a str, &'static str> {
        std::str::from_utf8(self.bytes()?).map_err(|_| NOT_UTF8)
    }

    /// The bytes of a text, which are valid UTF-8. For those who only pass them on: most are ASCII, which is told faster.
    #[inline]
    pub(crate) fn utf8(&mut self) -> Result<&'a [u8], &'static str> {
        let bytes = self.bytes()?;
        if bytes.is_ascii() || std::str::from_utf8(bytes).is_ok() { Ok(bytes) } else { Err(NOT_UTF8) }
    }

    #[inline]
    pub(crate) fn boolean(&mut self) -> Result<bool, &'static str> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err("a boolean is neither 0 nor 1"),
        }
    }

    /// The number of items in the next block of an array or a map, 0 at its end. `empty` says that an item takes no bytes.
    pub(crate) fn block(&mut self, items: &mut Items) -> Result<u64, &'static str> {
        let count = self.long()?;
        if count < 0 {
            let size = self.long()?;
            if usize::try_from(size).map_or(true, |size| size > self.rest()) {
                return Err("a block's size goes beyond the record");
            }
        }
        let count = count.unsigned_abs();
        items.admit(count, self.rest())?;
        Ok(count)
    }
}

/// Bounds the items that the blocks of one record may claim.
#[derive(Debug)]
pub(crate) struct Items {
    empty: bool,
    seen: u64,
}

impl Items {
    pub(crate) fn new(empty: bool) -> Self {
        Self { empty, seen: 0 }
    }

    fn admit(&mut self, count: u64, rest: usize) -> Result<(), &'static str> {
        self.seen = self.seen.saturating_add(count);
        if self.empty && self.seen > EMPTY_ITEMS_MAX {
            return Err("a block claims too many items that take no bytes");
        }
        if !self.empty && count > rest as u64 {
            return Err("a block claims more items than the record has bytes");
        }
        Ok(())
    }
}

const _: () = assert!(RECORD_BYTES_MAX <= i32::MAX as usize, "offsets of columns have 32 bits");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_back_with_anything_behind_them() {
        let edges = (0..63).flat_map(|bit| [1i64 << bit, (1 << bit) - 1, -(1 << bit), -(1 << bit) - 1]);
        for value in edges.chain([0, i64::MAX, i64::MIN]) {
            let mut bytes = Vec::new();
            write_long(value, &mut bytes);
            for behind in [&[][..], &[0], &[0xff; 12]] {
                let all = [&bytes[..], behind].concat();
                let mut cursor = Cursor::new(&all);
                assert_eq!((cursor.long(), cursor.at()), (Ok(value), bytes.len()), "{value}");
            }
        }
    }
}
