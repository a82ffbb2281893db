//! Tenants, and the items that may name them.

use std::collections::{BTreeSet, HashMap};

use super::below::{ancestors, need};
use super::{Errors, like};
use crate::plan::TenantRule;
use crate::plan::children::TENANT_MAX;
use crate::plan::resource::{Compiled, Need};
use crate::plan::tree::Needs;
use crate::spec::Crawl;
use crate::template::{Braces, Field, Slot, Template};

pub(super) fn tenant_template(text: &str, by_name: &HashMap<String, usize>, errors: &mut Errors) -> Option<Template> {
    let example = "write a field of an item, such as `{resources.group.customer}`";
    let template = match Template::parse(text, Braces::Refused) {
        Ok(template) => template,
        Err(problem) => {
            errors.crawl("tenant", problem, example);
            return None;
        }
    };
    let mut fields = 0;
    for slot in template.slots() {
        match slot {
            Slot::Field(field) if by_name.contains_key(&field.resource) => fields += 1,
            Slot::Field(field) => {
                errors.crawl(
                    "tenant",
                    format!("there is no resource `{}`", field.resource),
                    like(&field.resource, by_name),
                );
                return None;
            }
            other => {
                errors.crawl("tenant", format!("`{{{}}}` is no field of an item", other.name()), example);
                return None;
            }
        }
    }
    if fields == 0 {
        errors.crawl("tenant", format!("`{text}` names no field of an item"), example);
        return None;
    }
    Some(template)
}

pub(super) fn tenants(crawl: &Crawl, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for tenant in &crawl.tenants {
        if tenant.name.is_empty() || tenant.name.len() > TENANT_MAX {
            let problem = format!("`{}` is no tenant's name", tenant.name);
            errors.crawl("tenant", problem, "use 1 to 128 bytes");
        }
        if !seen.insert(&tenant.name) {
            errors.crawl("tenant", format!("`{}` is there twice", tenant.name), "name each tenant once");
        }
        if tenant.weight == 0 {
            let problem = format!("`{}` has a weight of 0, and would never be called", tenant.name);
            errors.crawl("tenant", problem, "use 1 or more, or leave the tenant out");
        }
    }
}

/// Finds the resource whose items name the tenant, and lets its tasks carry what the template needs from above.
pub(super) fn tenant_rule(
    template: Template,
    resources: &[Compiled],
    by_name: &HashMap<String, usize>,
    needs: &mut [Needs],
    errors: &mut Errors,
) -> Option<TenantRule> {
    let fields: Vec<&Field> = fields(&template).collect();
    let at = |field: &Field| by_name.get(&field.resource).copied();
    let deepest = fields.iter().filter_map(|field| at(field)).max_by_key(|at| ancestors(*at, resources).len())?;
    let above = ancestors(deepest, resources);
    for field in fields {
        let resource = at(field)?;
        if resource == deepest {
            continue;
        }
        if !above.contains(&resource) {
            let problem = format!("`{}` is not above `{}`", resources[resource].name, resources[deepest].name);
            errors.crawl("tenant", problem, "name fields of one resource, and of those above it");
            return None;
        }
        need(&mut needs[deepest], field, resource, Need::Optional);
    }
    Some(TenantRule { template, resource: deepest })
}

fn fields(template: &Template) -> impl Iterator<Item = &Field> {
    template.slots().filter_map(|slot| if let Slot::Field(field) = slot { Some(field) } else { None })
}

/// Checks that tenants have the values that templates ask them for.
pub(super) fn tenant_values(crawl: &Crawl, resources: &[Compiled], rule: Option<&TenantRule>, errors: &mut Errors) {
    for (at, resource) in resources.iter().enumerate() {
        let asked: BTreeSet<String> = resource
            .slots()
            .filter_map(|(slot, _)| if let Slot::Tenant(name) = slot { Some(name.clone()) } else { None })
            .collect();
        if asked.is_empty() {
            continue;
        }
        match rule {
            Some(rule) if !ancestors(at, resources).contains(&rule.resource) => {
                let problem = format!("has no tenant yet: `{}` names it", resources[rule.resource].name);
                let hint = format!("use `{{tenant...}}` in resources below `{}`", resources[rule.resource].name);
                errors.resource(&resource.name, "path", problem, Some(hint));
            }
            None if crawl.tenants.is_empty() => {
                let hint =
                    "add `tenant \"NAME\" {}`, or `tenant = \"{resources.NAME.FIELD}\"`, to the crawl".to_owned();
                errors.resource(&resource.name, "path", "the crawl has no tenants".to_owned(), Some(hint));
            }
            _ => {}
        }
        for name in asked.iter().filter(|name| *name != "name") {
            let lacks = |tenant: &&crate::spec::Tenant| !tenant.params.iter().any(|(known, _)| known == name);
            if let Some(tenant) = crawl.tenants.iter().find(lacks) {
                let problem = format!("`{{tenant.{name}}}`: tenant `{}` has no `{name}`", tenant.name);
                errors.resource(&resource.name, "path", problem, Some(format!("add `{name}` to its params")));
            }
        }
    }
}
