//! How much memory the kernel lets this process have: the control group's limit.

use std::fs;
use std::path::Path;

/// Limits of this size are none: version 1 writes the largest number of pages that there can be.
const NO_LIMIT: u64 = 1 << 60;

/// The memory limit of the control group that this process runs in, or of the tightest one around it; none if there is no limit.
pub fn memory_max() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    memory_max_in(Path::new("/sys/fs/cgroup"), &groups)
}

fn memory_max_in(root: &Path, groups: &str) -> Option<u64> {
    groups.lines().filter_map(|line| limit_of(root, line)).min()
}

/// A line is `NUMBER:CONTROLLERS:PATH`; version 2 has one, with neither number nor controllers.
fn limit_of(root: &Path, line: &str) -> Option<u64> {
    let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
    let (root, file) = match controllers {
        "" => (root.to_owned(), "memory.max"),
        _ if controllers.split(',').any(|controller| controller == "memory") => (root.join("memory"), "memory.limit_in_bytes"),
        _ => return None,
    };
    // In a container the path may be one of the machine outside: what is there counts.
    let group = root.join(path.trim_start_matches('/'));
    group.ancestors().take_while(|group| group.starts_with(&root)).filter_map(|group| number(&group.join(file))).min()
}

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok().filter(|limit| *limit < NO_LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, file: &str, text: &str) {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn the_tightest_group_around_the_process_counts() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "a/memory.max", "1000\n");
        write(folder.path(), "a/b/memory.max", "max\n");
        write(folder.path(), "a/b/c/memory.max", "2000\n");
        assert_eq!(memory_max_in(folder.path(), "0::/a/b/c\n"), Some(1000));
        assert_eq!(memory_max_in(folder.path(), "0::/x\n"), None);
        assert_eq!(memory_max_in(folder.path(), "nonsense\n"), None);
    }

    #[test]
    fn version_1_has_a_hierarchy_for_memory() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "memory/a/memory.limit_in_bytes", "5000\n");
        write(folder.path(), "memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(memory_max_in(folder.path(), "5:cpu,cpuacct:/a\n4:memory:/a\n"), Some(5000));
        assert_eq!(memory_max_in(folder.path(), "4:memory:/\n"), None);
    }
}
