//! Samples from a server that refuses, breaks off, stalls and lies.

use crate::http::{Asked, Reply, Server};
use rasft_remote::endpoint::{Api, Dialect, Probe, Prompt, Receiver, Sample, Sampling, Wanted};
use rasft_remote::{Endpoint, EndpointConfig, ErrorClass, RemoteError, RetryPolicy, Secret};
use rasft_types::FinishReason;
use serde_json::json;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

fn config(server: &Server) -> EndpointConfig {
    EndpointConfig {
        url: server.url(),
        model: "tiny".into(),
        api: Api::Completions,
        dialect: Dialect::Extended,
        key: None,
        concurrency: 2,
        timeout: Duration::from_secs(30),
        connect_timeout: Duration::from_secs(5),
        max_body: 1 << 20,
        retry: RetryPolicy { max_retries: 6, base: Duration::from_millis(1), cap: Duration::from_millis(2) },
    }
}

fn sampling() -> Sampling {
    Sampling {
        temperature: 1.0,
        top_p: 1.0,
        top_k: 0,
        min_p: 0.0,
        repetition_penalty: 1.0,
        min_tokens: 0,
        stop: Vec::new(),
        stop_token_ids: vec![2],
    }
}

fn wanted(n: usize) -> Vec<Wanted> {
    let one = |i: usize| Wanted {
        label: format!("problem p, sample {i}"),
        prompt: Prompt::Tokens(vec![1, i as u32]).into(),
        max_tokens: 4,
        seed: i as u32,
    };
    (0..n).map(one).collect()
}

/// A good answer that repeats the seed.
fn good(asked: &Asked) -> Reply {
    let seed = asked.json()["seed"].clone();
    Reply::json(json!({ "choices": [{ "text": format!("<{seed}>"), "finish_reason": "stop" }] }))
}

/// Keeps what comes, and breaks after so many.
struct Keep {
    samples: BTreeMap<usize, Sample>,
    enough: usize,
}

impl Receiver for Keep {
    fn on_sample(&mut self, index: usize, sample: Sample) -> Result<ControlFlow<()>, RemoteError> {
        assert!(self.samples.insert(index, sample).is_none(), "sample {index} came twice");
        let full = self.samples.len() >= self.enough;
        Ok(if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }
}

type Ran = (Result<bool, RemoteError>, BTreeMap<usize, Sample>);

fn run(config: EndpointConfig, n: usize) -> Ran {
    let mut keep = Keep { samples: BTreeMap::new(), enough: usize::MAX };
    let endpoint = Endpoint::new(config).expect("a sound address");
    (endpoint.sample(&wanted(n), &sampling(), &mut keep), keep.samples)
}

fn failed((result, _): Ran) -> (String, ErrorClass) {
    let error = result.expect_err("a failure");
    (error.to_string(), error.class())
}

#[test]
fn every_passing_trouble_is_tried_again_with_the_same_request() {
    let n = AtomicUsize::new(0);
    let server = Server::start(move |asked| match n.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::status(429, r#"{"error":{"message":"slow down"}}"#).with_header("Retry-After: 0"),
        1 => Reply::status(503, "loading").with_header("Retry-After: Sun, 06 Nov 1994 08:49:37 GMT"),
        2 => Reply::Silence,
        3 => Reply::Cut(200, 5000, Vec::new(), br#"{"choices":[{"te"#.to_vec()),
        4 => Reply::status(200, r#"{"choices":[{"text":"a"#),
        5 => Reply::json(json!({ "choices": [] })),
        6 => Reply::status(520, "an unknown error"),
        7 => Reply::json(json!({ "choices": [{ "text": "half", "finish_reason": "error" }] })),
        _ => good(asked),
    });
    let patient = RetryPolicy { max_retries: 8, ..config(&server).retry };
    let (result, samples) = run(EndpointConfig { retry: patient, ..config(&server) }, 1);
    assert!(result.expect("the ninth try"));
    assert_eq!((samples[&0].text.as_str(), samples[&0].finish_reason), ("<0>", FinishReason::Stop));
    let asked = server.asked();
    assert_eq!(asked.len(), 9);
    assert!(asked.iter().all(|a| a.body == asked[0].body && a.path == "/v1/completions" && a.method == "POST"));
}

#[test]
fn a_stalled_body_runs_into_the_time_out() {
    let n = AtomicUsize::new(0);
    let server = Server::start(move |asked| match n.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::Stall(100, br#"{"choices""#.to_vec()),
        _ => good(asked),
    });
    let patient = EndpointConfig { timeout: Duration::from_millis(250), ..config(&server) };
    let (result, samples) = run(patient, 1);
    assert!(result.expect("the second try"));
    assert_eq!((samples.len(), server.asked().len()), (1, 2));
}

#[test]
fn what_does_not_pass_is_given_up_and_the_others_are_delivered() {
    let server = Server::start(|asked| match asked.json()["seed"].as_u64() {
        Some(1) => Reply::status(500, "out of \u{1b}[31mmemory"),
        _ => good(asked),
    });
    let few = EndpointConfig { retry: RetryPolicy { max_retries: 2, ..config(&server).retry }, ..config(&server) };
    let ran = run(few, 3);
    assert!(ran.1.contains_key(&0), "what was delivered stays");
    let (message, class) = failed(ran);
    assert!(message.contains("problem p, sample 1: gave up after 3 tries"), "{message}");
    assert!(message.contains("status 500: out of  [31mmemory") && !message.contains('\u{1b}'), "{message}");
    assert_eq!(class, ErrorClass::Runtime);
}

#[test]
fn a_refusal_is_final_and_never_shows_the_key() {
    let server = Server::start(|asked| {
        let told = format!("bad key: {}", asked.headers["authorization"]);
        Reply::status(401, &json!({ "error": { "message": told } }).to_string())
    });
    let keyed = EndpointConfig { key: Secret::new("sk-hunter2"), concurrency: 1, ..config(&server) };
    assert!(!format!("{keyed:?}").contains("hunter2"));
    let (message, _) = failed(run(keyed, 5));
    assert!(message.contains("refused with status 401: bad key") && message.contains("--api-key-env"), "{message}");
    assert!(!message.contains("hunter2"));
    let asked = server.asked();
    assert_eq!(asked.len(), 1, "no further try, no further sample");
    assert_eq!(asked[0].headers["authorization"], "Bearer sk-hunter2");

    // Nor where the answer is only quoted because it cannot be read.
    let odd = Server::start(|asked| {
        Reply::json(json!({ "choices": [{ "text": "a", "token_ids": asked.headers["authorization"] }] }))
    });
    let once = RetryPolicy { max_retries: 0, ..config(&odd).retry };
    let keyed = EndpointConfig { key: Secret::new("sk-hunter2"), retry: once, ..config(&odd) };
    let (message, _) = failed(run(keyed, 1));
    assert!(message.contains("malformed answer") && !message.contains("hunter2"), "{message}");
}

#[test]
fn a_bad_request_names_the_limits_that_may_be_to_blame() {
    let server = Server::start(|_| Reply::status(400, r#"{"error":{"message":"context is 1024 tokens"}}"#));
    let (message, _) = failed(run(config(&server), 1));
    assert!(message.contains("context is 1024 tokens") && message.contains("--max-length"), "{message}");
}

#[test]
fn a_redirect_is_not_followed() {
    let other = Server::start(good);
    let there = format!("Location: {}/v1/completions", other.url());
    let server = Server::start(move |_| Reply::status(307, "").with_header(&there));
    let (message, _) = failed(run(config(&server), 1));
    assert!(message.contains("status 307") && message.contains("final address"), "{message}");
    assert!(other.asked().is_empty());
}

#[test]
fn an_endless_answer_is_cut_off() {
    let server = Server::start(|_| Reply::Full(200, Vec::new(), vec![b' '; 3 << 20]));
    let (message, _) = failed(run(config(&server), 1));
    // 64 KiB, 2 KiB for each of four tokens, 64 bytes for each of two.
    assert!(message.contains("longer than 72 KiB"), "{message}");
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn reasoning_that_was_split_off_is_not_lost_silently() {
    let message = json!({ "content": "4", "reasoning_content": "two and two" });
    let server =
        Server::start(move |_| Reply::json(json!({ "choices": [{ "message": message, "finish_reason": "stop" }] })));
    let (message, _) = failed(run(EndpointConfig { api: Api::Chat, ..config(&server) }, 1));
    assert!(message.contains("takes the reasoning out"), "{message}");
}

#[test]
fn no_more_requests_are_in_flight_than_allowed() {
    // Each answer waits until three are in flight, so the limit is reached; the count shows that it is never passed.
    let state = (Mutex::new((0usize, 0usize)), Condvar::new());
    let state = std::sync::Arc::new(state);
    let shared = std::sync::Arc::clone(&state);
    let server = Server::start(move |asked| {
        let (lock, reached) = &*shared;
        let mut counts = lock.lock().expect("lock");
        counts.0 += 1;
        counts.1 = counts.1.max(counts.0);
        reached.notify_all();
        let mut counts = reached.wait_while(counts, |c| c.1 < 3).expect("lock");
        counts.0 -= 1;
        good(asked)
    });
    let (result, samples) = run(EndpointConfig { concurrency: 3, ..config(&server) }, 12);
    assert!(result.expect("all"));
    assert_eq!((samples.len(), state.0.lock().expect("lock").1), (12, 3));
    assert!(samples.iter().all(|(i, s)| s.text == format!("<{i}>")), "each sample has its own seed");
}

#[test]
fn a_break_ends_asking_and_keeps_what_is_in_flight() {
    let server = Server::start(good);
    let mut keep = Keep { samples: BTreeMap::new(), enough: 2 };
    let endpoint = Endpoint::new(config(&server)).expect("a sound address");
    assert!(!endpoint.sample(&wanted(50), &sampling(), &mut keep).expect("no failure"));
    assert!((2..=4).contains(&keep.samples.len()), "{}", keep.samples.len());
    assert_eq!(server.asked().len(), keep.samples.len(), "nothing that was asked for is thrown away");
}

/// Wants to stop at once.
struct Stop;

impl Receiver for Stop {
    fn on_sample(&mut self, index: usize, _: Sample) -> Result<ControlFlow<()>, RemoteError> {
        panic!("sample {index} cannot come");
    }

    fn on_tick(&mut self) -> ControlFlow<()> {
        ControlFlow::Break(())
    }
}

#[test]
fn a_long_pause_keeps_nobody_who_wants_to_stop() {
    let server = Server::start(|_| Reply::status(429, "later").with_header("Retry-After: 600"));
    let endpoint = Endpoint::new(config(&server)).expect("a sound address");
    let began = std::time::Instant::now();
    assert!(!endpoint.sample(&wanted(1), &sampling(), &mut Stop).expect("a stop is no failure"));
    assert_eq!(endpoint.check(&[], &mut || ControlFlow::Break(())).expect("a stop is no failure"), None);
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

#[test]
fn an_unreachable_server_is_told_soon() {
    let gone = {
        let server = Server::start(good);
        config(&server)
    };
    let endpoint = Endpoint::new(gone).expect("a sound address");
    let message = endpoint.check(&[], &mut || ControlFlow::Continue(())).expect_err("nobody listens").to_string();
    assert!(message.contains("gave up after 4 tries") && message.contains("no connection"), "{message}");
}

fn listing(models: serde_json::Value, tokens: Reply) -> Server {
    Server::start(move |asked| match asked.path.as_str() {
        "/v1/models" => Reply::json(models.clone()),
        "/tokenize" => tokens.clone(),
        _ => good(asked),
    })
}

fn check(server: &Server) -> Result<bool, RemoteError> {
    let probe = Probe { text: "<s>a b".into(), ids: vec![1, 7, 8] };
    let endpoint = Endpoint::new(config(server)).expect("a sound address");
    endpoint.check(&[probe], &mut || ControlFlow::Continue(())).map(|compared| compared.expect("not broken off"))
}

#[test]
fn another_model_or_tokenizer_is_refused() {
    let ours = || json!({ "data": [{ "id": "other" }, { "id": "tiny" }] });
    let tokens = |ids: serde_json::Value| Reply::json(json!({ "tokens": ids }));
    assert!(check(&listing(ours(), tokens(json!([1, 7, 8])))).expect("the same model and tokenizer"));

    let wrong = check(&listing(json!({ "data": [{ "id": "other" }] }), tokens(json!([1])))).expect_err("another model");
    assert!(wrong.to_string().contains("serves no model \"tiny\"; it serves \"other\""), "{wrong}");
    assert_eq!(wrong.class(), ErrorClass::BadInput);

    let wrong = check(&listing(ours(), tokens(json!([1, 7, 9])))).expect_err("another tokenizer");
    assert!(wrong.to_string().contains("token 2 of a probe text is 8 here and 9 there"), "{wrong}");
    assert_eq!(wrong.class(), ErrorClass::BadInput);
    let wrong = check(&listing(ours(), tokens(json!([1, 1, 7, 8])))).expect_err("a doubled BOS");
    assert!(wrong.to_string().contains("token 1 of a probe text is 7 here and 1 there"), "{wrong}");
    let wrong = check(&listing(ours(), tokens(json!([1, 7])))).expect_err("fewer tokens");
    assert!(wrong.to_string().contains("3 tokens here and 2 there"), "{wrong}");

    let aliased = json!({ "data": [{ "id": "file.gguf", "aliases": ["tiny"] }] });
    assert!(!check(&listing(aliased, Reply::status(404, "no such path"))).expect("no /tokenize is no failure"));
    for status in [429, 500, 503] {
        let failing = listing(ours(), Reply::status(status, "no"));
        assert!(!check(&failing).expect("a broken /tokenize is no failure"), "{status}");
    }
    assert!(!check(&listing(ours(), Reply::json(json!({ "pieces": [] })))).expect("an unknown answer is none"));
    let odd = check(&listing(json!({ "models": [] }), tokens(json!([])))).expect_err("no list");
    assert!(odd.to_string().contains("no list of models"), "{odd}");
}
