#!/usr/bin/env python3
"""Writes the fuzzer's seeds and dictionary from the labelled cases: seeds.py CASES.jsonl CORPUS_DIR DICTIONARY."""

import hashlib
import json
import pathlib
import re
import sys

PUNCTUATION = ["{", "}", "(", ")", "[", "]", "|", "^{", "_{", "^", "_", "+", "-", "*", "/", "=", "<", ">", ",", ";", ":", "!",
               "%", "&", "$", "$$", "\\\\", "\\{", "\\}", "\\,", "\\!", "~", "**", "####", ".", "'", "°", "−", "√", "π", "≤", "∪"]
WORDS = ["The answer is ", "Answer: ", "final answer", "boxed", "and", "or", "no solution", "1e3", "0.5", "12", "7", "x", "i",
         "e", "n", "\0"]


def main() -> None:
    cases, corpus, dictionary = (pathlib.Path(a) for a in sys.argv[1:4])
    corpus.mkdir(parents=True, exist_ok=True)
    commands: set[str] = set()
    for line in cases.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        gold, response = row["gold"], row["response"][-160:]
        commands.update(re.findall(r"\\[A-Za-z]+", gold + response))
        # One seed ends in the answer alone, one in the prose around it.
        answer = row.get("answer") or response
        for second in (str(answer)[:160], response):
            seed = f"{gold[:200]}\0{second}".encode()
            (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    entries = sorted(commands) + PUNCTUATION + WORDS
    escaped = ["".join(chr(b) if 32 <= b < 127 and b not in (34, 92) else f"\\x{b:02x}" for b in e.encode()) for e in entries]
    dictionary.write_text("".join(f'"{e}"\n' for e in escaped), encoding="ascii")


main()
