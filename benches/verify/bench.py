"""Alternates our verifier and Math-Verify over the same rows; fails if a kind is below 95 % or below the peer.

The rows are dealt into as many slices as there are alternations, each slice with every kind. In alternation k both sides
judge slice k, ours on two threads, the peer in two processes, so after the last one the peer has judged every row once:
speed and accuracy come from the same run. Loading and imports are not timed on either side.
"""

import argparse
import collections
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import version

WORKERS = 2
FLOOR = 0.95
NO_FALSE_POSITIVES = {"int_big_near", "base", "scientific", "interval_forms", "percent"}


def deal(rows, n):
    """n slices, every kind spread evenly over them."""
    seen = collections.Counter()
    slices = [[] for _ in range(n)]
    for row in rows:
        slices[seen[row["kind"]] % n].append(row)
        seen[row["kind"]] += 1
    return slices


def write(path, rows):
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return path


def run_ours(program, path, passes):
    out = subprocess.run([program, path, str(WORKERS), str(passes)], check=True, capture_output=True, text=True).stdout
    return json.loads(out)


def run_peer(directory, rows):
    """Verdict and seconds by id, and cases per second of the processes together."""
    here = pathlib.Path(__file__).parent
    jobs = []
    for w in range(WORKERS):
        source = write(directory / f"peer{w}.jsonl", rows[w::WORKERS])
        out = directory / f"peer{w}.out"
        jobs.append((out, subprocess.Popen([sys.executable, here / "peer.py", source, out], stderr=subprocess.DEVNULL)))
    results = {}
    shares = []
    for out, job in jobs:
        if job.wait() != 0:
            sys.exit(f"peer.py failed with {job.returncode}")
        lines = [json.loads(line) for line in out.read_text().splitlines()]
        shares.append(lines)
        results.update((line["id"], line) for line in lines)
    return results, shares


def rate(shares, ids):
    """Cases per second of the processes together over the rows with these ids."""
    times = [[line["seconds"] for line in share if line["id"] in ids] for share in shares]
    return sum(len(t) / sum(t) for t in times if t)


def spread(values):
    return f"{statistics.median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})"


def table(rows, ours, peer):
    """Prints accuracy per kind, returns what is below the line."""
    kinds = collections.defaultdict(lambda: collections.Counter())
    for row in rows:
        if row.get("debatable"):
            continue
        c = kinds[row["kind"]]
        c["n"] += 1
        c["positive"] += row["expected"]
        for side, verdict in (("ours", ours[row["id"]]), ("peer", peer[row["id"]]["correct"])):
            c[side] += verdict == row["expected"]
            c[side + " fn"] += row["expected"] and not verdict
            c[side + " fp"] += verdict and not row["expected"]
    print(f"\n{'kind':<20}{'n':>6}{'ours':>9}{'peer':>9}{'our fn':>8}{'our fp':>8}{'peer fn':>9}{'peer fp':>9}")
    total = collections.Counter()
    failures = []
    for kind, c in sorted(kinds.items()):
        total.update(c)
        a, b = c["ours"] / c["n"], c["peer"] / c["n"]
        print(f"{kind:<20}{c['n']:>6}{a:>9.1%}{b:>9.1%}{c['ours fn']:>8}{c['ours fp']:>8}{c['peer fn']:>9}{c['peer fp']:>9}")
        if a < FLOOR or a < b:
            failures.append(f"{kind}: {a:.1%} against {b:.1%}")
        if kind in NO_FALSE_POSITIVES and c["ours fp"]:
            failures.append(f"{kind}: {c['ours fp']} false positives")
    negative = total["n"] - total["positive"]
    for side, limits in (("ours", (0.99, 0.015, 0.003)), ("peer", None)):
        a, fn, fp = total[side] / total["n"], total[side + " fn"] / total["positive"], total[side + " fp"] / negative
        print(f"{side}: accuracy {a:.2%}, false negatives {fn:.2%}, false positives {fp:.2%}")
        if limits and (a < limits[0] or fn > limits[1] or fp > limits[2]):
            failures.append("overall accuracy below the targets")
    return failures


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ours", required=True)
    parser.add_argument("--cases", default="../shared/verify/cases_dev.jsonl")
    parser.add_argument("--alternations", type=int, default=7)
    parser.add_argument("--passes", type=int, default=200, help="passes over a slice in one of our measurements")
    args = parser.parse_args()
    rows = [json.loads(line) for line in open(args.cases, encoding="utf-8")]
    versions = ", ".join(f"{p} {version(p)}" for p in ("math-verify", "latex2sympy2_extended", "sympy"))
    print(f"{len(rows)} rows, {args.alternations} alternations; {versions}, Python {sys.version.split()[0]}")
    ours, peer = {}, {}
    speed = collections.defaultdict(list)
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        for k, part in enumerate(deal(rows, args.alternations)):
            results, shares = run_peer(directory, part)
            peer.update(results)
            for name, chosen in (("all", part), ("without hostile", [r for r in part if r["kind"] != "hostile"])):
                mine = run_ours(args.ours, write(directory / "ours.jsonl", chosen), args.passes)
                theirs = rate(shares, {r["id"] for r in chosen})
                speed[name].append((mine["cases_per_second"], theirs))
                print(f"{k + 1} {name:<16} ours {mine['cases_per_second']:>9,.0f}/s  peer {theirs:>7.1f}/s  "
                      f"ratio {mine['cases_per_second'] / theirs:>7,.0f}", flush=True)
                if name == "all":
                    ours.update((r["id"], v == "1") for r, v in zip(chosen, mine["verdicts"], strict=True))
        whole = run_ours(args.ours, write(directory / "ours.jsonl", rows), args.passes // 5)
    failures = table(rows, ours, peer)
    print()
    for name, pairs in speed.items():
        ratio = [a / b for a, b in pairs]
        print(f"{name}: ours {spread([a for a, _ in pairs])} cases/s, peer {spread([b for _, b in pairs])}, ratio {spread(ratio)}")
        if statistics.median(ratio) < 2000:
            failures.append(f"{name}: median ratio {statistics.median(ratio):,.0f} < 2,000")
    seconds = sorted(line["seconds"] for line in peer.values())
    print(f"latency, ours: p50 {whole['p50_us']:.0f} us, p99 {whole['p99_us']:.0f} us, max {whole['max_us'] / 1e3:.2f} ms "
          f"(all of {whole['calls']:,} calls); slowest case at its median {whole['slowest_case_us'] / 1e3:.2f} ms")
    print(f"latency, peer: p50 {seconds[len(seconds) // 2] * 1e3:.1f} ms, p99 {seconds[len(seconds) * 99 // 100] * 1e3:.0f} ms, "
          f"max {seconds[-1]:.1f} s")
    if whole["p99_us"] > 2_000 or whole["slowest_case_us"] > 50_000:
        failures.append("latency above the targets")
    if failures:
        sys.exit("FAILED\n" + "\n".join(failures))
    print("every target met")


main()
