//! What an environment is started with: its variables, its limits, and what its sandbox lets through.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use weir_types::{Secret, Timestamp};

use crate::confine::{Files, Limits, Plan, Syscalls};
use crate::limits::{OPEN_FILES_MAX, TASKS_MAX};
use crate::options::Options;
use crate::shared::Shared;
use crate::spec::{Network, Runtime};
use crate::staged::Staged;

/// System folders that any program reads: libraries, certificates, names, time zones. Neither home folders nor `/tmp`,
/// nor `/var`, where servers keep data.
const SYSTEM: [&str; 15] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/etc",
    "/opt",
    "/nix/store",
    "/proc",
    "/sys/devices/system/cpu",
    "/sys/kernel/mm/transparent_hugepage",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/dev/urandom",
];

/// Devices that are written to, and harmless.
const DEVICES: [&str; 4] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random"];

/// What a heap may have beyond the memory limit, since `RLIMIT_DATA` counts what is mapped and not what is used. The
/// watched resident size is the limit proper; this one stops a jump between two looks.
const PYTHON_SLACK_BYTES: u64 = 128 << 20;
const NODE_SLACK_BYTES: u64 = 512 << 20;

/// What differs from one environment of a version to the next.
pub(super) struct Place<'a> {
    pub id: &'a str,
    pub function: &'a str,
    pub port: u16,
    pub user: Option<u32>,
    pub temp: &'a Path,
    pub secrets: &'a BTreeMap<String, Secret>,
    pub now: Timestamp,
}

pub(super) fn plan(shared: &Shared, staged: &Staged, place: &Place<'_>) -> Plan {
    let kernel = shared.kernel;
    let settings = &staged.settings;
    let data_bytes = match settings.runtime {
        Runtime::Python => Some(settings.memory_bytes + PYTHON_SLACK_BYTES),
        Runtime::Node => Some(settings.memory_bytes + NODE_SLACK_BYTES),
        // Any language's own way with memory: Go's and Java's heaps map far more than they use.
        Runtime::Provided => None,
    };
    let limits = Limits {
        data_bytes,
        file_bytes: Some(settings.temp_bytes),
        open_files: Some(OPEN_FILES_MAX),
        // Counted per user: for the server's own it would count the server's, and everybody else's.
        tasks: place.user.map(|_| TASKS_MAX),
    };
    let mut read: Vec<PathBuf> = SYSTEM.iter().map(PathBuf::from).collect();
    read.extend(staged.read.iter().chain(&settings.allow.read).cloned());
    let mut write = vec![place.temp.to_owned()];
    write.extend(DEVICES.iter().map(PathBuf::from).chain(settings.allow.write.iter().cloned()));
    let (ports, syscalls) = match &settings.allow.network {
        Network::All => (None, Syscalls::Safe),
        Network::None => (Some(vec![place.port]), Syscalls::SafeWithoutDatagrams),
        Network::Ports(ports) => (Some(ports.iter().copied().chain([place.port]).collect()), Syscalls::Safe),
    };
    Plan {
        parent: std::process::id(),
        user: place.user,
        limits,
        files: (kernel.landlock > 0).then_some(Files { read, write, ports }),
        syscalls: if kernel.seccomp { syscalls } else { Syscalls::All },
        folder: staged.code.clone(),
        command: staged.command.clone(),
        environment: variables(&shared.options, staged, place),
    }
}

/// The variables that AWS sets, then the function's own, which may replace all but the reserved ones.
fn variables(options: &Options, staged: &Staged, place: &Place<'_>) -> BTreeMap<String, String> {
    let settings = &staged.settings;
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let (code, temp) = (text(&staged.code), text(place.temp));
    let memory = (settings.memory_bytes >> 20).to_string();
    let date = place.now.to_string();
    let stream = format!("{}/[{}]{}", date.get(..10).unwrap_or_default().replace('-', "/"), staged.number, place.id);
    let mut variables: BTreeMap<String, String> = [
        ("LANG", "C.UTF-8"),
        ("TZ", ":UTC"),
        ("PATH", staged.path.as_str()),
        ("HOME", temp.as_str()),
        ("TMPDIR", temp.as_str()),
        ("AWS_REGION", options.region.as_str()),
        ("AWS_DEFAULT_REGION", options.region.as_str()),
        // Any keys do, and AWS's clients don't start without.
        ("AWS_ACCESS_KEY_ID", "weir"),
        ("AWS_SECRET_ACCESS_KEY", "weir"),
        ("AWS_SESSION_TOKEN", "weir"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect();
    if let Some(endpoint) = &options.endpoint {
        variables.insert("AWS_ENDPOINT_URL".to_owned(), endpoint.clone());
    }
    variables.extend(settings.environment.clone());
    variables.extend(place.secrets.iter().map(|(name, value)| (name.clone(), value.reveal().to_owned())));
    let api = format!("127.0.0.1:{}", place.port);
    let group = format!("/aws/lambda/{}", place.function);
    let number = staged.number.to_string();
    for (name, value) in [
        ("_HANDLER", settings.handler.as_str()),
        ("AWS_LAMBDA_RUNTIME_API", api.as_str()),
        ("AWS_LAMBDA_FUNCTION_NAME", place.function),
        ("AWS_LAMBDA_FUNCTION_VERSION", number.as_str()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", memory.as_str()),
        ("AWS_LAMBDA_LOG_GROUP_NAME", group.as_str()),
        ("AWS_LAMBDA_LOG_STREAM_NAME", stream.as_str()),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ("AWS_EXECUTION_ENV", staged.execution_env.as_str()),
        ("LAMBDA_TASK_ROOT", code.as_str()),
        ("LAMBDA_RUNTIME_DIR", staged.runtime_folder.as_str()),
    ] {
        variables.insert(name.to_owned(), value.to_owned());
    }
    // Where modules are looked for: the code first, then what was installed for it, then where the function says.
    for (name, folders) in &staged.search {
        let own = variables.remove(*name);
        variables.insert((*name).to_owned(), folders.iter().cloned().chain(own).collect::<Vec<_>>().join(":"));
    }
    variables
}
