"""Math-Verify over the cases of a file, in this one process: peer.py CASES.jsonl OUT.jsonl, boxed answers first.

Time-outs are Math-Verify's own defaults (5 s for each parse and each comparison), as its users run it.
"""

import json
import logging
import sys
import time

from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

logging.disable(logging.CRITICAL)
TARGETS = (LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig())


def judge(gold: str, response: str) -> bool:
    try:
        return bool(verify(parse(f"${gold}$", TARGETS), parse(response, TARGETS)))
    except Exception:  # a crash of the peer counts as "wrong", as in a training loop
        return False


def main() -> None:
    rows = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
    for warm in range(3):
        judge("\\frac{1}{2}", f"\\boxed{{\\frac{{{warm}}}{{2}}}}")
    with open(sys.argv[2], "w", encoding="utf-8") as out:
        for row in rows:
            start = time.perf_counter()
            correct = judge(row["gold"], row["response"])
            seconds = time.perf_counter() - start
            out.write(json.dumps({"id": row["id"], "correct": correct, "seconds": seconds}) + "\n")


main()
