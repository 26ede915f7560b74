#!/usr/bin/env python3
"""Tiny seeded checkpoints as folders of Hugging Face's libraries, with the logits transformers computes
for them in float32.

For every case a folder NAME with config.json, tokenizer.json, tokenizer_config.json and weights in
safetensors files, NAME.ids (64 int32) and NAME.logits (float32 [64, n_vocab]). Needs torch,
transformers and safetensors.

    python make.py [FOLDER [NAME...]]
"""
import json
import os
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "models"))
os.environ["TORCHDYNAMO_DISABLE"] = "1"

import torch
from make import N_POS, N_VOCAB, common, randomise, ternarise, with_bitlinear
from safetensors.torch import save_file
from transformers import (BitNetConfig, BitNetForCausalLM, Gemma3ForCausalLM, Gemma3TextConfig, LlamaConfig, LlamaForCausalLM,
                          MistralConfig, MistralForCausalLM, Phi3Config, Phi3ForCausalLM, Qwen2Config, Qwen2ForCausalLM,
                          Qwen3Config, Qwen3ForCausalLM)


def write_tokenizer(path):
    """The 256-byte vocabulary of the GGUF checkpoints."""
    keep = list(range(0x21, 0x7F)) + list(range(0xA1, 0xAD)) + list(range(0xAE, 0x100))
    rest = [b for b in range(256) if b not in keep]
    char = {b: chr(b) for b in keep} | {b: chr(256 + i) for i, b in enumerate(rest)}
    vocab = {char[b]: b for b in range(256)} | {"ab": 256}
    special = [f"<|{i}|>" for i in range(N_VOCAB - 257)]
    json.dump({
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": 257 + i, "content": s, "single_word": False, "lstrip": False,
                          "rstrip": False, "normalized": False, "special": True}
                         for i, s in enumerate(special)],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                          "use_regex": True},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True,
                    "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None,
                  "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": False,
                  "byte_fallback": False, "ignore_merges": False, "vocab": vocab,
                  "merges": ["a b"]}},
        open(os.path.join(path, "tokenizer.json"), "w"), ensure_ascii=False)
    json.dump({"bos_token": "<|0|>", "eos_token": "<|1|>", "add_bos_token": False,
               "tokenizer_class": "PreTrainedTokenizerFast"},
              open(os.path.join(path, "tokenizer_config.json"), "w"))


def pack(trits):
    """Four rows a quarter of the matrix apart share a byte, the first one in its low bits."""
    codes = (trits + 1).to(torch.uint8).reshape(4, trits.shape[0] // 4, trits.shape[1])
    return codes[0] | codes[1] << 2 | codes[2] << 4 | codes[3] << 6


def is_linear(name, value):
    return value.dim() == 2 and "embed_tokens" not in name and "lm_head" not in name


def case(folder, name, model, mode="plain", dtype=torch.bfloat16, rename=None, change=None,
         n_file=1, ids=None):
    """mode: plain, masters, packed (times its scale) or packed-inverse (divided by it)."""
    randomise(model)
    if sys.argv[2:] and name not in sys.argv[2:]:
        return
    path = os.path.join(folder, name)
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    out = {}
    for key, value in model.state_dict().items():
        if key == "lm_head.weight" and model.config.tie_word_embeddings:
            continue
        new = key
        for a, b in (rename or {}).items():
            new = new.replace(a, b)
        if mode.startswith("packed") and is_linear(key, value):
            trits, mean = ternarise(value.float())
            scale = mean if mode == "packed" else 1.0 / mean
            scale = scale.to(torch.bfloat16)
            out[new] = pack(trits)
            out[new + "_scale"] = scale.reshape(1)
            # What the reference ternarises again must give these trits and this scale: the mean
            # magnitude of trit * x is x * (share of nonzero trits).
            mean = scale.float() if mode == "packed" else 1.0 / scale.float()
            value.copy_(trits * mean / trits.abs().mean())
        else:
            value.copy_(value.to(dtype).float())
            out[new] = value.to(dtype)
    if model.config.tie_word_embeddings:
        model.tie_weights()
    names = list(out)
    if n_file == 1:
        save_file(out, os.path.join(path, "model.safetensors"), metadata={"format": "pt"})
    else:
        files = {n: f"model-{1 + i % n_file:05}-of-{n_file:05}.safetensors" for i, n in enumerate(names)}
        for file in sorted(set(files.values())):
            save_file({n: out[n] for n in names if files[n] == file}, os.path.join(path, file),
                      metadata={"format": "pt"})
        json.dump({"metadata": {"total_size": sum(t.nbytes for t in out.values())},
                   "weight_map": files},
                  open(os.path.join(path, "model.safetensors.index.json"), "w"))
    config = json.loads(model.config.to_json_string(use_diff=False))
    config = {k: v for k, v in config.items()
              if k in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
                       "num_key_value_heads", "head_dim", "vocab_size", "max_position_embeddings",
                       "rms_norm_eps", "rope_parameters", "tie_word_embeddings", "model_type",
                       "bos_token_id", "eos_token_id", "hidden_act", "hidden_activation",
                       "sliding_window", "query_pre_attn_scalar", "layer_types",
                       "use_sliding_window")}
    config["architectures"] = [type(model).__name__]
    config["torch_dtype"] = "bfloat16"
    if mode.startswith("packed"):
        config["quantization_config"] = {"quant_method": "bitnet", "modules_to_not_convert": None}
    if mode == "packed":
        config["quantization_config"] |= {"linear_class": "autobitlinear",
                                          "quantization_mode": "offline"}
    (change or (lambda c: None))(config)
    json.dump(config, open(os.path.join(path, "config.json"), "w"), indent=1)
    write_tokenizer(path)
    ids = torch.randint(0, 256, (1, N_POS), generator=torch.Generator().manual_seed(11))
    with torch.no_grad():
        logits = model(ids).logits[0].float().numpy()
    ids[0].numpy().astype("<i4").tofile(path + ".ids")
    logits.astype("<f4").tofile(path + ".logits")
    size = sum(os.path.getsize(os.path.join(path, f)) for f in os.listdir(path))
    print(f"{name}: {size} bytes, logits in [{logits.min():.2f}, {logits.max():.2f}]")


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
    torch.manual_seed(1)
    torch.set_default_dtype(torch.float32)
    plain = {"rope_type": "default", "rope_theta": 10000.0}
    small = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
                 num_key_value_heads=2)

    def bitnet(act):
        return BitNetForCausalLM(BitNetConfig(**common(
            hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, hidden_act=act, tie_word_embeddings=True,
            rope_parameters={"rope_type": "default", "rope_theta": 500000.0})))

    def old_theta(config):  # as configurations were written before rope_parameters
        rope = config.pop("rope_parameters")
        config["rope_theta"] = rope.pop("rope_theta")
        config["rope_scaling"] = rope if rope["rope_type"] != "default" else None

    def one_bit(config):
        old_theta(config)
        config |= {"architectures": ["BitnetForCausalLM"], "model_type": "llama", "weight_bits": 1,
                   "input_bits": 8}

    case(folder, "bitnet-packed", with_bitlinear(bitnet("relu2")), "packed", change=old_theta)
    case(folder, "bitnet-masters", with_bitlinear(bitnet("silu")), "masters", rename={
        "self_attn.attn_sub_norm": "self_attn.inner_attn_ln",
        "mlp.ffn_sub_norm": "mlp.ffn_layernorm"}, change=one_bit)
    case(folder, "llama-packed", with_bitlinear(LlamaForCausalLM(LlamaConfig(**common(
        hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=False, rope_parameters=plain)))), "packed-inverse")
    case(folder, "llama3-shards", LlamaForCausalLM(LlamaConfig(**common(
        **small, tie_word_embeddings=True,
        rope_parameters={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                         "high_freq_factor": 4.0, "original_max_position_embeddings": 32,
                         "rope_theta": 1000.0}))), n_file=3, change=old_theta)
    case(folder, "qwen2", Qwen2ForCausalLM(Qwen2Config(**common(
        **small, tie_word_embeddings=True, use_sliding_window=False, rope_parameters=plain))),
        dtype=torch.float16)
    case(folder, "qwen3", Qwen3ForCausalLM(Qwen3Config(**common(
        **small, head_dim=32, tie_word_embeddings=False, use_sliding_window=False,
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0}))), dtype=torch.float32)
    case(folder, "gemma3", Gemma3ForCausalLM(Gemma3TextConfig(**common(
        hidden_size=64, intermediate_size=96, num_hidden_layers=6, num_attention_heads=4,
        num_key_value_heads=2, head_dim=32, query_pre_attn_scalar=24, sliding_window=20,
        hidden_activation="gelu_pytorch_tanh", tie_word_embeddings=True,
        rope_parameters={"full_attention": {"rope_type": "default", "rope_theta": 1000000.0},
                         "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}))))

    def with_eyes(config):  # as Gemma3ForConditionalGeneration has it, and as it was written first
        rope = config.pop("rope_parameters")
        text = {k: config.pop(k) for k in list(config) if k not in ("architectures", "torch_dtype")}
        del text["layer_types"], text["hidden_activation"], text["tie_word_embeddings"]
        config |= {"model_type": "gemma3", "text_config": text | {
            "sliding_window_pattern": 2, "rope_theta": rope["full_attention"]["rope_theta"],
            "rope_local_base_freq": rope["sliding_attention"]["rope_theta"],
            "rope_scaling": {"rope_type": "linear", "factor": 8.0}}}

    case(folder, "gemma3-period", Gemma3ForCausalLM(Gemma3TextConfig(**common(
        hidden_size=64, intermediate_size=96, num_hidden_layers=5, num_attention_heads=4,
        num_key_value_heads=1, head_dim=16, query_pre_attn_scalar=16, sliding_window=12, sliding_window_pattern=2,
        hidden_activation="gelu_pytorch_tanh", tie_word_embeddings=True,
        rope_parameters={"full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0},
                         "sliding_attention": {"rope_type": "default", "rope_theta": 1000.0}}))),
        rename={"model.": "language_model.model."}, change=with_eyes)
    case(folder, "qwen3-norms", with_bitlinear(Qwen3ForCausalLM(Qwen3Config(**common(
        hidden_size=128, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=32,
        tie_word_embeddings=True, use_sliding_window=False, rope_parameters=plain))), input_norms=True),
        "masters", rename={"model.": "", ".rms_norm.": ".norm."})
    case(folder, "mistral", MistralForCausalLM(MistralConfig(**common(
        **small, tie_word_embeddings=False, sliding_window=20, rope_parameters=plain))))
    case(folder, "phi3", Phi3ForCausalLM(Phi3Config(**common(
        **small, tie_word_embeddings=False, pad_token_id=0, rope_parameters=plain))))


if __name__ == "__main__":
    main()
