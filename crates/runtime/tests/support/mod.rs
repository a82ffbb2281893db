//! A plan in a temporary folder, and nodes that run it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::json::LineDelimitedWriter;
use bytes::Bytes;
use serde_json::Value;
use tempfile::TempDir;
use weir_config::Inputs;
use weir_env::Env;
use weir_runtime::{Delivery, Encoding, Format, Node, Options, Report};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A folder of configuration and one of data.
pub struct Place {
    config: TempDir,
    data: TempDir,
}

impl Place {
    /// Makes a place of files' names and contents.
    pub fn new(files: &[(&str, &str)]) -> Self {
        let place = Self { config: tempfile::tempdir().unwrap(), data: tempfile::tempdir().unwrap() };
        place.write(files);
        place
    }

    /// Writes files of the configuration.
    pub fn write(&self, files: &[(&str, &str)]) {
        for (name, content) in files {
            std::fs::write(self.config.path().join(name), content).unwrap();
        }
    }

    /// Starts a node, once the one before it has let go of the folder.
    pub async fn start(&self) -> Arc<Node> {
        self.start_with(Options::default()).await
    }

    /// Starts a node with options, once the one before it has let go of the folder.
    pub async fn start_with(&self, options: Options) -> Arc<Node> {
        let env = Env::system();
        let started = env.elapsed();
        loop {
            match Node::start(self.plan(), &self.data(), env.clone(), options.clone()).await {
                Ok(node) => return node,
                Err(error) if env.elapsed() - started < PATIENCE && error.to_string().contains("in use") => {
                    tokio::task::yield_now().await;
                }
                Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
            }
        }
    }

    /// Reads the configuration.
    pub fn plan(&self) -> weir_config::Plan {
        let plan = weir_config::load(self.config.path(), &Inputs::default());
        plan.unwrap_or_else(|found| panic!("{}", found.iter().map(|one| one.render()).collect::<String>()))
    }

    fn data(&self) -> std::path::PathBuf {
        Path::new(self.data.path()).join("weir")
    }
}

/// Sends lines of JSON to a stream.
pub async fn send(node: &Node, stream: &str, lines: &str) -> Report {
    deliver(node, stream, Format::Ndjson, lines.as_bytes()).await
}

/// Sends a body to a stream.
pub async fn deliver(node: &Node, stream: &str, format: Format, body: &[u8]) -> Report {
    let delivery = Delivery { stream: stream.parse().unwrap(), format, encoding: Encoding::Identity, batch: None };
    let chunks = futures::stream::iter([Ok(Bytes::copy_from_slice(body))]);
    node.deliver(delivery, chunks).await.unwrap()
}

/// Asks SQL, and returns the rows as JSON.
pub async fn ask(node: &Node, sql: &str) -> Vec<Value> {
    let batches = node.query(sql).await.unwrap().collect().await.unwrap();
    let mut out = Vec::new();
    let mut writer = LineDelimitedWriter::new(&mut out);
    for batch in &batches {
        writer.write(batch).unwrap();
    }
    writer.finish().unwrap();
    out.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

/// Asks until an answer passes.
pub async fn until(node: &Node, sql: &str, passes: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let started = node.env().elapsed();
    loop {
        let rows = ask(node, sql).await;
        if passes(&rows) {
            return rows;
        }
        assert!(node.env().elapsed() - started < PATIENCE, "{sql}: {rows:?}");
        tokio::task::yield_now().await;
    }
}
