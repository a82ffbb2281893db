//! Opening what a plan names: streams with their schemas, and queues.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use weir_config::{QueuePlan, StreamPlan};
use weir_env::Env;
use weir_log::Engine;
use weir_machine::Snapshots;
use weir_queue::{
    DeadLetter, DeadLetterTo, DeduplicationScope, Fifo, Queues, RedriveAllow, Settings as QueueSettings,
    ThroughputLimit,
};
use weir_schema::registry::Outcome;
use weir_schema::{Compatibility, Schema};
use weir_stream::{Settings, Stream};
use weir_types::{QueueName, StreamName, SubjectName};

use crate::node::StartError;
use crate::schemas::Catalog;
use crate::streams::OpenStream;

/// How long dead letters, and what became of them, are kept as records; their tables keep them on.
const DEAD_LETTERS_RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);

/// What opening a stream needs.
pub(crate) struct Opening<'a> {
    pub env: &'a Env,
    pub engine: &'a dyn Engine,
    pub snapshots: &'a Snapshots,
    pub catalog: &'a Catalog,
}

impl Opening<'_> {
    /// Opens a stream of the plan, and registers its schema.
    pub async fn stream(&self, plan: StreamPlan) -> Result<Arc<OpenStream>, StartError> {
        self.refuse_fewer_shards(&plan)?;
        let settings =
            Settings { shards: plan.shards, retention: plan.retention, retention_bytes: plan.retention_bytes };
        let stream =
            Stream::open(self.engine, self.snapshots.clone(), self.env.clone(), plan.name.clone(), settings).await?;
        self.register(&plan.name, &plan.schema, plan.compatibility).await?;
        Ok(Arc::new(OpenStream::new(stream, plan.schema, plan.key, plan.null_text)))
    }

    /// Records in a shard that the plan does not have any more would never be read.
    fn refuse_fewer_shards(&self, plan: &StreamPlan) -> Result<(), StartError> {
        let prefix = format!("stream/{}/", plan.name);
        let highest = self
            .engine
            .names()
            .iter()
            .filter_map(|name| name.as_str().strip_prefix(&prefix)?.parse::<u32>().ok())
            .max();
        match highest {
            Some(highest) if highest >= plan.shards => {
                Err(StartError::FewerShards { stream: plan.name.clone(), shards: plan.shards, before: highest + 1 })
            }
            _ => Ok(()),
        }
    }

    /// Opens a stream of weir's own that is also a table.
    pub async fn own_stream(&self, name: &'static str, schema: Schema) -> Result<Arc<OpenStream>, StartError> {
        let name: StreamName = name.parse().expect("the name follows the rule");
        let settings = Settings { shards: 1, retention: DEAD_LETTERS_RETENTION, retention_bytes: None };
        let stream =
            Stream::open(self.engine, self.snapshots.clone(), self.env.clone(), name.clone(), settings).await?;
        self.register(&name, &schema, None).await?;
        Ok(Arc::new(OpenStream::new(stream, schema, None, None)))
    }

    async fn register(
        &self,
        name: &StreamName,
        schema: &Schema,
        level: Option<Compatibility>,
    ) -> Result<(), StartError> {
        // As Confluent's clients call it.
        let subject = format!("{name}-value").parse().expect("a stream's name and a suffix are a subject");
        register(self.catalog, subject, schema, level).await
    }
}

/// Registers a schema as the next version of its subject.
pub(crate) async fn register(
    catalog: &Catalog,
    subject: SubjectName,
    schema: &Schema,
    level: Option<Compatibility>,
) -> Result<(), StartError> {
    let submit = |source| StartError::Submit { subject: subject.clone(), source };
    let refused = |reason: String| StartError::Schema { subject: subject.clone(), reason };
    let known = catalog.read(|registry| {
        let latest = registry.latest(&subject).map(|version| version.schema.to_json() == schema.to_json());
        latest == Some(true) && level.is_none_or(|level| registry.compatibility(&subject) == level)
    });
    if known {
        return Ok(());
    }
    if let Some(level) = level {
        catalog.set_compatibility(Some(subject.clone()), level).await.map_err(submit)?;
    }
    match catalog.register(subject.clone(), schema.to_json().to_owned()).await.map_err(submit)? {
        Outcome::Registered { .. } | Outcome::Unchanged { .. } => Ok(()),
        Outcome::Incompatible { level, reasons } => {
            let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
            Err(refused(format!("under {level} it contradicts the version before: {}", reasons.join("; "))))
        }
        Outcome::Invalid { error } => Err(refused(error.to_string())),
        other => Err(refused(format!("{other:?}"))),
    }
}

/// Makes the plan's queues, dead-letter queues before those that name them.
pub(crate) async fn queues(queues: &Queues, plans: BTreeMap<QueueName, QueuePlan>) -> Result<(), StartError> {
    let mut waiting: Vec<QueuePlan> = plans.into_values().collect();
    while !waiting.is_empty() {
        let (ready, rest): (Vec<_>, Vec<_>) = {
            let names: Vec<QueueName> = waiting.iter().map(|plan| plan.name.clone()).collect();
            let waits = |plan: &QueuePlan| {
                plan.dead_letter
                    .as_ref()
                    .and_then(|dead_letter| dead_letter.to.as_ref())
                    .is_some_and(|to| names.contains(to))
            };
            waiting.into_iter().partition(|plan| !waits(plan))
        };
        // The plan was checked: there is no loop among them.
        if ready.is_empty() {
            return Err(StartError::QueueLoop { queue: rest[0].name.clone() });
        }
        for plan in ready {
            let tags = plan.tags.clone();
            let (name, settings) = settings_of(plan);
            queues.ensure(name.clone(), settings).await?;
            if queues.tags(&name).is_some_and(|known| known != tags) {
                retag(queues, &name, tags).await?;
            }
        }
        waiting = rest;
    }
    Ok(())
}

fn settings_of(plan: QueuePlan) -> (QueueName, QueueSettings) {
    let settings = QueueSettings {
        visibility_timeout: plan.visibility_timeout,
        delay: plan.delay,
        retention: plan.retention,
        receive_wait: plan.receive_wait,
        message_bytes_max: usize::try_from(plan.message_bytes_max.0).unwrap_or(usize::MAX),
        fifo: plan.fifo.map(|fifo| Fifo {
            content_deduplication: fifo.content_deduplication,
            deduplication_scope: DeduplicationScope::Queue,
            throughput_limit: ThroughputLimit::PerQueue,
        }),
        dead_letter: plan.dead_letter.map(|dead_letter| DeadLetter {
            max_receives: dead_letter.max_receives,
            to: dead_letter.to.map_or(DeadLetterTo::Table, DeadLetterTo::Queue),
        }),
        redrive_allow: RedriveAllow::All,
    };
    (plan.name, settings)
}

/// Gives a queue the plan's tags, and no others.
async fn retag(queues: &Queues, name: &QueueName, tags: BTreeMap<String, String>) -> Result<(), StartError> {
    let known = queues.tags(name).unwrap_or_default();
    let gone: Vec<String> = known.into_keys().filter(|key| !tags.contains_key(key)).collect();
    if !gone.is_empty() {
        queues.untag(name, gone).await?;
    }
    if !tags.is_empty() {
        queues.tag(name, tags).await?;
    }
    Ok(())
}
