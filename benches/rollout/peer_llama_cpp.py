"""llama.cpp in f32 through llama-cpp-python's C interface: every sample a sequence of one context, decoded side by side.

The prompt of a problem is computed once and its cache shared among the samples. Each sample has its own sampler chain
(top-p, temperature, draw), run in C. Lines as in rollout_bench.rs; the prompts come in first.
"""

import ctypes
import json
import resource
import sys
import time

import llama_cpp as L

THREADS = int(sys.argv[2])
BATCH = 512


@L.llama_log_callback
def silent(level, text, data):
    pass


class Run:
    """One context with room for all sequences."""

    def __init__(self, model, prompts, samples, new):
        self.prompts, self.samples, self.new = prompts, samples, new
        self.n_seq = len(prompts) * samples
        params = L.llama_context_default_params()
        params.n_seq_max = self.n_seq
        # A cache of its own for every sequence: a shared one has each token look at all cells of all sequences, which
        # takes about twice as long here.
        params.n_ctx = self.n_seq * -(-(max(map(len, prompts)) + new + 8) // 256) * 256
        params.n_batch = params.n_ubatch = BATCH
        params.n_threads = params.n_threads_batch = THREADS
        # f32 all through, as the other sides.
        params.type_k = params.type_v = L.GGML_TYPE_F32
        if hasattr(params, "kv_unified"):
            params.kv_unified = False
        self.ctx = L.llama_init_from_model(model, params)
        if not self.ctx:
            sys.exit("llama.cpp: no context")
        self.memory = L.llama_get_memory(self.ctx)
        self.batch = L.llama_batch_init(max(BATCH, self.n_seq), 0, 1)

    def put(self, i, token, pos, seq, logits):
        b = self.batch
        b.token[i], b.pos[i], b.n_seq_id[i], b.logits[i] = token, pos, 1, logits
        b.seq_id[i][0] = seq

    def decode(self, n):
        self.batch.n_tokens = n
        if L.llama_decode(self.ctx, self.batch) != 0:
            sys.exit("llama.cpp: decode failed")

    def prefill(self, sample):
        """Prompts in batches of whole prompts; the first token of every sample."""
        first = [0] * self.n_seq
        waiting, n = [], 0
        for p, prompt in enumerate([*self.prompts, None]):
            if prompt is None or n + len(prompt) > BATCH:
                self.decode(n)
                for row, q in waiting:
                    for s in range(self.samples):
                        first[q * self.samples + s] = sample(q * self.samples + s, row)
                waiting, n = [], 0
            if prompt is not None:
                for pos, token in enumerate(prompt):
                    self.put(n, token, pos, p * self.samples, pos + 1 == len(prompt))
                    n += 1
                waiting.append((n - 1, p))
        for p in range(len(self.prompts)):
            for s in range(1, self.samples):
                L.llama_memory_seq_cp(self.memory, p * self.samples, p * self.samples + s, -1, -1)
        return first

    def __call__(self, chains):
        L.llama_memory_clear(self.memory, True)
        sample = lambda seq, row: L.llama_sampler_sample(chains[seq], self.ctx, row)
        tokens = [[t] for t in self.prefill(sample)]
        for step in range(1, self.new):
            for seq in range(self.n_seq):
                pos = len(self.prompts[seq // self.samples]) + step - 1
                self.put(seq, tokens[seq][-1], pos, seq, True)
            self.decode(self.n_seq)
            for seq in range(self.n_seq):
                tokens[seq].append(sample(seq, seq))
        return tokens


def chain(seed, greedy):
    c = L.llama_sampler_chain_init(L.llama_sampler_chain_default_params())
    if greedy:
        L.llama_sampler_chain_add(c, L.llama_sampler_init_greedy())
    else:
        for part in (L.llama_sampler_init_temp(0.9), L.llama_sampler_init_top_p(0.95, 1), L.llama_sampler_init_dist(seed)):
            L.llama_sampler_chain_add(c, part)
    return c


def main():
    L.llama_log_set(silent, ctypes.c_void_p(0))
    L.llama_backend_init()
    model = L.llama_model_load_from_file(sys.argv[1].encode(), L.llama_model_default_params())
    if not model:
        sys.exit("llama.cpp: the model does not load")
    work = json.loads(sys.stdin.readline())
    prompts, samples, new = work["prompts"], work["samples"], work["new_tokens"]
    run = Run(model, prompts, samples, new)
    system = L.llama_print_system_info().decode()
    print(json.dumps({"version": f"llama-cpp-python {L.__version__}", "system": system}), flush=True)
    for line in sys.stdin:
        if line.strip() == "greedy":
            one = Run(model, prompts[:1], 1, 24)
            print(json.dumps({"token_ids": one([chain(0, True)])[0]}), flush=True)
            L.llama_free(one.ctx)
            continue
        chains = [chain(42 + seq, False) for seq in range(run.n_seq)]
        start, cpu = time.perf_counter(), time.process_time()
        tokens = run(chains)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        for c in chains:
            L.llama_sampler_free(c)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        print(json.dumps({"seconds": seconds, "cpu_seconds": cpu, "tokens": sum(map(len, tokens)), "peak_mib": peak}), flush=True)


main()
