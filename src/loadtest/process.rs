//! What the kernel tells of the broker's process.

use std::fs;

/// Of `/proc/PID/stat`: the kernel tells times in hundredths of a second, whatever its clock does.
const TICKS_PER_SECOND: f64 = 100.0;

/// The CPU time and memory of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Usage {
    /// User and system.
    pub(super) cpu_seconds: f64,
    pub(super) resident: u64,
}

/// # Errors
/// If the process is not there.
pub(super) fn usage(pid: u32) -> Result<Usage, String> {
    let read =
        |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).map_err(|error| format!("process {pid}: {error}"));
    let strange = || format!("process {pid}: /proc tells nothing that can be read");
    let cpu_seconds = cpu_seconds(&read("stat")?).ok_or_else(strange)?;
    let resident = resident(&read("status")?).ok_or_else(strange)?;
    Ok(Usage { cpu_seconds, resident })
}

/// Fields 14 and 15. The second one, the name in parentheses, may have anything in it.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS_PER_SECOND)
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "12 (a) 1 2) S 1 1 1 0 -1 4194560 2480 0 1 0 250 125 0 0 20 0 3 0 8 9 10";
        assert_eq!(cpu_seconds(stat), Some(3.75));
        assert_eq!(resident("Name:\tx\nVmRSS:\t    1788 kB\nRssAnon: 1 kB\n"), Some(1788 * 1024));
    }

    #[test]
    fn this_process_is_there_and_one_that_is_not_is_told() {
        assert!(usage(std::process::id()).unwrap().resident > 100_000);
        assert!(usage(u32::MAX).unwrap_err().starts_with("process 4294967295: "));
    }
}
