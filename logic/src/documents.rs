//! From text to records: multi-document YAML (JSON is YAML) with the place of every fault.

use sengu_model::kinds::{RunSpec, ScheduleSpec, SecretSpec, TargetSpec};
use sengu_model::problem::{Code, Fault, Problem};
use sengu_model::record::{API_VERSION, Record, valid_label_key, valid_name};
use sengu_model::release::ReleaseSpec;
use sengu_model::{limits, quantity};
use serde::{Deserialize, Serialize};

/// One named text, usually a file.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Source {
    /// Shown in the place of a fault.
    pub name: String,
    /// YAML, one or many documents.
    pub text: String,
}

/// A document that is a record of a kind which people may write.
#[derive(Debug)]
pub struct Document {
    pub record: Record,
    pub spec: Spec,
    pub place: String,
}

/// The typed spec.
#[derive(Debug, Clone, PartialEq)]
pub enum Spec {
    Target(Box<TargetSpec>),
    Secret(SecretSpec),
    Schedule(ScheduleSpec),
    Release(ReleaseSpec),
}

/// Kinds that people write; the others are written by sengu.
pub const WRITABLE_KINDS: [&str; 4] = ["Target", "Secret", "Schedule", "Release"];
/// All kinds that can be read.
pub const KINDS: [&str; 7] = [
    "Target", "Secret", "Schedule", "Release", "Run", "Worker", "Wee",
];

const FAULTS_MAX: usize = 50;
const SCHEDULE_EVERY_MIN_MS: u64 = 1_000;

/// Reads all documents of all sources.
///
/// # Errors
/// A problem that names every wrong place (at most 50).
pub fn read(sources: &[Source]) -> Result<Vec<Document>, Problem> {
    let mut documents = Vec::new();
    let mut faults = Vec::new();
    for source in sources {
        for (first_line, text) in split(&source.text) {
            if blank(text) {
                continue;
            }
            if documents.len() >= limits::DOCUMENTS_PER_SET_MAX {
                let what = format!("more than {} documents", limits::DOCUMENTS_PER_SET_MAX);
                return Err(
                    Problem::new(Code::TooManyDocuments, what).hint("apply them as several sets")
                );
            }
            let place = format!("{}:{first_line}", source.name);
            if text.len() > limits::DOCUMENT_BYTES_MAX {
                let message = format!(
                    "document of {} bytes; at most {} are taken",
                    text.len(),
                    limits::DOCUMENT_BYTES_MAX
                );
                faults.push(Fault {
                    place,
                    code: Code::DocumentTooLarge,
                    message,
                    hint: None,
                });
            } else {
                match document(source, first_line, text) {
                    Ok(document) => documents.push(document),
                    Err(mut found) => faults.append(&mut found),
                }
            }
            if faults.len() >= FAULTS_MAX {
                return Err(wrong(faults));
            }
        }
    }
    if faults.is_empty() {
        Ok(documents)
    } else {
        Err(wrong(faults))
    }
}

/// The problem for a list of faults; its code is that of the first.
pub fn wrong(faults: Vec<Fault>) -> Problem {
    let code = faults.first().map_or(Code::InvalidField, |f| f.code);
    let detail = match &faults[..] {
        [one] => format!("{}: {}", one.place, one.message),
        many => format!("{} places are wrong; nothing was changed", many.len()),
    };
    let hint = faults.first().and_then(|f| f.hint.clone());
    let problem = Problem::new(code, detail).errors(faults);
    match hint {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}

/// Documents with the line each begins at. `---` at the start of a line is always a border in YAML.
fn split(text: &str) -> Vec<(usize, &str)> {
    let (mut out, mut start, mut start_line) = (Vec::new(), 0, 1);
    let mut at = 0;
    for (line, content) in text.split_inclusive('\n').enumerate() {
        let word = content.trim_end();
        let border = word == "---" || word.starts_with("--- ") || word == "...";
        if border && at >= start {
            out.push((start_line, &text[start..at]));
            // Content may follow the marker on its line.
            start = if word.len() > 3 {
                at + 3
            } else {
                at + content.len()
            };
            start_line = if word.len() > 3 { line + 1 } else { line + 2 };
        }
        at += content.len();
    }
    out.push((start_line, &text[start.min(text.len())..]));
    out
}

fn blank(text: &str) -> bool {
    text.lines()
        .all(|l| l.trim().is_empty() || l.trim_start().starts_with('#'))
}

fn document(source: &Source, first_line: usize, text: &str) -> Result<Document, Vec<Fault>> {
    let fault = |line: usize, code, message: String, hint: Option<String>| {
        vec![Fault {
            place: format!("{}:{line}", source.name),
            code,
            message,
            hint,
        }]
    };
    let record: Record = yaml(text).map_err(|(line, message)| {
        let code = if message.contains("unknown field") || message.contains("missing field") {
            Code::InvalidField
        } else {
            Code::Syntax
        };
        let hint = "a record has apiVersion, kind, metadata and spec".to_owned();
        fault(first_line + line, code, message, Some(hint))
    })?;
    let name_of = format!(
        "{}/{}",
        record.kind,
        crate::catalog::clip(&record.metadata.name)
    );
    let place = format!("{}:{first_line} {name_of}", source.name);
    let here = |field: &str, code, message: String, hint: Option<String>| {
        vec![Fault {
            place: format!("{place} {field}"),
            code,
            message,
            hint,
        }]
    };
    if record.api_version != API_VERSION {
        let message = format!(
            "apiVersion {:?} is not known",
            crate::catalog::clip(&record.api_version)
        );
        return Err(here(
            "apiVersion",
            Code::InvalidField,
            message,
            Some(format!("write {API_VERSION}")),
        ));
    }
    check_metadata(&record).map_err(|mut f| {
        f.place = format!("{place} {}", f.place);
        vec![f]
    })?;
    if !record.status.is_null() {
        let message = "status is written by sengu".to_owned();
        return Err(here(
            "status",
            Code::InvalidField,
            message,
            Some("leave status out".to_owned()),
        ));
    }
    let spec = typed(&record).map_err(|error| match error {
        SpecError::Kind => here(
            "kind",
            Code::UnknownKind,
            format!(
                "kind {:?} cannot be applied",
                crate::catalog::clip(&record.kind)
            ),
            Some(format!("known: {}", WRITABLE_KINDS.join(", "))),
        ),
        SpecError::Field(message) => {
            // Only now the slower way that knows the line.
            let line = spec_fault_line(&record.kind, text).map_or(first_line, |l| first_line + l);
            vec![Fault {
                place: format!("{}:{line} {name_of} spec", source.name),
                code: Code::InvalidField,
                message,
                hint: Some(format!("see: sengu explain {}", record.kind)),
            }]
        }
    })?;
    Ok(Document {
        record,
        spec,
        place,
    })
}

/// Line (from 0) and message of what is wrong.
fn yaml<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, (usize, String)> {
    serde_saphyr::from_str(text).map_err(|e| {
        let e = e.without_snippet();
        let line = e
            .location()
            .map_or(0, |l| (l.line() as usize).saturating_sub(1));
        (line, e.to_string())
    })
}

enum SpecError {
    Kind,
    Field(String),
}

fn typed(record: &Record) -> Result<Spec, SpecError> {
    fn parse<T: serde::de::DeserializeOwned>(record: &Record) -> Result<T, SpecError> {
        T::deserialize(&record.spec).map_err(|e| SpecError::Field(e.to_string()))
    }
    match record.kind.as_str() {
        "Target" => Ok(Spec::Target(Box::new(parse(record)?))),
        "Secret" => Ok(Spec::Secret(parse(record)?)),
        "Schedule" => {
            let spec: ScheduleSpec = parse(record)?;
            if spec.every.ms < SCHEDULE_EVERY_MIN_MS {
                return Err(SpecError::Field(format!(
                    "every: {} is below 1s",
                    spec.every
                )));
            }
            if let Some(quantity::Share::Count(_)) = spec.jitter {
                return Err(SpecError::Field("jitter: write a percentage".to_owned()));
            }
            if let Err(e) = spec.selector.parse::<sengu_model::Selector>() {
                return Err(SpecError::Field(format!("selector: {e}")));
            }
            Ok(Spec::Schedule(spec))
        }
        "Release" => Ok(Spec::Release(parse(record)?)),
        _ => Err(SpecError::Kind),
    }
}

fn spec_fault_line(kind: &str, text: &str) -> Option<usize> {
    #[derive(Deserialize)]
    struct Only<T> {
        #[allow(dead_code)]
        spec: T,
    }
    let line = match kind {
        "Target" => yaml::<Only<TargetSpec>>(text).err(),
        "Secret" => yaml::<Only<SecretSpec>>(text).err(),
        "Schedule" => yaml::<Only<ScheduleSpec>>(text).err(),
        "Release" => yaml::<Only<ReleaseSpec>>(text).err(),
        "Run" => yaml::<Only<RunSpec>>(text).err(),
        _ => None,
    };
    line.map(|(line, _)| line)
}

/// Name, labels and annotations within their rules.
///
/// # Errors
/// The first fault, with its field as place.
pub fn check_metadata(record: &Record) -> Result<(), Fault> {
    let metadata = &record.metadata;
    let fault = |place: &str, code, message: String, hint: &str| {
        Err(Fault {
            place: place.to_owned(),
            code,
            message,
            hint: Some(hint.to_owned()),
        })
    };
    if !valid_name(&metadata.name) {
        let message = format!(
            "name {:?} is not allowed",
            crate::catalog::clip(&metadata.name)
        );
        let hint = "1 to 128 of a-z 0-9 . - _, beginning and ending with a letter or digit";
        return fault("metadata.name", Code::InvalidName, message, hint);
    }
    if metadata.labels.len() + metadata.annotations.len() > limits::LABELS_PER_RECORD_MAX {
        let message = "more than 64 labels and annotations".to_owned();
        return fault(
            "metadata.labels",
            Code::InvalidField,
            message,
            "keep them in spec or facts",
        );
    }
    for (key, value) in &metadata.labels {
        let hidden = value.chars().any(char::is_control);
        if !valid_label_key(key) || value.len() > limits::LABEL_VALUE_BYTES_MAX || hidden {
            let message = format!("label {:?} is not allowed", crate::catalog::clip(key));
            let hint = "key: letters, digits, . - _ /; value: at most 256 bytes without control characters";
            return fault("metadata.labels", Code::InvalidField, message, hint);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &str) -> String {
        let source = Source {
            name: "a.yaml".to_owned(),
            text: text.to_owned(),
        };
        match read(&[source]) {
            Ok(documents) => format!("{} ok", documents.len()),
            Err(p) => p
                .errors
                .iter()
                .map(|f| format!("{} {}\n", f.code.as_str(), f.place))
                .collect(),
        }
    }

    const HEAD: &str = "apiVersion: sengu/v1\nkind: Target\nmetadata: {name: a}\n";

    #[test]
    fn many_documents_of_which_some_are_blank() {
        let one = format!("{HEAD}spec: {{kind: ssh, address: h}}\n");
        assert_eq!(
            places(&format!("---\n{one}---\n# nothing\n---\n{one}...\n")),
            "2 ok"
        );
        assert_eq!(places(""), "0 ok");
    }

    #[test]
    fn wrong_places_are_named_with_their_line() {
        let table = [
            (
                format!("{HEAD}spec:\n  kind: ssh\n  adress: h\n"),
                "invalid_field a.yaml:6 Target/a spec\n",
            ),
            (
                format!("{HEAD}spec: {{kind: ssh}}\n"),
                "invalid_field a.yaml:4 Target/a spec\n",
            ),
            ("[\n".to_owned(), "syntax"),
            (
                "apiVersion: v9\nkind: Target\nmetadata: {name: a}\n".to_owned(),
                "invalid_field a.yaml:1 Target/a apiVersion\n",
            ),
            (
                "apiVersion: sengu/v1\nkind: Lamp\nmetadata: {name: a}\n".to_owned(),
                "unknown_kind a.yaml:1 Lamp/a kind\n",
            ),
            (
                "apiVersion: sengu/v1\nkind: Target\nmetadata: {name: A b}\n".to_owned(),
                "invalid_name a.yaml:1 Target/A b metadata.name\n",
            ),
            (
                "apiVersion: sengu/v1\nkind: Schedule\nmetadata: {name: a}\nspec: {every: 30}\n"
                    .to_owned(),
                "invalid_field a.yaml:4 Schedule/a spec\n",
            ),
        ];
        for (text, expected) in table {
            let got = places(&text);
            assert!(got.starts_with(expected), "{text}\n{got}");
        }
    }

    #[test]
    fn a_document_over_the_limit_is_refused_alone() {
        let text = format!(
            "{HEAD}spec: {{kind: ssh, address: h}}\n---\n# {}\nx: y\n",
            "x".repeat(2 << 20)
        );
        assert_eq!(places(&text), "document_too_large a.yaml:6\n");
    }
}
