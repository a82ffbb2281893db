//! A strict scanner over bytes that are known to be UTF-8.

type Fault = String;

/// A place in a JSON text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scanner<'a> {
    pub(crate) text: &'a str,
    pub(crate) at: usize,
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Marks (in the high bit) each byte of `word` that ends a run of plain letters: a quote, a backslash, a control character.
/// Borrows may mark a byte after the first marked one wrongly; the first is exact.
#[inline]
fn specials(word: u64) -> u64 {
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let quote = zero(word ^ (ONES * b'"' as u64));
    let slash = zero(word ^ (ONES * b'\\' as u64));
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (quote | slash | control) & HIGHS
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    #[inline]
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    #[inline]
    pub(crate) fn peek(&self) -> Option<u8> {
        self.bytes().get(self.at).copied()
    }

    #[inline]
    pub(crate) fn space(&mut self) {
        // Most JSON on a wire has none.
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Takes `byte` behind any white space.
    #[inline]
    pub(crate) fn takes(&mut self, byte: u8) -> bool {
        self.space();
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    #[inline]
    pub(crate) fn expect(&mut self, byte: u8) -> Result<(), Fault> {
        if self.takes(byte) { Ok(()) } else { Err(self.unexpected(&format!("`{}`", byte as char))) }
    }

    #[cold]
    pub(crate) fn unexpected(&self, wanted: &str) -> Fault {
        match self.text[self.at..].chars().next() {
            None => format!("the JSON ends where {wanted} should stand"),
            Some(found) if found.is_control() => {
                format!("{wanted} should stand at byte {}, and `{}` does", self.at + 1, found.escape_debug())
            }
            Some(found) => format!("{wanted} should stand at byte {}, and `{found}` does", self.at + 1),
        }
    }

    /// Takes the word if it stands here.
    #[inline]
    pub(crate) fn word(&mut self, word: &str) -> bool {
        let found = self.bytes()[self.at..].starts_with(word.as_bytes());
        self.at += if found { word.len() } else { 0 };
        found
    }

    /// The end of the string whose first letter stands here (behind the quote): the place of its closing quote, if it has
    /// no escapes.
    #[inline]
    fn plain_end(&self) -> Option<usize> {
        let bytes = self.bytes();
        let mut at = self.at;
        while let Some(chunk) = bytes.get(at..at + 8) {
            let mut word = [0; 8];
            word.copy_from_slice(chunk);
            let found = specials(u64::from_le_bytes(word));
            if found != 0 {
                at += (found.trailing_zeros() / 8) as usize;
                return (bytes[at] == b'"').then_some(at);
            }
            at += 8;
        }
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'"' => return Some(at),
                b'\\' | 0..0x20 => return None,
                _ => at += 1,
            }
        }
        None
    }

    /// Reads the string whose opening quote has been taken; `scratch` holds it if it has escapes.
    #[inline]
    pub(crate) fn string<'s>(&mut self, scratch: &'s mut String) -> Result<&'s str, Fault>
    where
        'a: 's,
    {
        if let Some(end) = self.plain_end() {
            let text: &'a str = &self.text[self.at..end];
            self.at = end + 1;
            return Ok(text);
        }
        self.escaped(scratch)?;
        Ok(scratch)
    }

    #[cold]
    fn escaped(&mut self, scratch: &mut String) -> Result<(), Fault> {
        scratch.clear();
        loop {
            let rest = &self.text[self.at..];
            let plain = rest.bytes().position(|byte| byte == b'"' || byte == b'\\' || byte < 0x20);
            let plain = plain.ok_or("a string is not closed")?;
            scratch.push_str(&rest[..plain]);
            self.at += plain + 1;
            match rest.as_bytes()[plain] {
                b'"' => return Ok(()),
                b'\\' => scratch.push(self.escape()?),
                control => {
                    return Err(format!(
                        "a string holds the bare control character 0x{control:02x}: write \\u{control:04x}"
                    ));
                }
            }
        }
    }

    fn escape(&mut self) -> Result<char, Fault> {
        let letter = self.peek().ok_or("a string is not closed")?;
        self.at += 1;
        Ok(match letter {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => {
                self.at -= 1;
                return Err(self.unexpected("a letter that JSON allows behind a backslash"));
            }
        })
    }

    fn unicode(&mut self) -> Result<char, Fault> {
        const LONE: &str = "a \\u escape is half of a surrogate pair";
        let first = self.hex()?;
        if !(0xd800..0xe000).contains(&first) {
            return char::from_u32(first).ok_or_else(|| LONE.to_owned());
        }
        if first >= 0xdc00 || !self.word("\\u") {
            return Err(LONE.to_owned());
        }
        let second = self.hex()?;
        if !(0xdc00..0xe000).contains(&second) {
            return Err(LONE.to_owned());
        }
        char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)).ok_or_else(|| LONE.to_owned())
    }

    fn hex(&mut self) -> Result<u32, Fault> {
        let digits = self.bytes().get(self.at..self.at + 4).ok_or("a string is not closed")?;
        let mut value = 0;
        for digit in digits {
            value = value * 16 + (*digit as char).to_digit(16).ok_or("a \\u escape needs four hexadecimal digits")?;
        }
        self.at += 4;
        Ok(value)
    }

    /// Takes a number and returns its text.
    #[inline]
    pub(crate) fn number(&mut self) -> Result<&'a str, Fault> {
        let start = self.at;
        let bytes = self.bytes();
        let mut at = start + usize::from(self.peek() == Some(b'-'));
        let digits = |mut at: usize| {
            while bytes.get(at).is_some_and(u8::is_ascii_digit) {
                at += 1;
            }
            at
        };
        let whole = at;
        at = digits(at);
        if at == whole {
            return Err(self.unexpected("a number"));
        }
        if at - whole > 1 && bytes[whole] == b'0' {
            return Err(format!("a number begins with 0 at byte {}", whole + 1));
        }
        if bytes.get(at) == Some(&b'.') {
            let fraction = at + 1;
            at = digits(fraction);
            if at == fraction {
                return Err(format!("a number has no digit behind its point at byte {at}"));
            }
        }
        if let Some(b'e' | b'E') = bytes.get(at) {
            at += 1;
            at += usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
            let exponent = at;
            at = digits(exponent);
            if at == exponent {
                return Err(format!("a number has no digit in its exponent at byte {at}"));
            }
        }
        self.at = at;
        Ok(&self.text[start..at])
    }

    /// What kind of value stands here, in words.
    pub(crate) fn kind(&self) -> &'static str {
        match self.peek() {
            Some(b'"') => "a text",
            Some(b'{') => "an object",
            Some(b'[') => "a list",
            Some(b'-' | b'0'..=b'9') => "a number",
            Some(b't' | b'f') => "true or false",
            Some(b'n') => "null",
            None => "nothing",
            Some(_) => "no JSON value",
        }
    }
}
