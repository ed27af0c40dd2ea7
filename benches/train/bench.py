#!/usr/bin/env python3
"""RASFT steps, ours against PyTorch: tokens per second, peak memory, and whether the losses agree.

Both sides take the same optimizer step (policy, AdamW, clipping, f32) over the same rows of GSM8K in lockstep, one step
each in turn, so that slow spells of the machine hit both; the first step is a warm-up. Every process of a micro-batch size
stays in memory while the others work, and peaks are per process. See run.sh for how this is called.
"""

import argparse
import json
import statistics
import subprocess
import sys

STEPS = {2: 7, 8: 4}  # optimizer steps per micro-batch size, the first of them a warm-up
STORED_STEPS = {2: 4, 8: 3}  # of the peer that does not run the reference
SAME = 1e-4  # losses of the first three steps agree to this, absolutely


class Side:
    """A process that takes one step per line."""

    def __init__(self, name, command, steps):
        self.name, self.left, self.steps = name, steps, []
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def step(self):
        if self.left == 0:
            return
        self.left -= 1
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

    def peak(self):
        return self.steps[-1]["peak"]


def spread(values, form):
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ours", required=True, help="the example train_steps")
    parser.add_argument("--model", required=True, help="a Hugging Face directory")
    parser.add_argument("--rows", required=True, help="rows with ref_logprob")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sizes", type=int, nargs="*", default=[2, 8])
    args = parser.parse_args()
    agree = True
    for size in args.sizes:
        tail = [args.model, args.rows, str(size), str(args.threads)]
        peer = [sys.executable, "benches/train/peer.py", *tail]
        sides = [
            Side("ours", [args.ours, "train", *tail], STEPS[size]),
            Side("PyTorch", [*peer, "reference"], STEPS[size]),
            Side("ours, recomputed activations", [args.ours, "train", *tail, "recompute"], STORED_STEPS[size]),
            Side("PyTorch, reference stored", [*peer, "stored"], STORED_STEPS[size]),
        ]
        for _ in range(STEPS[size]):
            for side in sides:
                side.step()
        for side in sides:
            side.close()
        ours, torch = sides[:2]
        print(f"\nmicro-batch {size}, {args.threads} threads")
        print("| | tokens/s, all tokens | peak memory, GB |\n| --- | --- | --- |")
        for side in sides:
            print(f"| {side.name} | {spread(side.rates(), '.0f')} | {side.peak() / 1e9:.2f} |")
        for other in (torch, sides[3]):
            ratios = [a / b for a, b in zip(ours.rates(), other.rates())]
            print(f"speed of ours over {other.name}: {spread(ratios, '.2f')}; memory {ours.peak() / other.peak():.2f}")
        for side in sides[1:]:
            worst = max(abs(a["loss"] - b["loss"]) for a, b in zip(ours.steps[:3], side.steps[:3]))
            agree &= worst <= SAME
            print(f"losses of the first three steps, ours and {side.name}: largest difference {worst:.1e}")
    if not agree:
        sys.exit(f"losses differ by more than {SAME}")


main()
