"""Expert trajectories of GSM8K under the model's own chat template: rows.py MODEL_DIR GSM8K.jsonl N OUT.jsonl"""

import json
import re
import sys

from transformers import AutoTokenizer

directory, source, n, out = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(directory)
with open(source) as f, open(out, "w") as o:
    for i, line in enumerate(f):
        if i == int(n):
            break
        row = json.loads(line)
        messages = [{"role": "user", "content": row["question"]}]
        prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        response = re.sub(r"<<[^>]*>>", "", row["answer"]) + tokenizer.eos_token
        prompt_ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        ids = prompt_ids + tokenizer(response, add_special_tokens=False)["input_ids"]
        # Weights as a mixture has them: spread over (0, 1].
        o.write(json.dumps({"input_ids": ids, "prompt_len": len(prompt_ids), "weight": 0.25 + 0.25 * (i % 4)}) + "\n")
