//! What this process takes, by the names that Prometheus has for it. Knows: `/proc`, which only Linux has. Must not
//! know: what the process does.

use std::fs;

use grantbook_events::Timestamp;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

/// Linux reports CPU time in hundredths of a second (`USER_HZ`), on every machine that Rust is made for.
const TICKS_PER_SECOND: f64 = 100.0;
/// Linux reports resident memory in KiB.
const KIB: u64 = 1024;

/// What this process takes, since it started at this time. Values that cannot be read are missing.
pub(super) fn registry(started_at: Timestamp) -> Registry {
    let mut registry = Registry::with_prefix("process");
    let started = ConstGauge::new(started_at.as_micros() as f64 / 1e6);
    registry.register_with_unit("start_time", "When the process started, since 1970", Unit::Seconds, started);
    if let Some(seconds) = cpu_seconds(&read("stat")) {
        let help = "CPU time of the process, in user and system mode";
        registry.register_with_unit("cpu", help, Unit::Seconds, ConstCounter::new(seconds));
    }
    if let Some(bytes) = resident_bytes(&read("status")) {
        let help = "Memory of the process that is in RAM";
        registry.register_with_unit("resident_memory", help, Unit::Bytes, ConstGauge::new(bytes));
    }
    if let Some(open) = open_fds() {
        registry.register("open_fds", "Open file descriptors", ConstGauge::new(open));
    }
    if let Some(most) = max_fds(&read("limits")) {
        registry.register("max_fds", "The most file descriptors that may be open", ConstGauge::new(most));
    }
    registry
}

fn read(name: &str) -> String {
    fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default()
}

/// The one that lists them is among them.
fn open_fds() -> Option<u64> {
    fs::read_dir("/proc/self/fd").ok().map(|entries| (entries.count() as u64).saturating_sub(1))
}

/// User and system time are the 14th and 15th field; the second is a name in parentheses, which may hold spaces.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let ticks = after_name.split_whitespace().skip(11).take(2).map(|field| field.parse::<f64>().ok());
    let ticks: Option<Vec<f64>> = ticks.collect();
    ticks.filter(|ticks| ticks.len() == 2).map(|ticks| ticks.iter().sum::<f64>() / TICKS_PER_SECOND)
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * KIB)
}

/// The soft limit, which is the one that counts.
fn max_fds(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_says_is_read() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 4215 0 3 0 150 75 0 0 20 0 5 0 1234 1";
        assert_eq!(cpu_seconds(stat), Some(2.25));
        assert_eq!(resident_bytes("VmPeak:\t 9 kB\nVmRSS:\t    2048 kB\n"), Some(2 << 20));
        assert_eq!(max_fds("Max open files            1024                 524288  files\n"), Some(1024));
        assert_eq!(max_fds("Max open files            unlimited            unlimited  files\n"), None);
        assert!(cpu_seconds("").is_none() && resident_bytes("").is_none() && max_fds("").is_none());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_takes_something() {
        assert!(cpu_seconds(&read("stat")).is_some());
        assert!(resident_bytes(&read("status")).is_some_and(|bytes| bytes > 1 << 20));
        let (open, most) = (open_fds(), max_fds(&read("limits")));
        assert!(open.is_some_and(|open| open >= 3 && most.is_none_or(|most| open <= most)), "{open:?}");
    }
}
