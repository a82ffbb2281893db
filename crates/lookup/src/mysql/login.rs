//! The greeting, TLS, and the ways to log in: `caching_sha2_password` and `mysql_native_password`.
//!
//! Invariant: a password goes over the wire only as a proof that is good for this greeting alone, or in plain text inside of
//! TLS or a Unix socket.

use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::packet::{Packets, Reader};
use crate::database::{Database, DatabaseError, TlsMode};
use crate::tls::{Stream, Tls};

const LONG_PASSWORD: u32 = 1;
const LONG_FLAG: u32 = 1 << 2;
const CONNECT_WITH_DATABASE: u32 = 1 << 3;
const PROTOCOL_41: u32 = 1 << 9;
const SSL: u32 = 1 << 11;
const TRANSACTIONS: u32 = 1 << 13;
const SECURE_CONNECTION: u32 = 1 << 15;
const PLUGIN_AUTH: u32 = 1 << 19;
const NEEDED: u32 = PROTOCOL_41 | SECURE_CONNECTION | PLUGIN_AUTH;

/// `utf8mb4_general_ci`, which every server knows.
const CHARSET: u8 = 45;
/// The largest packet that we say to take.
const PACKET_MAX: u32 = 1 << 30;

const NATIVE: &str = "mysql_native_password";
const CACHING: &str = "caching_sha2_password";

/// Steps of a login that a server may ask for; a usual one takes three.
const STEPS_MAX: usize = 8;

/// What the server says first.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Greeting {
    pub(super) version: String,
    pub(super) capabilities: u32,
    pub(super) nonce: Vec<u8>,
    pub(super) plugin: String,
}

impl Greeting {
    pub(super) fn read(payload: &[u8]) -> Result<Self, DatabaseError> {
        let mut reader = Reader(payload);
        if reader.byte()? != 10 {
            return Err(DatabaseError::Protocol { reason: "its greeting is not MySQL's" });
        }
        let version = String::from_utf8_lossy(reader.until_zero()).into_owned();
        reader.bytes(4)?;
        let mut nonce = reader.bytes(8)?.to_vec();
        reader.byte()?;
        let low = u16::from_le_bytes(reader.array()?);
        reader.bytes(3)?;
        let high = u16::from_le_bytes(reader.array()?);
        let length = usize::from(reader.byte()?);
        reader.bytes(10)?;
        let rest = reader.bytes(length.saturating_sub(8).max(13))?;
        nonce.extend_from_slice(rest);
        let nonce = trimmed(&nonce).to_vec();
        let plugin = String::from_utf8_lossy(reader.until_zero()).into_owned();
        Ok(Self { version, capabilities: u32::from(high) << 16 | u32::from(low), nonce, plugin })
    }
}

/// A nonce is 20 bytes, and a zero behind them.
fn trimmed(nonce: &[u8]) -> &[u8] {
    nonce.strip_suffix(&[0]).unwrap_or(nonce)
}

/// Logs in, and returns the connection with the server's version.
pub(super) async fn log_in(
    stream: Stream,
    database: &Database,
    payload_max: u64,
) -> Result<(Packets, String), DatabaseError> {
    let mut packets = Packets::new(stream, payload_max);
    let greeting = Greeting::read(packets.read().await?)?;
    if greeting.capabilities & NEEDED != NEEDED {
        return Err(DatabaseError::Login { reason: "the server is older than MySQL 5.5".to_owned() });
    }
    let mut capabilities =
        NEEDED | LONG_PASSWORD | LONG_FLAG | CONNECT_WITH_DATABASE | (TRANSACTIONS & greeting.capabilities);
    let local = database.socket.is_some();
    let secure = match database.tls {
        TlsMode::Disable => false,
        // It does not leave the machine.
        _ if local => false,
        TlsMode::Prefer => greeting.capabilities & SSL != 0,
        TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => {
            if greeting.capabilities & SSL == 0 {
                return Err(DatabaseError::Tls { reason: "the server has no TLS".to_owned() });
            }
            true
        }
    };
    if secure {
        capabilities |= SSL;
        packets.write(&head(capabilities)).await?;
        let (stream, sequence) = packets.into_plain()?;
        let secured = Tls::new(database)?.secure(stream).await;
        let secured = secured.map_err(|error| DatabaseError::Tls { reason: error.to_string() })?;
        packets = Packets::new(Stream::new(secured), payload_max).counting_from(sequence);
    }
    let plugin = if greeting.plugin == CACHING { CACHING } else { NATIVE };
    packets.write(&response(capabilities, database, plugin, &greeting.nonce)?).await?;
    prove(&mut packets, database, plugin, secure || local).await?;
    Ok((packets, greeting.version))
}

/// What a request for TLS and a response begin with.
fn head(capabilities: u32) -> Vec<u8> {
    let mut payload = capabilities.to_le_bytes().to_vec();
    payload.extend_from_slice(&PACKET_MAX.to_le_bytes());
    payload.push(CHARSET);
    payload.extend_from_slice(&[0; 23]);
    payload
}

fn response(capabilities: u32, database: &Database, plugin: &str, nonce: &[u8]) -> Result<Vec<u8>, DatabaseError> {
    let mut payload = head(capabilities);
    let text = |text: &str, payload: &mut Vec<u8>| -> Result<(), DatabaseError> {
        if text.contains('\0') {
            return Err(DatabaseError::Login { reason: "the user or database has a zero byte in its name".to_owned() });
        }
        payload.extend_from_slice(text.as_bytes());
        payload.push(0);
        Ok(())
    };
    text(&database.user, &mut payload)?;
    let proof = proof(plugin, database.reveal_password(), nonce)?;
    payload.push(proof.len() as u8);
    payload.extend_from_slice(&proof);
    text(database.name(), &mut payload)?;
    text(plugin, &mut payload)?;
    Ok(payload)
}

/// Goes through what the server asks for until it is content.
async fn prove(packets: &mut Packets, database: &Database, plugin: &str, private: bool) -> Result<(), DatabaseError> {
    let mut plugin = plugin.to_owned();
    for _ in 0..STEPS_MAX {
        let payload = packets.read().await?;
        match payload {
            [0x00, ..] => return Ok(()),
            [0xfe, request @ ..] => {
                let mut reader = Reader(request);
                plugin = String::from_utf8_lossy(reader.until_zero()).into_owned();
                let proof = proof(&plugin, database.reveal_password(), trimmed(reader.0))?;
                packets.write(&proof).await?;
            }
            // The server knows the proof already.
            [0x01, 0x03] if plugin == CACHING => {}
            [0x01, 0x04] if plugin == CACHING => {
                if !private {
                    let reason = "the server wants the password itself, which is not sent in plain text: \
                                  add `?sslmode=require` to the URL";
                    return Err(DatabaseError::Login { reason: reason.to_owned() });
                }
                let mut password = database.reveal_password().as_bytes().to_vec();
                password.push(0);
                packets.write(&password).await?;
            }
            _ => return Err(DatabaseError::Protocol { reason: "a step of the login is not known" }),
        }
    }
    Err(DatabaseError::Protocol { reason: "the login does not end" })
}

/// Returns what proves that the password is known, for one nonce; nothing without a password.
pub(super) fn proof(plugin: &str, password: &str, nonce: &[u8]) -> Result<Vec<u8>, DatabaseError> {
    if plugin != NATIVE && plugin != CACHING {
        let reason = format!(
            "the user logs in by `{plugin}`, which weir doesn't have: give weir a user with `{CACHING}` or `{NATIVE}`"
        );
        return Err(DatabaseError::Login { reason });
    }
    if password.is_empty() {
        return Ok(Vec::new());
    }
    let mixed = |left: &[u8], right: &[u8]| left.iter().zip(right).map(|(left, right)| left ^ right).collect();
    Ok(match plugin {
        NATIVE => {
            let once = Sha1::digest(password);
            let twice = Sha1::digest(once);
            mixed(&once, &Sha1::new().chain_update(nonce).chain_update(twice).finalize())
        }
        _ => {
            let once = Sha256::digest(password);
            let twice = Sha256::digest(once);
            mixed(&once, &Sha256::new().chain_update(twice).chain_update(nonce).finalize())
        }
    })
}
