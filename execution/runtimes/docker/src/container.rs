//! How the container of an instance is described to the engine. Pure: values in, values out.

use crate::bundle::Defaults;
use crate::engine::{CPU, Facts};
use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig, ResourcesUlimits};
use sengu_execution::runtime::{Image, Resources};
use std::collections::HashMap;

/// Where a worker may write, in memory and for as long as it lives.
pub const WORK: &str = "/tmp";
/// Nobody, unless the image names a user of its own.
pub const USER: &str = "65534:65534";
const NOBODY: u32 = 65_534;
/// Bytes in the writable folder. They count as memory of the worker.
const WORK_BYTES: u64 = 64 << 20;
/// Files that one worker may have open: 1024 slots with a few connections each.
const FILES_MAX: i64 = 8_192;
/// Where programs are looked for when the image does not say.
const PATH: &str = "PATH=/usr/local/bin:/usr/bin:/bin";

/// What the container is made of.
pub struct Plan<'a> {
    pub image: &'a Image,
    /// Id of the image in the engine.
    pub image_id: &'a str,
    pub defaults: &'a Defaults,
    pub facts: &'a Facts,
    pub network: &'a str,
    pub owner: &'a str,
    pub life: &'a str,
    /// `kind@version/number`, for people.
    pub label: &'a str,
    /// A small first process reaps what the worker leaves unreaped.
    pub init: bool,
}

pub fn describe(plan: &Plan<'_>) -> ContainerCreateBody {
    let image = plan.image;
    let own_start = plan.defaults.entrypoint.is_some() || plan.defaults.cmd.is_some();
    let mut env = vec![
        format!("SENGU_WORKER_FOLDER={}", crate::pack::FOLDER),
        format!("HOME={WORK}"),
    ];
    if !plan.defaults.sets_path() {
        env.push(PATH.to_owned());
    }
    let labels = [
        ("sengu.owner", plan.owner),
        ("sengu.life", plan.life),
        ("sengu.instance", plan.label),
        ("sengu.kind", &image.kind),
        ("sengu.version", &image.version),
        ("sengu.digest", &image.digest),
    ];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    ContainerCreateBody {
        image: Some(plan.image_id.to_owned()),
        entrypoint: (!own_start).then(|| image.command.clone()),
        user: plan.defaults.user.is_none().then(|| USER.to_owned()),
        working_dir: Some(WORK.to_owned()),
        env: Some(env),
        labels: Some(HashMap::from(labels)),
        tty: Some(false),
        open_stdin: Some(true),
        // The end of our side of the connection is the end of the worker's stdin.
        stdin_once: Some(true),
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        host_config: Some(host_config(plan)),
        ..ContainerCreateBody::default()
    }
}

fn host_config(plan: &Plan<'_>) -> HostConfig {
    let Resources {
        memory_mb,
        cpus,
        processes,
    } = plan.image.resources;
    let memory = i64::from(memory_mb) << 20;
    // The engine refuses more than it has, and any number if its kernel cannot hold it.
    let cpus = f64::from(cpus).min(plan.facts.cpus as f64);
    let can_cpus = !plan.facts.cannot.contains(&CPU);
    let ulimit = |name: &str, most| ResourcesUlimits {
        name: Some(name.to_owned()),
        soft: Some(most),
        hard: Some(most),
    };
    HostConfig {
        readonly_rootfs: Some(true),
        tmpfs: Some(HashMap::from([(
            WORK.to_owned(),
            // Engines give it the mode of the image's folder of that name, so it belongs to the user as well.
            format!("rw,nosuid,nodev,noexec,mode=1777,uid={NOBODY},gid={NOBODY},size={WORK_BYTES}"),
        )])),
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        memory: Some(memory),
        memory_swap: Some(memory),
        nano_cpus: can_cpus.then_some((cpus * 1e9) as i64),
        pids_limit: Some(i64::from(processes) + i64::from(plan.init)),
        ulimits: Some(vec![ulimit("nofile", FILES_MAX), ulimit("core", 0)]),
        init: Some(plan.init),
        network_mode: Some(plan.network.to_owned()),
        // What a worker says is read by sengu; a copy on the engine's disk would grow without a limit.
        log_config: Some(HostConfigLogConfig {
            typ: Some("none".to_owned()),
            config: None,
        }),
        ..HostConfig::default()
    }
}

/// What is enforced on workers, for people.
pub fn isolation(facts: Result<&Facts, &str>, network: &str) -> Vec<String> {
    let mut words = vec![
        "own processes, mounts and IPC: all that a worker starts ends with it".to_owned(),
        format!(
            "read-only files; only {WORK} can be written ({} MiB, in memory)",
            WORK_BYTES >> 20
        ),
        "no capabilities, no new privileges, user nobody unless the image names one".to_owned(),
        format!(
            "limits of worker.toml on memory (no swap), CPU and processes; {FILES_MAX} open files"
        ),
    ];
    words.push(match network {
        "host" => "not enforced: network; it is the host's, so a worker reaches what the host does"
            .to_owned(),
        "none" => "no network".to_owned(),
        other => format!(
            "network {other} of the engine: its own interface, not the host's loopback; \
             not enforced: only the targets of its tasks"
        ),
    });
    match facts {
        Ok(facts) => {
            if facts.seccomp {
                words.push("system calls filtered by the engine's seccomp profile".to_owned());
            } else {
                words.push("not enforced: system calls".to_owned());
            }
            for limit in &facts.cannot {
                words.push(format!(
                    "not enforced: {limit} (the engine's kernel cannot)"
                ));
            }
        }
        Err(why) => words.push(why.to_owned()),
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(defaults: &Defaults, cannot: Vec<&'static str>) -> ContainerCreateBody {
        let image = Image {
            kind: "x".to_owned(),
            version: "1.0.0".to_owned(),
            digest: "sha256:d".to_owned(),
            folder: std::path::PathBuf::new(),
            command: vec!["x".to_owned(), "--flag".to_owned()],
            runtimes: Vec::new(),
            resources: Resources {
                memory_mb: 16,
                cpus: 8.0,
                processes: 7,
            },
            slots: 1,
        };
        let facts = Facts {
            architecture: "amd64".to_owned(),
            cpus: 2,
            version: String::new(),
            containerd_store: false,
            seccomp: true,
            cannot,
        };
        describe(&Plan {
            image: &image,
            image_id: "sha256:i",
            defaults,
            facts: &facts,
            network: "none",
            owner: "o",
            life: "l",
            label: "x@1.0.0/1",
            init: false,
        })
    }

    #[test]
    fn an_image_that_says_nothing_gets_the_command_a_path_and_nobody() {
        let body = described(&Defaults::default(), Vec::new());
        assert_eq!(body.entrypoint.unwrap(), ["x", "--flag"]);
        assert_eq!(body.user.unwrap(), USER);
        assert!(body.env.unwrap().contains(&PATH.to_owned()));
        let host = body.host_config.unwrap();
        assert_eq!(
            host.nano_cpus,
            Some(2_000_000_000),
            "no more than there are"
        );
        assert_eq!(
            (host.memory, host.memory_swap),
            (Some(16 << 20), Some(16 << 20))
        );
        assert_eq!(host.pids_limit, Some(7));
    }

    #[test]
    fn what_an_image_says_of_itself_stays_and_what_the_kernel_cannot_is_not_asked() {
        let defaults = Defaults {
            cmd: Some(vec!["own".to_owned()]),
            env: Some(vec!["PATH=/opt".to_owned()]),
            user: Some("app".to_owned()),
            ..Defaults::default()
        };
        let body = described(&defaults, vec![CPU]);
        assert_eq!((body.entrypoint, body.user), (None, None));
        assert!(!body.env.unwrap().contains(&PATH.to_owned()));
        assert_eq!(body.host_config.unwrap().nano_cpus, None);
    }

    #[test]
    fn what_is_not_enforced_is_said() {
        let not = |words: Vec<String>| {
            let not = words
                .into_iter()
                .filter(|word| word.contains("not enforced"));
            not.count()
        };
        let facts = Facts {
            architecture: String::new(),
            cpus: 1,
            version: String::new(),
            containerd_store: false,
            seccomp: false,
            cannot: vec![CPU],
        };
        assert_eq!(not(isolation(Ok(&facts), "host")), 3);
        assert_eq!(not(isolation(Ok(&facts), "none")), 2);
        assert_eq!(not(isolation(Ok(&facts), "lab")), 3);
        let away = isolation(Err("the engine is away"), "none");
        assert_eq!(away.last().unwrap(), "the engine is away");
    }
}
