//! Same inputs, same bytes; what does not change a result does not change its key.

use crate::fixture::Setting;
use serde_json::Value;

fn key(setting: &Setting, more: &[&str]) -> String {
    let json: Value = setting.run(&[more, &["--json", "--dry-run"]].concat()).json();
    json["key"].as_str().expect("a key").to_owned()
}

#[test]
fn a_seed_and_any_number_of_threads_give_the_same_bytes() {
    let setting = Setting::new(6);
    let first = setting.bytes(&[]);
    for jobs in ["1", "2"] {
        setting.forget();
        let flags: Vec<&str> = setting.flags.iter().map(|f| if f == "1" { jobs } else { f }).collect();
        let ran = setting.bench.run("rasft-train", &flags);
        assert_eq!(crate::fixture::data(&ran.path()), first, "--jobs {jobs}");
    }
    assert_ne!(setting.bytes(&["--seed", "7"]), first);
}

#[test]
fn watching_and_checkpoints_do_not_enter_the_key_and_objectives_do() {
    let setting = Setting::new(6);
    let plain = key(&setting, &[]);
    let watched = ["--checkpoint-every", "2", "--keep-checkpoints", "4", "--tensorboard", "events"];
    assert_eq!(key(&setting, &watched), plain);
    let grpo = key(&setting, &["--objective", "grpo"]);
    assert_ne!(grpo, plain);
    assert_ne!(key(&setting, &["--objective", "grpo", "--clip-high", "0.28"]), grpo);
    let ran = setting.run(&[]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let again = setting.run(&["--checkpoint-every", "2", "--json"]).json();
    assert_eq!((again["hits"].as_u64(), again["misses"].as_u64()), (Some(1), Some(0)), "{again}");
}

#[test]
fn a_continued_checkpoint_counts_by_its_content() {
    let setting = Setting::new(2);
    let checkpoint = setting.run(&[]).path();
    let copy = setting.bench.path("copy");
    std::fs::create_dir_all(&copy).expect("folder");
    for entry in std::fs::read_dir(&checkpoint).expect("list").flatten() {
        if entry.file_name() != "_manifest.json" {
            let to = copy.join(entry.file_name());
            std::fs::write(to, std::fs::read(entry.path()).expect("read")).expect("write");
        }
    }
    let copy_text = copy.display().to_string();
    let of_copy = key(&setting, &["--continue", &copy_text]);
    let moments = copy.join("optimizer.safetensors");
    let mut bytes = std::fs::read(&moments).expect("read");
    let end = bytes.len() - 1;
    bytes[end] ^= 1;
    std::fs::write(&moments, &bytes).expect("write");
    assert_ne!(key(&setting, &["--continue", &copy_text]), of_copy, "moments count");

    // With its manifest the same damage is found out.
    let original = checkpoint.join("optimizer.safetensors");
    let mut permissions = std::fs::metadata(&original).expect("there").permissions();
    #[expect(clippy::permissions_set_readonly_false, reason = "a test damages a file on purpose")]
    permissions.set_readonly(false);
    std::fs::set_permissions(&original, permissions).expect("writable");
    std::fs::write(&original, &bytes).expect("write");
    let checkpoint_text = checkpoint.display().to_string();
    let ran = setting.run(&["--continue", &checkpoint_text]);
    assert_eq!(ran.code, 4, "{}", ran.stderr);
    assert!(ran.stderr.contains("optimizer.safetensors") && ran.stderr.contains("blake3"), "{}", ran.stderr);
    std::fs::remove_file(copy.join("trainer.json")).expect("remove");
    let ran = setting.run(&["--continue", &copy_text]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stderr.contains("trainer.json") && ran.stderr.contains("hint"), "{}", ran.stderr);
}

#[test]
fn a_mixture_does_not_trust_a_damaged_tokenizer() {
    let setting = Setting::new(1);
    let bench = &setting.bench;
    let quickstart = crate::support::quickstart_model().display().to_string();
    let problems = bench.problems(6);
    let mixture =
        |model: &str| bench.run("rasft-score", &["mixture", "--problems", &problems, "--model", model, "--for", "sft"]);
    let flags = ["--model", &quickstart, "--objective", "sft", "--steps", "1", "--batch-size", "2"];
    let first = mixture(&quickstart).path().display().to_string();
    let checkpoint = bench.run("rasft-train", &[&["--mixture", &first][..], &flags].concat()).path();
    let copy = bench.path("copy");
    std::fs::create_dir_all(&copy).expect("folder");
    for entry in std::fs::read_dir(&checkpoint).expect("list").flatten() {
        std::fs::write(copy.join(entry.file_name()), std::fs::read(entry.path()).expect("read")).expect("write");
    }
    let tokenizer = copy.join("tokenizer.json");
    let text = std::fs::read_to_string(&tokenizer).expect("read");
    // The same length, and still a tokenizer.
    std::fs::write(&tokenizer, text.replacen("<|endoftext|>", "<|endoftexT|>", 1)).expect("write");
    assert_ne!(std::fs::read_to_string(&tokenizer).expect("read"), text, "the quickstart's special token has moved");
    let ran = mixture(&copy.display().to_string());
    assert_eq!(ran.code, 4, "{}", ran.stderr);
    assert!(ran.stderr.contains("tokenizer.json") && ran.stderr.contains("blake3"), "{}", ran.stderr);
}
