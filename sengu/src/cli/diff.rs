//! `sengu diff`: what apply would change, computed by the server. Exit code 1 means there are differences.

use super::apply::{Applied, name_of};
use super::{Context, sources};
use crate::exit::Exit;
use crate::output::{self, Paint, Tone};
use serde_json::{Value, json};

/// What apply would change
///
/// Exit code 0: nothing; 1: there are differences; more: see `sengu help exit-codes`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    files: sources::FilesArg,
}

/// Unchanged lines shown around a change.
const AROUND: usize = 3;
/// Lines of one record that are compared line by line; the quadratic table stays small.
const LINES_MAX: usize = 2_000;

pub async fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let sources = sources::read(&args.files.files)?;
    let body = json!({"sources": sources, "dryRun": true});
    let applied: Applied = context.client()?.post("/v1/apply", &[], &body).await?;
    let mut differs = false;
    let paint = Paint::stdout();
    for one in applied
        .results
        .iter()
        .filter(|one| one.change != "unchanged")
    {
        differs = true;
        let before = text_of(one.before.as_ref())?;
        let after = text_of(one.after.as_ref())?;
        let name = output::safe(&name_of(one));
        output::print_line(&paint.text(Tone::Strong, &format!("--- {name} (now)")));
        let place = output::safe(one.place.as_deref().unwrap_or("applied"));
        output::print_line(&paint.text(Tone::Strong, &format!("+++ {name} ({place})")));
        for line in unified(&before, &after) {
            let tone = match line.as_bytes().first() {
                Some(b'+') => Tone::Good,
                Some(b'-') => Tone::Bad,
                Some(b'@') => Tone::Dim,
                _ => Tone::Plain,
            };
            output::print_line(&paint.text(tone, &output::safe(&line)));
        }
    }
    Ok(if differs { Exit::NotAsWanted } else { Exit::Ok })
}

/// The declared part of a record: what the server fills in is no difference.
fn text_of(record: Option<&Value>) -> anyhow::Result<String> {
    let Some(Value::Object(record)) = record else {
        return Ok(String::new());
    };
    let mut record = record.clone();
    record.remove("status");
    if let Some(Value::Object(metadata)) = record.get_mut("metadata") {
        for key in ["uid", "revision", "createdAt"] {
            metadata.remove(key);
        }
    }
    output::to_yaml(&record)
}

/// Lines with their sign, changes with three lines around them.
fn unified(before: &str, after: &str) -> Vec<String> {
    let a: Vec<&str> = before.lines().collect();
    let b: Vec<&str> = after.lines().collect();
    let marked = if a.len() > LINES_MAX || b.len() > LINES_MAX {
        let gone = a.iter().map(|l| ('-', *l));
        gone.chain(b.iter().map(|l| ('+', *l))).collect()
    } else {
        compare(&a, &b)
    };
    let near = |i: usize| {
        let from = i.saturating_sub(AROUND);
        marked[from..marked.len().min(i + AROUND + 1)]
            .iter()
            .any(|(sign, _)| *sign != ' ')
    };
    let mut out = Vec::new();
    let mut hidden = 0;
    for (i, (sign, line)) in marked.iter().enumerate() {
        if near(i) {
            if hidden > 0 {
                out.push(format!("@@ {hidden} lines alike @@"));
                hidden = 0;
            }
            out.push(format!("{sign}{line}"));
        } else {
            hidden += 1;
        }
    }
    out
}

/// Longest common subsequence, after cutting equal ends.
fn compare<'a>(a: &[&'a str], b: &[&'a str]) -> Vec<(char, &'a str)> {
    let head = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let tail = a[head..]
        .iter()
        .rev()
        .zip(b[head..].iter().rev())
        .take_while(|(x, y)| x == y)
        .count();
    let (am, bm) = (&a[head..a.len() - tail], &b[head..b.len() - tail]);
    let width = bm.len() + 1;
    let mut longest = vec![0_u32; (am.len() + 1) * width];
    for i in (0..am.len()).rev() {
        for j in (0..bm.len()).rev() {
            longest[i * width + j] = if am[i] == bm[j] {
                longest[(i + 1) * width + j + 1] + 1
            } else {
                longest[(i + 1) * width + j].max(longest[i * width + j + 1])
            };
        }
    }
    let mut out: Vec<(char, &str)> = a[..head].iter().map(|l| (' ', *l)).collect();
    let (mut i, mut j) = (0, 0);
    while i < am.len() || j < bm.len() {
        if i < am.len() && j < bm.len() && am[i] == bm[j] {
            out.push((' ', am[i]));
            i += 1;
            j += 1;
        } else if i < am.len()
            && (j == bm.len() || longest[(i + 1) * width + j] >= longest[i * width + j + 1])
        {
            out.push(('-', am[i]));
            i += 1;
        } else {
            out.push(('+', bm[j]));
            j += 1;
        }
    }
    out.extend(a[a.len() - tail..].iter().map(|l| (' ', *l)));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_stand_between_what_is_alike() {
        let before = "a\nb\nc\nd\ne\nf\ng\nh\n";
        let after = "a\nb\nc\nd\ne\nF\ng\nh\ni\n";
        let expected = [
            "@@ 2 lines alike @@",
            " c",
            " d",
            " e",
            "-f",
            "+F",
            " g",
            " h",
            "+i",
        ];
        assert_eq!(unified(before, after), expected);
        assert!(unified(before, before).is_empty());
        assert_eq!(unified("", "x\n"), ["+x"]);
    }

    #[test]
    fn what_the_server_fills_in_is_no_difference() {
        let with = json!({"kind":"Target","metadata":{"name":"a","revision":5},"status":{"x":1}});
        let without = json!({"kind":"Target","metadata":{"name":"a"}});
        assert_eq!(
            text_of(Some(&with)).unwrap(),
            text_of(Some(&without)).unwrap()
        );
    }
}
