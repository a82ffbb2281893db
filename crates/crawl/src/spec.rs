//! What the `api` and `crawl` blocks say, in dlt's `rest_api` words.
//!
//! Texts with `{...}` are templates, kept as written; [`crate`]'s compiled form checks them.

use std::time::Duration;

use serde_json::Value;
use url::Url;
use weir_types::Secret;

use crate::Method;

/// How a client shows who it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Auth {
    /// It does not.
    #[default]
    None,
    /// `Authorization: Bearer TOKEN`.
    Bearer(Secret),
    /// A key in a place of the vendor's choice.
    ApiKey {
        /// The header's, parameter's or cookie's name.
        name: String,
        /// The key.
        key: Secret,
        /// Where it goes.
        location: KeyLocation,
    },
    /// HTTP's basic authentication, RFC 7617.
    Basic {
        /// The user's name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// OAuth 2.0's client credentials grant, RFC 6749 section 4.4: a token is fetched, kept until shortly before it
    /// expires, and fetched anew when it is refused with 401.
    ClientCredentials {
        /// Where tokens are asked for.
        token_url: Url,
        /// The client's id.
        client_id: String,
        /// Its secret.
        client_secret: Secret,
        /// Scopes that are asked for.
        scopes: Vec<String>,
        /// Further parameters of the request, such as `audience`.
        params: Vec<(String, String)>,
        /// Whether id and secret go into the body, and not into basic authentication.
        in_body: bool,
    },
}

/// Where an API key goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyLocation {
    /// A header.
    Header,
    /// A parameter of the query; never shown in errors and recordings.
    Query,
    /// A cookie.
    Cookie,
}

/// How long a call may take if nothing is said.
pub const TIMEOUT: Duration = Duration::from_secs(30);
/// How large an answer may be if nothing is said, in bytes.
pub const ANSWER_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How often a task is tried if nothing is said.
pub const ATTEMPTS: u32 = 8;
/// How many pages a list may have if nothing is said.
pub const PAGES_MAX: u64 = 10_000;

/// An `api` block, without its budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// What paths are put behind.
    pub base_url: Url,
    /// Headers of each request; values may hold secrets.
    pub headers: Vec<(String, Secret)>,
    /// How it shows who it is.
    pub auth: Auth,
    /// The paginator of resources that name none.
    pub paginator: Option<Paginator>,
    /// How long a call may take, from connecting to the last byte.
    pub timeout: Duration,
    /// The largest answer, in bytes, after decompression.
    pub answer_bytes_max: u64,
}

impl Client {
    /// A client of which only the place is known.
    pub fn new(base_url: Url) -> Self {
        Self {
            base_url,
            headers: Vec::new(),
            auth: Auth::None,
            paginator: None,
            timeout: TIMEOUT,
            answer_bytes_max: ANSWER_BYTES_MAX,
        }
    }
}

/// How a list goes on. The names and defaults are dlt's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Paginator {
    /// One of those below is found by looking at the first answer.
    Auto,
    /// One page.
    SinglePage,
    /// The link `rel="next"` of the `Link` header, RFC 8288.
    HeaderLink {
        /// The relation; `next`.
        rel: String,
    },
    /// A URL in the body.
    JsonLink {
        /// JSONPath of it; `next`.
        next_url_path: String,
    },
    /// A cursor in the body (or a header), sent back as a parameter or in the body.
    Cursor {
        /// JSONPath of it; `cursors.next`.
        cursor_path: Option<String>,
        /// A header that has it instead.
        cursor_header: Option<String>,
        /// The parameter that it is sent back in; `cursor`.
        cursor_param: Option<String>,
        /// JSONPath in the body that it is sent back in.
        cursor_body_path: Option<String>,
        /// JSONPath of a flag that says whether there is more.
        has_more_path: Option<String>,
    },
    /// So many items are passed over.
    Offset {
        /// Items of a page.
        limit: u64,
        /// The first offset; 0.
        offset: u64,
        /// Its parameter; `offset`.
        offset_param: String,
        /// The limit's; `limit`.
        limit_param: String,
        /// JSONPath of how many there are; `total`. Where there is none, the list goes on until a page is empty.
        total_path: Option<String>,
        /// No offset from this one on is asked for.
        maximum_offset: Option<u64>,
        /// Whether an empty page is the last, whatever the total says.
        stop_after_empty_page: bool,
    },
    /// Pages are numbered.
    PageNumber {
        /// The first page; 0.
        base_page: u64,
        /// Its parameter; `page`.
        page_param: String,
        /// JSONPath of how many pages there are; `total`.
        total_path: Option<String>,
        /// No page from this one on is asked for.
        maximum_page: Option<u64>,
        /// Whether an empty page is the last.
        stop_after_empty_page: bool,
    },
}

/// What becomes of the rows that earlier runs brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WriteDisposition {
    /// They stay.
    #[default]
    Append,
    /// They go, all at once, when the run is complete.
    Replace,
    /// Those with a primary key that comes again are replaced.
    Merge,
}

/// Only what is new since the last run.
#[derive(Debug, Clone, PartialEq)]
pub struct Incremental {
    /// JSONPath, in an item, of what grows.
    pub cursor_path: String,
    /// The parameter that says from where; none: a template uses `{incremental.start_value}`.
    pub start_param: Option<String>,
    /// The parameter that says up to where.
    pub end_param: Option<String>,
    /// Where the first run begins.
    pub initial_value: Value,
    /// How far each run goes back behind the largest value that was seen: seconds for times, units for numbers.
    pub lag: Option<f64>,
    /// Whether items below the start are dropped where the vendor sends them nevertheless.
    pub drop_old: bool,
}

/// What becomes of certain answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseAction {
    /// Answers with this status.
    pub status_code: Option<u16>,
    /// Answers whose body holds this text.
    pub content: Option<String>,
    /// What becomes of them.
    pub action: Action,
}

/// What becomes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The task is done, without items.
    Ignore,
    /// The task is a dead letter at once.
    Fail,
    /// The task is tried again, and an attempt used up.
    Retry,
    /// It is taken as 429.
    Throttle,
}

/// A `resource` block: one kind of call.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// Its name.
    pub name: String,
    /// Behind the base URL, with `{resources.NAME.FIELD}`, `{tenant.NAME}`, `{params.NAME}`, `{incremental.start_value}`.
    pub path: String,
    /// The method.
    pub method: Method,
    /// Parameters of the query; values may be templates.
    pub params: Vec<(String, String)>,
    /// Headers; values may be templates.
    pub headers: Vec<(String, String)>,
    /// A JSON body, in whose texts templates are filled in.
    pub body: Option<Value>,
    /// JSONPath of the items; none: the answer itself where it is a list or the path ends in a placeholder, else found by
    /// looking (a list of a name that records go by, else its one list).
    pub data_selector: Option<String>,
    /// How its list goes on; none: the client's, else found by looking.
    pub paginator: Option<Paginator>,
    /// Fields of the parent's item that each item gets, as `_PARENT_FIELD`.
    pub include_from_parent: Vec<String>,
    /// What tells items apart.
    pub primary_key: Vec<String>,
    /// What becomes of earlier rows.
    pub write_disposition: WriteDisposition,
    /// Only what is new.
    pub incremental: Option<Incremental>,
    /// What becomes of certain answers.
    pub response_actions: Vec<ResponseAction>,
    /// How often a task is tried before it is a dead letter.
    pub attempts: u32,
    /// The most pages of one list; a vendor whose pages never end is stopped there, as a failure.
    pub pages_max: u64,
}

impl Resource {
    /// A resource of which only the path is known: a GET, its items and pages found by looking.
    pub fn new(name: impl Into<String>, path: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            path: path.into(),
            method: Method::Get,
            params: Vec::new(),
            headers: Vec::new(),
            body: None,
            data_selector: None,
            paginator: None,
            include_from_parent: Vec::new(),
            primary_key: Vec::new(),
            write_disposition: WriteDisposition::Append,
            incremental: None,
            response_actions: Vec::new(),
            attempts: ATTEMPTS,
            pages_max: PAGES_MAX,
        }
    }
}

/// A tenant of a crawl: a share of the budget, and values for templates.
#[derive(Debug, Clone, PartialEq)]
pub struct Tenant {
    /// Its name.
    pub name: String,
    /// Its share.
    pub weight: u32,
    /// Values for `{tenant.NAME}`, beside `{tenant.name}`.
    pub params: Vec<(String, String)>,
}

/// A `crawl` block: resources that depend on each other.
#[derive(Debug, Clone, PartialEq)]
pub struct Crawl {
    /// Its name.
    pub name: String,
    /// Its resources, parents before children.
    pub resources: Vec<Resource>,
    /// Its tenants; none: one without a name.
    pub tenants: Vec<Tenant>,
    /// A template over items that names the tenant of what hangs below, such as `{resources.group.customer}`.
    pub tenant: Option<String>,
    /// Values for `{params.NAME}`, which a run may set otherwise.
    pub params: Vec<(String, String)>,
}

impl Crawl {
    /// A crawl without tenants and parameters.
    pub fn new(name: impl Into<String>, resources: Vec<Resource>) -> Self {
        Self { name: name.into(), resources, tenants: Vec::new(), tenant: None, params: Vec::new() }
    }
}
