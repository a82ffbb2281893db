//! Sources of other tools, as weir's blocks: dlt's `rest_api` configuration and Airbyte's declarative manifests.
//!
//! Pure: a text in, a text of HCL out, with a list of what could not be taken over. Invariants: nothing is dropped in silence, each
//! attribute that is not understood is named with its path; and no secret is taken over, its place is taken by `secret("NAME")`,
//! whatever stood there.
//!
//! ```
//! let imported = weir_crawl::import::dlt(r#"{
//!     "client": {"base_url": "https://api.example.com/", "auth": {"token": "s3cr3t"}},
//!     "resources": ["posts", {"name": "comments", "endpoint": "posts/{resources.posts.id}/comments"}]
//! }"#, "blog")?;
//! assert!(imported.hcl.contains(r#"auth     = bearer(secret("BLOG_TOKEN"))"#));
//! assert!(imported.unsupported.is_empty());
//! # Ok::<(), weir_crawl::import::ImportError>(())
//! ```

mod airbyte;
mod dlt;
mod hcl;
mod out;
mod reader;

pub use airbyte::airbyte;
pub use dlt::dlt;

/// The largest text that is read, in bytes.
pub const TEXT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What came of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The blocks: `variable`, `api`, `crawl` and `table`.
    pub hcl: String,
    /// The secrets that the blocks name, to be set in the environment as `WEIR_SECRET_NAME`.
    pub secrets: Vec<SecretName>,
    /// What could not be taken over.
    pub unsupported: Vec<Unsupported>,
}

/// A secret by name, and what it has to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretName {
    /// The name.
    pub name: String,
    /// What it stands for in the text that was read.
    pub holds: String,
}

/// Something that could not be taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsupported {
    /// Where it stands, such as `resources[2].endpoint.data`.
    pub path: String,
    /// What it is.
    pub what: String,
    /// What to do instead, if there is something.
    pub hint: Option<String>,
}

/// Why a text is no source.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It is too large.
    #[error("the text has more than {TEXT_BYTES_MAX} bytes")]
    TooLarge,
    /// It is no JSON.
    #[error("the text is no JSON")]
    Json(#[source] serde_json::Error),
    /// It is no YAML.
    #[error("the text is no YAML: {0}")]
    Yaml(String),
    /// It is something else.
    #[error("this is no {kind}: {problem}")]
    Shape {
        /// What was looked for.
        kind: &'static str,
        /// What is wrong.
        problem: String,
    },
}

impl std::fmt::Display for Unsupported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.what)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}
