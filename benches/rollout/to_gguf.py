"""Writes a Llama model directory as an f32 GGUF file without a vocabulary (the bench passes token ids)."""

import json
import pathlib
import sys

import gguf
import torch
from safetensors import safe_open

NAMES = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}


def interleaved(weight, heads):
    """GGUF's Llama turns neighbouring pairs of a head, Hugging Face's its two halves."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def main(source, out):
    source = pathlib.Path(source)
    c = json.loads((source / "config.json").read_text())
    heads, kv_heads = c["num_attention_heads"], c["num_key_value_heads"]
    writer = gguf.GGUFWriter(out, "llama")
    writer.add_block_count(c["num_hidden_layers"])
    writer.add_context_length(c["max_position_embeddings"])
    writer.add_embedding_length(c["hidden_size"])
    writer.add_feed_forward_length(c["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(c["rms_norm_eps"])
    writer.add_rope_freq_base(c.get("rope_theta") or c["rope_parameters"]["rope_theta"])
    writer.add_rope_dimension_count(c["hidden_size"] // heads)
    writer.add_vocab_size(c["vocab_size"])
    writer.add_tokenizer_model("none")
    with safe_open(source / "model.safetensors", "pt") as f:
        for name in f.keys():
            weight = f.get_tensor(name).to(torch.float32)
            if name.startswith("model.layers."):
                layer, part = name.removeprefix("model.layers.").removesuffix(".weight").split(".", 1)
                if part in ("self_attn.q_proj", "self_attn.k_proj"):
                    weight = interleaved(weight, heads if "q_proj" in part else kv_heads)
                name = f"blk.{layer}.{NAMES[part]}.weight"
            else:
                name = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
                        "lm_head.weight": "output.weight"}[name]
            writer.add_tensor(name, weight.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


main(*sys.argv[1:])
