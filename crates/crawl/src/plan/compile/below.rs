//! What goes from items into what hangs below them.

use super::Errors;
use crate::path::Path;
use crate::plan::resource::{Carried, Child, Compiled, Need, Source};
use crate::plan::tree::{FieldNeed, Needs};
use crate::spec::Crawl;
use crate::template::Field;

/// Compiles `include_from_parent`, now that it is known who the parent is.
pub(super) fn includes(crawl: &Crawl, resources: &mut [Compiled], needs: &mut [Needs], errors: &mut Errors) {
    for (at, spec) in crawl.resources.iter().enumerate() {
        if spec.include_from_parent.is_empty() {
            continue;
        }
        let Some(parent) = resources[at].parent else {
            let hint = "name one of the parent's fields in the path, as `{resources.PARENT.FIELD}`".to_owned();
            let problem = "there is no parent to include fields of".to_owned();
            errors.resource(&spec.name, "include_from_parent", problem, Some(hint));
            continue;
        };
        let parent_name = resources[parent].name.clone();
        for text in &spec.include_from_parent {
            let path = match Path::parse(text) {
                Ok(path) if path.names().is_some_and(|names| !names.is_empty()) => path,
                Ok(_) => {
                    let hint = "write a field's name, or names with dots between them".to_owned();
                    let problem = format!("`{text}` is no field's name");
                    errors.resource(&spec.name, "include_from_parent", problem, Some(hint));
                    continue;
                }
                Err(problem) => {
                    errors.resource(&spec.name, "include_from_parent", format!("`{text}` {problem}"), None);
                    continue;
                }
            };
            let column = column(&parent_name, &path.names().unwrap_or_default());
            if resources[at].output.from_parent.contains(&column) {
                let problem = format!("`{text}` is `{column}`, as another is");
                let hint = "include one of them".to_owned();
                errors.resource(&spec.name, "include_from_parent", problem, Some(hint));
                continue;
            }
            let key = format!("{parent_name}.{text}");
            let field = Field { resource: parent_name.clone(), path, key: key.clone() };
            need(&mut needs[at], &field, parent, Need::Optional);
            resources[at].include.push((column.clone(), key));
            resources[at].output.from_parent.push(column);
        }
    }
}

/// Returns the name that a parent's field has in its children's items. It is a column's name, too: what columns can't be
/// named with is `_`.
fn column(parent: &str, names: &[&str]) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    format!("_{parent}_{}", names.join("_")).chars().map(plain).collect()
}

/// Finds what each task has to carry: what its own templates name, and what those below it do.
pub(super) fn carry(resources: &mut [Compiled], needs: &[Needs]) {
    let chains: Vec<Vec<usize>> = (0..resources.len()).map(|at| ancestors(at, resources)).collect();
    for child in 0..resources.len() {
        let Some(parent) = resources[child].parent else { continue };
        let mut all = needs[child].clone();
        for below in (0..resources.len()).filter(|at| chains[*at].contains(&child)) {
            for need_below in needs[below].values().filter(|need| chains[child].contains(&need.resource)) {
                need(&mut all, &need_below.field, need_below.resource, Need::Optional);
            }
        }
        let values = all.into_iter().map(|(key, found)| {
            let from = if found.resource == parent { Source::Item(found.field.path) } else { Source::Task };
            Carried { key, from, need: found.need }
        });
        let values = values.collect();
        resources[parent].children.push(Child { resource: child, values });
    }
}

pub(super) fn ancestors(at: usize, resources: &[Compiled]) -> Vec<usize> {
    std::iter::successors(resources[at].parent, |above| resources[*above].parent).collect()
}

pub(super) fn need(needs: &mut Needs, field: &Field, resource: usize, need: Need) {
    let known = needs.entry(field.key.clone()).or_insert_with(|| FieldNeed { field: field.clone(), resource, need });
    known.need = known.need.max(need);
}
