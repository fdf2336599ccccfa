use std::fs;

/// Clock ticks of `/proc/self/stat` per second: `USER_HZ`, 100 on every platform that this runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// What the kernel says about this process; all zero where there is no `/proc`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Process {
    pub resident_bytes: u64,
    /// The most that was ever resident.
    pub peak_resident_bytes: u64,
    pub virtual_bytes: u64,
    pub threads: u64,
    /// User and system time.
    pub cpu_seconds: f64,
    pub open_fds: u64,
    /// The soft limit on descriptors; 0 if it is unlimited.
    pub max_fds: u64,
    /// Seconds since 1970; 0 if unknown.
    pub start_time_seconds: f64,
}

impl Process {
    /// Reads `/proc/self`; some microseconds.
    pub fn read() -> Self {
        let mut process = Self { open_fds: open_fds(), ..Self::default() };
        process.parse_status(&text("/proc/self/status"));
        process.parse_limits(&text("/proc/self/limits"));
        process.parse_stat(&text("/proc/self/stat"), boot_time(&text("/proc/stat")));
        process
    }

    /// Resident memory alone, in bytes; 0 where there is no `/proc`.
    pub fn resident() -> u64 {
        let mut process = Self::default();
        process.parse_status(&text("/proc/self/status"));
        process.resident_bytes
    }

    fn parse_status(&mut self, status: &str) {
        for line in status.lines() {
            let Some((key, value)) = line.split_once(':') else { continue };
            let number: u64 = value.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0);
            match key {
                "VmRSS" => self.resident_bytes = number * 1024,
                "VmHWM" => self.peak_resident_bytes = number * 1024,
                "VmSize" => self.virtual_bytes = number * 1024,
                "Threads" => self.threads = number,
                _ => {}
            }
        }
    }

    fn parse_limits(&mut self, limits: &str) {
        let soft = limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next());
        self.max_fds = soft.and_then(|word| word.parse().ok()).unwrap_or(0);
    }

    /// The second field is the program's name, which may hold spaces and brackets: count from the last bracket.
    fn parse_stat(&mut self, stat: &str, boot_time: f64) {
        let Some((_, rest)) = stat.rsplit_once(')') else { return };
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks = |place: usize| fields.get(place).and_then(|word| word.parse::<f64>().ok()).unwrap_or(0.0);
        self.cpu_seconds = (ticks(11) + ticks(12)) / TICKS_PER_SECOND;
        if boot_time > 0.0 {
            self.start_time_seconds = boot_time + ticks(19) / TICKS_PER_SECOND;
        }
    }
}

fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Since Linux 6.2 the directory's size is the count; before, it is 0 and the entries must be counted.
fn open_fds() -> u64 {
    let size = fs::metadata("/proc/self/fd").map_or(0, |directory| directory.len());
    if size > 0 {
        return size;
    }
    fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count().saturating_sub(1) as u64)
}

fn boot_time(stat: &str) -> f64 {
    stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok()).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_proc_are_read_as_bytes_and_seconds() {
        let mut process = Process::default();
        process.parse_status("Name:\tx\nVmSize:\t    200 kB\nVmHWM:\t 20 kB\nVmRSS:\t  10 kB\nThreads:\t7\nnonsense\n");
        process.parse_limits("Limit  Soft Limit  Hard Limit  Units\nMax open files            1024      524288     files\n");
        process.parse_stat(
            "1 (a) b) S 1 1 1 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 1 0 1234 5 6",
            boot_time("cpu 1\nbtime 1000\n"),
        );
        let expected = Process {
            resident_bytes: 10 << 10,
            peak_resident_bytes: 20 << 10,
            virtual_bytes: 200 << 10,
            threads: 7,
            cpu_seconds: 3.0,
            open_fds: 0,
            max_fds: 1024,
            start_time_seconds: 1012.34,
        };
        assert_eq!(process, expected);
    }

    #[test]
    fn nonsense_reads_as_zero() {
        let mut process = Process::default();
        process.parse_status("VmRSS\nVmRSS: many kB");
        process.parse_limits("Max open files unlimited unlimited files");
        process.parse_stat("1 (x) S", 0.0);
        assert_eq!(process, Process::default());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_memory_threads_and_descriptors() {
        let before = Process::read();
        let _file = fs::File::open("/proc/self/status").unwrap();
        assert!(before.resident_bytes > 0 && before.peak_resident_bytes >= before.resident_bytes);
        assert!(before.threads > 0 && before.open_fds > 0 && before.start_time_seconds > 1e9);
    }
}
