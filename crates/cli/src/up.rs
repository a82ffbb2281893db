//! `weir up`: run a folder's plan.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args as ClapArgs;
use tokio::net::TcpListener;
use weir_env::Env;

use crate::check::{self, VarArgs};
use crate::crawl::infer;
use crate::exit::Exit;
use crate::telemetry::{self, LogFormat};
use crate::{output, serve};

/// How long each crawl's schema may take to be inferred, where none is pinned yet.
const INFER_WITHIN: Duration = Duration::from_secs(30);

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// The folder with `weir.hcl`
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Where the data are kept [default: DIR/.weir]
    #[arg(long, value_name = "PATH", env = "WEIR_DATA")]
    data: Option<PathBuf>,
    /// Where to listen
    #[arg(long, value_name = "ADDR", env = "WEIR_LISTEN", default_value = "127.0.0.1:4566")]
    listen: SocketAddr,
    #[command(flatten)]
    vars: VarArgs,
    /// How logs are written
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log: LogFormat,
}

pub fn run(args: Args) -> anyhow::Result<Exit> {
    telemetry::start(args.log, "info,datafusion=warn,delta_kernel=warn,object_store=warn");
    let data = check::data_folder(&args.dir, args.data.as_deref());
    let plan = match check::load(&args.dir, &args.vars, &data) {
        Ok(plan) => plan,
        Err(found) => {
            check::show(&found);
            return Ok(Exit::Configuration);
        }
    };
    let runtime = serve::runtime()?;
    let pinned = runtime.block_on(infer::pin_missing(&plan, &Env::system(), INFER_WITHIN));
    let plan = match pinned {
        false => plan,
        true => match check::load(&args.dir, &args.vars, &data) {
            Ok(plan) => plan,
            Err(found) => {
                check::show(&found);
                return Ok(Exit::Configuration);
            }
        },
    };
    check::show(&plan.warnings);
    runtime.block_on(async {
        let listener = TcpListener::bind(args.listen).await.with_context(|| {
            format!("listen on {} (is another weir running? --listen chooses another address)", args.listen)
        })?;
        let mut serving = serve::start(plan, &data, listener).await?;
        let folder = serving.node.folder().root().display().to_string();
        let told = serve::Signals::listen()?;
        output::data(&format!("weir is ready at http://{} (data in {folder})\n", serving.address))?;
        tokio::select! {
            () = told.wait() => tracing::info!("ending"),
            () = serving.ended() => tracing::error!("the server ended by itself"),
        }
        serving.end().await
    })?;
    Ok(Exit::Done)
}
