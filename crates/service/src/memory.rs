//! The memory that this process really has: the limit of its control group, or the machine's memory if that is less.

use std::fs;
use std::path::{Path, PathBuf};

/// The limit in bytes, or `None` if the system does not tell it.
#[must_use]
pub fn limit() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
    });
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = files(&groups).into_iter().filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok());
    limits.chain(machine).min()
}

/// The files that may hold a limit, of the process's group and of the groups above it, for both versions of control
/// groups.
fn files(groups: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (root, name) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|c| c == "memory") => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => continue,
        };
        let group = Path::new(root).join(path.trim_start_matches('/'));
        found.extend(group.ancestors().take_while(|folder| folder.starts_with(root)).map(|folder| folder.join(name)));
    }
    found
}

/// `wanted` megabytes, or a third of the limit if that is less. A third counts as at least 16 megabytes. The rest is
/// for memory that no pool counts and that an allocator keeps. `what` is named in the warning.
#[must_use]
pub fn within(wanted: usize, what: &str) -> usize {
    let third = limit().map_or(usize::MAX, |bytes| usize::try_from((bytes >> 20) / 3).unwrap_or(usize::MAX).max(16));
    if wanted > third {
        tracing::warn!(wanted, given = third, "{what} is more than a third of the memory that this process may have");
    }
    wanted.min(third)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_control_groups_are_read_up_to_the_root() {
        let files = files("5:cpu,cpuacct:/a\n4:memory:/a/b\n0::/c\nnonsense\n");
        let expected = [
            "/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/c/memory.max",
            "/sys/fs/cgroup/memory.max",
        ];
        assert_eq!(files, expected.map(PathBuf::from));
        assert!(limit().is_none_or(|bytes| bytes > 1 << 20));
    }
}
