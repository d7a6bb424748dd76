//! What a developer runs: demo, test, dist, stage, sync, tidy, bench, openapi, licences, console. It
//! compiles first on a new machine, so it must stay small, and it runs programs: it must never link a sengu crate.

mod bench;
mod component;
mod console;
mod demo;
mod dist;
mod licences;
mod needs;
mod node;
mod openapi;
mod run;
mod stage;
mod sync;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask <verb>

  demo [args..]               build everything in release, then run `sengu demo args..`
  test [nextest args..]       install what the tests need, build, run every test
  stage [--release|--profile P]  build sengu and the workers, laid out so that sengu finds them
  dist                        pack dist/sengu-<version>-<arch>-linux.tar.gz and try it out
  bench [args..]              build everything in release, then run the benches
  sync [--check]              write the list of drivers (--check: fail when out of date)
  openapi [--check]           write docs/reference/openapi.json (--check: fail when out of date)
  licences [--check]          write console/public/licences.json (--check: fail when out of date)
  console [--check]           build console/dist (--check: test the console, fail when dist is out of date)
  tidy                        check the rules of the repository that no compiler checks
";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let verb = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    let result = match verb.as_str() {
        "demo" => demo::demo(&rest),
        "test" => test::test(&rest),
        "stage" => stage::stage_verb(&rest),
        "dist" => dist::dist(&rest),
        "bench" => bench::bench(&rest),
        "sync" => sync::sync_verb(&rest),
        "openapi" => openapi::openapi(&rest),
        "console" => console::console(&rest),
        "licences" => licences::licences(&rest),
        "tidy" => tidy::tidy_verb(&rest),
        "" | "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        other => Err(anyhow::anyhow!("unknown verb {other:?}\n\n{HELP}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
