//! Whether a standby that is promoted has all that was acknowledged: only if commits wait for it.

/// What commits wait for, or why a failover may lose the last of them.
pub fn waits(synchronous_commit: &str, standby_names: &str) -> Result<String, String> {
    let names = standby_names.trim();
    match synchronous_commit {
        _ if names.is_empty() => Err("synchronous_standby_names is empty".to_owned()),
        "off" | "local" => Err(format!(
            "synchronous_commit is {synchronous_commit}, so commits wait for no standby"
        )),
        "remote_write" => Err(
            "synchronous_commit is remote_write, so a standby may not have flushed them".to_owned(),
        ),
        _ => Ok(names.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failover_keeps_all_only_when_commits_wait_for_a_flush_elsewhere() {
        let cases = [
            ("on", "ANY 1 (a, b)", true),
            ("remote_apply", "*", true),
            ("remote_write", "a", false),
            ("local", "a", false),
            ("off", "a", false),
            ("on", "", false),
            ("on", "  ", false),
        ];
        for (commit, names, all) in cases {
            assert_eq!(waits(commit, names).is_ok(), all, "{commit} {names:?}");
        }
    }
}
