//! What the kernel tells of the broker's process.

use std::fs;

/// Of `/proc/PID/stat`: the kernel tells times in hundredths of a second, whatever its clock does.
const TICKS_PER_SECOND: f64 = 100.0;

/// The CPU time and memory of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Usage {
    /// User and system.
    cpu_seconds: f64,
    /// The same to the nanosecond, of the threads that are there; not all kernels tell it.
    fine_seconds: Option<f64>,
    pub(super) resident: u64,
}

impl Usage {
    /// CPU time since then, to the nanosecond unless a thread has ended and taken its time with it.
    pub(super) fn cpu_since(&self, before: &Self) -> f64 {
        let coarse = self.cpu_seconds - before.cpu_seconds;
        let fine = self.fine_seconds.zip(before.fine_seconds).map(|(now, before)| now - before);
        // Two readings in hundredths may be off by two of them, and the kernel's own sums differ a little.
        fine.filter(|fine| (fine - coarse).abs() <= 0.03 + coarse * 0.05).unwrap_or(coarse)
    }
}

/// # Errors
/// If the process is not there.
pub(super) fn usage(pid: u32) -> Result<Usage, String> {
    let read =
        |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).map_err(|error| format!("process {pid}: {error}"));
    let strange = || format!("process {pid}: /proc tells nothing that can be read");
    let cpu_seconds = cpu_seconds(&read("stat")?).ok_or_else(strange)?;
    let resident = resident(&read("status")?).ok_or_else(strange)?;
    Ok(Usage { cpu_seconds, fine_seconds: fine_seconds(pid), resident })
}

fn fine_seconds(pid: u32) -> Option<f64> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    tasks.map(|task| thread_seconds(&fs::read_to_string(task.ok()?.path().join("sched")).ok()?)).sum()
}

/// Of `/proc/PID/task/TID/sched`, which has milliseconds.
fn thread_seconds(sched: &str) -> Option<f64> {
    let line = sched.lines().find_map(|line| line.strip_prefix("se.sum_exec_runtime"))?;
    let (_, milliseconds) = line.split_once(':')?;
    Some(milliseconds.trim().parse::<f64>().ok()? / 1e3)
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
    fn the_finer_time_is_taken_unless_it_makes_no_sense() {
        let usage = |cpu_seconds, fine_seconds| Usage { cpu_seconds, fine_seconds, resident: 0 };
        let before = usage(1.0, Some(1.0012));
        assert_eq!(usage(1.01, Some(1.0062)).cpu_since(&before), 1.0062 - 1.0012);
        assert_eq!(usage(3.0, Some(1.5)).cpu_since(&before), 2.0, "a thread has ended");
        assert_eq!(usage(3.0, None).cpu_since(&before), 2.0);
        assert_eq!(thread_seconds("a (1)\nse.vruntime : 5.0\nse.sum_exec_runtime   :      1250.5\n"), Some(1.2505));
    }

    #[test]
    fn this_process_is_there_and_one_that_is_not_is_told() {
        assert!(usage(std::process::id()).unwrap().resident > 100_000);
        assert!(usage(u32::MAX).unwrap_err().starts_with("process 4294967295: "));
    }
}
