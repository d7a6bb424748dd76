//! Starts the roles of sengu in this process.

#[derive(Debug, Clone, clap::Args)]
pub struct UpArgs {}

/// Runs until told to end.
///
/// # Errors
/// When a role cannot be started.
pub fn run(_: UpArgs) -> anyhow::Result<()> {
    anyhow::bail!("unavailable in this build")
}
