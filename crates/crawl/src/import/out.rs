//! What importers gather, and the blocks that come of it.

use std::collections::{BTreeMap, BTreeSet};

use super::hcl::{Block, Expr, Piece};
use super::reader::hinted;
use super::{Imported, SecretName, Unsupported};

/// What is gathered.
pub(super) struct Out {
    /// Of the `api` and the `crawl`.
    pub(super) name: String,
    pub(super) api: Block,
    pub(super) defaults: Option<Block>,
    pub(super) resources: Vec<Resource>,
    pub(super) variables: BTreeMap<String, Block>,
    pub(super) secrets: Vec<SecretName>,
    pub(super) unsupported: Vec<Unsupported>,
}

/// A `resource` block.
pub(super) struct Resource {
    pub(super) name: String,
    pub(super) block: Block,
    /// The table that its items go to.
    pub(super) table: Option<String>,
    pub(super) parents: Vec<String>,
    /// Where it stands in the source.
    pub(super) place: String,
}

impl Out {
    pub(super) fn new(name: &str) -> Self {
        let name = legal(name);
        Self {
            api: Block::named("api", &name),
            name,
            defaults: None,
            resources: Vec::new(),
            variables: BTreeMap::new(),
            secrets: Vec::new(),
            unsupported: Vec::new(),
        }
    }

    /// Names a secret.
    pub(super) fn secret(&mut self, what: &str, holds: impl Into<String>) -> String {
        let upper = |text: &str| {
            text.chars()
                .map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_uppercase() } else { '_' })
                .collect()
        };
        let (owner, what): (String, String) = (upper(&self.name), upper(what));
        let name = format!("{owner}_{}", what.trim_matches('_'));
        if !self.secrets.iter().any(|known| known.name == name) {
            self.secrets.push(SecretName { name: name.clone(), holds: holds.into() });
        }
        name
    }

    pub(super) fn refuse(&mut self, path: impl Into<String>, what: impl Into<String>, hint: &str) {
        self.unsupported.push(Unsupported { path: path.into(), what: what.into(), hint: hinted(hint) });
    }

    /// Writes the blocks: parents before children.
    pub(super) fn finish(mut self) -> Imported {
        self.gather();
        let mut hcl = String::new();
        for block in self.variables.values() {
            block.write(0, &mut hcl);
            hcl.push('\n');
        }
        self.api.write(0, &mut hcl);
        hcl.push('\n');
        let mut crawl = Block::named("crawl", &self.name).with("api", Expr::raw(format!("api.{}", self.name)));
        crawl.blocks.extend(self.defaults);
        let mut tables = BTreeSet::new();
        for resource in ordered(self.resources) {
            let mut block = resource.block;
            if let Some(table) = resource.table {
                block.set("to", Expr::raw(format!("table.{table}")));
                tables.insert(table);
            }
            crawl.blocks.push(block);
        }
        crawl.write(0, &mut hcl);
        for table in tables {
            hcl.push('\n');
            Block::named("table", &table).write(0, &mut hcl);
        }
        Imported { hcl, secrets: self.secrets, unsupported: self.unsupported }
    }
}

impl Out {
    /// Puts all paths behind one base URL. What is on another host is left out with what hangs below it, and named.
    fn gather(&mut self) {
        let Some(base) = self.api.get("base_url").and_then(Expr::literal) else { return self.leave_out() };
        let base = base.trim_end_matches('/').to_owned();
        let host = origin(&base).to_owned();
        for resource in &mut self.resources {
            if let Some(path) = resource.whole().and_then(|url| below(url, &base)).map(str::to_owned) {
                resource.set_start(&path);
            }
        }
        // One that is beside the base, and not below it, moves the base up.
        if self.resources.iter().any(|resource| resource.whole().is_some_and(|url| origin(url) == host)) {
            let prefix = base[host.len()..].to_owned();
            for resource in &mut self.resources {
                match resource.whole().and_then(|url| below(url, &host)).map(str::to_owned) {
                    Some(path) => resource.set_start(&path),
                    None => resource.put_before(&prefix),
                }
            }
            self.api.replace("base_url", Expr::text(host));
        }
        self.leave_out();
    }

    fn leave_out(&mut self) {
        let is_gone = |resource: &Resource, gone: &[String]| {
            resource.whole().is_some() || resource.parents.iter().any(|parent| gone.contains(parent))
        };
        let mut gone: Vec<String> = Vec::new();
        loop {
            let found =
                self.resources.iter().find(|resource| !gone.contains(&resource.name) && is_gone(resource, &gone));
            let Some(found) = found else { break };
            let what = match found.whole() {
                Some(url) => format!("an address on another host, `{}`", origin(url)),
                None => "a resource below one that was left out".to_owned(),
            };
            let (name, place) = (found.name.clone(), found.place.clone());
            self.refuse(place, what, "it is left out: another host needs an `api` and a `crawl` of its own");
            gone.push(name);
        }
        self.resources.retain(|resource| !gone.contains(&resource.name));
    }
}

impl Resource {
    /// The path, if it is a whole URL.
    fn whole(&self) -> Option<&str> {
        let Some(Expr::Text(pieces)) = self.block.get("path") else { return None };
        match pieces.first() {
            Some(Piece::Literal(text)) if is_url(text) => Some(text),
            _ => None,
        }
    }

    /// Sets the path's first piece.
    fn set_start(&mut self, text: &str) {
        if let Some((_, Expr::Text(pieces))) = self.block.attributes.iter_mut().find(|(name, _)| name == "path")
            && let Some(Piece::Literal(first)) = pieces.first_mut()
        {
            *first = if text.is_empty() { "/".to_owned() } else { text.to_owned() };
        }
    }

    /// Puts something before a path that begins with a slash.
    fn put_before(&mut self, prefix: &str) {
        if let Some((_, Expr::Text(pieces))) = self.block.attributes.iter_mut().find(|(name, _)| name == "path")
            && let Some(Piece::Literal(first)) = pieces.first_mut()
            && first.starts_with('/')
        {
            first.insert_str(0, prefix);
        }
    }
}

pub(super) fn is_url(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

/// Scheme, host and port of a URL.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find(['/', '?', '#']).map_or(url.len(), |at| host + at);
    &url[..end]
}

/// What is behind a base, if a URL is below it.
fn below<'a>(url: &'a str, base: &str) -> Option<&'a str> {
    url.strip_prefix(base).filter(|path| path.is_empty() || path.starts_with('/'))
}

/// Returns a path behind the base URL, from its start; a placeholder alone that is called a link is one.
pub(super) fn absolute(path: &str) -> String {
    let lower = path.to_lowercase();
    let is_placeholder = path.starts_with("{resources.") && path.find('}') == Some(path.len() - 1);
    let is_link = is_placeholder && ["url", "uri", "link", "href"].iter().any(|word| lower.contains(word));
    if is_link || is_url(path) || path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

/// Parents first; where that can't be, as it was.
fn ordered(mut rest: Vec<Resource>) -> Vec<Resource> {
    let mut done: Vec<Resource> = Vec::with_capacity(rest.len());
    while !rest.is_empty() {
        let waits = |resource: &Resource| {
            resource
                .parents
                .iter()
                .any(|parent| rest.iter().any(|other| other.name == *parent && *parent != resource.name))
        };
        let at = rest.iter().position(|resource| !waits(resource)).unwrap_or(0);
        done.push(rest.remove(at));
    }
    done
}

/// Returns a name of weir's: letters, digits, `_` and `-`, a letter first, 1 to 128 bytes.
pub(super) fn legal(name: &str) -> String {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    let mut legal: String = name.chars().map(|letter| if fits(letter) { letter } else { '_' }).take(120).collect();
    if !legal.starts_with(|first: char| first.is_ascii_alphabetic()) {
        legal.insert_str(0, "x_");
    }
    legal
}

/// Returns the resources whose fields a text asks for.
pub(super) fn parents(expr: &Expr, found: &mut Vec<String>) {
    match expr {
        Expr::Text(pieces) => {
            for piece in pieces {
                let Piece::Literal(text) = piece else { continue };
                for part in text.split("{resources.").skip(1) {
                    let name = part.split('.').next().unwrap_or_default().to_owned();
                    if !found.contains(&name) {
                        found.push(name);
                    }
                }
            }
        }
        Expr::List(items) | Expr::Call(_, items) => items.iter().for_each(|item| parents(item, found)),
        Expr::Map(entries) => entries.iter().for_each(|(_, value)| parents(value, found)),
        Expr::Raw(_) => {}
    }
}
