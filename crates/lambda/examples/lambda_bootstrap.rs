//! A compiled handler: echoes its event, over a bare blocking socket. What the benchmark deploys as `bootstrap`.
#![expect(clippy::unwrap_used, reason = "a runtime that can't go on ends, and its host says so")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

fn main() {
    let api = std::env::var("AWS_LAMBDA_RUNTIME_API").unwrap();
    let mut writer = TcpStream::connect(&api).unwrap();
    writer.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(writer.try_clone().unwrap());
    loop {
        let next = format!("GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: {api}\r\n\r\n");
        writer.write_all(next.as_bytes()).unwrap();
        let (id, event) = answer(&mut reader);
        let length = event.len();
        let head = format!(
            "POST /2018-06-01/runtime/invocation/{id}/response HTTP/1.1\r\nHost: {api}\r\nContent-Length: {length}\r\n\r\n"
        );
        writer.write_all(&[head.as_bytes(), &event].concat()).unwrap();
        answer(&mut reader);
    }
}

/// Reads an answer: the request's id, if it has one, and the body.
fn answer(reader: &mut BufReader<TcpStream>) -> (String, Vec<u8>) {
    let (mut id, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(": ") {
            match name {
                "lambda-runtime-aws-request-id" => value.clone_into(&mut id),
                "content-length" => length = value.parse().unwrap(),
                _ => {}
            }
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    (id, body)
}
