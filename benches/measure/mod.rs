//! What every benchmark shares: ratios within one run, printed beside their targets. Absolute times are
//! printed too, and mean little on a machine shared with others.

#![allow(dead_code, reason = "each benchmark uses its part")]
#![expect(clippy::print_stdout, reason = "a benchmark prints")]

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub mod http;
pub mod ledger;

use std::time::{Duration, Instant};

/// In which the kernel counts processor time, on every architecture of Linux that grantbook runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// A benchmark ends at the first surprise.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Prints a ratio beside the least it should be.
pub fn at_least(what: &str, ratio: f64, target: f64) {
    verdict(what, ratio, ratio >= target, &format!("target ≥ {target}"));
}

/// Prints a figure beside the most it should be.
pub fn at_most(what: &str, figure: f64, target: f64) {
    verdict(what, figure, figure <= target, &format!("target ≤ {target}"));
}

fn verdict(what: &str, figure: f64, reached: bool, target: &str) {
    println!("{what} = {figure:.2} ({target}) {}", if reached { "PASS" } else { "MISS" });
}

/// How long something takes.
pub fn time<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let done = work();
    (start.elapsed(), done)
}

/// The value in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The processor time of this process, in seconds.
pub fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the program, in brackets, is the second field; user and system time are the 14th and 15th.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: f64 = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
    ticks / TICKS_PER_SECOND
}

/// Resident memory of this process, in bytes, once the allocator has given back what was freed.
pub fn resident_bytes() -> u64 {
    std::thread::sleep(Duration::from_secs(2));
    for size in 0..1024 {
        drop(std::hint::black_box(vec![0_u8; 64 * size]));
    }
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * 4096
}

/// The most resident memory that this process ever had, in bytes.
pub fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// The value of `--name N` on the command line.
pub fn argument(name: &str, default: usize) -> usize {
    let mut arguments = std::env::args();
    arguments.find(|argument| argument == name);
    arguments.next().and_then(|value| value.parse().ok()).unwrap_or(default)
}
