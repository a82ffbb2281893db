//! From words to a plan, or all that is wrong with them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use weir_types::nearest;

use super::resource::{Body, Carried, Child, Compiled, Need, PathTemplate, Source};
use super::tree::{FieldNeed, Needs, TreeError, parents};
use super::{Base, Output, Plan, SpecError, Step, TenantRule};
use crate::incremental::Cursor;
use crate::page::Pager;
use crate::path::Path;
use crate::select::Selector;
use crate::spec::{Auth, Client, Crawl, KeyLocation, Paginator, Resource, WriteDisposition};
use crate::template::{Braces, Field, Slot, Template};

/// Headers that a resource can't set.
const RESERVED: [&str; 6] = ["host", "content-length", "transfer-encoding", "connection", "te", "upgrade"];

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

/// The longest name of a resource, in bytes: it stands in each task.
const NAME_MAX: usize = 64;

fn tenant_template(text: &str, by_name: &HashMap<String, usize>, errors: &mut Errors) -> Option<Template> {
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

fn tenants(crawl: &Crawl, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for tenant in &crawl.tenants {
        if tenant.name.is_empty() || tenant.name.len() > super::children::TENANT_MAX {
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

fn params(crawl: &Crawl, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (name, _) in &crawl.params {
        if !seen.insert(name) {
            errors.crawl("params", format!("`{name}` is there twice"), "name each parameter once");
        }
    }
}

/// Finds the resource whose items name the tenant, and lets its tasks carry what the template needs from above.
fn tenant_rule(
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

fn ancestors(at: usize, resources: &[Compiled]) -> Vec<usize> {
    std::iter::successors(resources[at].parent, |above| resources[*above].parent).collect()
}

fn need(needs: &mut Needs, field: &Field, resource: usize, need: Need) {
    let known = needs.entry(field.key.clone()).or_insert_with(|| FieldNeed { field: field.clone(), resource, need });
    known.need = known.need.max(need);
}

/// Compiles `include_from_parent`, now that it is known who the parent is.
fn includes(crawl: &Crawl, resources: &mut [Compiled], needs: &mut [Needs], errors: &mut Errors) {
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

/// Checks that tenants have the values that templates ask them for.
fn tenant_values(crawl: &Crawl, resources: &[Compiled], rule: Option<&TenantRule>, errors: &mut Errors) {
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

/// Finds what each task has to carry: what its own templates name, and what those below it do.
fn carry(resources: &mut [Compiled], needs: &[Needs]) {
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

/// One resource's words, being compiled.
struct At<'a> {
    spec: &'a Resource,
    crawl: &'a Crawl,
    by_name: &'a HashMap<String, usize>,
    needs: Needs,
    errors: &'a mut Errors,
}

impl At<'_> {
    fn error(&mut self, attribute: &'static str, problem: String, hint: Option<&str>) {
        self.errors.resource(&self.spec.name, attribute, problem, hint.map(str::to_owned));
    }

    fn resource(&mut self, client: &Client) -> Option<Compiled> {
        let spec = self.spec;
        self.limits();
        self.keys();
        let path = self.path();
        let params = self.templates("params", &spec.params);
        let headers = self.headers();
        let body = self.body();
        let selector = self.selector(path.as_ref());
        let pager = self.pager(path.as_ref(), client);
        let cursor = self.incremental(path.as_ref(), &params, &headers, body.as_ref());
        let output = Output {
            resource: spec.name.clone(),
            primary_key: spec.primary_key.clone(),
            write_disposition: spec.write_disposition,
            from_parent: Vec::new(),
            cursor: cursor.as_ref().map(|cursor| cursor.path.text().to_owned()),
        };
        Some(Compiled {
            name: spec.name.clone(),
            parent: None,
            method: spec.method,
            path: path?,
            params,
            headers,
            body,
            selector: selector?,
            pager: pager?,
            include: Vec::new(),
            cursor,
            actions: spec.response_actions.clone(),
            attempts: spec.attempts,
            pages_max: spec.pages_max,
            children: Vec::new(),
            output,
        })
    }

    fn limits(&mut self) {
        if self.spec.attempts == 0 {
            self.error("attempts", "is 0: no task would be called".to_owned(), Some("use 1 or more"));
        }
        if self.spec.pages_max == 0 {
            self.error("pages_max", "is 0: no page would be called".to_owned(), Some("use 1 or more"));
        }
        for action in &self.spec.response_actions {
            if action.status_code.is_none() && action.content.as_deref().is_none_or(str::is_empty) {
                let hint = "say `status_code`, `content`, or both";
                self.error("response_action", "one of them would fit all answers".to_owned(), Some(hint));
            }
        }
    }

    fn keys(&mut self) {
        let spec = self.spec;
        if spec.primary_key.iter().any(String::is_empty) {
            self.error("primary_key", "has an empty name".to_owned(), Some("name fields of the items"));
        }
        if spec.write_disposition == WriteDisposition::Merge && spec.primary_key.is_empty() {
            let hint = "add `primary_key = [\"FIELD\"]`: rows that have it in common replace each other";
            self.error("write_disposition", "`merge` needs a primary key".to_owned(), Some(hint));
        }
        if spec.write_disposition == WriteDisposition::Replace && spec.incremental.is_some() {
            let hint = "use `merge` or `append`: with `replace`, all that is not new would be gone after each run";
            self.error("write_disposition", "`replace` does not go with `incremental`".to_owned(), Some(hint));
        }
    }

    fn path(&mut self) -> Option<PathTemplate> {
        let text = &self.spec.path;
        if text.starts_with("http://") || text.starts_with("https://") || text.starts_with("//") {
            let hint = "write what is behind the api's `base_url`; another host is another `api`";
            self.error("path", format!("`{text}` is a whole URL"), Some(hint));
            return None;
        }
        let path = match PathTemplate::parse(text) {
            Ok(path) => path,
            Err(problem) => {
                self.error("path", problem, None);
                return None;
            }
        };
        let slots: Vec<Slot> = path.slots().cloned().collect();
        self.slots("path", &slots, Need::Segment);
        let slots: Vec<Slot> = path.query.iter().flat_map(|(_, template)| template.slots().cloned()).collect();
        self.slots("path", &slots, Need::Text);
        Some(path)
    }

    fn templates(&mut self, attribute: &'static str, pairs: &[(String, String)]) -> Vec<(String, Template)> {
        let mut compiled = Vec::new();
        for (name, text) in pairs {
            match Template::parse(text, Braces::Refused) {
                Ok(template) => {
                    let slots: Vec<Slot> = template.slots().cloned().collect();
                    self.slots(attribute, &slots, Need::Text);
                    compiled.push((name.clone(), template));
                }
                Err(problem) => self.error(attribute, format!("`{name}`: {problem}"), None),
            }
        }
        compiled
    }

    fn headers(&mut self) -> Vec<(String, Template)> {
        let spec = self.spec;
        for (name, text) in &spec.headers {
            let lower = name.to_ascii_lowercase();
            if !is_token(name) {
                self.error("headers", format!("`{name}` is no header's name"), None);
            } else if lower == "authorization" || lower == "cookie" {
                let hint = "use the api's `auth`, or its `headers` with `secret(NAME)`";
                self.error("headers", format!("`{name}` shows who calls, and is the api's"), Some(hint));
            } else if RESERVED.contains(&lower.as_str()) {
                self.error("headers", format!("`{name}` is set by the connection"), Some("leave it out"));
            }
            if text.contains(|c: char| c.is_control() && c != '\t') {
                self.error("headers", format!("`{name}` has a control character in its value"), None);
            }
        }
        self.templates("headers", &spec.headers)
    }

    fn body(&mut self) -> Option<Body> {
        let body = match Body::parse(self.spec.body.as_ref()?) {
            Ok(body) => body,
            Err(problem) => {
                self.error("body", problem, None);
                return None;
            }
        };
        let slots: Vec<(Slot, Need)> = body.slots().into_iter().map(|(slot, need)| (slot.clone(), need)).collect();
        for (slot, need) in slots {
            self.slots("body", &[slot], need);
        }
        Some(body)
    }

    /// Checks placeholders, and notes the fields that they need.
    fn slots(&mut self, attribute: &'static str, slots: &[Slot], wanted: Need) {
        for slot in slots {
            let written = format!("`{{{}}}`", slot.name());
            match slot {
                Slot::Field(field) => match self.by_name.get(&field.resource) {
                    Some(at) => need(&mut self.needs, field, *at, wanted),
                    None => {
                        let hint = like(&field.resource, self.by_name);
                        self.error(
                            attribute,
                            format!("{written}: there is no resource `{}`", field.resource),
                            Some(&hint),
                        );
                    }
                },
                Slot::Param(name) if !self.crawl.params.iter().any(|(known, _)| known == name) => {
                    let known = nearest(name, self.crawl.params.iter().map(|(known, _)| known.as_str()));
                    let hint = match known {
                        Some(known) => format!("did you mean `{{params.{known}}}`?"),
                        None => format!("add `params = {{ {name} = \"...\" }}` to the crawl"),
                    };
                    self.error(attribute, format!("{written}: the crawl has no such parameter"), Some(&hint));
                }
                Slot::Start | Slot::End if self.spec.incremental.is_none() => {
                    let hint = "add `incremental { cursor_path = \"FIELD\"  initial_value = ... }`";
                    self.error(attribute, format!("{written}: the resource is not incremental"), Some(hint));
                }
                Slot::Param(_) | Slot::Tenant(_) | Slot::Start | Slot::End => {}
            }
        }
    }

    fn selector(&mut self, path: Option<&PathTemplate>) -> Option<Selector> {
        match &self.spec.data_selector {
            Some(text) => match Path::parse(text) {
                Ok(path) => Some(Selector::Path(path)),
                Err(problem) => {
                    let hint = "write JSONPath, such as `items` or `$.data.rows[*]`";
                    self.error("data_selector", format!("`{text}` {problem}"), Some(hint));
                    None
                }
            },
            None => Some(if path.is_some_and(is_single) { Selector::Whole } else { Selector::Find }),
        }
    }

    fn pager(&mut self, path: Option<&PathTemplate>, client: &Client) -> Option<Pager> {
        let spec = match &self.spec.paginator {
            Some(paginator) => paginator,
            None if path.is_some_and(is_single) => &Paginator::SinglePage,
            None => client.paginator.as_ref().unwrap_or(&Paginator::Auto),
        };
        match Pager::compile(spec) {
            Ok(pager) => Some(pager),
            Err(problem) => {
                self.error("paginator", problem, None);
                None
            }
        }
    }

    fn incremental(
        &mut self,
        path: Option<&PathTemplate>,
        params: &[(String, Template)],
        headers: &[(String, Template)],
        body: Option<&Body>,
    ) -> Option<Cursor> {
        let spec = self.spec.incremental.as_ref()?;
        let in_path =
            path.into_iter().flat_map(|path| path.slots().chain(path.query.iter().flat_map(|(_, t)| t.slots())));
        let in_pairs = params.iter().chain(headers).flat_map(|(_, template)| template.slots());
        let in_body = body.into_iter().flat_map(Body::slots).map(|(slot, _)| slot);
        let slots: Vec<&Slot> = in_path.chain(in_pairs).chain(in_body).collect();
        let ends = slots.iter().any(|slot| matches!(slot, Slot::End));
        let starts = slots.iter().any(|slot| matches!(slot, Slot::Start));
        if !starts && spec.start_param.is_none() && !spec.drop_old {
            let hint = "say `start_param`, use `{incremental.start_value}`, or let `drop_old = true`";
            self.error("incremental", "the vendor is never told where to begin".to_owned(), Some(hint));
        }
        match Cursor::compile(spec, ends) {
            Ok(cursor) => Some(cursor),
            Err(problem) => {
                self.error("incremental", problem, None);
                None
            }
        }
    }
}

impl Compiled {
    /// Returns all placeholders.
    fn slots(&self) -> impl Iterator<Item = (&Slot, Need)> {
        let path = self.path.slots().map(|slot| (slot, Need::Segment));
        let texts = self.path.query.iter().chain(&self.params).chain(&self.headers);
        let texts = texts.flat_map(|(_, template)| template.slots()).map(|slot| (slot, Need::Text));
        path.chain(texts).chain(self.body.iter().flat_map(Body::slots))
    }
}

/// Whether a path ends in a placeholder: then the answer is one object, as dlt has it.
fn is_single(path: &PathTemplate) -> bool {
    let last = path.segments.iter().rev().find(|segment| !segment.parts.is_empty());
    last.is_some_and(|segment| segment.slots().any(|slot| matches!(slot, Slot::Field(_))))
}

/// Whether a text is a header's name, RFC 9110 section 5.6.2.
fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
