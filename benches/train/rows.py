"""Trajectories of GSM8K under the model's own chat template: rows.py MODEL_DIR GSM8K.jsonl N SOLUTIONS OUT.jsonl

N rows in the order of a mixture: SOLUTIONS of each problem, one after the other. The first is the expert's; the others stand
for sampled ones and are the experts' solutions of the next problems, so they have their lengths but do not solve it.
"""

import json
import re
import sys

from transformers import AutoTokenizer

directory, source, n, solutions, out = sys.argv[1:]
n, solutions = int(n), int(solutions)
tokenizer = AutoTokenizer.from_pretrained(directory)
with open(source) as f:
    problems = [json.loads(line) for _, line in zip(range(n // solutions + solutions), f)]
with open(out, "w") as o:
    for i in range(n):
        problem, nth = divmod(i, solutions)
        messages = [{"role": "user", "content": problems[problem]["question"]}]
        prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        response = re.sub(r"<<[^>]*>>", "", problems[problem + nth]["answer"]) + tokenizer.eos_token
        prompt_ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        ids = prompt_ids + tokenizer(response, add_special_tokens=False)["input_ids"]
        # Weights as a mixture has them: spread over (0, 1].
        o.write(json.dumps({"input_ids": ids, "prompt_len": len(prompt_ids), "weight": 0.25 + 0.25 * (i % 4)}) + "\n")
