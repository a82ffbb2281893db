//! The protocol against a scripted server, and the forms of values. Real servers: `tests/foreign/test_lookup.py`.

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::column::{Form, known};
use super::login::{Greeting, log_in, proof};
use super::*;
use crate::rows::Rows;
use crate::tls::Stream;

const NONCE: [u8; 20] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20];

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn greeting(plugin: &str, capabilities: u32) -> Vec<u8> {
    let mut payload = vec![10];
    payload.extend_from_slice(b"8.0.36\0");
    payload.extend_from_slice(&[7, 0, 0, 0]);
    payload.extend_from_slice(&NONCE[..8]);
    payload.push(0);
    payload.extend_from_slice(&(capabilities as u16).to_le_bytes());
    payload.extend_from_slice(&[45, 2, 0]);
    payload.extend_from_slice(&((capabilities >> 16) as u16).to_le_bytes());
    payload.push(21);
    payload.extend_from_slice(&[0; 10]);
    payload.extend_from_slice(&NONCE[8..]);
    payload.push(0);
    payload.extend_from_slice(plugin.as_bytes());
    payload.push(0);
    payload
}

const CAPABILITIES: u32 = 0x0008_a200;

#[test]
fn a_greeting_is_read() {
    let read = Greeting::read(&greeting("caching_sha2_password", CAPABILITIES)).unwrap();
    assert_eq!((read.version.as_str(), read.capabilities), ("8.0.36", CAPABILITIES));
    assert_eq!((read.nonce.as_slice(), read.plugin.as_str()), (&NONCE[..], "caching_sha2_password"));
    let whole = greeting("x", CAPABILITIES);
    for cut in 0..40 {
        assert!(Greeting::read(&whole[..cut]).is_err(), "{cut}");
    }
}

#[test]
fn proofs_are_those_of_the_protocol() {
    let native = proof("mysql_native_password", "secret", &NONCE).unwrap();
    assert_eq!(hex(&native), "b32bb3a583e1340c0a1108d58b1be49781ad8c2f");
    let caching = proof("caching_sha2_password", "secret", &NONCE).unwrap();
    assert_eq!(hex(&caching), "746ebe205d56a0707acb3e796e834e0dd7b1d61743b26bd5202c7a623230c7c9");
    assert!(proof("caching_sha2_password", "", &NONCE).unwrap().is_empty());
    let refused = proof("client_ed25519", "secret", &NONCE).unwrap_err().to_string();
    assert!(refused.contains("client_ed25519") && !refused.contains("secret"), "{refused}");
}

/// A server that says what it was told to, and returns all that it heard.
async fn serve(mut stream: DuplexStream, says: Vec<Vec<u8>>) -> Vec<u8> {
    let mut heard = Vec::new();
    let mut sequence = 0;
    for payload in says {
        let mut packet = (payload.len() as u32).to_le_bytes()[..3].to_vec();
        packet.push(sequence);
        packet.extend_from_slice(&payload);
        stream.write_all(&packet).await.unwrap();
        // Waits for an answer where there is one to come.
        if payload.first() == Some(&0x00) || payload == [0x01, 0x03] {
            sequence += 1;
            continue;
        }
        let mut head = [0; 4];
        if stream.read_exact(&mut head).await.is_err() {
            return heard;
        }
        let mut body = vec![0; u32::from_le_bytes([head[0], head[1], head[2], 0]) as usize];
        stream.read_exact(&mut body).await.unwrap();
        heard.extend_from_slice(&body);
        sequence = head[3] + 1;
    }
    heard
}

async fn log_in_at(says: Vec<Vec<u8>>) -> (Result<String, DatabaseError>, Vec<u8>) {
    let database = Database::parse("mysql://ann@db/shop", Some("secret".to_owned())).unwrap();
    let (ours, theirs) = duplex(1 << 16);
    let server = tokio::spawn(serve(theirs, says));
    let done = log_in(Stream::new(ours), &database, 1 << 20).await;
    let done = done.map(|(_, version)| version);
    (done, server.await.unwrap())
}

#[tokio::test]
async fn a_login_goes_through_the_ways_that_servers_ask_for() {
    let ok = vec![0x00, 0, 0, 2, 0, 0, 0];
    let (done, heard) =
        log_in_at(vec![greeting("caching_sha2_password", CAPABILITIES), vec![0x01, 0x03], ok.clone()]).await;
    assert_eq!(done.unwrap(), "8.0.36");
    assert!(heard.windows(4).any(|part| part == b"ann\0") && heard.windows(5).any(|part| part == b"shop\0"));

    let mut switch = vec![0xfe];
    switch.extend_from_slice(b"mysql_native_password\0");
    switch.extend_from_slice(&NONCE);
    switch.push(0);
    let (done, heard) = log_in_at(vec![greeting("caching_sha2_password", CAPABILITIES), switch, ok]).await;
    assert!(done.is_ok());
    assert!(heard.ends_with(&proof("mysql_native_password", "secret", &NONCE).unwrap()));
}

#[tokio::test]
async fn a_password_is_never_sent_in_plain_text() {
    let (done, heard) = log_in_at(vec![greeting("caching_sha2_password", CAPABILITIES), vec![0x01, 0x04]]).await;
    assert!(matches!(done, Err(DatabaseError::Login { .. })));
    assert!(!heard.windows(6).any(|part| part == b"secret"));
    // A server that can't do what the URL asks for is not spoken to.
    let database = Database::parse("mysql://ann@db/shop?sslmode=require", Some("secret".to_owned())).unwrap();
    let (ours, theirs) = duplex(1 << 16);
    let server = tokio::spawn(serve(theirs, vec![greeting("caching_sha2_password", CAPABILITIES)]));
    assert!(matches!(log_in(Stream::new(ours), &database, 1 << 20).await, Err(DatabaseError::Tls { .. })));
    assert!(server.await.unwrap().is_empty());
}

#[tokio::test]
async fn a_refusal_is_told_in_the_servers_words() {
    let mut refusal = vec![0xff, 0x15, 0x04];
    refusal.extend_from_slice(b"#28000Access denied for user 'ann'");
    let (done, _) = log_in_at(vec![greeting("mysql_native_password", CAPABILITIES), refusal]).await;
    let told = done.unwrap_err().to_string();
    assert_eq!(told, "Access denied for user 'ann' (error 1045, state 28000)");
}

#[test]
fn decimals_keep_every_digit_or_are_refused() {
    let read = |text: &str, precision, scale| value::decimal(text.as_bytes(), precision, scale).ok();
    assert_eq!(read("12.30", 10, 2), Some(1230));
    assert_eq!(read("-0.05", 3, 2), Some(-5));
    assert_eq!(read("7", 5, 3), Some(7000));
    assert_eq!(read("1.5000", 3, 1), Some(15));
    for wrong in ["1.55", "", ".", "-", "1e3", "123", "abc"] {
        assert_eq!(read(wrong, 3, 1), None, "{wrong}");
    }
    let largest = "9".repeat(38);
    assert_eq!(read(&largest, 38, 0), Some(10_i128.pow(38) - 1));
    assert_eq!(read(&"9".repeat(39), 38, 0), None);
}

#[test]
fn types_are_told_by_code_sign_and_length() {
    let of = |code, unsigned, length, decimals, binary| known(code, unsigned, length, decimals, binary).unwrap().0;
    assert_eq!(of(0x01, false, 1, 0, true), Kind::Boolean);
    assert_eq!(of(0x01, false, 4, 0, true), Kind::Int);
    assert_eq!(of(0x03, true, 10, 0, true), Kind::Long);
    assert_eq!(of(0x08, true, 20, 0, true), Kind::Decimal { precision: 20, scale: 0 });
    assert_eq!(of(0xf6, false, 12, 2, true), Kind::Decimal { precision: 10, scale: 2 });
    assert_eq!(of(0xf6, true, 11, 2, true), Kind::Decimal { precision: 10, scale: 2 });
    assert_eq!(of(0xf6, false, 11, 0, true), Kind::Decimal { precision: 10, scale: 0 });
    assert_eq!(of(0xfc, false, 255, 0, true), Kind::Binary);
    assert_eq!(of(0xfc, false, 255, 0, false), Kind::Text);
    assert_eq!(of(0xf5, false, 255, 0, true), Kind::Text);
    assert!(known(0xf6, false, 67, 30, true).is_err());
    assert!(known(0xff, false, 0, 0, true).unwrap_err().1.contains("st_astext({})"));
}

fn decoded(form: Form, kind: Kind, value: &[u8]) -> Result<String, String> {
    let columns = [Column { name: "c".to_owned(), kind: kind.clone(), form }];
    let mut rows = Rows::new("test".to_owned(), Limits::default(), &named(&columns)).unwrap();
    let mut packet = vec![0, 0];
    packet.extend_from_slice(value);
    let mut zero_dates = 0;
    value::row(&packet, &columns, &mut rows, &mut zero_dates).map_err(|error| error.to_string())?;
    rows.end_row(packet.len()).unwrap();
    let batch = rows.finish().unwrap().remove(0);
    let shown = arrow::util::display::array_value_to_string(batch.column(0), 0).unwrap();
    Ok(if zero_dates > 0 { format!("zero {shown}") } else { shown })
}

#[test]
fn dates_and_times_are_decoded_and_zero_dates_are_null() {
    let date = |bytes: &[u8]| decoded(Form::Date, Kind::Date, bytes);
    assert_eq!(date(&[4, 0xea, 7, 1, 31]), Ok("2026-01-31".to_owned()));
    assert_eq!(date(&[0]), Ok("zero ".to_owned()));
    assert_eq!(date(&[4, 0, 0, 0, 0]), Ok("zero ".to_owned()));
    assert!(date(&[4, 0xea, 7, 0, 15]).unwrap_err().contains("2026-00-15 is no day of a calendar"));
    assert!(date(&[4, 0xea, 7, 2, 30]).unwrap_err().contains("row 1, column `c`"));
    assert!(date(&[5, 0, 0, 0, 0, 0]).is_err());
    let moment = decoded(Form::Timestamp, Kind::LocalTimestamp, &[11, 0xea, 7, 1, 31, 12, 30, 1, 0x40, 0x42, 0x0f, 0]);
    assert_eq!(moment, Ok("2026-01-31T12:30:02".to_owned()));
    assert_eq!(decoded(Form::Time, Kind::Text, &[8, 1, 34, 0, 0, 0, 22, 59, 59]), Ok("-838:59:59".to_owned()));
    assert_eq!(decoded(Form::Time, Kind::Text, &[0]), Ok("00:00:00".to_owned()));
}

#[test]
fn numbers_are_decoded_with_their_sign() {
    assert_eq!(
        decoded(Form::UnsignedLong, Kind::Decimal { precision: 20, scale: 0 }, &[0xff; 8]),
        Ok(u64::MAX.to_string())
    );
    assert_eq!(decoded(Form::Int { unsigned: true }, Kind::Long, &[0xff; 4]), Ok(u32::MAX.to_string()));
    assert_eq!(decoded(Form::Tiny { unsigned: false }, Kind::Int, &[0xff]), Ok("-1".to_owned()));
    assert_eq!(decoded(Form::Boolean, Kind::Boolean, &[1]), Ok("true".to_owned()));
    assert!(decoded(Form::Boolean, Kind::Boolean, &[2]).unwrap_err().contains("2 is no boolean"));
    assert_eq!(decoded(Form::Bits, Kind::Long, &[2, 1, 2]), Ok("258".to_owned()));
    assert!(decoded(Form::Long, Kind::Long, &[1, 2]).unwrap_err().contains("cut off"));
}
