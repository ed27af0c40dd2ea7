//! Model directories that cannot be used.

use crate::support::{Bench, model_with, quickstart_model};
use crate::{Case, args};
use serde_json::json;

pub fn cases(bench: &Bench) -> Vec<Case> {
    let problems = bench.problems(2);
    let no_tokenizer = model_with(&bench.path("no-tokenizer"), &["tokenizer.json"], &[]);
    let no_template =
        model_with(&bench.path("no-template"), &[], &[("tokenizer_config.json", json!({ "chat_template": null }))]);
    let gpt2 = model_with(
        &bench.path("gpt2"),
        &[],
        &[("config.json", json!({ "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"] }))],
    );
    let narrow = model_with(&bench.path("narrow"), &[], &[("config.json", json!({ "max_position_embeddings": 8 }))]);
    let no_weights = model_with(&bench.path("no-weights"), &["model.safetensors"], &[]);
    let wrong_shape =
        model_with(&bench.path("wrong-shape"), &[], &[("config.json", json!({ "intermediate_size": 64 }))]);
    let rollout = |model: &str| args(&["--problems", &problems, "--model", model, "--n", "1", "--max-new-tokens", "4"]);
    let score = |model: &str| args(&["difficulty", "--problems", &problems, "--model", model, "--max-length", "8"]);
    vec![
        Case {
            name: "no such model",
            binary: "rasft-rollout",
            args: rollout("absent"),
            code: 3,
            says: &["absent", "does not exist"],
        },
        Case {
            name: "no tokenizer",
            binary: "rasft-rollout",
            args: rollout(&no_tokenizer),
            code: 3,
            says: &["tokenizer.json"],
        },
        Case {
            name: "no template",
            binary: "rasft-rollout",
            args: rollout(&no_template),
            code: 3,
            says: &["chat_template"],
        },
        Case {
            name: "no weights",
            binary: "rasft-rollout",
            args: rollout(&no_weights),
            code: 3,
            says: &["model.safetensors"],
        },
        Case {
            name: "unsupported architecture",
            binary: "rasft-rollout",
            args: rollout(&gpt2),
            code: 3,
            says: &["gpt2"],
        },
        Case {
            name: "weights of another shape",
            binary: "rasft-rollout",
            args: rollout(&wrong_shape),
            code: 3,
            says: &["model.safetensors"],
        },
        Case {
            name: "prompt longer than the context",
            binary: "rasft-rollout",
            args: rollout(&narrow),
            code: 3,
            says: &["context"],
        },
        Case {
            name: "nothing fits the length limit",
            binary: "rasft-score",
            args: score(&quickstart_model().display().to_string()),
            code: 3,
            says: &["--max-length"],
        },
    ]
}
