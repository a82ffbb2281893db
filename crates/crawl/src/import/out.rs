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
    pub(super) fn finish(self) -> Imported {
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
