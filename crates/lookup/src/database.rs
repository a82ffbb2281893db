//! Which database, as whom, and how the connection is secured.
//!
//! Invariant: the password is shown nowhere: not by `Debug`, not by `Display`, not in an error.

use std::fmt;
use std::io;
use std::path::PathBuf;

use url::Url;

/// The kinds of databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// PostgreSQL, and what speaks its protocol.
    Postgres,
    /// MySQL and MariaDB.
    MySql,
}

impl Engine {
    /// Returns the scheme of its URLs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::MySql => "mysql",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Postgres => 5432,
            Self::MySql => 3306,
        }
    }
}

/// How a connection is secured, in PostgreSQL's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsMode {
    /// In plain text.
    Disable,
    /// Encrypted where the server can; its certificate is not checked.
    #[default]
    Prefer,
    /// Encrypted; the certificate is not checked.
    Require,
    /// Encrypted; the certificate must come from a root that is trusted.
    VerifyCa,
    /// Encrypted; the certificate must come from a root that is trusted, and be the host's.
    VerifyFull,
}

const MODES: [(&str, TlsMode); 5] = [
    ("disable", TlsMode::Disable),
    ("prefer", TlsMode::Prefer),
    ("require", TlsMode::Require),
    ("verify-ca", TlsMode::VerifyCa),
    ("verify-full", TlsMode::VerifyFull),
];

/// A database, and who asks it.
#[derive(Clone, PartialEq, Eq)]
pub struct Database {
    engine: Engine,
    pub(crate) user: String,
    password: Option<String>,
    pub(crate) host: String,
    pub(crate) port: u16,
    name: String,
    /// PostgreSQL: the folder of the socket; MySQL: the socket.
    pub(crate) socket: Option<PathBuf>,
    pub(crate) tls: TlsMode,
    /// A file with the roots that are trusted (PEM); none: the system's.
    pub(crate) roots: Option<PathBuf>,
}

/// Why a database was not asked, or did not answer.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The text is no URL of a database. The text itself may hold a password, and is left out.
    #[error("the database's URL is not understood: {reason}")]
    Url {
        /// What is wrong.
        reason: String,
    },
    /// There is no connection.
    #[error("connect")]
    Connect {
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The connection can't be encrypted as it should be.
    #[error("encrypt the connection: {reason}")]
    Tls {
        /// Why.
        reason: String,
    },
    /// PostgreSQL refused.
    #[error(transparent)]
    Postgres(#[from] tokio_postgres::Error),
    /// MySQL refused.
    #[error("{message} (error {code}, state {state})")]
    Refused {
        /// MySQL's number of the error.
        code: u16,
        /// The SQL state.
        state: String,
        /// What it said.
        message: String,
    },
    /// The server wants a way to log in that weir doesn't have.
    #[error("log in: {reason}")]
    Login {
        /// What is missing, and what to do.
        reason: String,
    },
    /// The connection broke while it was used.
    #[error("the connection broke")]
    Broken {
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The server does not keep to its protocol.
    #[error("the server's answer is not understood: {reason}")]
    Protocol {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A statement that gives no rows, or wants parameters.
    #[error("{reason}")]
    Statement {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A column of a type that has no counterpart.
    #[error("column `{column}` is of the type {found}, which lookups don't have: {hint}")]
    NoType {
        /// The column.
        column: String,
        /// The database's name of its type.
        found: String,
        /// What to write instead.
        hint: String,
    },
    /// A value that its column's type can't hold.
    #[error("row {row}, column `{column}`: {reason}")]
    Value {
        /// The column.
        column: String,
        /// The row, from 1.
        row: u64,
        /// What is wrong, and what to write instead.
        reason: String,
    },
}

impl Database {
    /// Reads `postgres://USER:PASSWORD@HOST:PORT/NAME?sslmode=require`, or the same with `mysql://`. A password apart from
    /// the URL is taken as it is; in the URL it must be percent-encoded.
    ///
    /// Parameters: `sslmode` (see [`TlsMode`]), `sslrootcert` (a file of trusted roots), and `socket`, a Unix socket
    /// (MySQL) or the folder where it is (PostgreSQL, which says `host`).
    ///
    /// # Errors
    /// [`DatabaseError::Url`].
    pub fn parse(text: &str, password: Option<String>) -> Result<Self, DatabaseError> {
        let refused = |reason: String| DatabaseError::Url { reason };
        let hint = "a password with `@`, `/`, `:`, `#` or `?` in it must be percent-encoded, or stand apart: \
                    `password = secret(\"NAME\")`";
        // What the parser says may repeat a part of the text.
        // Without a host there is a socket; a URL with a user must have one.
        let hosted = text.replacen("@/", "@localhost/", 1);
        let url = Url::parse(&hosted)
            .map_err(|error| refused(format!("{error}; write `postgres://USER@HOST/NAME` or `mysql://...`; {hint}")))?;
        let engine = match url.scheme() {
            "postgres" | "postgresql" => Engine::Postgres,
            "mysql" | "mariadb" => Engine::MySql,
            _ => return Err(refused("its scheme is neither `postgres` nor `mysql`".to_owned())),
        };
        if url.fragment().is_some() {
            return Err(refused(format!("it has a `#`: {hint}")));
        }
        let decoded = |text: &str| -> Result<String, DatabaseError> {
            let bytes = percent_decoded(text);
            String::from_utf8(bytes).map_err(|_| refused("a part of it is not UTF-8".to_owned()))
        };
        let user = decoded(url.username())?;
        if user.is_empty() {
            return Err(refused("it names no user: write `//USER@HOST/NAME`".to_owned()));
        }
        if password.is_some() && url.password().is_some() {
            return Err(refused("it has a password, and so has `password`: keep one of the two".to_owned()));
        }
        let name = decoded(url.path().trim_start_matches('/'))?;
        if name.is_empty() || name.contains('/') {
            return Err(refused("it names no database: write `//USER@HOST/NAME`".to_owned()));
        }
        let mut host = decoded(url.host_str().unwrap_or_default())?;
        host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let password = match url.password() {
            Some(password) => Some(decoded(password)?),
            None => password,
        };
        let mut database = Self {
            engine,
            user,
            password,
            port: url.port().unwrap_or(engine.port()),
            name,
            socket: host.starts_with('/').then(|| PathBuf::from(&host)),
            host,
            tls: TlsMode::default(),
            roots: None,
        };
        for (key, value) in url.query_pairs() {
            match &*key {
                "sslmode" | "ssl-mode" => {
                    let known = MODES.iter().find(|(name, _)| *name == value.to_lowercase());
                    database.tls = known.map(|(_, mode)| *mode).ok_or_else(|| {
                        let known = MODES.map(|(name, _)| name).join(", ");
                        refused(format!("`sslmode` is one of {known}"))
                    })?;
                }
                "sslrootcert" | "ssl-ca" => database.roots = Some(PathBuf::from(&*value)),
                "socket" | "host" if value.starts_with('/') => database.socket = Some(PathBuf::from(&*value)),
                _ => {
                    let known = "sslmode, sslrootcert, socket";
                    return Err(refused(format!("its parameter `{key}` is not known; there are {known}")));
                }
            }
        }
        if (database.host.is_empty() || hosted != text) && database.socket.is_none() {
            return Err(refused("it names no host: write `//USER@HOST/NAME`".to_owned()));
        }
        Ok(database)
    }

    /// Returns the kind of database.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Returns the database's name on its server.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the password. Whoever calls this must not show it.
    pub(crate) fn reveal_password(&self) -> &str {
        self.password.as_deref().unwrap_or_default()
    }

    /// Tells whether a text has a password in its URL.
    pub fn has_password(text: &str) -> bool {
        Url::parse(text).is_ok_and(|url| url.password().is_some())
    }
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let hex = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match (byte, hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    decoded
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { engine, user, host, port, name, .. } = self;
        let host = self.socket.as_ref().map_or(host.clone(), |socket| socket.display().to_string());
        match self.socket.is_some() && *engine == Engine::MySql {
            true => write!(f, "{}://{user}@{host}/{name}", engine.name()),
            false => write!(f, "{}://{user}@{host}:{port}/{name}", engine.name()),
        }
    }
}

/// As [`fmt::Display`]: without the password.
impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Database({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Database, DatabaseError> {
        Database::parse(text, None)
    }

    #[test]
    fn urls_are_read_with_their_defaults() {
        let database = parse("postgres://ann:p%40ss%2Fw@db.example/shop?sslmode=verify-full").unwrap();
        assert_eq!((database.engine(), database.port, database.tls), (Engine::Postgres, 5432, TlsMode::VerifyFull));
        assert_eq!((database.user.as_str(), database.reveal_password()), ("ann", "p@ss/w"));
        assert_eq!((database.host.as_str(), database.name()), ("db.example", "shop"));
        let database = parse("mysql://root@localhost:3307/shop?socket=/run/mysqld.sock").unwrap();
        assert_eq!((database.engine(), database.port), (Engine::MySql, 3307));
        assert_eq!(database.socket, Some(PathBuf::from("/run/mysqld.sock")));
        let database = parse("postgresql://ann@/shop?host=/run/pg").unwrap();
        assert_eq!(database.socket, Some(PathBuf::from("/run/pg")));
        assert_eq!(parse("postgres://ann@[::1]/shop").unwrap().host, "::1");
    }

    #[test]
    fn a_password_apart_is_taken_as_it_is_and_shown_nowhere() {
        let database = Database::parse("mysql://ann@db/shop", Some("p@ss%41/#?".to_owned())).unwrap();
        assert_eq!(database.reveal_password(), "p@ss%41/#?");
        for shown in [format!("{database}"), format!("{database:?}")] {
            assert!(shown.contains("mysql://ann@db:3306/shop") && !shown.contains("p@ss"), "{shown}");
        }
        assert!(Database::parse("mysql://ann:x@db/shop", Some("y".to_owned())).is_err());
    }

    #[test]
    fn what_is_no_database_is_refused_without_repeating_a_password() {
        for wrong in [
            "",
            "hunter2",
            "http://ann:hunter2@db/shop",
            "postgres://db/shop",
            "postgres://ann:hunter2@db",
            "postgres://ann:hunter2@db/",
            "postgres://ann:hunter2@/shop",
            "postgres://ann:hunter2@db/shop#hunter2",
            "postgres://ann:hunter2@db/shop?sslmode=maybe",
            "postgres://ann:hunter2@db/shop?application_name=x",
            "postgres://ann:hunter2/x@db/shop",
        ] {
            let error = parse(wrong).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{wrong}: {error}");
        }
    }
}
