//! Lists what `npm run build` left in `dist`, so that the binary holds it. Building the binary needs no Node.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or(io::ErrorKind::NotFound)?);
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?);
    let dist = root.join("dist");
    println!("cargo:rerun-if-changed=dist");
    println!("cargo:rerun-if-changed=serve/unbuilt.html");
    let mut paths = Vec::new();
    if dist.join("index.html").is_file() {
        walk(&dist, &mut paths)?;
    }
    paths.sort();
    let mut text = "static FILES: &[File] = &[\n".to_owned();
    for path in &paths {
        println!("cargo:rerun-if-changed={}", path.display());
        let name = path.strip_prefix(&dist).map_err(io::Error::other)?;
        let Some(name) = name.to_str() else {
            return Err(io::Error::other(format!("{} is no text", path.display())));
        };
        if name.ends_with(".br") {
            continue; // goes with the file that it is of
        }
        let packed = PathBuf::from(format!("{}.br", path.display()));
        let brotli = match paths.contains(&packed) {
            true => format!("Some(include_bytes!({packed:?}))"),
            false => "None".to_owned(),
        };
        let _ = writeln!(
            text,
            "    File {{ path: {name:?}, bytes: include_bytes!({path:?}), brotli: {brotli} }},"
        );
    }
    if paths.is_empty() {
        let unbuilt = root.join("serve/unbuilt.html");
        let _ = writeln!(
            text,
            "    File {{ path: \"index.html\", bytes: include_bytes!({unbuilt:?}), brotli: None }},"
        );
    }
    text.push_str("];\n");
    fs::write(out.join("files.rs"), text)
}

fn walk(folder: &Path, paths: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            println!("cargo:rerun-if-changed={}", path.display());
            walk(&path, paths)?;
        } else {
            paths.push(path);
        }
    }
    Ok(())
}
