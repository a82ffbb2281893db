//! From words to a plan, or all that is wrong with them.
//!
//! ```text
//! mod.rs       the api, names, the tree
//! one.rs       one resource by itself
//! tenants.rs   tenants, and who names them
//! below.rs     what goes from items into what hangs below them
//! ```

mod below;
mod one;
mod tenants;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use weir_types::nearest;

use super::resource::Compiled;
use super::tree::{Needs, TreeError, parents};
use super::{Base, Plan, SpecError, Step};
use crate::spec::{Auth, Client, Crawl, KeyLocation};
use below::{carry, includes};
use one::At;
use tenants::{tenant_rule, tenant_template, tenant_values, tenants};

/// The longest name of a resource, in bytes: it stands in each task.
const NAME_MAX: usize = 64;

pub(super) fn compile(client: &Client, crawl: &Crawl) -> Result<Plan, Vec<SpecError>> {
    let mut errors = Errors::default();
    let base = base(client, &mut errors);
    let by_name = names(crawl, &mut errors);
    let tenant = crawl.tenant.as_ref().and_then(|text| tenant_template(text, &by_name, &mut errors));
    tenants(crawl, &mut errors);
    params(crawl, &mut errors);
    let mut needs: Vec<Needs> = Vec::new();
    let mut compiled: Vec<Option<Compiled>> = Vec::new();
    for spec in &crawl.resources {
        let mut at = At { spec, crawl, by_name: &by_name, needs: Needs::new(), errors: &mut errors };
        compiled.push(at.resource(client));
        needs.push(at.needs);
    }
    let named: Vec<Vec<usize>> = needs.iter().map(|needs| needs.values().map(|need| need.resource).collect()).collect();
    let above = parents(&named);
    for (at, parent) in above.iter().enumerate() {
        if let Err(error) = parent {
            errors.tree(at, error, crawl);
        }
    }
    if !errors.0.is_empty() {
        return Err(errors.0);
    }
    let mut resources: Vec<Compiled> = compiled.into_iter().flatten().collect();
    for (resource, parent) in resources.iter_mut().zip(&above) {
        resource.parent = parent.as_ref().ok().copied().flatten();
    }
    let tenant_rule = tenant.and_then(|template| tenant_rule(template, &resources, &by_name, &mut needs, &mut errors));
    includes(crawl, &mut resources, &mut needs, &mut errors);
    tenant_values(crawl, &resources, tenant_rule.as_ref(), &mut errors);
    if !errors.0.is_empty() {
        return Err(errors.0);
    }
    carry(&mut resources, &needs);
    let steps = steps(&resources);
    let pairs = |params: &[(String, String)]| params.iter().cloned().collect::<BTreeMap<_, _>>();
    Ok(Plan {
        name: crawl.name.clone(),
        base,
        by_name,
        params: pairs(&crawl.params),
        tenants: crawl.tenants.iter().map(|tenant| (tenant.name.clone(), pairs(&tenant.params))).collect(),
        tenant_rule,
        steps,
        resources,
    })
}

#[derive(Default)]
struct Errors(Vec<SpecError>);

impl Errors {
    fn crawl(&mut self, attribute: &'static str, problem: impl Into<String>, hint: impl Into<String>) {
        let hint = Some(hint.into());
        self.0.push(SpecError { resource: None, attribute, problem: problem.into(), hint });
    }

    fn resource(&mut self, name: &str, attribute: &'static str, problem: String, hint: Option<String>) {
        self.0.push(SpecError { resource: Some(name.to_owned()), attribute, problem, hint });
    }

    fn tree(&mut self, at: usize, error: &TreeError, crawl: &Crawl) {
        let name = |at: &usize| format!("`{}`", crawl.resources[*at].name);
        let resource = &crawl.resources[at].name;
        match error {
            TreeError::Loop(way) if way.len() == 1 => {
                let hint = "name a field of a resource above it".to_owned();
                self.resource(resource, "path", "names its own items".to_owned(), Some(hint));
            }
            TreeError::Loop(way) => {
                let way: Vec<_> = way.iter().map(name).collect();
                let problem = format!("depends on itself: {} name each other's items", way.join(" and "));
                self.resource(resource, "path", problem, Some("take the placeholder out of one of them".to_owned()));
            }
            TreeError::Siblings(a, b) => {
                let (a, b) = (name(a), name(b));
                let problem = format!("names items of {a} and of {b}, of which neither is above the other");
                let hint = format!("let {b} hang below {a}, or name items of one of them alone");
                self.resource(resource, "path", problem, Some(hint));
            }
        }
    }
}

fn base(client: &Client, errors: &mut Errors) -> Base {
    let mut url = client.base_url.clone();
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        errors.crawl("base_url", format!("`{url}` is no http or https URL"), "write `https://HOST/PATH`");
    }
    if url.query().is_some() || url.fragment().is_some() {
        let hint = "put parameters into a resource's `params`, and keys into `auth`";
        errors.crawl("base_url", format!("`{url}` has a query or a fragment"), hint);
    }
    if !url.username().is_empty() || url.password().is_some() {
        let hint = "use `auth = basic(\"USER\", secret(\"NAME\"))`";
        errors.crawl("base_url", format!("a name or password stands in the URL of `{}`", host(&url)), hint);
    }
    url.set_query(None);
    url.set_fragment(None);
    let path = url.path().trim_end_matches('/').to_owned();
    let key_param = match &client.auth {
        Auth::ApiKey { name, location: KeyLocation::Query, .. } => Some(name.clone()),
        _ => None,
    };
    Base { url, path, key_param }
}

fn host(url: &url::Url) -> &str {
    url.host_str().unwrap_or_default()
}

fn names(crawl: &Crawl, errors: &mut Errors) -> HashMap<String, usize> {
    let mut by_name = HashMap::new();
    if crawl.resources.is_empty() {
        errors.crawl("resource", "there is none", "add `resource \"NAME\" { path = \"/PATH\" }`");
    }
    for (at, resource) in crawl.resources.iter().enumerate() {
        let name = &resource.name;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(plain) {
            let hint = "use up to 64 letters, digits, `_` and `-`".to_owned();
            errors.resource(name, "name", format!("`{name}` is no name"), Some(hint));
        }
        if by_name.insert(name.clone(), at).is_some() {
            let hint = "give each resource a name of its own".to_owned();
            errors.resource(name, "name", "is the name of two resources".to_owned(), Some(hint));
        }
    }
    by_name
}

fn params(crawl: &Crawl, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (name, _) in &crawl.params {
        if !seen.insert(name) {
            errors.crawl("params", format!("`{name}` is there twice"), "name each parameter once");
        }
    }
}

fn steps(resources: &[Compiled]) -> Vec<Step> {
    fn below(at: usize, depth: usize, resources: &[Compiled], steps: &mut Vec<Step>) {
        let resource = &resources[at];
        let parent = resource.parent.map(|parent| resources[parent].name.clone());
        steps.push(Step { resource: resource.name.clone(), parent, depth });
        for child in &resource.children {
            below(child.resource, depth + 1, resources, steps);
        }
    }
    let mut steps = Vec::new();
    for at in (0..resources.len()).filter(|at| resources[*at].parent.is_none()) {
        below(at, 0, resources, &mut steps);
    }
    steps
}

fn like(name: &str, by_name: &HashMap<String, usize>) -> String {
    match nearest(name, by_name.keys().map(String::as_str)) {
        Some(known) => format!("did you mean `{known}`?"),
        None => {
            let mut known: Vec<_> = by_name.keys().map(|name| format!("`{name}`")).collect();
            known.sort();
            format!("known are {}", known.join(", "))
        }
    }
}
