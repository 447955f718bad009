//! What the system is asked for, in which order. A kill loses nothing that a page cache holds; only the order of the system calls
//! shows that an ack waits for the disk.
use std::fs;
use std::path::Path;
use std::process::Command;

use tautline::simulator::Outgoing;

use super::process::{Process, Site};

/// What reads, writes and syncs. SQLite uses either sync, by how it was built.
const CALLS: &str = "trace=read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg,pwrite64,fsync,fdatasync";
const READS: [&str; 4] = ["read", "readv", "recvfrom", "recvmsg"];
const WRITES: [&str; 4] = ["write", "writev", "sendto", "sendmsg"];
const SYNCS: [&str; 2] = ["fsync", "fdatasync"];

#[test]
fn the_disk_has_the_event_before_slack_has_the_ack() {
    let site = Site::new(|rules| {
        // On the socket there is nothing but one envelope and one ack.
        rules.first_ping_ms = 3_600_000;
        rules.ack_deadline_ms = 60_000;
    });
    let customer = site.customer(0);
    let trace = site.folder.path().join("trace");
    let node = Process::start(traced(&site, &trace));
    node.register("acme", &customer);
    node.state("acme", "ready");
    let mark = "mark-of-the-envelope";
    let event = Outgoing { text: Some(mark.into()), ..Outgoing::default() };
    let sent = site.slack.send(&customer.app_id, event).expect("a socket is live");
    site.until("the event is acked", |record| {
        record
            .app(&customer.app_id)
            .and_then(|app| app.event(&sent))
            .is_some_and(|event| event.acked_at.is_some())
    });
    let ended = node.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.output.text());

    let calls = calls(&fs::read_to_string(&trace).expect("strace has written its trace"));
    let read = calls.iter().find(|call| READS.contains(&call.name.as_str()) && call.text.contains(mark));
    let read = read.unwrap_or_else(|| panic!("no read of the envelope among {} calls", calls.len()));
    let acked = calls.iter().find(|call| {
        WRITES.contains(&call.name.as_str()) && call.file == read.file && call.begun > read.ended
    });
    let acked = acked.expect("the ack is written to the socket that the envelope was read from");
    let between = |call: &&Call| {
        call.begun > read.ended && call.ended < acked.begun && call.file.contains("tautline.db-wal")
    };
    let stored = calls.iter().filter(between).find(|call| call.name == "pwrite64");
    let stored = stored.expect("the event is written to the log of the database before its ack");
    let synced = calls
        .iter()
        .filter(between)
        .find(|call| SYNCS.contains(&call.name.as_str()) && call.begun > stored.ended && call.result == "0");
    assert!(synced.is_some(), "no sync between {stored:?} and {acked:?}");
}

/// `serve` under strace. `-D` keeps the node this process's own child: who kills it kills the node, and strace ends with it.
fn traced(site: &Site, trace: &Path) -> Command {
    let strace = std::env::var_os("TAUTLINE_STRACE").unwrap_or_else(|| {
        panic!("TAUTLINE_STRACE names no strace: run the tests by scripts/test, which installs it and says where it is")
    });
    let plain = site.tautline(&["serve"]);
    let mut command = Command::new(strace);
    command.args(["-D", "-f", "-yy", "-s", "4096", "-e", CALLS, "-o"]).arg(trace);
    command.arg(plain.get_program()).args(plain.get_args()).env_clear().current_dir(site.folder.path());
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

/// A system call. Its times are lines of the trace, which strace writes in the order in which things happened.
#[derive(Debug)]
struct Call {
    name: String,
    /// What its descriptor stands for: a path or the two ends of a connection.
    file: String,
    text: String,
    result: String,
    begun: usize,
    ended: usize,
}

/// Reads a trace: `pid name(fd<file>, …) = result`, or in two lines where other threads came between: `pid name(… <unfinished ...>`
/// and `pid <... name resumed>…) = result`.
fn calls(trace: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let mut open: Vec<(String, String, usize)> = Vec::new();
    for (at, line) in trace.lines().enumerate() {
        let Some((pid, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(begin) = rest.strip_suffix(" <unfinished ...>") {
            open.push((pid.to_owned(), begin.to_owned(), at));
        } else if let Some(end) = rest.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>")) {
            let before = open.iter().position(|(other, _, _)| other == pid).map(|place| open.remove(place));
            if let Some((_, begin, begun)) = before {
                calls.extend(Call::read(&format!("{begin}{}", end.1), begun, at));
            }
        } else {
            calls.extend(Call::read(rest, at, at));
        }
    }
    calls
}

impl Call {
    fn read(text: &str, begun: usize, ended: usize) -> Option<Self> {
        let (name, rest) = text.split_once('(')?;
        let (_, result) = text.rsplit_once(" = ")?;
        // Connections are shown as <TCP:[here->there]>.
        let (_, file) = rest.split_once('<')?;
        let file = file.split_once(">,").or_else(|| file.split_once(">)")).map_or(file, |(file, _)| file);
        let [name, file, result, text] = [name, file, result, text].map(str::to_owned);
        Some(Self { name, file, text, result, begun, ended })
    }
}

#[test]
fn a_call_that_others_interrupt_lasts_from_its_first_line_to_its_second() {
    let calls = calls(concat!(
        "7 fdatasync(11</t/x.db-wal> <unfinished ...>\n",
        "8 sendto(9<TCP:[1->2]>, \"ack\", 3, 0, NULL, 0) = 3\n",
        "7 <... fdatasync resumed>) = 0\n",
        "8 +++ exited with 0 +++\n",
    ));
    let told: Vec<_> =
        calls.iter().map(|call| (call.name.as_str(), call.file.as_str(), call.begun, call.ended)).collect();
    assert_eq!(told, [("sendto", "TCP:[1->2]", 1, 1), ("fdatasync", "/t/x.db-wal", 0, 2)]);
}
