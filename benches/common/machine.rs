//! What the machine says: of a process, its CPU time and memory; of itself, its name; of its disk, how fast it syncs.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tautline::clock::Clock;

/// CPU time of a process, its ended threads included. In steps of a tick, 10 ms.
pub(crate) fn cpu(process: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks = fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap());
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

/// Resident memory of a process, in KiB.
pub(crate) fn rss(process: u32) -> u64 {
    value(&format!("/proc/{process}/status"), "VmRSS").split(' ').next().unwrap().parse().unwrap()
}

/// Day, processor, kernel and compiler.
pub(crate) fn describe() -> String {
    let cores = std::thread::available_parallelism().unwrap();
    format!(
        "{}, {} ({cores} cores), Linux {}, {}",
        said(Command::new("date").arg("--iso-8601")),
        value("/proc/cpuinfo", "model name"),
        said(Command::new("uname").arg("-r")),
        said(Command::new("rustc").arg("--version")),
    )
}

/// How long it takes to append 4 KiB to a file and sync it, sorted: what any ack after a sync waits for.
pub(crate) fn syncs(folder: &Path, clock: Clock) -> Vec<Duration> {
    let mut file = File::create(folder.join("sync-probe")).unwrap();
    let mut took: Vec<_> = (0..1000)
        .map(|_| {
            let before = clock.now().mono;
            file.write_all(&[7; 4096]).unwrap();
            file.sync_data().unwrap();
            clock.now().mono - before
        })
        .collect();
    took.sort_unstable();
    took
}

fn value(file: &str, name: &str) -> String {
    let text = fs::read_to_string(file).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_once(':').unwrap().1.trim().to_owned()
}

fn said(command: &mut Command) -> String {
    String::from_utf8(command.output().unwrap().stdout).unwrap().trim().to_owned()
}
