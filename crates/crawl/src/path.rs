//! JSONPath as crawls write it: RFC 9535, and dlt's short form without `$.`.
//!
//! Plain paths (`data.items`, `rows[0].id`, `data[-1].id`, `items[*]`, `"@odata.nextLink"`) are walked here, without
//! copying; filters, slices and descents are the `serde_json_path` crate's.
//!
//! What a selector finds are items by this rule: where the path ends in a name or an index, a list is its elements, and
//! null is no items; where it ends in a wildcard, a filter or a slice, each node is an item. Nothing found is missing
//! data, unless a wildcard went over something that is there and empty.

use serde_json::Value;
use serde_json_path::JsonPath;

/// A compiled path.
#[derive(Debug, Clone)]
pub(crate) struct Path {
    text: String,
    form: Form,
}

#[derive(Debug, Clone)]
enum Form {
    Plain { steps: Vec<Step>, each: bool },
    General { whole: JsonPath, prefixes: Vec<Prefix>, spread: bool },
}

/// A step of a plain path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Name(String),
    /// Negative: from the end.
    Index(i64),
}

/// A path's beginning, and whether the segment behind it may rightly find nothing.
#[derive(Debug, Clone)]
struct Prefix {
    path: JsonPath,
    many_next: bool,
}

/// What a selector found.
#[derive(Debug)]
pub(crate) enum Selection<'a> {
    /// One node of a plain path.
    Node(&'a Value),
    /// Several nodes, or one that stands for itself.
    Nodes(Vec<&'a Value>),
}

impl Selection<'_> {
    /// Returns how many items it has.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Node(Value::Array(list)) => list.len(),
            Self::Node(Value::Null) => 0,
            Self::Node(_) => 1,
            Self::Nodes(nodes) => nodes.len(),
        }
    }
}

impl Path {
    /// Compiles a path.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err("is empty".to_owned());
        }
        let form = match plain(trimmed) {
            Some((steps, each)) => Form::Plain { steps, each },
            None => general(trimmed)?,
        };
        Ok(Self { text: trimmed.to_owned(), form })
    }

    /// Returns a path of names, without parsing.
    pub(crate) fn of_names(names: &[&str]) -> Self {
        let steps = names.iter().map(|name| Step::Name((*name).to_owned())).collect();
        let text = if names.is_empty() { "$".to_owned() } else { names.join(".") };
        Self { text, form: Form::Plain { steps, each: false } }
    }

    /// Returns the path as it was written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Returns the one name that the path is, if it is one.
    pub(crate) fn names(&self) -> Option<Vec<&str>> {
        let Form::Plain { steps, each: false } = &self.form else { return None };
        steps.iter().map(|step| if let Step::Name(name) = step { Some(name.as_str()) } else { None }).collect()
    }

    /// Returns the first node that the path finds.
    pub(crate) fn first<'a>(&self, root: &'a Value) -> Option<&'a Value> {
        match &self.form {
            Form::Plain { steps, each: false } => walk(root, steps),
            Form::Plain { steps, each: true } => elements(walk(root, steps)?)?.first().copied(),
            Form::General { whole, .. } => whole.query(root).first(),
        }
    }

    /// Finds the items. None: there is nothing where they should be.
    pub(crate) fn select<'a>(&self, root: &'a Value) -> Option<Selection<'a>> {
        match &self.form {
            Form::Plain { steps, each: false } => walk(root, steps).map(Selection::Node),
            Form::Plain { steps, each: true } => match walk(root, steps)? {
                null @ Value::Null => Some(Selection::Node(null)),
                list @ Value::Array(_) => Some(Selection::Node(list)),
                other => elements(other).map(Selection::Nodes),
            },
            Form::General { whole, prefixes, spread } => {
                let nodes = whole.query(root).all();
                if nodes.is_empty() {
                    return ends_empty(prefixes, root).then(|| Selection::Nodes(Vec::new()));
                }
                Some(Selection::Nodes(if *spread { nodes.into_iter().flat_map(spread_out).collect() } else { nodes }))
            }
        }
    }

    /// Takes the items out of an answer; [`Path::select`] has found that they are there.
    pub(crate) fn take(&self, mut root: Value) -> Vec<Value> {
        if let Form::Plain { steps, .. } = &self.form
            && let Some(node) = walk_mut(&mut root, steps)
        {
            match node {
                Value::Array(list) => return std::mem::take(list),
                Value::Null => return Vec::new(),
                Value::Object(_) if self.is_each() => {}
                other => return vec![other.take()],
            }
        }
        match self.select(&root) {
            Some(Selection::Nodes(nodes)) => nodes.into_iter().cloned().collect(),
            _ => Vec::new(),
        }
    }

    /// Puts a value where the path leads, and makes the objects on the way. Only for [`Path::names`].
    pub(crate) fn put(&self, root: &mut Value, value: Value) {
        let Some(names) = self.names() else { return };
        let mut node = root;
        for name in names {
            if !node.is_object() {
                *node = Value::Object(serde_json::Map::new());
            }
            let Value::Object(map) = node else { return };
            node = map.entry(name).or_insert(Value::Null);
        }
        *node = value;
    }

    fn is_each(&self) -> bool {
        matches!(self.form, Form::Plain { each: true, .. })
    }
}

fn walk<'a>(root: &'a Value, steps: &[Step]) -> Option<&'a Value> {
    steps.iter().try_fold(root, |node, step| match (step, node) {
        (Step::Name(name), Value::Object(map)) => map.get(name),
        (Step::Index(index), Value::Array(list)) => list.get(place(*index, list.len())?),
        _ => None,
    })
}

fn walk_mut<'a>(root: &'a mut Value, steps: &[Step]) -> Option<&'a mut Value> {
    steps.iter().try_fold(root, |node, step| match (step, node) {
        (Step::Name(name), Value::Object(map)) => map.get_mut(name),
        (Step::Index(index), Value::Array(list)) => {
            let at = place(*index, list.len())?;
            list.get_mut(at)
        }
        _ => None,
    })
}

fn place(index: i64, len: usize) -> Option<usize> {
    let at = if index < 0 { i64::try_from(len).ok()?.checked_add(index)? } else { index };
    usize::try_from(at).ok()
}

fn elements(node: &Value) -> Option<Vec<&Value>> {
    match node {
        Value::Array(list) => Some(list.iter().collect()),
        Value::Object(map) => Some(map.values().collect()),
        _ => None,
    }
}

fn spread_out(node: &Value) -> Vec<&Value> {
    match node {
        Value::Array(list) => list.iter().collect(),
        Value::Null => Vec::new(),
        other => vec![other],
    }
}

/// Whether the path stopped finding at a wildcard over something that is there: then it is empty, and not missing.
fn ends_empty(prefixes: &[Prefix], root: &Value) -> bool {
    prefixes.iter().rev().find(|prefix| !prefix.path.query(root).is_empty()).is_some_and(|deepest| {
        deepest.many_next && deepest.path.query(root).iter().all(|node| !node.is_string() && !node.is_number())
    })
}

/// Reads a plain path; none if it isn't one.
fn plain(text: &str) -> Option<(Vec<Step>, bool)> {
    let mut rest = text.strip_prefix('$').unwrap_or(text);
    let mut steps = Vec::new();
    // Without `$`, the first name has no dot before it.
    let mut named = !text.starts_with('$') && !text.starts_with('[');
    while !rest.is_empty() {
        if rest == "[*]" || rest == ".*" {
            return Some((steps, true));
        }
        if let Some(inner) = rest.strip_prefix('[') {
            let (step, behind) = bracket(inner)?;
            steps.push(step);
            rest = behind;
        } else {
            rest = if named { rest } else { rest.strip_prefix('.')? };
            let (name, behind) = member(rest)?;
            steps.push(Step::Name(name));
            rest = behind;
        }
        named = false;
    }
    Some((steps, false))
}

/// A name, bare or in quotes, and what is behind it.
fn member(text: &str) -> Option<(String, &str)> {
    if text.starts_with(['"', '\'']) {
        return quoted(text);
    }
    let end = text.find(['.', '[']).unwrap_or(text.len());
    let (name, behind) = text.split_at(end);
    let odd = |c: char| c.is_whitespace() || c.is_control() || "*?()$'\"]{},".contains(c);
    (!name.is_empty() && !name.contains(odd)).then(|| (name.to_owned(), behind))
}

/// A text in quotes without escapes, and what is behind it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next()?;
    let (inner, behind) = text[1..].split_once(quote)?;
    (!inner.contains('\\')).then(|| (inner.to_owned(), behind))
}

/// What stands in brackets, and what is behind them.
fn bracket(inner: &str) -> Option<(Step, &str)> {
    if inner.starts_with(['"', '\'']) {
        let (name, behind) = quoted(inner)?;
        return Some((Step::Name(name), behind.strip_prefix(']')?));
    }
    let (index, behind) = inner.split_once(']')?;
    Some((Step::Index(index.parse().ok()?), behind))
}

fn general(text: &str) -> Result<Form, String> {
    let whole = match text.chars().next() {
        Some('$') => text.to_owned(),
        Some('[') => format!("${text}"),
        _ => format!("$.{text}"),
    };
    let parsed = JsonPath::parse(&whole).map_err(|error| format!("is no JSONPath: {error}"))?;
    let segments = segments(&whole);
    let spread = segments.last().is_some_and(|segment| !is_many(segment));
    let prefixes = (0..segments.len())
        .filter_map(|count| {
            let path = JsonPath::parse(&format!("${}", segments[..count].concat())).ok()?;
            Some(Prefix { path, many_next: is_many(segments[count]) })
        })
        .collect();
    Ok(Form::General { whole: parsed, prefixes, spread })
}

fn is_many(segment: &str) -> bool {
    let named = segment.starts_with("['") || segment.starts_with("[\"");
    segment.starts_with("..") || (!named && segment.contains(['*', '?', ':', ','])) || (named && segment.contains(','))
}

/// Cuts a valid path at its segments.
fn segments(whole: &str) -> Vec<&str> {
    let (mut found, mut start, mut depth, mut quote) = (Vec::new(), 1, 0_u32, None);
    let bytes = whole.as_bytes();
    for (at, byte) in bytes.iter().copied().enumerate().skip(1) {
        match (quote, byte) {
            (Some(open), _) if byte == open && bytes[at - 1] != b'\\' => quote = None,
            (Some(_), _) => {}
            (None, b'\'' | b'"') => quote = Some(byte),
            (None, b'[' | b'(') => {
                let joined = &whole[start..at] == "..";
                if depth == 0 && byte == b'[' && at > start && !joined {
                    found.push(&whole[start..at]);
                    start = at;
                }
                depth += 1;
            }
            (None, b']' | b')') => depth = depth.saturating_sub(1),
            (None, b'.') if depth == 0 && at > start && bytes[at - 1] != b'.' => {
                found.push(&whole[start..at]);
                start = at;
            }
            _ => {}
        }
    }
    if start < whole.len() {
        found.push(&whole[start..]);
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn items(path: &str, root: &Value) -> Option<Vec<Value>> {
        let path = Path::parse(path).expect("a path");
        let count = path.select(root)?.len();
        let taken = path.take(root.clone());
        assert_eq!(taken.len(), count, "{}", path.text());
        Some(taken)
    }

    #[test]
    fn selectors_find_items_empty_lists_and_missing_data() {
        let table = [
            ("$", json!([1, 2]), Some(json!([1, 2]))),
            ("$", json!({"id": 1}), Some(json!([{"id": 1}]))),
            ("items", json!({"items": [1]}), Some(json!([1]))),
            ("$.items", json!({"items": []}), Some(json!([]))),
            ("items", json!({"items": null}), Some(json!([]))),
            ("items", json!({"error": "slow down"}), None),
            ("items", json!([1]), None),
            ("data.items", json!({"data": {"items": [1, 2]}}), Some(json!([1, 2]))),
            ("data.items", json!({"data": null}), None),
            ("data", json!({"data": {"id": 1}}), Some(json!([{"id": 1}]))),
            ("items[*]", json!({"items": [[1], [2]]}), Some(json!([[1], [2]]))),
            ("items[*]", json!({"items": []}), Some(json!([]))),
            ("items[*]", json!({"items": {"a": 1, "b": 2}}), Some(json!([1, 2]))),
            ("items[*]", json!({"items": 3}), None),
            ("items[*]", json!({}), None),
            ("rows[-1]", json!({"rows": [{"a": 1}, {"a": 2}]}), Some(json!([{"a": 2}]))),
            ("rows[-3]", json!({"rows": [1, 2]}), None),
            ("['odd.name']", json!({"odd.name": [1]}), Some(json!([1]))),
            ("\"odd.name\"", json!({"odd.name": [1]}), Some(json!([1]))),
            ("groups[*].devices", json!({"groups": [{"devices": [1]}, {"devices": [2, 3]}]}), Some(json!([1, 2, 3]))),
            ("groups[*].devices", json!({"groups": []}), Some(json!([]))),
            ("groups[*].devices", json!({"groups": [{}]}), None),
            ("groups[*].devices[*]", json!({"groups": [{"devices": []}]}), Some(json!([]))),
            (
                "$.rows[?@.live == true]",
                json!({"rows": [{"live": true}, {"live": false}]}),
                Some(json!([{"live": true}])),
            ),
            ("$.rows[?@.live == true]", json!({"rows": [{"live": false}]}), Some(json!([]))),
            ("$.rows[?@.live == true]", json!({"error": 1}), None),
            ("$.rows[0:2]", json!({"rows": [1, 2, 3]}), Some(json!([1, 2]))),
            ("$..id", json!({"a": {"id": 1}, "b": [{"id": 2}]}), Some(json!([1, 2]))),
        ];
        for (path, root, expected) in table {
            assert_eq!(items(path, &root).map(Value::Array), expected, "{path} in {root}");
        }
    }

    #[test]
    fn segments_are_cut_where_they_begin() {
        assert_eq!(segments("$.a[*]..b['x.y'][?@.c[0] == 'z[']"), [".a", "[*]", "..b", "['x.y']", "[?@.c[0] == 'z[']"]);
        assert_eq!(segments("$..[0].a"), ["..[0]", ".a"]);
        assert!(segments("$").is_empty());
    }

    #[test]
    fn values_are_put_into_bodies() {
        let mut body = json!({"query": {"limit": 5}});
        Path::parse("query.page.cursor").unwrap().put(&mut body, json!("x"));
        assert_eq!(body, json!({"query": {"limit": 5, "page": {"cursor": "x"}}}));
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in ["", "a..", "a[", "$.a[?", "a b"] {
            assert!(Path::parse(text).is_err(), "{text}");
        }
    }

    fn tree() -> impl proptest::strategy::Strategy<Value = Value> {
        use proptest::prelude::*;
        let leaf =
            prop_oneof![Just(Value::Null), any::<i64>().prop_map(Value::from), "[ab]{0,2}".prop_map(Value::from)];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                prop::collection::btree_map("[abc]", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_path_or_an_error(text in "\\PC{0,24}|[$.\\[\\]*'\"a-c0-9:?@()=,-]{0,16}") {
            if let Ok(path) = Path::parse(&text) {
                let root = json!({"a": [{"b": 1}, null], "b": {"c": []}});
                let count = path.select(&root).map(|found| found.len());
                proptest::prop_assert_eq!(count.unwrap_or(0), path.take(root).len());
            }
        }

        #[test]
        fn plain_paths_agree_with_the_rfc(root in tree(), steps in proptest::collection::vec("\\.[abc]|\\[[0-2]\\]|\\[-1\\]", 0..4)) {
            let text = format!("${}", steps.concat());
            let plain = Path::parse(&text).unwrap();
            let rfc = JsonPath::parse(&text).unwrap();
            proptest::prop_assert_eq!(plain.first(&root), rfc.query(&root).first());
        }
    }
}
