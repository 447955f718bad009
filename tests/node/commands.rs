//! Commands that need no database of their own.
use std::fs;

use super::process::{Process, tautline};

#[test]
fn the_demo_runs_without_anything_set_up_and_nothing_is_sent_twice() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = tautline(folder.path(), &["demo", "--seconds", "3", "--listen", "127.0.0.1:0"]);
    command.env("TMPDIR", folder.path());
    let ended = Process::start(command).ended();
    let text = ended.output.text();
    assert_eq!(ended.code, Some(0), "{text}");
    let result = ended.output.stdout.last().expect("a last line");
    assert!(result.contains(" were acked, 0 had to be sent again"), "{text}");
    assert!(!result.contains(" 0 were acked"), "{text}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing stays behind");
}

#[test]
fn help_names_every_command_and_an_unknown_flag_ends_with_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let help = Process::start(tautline(folder.path(), &["--help"])).ended();
    assert_eq!(help.code, Some(0));
    for command in [
        "demo",
        "serve",
        "simulate",
        "check",
        "token",
        "workspace",
        "webhook",
        "route",
        "job",
        "audit",
        "key",
    ] {
        assert!(help.output.stdout.iter().any(|line| line.trim_start().starts_with(command)), "{help:?}");
    }
    for wrong in [&["serve", "--frobnicate"][..], &["frobnicate"], &[]] {
        let ended = Process::start(tautline(folder.path(), wrong)).ended();
        assert_eq!(ended.code, Some(2), "{wrong:?}: {ended:?}");
    }
}
