//! Words of a command line: quoted for the login shell of the host, and taken apart again by the twin.
//!
//! A login shell may be sh, bash, zsh, ksh or fish (csh too, while no newline is inside). Never build a command by
//! joining text that is not quoted here.

/// `word` so that any of those shells reads it as one word. Quotes and backslashes stand in double quotes, since
/// fish reads a backslash inside single quotes otherwise than sh does.
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+,=".contains(c);
    if !word.is_empty() && !word.starts_with('=') && word.chars().all(plain) {
        return word.to_owned();
    }
    let mut quoted = String::with_capacity(word.len() + 16);
    quoted.push('\'');
    for c in word.chars() {
        match c {
            '\'' => quoted.push_str(r#"'"'"'"#),
            '\\' => quoted.push_str(r#"'"\\"'"#),
            c => quoted.push(c),
        }
    }
    quoted.push('\'');
    quoted
}

/// Takes apart a line as `sh` would, without expansions; none when a quote is left open.
pub fn split(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '"' => break,
                        '\\' => match chars.next()? {
                            c @ ('"' | '\\' | '$' | '`') => word.push(c),
                            c => word.extend(['\\', c]),
                        },
                        c => word.push(c),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(chars.next()?),
            c if c.is_whitespace() => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AWKWARD: [&str; 11] = [
        "",
        "true",
        "it's",
        r"a\b",
        r"\'",
        "two words",
        "$HOME `id` !x",
        "a\nb",
        "=x",
        "\"",
        "ünï %s\\n",
    ];

    #[test]
    fn what_is_quoted_comes_back_as_it_was() {
        for word in AWKWARD {
            assert_eq!(split(&quote(word)).unwrap(), [word], "{word:?}");
        }
        assert_eq!(split("a  'b c'd \"e f\" ").unwrap(), ["a", "b cd", "e f"]);
        assert_eq!(split("echo 'open"), None);
    }

    #[test]
    fn a_real_shell_reads_it_the_same_way() {
        for word in AWKWARD {
            let line = format!("printf %s {}", quote(word));
            let output = std::process::Command::new("/bin/sh")
                .args(["-c", &line])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout), word, "{line}");
        }
    }
}
