//! Compiling a component in a process of its own: the compiler is large, slow and fed with other people's bytes, and
//! none of that belongs into the process that does the work.

use crate::cache::{Scratch, private};
use crate::{engine, limits};
use rustix::process::{Resource, Rlimit, setrlimit};
use sengu_execution::runtime::RuntimeError;
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{ExitCode, Stdio};
use wasmtime::Engine;

/// `main` of the compiler: reads the component `<in>`, writes its compiled form to the new file `<out>`. Exits with 1
/// when the component is wrong, with 2 when something else is; the last line on stderr says what.
pub fn compile_main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.collect();
    let [input, output] = &arguments[..] else {
        eprintln!("two arguments are wanted: the component and the file to write");
        return ExitCode::from(2);
    };
    // Nobody waits at a terminal for this, and others have work to do.
    let _ = rustix::process::nice(10);
    let limit = Rlimit {
        current: Some(limits::COMPILER_BYTES_MAX),
        maximum: Some(limits::COMPILER_BYTES_MAX),
    };
    let _ = setrlimit(Resource::Data, limit);
    match compile_file(Path::new(input), Path::new(output)) {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, why)) => {
            eprintln!("{why}");
            ExitCode::from(code)
        }
    }
}

fn compile_file(input: &Path, output: &Path) -> Result<(), (u8, String)> {
    let component = fs::read(input).map_err(|e| (2, format!("read {}: {e}", input.display())))?;
    let engine = Engine::new(&engine::config()).map_err(|e| (2, format!("the engine: {e:#}")))?;
    let compiled = engine
        .precompile_component(&component)
        .map_err(|e| (1, one_line(&format!("{e:#}"))))?;
    private(output)
        .and_then(|mut file| file.write_all(&compiled))
        .map_err(|e| (2, format!("write {}: {e}", output.display())))
}

/// Runs the compiler on `component` and gives what it wrote.
///
/// # Errors
/// `Image` when the component is wrong, else `Engine` or `Io`.
pub async fn compile(
    compiler: &[OsString],
    kind: &str,
    component: &[u8],
    scratch: &Scratch,
) -> Result<Vec<u8>, RuntimeError> {
    let io = |what: &str, path: &Path| RuntimeError::io(format!("{what} {}", path.display()));
    let (input, output) = (&scratch.component, &scratch.compiled);
    private(input)
        .and_then(|mut file| file.write_all(component))
        .map_err(io("write", input))?;
    let (program, arguments) = compiler
        .split_first()
        .ok_or_else(|| RuntimeError::Engine("no compiler is known".to_owned()))?;
    let child = tokio::process::Command::new(program)
        .args(arguments)
        .args([input, output])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(io("start the compiler", Path::new(program)))?;
    let ended = tokio::time::timeout(limits::COMPILE_MAX, child.wait_with_output()).await;
    let ended = match ended {
        Ok(ended) => ended.map_err(io("wait for the compiler", Path::new(program)))?,
        Err(_) => {
            return Err(RuntimeError::Image {
                kind: kind.to_owned(),
                why: format!(
                    "its component takes more than {} s to compile",
                    limits::COMPILE_MAX.as_secs()
                ),
            });
        }
    };
    if ended.status.success() {
        return read(output, limits::COMPILED_BYTES_MAX);
    }
    let said = String::from_utf8_lossy(&ended.stderr);
    let last = said.lines().rfind(|line| !line.trim().is_empty());
    let why: String = last
        .unwrap_or("it said nothing")
        .chars()
        .take(400)
        .collect();
    Err(match ended.status.code() {
        Some(1) => RuntimeError::Image {
            kind: kind.to_owned(),
            why: format!("its component cannot be used: {why}"),
        },
        _ => RuntimeError::Engine(format!(
            "the WASM compiler ended with {}: {why}",
            ended.status
        )),
    })
}

/// Reads a file of at most `bytes_max` bytes.
///
/// # Errors
/// Also when it is larger.
pub fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, RuntimeError> {
    use std::io::Read as _;
    let io = || RuntimeError::io(format!("read {}", path.display()));
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(io())?;
    file.take(bytes_max + 1)
        .read_to_end(&mut bytes)
        .map_err(io())?;
    if bytes.len() as u64 > bytes_max {
        return Err(RuntimeError::Engine(format!(
            "{} has more than {bytes_max} bytes",
            path.display()
        )));
    }
    Ok(bytes)
}

pub fn one_line(text: &str) -> String {
    text.split('\n')
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("; ")
}
