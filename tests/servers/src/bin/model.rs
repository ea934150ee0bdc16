//! The model server as a program: `model --script FILE.json`, for the whole gateway on a laptop.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use test_servers::model::{Script, Server};

/// Stands in for the Anthropic API and Amazon Bedrock; prints its address and serves until Ctrl-C.
///
/// Point the gateway at it with `ANTHROPIC_BASE_URL` and any key, or with
/// `AWS_ENDPOINT_URL_BEDROCK_RUNTIME`.
#[derive(Debug, Parser)]
#[command(name = "model")]
struct Arguments {
    /// The port on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// What to answer; without it the server says what it is and what to type.
    #[arg(long, value_name = "FILE.json")]
    script: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "a program that says where it listens")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let script = match &arguments.script {
        None => Script::tour(),
        Some(path) => {
            let json = fs::read_to_string(path)
                .with_context(|| format!("cannot read the script {}", path.display()))?;
            serde_json::from_str(&json)
                .with_context(|| format!("{} is not a script", path.display()))?
        }
    };
    let server = Server::start_on(arguments.port, script)
        .await
        .with_context(|| format!("cannot listen on port {} of 127.0.0.1", arguments.port))?;
    println!("{}", server.url());
    tokio::signal::ctrl_c().await.context("cannot wait for Ctrl-C")?;
    server.stop().await;
    Ok(())
}
