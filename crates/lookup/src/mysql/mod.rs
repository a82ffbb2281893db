//! MySQL and MariaDB: one query in a read-only transaction, its rows in the binary form.
//!
//! ```text
//! greeting --> (TLS) --> log in --> session --> prepare --> execute --> columns, rows..., end
//! login.rs                          here                               packet.rs, column.rs, value.rs
//! ```
//!
//! A client of our own, for what a lookup needs: one statement, no parameters, one result (MySQL's internals manual,
//! "Client/Server Protocol"). The server sends as fast as packets are read; one packet is held, and TCP holds the rest.

mod column;
mod login;
mod packet;
#[cfg(test)]
mod tests;
mod value;

use crate::columns::Kind;
use crate::database::{Database, DatabaseError};
use crate::error::LoadError;
use crate::rows::Rows;
use crate::source::{Limits, Query};
use crate::tls::connect;

use column::Column;
use packet::{Packets, Reader};

const QUERY: u8 = 0x03;
const PREPARE: u8 = 0x16;
const EXECUTE: u8 = 0x17;

/// A connection that is logged in.
struct Session {
    packets: Packets,
    version: String,
}

/// A prepared statement.
struct Statement {
    id: u32,
    columns: Vec<Column>,
}

/// Returns the query's columns; the query is not run.
pub(crate) async fn columns(query: &Query, limits: Limits) -> Result<Vec<(String, Kind)>, DatabaseError> {
    let mut session = Session::open(&query.database, limits).await?;
    Ok(named(&session.prepare(&query.sql).await?.columns))
}

/// Runs the query, and returns its rows as the database had them at one moment.
pub(crate) async fn fetch(query: &Query, place: &str, limits: Limits) -> Result<Rows, LoadError> {
    let asked = |source: DatabaseError| LoadError::Database { place: place.to_owned(), source };
    let mut session = Session::open(&query.database, limits).await.map_err(asked)?;
    let statement = session.prepare(&query.sql).await.map_err(asked)?;
    let columns = session.execute(&statement).await.map_err(asked)?;
    let mut rows = Rows::new(place.to_owned(), limits, &named(&columns))?;
    let mut zero_dates = 0_u64;
    loop {
        let packet = session.packets.read().await.map_err(asked)?;
        if is_end(packet) {
            break;
        }
        let bytes = packet.len();
        value::row(packet, &columns, &mut rows, &mut zero_dates).map_err(asked)?;
        rows.end_row(bytes)?;
    }
    if zero_dates > 0 {
        tracing::info!(place, zero_dates, "zero dates (0000-00-00) of MySQL are null");
    }
    Ok(rows)
}

fn named(columns: &[Column]) -> Vec<(String, Kind)> {
    columns.iter().map(|column| (column.name.clone(), column.kind.clone())).collect()
}

/// Tells whether a packet ends a list of columns or rows.
fn is_end(packet: &[u8]) -> bool {
    packet.first() == Some(&0xfe) && packet.len() < 9
}

impl Session {
    async fn open(database: &Database, limits: Limits) -> Result<Self, DatabaseError> {
        let stream = connect(database, database.socket.as_deref()).await?;
        let (packets, version) = login::log_in(stream, database, limits.bytes_max).await?;
        let mut session = Self { packets, version };
        session.run("set names utf8mb4").await?;
        // Instants come in UTC then.
        session.run("set session time_zone = '+00:00'").await?;
        let milliseconds = limits.timeout.as_millis();
        let limit = match session.version.contains("MariaDB") {
            true => format!("set session max_statement_time = {}.{:03}", milliseconds / 1000, milliseconds % 1000),
            false => format!("set session max_execution_time = {milliseconds}"),
        };
        match session.run(&limit).await {
            // Old servers, and proxies, don't know it; the timeout on our side holds in any case.
            Err(DatabaseError::Refused { message, .. }) => tracing::debug!(message, "no statement timeout"),
            other => other?,
        }
        session.run("set session transaction isolation level repeatable read").await?;
        session.run("start transaction with consistent snapshot, read only").await?;
        Ok(session)
    }

    /// Runs a statement without rows.
    async fn run(&mut self, sql: &str) -> Result<(), DatabaseError> {
        self.packets.command(QUERY, sql.as_bytes()).await?;
        match self.packets.read().await?.first() {
            Some(0x00) => Ok(()),
            _ => Err(DatabaseError::Protocol { reason: "a statement without rows was answered by some" }),
        }
    }

    async fn prepare(&mut self, sql: &str) -> Result<Statement, DatabaseError> {
        self.packets.command(PREPARE, sql.as_bytes()).await?;
        let mut answer = Reader(self.packets.read().await?);
        if answer.byte()? != 0 {
            return Err(DatabaseError::Protocol { reason: "a statement was prepared, and not confirmed" });
        }
        let id = u32::from_le_bytes(answer.array()?);
        let columns = u16::from_le_bytes(answer.array()?);
        let parameters = u16::from_le_bytes(answer.array()?);
        if parameters > 0 {
            let reason = "the query has parameters (`?`): a lookup gives none";
            return Err(DatabaseError::Statement { reason });
        }
        if columns == 0 {
            return Err(DatabaseError::Statement { reason: "the statement gives no rows: write a `select`" });
        }
        Ok(Statement { id, columns: self.columns(columns.into()).await? })
    }

    /// Begins to run a statement, and returns the columns of its rows, which come next.
    async fn execute(&mut self, statement: &Statement) -> Result<Vec<Column>, DatabaseError> {
        let mut body = statement.id.to_le_bytes().to_vec();
        // No cursor: the server would keep all rows until they are asked for.
        body.push(0);
        body.extend_from_slice(&1_u32.to_le_bytes());
        self.packets.command(EXECUTE, &body).await?;
        let columns = Reader(self.packets.read().await?).length()?;
        if columns == 0 {
            return Err(DatabaseError::Statement { reason: "the statement gives no rows: write a `select`" });
        }
        self.columns(columns).await
    }

    async fn columns(&mut self, count: u64) -> Result<Vec<Column>, DatabaseError> {
        let mut columns = Vec::new();
        for _ in 0..count {
            columns.push(Column::read(self.packets.read().await?)?);
        }
        match is_end(self.packets.read().await?) {
            true => Ok(columns),
            false => Err(DatabaseError::Protocol { reason: "columns without an end" }),
        }
    }
}
