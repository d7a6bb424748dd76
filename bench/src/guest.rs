//! The component of the WASM runtime's bench, made of text: no compiler is needed for it.

use anyhow::{Context as _, Result};
use wit_component::{ComponentEncoder, StringEncoding};

const WORLD: &str = include_str!("../../execution/runtimes/wasm/wit/worker.wit");
const NOOP: &str = include_str!("noop.wat");

/// A component that does each task by saying so.
pub fn noop() -> Result<Vec<u8>> {
    let mut module = wat::parse_str(NOOP).context("read noop.wat")?;
    let mut resolve = wit_parser::Resolve::default();
    let package = resolve
        .push_str("worker.wit", WORLD)
        .context("read worker.wit")?;
    let world = resolve.select_world(&[package], Some("worker"))?;
    wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    let encoder = ComponentEncoder::default().validate(true).module(&module)?;
    let mut encoder = encoder;
    encoder.encode().context("make the component")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_guest_fits_the_world_of_workers() {
        assert!(super::noop().unwrap().starts_with(b"\0asm"));
    }
}
