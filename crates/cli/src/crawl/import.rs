//! `weir crawl import`: dlt's and Airbyte's sources as weir's blocks.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::{Args as ClapArgs, Subcommand};
use weir_crawl::import::{self, Imported, TEXT_BYTES_MAX};

use crate::exit::Exit;
use crate::output;

#[derive(Debug, Subcommand)]
pub(super) enum Import {
    /// A configuration of dlt's rest_api source, a dict as JSON
    Dlt {
        #[command(flatten)]
        source: Source,
    },
    /// A declarative manifest of Airbyte's, YAML or JSON
    Airbyte {
        #[command(flatten)]
        source: Source,
    },
}

#[derive(Debug, ClapArgs)]
pub(super) struct Source {
    /// The file; `-` is standard input
    file: PathBuf,
    /// The name of the api and the crawl [default: the file's]
    #[arg(long)]
    name: Option<String>,
}

impl Import {
    pub(super) fn run(&self) -> anyhow::Result<Exit> {
        let (Self::Dlt { source } | Self::Airbyte { source }) = self;
        let text = read(&source.file)?;
        let name = source.name.clone().unwrap_or_else(|| name_of(&source.file));
        let imported = match self {
            Self::Dlt { .. } => import::dlt(&text, &name),
            Self::Airbyte { .. } => import::airbyte(&text, &name),
        };
        let Imported { hcl, secrets, unsupported } =
            imported.with_context(|| format!("import `{}`", source.file.display()))?;
        output::data(&hcl)?;
        for secret in &secrets {
            output::note(&format!("set WEIR_SECRET_{} in the environment: {}", secret.name, secret.holds));
        }
        for refused in &unsupported {
            output::note(&format!("not taken over: {refused}"));
        }
        Ok(if unsupported.is_empty() { Exit::Done } else { Exit::Refused })
    }
}

fn read(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    // One byte more than there may be tells that there is more.
    let most = TEXT_BYTES_MAX as u64 + 1;
    if file == Path::new("-") {
        std::io::stdin().take(most).read_to_string(&mut text).context("read standard input")?;
    } else {
        let opened = std::fs::File::open(file).with_context(|| format!("open `{}`", file.display()))?;
        opened.take(most).read_to_string(&mut text).with_context(|| format!("read `{}`", file.display()))?;
    }
    ensure!(text.len() <= TEXT_BYTES_MAX, "`{}` has more than {TEXT_BYTES_MAX} bytes", file.display());
    Ok(text)
}

/// Makes a name of a file's: letters, digits and `_`, a letter first.
fn name_of(file: &Path) -> String {
    let stem = file.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().to_lowercase());
    let plain: String = stem.chars().map(|char| if char.is_ascii_alphanumeric() { char } else { '_' }).collect();
    let name = plain.trim_matches(|char: char| !char.is_ascii_alphabetic() && !char.is_ascii_digit());
    match name.chars().next() {
        Some(first) if first.is_ascii_alphabetic() => name.to_owned(),
        Some(_) => format!("api_{name}"),
        None => "vendor".to_owned(),
    }
}
