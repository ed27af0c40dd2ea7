#!/usr/bin/env python3
"""RASFT steps, ours against PyTorch: tokens per second, peak memory, and whether the losses agree.

Both sides of a comparison take the same optimizer step (policy, AdamW, clipping, f32) over the same rows of GSM8K in
lockstep, one step each in turn, so that slow spells of the machine hit both; the first step is a warm-up. Rows are one
solution a problem, the expert's, or, as in a mixture, four of each problem one after the other. Ours computes once what the
sequences of a micro-batch begin with in common: the head of the chat template, and the problem if it is the same. Tokens are
counted as the sequences have them. Peaks are per process. CPU time, reported beside wall time, includes threads that look
for work: both sides' do. See run.sh for how this is called.
"""

import argparse
import json
import statistics
import subprocess
import sys

STEPS = {2: 16, 8: 8}  # optimizer steps per micro-batch size, the first of them a warm-up
FEWER_STEPS = {2: 8, 8: 4}  # of the peer that does not run the reference, and of ours that recomputes
FIRST = 4  # counted steps that are shown apart: PyTorch is slower while its memory still grows
SAME = 1e-4  # losses of the first three steps agree to this, absolutely


class Side:
    """A process that takes one step per line."""

    def __init__(self, name, command):
        self.name, self.steps = name, []
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def step(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.name} ended with {self.process.wait()}")
        self.steps.append(json.loads(line))

    def close(self):
        self.process.stdin.close()
        self.process.wait()

    def rates(self):
        return [s["tokens"] / s["seconds"] for s in self.steps[1:]]

    def cpu(self):
        """CPU seconds per thousand tokens."""
        return [1000 * s["cpu"] / s["tokens"] for s in self.steps[1:]]

    def peak(self):
        return self.steps[-1]["peak"]


def spread(values, form):
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ours", required=True, help="the example train_steps")
    parser.add_argument("--model", required=True, help="a Hugging Face directory")
    parser.add_argument("--experts", required=True, help="rows with ref_logprob, one a problem")
    parser.add_argument("--mixture", required=True, help="rows with ref_logprob, several a problem")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sizes", type=int, nargs="*", default=[2, 8])
    args = parser.parse_args()
    agree = True
    for size in args.sizes:
        agree &= compare(args, "one solution a problem", args.experts, size, variants=True)
        agree &= compare(args, "a mixture, four solutions a problem", args.mixture, size, variants=False)
    if not agree:
        sys.exit(f"losses differ by more than {SAME}")


def compare(args, what, rows, size, variants):
    """Prints ours against PyTorch, if asked also with the reference stored and recomputing; returns whether losses agree."""
    tail = [args.model, rows, str(size), str(args.threads)]
    ours = [args.ours, "train", *tail]
    peer = [sys.executable, "benches/train/peer.py", *tail]
    print(f"\nmicro-batch {size}, {args.threads} threads, {what}")
    print("| | tokens/s, all tokens | CPU s per 1,000 tokens | peak memory, GB |\n| --- | --- | --- | --- |")
    runs = [in_lockstep([("ours", ours), ("PyTorch", [*peer, "reference"])], STEPS[size])]
    if variants:
        second = [("ours", ours), ("PyTorch, reference stored", [*peer, "stored"])]
        third = [("ours", ours), ("ours, `--gradient-checkpointing`", [*ours, "recompute"])]
        runs += [in_lockstep(sides, FEWER_STEPS[size]) for sides in (second, third)]
    for side in runs[0] + [sides[1] for sides in runs[1:]]:
        print(f"| {side.name} | {spread(side.rates(), '.0f')} | {spread(side.cpu(), '.2f')} | {side.peak() / 1e9:.2f} |")
    for mine, other in runs:
        ratios = [a / b for a, b in zip(mine.rates(), other.rates())]
        memory = mine.peak() / other.peak()
        print(f"ours over {other.name}: speed {spread(ratios, '.2f')}, memory {memory:.2f}")
    mine, torch = runs[0]
    for name, part in ((f"first {FIRST}", slice(0, FIRST)), ("later ones", slice(FIRST, None))):
        rates = torch.rates()[part]
        ratios = [a / b for a, b in zip(mine.rates()[part], rates)]
        print(f"the {name} of these: ours over PyTorch {spread(ratios, '.2f')}, PyTorch {spread(rates, '.0f')} tokens/s")
    expected = [step["loss"] for step in mine.steps[:3]]
    agree = True
    for side in (side for run in runs for side in run):
        worst = max(abs(a - step["loss"]) for a, step in zip(expected, side.steps))
        agree &= worst <= SAME
        print(f"losses of the first three steps, {side.name}: largest difference {worst:.1e}", flush=True)
    return agree


def in_lockstep(sides, steps):
    running = [Side(name, command) for name, command in sides]
    for _ in range(steps):
        for side in running:
            side.step()
    for side in running:
        side.close()
    return running


main()
