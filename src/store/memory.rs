//! How much memory the caches may take where the configuration does not say: a share of what this process may use.

use std::path::Path;

/// A cache gets this part of the memory,
const SHARE: u64 = 32;
/// but never more than this.
const SHARE_BYTES_MAX: u64 = 1 << 30;

/// Where the machine says how much it has.
const MACHINE: &str = "/proc/meminfo";
/// Where the groups of this process are named.
const GROUPS: &str = "/proc/self/cgroup";
/// Where the groups say how much they may use: version 2, and version 1.
const GROUP_ROOTS: [(&str, &str, &str); 2] =
    [("", "/sys/fs/cgroup", "memory.max"), ("memory", "/sys/fs/cgroup/memory", "memory.limit_in_bytes")];

/// The share of one cache, at least `least` bytes.
pub(super) fn share(memory_bytes: Option<u64>, least: usize) -> usize {
    let share = memory_bytes.map_or(0, |bytes| (bytes / SHARE).min(SHARE_BYTES_MAX));
    usize::try_from(share).unwrap_or(least).max(least)
}

/// Bytes of memory that this process may use: those of the machine, or fewer if it is in a group with a limit. `None` if
/// nobody says.
pub(super) fn usable_bytes() -> Option<u64> {
    let machine = std::fs::read_to_string(MACHINE).ok().and_then(|text| machine_bytes(&text));
    let groups = std::fs::read_to_string(GROUPS).unwrap_or_default();
    let limits = GROUP_ROOTS.iter().filter_map(|(controller, root, file)| {
        let group = group_of(&groups, controller)?;
        group_limit(Path::new(root), group, file)
    });
    limits.chain(machine).min()
}

fn machine_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1_024)
}

/// The path of the group that a controller has this process in; the controller of version 2 has no name.
fn group_of<'a>(groups: &'a str, controller: &str) -> Option<&'a str> {
    groups.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        controllers.split(',').any(|name| name == controller).then_some(path)
    })
}

/// The lowest limit of a group and those around it.
fn group_limit(root: &Path, group: &str, file: &str) -> Option<u64> {
    let group = root.join(group.trim_start_matches('/'));
    let around = group.ancestors().take_while(|folder| folder.starts_with(root));
    // "max" is none.
    around.filter_map(|folder| std::fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok()).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_has_bounds() {
        assert_eq!(share(None, 5), 5);
        assert_eq!(share(Some(1 << 30), 256 << 20), 256 << 20);
        assert_eq!(share(Some(16 << 30), 256 << 20), 512 << 20);
        assert_eq!(share(Some(u64::MAX), 256 << 20), 1 << 30);
    }

    #[test]
    fn the_machine_says_how_much_it_has() {
        assert_eq!(machine_bytes("MemFree: 1 kB\nMemTotal:       24689764 kB\n"), Some(24_689_764 * 1_024));
        assert_eq!(machine_bytes("MemTotal: much"), None);
        assert!(usable_bytes().is_none_or(|bytes| bytes > 0));
    }

    #[test]
    fn the_lowest_limit_of_a_group_and_those_around_it_counts() {
        let groups = "9:name=systemd:/s\n4:cpu,memory:/old\n0::/system.slice/hearth.service\n";
        assert_eq!(group_of(groups, "memory"), Some("/old"));
        assert_eq!(group_of(groups, ""), Some("/system.slice/hearth.service"));
        assert_eq!(group_of("", ""), None);
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("system.slice/hearth.service");
        std::fs::create_dir_all(&inner).unwrap();
        let limit = || group_limit(root.path(), "/system.slice/hearth.service", "memory.max");
        std::fs::write(inner.join("memory.max"), "max\n").unwrap();
        assert_eq!(limit(), None);
        std::fs::write(root.path().join("system.slice/memory.max"), "2147483648\n").unwrap();
        assert_eq!(limit(), Some(2 << 30));
        std::fs::write(inner.join("memory.max"), "536870912\n").unwrap();
        assert_eq!(limit(), Some(512 << 20));
    }
}
