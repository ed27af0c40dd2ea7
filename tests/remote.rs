//! Models and samples from elsewhere through the real binaries: a hub and servers on loopback, and llama.cpp's server
//! when it is there (`make test-endpoint`).

#[path = "support/http.rs"]
mod http;
mod support;

use http::{Asked, Reply, Server};
use rasft_types::{FinishReason, Rollout, Verdict};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use support::{Bench, Ran, files_below, quickstart_model};

const COMMIT: &str = "89abcdef0123456789abcdef0123456789abcdef";

fn rows(dir: &str) -> Vec<Rollout> {
    rasft_data::DataSet::open(Path::new(dir)).expect("a data set").read_all().expect("rollouts")
}

/// A hub with the quickstart's model, and a file that nobody needs.
fn hub() -> Server {
    let mut files: BTreeMap<String, Vec<u8>> = files_below(&quickstart_model())
        .into_iter()
        .map(|(path, bytes)| (path.file_name().expect("a name").to_string_lossy().into_owned(), bytes))
        .collect();
    files.insert("training.log".into(), vec![b'x'; 1000]);
    Server::start(move |asked| {
        if asked.path.starts_with("/api/models/tiny/quickstart/revision/") {
            let siblings: Vec<Value> = files.keys().map(|name| json!({ "rfilename": name })).collect();
            return Reply::json(json!({ "sha": COMMIT, "siblings": siblings }));
        }
        let name = asked.path.rsplit('/').next().unwrap_or_default();
        match files.get(name) {
            Some(bytes) => Reply::Full(200, vec![format!("etag: \"{}\"", name.replace('.', "-"))], bytes.clone()),
            None => Reply::status(404, ""),
        }
    })
}

#[test]
fn a_model_on_the_hub_is_the_same_policy_as_its_directory() {
    let (bench, hub) = (Bench::new(), hub());
    let problems = bench.problems(4);
    let args = |model: &str| {
        let list =
            ["--problems", &problems, "--model", model, "--n", "1", "--max-new-tokens", "8", "--system-prompt", ""];
        list.map(str::to_owned).to_vec()
    };
    let run = |model: &str, endpoint: &str, offline: &str| {
        let args = args(model);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut command = bench.command("rasft-rollout", &args);
        command.env("HF_HOME", bench.path("hf")).env("HF_ENDPOINT", endpoint).env("HF_HUB_OFFLINE", offline);
        command.env_remove("HF_HUB_CACHE").env_remove("HF_TOKEN");
        Ran::from(command.output().expect("the binary starts"))
    };
    let local = bench.ok(
        "rasft-rollout",
        &args(&quickstart_model().display().to_string()).iter().map(String::as_str).collect::<Vec<_>>(),
    );
    let fetched = run("hf:tiny/quickstart", &hub.url(), "0");
    assert_eq!(fetched.path(), PathBuf::from(&local), "the same content, the same key: nothing is computed again");
    assert!(hub.asked_of("training.log").is_empty());
    let n = hub.asked().len();
    let offline = run(&format!("hf:tiny/quickstart@{COMMIT}"), "http://127.0.0.1:1", "1");
    assert_eq!((offline.path(), hub.asked().len()), (PathBuf::from(local), n), "a warm cache needs no network");
    let absent = run("hf:tiny/absent", &hub.url(), "0");
    assert_eq!(absent.code, 3, "{}", absent.stderr);
    assert!(absent.stderr.contains("hf:tiny/absent") && absent.stderr.contains("not found"), "{}", absent.stderr);
    assert_eq!(run("hf:nonsense", &hub.url(), "0").code, 2);
}

/// A server that counts up; `broken` problems get errors as long as the flag is up.
fn sampling_server(broken: Arc<AtomicBool>) -> Server {
    Server::start(move |asked: &Asked| match asked.path.as_str() {
        "/v1/models" => Reply::json(json!({ "data": [{ "id": "policy" }] })),
        "/v1/completions" | "/v1/chat/completions" => {
            let seed = asked.json()["seed"].as_u64().unwrap_or(0);
            if broken.load(Ordering::SeqCst) && seed.is_multiple_of(3) {
                return Reply::status(500, "no");
            }
            let text = format!("The answer is \\boxed{{{}}}.", seed % 50);
            let choice = if asked.path.contains("chat") {
                json!({ "message": { "role": "assistant", "content": text }, "finish_reason": "stop" })
            } else {
                json!({ "text": text, "finish_reason": "stop" })
            };
            Reply::json(json!({ "choices": [choice] }))
        }
        _ => Reply::status(404, ""),
    })
}

const QUICK: [&str; 4] = ["--retry-pause", "0.001", "--max-retries", "1"];

#[test]
fn samples_of_a_server_outlive_a_failed_run_and_feed_the_verifier() {
    let (bench, broken) = (Bench::new(), Arc::new(AtomicBool::new(true)));
    let server = sampling_server(Arc::clone(&broken));
    let (problems, url, model) = (bench.problems(6), server.url(), quickstart_model().display().to_string());
    let run = |n: &str, served: &str| {
        let mut list = vec!["--problems", &problems, "--endpoint", &url, "--served-model", served, "--model", &model];
        list.extend(["--n", n, "--max-new-tokens", "40", "--api-key-env", "TEST_API_KEY", "--concurrency", "1"]);
        list.extend(["--system-prompt", ""]);
        list.extend(QUICK);
        Ran::from(bench.command("rasft-rollout", &list).env("TEST_API_KEY", "sk-hunter2").output().expect("starts"))
    };
    let wrong = run("4", "another");
    assert_eq!(wrong.code, 3, "{}", wrong.stderr);
    assert!(wrong.stderr.contains("serves no model \"another\"; it serves \"policy\""), "{}", wrong.stderr);

    let failed = run("4", "policy");
    assert_eq!(failed.code, 1, "{}", failed.stderr);
    assert!(failed.stderr.contains("gave up after 2 tries; the last one: status 500: no"), "{}", failed.stderr);
    broken.store(false, Ordering::SeqCst);
    let rollouts = run("4", "policy").path().display().to_string();
    let asked = server.asked_of("completions");
    let seeds = |keep: fn(u64) -> bool| -> Vec<u64> {
        asked.iter().filter_map(|a| a.json()["seed"].as_u64()).filter(|s| keep(*s)).collect()
    };
    let distinct = |seeds: Vec<u64>| seeds.into_iter().collect::<BTreeSet<_>>().len();
    let answered = seeds(|seed| !seed.is_multiple_of(3));
    assert_eq!(distinct(answered.clone()), answered.len(), "what was there was not asked for again");
    assert_eq!(distinct(seeds(|_| true)), 24);
    let all = rows(&rollouts);
    assert_eq!(all.len(), 24);
    assert!(all.iter().all(|r| r.policy_id.starts_with("served:policy:") && r.finish_reason == FinishReason::Stop));
    assert!(all.iter().all(|r| !r.token_ids.is_empty() && r.token_logprobs.is_empty() && r.prompt_tokens > 0));
    let n = server.asked().len();
    run("2", "policy").path();
    assert_eq!(run("4", "policy").path().display().to_string(), rollouts);
    assert_eq!(server.asked().len(), n, "a warm run asks nothing");
    let more = run("5", "policy").path().display().to_string();
    assert_eq!(rows(&more).len(), 30);
    assert_eq!(server.asked_of("/v1/completions").len(), asked.len() + 6, "one more of each");

    let verdicts = bench.ok("rasft-verify", &["--rollouts", &rollouts, "--problems", &problems]);
    let verdicts: Vec<Verdict> =
        rasft_data::DataSet::open(Path::new(&verdicts)).expect("a data set").read_all().expect("rows");
    assert!(verdicts.iter().all(|v| v.extracted.is_some()));
    for (path, bytes) in files_below(&bench.store()) {
        assert!(!bytes.windows(7).any(|w| w == b"hunter2"), "{} holds the key", path.display());
    }
    assert!(server.asked_of("completions").iter().all(|a| a.headers["authorization"] == "Bearer sk-hunter2"));
}

#[test]
fn prompts_as_text_are_templated_and_the_weights_at_hand_name_the_policy() {
    let (bench, server) = (Bench::new(), sampling_server(Arc::default()));
    let (problems, url) = (bench.problems(2), server.url());
    let copy = bench.path("other");
    std::fs::create_dir(&copy).expect("a folder");
    for (path, mut bytes) in files_below(&quickstart_model()) {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if name.starts_with('_') {
            continue; // A manifest of ours would tell the weights apart by itself.
        }
        if name.ends_with(".safetensors") {
            *bytes.last_mut().expect("not empty") ^= 1;
        }
        std::fs::write(copy.join(name), bytes).expect("written");
    }
    let run = |model: &Path| {
        let model = model.display().to_string();
        let mut list = vec!["--problems", &problems, "--endpoint", &url, "--served-model", "policy", "--model", &model];
        list.extend(["--n", "1", "--max-new-tokens", "20", "--prompt-as", "text", "--system-prompt", ""]);
        rows(&bench.ok("rasft-rollout", &[&list[..], &QUICK].concat()))
    };
    let (one, other) = (run(&quickstart_model()), run(&copy));
    assert_ne!(one[0].policy_id, other[0].policy_id, "the same config and tokenizer, other weights");
    assert_eq!(server.asked_of("/v1/completions").len(), 4, "no sample of one stands for the other's");
    let tokenizer = tokenizers::Tokenizer::from_file(quickstart_model().join("tokenizer.json")).expect("a tokenizer");
    let lengths = |prompt: &str| tokenizer.encode(prompt, false).expect("encodes").len();
    let mut asked: Vec<usize> = server
        .asked_of("/v1/completions")
        .iter()
        .map(|a| lengths(a.json()["prompt"].as_str().expect("a text")))
        .collect();
    let mut told: Vec<usize> = one.iter().chain(&other).map(|r| r.prompt_tokens as usize).collect();
    asked.sort_unstable();
    told.sort_unstable();
    assert_eq!(asked, told, "the text that is sent has the tokens of the templated prompt");
}

#[test]
fn a_server_alone_is_enough() {
    let (bench, server) = (Bench::new(), sampling_server(Arc::default()));
    let (problems, url) = (bench.problems(3), server.url());
    let mut list = vec!["--problems", &problems, "--endpoint", &url, "--served-model", "policy", "--n", "2"];
    list.extend(["--dialect", "openai", "--repetition-penalty", "1"]);
    let rollouts = bench.ok("rasft-rollout", &[&list[..], &QUICK].concat());
    let all = rows(&rollouts);
    assert_eq!((all.len(), all[0].policy_id.as_str()), (6, "served:policy"));
    let asked = server.asked_of("/v1/chat/completions").remove(0).json();
    assert_eq!(asked["messages"][0]["role"], "system");
    assert!(asked.get("top_k").is_none());
    let bench_arg = format!("synthetic={problems}");
    let mut eval = vec!["run", "--bench", &bench_arg, "--endpoint", &url, "--served-model", "policy"];
    eval.extend(QUICK);
    let ran = bench.ok("rasft-eval", &eval);
    assert!(Path::new(&ran).join("eval_summary.parquet").is_file());
}

#[test]
fn ids_that_do_not_spell_the_text_are_no_tokens() {
    let bench = Bench::new();
    let (problems, model) = (bench.problems(2), quickstart_model().display().to_string());
    // Ids of another vocabulary, with log-probabilities; with and without a tokenizer that can be asked.
    let choice = json!({ "text": "so 7 is it", "finish_reason": "stop", "token_ids": [3, 3], "logprobs":
        { "tokens": ["a", "b"], "token_logprobs": [-1.0, -2.0] } });
    let run = |tokenize: bool| {
        let (choice, tokenizer) = (choice.clone(), tokenizers::Tokenizer::from_file(format!("{model}/tokenizer.json")));
        let tokenizer = tokenizer.expect("the quickstart's tokenizer");
        let server = Server::start(move |asked| match asked.path.as_str() {
            "/v1/models" => Reply::json(json!({ "data": [{ "id": "policy" }] })),
            "/tokenize" if tokenize => {
                let text = asked.json()["prompt"].as_str().unwrap_or_default().to_owned();
                Reply::json(json!({ "tokens": tokenizer.encode(text, false).expect("encodes").get_ids() }))
            }
            "/v1/completions" => Reply::json(json!({ "choices": [choice] })),
            _ => Reply::status(404, ""),
        });
        let url = server.url();
        let mut list = vec!["--problems", &problems, "--endpoint", &url, "--served-model", "policy", "--model", &model];
        list.extend(["--n", "1", "--max-new-tokens", "9"]);
        bench.run("rasft-rollout", &[&list[..], &QUICK].concat())
    };
    let unasked = run(false);
    assert_eq!(unasked.code, 3, "{}", unasked.stderr);
    assert!(unasked.stderr.contains("its token ids do not spell the text"), "{}", unasked.stderr);
    // The tokenizer is the one given, so the server is only careless: the text counts.
    let asked = run(true);
    let all = rows(&asked.path().display().to_string());
    assert!(all.iter().all(|r| r.token_ids.len() > 2 && r.token_logprobs.is_empty() && r.completion == "so 7 is it"));
    assert!(asked.stderr.contains("2 of 2 completions"), "{}", asked.stderr);
}

#[test]
fn flags_that_do_not_go_together_are_told() {
    let bench = Bench::new();
    let problems = bench.problems(2);
    let refused = |more: &[&str], words: &str| {
        let ran = bench.run("rasft-rollout", &[&["--problems", &problems], more].concat());
        assert_eq!(ran.code, 2, "{}", ran.stderr);
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
    };
    let server = ["--endpoint", "http://127.0.0.1:1", "--served-model", "x"];
    refused(&[], "missing --model");
    refused(&["--served-model", "x"], "--served-model needs --endpoint");
    refused(&["--endpoint", "http://127.0.0.1:1"], "--endpoint needs --served-model");
    refused(&[&server[..], &["--api", "completions"]].concat(), "--api completions needs --model");
    refused(&[&server[..], &["--dialect", "openai"]].concat(), "--dialect openai has neither top-k");
    refused(&[&server[..], &["--api-key-env", "RASFT_NO_SUCH_KEY"]].concat(), "RASFT_NO_SUCH_KEY is not set");
    refused(&[&server[..], &["--timeout", "0"]].concat(), "--timeout 0: expected a number of seconds above 0");
    refused(&["--endpoint", "http://u:p@127.0.0.1:1", "--served-model", "x"], "credentials do not belong");
}

/// llama.cpp's server on a port of its own; it ends with the test.
struct Llama(Child, u16);

impl Drop for Llama {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Starts `RASFT_LLAMA_SERVER` on the GGUF file that `RASFT_SMOLLM2_GGUF` names.
fn llama() -> Option<(Llama, PathBuf)> {
    let named = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_file());
    let Some((server, gguf)) = named("RASFT_LLAMA_SERVER").zip(named("RASFT_SMOLLM2_GGUF")) else {
        println!("skipped: RASFT_LLAMA_SERVER and RASFT_SMOLLM2_GGUF name no server and no model (make test-endpoint)");
        return None;
    };
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let child = Command::new(&server)
        .arg("-m")
        .arg(&gguf)
        .args(["--host", "127.0.0.1", "--port", &port.to_string(), "--alias", "smollm2"])
        .args(["-t", "2", "-c", "8192", "-np", "8", "--device", "none"])
        .env("LD_LIBRARY_PATH", server.parent().expect("a folder"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the server starts");
    Some((Llama(child, port), gguf))
}

#[test]
fn a_real_server_gives_ids_and_log_probabilities() {
    let Some((server, gguf)) = llama() else { return };
    let bench = Bench::new();
    let (problems, url, model) =
        (bench.problems(4), format!("http://127.0.0.1:{}", server.1), gguf.display().to_string());
    // While the server loads it refuses connections or says 503: the retries see to it.
    let mut list = vec!["--problems", &problems, "--endpoint", &url, "--served-model", "smollm2", "--model", &model];
    list.extend(["--n", "2", "--max-new-tokens", "48", "--temperature", "0", "--repetition-penalty", "1"]);
    list.extend(["--concurrency", "4", "--retry-pause", "2"]);
    let served = rows(&bench.ok("rasft-rollout", &list));
    assert_eq!(served.len(), 8);
    assert!(served.iter().all(|r| r.token_ids.len() == r.token_logprobs.len() && !r.token_ids.is_empty()));
    // The embedded engine on the same file, greedy: the same policy, so the first tokens and their numbers agree.
    let mut list = vec!["--problems", &problems, "--model", &model, "--n", "2", "--max-new-tokens", "48"];
    list.extend(["--temperature", "0", "--repetition-penalty", "1"]);
    let own = rows(&bench.ok("rasft-rollout", &list));
    // For one of the four problems two first tokens are all but equally likely, and the server takes the other one, or not,
    // as its batches fall. Its number then still has to be that of our first token.
    let differing = served.iter().zip(&own).filter(|(served, own)| served.token_ids[0] != own.token_ids[0]);
    let other_tokens: BTreeSet<_> = differing.map(|(served, _)| &served.problem_id).collect();
    assert!(other_tokens.len() <= 1, "the first tokens of several problems differ: {other_tokens:?}");
    for (served, own) in served.iter().zip(&own) {
        assert_eq!(served.prompt_tokens, own.prompt_tokens);
        // The server computes on 4-bit weights with 8-bit activations.
        let apart = (served.token_logprobs[0] - own.token_logprobs[0]).abs();
        assert!(apart < 0.25, "{} and {}", served.token_logprobs[0], own.token_logprobs[0]);
    }
    let verdicts = {
        let mut list = vec!["--problems", &problems, "--endpoint", &url, "--served-model", "smollm2", "--api", "chat"];
        list.extend(["--n", "1", "--max-new-tokens", "32"]);
        let rollouts = bench.ok("rasft-rollout", &list);
        bench.ok("rasft-verify", &["--rollouts", &rollouts, "--problems", &problems])
    };
    assert!(Path::new(&verdicts).is_dir());
}
