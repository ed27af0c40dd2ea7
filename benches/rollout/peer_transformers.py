"""transformers `generate` in f32, all samples in one batch. Lines as in rollout_bench.rs; the prompts come in first."""

import json
import resource
import sys
import time

import torch
import transformers

THREADS = int(sys.argv[2])


def main():
    torch.set_num_threads(THREADS)
    transformers.logging.set_verbosity_error()
    model = transformers.AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32).eval()
    model.generation_config.eos_token_id = None
    work = json.loads(sys.stdin.readline())
    prompts, samples, new = work["prompts"], work["samples"], work["new_tokens"]
    print(json.dumps({"version": f"transformers {transformers.__version__}, torch {torch.__version__}"}), flush=True)
    for line in sys.stdin:
        greedy = line.strip() == "greedy"
        rows = prompts[:1] if greedy else prompts
        longest = max(map(len, rows))
        ids = torch.tensor([[0] * (longest - len(p)) + p for p in rows])
        mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in rows])
        how = (
            {"do_sample": False, "max_new_tokens": 24}
            if greedy
            else {"do_sample": True, "temperature": 0.9, "top_p": 0.95, "top_k": 0, "num_return_sequences": samples,
                  "max_new_tokens": new, "min_new_tokens": new}
        )
        torch.manual_seed(42)
        start, cpu = time.perf_counter(), time.process_time()
        with torch.inference_mode():
            out = model.generate(ids, attention_mask=mask, pad_token_id=0, **how)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        out = out[:, longest:]
        if greedy:
            print(json.dumps({"token_ids": out[0].tolist()}), flush=True)
            continue
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        print(json.dumps({"seconds": seconds, "cpu_seconds": cpu, "tokens": out.numel(), "peak_mib": peak}), flush=True)


main()
