//! What a function is: its code, its settings, and what the sandbox lets through.
//!
//! Two kinds of settings: those that belong to a version, since running the code depends on them (handler, runtime,
//! memory, timeout, temp space, environment, what is allowed), and those that belong to the function as a whole and may
//! change at any time (reserved concurrency, how long to keep warm, and the values of secrets).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_types::{FunctionName, Secret};

use crate::limits::{ENVIRONMENT_BYTES_MAX, MEMORY_BYTES_MIN, TIMEOUT_MAX};

/// What runs the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Runtime {
    /// `python3`, with `awslambdaric` if the code or its requirements bring it, else with weir's own client.
    Python,
    /// `node`, with `aws-lambda-ric` if the code or its packages bring it, else with weir's own client.
    Node,
    /// An executable file `bootstrap` that speaks the Runtime API itself.
    Provided,
}

impl Runtime {
    /// Tells the runtime from what lies in the folder's root: `bootstrap`, then Python's files, then Node's.
    pub fn detect(code: &Path) -> Option<Self> {
        if code.join("bootstrap").is_file() {
            return Some(Self::Provided);
        }
        let names: Vec<String> =
            std::fs::read_dir(code).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        let any = |ends: &[&str]| names.iter().any(|name| ends.iter().any(|end| name.ends_with(end)));
        if any(&[".py", "requirements.txt"]) {
            Some(Self::Python)
        } else if any(&[".js", ".mjs", ".cjs", "package.json"]) {
            Some(Self::Node)
        } else {
            None
        }
    }
}

/// Where a handler may connect to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Anywhere.
    #[default]
    All,
    /// Nowhere but to its own Runtime API.
    None,
    /// To these TCP ports, on any host.
    Ports(Vec<u16>),
}

/// What the sandbox lets through beyond the code, the interpreter, the system's libraries and an own temp folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allow {
    /// Connections.
    pub network: Network,
    /// Files and folders that may be read.
    pub read: Vec<PathBuf>,
    /// Files and folders that may be read and written.
    pub write: Vec<PathBuf>,
}

/// A function to deploy.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Its name.
    pub name: FunctionName,
    /// The folder with its code.
    pub code: PathBuf,
    /// `file.function`; `None`: the runtime's usual one, `lambda_function.lambda_handler` or `index.handler`.
    pub handler: Option<String>,
    /// What runs it.
    pub runtime: Runtime,
    /// Memory of one environment, all its processes together, in bytes.
    pub memory_bytes: u64,
    /// How long one invocation may take.
    pub timeout: Duration,
    /// Reserved concurrency: no more at one time, and that much always there. Zero stops the function.
    pub concurrency: Option<usize>,
    /// What an environment's temp folder may hold, in bytes.
    pub temp_bytes: u64,
    /// How long an environment stays after its last invocation.
    pub keep_warm: Duration,
    /// Environment variables.
    pub environment: BTreeMap<String, String>,
    /// Environment variables whose values are secret: no part of a version, and in no file of weir's.
    pub secrets: BTreeMap<String, Secret>,
    /// What the sandbox lets through.
    pub allow: Allow,
    /// The interpreter; `None`: the host's.
    pub interpreter: Option<PathBuf>,
}

/// The part of a [`Spec`] that belongs to a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub handler: String,
    pub runtime: Runtime,
    pub memory_bytes: u64,
    pub timeout_ms: u64,
    pub temp_bytes: u64,
    pub environment: BTreeMap<String, String>,
    pub allow: Allow,
    pub interpreter: Option<PathBuf>,
}

impl Settings {
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

/// A function that can't be what it says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// A setting outside of its limits.
    #[error("`{setting}` of function `{function}` is {found}, and must be {must}")]
    Limit {
        /// The function.
        function: FunctionName,
        /// The setting.
        setting: &'static str,
        /// What was given.
        found: String,
        /// What is allowed.
        must: String,
    },
    /// An environment variable's name.
    #[error("`{variable}` can't be an environment variable of function `{function}`: {reason}")]
    Variable {
        /// The function.
        function: FunctionName,
        /// The name.
        variable: String,
        /// Why.
        reason: &'static str,
    },
    /// The handler's text.
    #[error("the handler `{handler}` of function `{function}` is not of the form `file.function`")]
    Handler {
        /// The function.
        function: FunctionName,
        /// The text.
        handler: String,
    },
}

impl Spec {
    /// A function with AWS's defaults, except that environments stay for a minute: 128 MB, 3 seconds, 512 MB of temp space.
    pub fn new(name: FunctionName, code: PathBuf, runtime: Runtime) -> Self {
        Self {
            name,
            code,
            handler: None,
            runtime,
            memory_bytes: 128 * 1024 * 1024,
            timeout: Duration::from_secs(3),
            concurrency: None,
            temp_bytes: 512 * 1024 * 1024,
            keep_warm: Duration::from_secs(60),
            environment: BTreeMap::new(),
            secrets: BTreeMap::new(),
            allow: Allow::default(),
            interpreter: None,
        }
    }

    /// Checks the settings, without looking at any file.
    ///
    /// # Errors
    /// See [`SpecError`].
    pub fn validate(&self) -> Result<(), SpecError> {
        let limit = |setting, found: String, must: String| {
            Err(SpecError::Limit { function: self.name.clone(), setting, found, must })
        };
        if self.memory_bytes < MEMORY_BYTES_MIN {
            return limit("memory", format!("{} bytes", self.memory_bytes), format!("{MEMORY_BYTES_MIN} or more"));
        }
        if self.timeout < Duration::from_millis(1) || self.timeout > TIMEOUT_MAX {
            return limit("timeout", format!("{:?}", self.timeout), format!("1ms to {TIMEOUT_MAX:?}"));
        }
        if self.temp_bytes == 0 {
            return limit("temp", "0 bytes".to_owned(), "more".to_owned());
        }
        self.check_variables()?;
        let handler = self.handler();
        let (file, function) = handler.rsplit_once('.').unwrap_or_default();
        let fits = self.runtime == Runtime::Provided || (!file.is_empty() && !function.is_empty());
        if !fits || handler.contains('\0') {
            return Err(SpecError::Handler { function: self.name.clone(), handler });
        }
        Ok(())
    }

    fn check_variables(&self) -> Result<(), SpecError> {
        let secrets = self.secrets.iter().map(|(name, value)| (name, value.reveal()));
        let mut bytes = 0;
        for (name, value) in self.environment.iter().map(|(name, value)| (name, value.as_str())).chain(secrets) {
            let refuse =
                |reason| Err(SpecError::Variable { function: self.name.clone(), variable: name.clone(), reason });
            if name.is_empty() || name.contains(['=', '\0']) {
                return refuse("a name has one character or more, and neither `=` nor NUL");
            }
            if value.contains('\0') {
                return refuse("its value has a NUL");
            }
            if RESERVED.contains(&name.as_str()) {
                return refuse("it is set by the runtime");
            }
            bytes += name.len() + value.len();
        }
        if bytes > ENVIRONMENT_BYTES_MAX {
            return Err(SpecError::Limit {
                function: self.name.clone(),
                setting: "environment",
                found: format!("{bytes} bytes"),
                must: format!("at most {ENVIRONMENT_BYTES_MAX}"),
            });
        }
        Ok(())
    }

    fn handler(&self) -> String {
        self.handler.clone().unwrap_or_else(|| {
            match self.runtime {
                Runtime::Python => "lambda_function.lambda_handler",
                Runtime::Node => "index.handler",
                Runtime::Provided => "bootstrap",
            }
            .to_owned()
        })
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            handler: self.handler(),
            runtime: self.runtime,
            memory_bytes: self.memory_bytes,
            timeout_ms: u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX),
            temp_bytes: self.temp_bytes,
            environment: self.environment.clone(),
            allow: self.allow.clone(),
            interpreter: self.interpreter.clone(),
        }
    }
}

/// Variables that a function may not set, as AWS has them.
const RESERVED: [&str; 12] = [
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_EXECUTION_ENV",
    "LAMBDA_TASK_ROOT",
    "LAMBDA_RUNTIME_DIR",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> Spec {
        Spec::new("score".parse().unwrap(), PathBuf::from("code"), Runtime::Python)
    }

    #[test]
    fn what_is_outside_of_the_limits_is_named() {
        assert_eq!(spec().validate(), Ok(()));
        let slow = Spec { timeout: TIMEOUT_MAX + Duration::from_secs(1), ..spec() };
        assert_eq!(
            slow.validate().unwrap_err().to_string(),
            "`timeout` of function `score` is 901s, and must be 1ms to 900s"
        );
        assert!(Spec { memory_bytes: 1, ..spec() }.validate().is_err());
        assert!(Spec { handler: Some("handler".into()), ..spec() }.validate().is_err());
        let mut variables = spec();
        variables.environment.insert("AWS_LAMBDA_RUNTIME_API".into(), "elsewhere".into());
        assert!(variables.validate().unwrap_err().to_string().ends_with("it is set by the runtime"));
        let mut large = spec();
        large.secrets.insert("KEY".into(), Secret::new("x".repeat(ENVIRONMENT_BYTES_MAX)));
        assert!(large.validate().is_err());
    }

    #[test]
    fn a_secret_prints_nothing() {
        let mut with = spec();
        with.secrets.insert("TOKEN".into(), Secret::new("hunter2"));
        assert!(!format!("{with:?}").contains("hunter2"));
    }

    #[test]
    fn the_runtime_is_told_by_the_files() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Runtime::detect(folder.path()), None);
        for (file, runtime) in
            [("index.mjs", Runtime::Node), ("requirements.txt", Runtime::Python), ("bootstrap", Runtime::Provided)]
        {
            std::fs::write(folder.path().join(file), "").unwrap();
            assert_eq!(Runtime::detect(folder.path()), Some(runtime));
        }
    }
}
