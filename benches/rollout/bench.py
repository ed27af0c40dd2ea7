"""Alternates our rollout engine, transformers and llama.cpp on the same weights, prompts and token counts.

Every side loads the model once, is asked for one greedy completion (all must agree), runs once unmeasured, and then in
turn. Timed is everything from the prompts' token ids to the last token: prompts, decoding, sampling. Processor time stands
beside: it tells more than the clock on a machine that others use at the same time.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

TARGETS = {"transformers": 5.0, "llama.cpp": 1.3}


class Side:
    def __init__(self, command, threads, prompts=None):
        env = {**os.environ, "RAYON_NUM_THREADS": threads}
        self.process = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True)
        if prompts is not None:
            self.tell(json.dumps(prompts))
        self.first = self.answer()

    def tell(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.process.args}: ended with {self.process.wait()}")
        return json.loads(line)

    def ask(self, line):
        self.tell(line)
        return self.answer()


def spread(values, form="{:,.0f}"):
    f = form.format
    return f"{f(statistics.median(values))} ({f(min(values))} to {f(max(values))})"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ours", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--gguf", required=True)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--threads", default="2", help="1 makes processor time comparable on a machine that others use: "
                        "nobody waits for anybody by spinning")
    parser.add_argument("--without", action="append", default=[], choices=list(TARGETS))
    parser.add_argument("--shape", nargs=4, default=["64", "16", "4", "128"], metavar="N",
                        help="batch size, prompts, samples, new tokens")
    a = parser.parse_args()
    here = pathlib.Path(__file__).parent
    sides = {"ours": Side([a.ours, a.model, *a.shape], a.threads)}
    prompts = sides["ours"].first
    if "transformers" not in a.without:
        sides["transformers"] = Side([sys.executable, here / "peer_transformers.py", a.model, a.threads], a.threads, prompts)
    if "llama.cpp" not in a.without:
        sides["llama.cpp"] = Side([sys.executable, here / "peer_llama_cpp.py", a.gguf, a.threads], a.threads, prompts)
    for name, side in sides.items():
        print(f"{name}: {json.dumps(side.first) if name != 'ours' else a.ours}")
    greedy = {name: side.ask("greedy")["token_ids"] for name, side in sides.items()}
    for name, ids in greedy.items():
        same = next((i for i, (x, y) in enumerate(zip(ids, greedy["ours"])) if x != y), len(ids))
        print(f"greedy, {name}: {same} of {len(ids)} tokens as ours")
        if same < 8:
            sys.exit("the sides do not run the same model")
    rates, per_cpu, peaks, hashes = {n: [] for n in sides}, {n: [] for n in sides}, {}, set()
    for turn in range(a.rounds):
        for name, side in sides.items():
            got = side.ask("run")
            if turn > 0 or a.rounds == 1:
                rates[name].append(got["tokens"] / got["seconds"])
                per_cpu[name].append(got["tokens"] / got["cpu_seconds"])
            peaks[name] = got["peak_mib"]
            if "hash" in got:
                hashes.add(got["hash"])
            print(f"  round {turn} {name}: {got['tokens']} tokens in {got['seconds']:.2f} s, {got['cpu_seconds']:.2f} s of processor", flush=True)
    print(f"our completions: {len(hashes)} distinct hash over all rounds")
    print("\n| side | new tokens/s | ours ÷ it | new tokens per processor second | ours ÷ it | peak MiB |\n| --- | --- | --- | --- | --- | --- |")
    missed = len(hashes) != 1
    for name in sides:
        ratios = [x / y for x, y in zip(rates["ours"], rates[name])]
        cpu = [x / y for x, y in zip(per_cpu["ours"], per_cpu[name])]
        print(f"| {name} | {spread(rates[name])} | {spread(ratios, '{:.2f}')} | {spread(per_cpu[name])} "
              f"| {spread(cpu, '{:.2f}')} | {peaks[name]:,} |")
        if statistics.median(ratios) < TARGETS.get(name, 0):
            missed = True
            print(f"missed: ours ÷ {name} below {TARGETS[name]}")
    sys.exit(int(missed))


main()
