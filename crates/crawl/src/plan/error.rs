//! What is wrong with a crawl's words, or with a request that was to be made of them.

/// What is wrong with an `api` or `crawl` block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}`{attribute}`: {problem}", .resource.as_ref().map(|name| format!("resource `{name}`, ")).unwrap_or_default())]
pub struct SpecError {
    /// The resource; none: the crawl itself, or its api.
    pub resource: Option<String>,
    /// The attribute or block, as in HCL.
    pub attribute: &'static str,
    /// What is wrong.
    pub problem: String,
    /// The next step.
    pub hint: Option<String>,
}

/// Why a task can't be called. Trying again would bring the same: the task is a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The crawl was changed since the task was made.
    #[error("crawl has no resource `{resource}` now")]
    UnknownResource {
        /// The task's resource.
        resource: String,
    },
    /// A value isn't there.
    #[error("no value for `{{{placeholder}}}`")]
    NoValue {
        /// The placeholder.
        placeholder: String,
    },
    /// A value can't be filled in where the template has it.
    #[error("`{{{placeholder}}}` in {place} {problem}")]
    BadValue {
        /// The placeholder.
        placeholder: String,
        /// Path, parameter, header or body.
        place: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The place of the page is none of the resource's paginator.
    #[error("resource `{resource}` has another paginator than when the task was made; run the crawl again")]
    ChangedPaginator {
        /// The task's resource.
        resource: String,
    },
    /// The list has more pages than it may have.
    #[error("the list has more than {max} pages; raise `pages_max` if that is so")]
    TooManyPages {
        /// The resource's limit.
        max: u64,
    },
    /// The place of the page leads elsewhere.
    #[error("`{link}` is not on `{origin}`: credentials don't go elsewhere")]
    ForeignLink {
        /// The link.
        link: String,
        /// Scheme, host and port of the base URL.
        origin: String,
    },
    /// What was put together is no URL.
    #[error("`{url}` is no URL: {reason}")]
    Url {
        /// What was put together.
        url: String,
        /// Why.
        reason: String,
    },
}

/// What is wrong with what a run was asked for with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// No such parameter.
    #[error("crawl has no parameter `{name}`{}", hint(.like))]
    UnknownParam {
        /// Its name.
        name: String,
        /// The known name that is most like it.
        like: Option<String>,
    },
    /// No such tenant.
    #[error("crawl has no tenant `{name}`{}", hint(.like))]
    UnknownTenant {
        /// Its name.
        name: String,
        /// The known name that is most like it.
        like: Option<String>,
    },
}

fn hint(like: &Option<String>) -> String {
    like.as_ref().map(|like| format!("; did you mean `{like}`?")).unwrap_or_default()
}
