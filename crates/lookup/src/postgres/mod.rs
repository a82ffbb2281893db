//! PostgreSQL: one query in a read-only transaction, its rows in the binary form.
//!
//! The server sends as fast as rows are taken: `tokio-postgres` holds one message's rows, TCP the rest. Dropping a fetch
//! drops the connection, and the server's own `statement_timeout` ends what it may still be doing.

mod value;

use futures::StreamExt;
use tokio_postgres::config::SslMode;
use tokio_postgres::types::{FromSql, Type};
use tokio_postgres::{Client, Config, Statement};

use crate::columns::Kind;
use crate::database::{Database, DatabaseError, TlsMode};
use crate::error::LoadError;
use crate::rows::Rows;
use crate::source::{Limits, Query};
use crate::tls::{Tls, connect};

use value::Value;

/// A connection, whose other half ends with it.
struct Session {
    client: Client,
    connection: tokio::task::JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Returns the query's columns; the query is not run.
pub(crate) async fn columns(query: &Query, limits: Limits) -> Result<Vec<(String, Kind)>, DatabaseError> {
    let session = Session::open(&query.database, limits).await?;
    Ok(named(&session.prepare(&query.sql).await?.1))
}

/// Runs the query, and returns its rows as the database had them at one moment.
pub(crate) async fn fetch(query: &Query, place: &str, limits: Limits) -> Result<Rows, LoadError> {
    let asked = |source: DatabaseError| LoadError::Database { place: place.to_owned(), source };
    let session = Session::open(&query.database, limits).await.map_err(asked)?;
    let (statement, values) = session.prepare(&query.sql).await.map_err(asked)?;
    let mut rows = Rows::new(place.to_owned(), limits, &named(&values))?;
    let none = std::iter::empty::<String>();
    let found = session.client.query_raw(&statement, none).await.map_err(|error| asked(error.into()))?;
    let mut found = std::pin::pin!(found);
    while let Some(row) = found.next().await {
        let row = row.map_err(|error| asked(error.into()))?;
        let number = rows.row();
        let mut bytes = 0;
        for (index, (value, builder)) in values.iter().zip(&mut rows.builders).enumerate() {
            let raw: Option<Raw<'_>> = row.try_get(index).map_err(|error| asked(error.into()))?;
            bytes += raw.as_ref().map_or(1, |raw| raw.0.len());
            value.decode(raw.map(|raw| raw.0), builder).map_err(|reason| {
                asked(DatabaseError::Value { column: value.column.clone(), row: number, reason: reason.into() })
            })?;
        }
        rows.end_row(bytes)?;
    }
    Ok(rows)
}

fn named(values: &[Value]) -> Vec<(String, Kind)> {
    values.iter().map(|value| (value.column.clone(), value.kind.clone())).collect()
}

impl Session {
    /// Connects, and begins a transaction that reads one state of the database.
    async fn open(database: &Database, limits: Limits) -> Result<Self, DatabaseError> {
        let mut config = Config::new();
        config.user(database.user.as_str()).dbname(database.name()).application_name("weir");
        config.password(database.reveal_password());
        let socket = database.socket.as_ref().map(|folder| folder.join(format!(".s.PGSQL.{}", database.port)));
        // A Unix socket leaves the machine nowhere, and PostgreSQL has no TLS on it.
        let mode = if socket.is_some() { TlsMode::Disable } else { database.tls };
        let stream = connect(database, socket.as_deref()).await?;
        let connection = match mode {
            TlsMode::Disable => {
                config.ssl_mode(SslMode::Disable);
                let (client, connection) = config.connect_raw(stream, tokio_postgres::NoTls).await?;
                (client, tokio::spawn(async move { told(connection.await) }))
            }
            TlsMode::Prefer | TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => {
                config.ssl_mode(if mode == TlsMode::Prefer { SslMode::Prefer } else { SslMode::Require });
                let (client, connection) = config.connect_raw(stream, Tls::new(database)?).await?;
                (client, tokio::spawn(async move { told(connection.await) }))
            }
        };
        let session = Self { client: connection.0, connection: connection.1 };
        let begin = format!(
            "begin transaction isolation level repeatable read read only; set local statement_timeout = {}; \
             set local client_encoding = 'UTF8'",
            limits.timeout.as_millis()
        );
        session.client.batch_execute(&begin).await?;
        Ok(session)
    }

    async fn prepare(&self, sql: &str) -> Result<(Statement, Vec<Value>), DatabaseError> {
        let statement = self.client.prepare(sql).await?;
        if !statement.params().is_empty() {
            let reason = "the query has parameters ($1): a lookup gives none";
            return Err(DatabaseError::Statement { reason });
        }
        if statement.columns().is_empty() {
            return Err(DatabaseError::Statement { reason: "the statement gives no rows: write a `select`" });
        }
        let values = statement.columns().iter().map(Value::of).collect::<Result<_, _>>()?;
        Ok((statement, values))
    }
}

/// Whoever waits for an answer is told by its own error.
fn told(ended: Result<(), tokio_postgres::Error>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to PostgreSQL ended");
    }
}

/// A value as it came.
struct Raw<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}
