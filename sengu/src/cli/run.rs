//! `sengu run`: one action on many targets, in batches, with a failure budget.

use super::nouns::Noun;
use super::wait::{Follow, WaitArgs};
use super::{Context, params, views, workers};
use crate::client::{Client, Pages, encode};
use crate::exit::Exit;
use crate::output::{self, FormatArg, Paint, Tone, say};
use anyhow::bail;
use sengu_model::quantity::{Duration, Share};
use serde_json::{Map, Value, json};
use views::{number, text};

/// Run an action on targets, in batches, with a failure budget
///
/// sengu run power.set state=off -l rack=r12 --batch 10% --max-fail 2%
///
/// Words with `=` are parameters of the action, the others names of targets. On a terminal a change of more
/// than one target is asked for first; --yes does not ask.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Action, such as power.set; `sengu explain redfish` lists them
    action: String,
    /// Parameters (key=value) and names of targets
    #[arg(value_name = "KEY=VALUE|TARGET")]
    words: Vec<String>,
    /// Parameters as a JSON object, or @FILE
    #[arg(long, value_name = "JSON|@FILE")]
    params: Option<String>,
    #[command(flatten)]
    choice: Choice,
    /// Targets per batch; the next begins when the last is over and the budget holds
    #[arg(long, value_name = "N|10%")]
    batch: Option<Share>,
    /// Targets that may fail or be unknown, over all batches, before the run stops
    #[arg(long, value_name = "N|2%")]
    max_fail: Option<Share>,
    /// Time for one attempt on one target (default: the action's own)
    #[arg(long, value_name = "30s")]
    attempt_timeout: Option<Duration>,
    /// Version of the worker that must do it, whatever the Release says; refused where it cannot
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// For actions that let the caller say it (exec)
    #[arg(long, value_name = "read|idempotent|probe|once")]
    effect: Option<String>,
    /// Keep what passes between sengu and the worker in the tasks' logs (`sengu logs`), without secrets; of at most 100 targets
    #[arg(long)]
    frames: bool,
    /// Show what would be done and to which targets
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    output: FormatArg,
}

/// Which targets: shared by `run` and `observe`.
#[derive(Debug, Clone, clap::Args)]
pub struct Choice {
    /// Labels, fields and facts: site=tyo1,rack in (r1,r2),firmware<2.0,!retired,name~bmc-*
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// All targets
    #[arg(long, conflicts_with = "selector")]
    pub all: bool,
    /// At most this many targets, in name order
    #[arg(long, value_name = "N")]
    pub limit: Option<u32>,
    /// Not these targets
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    pub exclude: Vec<String>,
}

/// Every target has a name, so this selects all of them.
const ALL: &str = "name";
/// Runs up to this size print what each target gave back.
const RESULTS_SHOWN_MAX: u64 = 20;

pub async fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let mut client = context.client()?;
    let (words, targets) = params::split(&args.words);
    let mut spec = args.choice.spec(&targets)?;
    if spec.is_empty() {
        bail!("on which targets? Name them, or say -l SELECTOR, or --all");
    }
    let schema = schema_of(&client, &args.action).await?;
    spec.insert("action".to_owned(), json!(args.action));
    let params = params::object(args.params.as_deref(), &words, schema.as_ref())?;
    if !params.is_null() {
        spec.insert("params".to_owned(), params);
    }
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            spec.insert(key.to_owned(), value);
        }
    };
    put("batch", args.batch.map(|v| json!(v)));
    put("maxFail", args.max_fail.map(|v| json!(v)));
    put("timeout", args.attempt_timeout.map(|v| json!(v)));
    put("version", args.version.as_ref().map(|v| json!(v)));
    put("frames", args.frames.then_some(json!(true)));
    put("effect", args.effect.as_ref().map(|v| json!(v)));
    let spec = Value::Object(spec);

    if args.dry_run {
        let plan: Value = client
            .post("/v1/runs", &[("dryRun", "true")], &spec)
            .await?;
        return show_plan(args, &plan);
    }
    if !args.yes && std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        let plan: Value = client
            .post("/v1/runs", &[("dryRun", "true")], &spec)
            .await?;
        if number(&plan, "/count") > 1
            && text(&plan, "/effect") != "read"
            && super::ask(&format!("{} Go on?", plan_sentence(&args.action, &plan))) == Some(false)
        {
            say("nothing was done");
            return Ok(Exit::Ok);
        }
    }
    let run: Value = client.post("/v1/runs", &[], &spec).await?;
    let follow = Follow {
        args: &args.wait,
        format: args.output.format,
    };
    let (exit, run) = follow.follow(&mut client, run).await?;
    if let Some(run) = run {
        if args.output.format.for_people() && number(&run, "/status/targets") <= RESULTS_SHOWN_MAX {
            show_results(&client, &run).await?;
        }
        follow.tell(&client, &run).await?;
    }
    Ok(exit)
}

impl Choice {
    /// The part of a RunSpec that says which targets; empty when nothing was said.
    pub fn spec(&self, targets: &[String]) -> anyhow::Result<Map<String, Value>> {
        let mut spec = Map::new();
        if self.all {
            spec.insert("selector".to_owned(), json!(ALL));
        } else if let Some(selector) = &self.selector {
            selector.parse::<sengu_model::Selector>()?;
            let all = selector.trim().is_empty();
            spec.insert(
                "selector".to_owned(),
                json!(if all { ALL } else { selector }),
            );
        }
        if !targets.is_empty() {
            spec.insert("targets".to_owned(), json!(targets));
        }
        if spec.is_empty() {
            return Ok(spec);
        }
        if let Some(limit) = self.limit {
            spec.insert("limit".to_owned(), json!(limit));
        }
        if !self.exclude.is_empty() {
            spec.insert("exclude".to_owned(), json!(self.exclude));
        }
        Ok(spec)
    }
}

/// The parameters' schema of an action, from whichever worker declares it.
async fn schema_of(client: &Client, action: &str) -> anyhow::Result<Option<Value>> {
    let path = format!("/v1/records/{}", Noun::Worker.kind());
    let mut pages = Pages::new(client, &path, &[], usize::MAX);
    while let Some(page) = pages.next::<Value>().await? {
        let declared = page.items.iter().flat_map(workers::actions);
        let mut found = declared.filter(|a| text(a, "/name") == action);
        if let Some(params) = found.find_map(|a| a.get("params").cloned()) {
            return Ok(Some(params));
        }
    }
    Ok(None)
}

fn plan_sentence(action: &str, plan: &Value) -> String {
    let batches = plan
        .get("batches")
        .and_then(Value::as_array)
        .map_or(0, Vec::len);
    let batches = if batches > 1 {
        format!(" in {batches} batches")
    } else {
        String::new()
    };
    format!(
        "{action} (effect {}) on {}{batches}.",
        text(plan, "/effect"),
        output::count(number(plan, "/count"), "target")
    )
}

fn show_plan(args: &Args, plan: &Value) -> anyhow::Result<Exit> {
    if !args.output.format.for_people() && args.output.format != output::Format::Name {
        output::print_value(args.output.format, plan)?;
        return Ok(Exit::Ok);
    }
    let targets = plan
        .get("targets")
        .and_then(Value::as_array)
        .map(Vec::as_slice);
    for target in targets.unwrap_or_default() {
        output::print_line(&format!("target/{}", output::safe(&views::scalar(target))));
    }
    say(&plan_sentence(&args.action, plan));
    let sizes = text(plan, "/batches");
    if sizes.contains(',') {
        say(&format!("batches of {sizes}"));
    }
    say(&format!(
        "each attempt may take {}",
        output::span(number(plan, "/timeoutMs"))
    ));
    say("dry run: nothing was done");
    Ok(Exit::Ok)
}

/// What the targets gave back, for runs small enough to be read.
async fn show_results(client: &Client, run: &Value) -> anyhow::Result<()> {
    let name = text(run, "/metadata/name");
    let query = [("run", name.as_str())];
    let tasks = client
        .list::<Value>("/v1/tasks", &query, 2 * RESULTS_SHOWN_MAX as usize)
        .await?;
    let mut tasks = tasks.items;
    tasks.sort_by_key(|t| text(t, "/target"));
    let paint = Paint::stdout();
    for task in &tasks {
        // A failure may have more to say than its one line: what a command wrote, what a BMC answered.
        let given = ["/ending/outcome/result", "/ending/outcome/detail"];
        let given = given
            .iter()
            .find_map(|p| task.pointer(p).filter(|r| !r.is_null()));
        let Some(result) = given else { continue };
        let target = output::safe(&text(task, "/target"));
        output::print_line(&paint.text(Tone::Strong, &format!("{target}:")));
        match result {
            Value::Object(map) => {
                for (key, value) in map {
                    print_field(&output::safe(key), value);
                }
            }
            other => output::print_line(&format!("  {}", output::safe(&views::scalar(other)))),
        }
    }
    Ok(())
}

fn print_field(key: &str, value: &Value) {
    match value {
        Value::String(s) if s.is_empty() => {}
        Value::String(s) if s.trim_end().contains('\n') => {
            output::print_line(&format!("  {key}:"));
            for line in s.trim_end().lines() {
                output::print_line(&format!("    {}", output::safe(line)));
            }
        }
        Value::String(s) => output::print_line(&format!("  {key}: {}", output::safe(s.trim_end()))),
        other => output::print_line(&format!("  {key}: {}", output::safe(&views::scalar(other)))),
    }
}

/// Path of a run in the API.
pub fn path(name: &str) -> String {
    format!("/v1/runs/{}", encode(name))
}
