//! Where this process is in the hierarchies of control groups, from what the kernel tells in `/proc/self`.

use std::path::{Path, PathBuf};

/// One mounted hierarchy, and the group of this process in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Version 2: one hierarchy for all controllers.
    pub unified: bool,
    /// Controllers by their names in version 1; empty for version 2, where the group tells.
    pub controllers: Vec<String>,
    pub directory: PathBuf,
}

pub fn own() -> Vec<Place> {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    parse(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"))
}

/// `mounts` is `/proc/self/mountinfo`, `groups` is `/proc/self/cgroup`.
fn parse(mounts: &str, groups: &str) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    for line in mounts.lines() {
        let Some((head, tail)) = line.split_once(" - ") else {
            continue;
        };
        let head: Vec<&str> = head.split(' ').collect();
        let tail: Vec<&str> = tail.split(' ').collect();
        let (Some(root), Some(point), Some(kind)) = (head.get(3), head.get(4), tail.first()) else {
            continue;
        };
        let options: Vec<&str> = tail.get(2).map_or(Vec::new(), |o| o.split(',').collect());
        let found = match *kind {
            "cgroup2" => own_group(groups, |id, controllers| {
                id == "0" && controllers.is_empty()
            })
            .map(|path| (true, Vec::new(), path)),
            "cgroup" => own_group(groups, |_, controllers| {
                controllers.split(',').any(|c| options.contains(&c))
            })
            .map(|path| {
                (
                    false,
                    options.iter().map(|o| (*o).to_owned()).collect(),
                    path,
                )
            }),
            _ => None,
        };
        let Some((unified, controllers, path)) = found else {
            continue;
        };
        // What is mounted may be a part of the hierarchy.
        let Ok(below) = Path::new(path).strip_prefix(root) else {
            continue;
        };
        let place = Place {
            unified,
            controllers,
            directory: Path::new(&unescape(point)).join(below),
        };
        if !places.iter().any(|p| p.directory == place.directory) {
            places.push(place);
        }
    }
    places
}

fn own_group(groups: &str, wanted: impl Fn(&str, &str) -> bool) -> Option<&str> {
    groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (id, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        wanted(id, controllers).then_some(path)
    })
}

/// The kernel writes spaces and the like of mount points in octal.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(unified: bool, controllers: &[&str], directory: &str) -> Place {
        Place {
            unified,
            controllers: controllers.iter().map(|c| (*c).to_owned()).collect(),
            directory: directory.into(),
        }
    }

    #[test]
    fn version_2_alone() {
        let mounts = "30 22 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
        let groups = "0::/system.slice/sengu.service\n";
        let want = place(true, &[], "/sys/fs/cgroup/system.slice/sengu.service");
        assert_eq!(parse(mounts, groups), [want]);
    }

    #[test]
    fn version_1_beside_a_version_2_without_controllers() {
        let mounts = "\
25 1 0:22 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
26 25 0:23 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct
27 25 0:24 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
28 25 0:25 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
";
        let groups = "4:memory:/own\n1:cpu,cpuacct:/\n0::/\n";
        let want = [
            place(false, &["rw", "cpu", "cpuacct"], "/sys/fs/cgroup/cpu/"),
            place(false, &["rw", "memory"], "/sys/fs/cgroup/memory/own"),
            place(true, &[], "/sys/fs/cgroup/unified/"),
        ];
        assert_eq!(parse(mounts, groups), want);
    }

    #[test]
    fn within_a_container_only_the_own_part_is_mounted() {
        let mounts = "27 25 0:24 /docker/ab /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        let want = place(false, &["rw", "memory"], "/sys/fs/cgroup/memory/");
        assert_eq!(parse(mounts, "4:memory:/docker/ab\n"), [want]);
        assert_eq!(parse(mounts, "4:memory:/elsewhere\n"), []);
        assert_eq!(parse("", ""), []);
    }
}
