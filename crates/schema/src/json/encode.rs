//! JSON values into Avro binary.
//!
//! A record's fields are written as they come. Each record remembers which field followed which, so that a producer's own
//! order costs one comparison per key; where it is not the schema's, the pieces are put in order at the record's end.

use weir_types::limits::{NESTING_MAX, RECORD_BYTES_MAX};

use super::plan::{Plan, RecordShape, Shape};
use super::scan::Scanner;
use crate::binary::{write_bytes, write_long};
use crate::schema::NodeId;
use crate::text::{self, quote};
use crate::{Fault, RecordError, Schema};

/// Writes JSON texts as records of one schema.
#[derive(Debug)]
pub struct JsonEncoder {
    plan: Plan,
    state: State,
}

/// What an encoder keeps between values.
#[derive(Debug)]
pub(crate) struct State {
    /// Which field came after which.
    guesses: Vec<u32>,
    /// Where the fields of the records that are being written stand in the output.
    pub(super) spans: Vec<Span>,
    /// Where a record whose fields came in another order is put together.
    scratch: Vec<u8>,
    /// A text with escapes, without them.
    text: String,
    /// Branches of unions tried in this record.
    pub(super) tries: u32,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    from: usize,
    to: usize,
}

const ABSENT: Span = Span { from: usize::MAX, to: usize::MAX };

impl State {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self { guesses: vec![0; plan.guesses], spans: Vec::new(), scratch: Vec::new(), text: String::new(), tries: 0 }
    }

    /// Forgets what the last record may have left.
    pub(crate) fn begin(&mut self) {
        self.spans.clear();
        self.tries = 0;
    }
}

impl JsonEncoder {
    /// Compiles a schema.
    pub fn new(schema: &Schema) -> Self {
        let plan = Plan::new(schema);
        Self { state: State::new(&plan), plan }
    }

    /// Appends the record that `json` holds to `out`.
    ///
    /// # Errors
    /// If the text is not strict JSON or not a value of the schema; `out` is then as it was.
    pub fn encode(&mut self, json: &[u8], out: &mut Vec<u8>) -> Result<(), RecordError> {
        let text = std::str::from_utf8(json).map_err(|source| {
            RecordError::whole(format!("the text is not valid UTF-8 from byte {} on", source.valid_up_to() + 1))
        })?;
        self.state.begin();
        let root = self.plan.schema.root_id();
        encode_value(&self.plan, &mut self.state, root, text, out).map_err(|fault| *fault)
    }
}

/// Appends one value; `out` is as it was if that fails.
pub(crate) fn encode_value(
    plan: &Plan,
    state: &mut State,
    node: NodeId,
    text: &str,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let start = out.len();
    let mut encoding = Encoding { plan, state, scan: Scanner::new(text), out };
    encoding.scan.space();
    let result = encoding.value(node, 0).and_then(|()| encoding.end(start));
    if result.is_err() {
        out.truncate(start);
    }
    result
}

/// One text on its way.
pub(super) struct Encoding<'a, 'o> {
    pub(super) plan: &'a Plan,
    pub(super) state: &'o mut State,
    pub(super) scan: Scanner<'a>,
    pub(super) out: &'o mut Vec<u8>,
}

impl<'a> Encoding<'a, '_> {
    fn end(&mut self, start: usize) -> Result<(), Fault> {
        self.scan.space();
        if self.scan.peek().is_some() {
            return Err(self.scan.unexpected("the end of the record").into());
        }
        let bytes = self.out.len() - start;
        if bytes > RECORD_BYTES_MAX {
            return Err(format!("the record takes {bytes} bytes as Avro, and {RECORD_BYTES_MAX} are allowed").into());
        }
        Ok(())
    }

    /// Writes the value that stands here, white space behind us.
    #[inline]
    pub(super) fn value(&mut self, id: NodeId, depth: usize) -> Result<(), Fault> {
        let plan = self.plan;
        match plan.shape(id) {
            Shape::String => {
                if self.scan.peek() != Some(b'"') {
                    return Err(self.misfit("a text"));
                }
                self.scan.at += 1;
                let text = self.scan.string(&mut self.state.text)?;
                write_bytes(text.as_bytes(), self.out);
                Ok(())
            }
            Shape::Int => {
                let value = self.whole("a whole number")?;
                let value = i32::try_from(value).map_err(|_| format!("{value} does not fit the 32 bits of an int"))?;
                write_long(i64::from(value), self.out);
                Ok(())
            }
            Shape::Long => {
                let value = self.whole("a whole number")?;
                write_long(value, self.out);
                Ok(())
            }
            Shape::Nullable { null, branch, inner } => {
                if self.scan.peek() == Some(b'n') && self.scan.word("null") {
                    self.out.push(null * 2);
                    return Ok(());
                }
                if self.scan.peek() == Some(b'{') {
                    return self.nullable_object(*branch, *inner, depth);
                }
                self.out.push(branch * 2);
                self.value(*inner, depth)
            }
            Shape::Record(shape) => self.record(shape, depth),
            other => self.other(other, depth),
        }
    }

    fn other(&mut self, shape: &'a Shape, depth: usize) -> Result<(), Fault> {
        match shape {
            Shape::Null => {
                if !self.scan.word("null") {
                    return Err(self.misfit("null"));
                }
            }
            Shape::Boolean => {
                let value = self.scan.word("true");
                if !value && !self.scan.word("false") {
                    return Err(self.misfit("true or false"));
                }
                self.out.push(u8::from(value));
            }
            Shape::Float => {
                let value = self.float()? as f32;
                if value.is_infinite() && self.scan.bytes()[self.scan.at - 1] != b'"' {
                    return Err("the number is too large for a float: give the field the type double".into());
                }
                self.out.extend(value.to_le_bytes());
            }
            Shape::Double => {
                let value = self.float()?;
                self.out.extend(value.to_le_bytes());
            }
            Shape::Date => {
                let days = match self.quoted()? {
                    Some(text) => text::date(text)?,
                    None => {
                        let days = self.whole("a date")?;
                        i32::try_from(days).map_err(|_| format!("{days} days do not fit the 32 bits of a date"))?
                    }
                };
                write_long(i64::from(days), self.out);
            }
            Shape::Time(unit) => {
                let count = match self.quoted()? {
                    Some(text) => text::time_of_day(text, *unit)?,
                    None => self.whole("a time of day")?,
                };
                text::check_time_of_day(count, *unit)?;
                write_long(count, self.out);
            }
            Shape::Timestamp(unit, zone) => {
                let count = match self.quoted()? {
                    Some(text) => text::timestamp(text, *unit, *zone)?,
                    None => self.whole("a timestamp")?,
                };
                text::micros(count, *unit)?;
                write_long(count, self.out);
            }
            Shape::Decimal { precision, scale, size } => {
                let (precision, scale, size) = (*precision, *scale, *size);
                let text = match self.quoted()? {
                    Some(text) => text,
                    None => self.number_text("a decimal")?,
                };
                let value = text::decimal(text, precision, scale)?;
                write_decimal(value, size, self.out)?;
            }
            Shape::Uuid => {
                let text = self.quoted()?.filter(|text| text::is_uuid(text));
                let Some(text) = text else {
                    return Err("this is no uuid: write 36 letters, hexadecimal and hyphens".into());
                };
                // A second look at the text: `quoted` borrows all of `self`.
                let bytes = text.as_bytes().to_owned();
                write_bytes(&bytes, self.out);
            }
            Shape::Enum { by_symbol } => {
                let Some(text) = self.quoted()? else { return Err(self.misfit("one of the enum's symbols")) };
                match by_symbol.get(text) {
                    Some(index) => {
                        let index = i64::from(*index);
                        write_long(index, self.out);
                    }
                    None => return Err(unknown_symbol(text, by_symbol.keys().map(AsRef::as_ref))),
                }
            }
            Shape::Bytes => {
                let bytes = self.latin1()?;
                write_bytes(&bytes, self.out);
            }
            Shape::Fixed(size) => {
                let bytes = self.latin1()?;
                if bytes.len() != *size {
                    return Err(format!("the text stands for {} bytes, and the fixed has {size}", bytes.len()).into());
                }
                self.out.extend(bytes);
            }
            Shape::Array { items } => self.array(*items, depth)?,
            Shape::Map { values } => self.map(*values, depth)?,
            Shape::Union { branches, null } => self.union(branches, *null, depth)?,
            Shape::String | Shape::Int | Shape::Long | Shape::Nullable { .. } | Shape::Record(_) => {}
        }
        Ok(())
    }

    #[cold]
    pub(super) fn misfit(&self, wanted: &str) -> Fault {
        let kind = self.scan.kind();
        if kind == "nothing" || kind == "no JSON value" {
            return self.scan.unexpected(wanted).into();
        }
        format!("{wanted} is wanted, and this is {kind}").into()
    }

    /// The text that stands here, if it is one.
    fn quoted(&mut self) -> Result<Option<&str>, Fault> {
        if self.scan.peek() != Some(b'"') {
            return Ok(None);
        }
        self.scan.at += 1;
        Ok(Some(self.scan.string(&mut self.state.text)?))
    }

    fn number_text(&mut self, wanted: &str) -> Result<&'a str, Fault> {
        match self.scan.peek() {
            Some(b'-' | b'0'..=b'9') => Ok(self.scan.number()?),
            _ => Err(self.misfit(wanted)),
        }
    }

    /// Reads a whole number of 64 bits.
    #[inline]
    fn whole(&mut self, wanted: &str) -> Result<i64, Fault> {
        // Up to 18 digits can't overflow; all else takes the exact way.
        let bytes = &self.scan.bytes()[self.scan.at..];
        let negative = bytes.first() == Some(&b'-');
        let digits = &bytes[usize::from(negative)..];
        let mut value = 0i64;
        let mut count = 0;
        while let Some(digit) = digits.get(count).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
            if count == 18 {
                return self.whole_exactly(wanted);
            }
            value = value * 10 + i64::from(digit);
            count += 1;
        }
        let plain = count > 0 && (count == 1 || digits[0] != b'0');
        if !plain || matches!(digits.get(count), Some(b'.' | b'e' | b'E')) {
            return self.whole_exactly(wanted);
        }
        self.scan.at += count + usize::from(negative);
        Ok(if negative { -value } else { value })
    }

    #[cold]
    fn whole_exactly(&mut self, wanted: &str) -> Result<i64, Fault> {
        let number = self.number_text(wanted)?;
        let digits = text::digits(number).ok_or_else(|| format!("{} does not fit 64 bits", quote(number)))?;
        let whole =
            text::rescale(digits, 0).ok_or_else(|| format!("{} is not a whole number of 64 bits", quote(number)))?;
        i64::try_from(whole).map_err(|_| format!("{} does not fit 64 bits", quote(number)).into())
    }

    fn float(&mut self) -> Result<f64, Fault> {
        if let Some(text) = self.quoted()? {
            return match text {
                "NaN" => Ok(f64::NAN),
                "Infinity" => Ok(f64::INFINITY),
                "-Infinity" => Ok(f64::NEG_INFINITY),
                other => Err(format!("{} is a text, and a number is wanted", quote(other)).into()),
            };
        }
        let number = self.number_text("a number")?;
        let value = super::number::double(number);
        if value.is_finite() { Ok(value) } else { Err(format!("{} is too large for a double", quote(number)).into()) }
    }

    fn latin1(&mut self) -> Result<Vec<u8>, Fault> {
        let Some(text) = self.quoted()? else { return Err(self.misfit("a text that stands for bytes")) };
        let bytes: Option<Vec<u8>> = text.chars().map(|letter| u8::try_from(u32::from(letter)).ok()).collect();
        bytes.ok_or_else(|| "the text stands for bytes, so that each letter is one of U+0000 to U+00FF".into())
    }

    pub(super) fn deeper(depth: usize) -> Result<usize, Fault> {
        if depth >= NESTING_MAX {
            Err(format!("values are nested more than {NESTING_MAX} deep").into())
        } else {
            Ok(depth + 1)
        }
    }

    fn array(&mut self, items: NodeId, depth: usize) -> Result<(), Fault> {
        let depth = Self::deeper(depth)?;
        if self.scan.peek() != Some(b'[') {
            return Err(self.misfit("a list"));
        }
        self.scan.at += 1;
        if self.scan.takes(b']') {
            self.out.push(0);
            return Ok(());
        }
        let start = self.out.len();
        let mut count = 0;
        loop {
            self.scan.space();
            self.value(items, depth).map_err(|fault| fault.within_item(count))?;
            count += 1;
            if !self.scan.takes(b',') {
                break;
            }
        }
        self.scan.expect(b']')?;
        self.close_block(start, count);
        Ok(())
    }

    fn map(&mut self, values: NodeId, depth: usize) -> Result<(), Fault> {
        let depth = Self::deeper(depth)?;
        if self.scan.peek() != Some(b'{') {
            return Err(self.misfit("an object"));
        }
        self.scan.at += 1;
        if self.scan.takes(b'}') {
            self.out.push(0);
            return Ok(());
        }
        let start = self.out.len();
        let mut keys = hashbrown::HashSet::new();
        loop {
            self.scan.expect(b'"')?;
            let key = self.scan.string(&mut self.state.text)?.to_owned();
            write_bytes(key.as_bytes(), self.out);
            self.scan.expect(b':')?;
            self.scan.space();
            self.value(values, depth).map_err(|fault| fault.within_key(&key))?;
            if keys.contains(&key) {
                return Err(format!("the key {} stands there twice", quote(&key)).into());
            }
            keys.insert(key);
            if !self.scan.takes(b',') {
                break;
            }
        }
        self.scan.expect(b'}')?;
        self.close_block(start, keys.len() as u64);
        Ok(())
    }

    /// Puts the count before the items that were written from `start` on, and the end behind them.
    fn close_block(&mut self, start: usize, count: u64) {
        let end = self.out.len();
        write_long(count as i64, self.out);
        let prefix = self.out.len() - end;
        self.out[start..].rotate_right(prefix);
        self.out.push(0);
    }

    pub(super) fn record(&mut self, shape: &'a RecordShape, depth: usize) -> Result<(), Fault> {
        let depth = Self::deeper(depth)?;
        if self.scan.peek() != Some(b'{') {
            return Err(self.misfit("an object"));
        }
        self.scan.at += 1;
        let start = self.out.len();
        let base = self.state.spans.len();
        self.state.spans.resize(base + shape.fields.len(), ABSENT);
        let mut ordered = true;
        let mut seen = 0;
        let mut previous = 0;
        if !self.scan.takes(b'}') {
            loop {
                self.scan.expect(b'"')?;
                let index = self.key(shape, previous)?;
                let field = &shape.fields[index];
                self.scan.expect(b':')?;
                self.scan.space();
                if self.state.spans[base + index].to != usize::MAX {
                    return Err(Fault::from("the field stands there twice").within_field(&field.name));
                }
                let from = self.out.len();
                if let Err(fault) = self.value(field.node, depth) {
                    return Err(fault.within_field(&field.name));
                }
                self.state.spans[base + index] = Span { from, to: self.out.len() };
                ordered &= index == seen;
                seen += 1;
                previous = index + 1;
                if !self.scan.takes(b',') {
                    break;
                }
            }
            self.scan.expect(b'}')?;
        }
        if ordered {
            for field in &shape.fields[seen..] {
                self.out.extend_from_slice(field.absent.as_deref().ok_or_else(|| missing(&field.name))?);
            }
        } else {
            self.reorder(shape, start, base)?;
        }
        self.state.spans.truncate(base);
        Ok(())
    }

    /// Puts the fields of a record in the schema's order, and in between what stands for those that are missing.
    fn reorder(&mut self, shape: &RecordShape, start: usize, base: usize) -> Result<(), Fault> {
        let scratch = &mut self.state.scratch;
        scratch.clear();
        for (field, span) in shape.fields.iter().zip(&self.state.spans[base..]) {
            if span.to == usize::MAX {
                scratch.extend_from_slice(field.absent.as_deref().ok_or_else(|| missing(&field.name))?);
            } else {
                scratch.extend_from_slice(&self.out[span.from..span.to]);
            }
        }
        self.out.truncate(start);
        self.out.extend_from_slice(scratch);
        Ok(())
    }

    /// Reads a key, its opening quote taken, and returns its field.
    #[inline]
    fn key(&mut self, shape: &RecordShape, previous: usize) -> Result<usize, Fault> {
        let guess = self.state.guesses[shape.guesses + previous] as usize;
        if let Some(field) = shape.fields.get(guess)
            && self.scan.bytes()[self.scan.at..].starts_with(&field.key)
        {
            self.scan.at += field.key.len();
            return Ok(guess);
        }
        let key = self.scan.string(&mut self.state.text)?;
        let Some(index) = shape.by_name.get(key) else { return Err(unknown_field(key, shape)) };
        self.state.guesses[shape.guesses + previous] = *index;
        Ok(*index as usize)
    }
}

#[cold]
fn missing(name: &str) -> Fault {
    Fault::from("the field is missing, and has neither a default nor null in its type").within_field(name)
}

#[cold]
fn unknown_field(key: &str, shape: &RecordShape) -> Fault {
    let reason = match weir_types::nearest(key, shape.fields.iter().map(|field| &*field.name)) {
        Some(near) => format!("the schema has no such field: did you mean `{near}`?"),
        None => "the schema has no such field: leave it out, or add it to the schema".to_owned(),
    };
    Fault::from(reason).within_key(key)
}

#[cold]
pub(crate) fn unknown_symbol<'a>(text: &str, symbols: impl Iterator<Item = &'a str>) -> Fault {
    match weir_types::nearest(text, symbols) {
        Some(near) => format!("{} is none of the enum's symbols: did you mean `{near}`?", quote(text)).into(),
        None => format!("{} is none of the enum's symbols", quote(text)).into(),
    }
}

/// Writes a decimal as bytes of its own length, or as a fixed of `size` bytes.
pub(crate) fn write_decimal(value: i128, size: Option<usize>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let (bytes, start) = text::shortest(value);
    let bytes = &bytes[start..];
    match size {
        None => write_bytes(bytes, out),
        Some(size) => {
            let pad = size.checked_sub(bytes.len()).ok_or("the decimal does not fit the bytes of its fixed")?;
            out.extend(std::iter::repeat_n(if value < 0 { 0xff } else { 0 }, pad));
            out.extend_from_slice(bytes);
        }
    }
    Ok(())
}
