//! From an item to the tasks below it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::fill::keep_start;
use super::resource::{Carried, Child, Compiled, Need, Source};
use super::{Plan, TenantRule};
use crate::path::Path;
use crate::template::{Part, Slot, text_of};
use crate::{FieldProblem, Lost, PROBLEMS_MAX, Page, Problem, RunValues, Task};

/// The longest name of a tenant, in bytes.
pub(super) const TENANT_MAX: usize = 128;

/// An item, and the task that brought it.
pub(super) struct Above<'a> {
    pub(super) plan: &'a Plan,
    pub(super) resource: &'a Compiled,
    pub(super) at: usize,
    pub(super) task: &'a Task,
    pub(super) run: &'a RunValues,
}

impl Page {
    /// Notes what is wrong with an item.
    pub(super) fn problem(&mut self, index: usize, field: &str, problem: FieldProblem, lost: Lost) {
        self.problems_count += 1;
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem { index, field: field.to_owned(), problem, lost });
        }
    }
}

impl Above<'_> {
    /// Adds the tasks below one item to its page, or what keeps them from being made.
    pub(super) fn add(&self, index: usize, item: &Value, page: &mut Page) {
        if self.resource.children.is_empty() {
            return;
        }
        let tenant = match self.tenant(item) {
            Ok(tenant) => tenant,
            Err((field, problem)) => {
                page.problem(index, &field, problem, Lost::Tenant);
                return;
            }
        };
        if self.is_named_here() && !self.run.includes(&tenant) {
            return;
        }
        for child in &self.resource.children {
            let resource = &self.plan.resources[child.resource];
            let name = resource.name.clone();
            let values = match self.values(child, item) {
                Ok(values) => values,
                Err((field, problem)) => {
                    page.problem(index, &field, problem, Lost::Child(name));
                    continue;
                }
            };
            let (run, tenant) = (self.task.run, tenant.clone());
            let mut task = Task { run, resource: name, tenant, values, page: None, pages: 0, attempt: 0 };
            keep_start(resource, &mut task, self.run);
            page.children.push(task);
        }
    }

    fn is_named_here(&self) -> bool {
        self.plan.tenant_rule.as_ref().is_some_and(|rule| rule.resource == self.at)
    }

    fn tenant(&self, item: &Value) -> Result<String, (String, FieldProblem)> {
        match &self.plan.tenant_rule {
            Some(rule) if rule.resource == self.at => self.tenant_of(rule, item),
            _ => Ok(self.task.tenant.clone()),
        }
    }

    fn tenant_of(&self, rule: &TenantRule, item: &Value) -> Result<String, (String, FieldProblem)> {
        let mut name = String::new();
        for part in &rule.template.parts {
            match part {
                Part::Text(text) => name.push_str(text),
                Part::Slot(Slot::Field(field)) => {
                    let value = if field.resource == self.resource.name {
                        field.path.first(item)
                    } else {
                        self.task.values.get(&field.key)
                    };
                    let text = text_of(value.unwrap_or(&Value::Null)).and_then(not_empty);
                    name.push_str(&text.map_err(|problem| (field.path.text().to_owned(), problem))?);
                }
                Part::Slot(_) => {}
            }
            if name.len() > TENANT_MAX {
                return Err((rule_text(rule), FieldProblem::TooLong));
            }
        }
        Ok(name)
    }

    fn values(&self, child: &Child, item: &Value) -> Result<BTreeMap<String, Value>, (String, FieldProblem)> {
        let mut values = BTreeMap::new();
        for carried in &child.values {
            let found = match &carried.from {
                Source::Item(path) => path.first(item),
                Source::Task => self.task.values.get(&carried.key),
            };
            check(found, carried.need).map_err(|problem| (field(carried), problem))?;
            if let Some(value) = found {
                values.insert(carried.key.clone(), value.clone());
            }
        }
        Ok(values)
    }
}

fn rule_text(rule: &TenantRule) -> String {
    let names = rule.template.slots().map(|slot| slot.name().into_owned());
    names.collect::<Vec<_>>().join(", ")
}

fn field(carried: &Carried) -> String {
    match &carried.from {
        Source::Item(path) => Path::text(path).to_owned(),
        Source::Task => carried.key.clone(),
    }
}

fn not_empty(text: std::borrow::Cow<'_, str>) -> Result<std::borrow::Cow<'_, str>, FieldProblem> {
    if text.is_empty() { Err(FieldProblem::Empty) } else { Ok(text) }
}

/// Checks whether a value is good for what it is needed for.
fn check(value: Option<&Value>, need: Need) -> Result<(), FieldProblem> {
    match (need, value) {
        (Need::Optional, _) | (Need::Any, Some(_)) => Ok(()),
        (_, None) => Err(FieldProblem::Missing),
        (Need::Text, Some(value)) => text_of(value).map(drop),
        (Need::Segment, Some(value)) => text_of(value).and_then(not_empty).map(drop),
    }
}
