//! The command line: kubectl's grammar, one file per verb. stdout is data, stderr is talk.

mod apply;
mod audit;
mod cancel;
mod changes;
mod completions;
mod config;
mod config_check;
mod console;
mod cordon;
mod delete;
mod demo;
mod describe;
mod diff;
mod edit;
mod explain;
mod get;
mod live;
mod logs;
mod migrate;
mod nouns;
mod observe;
mod openapi;
mod params;
mod parked;
mod pause;
mod progress;
mod promote;
mod releases;
mod retry;
mod rollback;
mod rollout;
mod run;
mod screen;
mod sources;
mod tasks;
mod top;
mod uncordon;
mod version;
mod views;
mod wait;
mod wee;
mod wees;
mod why;
mod worker;
mod workers;

use crate::client::{Client, ClientError, Connect};
use crate::exit::{self, Exit};
use crate::output::{self, Paint, Tone, say};
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use std::process::ExitCode;

/// Observes and controls a datacenter through workers.
#[derive(Debug, Parser)]
#[command(
    name = "sengu",
    version,
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = "Exit codes: `sengu help exit-codes`. Every verb speaks to the server through its REST API.",
    help_template = HELP_TEMPLATE
)]
struct Cli {
    #[command(flatten)]
    connect: Connect,
    #[command(subcommand)]
    verb: Verb,
}

const HELP_TEMPLATE: &str = "\
{about}

{usage-heading} {usage}

Start
  up            Start the control plane on this machine
  demo          Show it at work on twins of 1,000 targets
  console       A link to the console in a browser, with a session
  version       Versions of this program and of the server

Records
  apply         Create or change records from YAML or JSON
  diff          What apply would change
  get           List records and tasks
  describe      All about one object
  edit          Change one record in an editor
  delete        Delete records
  explain       Fields of a kind, actions of a worker kind

Work
  observe       Read targets now
  run           Run an action on targets, in batches, with a failure budget
  tasks         List tasks
  logs          Logs of a task or of a run's tasks
  why           Why an object stands where it stands
  pause         Hold a run: nothing further begins
  resume        Go on with a run that was paused
  cancel        Cancel a task or a run
  retry         Run the unfinished targets of a run again
  top           What goes on now
  audit         Who did what

Versions and execution environments
  worker push   Push a version of a worker into a sengu that runs
  promote       Move a version to a part of the targets, watched
  rollback      Go back to the version before
  rollout       How versions on their way stand; what shadows have found
  cordon        Have an execution environment take no new tasks
  drain         The same, and let its instances go
  uncordon      Take an execution environment back, or a target out of quarantine
  wee upgrade   Start execution environments again as the program installed now

Others
  migrate       Move the store into PostgreSQL, or back, while work goes on
  worker check  Check a worker against the protocol (no server needed)
  config view   Which server and token would be used
  completions   Completions for a shell
  openapi       The OpenAPI document of the API
  help          Help of a verb, or of `exit-codes`

{options}{after-help}
";

#[derive(Debug, Subcommand)]
enum Verb {
    /// Start the control plane on this machine
    Up(crate::up::UpArgs),
    /// Show it at work on twins of 1,000 targets
    Demo(demo::Args),
    /// A link to the console, with a session
    Console(console::Args),
    /// Versions of this program and of the server
    Version(version::Args),
    /// Create or change records from YAML or JSON
    Apply(apply::Args),
    /// What apply would change (exit code 1: there are differences)
    Diff(diff::Args),
    /// List records and tasks
    Get(get::Args),
    /// All about one object
    Describe(describe::Args),
    /// Change one record in an editor
    Edit(edit::Args),
    /// Delete records
    Delete(delete::Args),
    /// Fields of a kind, actions of a worker kind
    Explain(explain::Args),
    /// Read targets now
    Observe(observe::Args),
    /// Run an action on targets, in batches, with a failure budget
    Run(run::Args),
    /// List tasks
    Tasks(tasks::Args),
    /// Logs of a task or of a run's tasks
    Logs(logs::Args),
    /// Why an object stands where it stands
    Why(why::Args),
    /// Hold a run: what is in hand ends, nothing further begins
    Pause(pause::PauseArgs),
    /// Go on with a run that was paused
    Resume(pause::ResumeArgs),
    /// Cancel a task or a run
    Cancel(cancel::Args),
    /// Run the unfinished targets of a run again
    Retry(retry::Args),
    /// What goes on now
    Top(top::Args),
    /// Who did what, newest first
    Audit(audit::Args),
    /// Move a version of a worker to a part of the targets
    Promote(promote::Args),
    /// Go back to the version before
    Rollback(rollback::Args),
    /// How versions on their way stand
    Rollout(rollout::Args),
    /// Have an execution environment take no new tasks
    Cordon(cordon::CordonArgs),
    /// Have an execution environment take no new tasks and let its instances go
    Drain(cordon::DrainArgs),
    /// Take a target out of quarantine, or an execution environment back into work
    Uncordon(uncordon::Args),
    /// Move the store into PostgreSQL, or back, while work goes on
    Migrate(migrate::Args),
    /// For execution environments
    Wee(wee::Args),
    /// For authors of workers
    Worker(worker::Args),
    /// How this program is set up
    Config(config::Args),
    /// Completions for a shell
    Completions(completions::Args),
    /// The OpenAPI document of the API
    Openapi(openapi::Args),
    /// Help of a verb, or of `exit-codes`
    Help(HelpArgs),
}

#[derive(Debug, clap::Args)]
struct HelpArgs {
    /// A verb and its subcommand, or `exit-codes`
    topic: Vec<String>,
}

/// What every verb may use.
#[derive(Debug, Clone)]
pub struct Context {
    pub connect: Connect,
}

impl Context {
    pub fn client(&self) -> Result<Client, ClientError> {
        Client::find(&self.connect)
    }
}

pub fn main() -> ExitCode {
    let matches = match command().try_get_matches() {
        Ok(matches) => matches,
        Err(e) => {
            // --help and --version are data and go to stdout; the rest is usage.
            let exit = if e.use_stderr() {
                Exit::Usage
            } else {
                Exit::Ok
            };
            let _ = e.print();
            return exit.into();
        }
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(e) => {
            let _ = e.print();
            return Exit::Usage.into();
        }
    };
    match dispatch(cli) {
        Ok(exit) => exit.into(),
        Err(error) => {
            print_error(&error);
            Exit::of(&error).into()
        }
    }
}

pub(crate) fn command() -> clap::Command {
    // Verbs print with the plain template; only the first page is grouped by hand.
    Cli::command()
}

fn dispatch(cli: Cli) -> anyhow::Result<Exit> {
    let context = Context {
        connect: cli.connect,
    };
    // These need no client, and `up` builds its own runtime.
    let verb = match cli.verb {
        Verb::Up(args) => {
            return crate::up::run(args, context.connect.data_dir()).map(|()| Exit::Ok);
        }
        Verb::Openapi(args) => return openapi::run(&args),
        Verb::Completions(args) => return Ok(completions::run(&args)),
        Verb::Help(args) => return help(&args),
        Verb::Config(args) => return config::run(&args, &context),
        verb => verb,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        match verb {
            Verb::Demo(args) => demo::run(args, &context).await,
            Verb::Console(args) => console::run(&args, &context).await,
            Verb::Version(args) => version::run(&args, &context).await,
            Verb::Apply(args) => apply::run(&args, &context).await,
            Verb::Diff(args) => diff::run(&args, &context).await,
            Verb::Get(args) => get::run(&args, &context).await,
            Verb::Describe(args) => describe::run(&args, &context).await,
            Verb::Edit(args) => edit::run(&args, &context).await,
            Verb::Delete(args) => delete::run(&args, &context).await,
            Verb::Explain(args) => explain::run(&args, &context).await,
            Verb::Observe(args) => observe::run(&args, &context).await,
            Verb::Run(args) => run::run(&args, &context).await,
            Verb::Tasks(args) => tasks::run(&args, &context).await,
            Verb::Logs(args) => logs::run(&args, &context).await,
            Verb::Why(args) => why::run(&args, &context).await,
            Verb::Pause(args) => pause::pause(&args, &context).await,
            Verb::Resume(args) => pause::resume(&args, &context).await,
            Verb::Cancel(args) => cancel::run(&args, &context).await,
            Verb::Retry(args) => retry::run(&args, &context).await,
            Verb::Uncordon(args) => uncordon::run(&args, &context).await,
            Verb::Top(args) => top::run(&args, &context).await,
            Verb::Audit(args) => audit::run(&args, &context).await,
            Verb::Promote(args) => promote::run(&args, &context).await,
            Verb::Rollback(args) => rollback::run(&args, &context).await,
            Verb::Rollout(args) => rollout::run(&args, &context).await,
            Verb::Cordon(args) => cordon::cordon(&args, &context).await,
            Verb::Drain(args) => cordon::drain(&args, &context).await,
            Verb::Wee(args) => wee::run(&args, &context).await,
            Verb::Migrate(args) => migrate::run(&args, &context).await,
            Verb::Worker(args) => worker::run(args, &context).await,
            Verb::Up(_)
            | Verb::Openapi(_)
            | Verb::Completions(_)
            | Verb::Help(_)
            | Verb::Config(_) => Ok(Exit::Ok),
        }
    });
    // A blocked read of stdin must not hold the exit back.
    runtime.shutdown_background();
    result
}

fn help(args: &HelpArgs) -> anyhow::Result<Exit> {
    if args.topic.first().is_some_and(|t| t == "exit-codes") {
        output::print_line(exit::HELP);
        return Ok(Exit::Ok);
    }
    let mut root = command();
    root.build();
    let mut found = &mut root;
    for word in &args.topic {
        found = found
            .find_subcommand_mut(word)
            .ok_or_else(|| anyhow::anyhow!("no verb {word:?}; `sengu help` lists them"))?;
    }
    output::print(&found.render_long_help().to_string());
    Ok(Exit::Ok)
}

/// The one printer of errors: the chain on one line, then places and a hint.
fn print_error(error: &anyhow::Error) {
    let paint = Paint::stderr();
    let problem = error
        .chain()
        .find_map(|c| c.downcast_ref::<ClientError>()?.problem().cloned());
    let mut chain: Vec<String> = Vec::new();
    for cause in error.chain() {
        // Line ends in a message are ours; everything else in it may come from outside.
        let lines: Vec<String> = cause.to_string().lines().map(output::safe).collect();
        let text = lines.join("\n");
        // Some libraries print their source too.
        if !chain.iter().any(|c| c.contains(&text)) {
            chain.push(text);
        }
    }
    say(&format!(
        "{} {}",
        paint.text(Tone::Bad, "error:"),
        chain.join(": ")
    ));
    let Some(problem) = problem else { return };
    // A single fault is often the whole story, told already.
    let told = |fault: &sengu_model::problem::Fault| problem.detail.contains(&fault.message);
    let faults: Vec<_> = problem.errors.iter().filter(|f| !told(f)).collect();
    for fault in faults.iter().take(FAULTS_SHOWN_MAX) {
        let place = paint.text(Tone::Strong, &output::safe(&fault.place));
        let message = output::safe(&fault.message);
        say(&format!("  {place}: {message} ({})", fault.code.as_str()));
        if let Some(hint) = &fault.hint {
            say(&format!("    hint: {}", output::safe(hint)));
        }
    }
    if faults.len() > FAULTS_SHOWN_MAX {
        say(&format!(
            "  and {} more places",
            faults.len() - FAULTS_SHOWN_MAX
        ));
    }
    if let Some(hint) = &problem.hint {
        say(&format!("hint: {}", output::safe(hint)));
    }
    // Only a defect of the server needs to be found in its log.
    if let (Some(id), true) = (&problem.request_id, problem.status >= 500) {
        say(&format!("request: {}", output::safe(id)));
    }
}

/// Wrong places printed from one problem.
const FAULTS_SHOWN_MAX: usize = 20;

/// Asks on the terminal; `None` when there is nobody to ask.
pub(crate) fn ask(question: &str) -> Option<bool> {
    use std::io::{BufRead as _, IsTerminal as _, Write as _};
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return None;
    }
    let mut stderr = std::io::stderr().lock();
    let _ = write!(stderr, "{question} [y/N] ");
    let _ = stderr.flush();
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).ok()?;
    Some(matches!(answer.trim(), "y" | "Y" | "yes" | "Yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    /// The reference page is written by this test: UPDATE_EXPECT=1 cargo test -p sengu reference
    #[test]
    fn the_reference_page_is_what_help_says() {
        let mut page = String::from(
            "# The command line\n\nWritten from the program itself. Exit codes: [exit-codes.md](exit-codes.md).\n",
        );
        fn add(page: &mut String, name: &str, command: &mut clap::Command) {
            use std::fmt::Write as _;
            let help = command.render_long_help().to_string();
            let _ = write!(page, "\n## {name}\n\n```text\n");
            for line in help.lines() {
                let _ = writeln!(page, "{}", line.trim_end());
            }
            page.push_str("```\n");
            for inner in command.get_subcommands_mut() {
                if inner.get_name() != "help" {
                    let name = format!("{name} {}", inner.get_name());
                    add(page, &name, inner);
                }
            }
        }
        let mut root = command().term_width(100);
        // What every verb takes stands on the first page only.
        for argument in ["server", "token_file", "ca_file", "data"] {
            root = root.mut_arg(argument, |a| a.global(false));
        }
        root.build();
        add(&mut page, "sengu", &mut root);
        expect_test::expect_file!["../../../docs/reference/cli.md"].assert_eq(&page);
    }

    #[test]
    fn every_verb_is_on_the_first_page() {
        let mut root = command();
        let page = root.render_long_help().to_string();
        for verb in root.get_subcommands() {
            assert!(
                page.contains(&format!("  {}", verb.get_name())),
                "{}",
                verb.get_name()
            );
        }
    }
}
