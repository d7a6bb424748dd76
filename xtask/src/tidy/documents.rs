//! A document that names a path that is not there misleads whoever trusts it.

use super::File;
use std::collections::BTreeSet;

/// Words with a `/` that begin like a folder of the repository and are none.
const NOT_PATHS: [(&str, &str); 1] = [(
    "sengu/v1",
    "the apiVersion of every record, and the beginning of every topic",
)];

/// Made by a build, so never tracked.
const BUILT: [&str; 2] = ["target", "dist"];

pub fn check(files: &[File], paths: &[String]) -> Vec<String> {
    let known = known(paths);
    let mut broken = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".md")) {
        let mut fenced = false;
        for (number, line) in file.text.lines().enumerate() {
            if line.trim_start().starts_with("```") {
                fenced = !fenced;
                continue;
            }
            // What stands in a code block is the reader's own machine.
            if fenced {
                continue;
            }
            let named = in_backticks(line).filter(|word| looks_like_path(word, &known));
            for path in named.chain(links(line)) {
                if !exists(path, &file.path, &known) {
                    let at = format!("{}:{}", file.path, number + 1);
                    broken.push(format!("{at}: {path:?} does not exist"));
                }
            }
        }
    }
    broken
}

/// Every file, and every folder that has one.
fn known(paths: &[String]) -> BTreeSet<&str> {
    let mut known = BTreeSet::new();
    for path in paths {
        known.insert(path.as_str());
        known.extend(path.match_indices('/').map(|(at, _)| &path[..at]));
    }
    known
}

fn in_backticks(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| {
        let link = rest.split([')', ' ']).next()?;
        let elsewhere = link.contains("://") || link.starts_with(['#', '/']) || link.contains(':');
        (!elsewhere && !link.is_empty()).then_some(link)
    })
}

fn is_none_of_ours(path: &str) -> bool {
    let mut words = NOT_PATHS.iter();
    words.any(|(not, _)| path == *not || path.starts_with(&format!("{not}/")))
}

/// A path from the root: its first folder is one of ours. Or a document of the root.
fn looks_like_path(word: &str, known: &BTreeSet<&str>) -> bool {
    let path = word.trim_start_matches("./");
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./*<>{},:#".contains(c);
    if !path.chars().all(plain) || is_none_of_ours(path) {
        return false;
    }
    match path.split_once('/') {
        Some((first, _)) => known.contains(first) && !BUILT.contains(&first),
        None => path
            .strip_suffix(".md")
            .is_some_and(|name| name.chars().all(|c| c.is_ascii_uppercase())),
    }
}

/// From the root, or from the document's own folder.
fn exists(path: &str, document: &str, known: &BTreeSet<&str>) -> bool {
    let path = path.split(['#', ':']).next().unwrap_or_default();
    let folder = document.rsplit_once('/').map_or("", |(folder, _)| folder);
    [folder, ""].iter().any(|base| {
        // A name that stands for many is good when what comes before it is there.
        let mut parts: Vec<&str> = base.split('/').filter(|part| !part.is_empty()).collect();
        for part in path.split('/') {
            match part {
                "" | "." => {}
                ".." if parts.pop().is_none() => return false,
                ".." => {}
                many if many.contains(['*', '<', '{']) => break,
                one => parts.push(one),
            }
        }
        parts.is_empty() || known.contains(parts.join("/").as_str())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(path: &str, text: &str) -> usize {
        let paths = ["a/src/b.rs", "a/README.md", "README.md"].map(String::from);
        let file = File {
            path: path.into(),
            text: text.into(),
        };
        check(&[file], &paths).len()
    }

    #[test]
    fn paths_that_do_not_exist_are_named() {
        for good in [
            "`a/src/b.rs` `a/src/` `a/*/b.rs` `a/<kind>/x` `GET /v1/a` `other/x.rs` `x.rs`",
            "[b](a/src/b.rs#L3) [w](https://example.org/x) [h](#here) `a/src/b.rs:10`",
            "```\n`a/src/none.rs`\n```",
        ] {
            assert_eq!(broken("README.md", good), 0, "{good}");
        }
        assert_eq!(broken("a/README.md", "[b](src/b.rs) [up](../README.md)"), 0);
        for bad in ["`a/none.rs`", "[b](none.md)", "`GONE.md`", "`a/none/*/x`"] {
            assert_eq!(broken("README.md", bad), 1, "{bad}");
        }
    }
}
