//! Which files are meant, by their paths.
//!
//! `*` is any run of characters but `/`, `**` any run, `?` one character but `/`; everything else stands for itself. The
//! work is bounded by the product of both lengths, whatever the pattern.

/// A pattern, read once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    One(char),
    /// `?`
    AnyOne,
    /// `*`
    Run,
    /// `**`
    AnyRun,
}

impl Glob {
    /// Reads a pattern. Every text is one.
    pub fn new(pattern: &str) -> Self {
        let mut parts = Vec::new();
        let mut rest = pattern.chars().peekable();
        while let Some(next) = rest.next() {
            parts.push(match next {
                '?' => Part::AnyOne,
                '*' if rest.peek() == Some(&'*') => {
                    // More than two stars say no more than two.
                    while rest.next_if_eq(&'*').is_some() {}
                    Part::AnyRun
                }
                '*' => Part::Run,
                other => Part::One(other),
            });
        }
        Self { parts }
    }

    /// Tells whether the whole of `path` matches.
    pub fn matches(&self, path: &str) -> bool {
        // All places in the pattern at which the text so far may end, moved on by one character at a time.
        let mut at = vec![false; self.parts.len() + 1];
        let mut next = at.clone();
        at[0] = true;
        self.skip_empty_runs(&mut at);
        for found in path.chars() {
            next.fill(false);
            for (index, part) in self.parts.iter().enumerate().filter(|(index, _)| at[*index]) {
                match part {
                    Part::One(wanted) => next[index + 1] |= *wanted == found,
                    Part::AnyOne => next[index + 1] |= found != '/',
                    Part::Run => next[index] |= found != '/',
                    Part::AnyRun => next[index] = true,
                }
            }
            self.skip_empty_runs(&mut next);
            std::mem::swap(&mut at, &mut next);
        }
        at[self.parts.len()]
    }

    /// A run may be of no characters.
    fn skip_empty_runs(&self, at: &mut [bool]) {
        for (index, part) in self.parts.iter().enumerate() {
            if at[index] && matches!(part, Part::Run | Part::AnyRun) {
                at[index + 1] = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_stop_at_slashes_and_double_runs_do_not() {
        let cases = [
            ("*.csv", "a.csv", true),
            ("*.csv", ".csv", true),
            ("*.csv", "a.csv.gz", false),
            ("*.csv", "2026/a.csv", false),
            ("**.csv", "2026/07/a.csv", true),
            ("**/a.csv", "2026/07/a.csv", true),
            ("**/a.csv", "a.csv", false),
            ("2026/*/x?.json", "2026/07/x1.json", true),
            ("2026/*/x?.json", "2026/07/x/.json", false),
            ("2026/*/x?.json", "2026/07/08/x1.json", false),
            ("**", "", true),
            ("", "", true),
            ("", "a", false),
            ("a[1].csv", "a[1].csv", true),
            ("a[1].csv", "a1.csv", false),
            ("***", "a/b", true),
            ("?", "ü", true),
            ("?", "/", false),
        ];
        for (pattern, path, expected) in cases {
            assert_eq!(Glob::new(pattern).matches(path), expected, "{pattern} on {path}");
        }
    }

    #[test]
    fn a_hostile_pattern_costs_no_more_than_its_length_times_the_paths() {
        let pattern = Glob::new(&"*a".repeat(500));
        assert!(!pattern.matches(&format!("{}b", "a".repeat(1000))));
        assert!(pattern.matches(&"a".repeat(1000)));
    }
}
