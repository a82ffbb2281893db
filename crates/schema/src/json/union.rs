//! JSON values into unions: bare, or in Avro's form with the branch's name.

use super::encode::Encoding;
use super::plan::Shape;
use crate::Fault;
use crate::binary::write_long;
use crate::limits::UNION_TRIES_MAX;
use crate::schema::NodeId;

impl Encoding<'_, '_> {
    /// Writes an object that stands where a nullable value is wanted.
    pub(super) fn nullable_object(&mut self, branch: u8, inner: NodeId, depth: usize) -> Result<(), Fault> {
        if self.names_branch(inner) {
            let start = self.out.len();
            let at = self.scan.at;
            let spans = self.state.spans.len();
            let result = self.wrapped(usize::from(branch), inner, depth);
            // A map may have the key "map" itself.
            if result.is_ok() || !matches!(self.plan.shape(inner), Shape::Map { .. }) {
                return result;
            }
            self.back(start, at, spans)?;
        }
        self.out.push(branch * 2);
        self.value(inner, depth)
    }

    pub(super) fn union(&mut self, branches: &[NodeId], null: Option<usize>, depth: usize) -> Result<(), Fault> {
        if let Some(null) = null
            && self.scan.word("null")
        {
            write_long(null as i64, self.out);
            return Ok(());
        }
        let (start, at, spans) = (self.out.len(), self.scan.at, self.state.spans.len());
        if self.scan.peek() == Some(b'{')
            && let Some(index) = branches.iter().position(|branch| self.names_branch(*branch))
        {
            let result = self.wrapped(index, branches[index], depth);
            if result.is_ok() || !matches!(self.plan.shape(branches[index]), Shape::Map { .. }) {
                return result;
            }
            self.back(start, at, spans)?;
        }
        let mut last = None;
        for (index, branch) in branches.iter().enumerate() {
            if Some(index) == null {
                continue;
            }
            write_long(index as i64, self.out);
            match self.value(*branch, depth) {
                Ok(()) => return Ok(()),
                Err(fault) => last = Some(fault),
            }
            self.back(start, at, spans)?;
        }
        let names: Vec<&str> = branches.iter().map(|branch| self.plan.schema.node(*branch).branch_name()).collect();
        let mut fault = last.unwrap_or_else(|| "the union has no branch but null".into());
        fault.reason = format!("the value fits no branch of the union ({}): {}", names.join(", "), fault.reason);
        Err(fault)
    }

    /// Goes back to where a branch was tried, as often as the limit allows.
    fn back(&mut self, start: usize, at: usize, spans: usize) -> Result<(), Fault> {
        self.out.truncate(start);
        self.scan.at = at;
        self.state.spans.truncate(spans);
        self.state.tries += 1;
        if self.state.tries > UNION_TRIES_MAX {
            return Err(
                "too many branches of unions had to be tried: name them in Avro's form, {\"string\": \"x\"}".into()
            );
        }
        Ok(())
    }

    /// Whether the object that stands here has the branch's name as its first key, and that can't be a field.
    fn names_branch(&self, branch: NodeId) -> bool {
        let mut ahead = self.scan;
        ahead.at += 1;
        if !ahead.takes(b'"') {
            return false;
        }
        let node = self.plan.schema.node(branch);
        let named = |name: &str| {
            let rest = ahead.bytes()[ahead.at..].strip_prefix(name.as_bytes());
            rest.is_some_and(|rest| rest.first() == Some(&b'"'))
        };
        match self.plan.shape(branch) {
            Shape::Record(shape) => named(node.branch_name()) && !shape.by_name.contains_key(node.branch_name()),
            _ => named(node.branch_name()),
        }
    }

    /// Writes `{"name": value}`.
    fn wrapped(&mut self, index: usize, branch: NodeId, depth: usize) -> Result<(), Fault> {
        self.scan.expect(b'{')?;
        self.scan.expect(b'"')?;
        self.scan.at += self.plan.schema.node(branch).branch_name().len() + 1;
        self.scan.expect(b':')?;
        self.scan.space();
        write_long(index as i64, self.out);
        self.value(branch, depth)?;
        Ok(self.scan.expect(b'}')?)
    }
}
