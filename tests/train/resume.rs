//! Killed, interrupted, out of disk: the same command goes on and ends in the same bytes.

use crate::fixture::{Numbers, Setting, data};
use crate::support::Ran;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const EVERY: [&str; 2] = ["--checkpoint-every", "3"];

#[test]
fn killed_at_twenty_moments_it_ends_in_the_same_bytes() {
    let setting = Setting::new(40);
    let started = Instant::now();
    let whole = setting.bytes(&[]);
    let took = started.elapsed();
    let mut numbers = Numbers(2026);
    let mut resumed = 0;
    for trial in 0..20 {
        setting.forget();
        let left = if trial % 2 == 0 {
            // One moment in each tenth of the run, start-up and publication included.
            let moment = took.mul_f64((f64::from(trial) + 2.0 * numbers.below(1000) as f64 / 1000.0) / 18.0);
            let started = Instant::now();
            setting.killed(&EVERY, || started.elapsed() >= moment)
        } else {
            setting.killed(&EVERY, || setting.reached(3 + 3 * (trial as u64 / 2)))
        };
        resumed += u32::from(left);
        assert_eq!(setting.bytes(&EVERY), whole, "trial {trial}");
        assert!(setting.kept().is_empty(), "trial {trial}: checkpoints of a published run stay behind");
    }
    eprintln!("{resumed} of 20 went on from a checkpoint; a run takes {took:?}");
    // Those killed at a checkpoint, unless the machine slept in between.
    assert!(resumed >= 8, "{resumed} resumed");
}

#[test]
fn a_second_process_says_that_it_waits_and_goes_on_behind_the_first() {
    let setting = Setting::new(300);
    let spawn = || {
        let mut command = setting.bench.command("rasft-train", &setting.args(&EVERY));
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts")
    };
    let mut first = spawn();
    while !setting.reached(3) {
        assert!(first.try_wait().expect("a child").is_none(), "the first run was over too early");
        std::thread::sleep(Duration::from_millis(2));
    }
    let waiting = || {
        let mut child = spawn();
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines().map_while(Result::ok);
        assert!(lines.any(|line| line.contains("another process works on")));
        (child, lines)
    };
    // Asked to stop, it does not wait until the first is done.
    let (mut stopped, mut lines) = waiting();
    let sent = Command::new("kill").args(["-INT", &stopped.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
    assert_eq!(stopped.wait().expect("wait").code(), Some(130));
    assert!(lines.any(|line| line.contains("stopped while another process")));
    let (mut second, mut lines) = waiting();
    first.kill().expect("kill");
    first.wait().expect("wait");
    assert!(lines.any(|line| line.contains("going on from step")));
    let done = setting.kept();
    while setting.kept() <= done {
        assert!(second.try_wait().expect("a child").is_none(), "the second run ended before it kept a step more");
        std::thread::sleep(Duration::from_millis(2));
    }
    second.kill().expect("kill");
    second.wait().expect("wait");
}

#[test]
fn checkpoints_rotate_and_damaged_ones_are_passed_over() {
    let setting = Setting::new(40);
    let whole = setting.bytes(&[]);
    setting.forget();
    let ran = interrupted(&setting, &["--checkpoint-every", "1", "--keep-checkpoints", "3"], 3);
    assert_eq!(ran.code, 130, "{}", ran.stderr);
    let kept = setting.kept();
    assert_eq!(kept.len(), 3);
    std::fs::write(kept[2].join("optimizer.safetensors"), "damaged").expect("write");
    std::fs::remove_file(kept[1].join("trainer.json")).expect("remove");
    let ran = setting.run(&EVERY);
    let named = ran.stderr.matches("cannot be used and is removed").count();
    assert_eq!(named, 2, "{}", ran.stderr);
    assert_eq!(data(&ran.path()), whole);
}

#[test]
fn interrupted_it_saves_and_goes_on() {
    let setting = Setting::new(60);
    let whole = setting.bytes(&[]);
    setting.forget();
    let ran = interrupted(&setting, &[], 0);
    assert_eq!(ran.code, 130, "{}", ran.stderr);
    assert!(ran.stdout.is_empty() && ran.stderr.contains("the same command goes on from there"), "{}", ran.stderr);
    assert_eq!(setting.kept().len(), 1, "saved though nobody asked for checkpoints");
    let listed = setting.bench.run("rasft-store", &["ls"]);
    assert!(listed.stdout.contains("train") && listed.stdout.contains("unfinished"), "{}", listed.stdout);
    let kept = setting.kept().remove(0);
    assert_eq!(setting.bytes(&[]), whole);
    assert!(!kept.exists());
}

#[test]
fn gc_lists_unfinished_runs_and_removes_them_when_told() {
    let setting = Setting::new(60);
    assert_eq!(interrupted(&setting, &[], 0).code, 130);
    let plan = setting.bench.run("rasft-store", &["gc"]);
    assert!(plan.stdout.contains("unfinished") && plan.stdout.contains("nothing was removed"), "{}", plan.stdout);
    assert_eq!(setting.kept().len(), 1);
    assert_eq!(setting.bench.run("rasft-store", &["gc", "--apply"]).code, 0);
    assert!(setting.kept().is_empty());
}

/// A write that fails in the middle of a checkpoint leaves the one before whole. The limit on a file's size stands in for
/// the end of the disk, which not every machine lets a test reach.
#[test]
fn a_checkpoint_that_cannot_be_written_leaves_the_last_one_whole() {
    let setting = Setting::new(40);
    let whole = setting.bytes(&[]);
    setting.forget();
    let ran = limited(&setting, &["--checkpoint-every", "2"], 64);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("cannot write") && ran.stderr.contains("safetensors"), "{}", ran.stderr);
    assert!(setting.kept().is_empty());
    assert_eq!(interrupted(&setting, &["--checkpoint-every", "1"], 1).code, 130);
    let before: Vec<_> = setting.kept().iter().map(|dir| data(dir)).collect();
    let ran = limited(&setting, &["--checkpoint-every", "1"], 64);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert_eq!(setting.kept().iter().map(|dir| data(dir)).collect::<Vec<_>>(), before);
    assert_eq!(setting.bytes(&[]), whole);
}

#[test]
fn a_full_disk_is_explained_and_nothing_is_lost() {
    let setting = Setting::new(12);
    let whole = setting.bytes(&[]);
    let one: u64 = whole.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    let disk = setting.bench.path("disk");
    std::fs::create_dir_all(&disk).expect("folder");
    let mount =
        |options: String| Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&disk).output();
    if !mount(format!("size={}", one + one / 2)).is_ok_and(|o| o.status.success()) {
        eprintln!("skipped: this user cannot mount a small file system");
        return;
    }
    let _unmount = Unmount(&disk);
    let store = disk.join("store").display().to_string();
    // The second checkpoint is written before the first one goes.
    let ran = setting.run(&["--checkpoint-every", "2", "--store", &store]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("the disk is full"), "{}", ran.stderr);
    let kept = crate::fixture::kept(&disk.join("store"));
    assert_eq!(kept.len(), 1);
    assert!(kept[0].ends_with("step-0000000002"), "{kept:?}");
    assert!(mount(format!("remount,size={}", 8 * one)).is_ok_and(|o| o.status.success()));
    let ran = setting.run(&["--checkpoint-every", "2", "--store", &store]);
    assert_eq!(data(&ran.path()), whole);
}

struct Unmount<'a>(&'a Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let _best_effort = Command::new("umount").arg(self.0).output();
    }
}

/// Runs until some steps are done (`checkpoints` of them kept, or an event file written), then as Ctrl-C does.
fn interrupted(setting: &Setting, more: &[&str], checkpoints: usize) -> Ran {
    let events = setting.bench.path("events");
    let _from_before = std::fs::remove_dir_all(&events);
    let events_text = events.display().to_string();
    let args = setting.args(&[more, &["--tensorboard", &events_text]].concat());
    let mut command = setting.bench.command("rasft-train", &args);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let deadline = Instant::now() + Duration::from_secs(60);
    // A header and a step or two.
    let begun = || {
        std::fs::read_dir(&events).into_iter().flatten().flatten().any(|e| e.metadata().is_ok_and(|m| m.len() > 800))
    };
    while Instant::now() < deadline && !(begun() && setting.kept().len() >= checkpoints) {
        std::thread::sleep(Duration::from_millis(2));
    }
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(killed.success());
    Ran::from(child.wait_with_output().expect("wait"))
}

/// Runs under a limit on the size of each file, in blocks of 1024 bytes, with the signal for it switched off.
fn limited(setting: &Setting, more: &[&str], blocks: u32) -> Ran {
    let train = crate::support::bin("rasft-train");
    let mut command = Command::new("bash");
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
    command.args(["-c", &script, "bash", train]).args(setting.args(more));
    command.current_dir(setting.bench.path("")).env("RASFT_STORE", setting.bench.store());
    Ran::from(command.output().expect("bash runs"))
}
