//! What no tracked text may hold, how long a source file may be, and how a crate begins.

use super::File;

const LINES_MAX: usize = 600;

/// Files that may be longer, each with the reason.
const LONGER: [(&str, &str); 0] = [];

/// Written in halves, because this file is searched too.
const UNFINISHED: [&str; 4] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
];

/// Folders of somebody's machine: they mean nothing to a reader.
const MACHINE: [&str; 3] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!(".lib", "rary"),
];

pub fn check(files: &[File]) -> Vec<String> {
    let mut broken = Vec::new();
    for file in files {
        // Written by cargo, not by us.
        if file.path == "Cargo.lock" {
            continue;
        }
        for (number, line) in file.text.lines().enumerate() {
            let at = format!("{}:{}", file.path, number + 1);
            for word in UNFINISHED.iter().filter(|word| stands_alone(line, word)) {
                broken.push(format!("{at}: {word:?}: finish it or leave it out"));
            }
            for path in MACHINE.iter().filter(|path| stands_alone(line, path)) {
                broken.push(format!("{at}: {path:?}: a path of one machine"));
            }
        }
        if file.path.ends_with(".rs") {
            broken.extend(source(file));
        }
    }
    broken
}

fn source(file: &File) -> Vec<String> {
    let mut broken = Vec::new();
    let lines = file.text.lines().count();
    let longer = LONGER.iter().any(|(path, _)| *path == file.path);
    if lines > LINES_MAX && !longer {
        broken.push(format!(
            "{}: {lines} lines, more than {LINES_MAX}: one concept per file",
            file.path
        ));
    }
    let top = file.path.ends_with("src/lib.rs") || file.path.ends_with("src/main.rs");
    if top && !file.text.starts_with("//! ") {
        broken.push(format!(
            "{}: the first line says why the crate exists (//! ..)",
            file.path
        ));
    }
    broken
}

/// Found, and not as a part of a longer word or path.
fn stands_alone(line: &str, word: &str) -> bool {
    let in_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let letter_ends = word.ends_with(|c: char| c.is_ascii_alphabetic());
        let longer_before = before.is_some_and(|c| in_word(c) || c == '.');
        let longer_after = letter_ends && after.is_some_and(in_word);
        !(longer_before || longer_after)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(path: &str, text: &str) -> usize {
        check(&[File {
            path: path.into(),
            text: text.into(),
        }])
        .len()
    }

    #[test]
    fn unfinished_work_and_machine_paths_are_found() {
        assert_eq!(broken("a.md", concat!("x TO", "DO: later")), 1);
        assert_eq!(broken("a.md", concat!("METO", "DOS")), 0);
        assert_eq!(broken("a.py", concat!("open('/ro", "ot/x')")), 1);
        assert_eq!(broken("a.md", concat!("home/ro", "ot/x")), 0);
    }

    #[test]
    fn a_long_file_and_a_crate_without_a_reason_are_named() {
        assert_eq!(broken("x/src/lib.rs", "fn main() {}\n"), 1);
        assert_eq!(broken("x/src/lib.rs", "//! Why.\n"), 0);
        assert_eq!(broken("x/src/a.rs", &"\n".repeat(LINES_MAX + 1)), 1);
        assert_eq!(broken("x/src/a.rs", &"\n".repeat(LINES_MAX)), 0);
    }
}
