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

/// CPU time of a process and of all it has started, ended ones included. In steps of a tick.
pub(crate) fn cpu_of_all(process: u32) -> Duration {
    let ticks = family(process).into_iter().filter_map(|process| {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        let (_, fields) = stat.rsplit_once(')')?;
        // Its own time and that of children it has waited for, in user and system mode.
        Some(
            fields
                .split_whitespace()
                .skip(11)
                .take(4)
                .map(|field| field.parse::<u64>().unwrap())
                .sum::<u64>(),
        )
    });
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

/// Resident memory of a process and of all it has started, in KiB.
pub(crate) fn rss_of_all(process: u32) -> u64 {
    family(process).into_iter().map(rss).sum()
}

/// A process and all it has started.
fn family(process: u32) -> Vec<u32> {
    let mut family = vec![process];
    let mut at = 0;
    while let Some(parent) = family.get(at) {
        for thread in fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            family.extend(children.split_whitespace().map(|child| child.parse::<u32>().unwrap()));
        }
        at += 1;
    }
    family
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
