//! Makes a component of a core module: `sengu-wasm-wrap <module.wasm> <component.wasm>`.

use std::path::Path;
use std::process::ExitCode;
use wit_component::ComponentEncoder;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [module, component] = &arguments[..] else {
        eprintln!("two arguments are wanted: the module and the component to write");
        return ExitCode::from(2);
    };
    match wrap(Path::new(module), Path::new(component)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{}: {why}", Path::new(module).display());
            ExitCode::FAILURE
        }
    }
}

fn wrap(module: &Path, component: &Path) -> Result<(), String> {
    let bytes = std::fs::read(module).map_err(|e| e.to_string())?;
    let encoded = ComponentEncoder::default()
        .validate(true)
        .module(&bytes)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|e| format!("{e:#}"))?;
    std::fs::write(component, encoded).map_err(|e| format!("write {}: {e}", component.display()))
}
