"""The RASFT step in PyTorch, as its users run it: padded batches, full logits, the frozen reference beside the policy.

    peer.py MODEL_DIR ROWS.jsonl MICRO_BATCH THREADS reference|stored

`stored` takes the reference's log-probabilities from the rows instead of running the reference. Each line on standard
input asks for one optimizer step over the next MICRO_BATCH rows; the answer is one line of JSON.
"""

import json
import sys
import time

import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM


def load(directory):
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="sdpa")
    return model.eval()  # no dropout in either case


def collate(rows):
    """Right padding; labels of prompt and padding are -100."""
    width = max(len(r["input_ids"]) for r in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    labels = torch.full((len(rows), width), -100)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for b, r in enumerate(rows):
        n = len(r["input_ids"])
        ids[b, :n] = torch.tensor(r["input_ids"])
        labels[b, r["prompt_len"] : n] = ids[b, r["prompt_len"] : n]
        mask[b, :n] = 1
    return ids, labels, mask, torch.tensor([r["weight"] for r in rows])


def token_losses(model, ids, labels, mask):
    """CE per position and which positions count, (B, T-1)."""
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
    target = labels[:, 1:]
    ce = F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=-100, reduction="none")
    return ce.view(target.shape), (target != -100).float()


def rasft_loss(policy, reference, rows):
    ids, labels, mask, weight = collate(rows)
    ce, valid = token_losses(policy, ids, labels, mask)
    count = valid.sum(1).clamp(min=1)
    mean = -(ce.detach() * valid).sum(1) / count
    if reference is None:
        mean_ref = torch.tensor([r["ref_logprob"] for r in rows])
    else:
        with torch.no_grad():
            ce_ref, _ = token_losses(reference, ids, labels, mask)
        mean_ref = -(ce_ref * valid).sum(1) / count
    ratio = torch.exp((mean_ref - mean).clamp(-20, 20)).clamp(0.4, 1.2)
    coefficient = (ratio * weight)[:, None] * torch.exp(-ce.detach())
    return (valid * ce * coefficient).sum() / valid.sum().clamp(min=1)


def peak_rss():
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmHWM"))


def main():
    directory, path, micro_batch, threads, kind = sys.argv[1:]
    torch.set_num_threads(int(threads))
    with open(path) as f:
        rows = [json.loads(line) for line in f]
    policy = load(directory)
    reference = load(directory).requires_grad_(False) if kind == "reference" else None
    optimizer = torch.optim.AdamW(policy.parameters(), lr=5e-5, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, fused=True)
    at, n = 0, int(micro_batch)
    for _ in sys.stdin:
        batch = rows[at : at + n]
        at += n
        start, cpu = time.perf_counter(), time.process_time()
        optimizer.zero_grad(set_to_none=True)
        loss = rasft_loss(policy, reference, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        tokens = sum(len(r["input_ids"]) for r in batch)
        answer = {"loss": loss.item(), "seconds": seconds, "cpu": cpu, "tokens": tokens, "peak": peak_rss()}
        print(json.dumps(answer), flush=True)


main()
