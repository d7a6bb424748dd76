//! `sengu completions`: a completion script for a shell, on stdout.

use crate::exit::Exit;
use crate::output;

/// Completions for a shell
///
/// bash: sengu completions bash > ~/.local/share/bash-completion/completions/sengu
#[derive(Debug, clap::Args)]
pub struct Args {
    /// bash, zsh, fish, elvish or powershell
    shell: clap_complete::Shell,
}

pub fn run(args: &Args) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "sengu", &mut script);
    output::print(&String::from_utf8_lossy(&script));
    Exit::Ok
}
