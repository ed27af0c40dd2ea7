//! Fetching a model from a hub of our own, with redirects, commits and ETags as the real one sends them.

use crate::http::{Asked, Reply, Server};
use rasft_remote::hub::{HubModel, HubSettings, Unwatched, Watch, fetch};
use rasft_remote::{ErrorClass, RemoteError, RetryPolicy, Secret};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

type Files = BTreeMap<&'static str, Vec<u8>>;

fn single() -> Files {
    BTreeMap::from([
        ("config.json", b"{}".to_vec()),
        ("tokenizer.json", b"{\"model\":1}".to_vec()),
        ("tokenizer_config.json", b"{ }".to_vec()),
        ("model.safetensors", (0..10_000u32).flat_map(u32::to_le_bytes).collect()),
        ("README.md", b"# model".to_vec()),
        ("pytorch_model.bin", b"pickle".to_vec()),
    ])
}

/// Answers like the hub: small files directly, weights by a redirect to another host.
fn answer(files: &Files, cdn_port: u16, asked: &Asked) -> Reply {
    if ["main", COMMIT].iter().any(|rev| asked.path == format!("/api/models/org/name/revision/{rev}")) {
        let siblings: Vec<_> = files.keys().map(|name| json!({ "rfilename": name })).collect();
        return Reply::json(json!({ "sha": COMMIT, "siblings": siblings }));
    }
    let name = asked.path.rsplit('/').next().unwrap_or_default();
    let Some(bytes) = files.get(name) else { return Reply::status(404, "Entry not found") };
    let whole = asked.path.strip_prefix("/cdn/").is_some();
    if !whole && !asked.path.starts_with(&format!("/org/name/resolve/{COMMIT}/")) {
        return Reply::status(404, "Revision not found");
    }
    let tag = format!("etag: \"{}\"", tag(name, bytes));
    let commit = format!("x-repo-commit: {COMMIT}");
    if name.ends_with(".safetensors") && !whole {
        return Reply::status(302, "")
            .with_header(&format!("location: http://localhost:{cdn_port}/cdn/{name}"))
            .with_header(&format!("x-linked-{tag}"))
            .with_header(&commit);
    }
    ranged(bytes, asked).with_header(&tag).with_header(&commit)
}

/// From the byte on that was asked for; 416 where there is none.
fn ranged(bytes: &[u8], asked: &Asked) -> Reply {
    let Some(range) = asked.headers.get("range") else { return Reply::Full(200, Vec::new(), bytes.to_vec()) };
    let from: usize = range.trim_start_matches("bytes=").trim_end_matches('-').parse().expect("bytes=FROM-");
    if from >= bytes.len() {
        return Reply::status(416, "");
    }
    let range = format!("content-range: bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
    Reply::Full(206, vec![range], bytes[from..].to_vec())
}

/// The weights' name on the hub is their SHA-256.
fn tag(name: &str, bytes: &[u8]) -> String {
    if name.ends_with(".safetensors") {
        Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
    } else {
        name.replace('.', "-")
    }
}

/// A hub, and a second one that stands for the host of large files.
struct Hub {
    hub: Server,
    cdn: Server,
}

fn hub(files: Files) -> Hub {
    let large = files.clone();
    let cdn = Server::start(move |asked| answer(&large, 0, asked));
    let port = cdn.port();
    Hub { hub: Server::start(move |asked| answer(&files, port, asked)), cdn }
}

fn settings(url: &str, cache: &Path) -> HubSettings {
    HubSettings {
        endpoint: url.to_owned(),
        stall: Duration::from_secs(20),
        retry: RetryPolicy { max_retries: 2, base: Duration::from_millis(1), cap: Duration::from_millis(2) },
        ..HubSettings::at(cache.join("hub"))
    }
}

fn get(model: &str, settings: &HubSettings) -> Result<PathBuf, RemoteError> {
    fetch(&model.parse::<HubModel>()?, settings, &Unwatched)
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).expect("a directory").map(|e| e.expect("an entry").file_name());
    let mut names: Vec<String> = entries.map(|n| n.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn needed_files_are_fetched_once_and_then_found_without_the_network() {
    let (hub, cache) = (hub(single()), tempfile::tempdir().expect("a folder"));
    let online = HubSettings { token: Secret::new("hf_x"), ..settings(&hub.hub.url(), cache.path()) };
    let dir = get("hf:org/name", &online).expect("fetched");
    assert_eq!(names(&dir), ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]);
    for (name, bytes) in single().iter().filter(|(name, _)| names(&dir).iter().any(|n| n == *name)) {
        assert_eq!(&std::fs::read(dir.join(name)).expect(name), bytes, "{name}");
    }
    assert!(dir.ends_with(format!("models--org--name/snapshots/{COMMIT}")), "{}", dir.display());
    let asked = hub.hub.asked();
    assert!(asked.iter().all(|a| a.headers["authorization"] == "Bearer hf_x"));
    assert!(hub.cdn.asked().iter().all(|a| !a.headers.contains_key("authorization")), "the token is the hub's alone");

    let gone = HubSettings { endpoint: "http://127.0.0.1:1".into(), ..online.clone() };
    assert_eq!(get("hf:org/name", &gone).expect("from the cache"), dir);
    assert_eq!(get(&format!("hf:org/name@{COMMIT}"), &gone).expect("pinned, from the cache"), dir);
    let offline = HubSettings { offline: true, ..gone };
    assert_eq!(get("hf:org/name", &offline).expect("offline, from the cache"), dir);
    assert_eq!(hub.hub.asked().len(), asked.len());
    assert!(!hub.cdn.asked_of("/cdn/model.safetensors").is_empty());
}

#[test]
fn what_another_tool_has_fetched_is_compared_with_the_hub_once() {
    let (hub, cache) = (hub(single()), tempfile::tempdir().expect("a folder"));
    let online = settings(&hub.hub.url(), cache.path());
    let dir = get("hf:org/name", &online).expect("fetched");
    // As a tool leaves it that needed no chat template.
    std::fs::remove_dir_all(online.cache.join("models--org--name/.rasft-whole")).expect("the marker");
    std::fs::remove_file(dir.join("tokenizer_config.json")).expect("the link");
    let offline = HubSettings { offline: true, ..online.clone() };
    assert_eq!(get("hf:org/name", &offline).expect("offline, as it is"), dir);
    assert!(!dir.join("tokenizer_config.json").exists());
    let weights = hub.hub.asked_of("model.safetensors").len();
    assert_eq!(get("hf:org/name", &online).expect("completed"), dir);
    assert!(dir.join("tokenizer_config.json").is_file());
    assert_eq!(hub.hub.asked_of("model.safetensors").len(), weights, "what is there is not fetched again");
    let asked = hub.hub.asked().len();
    assert_eq!(get("hf:org/name", &online).expect("from the cache"), dir);
    assert_eq!(hub.hub.asked().len(), asked, "once");
}

#[test]
fn shards_are_fetched_as_the_index_names_them() {
    let index =
        |name: &str| json!({ "weight_map": { "a": "model-1.safetensors", "b": name } }).to_string().into_bytes();
    let mut files = single();
    files.remove("model.safetensors");
    files.insert("model.safetensors.index.json", index("model-2.safetensors"));
    files.insert("model-1.safetensors", vec![1; 100]);
    files.insert("model-2.safetensors", vec![2; 50]);
    files.insert("model-3.safetensors", vec![3; 50]);
    let cache = tempfile::tempdir().expect("a folder");
    let server = hub(files.clone());
    let dir = get("hf:org/name", &settings(&server.hub.url(), cache.path())).expect("fetched");
    assert!(dir.join("model-2.safetensors").is_file() && !dir.join("model-3.safetensors").exists());

    files.insert("model.safetensors.index.json", index("../../../escape.safetensors"));
    let cache = tempfile::tempdir().expect("a folder");
    let message = get("hf:org/name", &settings(&hub(files).hub.url(), cache.path())).expect_err("a hostile index");
    assert!(message.to_string().contains("no plain file name"), "{message}");
}

/// A hub without redirects; `weights` answers for the weights.
fn plain_hub(weights: impl Fn(&Asked, &[u8]) -> Reply + Send + Sync + 'static) -> Server {
    let files = single();
    Server::start(move |asked| {
        if asked.path.starts_with("/api/") {
            return answer(&files, 0, asked);
        }
        let name = asked.path.rsplit('/').next().unwrap_or_default();
        let bytes = &files[name];
        let reply = if name == "model.safetensors" { weights(asked, bytes) } else { ranged(bytes, asked) };
        reply.with_header(&format!("etag: {}", tag(name, bytes))).with_header(&format!("x-repo-commit: {COMMIT}"))
    })
}

#[test]
fn a_broken_transfer_is_taken_up_again_and_never_taken_for_whole() {
    let (resumed, broken) = (AtomicUsize::new(0), Arc::new(AtomicBool::new(true)));
    let state = Arc::clone(&broken);
    let server = plain_hub(move |asked, bytes| {
        let once_more = || asked.headers.contains_key("range") && resumed.fetch_add(1, Ordering::SeqCst) == 0;
        if state.load(Ordering::SeqCst) || once_more() {
            let from =
                asked.headers.get("range").map_or(0, |r| r["bytes=".len()..r.len() - 1].parse().expect("bytes=FROM-"));
            // A head for all of the rest, and a hundred bytes of it.
            let tag = format!("etag: {}", tag("model.safetensors", bytes));
            let range = format!("content-range: bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
            return Reply::Cut(
                if from == 0 { 200 } else { 206 },
                bytes.len() - from,
                vec![tag, range],
                bytes[from..from + 100].to_vec(),
            );
        }
        ranged(bytes, asked)
    });
    let cache = tempfile::tempdir().expect("a folder");
    let online = settings(&server.url(), cache.path());
    let message = get("hf:org/name", &online).expect_err("cut at every try").to_string();
    assert!(message.contains("model.safetensors: cannot fetch"), "{message}");
    let offline = HubSettings { offline: true, ..online.clone() };
    get("hf:org/name", &offline).expect_err("half of it is not the model");
    broken.store(false, Ordering::SeqCst);
    let small = server.asked_of("/config.json").len();
    let dir = get("hf:org/name", &online).expect("taken up");
    assert_eq!(std::fs::read(dir.join("model.safetensors")).expect("weights"), single()["model.safetensors"]);
    assert_eq!(server.asked_of("/config.json").len(), small, "what was there is not fetched again");
    let last = server.asked_of("model.safetensors").pop().expect("asked");
    assert!(last.headers["range"].starts_with("bytes="), "only the rest was fetched");
}

/// Counts files that begin and end, and wants to stop some looks after the weights began.
#[derive(Default)]
struct Seen {
    begun: AtomicUsize,
    ended: AtomicUsize,
    weights: AtomicBool,
    looks: AtomicUsize,
}

impl Watch for Seen {
    fn file(&self, name: &str, _: u64) {
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.weights.fetch_or(name == "model.safetensors", Ordering::SeqCst);
    }

    fn done(&self) {
        self.ended.fetch_add(1, Ordering::SeqCst);
    }

    fn keep_going(&self) -> bool {
        // More looks than there are chunks: the stop comes while nothing comes.
        !self.weights.load(Ordering::SeqCst) || self.looks.fetch_add(1, Ordering::SeqCst) < 3
    }
}

#[test]
fn a_download_that_is_broken_off_ends_for_those_who_watch() {
    let cdn = Server::start(|_| {
        let weights = &single()["model.safetensors"];
        Reply::Stall(weights.len(), weights[..100].to_vec())
    });
    let port = cdn.port();
    let hub = Server::start(move |asked| answer(&single(), port, asked));
    let cache = tempfile::tempdir().expect("a folder");
    let seen = Seen::default();
    let model = "hf:org/name".parse::<HubModel>().expect("a name");
    fetch(&model, &settings(&hub.url(), cache.path()), &seen).expect_err("stopped");
    let [begun, ended] = [&seen.begun, &seen.ended].map(|n| n.load(Ordering::SeqCst));
    assert!(seen.weights.load(Ordering::SeqCst) && begun > 1 && ended == begun, "{begun} begun, {ended} ended");
}

#[test]
fn a_partial_file_that_is_whole_too_long_or_wrong_is_finished_all_the_same() {
    let weights = single()["model.safetensors"].clone();
    let seeded = |bytes: Vec<u8>, shifted: bool| {
        let cache = tempfile::tempdir().expect("a folder");
        let server = plain_hub(move |asked, bytes| match (shifted, asked.headers.contains_key("range")) {
            // Other bytes than those that were asked for.
            (true, true) => Reply::Full(206, vec!["content-range: bytes 0-9/40000".into()], bytes[..10].to_vec()),
            _ => ranged(bytes, asked),
        });
        let online = settings(&server.url(), cache.path());
        let blobs = online.cache.join("models--org--name/blobs");
        std::fs::create_dir_all(&blobs).expect("a folder");
        let partial = blobs.join(format!("{}.incomplete", tag("model.safetensors", &weights)));
        std::fs::write(&partial, bytes).expect("written");
        let dir = get("hf:org/name", &online).expect("finished");
        assert_eq!(std::fs::read(dir.join("model.safetensors")).expect("weights"), weights);
        assert!(!partial.exists());
        server.asked_of("model.safetensors").len()
    };
    assert_eq!(seeded(weights.clone(), false), 1, "only its size is asked for");
    seeded([&weights[..], b"more"].concat(), false);
    seeded(vec![0; weights.len()], false);
    seeded(weights[..500].to_vec(), true);
}

#[test]
fn damaged_weights_are_noticed() {
    let nth = AtomicUsize::new(0);
    let server = plain_hub(move |_, bytes| {
        let mut bytes = bytes.to_vec();
        bytes[7] ^= u8::from(nth.fetch_add(1, Ordering::SeqCst) == 0);
        Reply::Full(200, Vec::new(), bytes)
    });
    let cache = tempfile::tempdir().expect("a folder");
    let dir = get("hf:org/name", &settings(&server.url(), cache.path())).expect("the second try is whole");
    assert_eq!(std::fs::read(dir.join("model.safetensors")).expect("weights"), single()["model.safetensors"]);
    assert_eq!(server.asked_of("model.safetensors").len(), 2);
}

#[test]
fn a_tag_that_leads_elsewhere_names_no_file() {
    let files = single();
    let server = Server::start(move |asked| match asked.path.starts_with("/api/") {
        true => answer(&files, 0, asked),
        false => Reply::status(200, "{}").with_header("etag: \"../../../escape\""),
    });
    let cache = tempfile::tempdir().expect("a folder");
    let message = get("hf:org/name", &settings(&server.url(), cache.path())).expect_err("a hostile tag").to_string();
    assert!(message.contains("no usable ETag"), "{message}");
}

#[test]
fn a_standing_download_is_given_up() {
    let server = Server::start(|_| Reply::Stall(100, b"{".to_vec()));
    let cache = tempfile::tempdir().expect("a folder");
    let hasty = HubSettings { stall: Duration::from_millis(50), ..settings(&server.url(), cache.path()) };
    let message = get("hf:org/name", &hasty).expect_err("nothing comes").to_string();
    assert!(message.contains("stands still"), "{message}");
}

#[test]
fn refusals_say_what_to_do() {
    let cache = tempfile::tempdir().expect("a folder");
    let check = |server: &Server, words: &[&str], class: ErrorClass| {
        let error = get("hf:org/name", &settings(&server.url(), cache.path())).expect_err("refused");
        let message = error.to_string();
        assert!(words.iter().all(|w| message.contains(w)), "{message}");
        assert_eq!(error.class(), class, "{message}");
    };
    let bad = ErrorClass::BadInput;
    check(&Server::start(|_| Reply::status(404, "")), &["hf:org/name", "not found", "spelling"], bad);
    check(&Server::start(|_| Reply::status(401, "")), &["gated or private", "HF_TOKEN"], bad);
    check(&Server::start(|_| Reply::status(403, "")), &["gated or private", "HF_TOKEN"], bad);
    check(&Server::start(|_| Reply::status(500, "")), &["cannot fetch from"], ErrorClass::Runtime);
    let siblings = |names: &[&str]| {
        let list: Vec<_> = names.iter().map(|n| json!({ "rfilename": n })).collect();
        let info = json!({ "sha": COMMIT, "siblings": list });
        Server::start(move |_| Reply::json(info.clone()))
    };
    check(&siblings(&["model-Q4_0.gguf"]), &["GGUF files", ".gguf file"], bad);
    check(&siblings(&["config.json", "pytorch_model.bin"]), &["pickled", "safetensors"], bad);
    check(&siblings(&["adapter_config.json", "adapter_model.safetensors"]), &["adapter"], bad);
    let odd = json!({ "sha": "../../etc", "siblings": [] });
    check(&Server::start(move |_| Reply::json(odd.clone())), &["names no commit"], ErrorClass::Runtime);

    let offline = HubSettings { offline: true, ..settings("http://127.0.0.1:1", cache.path()) };
    let message = get("hf:org/name", &offline).expect_err("not cached").to_string();
    assert!(message.contains("HF_HUB_OFFLINE") && message.contains("not (wholly) in the cache"), "{message}");
}
