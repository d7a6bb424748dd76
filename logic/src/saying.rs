//! What sengu says of how things stand, as data: a code for programs and other languages, the facts by name, and the
//! English sentence made of both.
//!
//! A code never changes its meaning and always has the same facts. A fact is a value and never a sentence of sengu's, but
//! for `why` and `message`: those are what a device, an engine or another part said, as it said it.

use serde::Serialize;
use std::collections::BTreeMap;

/// A sentence without its words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Saying {
    pub code: SayingCode,
    /// What fills the places of the sentence. `since`, `at` and `until` are times, RFC 3339.
    #[schema(value_type = BTreeMap<String, String>)]
    pub facts: BTreeMap<&'static str, String>,
}

/// One row per code: the facts, and the English sentence in which each has its place. A place without its fact, or a fact
/// without a place, does not compile.
macro_rules! sayings {
    ($($code:ident $({ $($fact:ident),+ })? = $english:literal;)+) => {
        /// What is said. More may come with a later version; the text beside it says the same in English.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
        #[serde(rename_all = "camelCase")]
        pub enum SayingCode { $($code,)+ }

        /// What is to be said.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Say { $($code $({ $($fact: String),+ })?,)+ }

        /// Codes with the English sentences, their places in braces.
        pub const SAYINGS: &[(SayingCode, &str)] = &[$((SayingCode::$code, $english),)+];

        impl Say {
            /// In English.
            pub fn text(&self) -> String {
                match self {
                    $(Say::$code $({ $($fact),+ })? => format!($english $($(, $fact = $fact)+)?),)+
                }
            }
        }

        impl From<Say> for Saying {
            fn from(say: Say) -> Saying {
                match say {
                    $(Say::$code $({ $($fact),+ })? => Saying {
                        code: SayingCode::$code,
                        facts: BTreeMap::from([$($((stringify!($fact), $fact)),+)?]),
                    },)+
                }
            }
        }
    };
}

sayings! {
    // Why a task stands where it stands.
    TaskHeld { run } = "It is held: its batch of run {run} has not begun.";
    TaskInStore = "It waits in the store behind the tasks that were created before it.";
    TaskBegun { wee, since, seconds } =
        "It is being done by {wee} since {since}; its lease runs for another {seconds} s.";
    TaskBegunProbe { wee, since, seconds } =
        "It is being done by {wee} since {since}; its lease runs for another {seconds} s. It is a probe for an attempt that was lost.";
    TaskBegunSomewhere { since, seconds } =
        "It is being done by a worker since {since}; its lease runs for another {seconds} s.";
    TaskBegunSomewhereProbe { since, seconds } =
        "It is being done by a worker since {since}; its lease runs for another {seconds} s. It is a probe for an attempt that was lost.";
    TaskSent { at } = "It was sent at {at} and no execution environment has reported it started.";
    TaskSentProbe { at } =
        "It was sent at {at} and no execution environment has reported it started. It is a probe for an attempt that was lost.";
    TaskSending = "It is being sent.";
    TaskSettling = "It has ended; the outcome is being made durable.";
    TaskGoes = "Nothing is in its way; it goes out now.";
    TaskTargetHeld { target, holder } =
        "Target {target} is held by {holder}: changes of one target run one at a time.";
    TaskBehind { first, target } = "{first} comes first: changes of target {target} run in order.";
    TaskSessions { target, sessions } = "Target {target} bears {sessions} sessions and all are in use.";
    TaskRests { until, seconds } =
        "It waits until {until} ({seconds} s): its target's rate or rest.";
    TaskRestsAfter { until, seconds, message } = "It waits until {until} ({seconds} s): after {message}.";
    TaskNoRoom { kind, out, window } =
        "All room for {kind} is in use: {out} tasks are out of a window of {window}.";
    TaskNoVersion { why } = "No version of its worker can do it: {why}.";
    TaskNoWee { zone } = "No execution environment is in zone {zone}.";
    TaskOnlyWeeDrained { zone, worker, wee } =
        "The only execution environment of zone {zone} cannot run {worker}: {wee}: it is drained.";
    TaskOnlyWeeCordoned { zone, worker, wee } =
        "The only execution environment of zone {zone} cannot run {worker}: {wee}: it is cordoned.";
    TaskOnlyWeeLacks { zone, worker, wee } =
        "The only execution environment of zone {zone} cannot run {worker}: {wee}: it does not have this version.";
    TaskOnlyWeeBroken { zone, worker, wee, message } =
        "The only execution environment of zone {zone} cannot run {worker}: {wee}: {message}.";
    TaskWeeDrained { wees, zone, worker, wee } =
        "None of {wees} execution environments of zone {zone} can run {worker}; {wee}: it is drained.";
    TaskWeeCordoned { wees, zone, worker, wee } =
        "None of {wees} execution environments of zone {zone} can run {worker}; {wee}: it is cordoned.";
    TaskWeeLacks { wees, zone, worker, wee } =
        "None of {wees} execution environments of zone {zone} can run {worker}; {wee}: it does not have this version.";
    TaskWeeBroken { wees, zone, worker, wee, message } =
        "None of {wees} execution environments of zone {zone} can run {worker}; {wee}: {message}.";

    // How a task ended.
    TaskChanged = "It is done and changed the target.";
    TaskChangedAfter { attempts, most } =
        "It is done and changed the target after {attempts} attempts of at most {most}.";
    TaskDone = "It is done; nothing had to be changed.";
    TaskDoneAfter { attempts, most } =
        "It is done; nothing had to be changed after {attempts} attempts of at most {most}.";
    TaskFailed { failure, message } = "It failed ({failure}): {message}";
    TaskFailedAfter { attempts, most, failure, message } =
        "It failed after {attempts} attempts of at most {most} ({failure}): {message}";
    TaskUnknown { why } =
        "Nobody knows whether it took effect: {why}. Look at the target, then decide; sengu will not repeat it by itself.";
    TaskUnknownAfter { attempts, most, why } =
        "Nobody knows whether it took effect after {attempts} attempts of at most {most}: {why}. Look at the target, then decide; sengu will not repeat it by itself.";
    TaskCancelled { why } = "It was cancelled: {why}.";
    TaskExpired { why } = "It was never begun: {why}.";

    // Why a target stands where it stands.
    TargetQuarantined { since, reason, message, target } =
        "It is quarantined since {since} because of {reason}: {message} - nothing is sent until its record or secret is changed, or: sengu uncordon target/{target}";
    TargetMaintenance { message } = "It is in maintenance: {message}.";
    TargetUnreachable { since, reason, message } = "It has not answered since {since} ({reason}): {message}";
    TargetHeld { holder } = "It is held by {holder}.";
    TargetAwaited { waiting } = "{waiting} tasks wait for it.";
    TargetFree = "Nothing waits for it.";

    // Why a run stands where it stands.
    RunInHand { batch, batches, out, waiting, held } =
        "Batch {batch} of {batches} is in hand: {out} tasks are out, {waiting} wait, {held} are held for later batches.";
    RunPaused { out, waiting, held, run } =
        "It is paused: {out} tasks are out and end, {waiting} wait and {held} are held until: sengu resume run/{run}";
    RunEnding { message, out } = "{message}; {out} tasks in hand are still ending.";
    RunSucceeded { targets } = "All {targets} targets are done.";
    RunEnded { done, targets, message, run } =
        "{done} of {targets} targets are done; {message}. The rest: sengu retry run/{run}";

    // Why a task takes longer than expected.
    SlowInHand { wee } = "it is in hand at {wee}";
    SlowInHandSomewhere = "it is in hand at a worker";
    SlowNotBegun = "nobody has begun it yet";
    SlowNoWee { out } = "no execution environment can take it ({out} are out)";
    SlowNoRoom { out, window } = "all slots are taken: {out} of {window}";
    SlowTargetHeld { holder } = "task {holder} changes the same target now";
    SlowBehind { first } = "task {first} of the same target comes first";
    SlowSessions { sessions } = "the target bears {sessions} at once, and they are out";
    SlowRests { until } = "the target rests until {until}";
    SlowGoes = "it goes at once";

    // What a person should know of.
    StoreSilent = "the store does not answer";
    StoreSlow = "the store answers slowly";
    InterconnectAway { why } = "the interconnect is away: {why}";
    InterconnectBlocked { why } = "the interconnect takes nothing: {why}";
    WorkerBroken { worker, wee, message } = "{worker} cannot be started at {wee}: {message}";
    WeeSilent { wee } = "execution environment {wee} says nothing";
    ZoneEmpty { zone, targets } = "zone {zone} has {targets} targets and no execution environment";
}

/// The sentences as the API's description has them: by code, with their places.
pub fn sentences() -> serde_json::Map<String, serde_json::Value> {
    let rows = SAYINGS.iter().filter_map(|(code, english)| {
        let code = serde_json::to_value(code).ok()?;
        Some((code.as_str()?.to_owned(), (*english).into()))
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_is_its_template_with_the_facts_in_their_places() {
        let table = [
            Say::TaskTargetHeld {
                target: "bmc-1".to_owned(),
                holder: "t-1".to_owned(),
            },
            Say::TaskSending,
            Say::TaskFailedAfter {
                attempts: "3".to_owned(),
                most: "5".to_owned(),
                failure: "timeout".to_owned(),
                // What a device says fills a place and makes none.
                message: "{attempts} {} {target}".to_owned(),
            },
        ];
        for say in table {
            let text = say.text();
            let saying = Saying::from(say);
            let (_, english) = SAYINGS.iter().find(|s| s.0 == saying.code).unwrap();
            assert_eq!(filled(english, &saying.facts), text);
        }
    }

    #[test]
    fn codes_have_sentences_of_their_own() {
        let sentences = sentences();
        assert_eq!(sentences.len(), SAYINGS.len());
        let texts: std::collections::BTreeSet<&str> = SAYINGS.iter().map(|s| s.1).collect();
        assert_eq!(texts.len(), SAYINGS.len());
        assert_eq!(
            sentences["taskSent"],
            "It was sent at {at} and no execution environment has reported it started."
        );
    }

    fn filled(template: &str, facts: &BTreeMap<&'static str, String>) -> String {
        let mut text = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            let (place, after) = after.split_once('}').unwrap();
            text.push_str(before);
            text.push_str(&facts[place]);
            rest = after;
        }
        text + rest
    }
}
