#!/usr/bin/env python3
"""Tiny seeded checkpoints of each family, as GGUF, with the logits transformers computes for them.

For every case: NAME.gguf (weights and a 256-byte vocabulary), NAME.ids (64 int32) and NAME.logits
(float32 [64, n_vocab]). Weights are rounded to what the file stores before transformers runs, so both
sides compute with the same numbers. NAME.short are the logits of the first SHORT ids alone, where they
are computed in another way; NAME.embed pools hidden rows, see embeddings(). Needs torch, transformers
and gguf.

    python make.py [FOLDER [NAME...]]
"""
import os
import sys

os.environ["TORCHDYNAMO_DISABLE"] = "1"  # the activation quantiser is wrapped in torch.compile

import gguf
import numpy as np
import torch
from gguf.quants import dequantize, quantize
from transformers import (BitNetConfig, BitNetForCausalLM, Gemma3ForCausalLM, Gemma3TextConfig,
                          LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, Phi3Config,
                          Phi3ForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM)
from transformers.integrations.bitnet import AutoBitLinear

N_POS = 64
N_VOCAB = 264
SHORT = 32
LINES = ["one", "two three", "Tern flies.", "x"]  # bytes are ids
I2_S = 36
TYPES = {"F32": gguf.GGMLQuantizationType.F32, "F16": gguf.GGMLQuantizationType.F16,
         "BF16": gguf.GGMLQuantizationType.BF16, "Q8_0": gguf.GGMLQuantizationType.Q8_0,
         "TQ2_0": gguf.GGMLQuantizationType.TQ2_0, "TQ1_0": gguf.GGMLQuantizationType.TQ1_0}

NAMES = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm", "self_attn.attn_sub_norm": "attn_sub_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "mlp.ffn_sub_norm": "ffn_sub_norm",
    "self_attn.q_proj.rms_norm": "attn_q_norm_in", "self_attn.k_proj.rms_norm": "attn_k_norm_in",
    "self_attn.v_proj.rms_norm": "attn_v_norm_in", "self_attn.o_proj.rms_norm": "attn_output_norm_in",
    "mlp.gate_proj.rms_norm": "ffn_gate_norm_in", "mlp.up_proj.rms_norm": "ffn_up_norm_in",
    "mlp.down_proj.rms_norm": "ffn_down_norm_in",
    "self_attn.qkv_proj": "attn_qkv", "mlp.gate_up_proj": "ffn_up",
}
GEMMA3_NAMES = {"post_attention_layernorm": "post_attention_norm",
                "pre_feedforward_layernorm": "ffn_norm", "post_feedforward_layernorm": "post_ffw_norm"}


def gguf_name(name, arch):
    base, kind = name.rsplit(".", 1)
    names = NAMES | (GEMMA3_NAMES if arch == "gemma3" else {})
    if base.startswith("model.layers."):
        n, rest = base[len("model.layers."):].split(".", 1)
        return f"blk.{n}.{names[rest]}.{kind}"
    return f"{NAMES[base]}.{kind}"


def ternarise(w):
    """As in training: scale 1/absmean, round half to even, clamp (spec of W1.58)."""
    mean = torch.clamp(w.abs().mean(), min=1e-5)
    return torch.clamp(torch.round(w * (1.0 / mean)), -1, 1), mean


def i2_s_bytes(trits, scale):
    """Canonical order: in each block of 128, element 32g + p is in byte p at bits 6-2g."""
    codes = (trits.numpy().astype(np.int8) + 1).astype(np.uint8).reshape(-1, 4, 32)
    packed = codes[:, 0] << 6 | codes[:, 1] << 4 | codes[:, 2] << 2 | codes[:, 3]
    return packed.tobytes() + np.float32(scale).tobytes() + bytes(28)


def permute_for_adjacent_pairs(w, n_head):
    """Row order of GGUF's llama: halves become neighbours."""
    return w.reshape(n_head, 2, w.shape[0] // n_head // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def store(writer, name, w, dtype):
    """Add w as dtype and return what a reader will see."""
    w = w.detach().float().contiguous()
    if dtype == "I2_S":
        trits, mean = ternarise(w)
        raw = np.frombuffer(i2_s_bytes(trits, mean.item()), dtype=np.uint8)
        # The package has no such type: bytes are added as I8 and the id is mended in the file.
        writer.add_tensor(name, raw.view(np.int8))
        PATCHES[name] = (list(reversed(w.shape)), I2_S)
        return trits * mean
    if dtype in ("TQ1_0", "TQ2_0"):
        trits, mean = ternarise(w)
        w = trits * mean.half().float()
    data = quantize(w.numpy(), TYPES[dtype])
    writer.add_tensor(name, data, raw_dtype=TYPES[dtype])
    return torch.from_numpy(dequantize(data, TYPES[dtype]).astype(np.float32).reshape(w.shape))


PATCHES = {}


def mend_types(path):
    """Replace the one-dimensional I8 descriptions of I2_S tensors by their real shape and id. The new
    description is longer, so the head is rebuilt and the data moved."""
    if not PATCHES:
        return
    reader = gguf.GGUFReader(path)
    raw = open(path, "rb").read()
    first = min(t.field.offset for t in reader.tensors)
    infos, data = b"", b""
    for t in reader.tensors:
        ne, kind = PATCHES.get(t.name, (None, None))
        if ne is None:
            ne, kind = [int(n) for n in t.shape], int(t.tensor_type)
        name = t.name.encode()
        infos += len(name).to_bytes(8, "little") + name + len(ne).to_bytes(4, "little")
        infos += b"".join(n.to_bytes(8, "little") for n in ne) + kind.to_bytes(4, "little")
        infos += len(data).to_bytes(8, "little")
        body = raw[t.data_offset:t.data_offset + t.n_bytes]
        data += body + bytes(-len(body) % 32)
    head = raw[:first] + infos
    open(path, "wb").write(head + bytes(-len(head) % 32) + data)
    PATCHES.clear()


def add_vocabulary(writer):
    keep = list(range(0x21, 0x7F)) + list(range(0xA1, 0xAD)) + list(range(0xAE, 0x100))
    rest = [b for b in range(256) if b not in keep]
    char = {b: chr(b) for b in keep} | {b: chr(256 + i) for i, b in enumerate(rest)}
    tokens = [char[b] for b in range(256)] + ["ab"] + [f"<|{i}|>" for i in range(N_VOCAB - 257)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([1] * 257 + [3] * (N_VOCAB - 257))
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(257)
    writer.add_eos_token_id(258)


def randomise(model):
    """Norms and biases are constants in a fresh model: give them values that matter."""
    g = torch.Generator().manual_seed(7)
    for name, p in model.named_parameters():
        with torch.no_grad():
            if p.dim() == 1 and "norm" in name:
                ones = not isinstance(model, Gemma3ForCausalLM) or "rms_norm" in name
                p.copy_(ones + 0.3 * torch.randn(p.shape, generator=g))
            elif p.dim() == 1:
                p.copy_(0.2 * torch.randn(p.shape, generator=g))
            else:
                p.copy_(torch.randn(p.shape, generator=g) * (0.9 / p.shape[1] ** 0.5))


def embeddings(path, model, ids, both_ways, pooling):
    """NAME.embed, of the first 1, 5, 23 and 64 ids: mean, first and last hidden row after the final norm.
    NAME.lines, of LINES: pooled as the file says and normalised."""
    def pool(some):
        n = some.shape[1]
        mask = torch.zeros(1, 1, n, n) if both_ways else None
        rows = model.model(some, attention_mask=mask).last_hidden_state[0]
        return [rows.mean(0), rows[0], rows[-1]]

    out = [v for n in (1, 5, 23, N_POS) for v in pool(ids[:, :n])]
    torch.stack(out).numpy().astype("<f4").tofile(path + ".embed")
    lines = [pool(torch.tensor([list(line.encode())]))[pooling - 1] for line in LINES]
    torch.nn.functional.normalize(torch.stack(lines)).numpy().astype("<f4").tofile(path + ".lines")


def case(folder, name, arch, model, matrix_type, embed_type, scaling=None, extra=None, norm_type="F32",
         vectors=None, short=False, embed=False):
    if len(sys.argv) > 2 and name not in sys.argv[2:]:
        return
    c = model.config
    randomise(model)
    path = os.path.join(folder, name + ".gguf")
    w = gguf.GGUFWriter(path, arch)
    d_head = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
    rope = c.rope_parameters.get("full_attention", c.rope_parameters)
    w.add_name(name)
    w.add_context_length(c.max_position_embeddings)
    w.add_embedding_length(c.hidden_size)
    w.add_block_count(c.num_hidden_layers)
    w.add_feed_forward_length(c.intermediate_size)
    w.add_head_count(c.num_attention_heads)
    w.add_head_count_kv(c.num_key_value_heads)
    w.add_key_length(d_head)
    w.add_value_length(d_head)
    w.add_layer_norm_rms_eps(c.rms_norm_eps)
    w.add_rope_dimension_count(int(d_head * rope.get("partial_rotary_factor", 1.0)))
    w.add_rope_freq_base(rope["rope_theta"])
    for key, value in (scaling or {}).items():
        full = f"{arch}.rope.scaling.{key}"
        if isinstance(value, str):
            w.add_string(full, value)
        elif isinstance(value, int):
            w.add_uint32(full, value)
        else:
            w.add_float32(full, value)
    add = {str: w.add_string, bool: w.add_bool, int: w.add_uint32, float: w.add_float32, list: w.add_array}
    for key, value in (extra or {}).items():
        add[type(value)](f"{arch}.{key}", value)
    add_vocabulary(w)
    for key, value in (vectors or {}).items():
        w.add_tensor(key, value)
    state = model.state_dict()
    for key, value in state.items():
        if key == "lm_head.weight" and c.tie_word_embeddings:
            continue
        target = gguf_name(key, arch)
        if value.dim() == 1:
            kind = norm_type
        else:
            kind = embed_type if key in ("model.embed_tokens.weight", "lm_head.weight") else matrix_type
        heads = {"q_proj": c.num_attention_heads, "k_proj": c.num_key_value_heads}
        n_head = next((n for part, n in heads.items() if part in key), 0) if arch == "llama" else 0
        one = 1.0 if arch == "gemma3" and "norm" in key and "rms_norm" not in key else 0.0
        if n_head:  # permuting rows and rounding to the file's type commute
            seen = store(w, target, permute_for_adjacent_pairs(value, n_head), kind)
            back = seen.reshape(n_head, value.shape[0] // n_head // 2, 2, *value.shape[1:]).swapaxes(1, 2)
            value.copy_(back.reshape(value.shape))
        else:
            seen = store(w, target, value + one, kind) - one
            # Online ternarisation in the reference finds the same trits and scale in the master.
            if not (kind == "I2_S"):
                value.copy_(seen)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    mend_types(path)
    if c.tie_word_embeddings:
        model.tie_weights()
    ids = torch.randint(0, 256, (1, N_POS), generator=torch.Generator().manual_seed(11))
    with torch.no_grad():
        both_ways = (extra or {}).get("attention.causal") is False
        mask = torch.zeros(1, 1, N_POS, N_POS) if both_ways else None
        logits = model(ids, attention_mask=mask).logits[0].float().numpy()
        if short:
            few = model(ids[:, :SHORT]).logits[0].numpy()
            few.astype("<f4").tofile(os.path.join(folder, name + ".short"))
        if embed:
            embeddings(os.path.join(folder, name), model, ids, both_ways, extra["pooling_type"])
    ids[0].numpy().astype("<i4").tofile(os.path.join(folder, name + ".ids"))
    logits.astype("<f4").tofile(os.path.join(folder, name + ".logits"))
    print(f"{name}: {os.path.getsize(path)} bytes, logits in [{logits.min():.2f}, {logits.max():.2f}]")


def with_bitlinear(model, exact_weights=False, input_norms=False):
    """Every linear of the blocks becomes transformers' online W1.58A8 layer. With exact_weights the
    weights are trit * scale already (a type with f16 scales) and are not ternarised again; with
    input_norms each layer has a norm of its own, as the BitNet embedding models do."""
    for name, module in list(model.named_modules()):
        if isinstance(module, torch.nn.Linear) and name != "lm_head":
            parent = model.get_submodule(name.rsplit(".", 1)[0])
            new = AutoBitLinear(module.in_features, module.out_features, bias=False,
                                online_quant=not exact_weights, use_rms_norm=input_norms)
            setattr(parent, name.rsplit(".", 1)[1], new)
    return model


def common(**more):
    return dict(vocab_size=N_VOCAB, max_position_embeddings=128, bos_token_id=257, eos_token_id=258,
                attn_implementation="eager", **more)


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
    torch.manual_seed(1)
    torch.set_default_dtype(torch.float32)

    def bitnet(d, act, theta=500000.0):
        return BitNetForCausalLM(BitNetConfig(**common(
            hidden_size=d, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, hidden_act=act, tie_word_embeddings=True,
            rope_parameters={"rope_type": "default", "rope_theta": theta})))

    case(folder, "bitnet-b158", "bitnet-b1.58", with_bitlinear(bitnet(128, "relu2")), "I2_S", "F16",
         extra={"hidden_activation": "relu2"})
    case(folder, "bitnet-silu", "bitnet", with_bitlinear(bitnet(128, "silu", 10000.0)), "I2_S", "F16")
    case(folder, "bitnet-25-tq2", "bitnet-25", with_bitlinear(bitnet(256, "relu2"), True), "TQ2_0", "F16")

    small = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
                 num_key_value_heads=2)
    plain = {"rope_type": "default", "rope_theta": 10000.0}
    case(folder, "llama", "llama", LlamaForCausalLM(LlamaConfig(**common(
        **small, tie_word_embeddings=False, rope_parameters=plain))), "F32", "F32")
    case(folder, "llama-linear", "llama", LlamaForCausalLM(LlamaConfig(**common(
        **small, tie_word_embeddings=True,
        rope_parameters={"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}))), "F16", "F16",
        scaling={"type": "linear", "factor": 4.0})
    case(folder, "llama3-rope", "llama", LlamaForCausalLM(LlamaConfig(**common(
        **small, tie_word_embeddings=True,
        rope_parameters={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                         "high_freq_factor": 4.0, "original_max_position_embeddings": 32,
                         "rope_theta": 1000.0}))), "BF16", "F16",
        scaling={"type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                 "original_context_length": 32})
    case(folder, "qwen2-yarn", "qwen2", Qwen2ForCausalLM(Qwen2Config(**common(
        **small, tie_word_embeddings=True, use_sliding_window=False,
        rope_parameters={"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32,
                         "rope_theta": 10000.0}))), "F32", "F32",
        scaling={"type": "yarn", "factor": 4.0, "original_context_length": 32})
    case(folder, "qwen3", "qwen3", Qwen3ForCausalLM(Qwen3Config(**common(
        **small, head_dim=32, tie_word_embeddings=False, use_sliding_window=False,
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0}))), "F16", "F32")
    norm_in = Qwen3ForCausalLM(Qwen3Config(**common(
        hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=32, tie_word_embeddings=True, use_sliding_window=False,
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0})))
    case(folder, "qwen3-norm-in", "qwen3", with_bitlinear(norm_in, input_norms=True), "I2_S", "F16",
         norm_type="F16", extra={"pooling_type": 1}, embed=True)

    def gemma3(theta, d_head, **more):
        return Gemma3ForCausalLM(Gemma3TextConfig(**common(
            head_dim=d_head, tie_word_embeddings=True, query_pre_attn_scalar=d_head,
            rope_parameters={"full_attention": theta,
                             "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}, **more)))

    # Five windowed layers to one, as the family has it without being told.
    case(folder, "gemma3", "gemma3", gemma3(
        {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0}, 24, hidden_size=40,
        intermediate_size=56, num_hidden_layers=6, num_attention_heads=4, num_key_value_heads=1,
        sliding_window=20), "F16", "F16", scaling={"type": "linear", "factor": 8.0},
        extra={"attention.sliding_window": 20})
    gemma3_norm_in = with_bitlinear(gemma3(
        {"rope_type": "default", "rope_theta": 10000.0}, 32, hidden_size=128, intermediate_size=256,
        num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=1,
        layer_types=["full_attention"] * 2), input_norms=True)
    case(folder, "gemma3-norm-in", "gemma3", gemma3_norm_in, "I2_S", "F16", norm_type="F16",
         extra={"pooling_type": 1}, embed=True)

    mistral = dict(hidden_size=48, intermediate_size=80, num_hidden_layers=2, num_attention_heads=4,
                   num_key_value_heads=2)
    case(folder, "mistral", "llama", MistralForCausalLM(MistralConfig(**common(
        **mistral, head_dim=20, tie_word_embeddings=False, sliding_window=20, rope_parameters=plain))),
        "F16", "F16", extra={"attention.sliding_window": 20})
    phi3 = dict(hidden_size=80, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
                num_key_value_heads=2, pad_token_id=0)
    case(folder, "phi3", "phi3", Phi3ForCausalLM(Phi3Config(**common(
        **phi3, tie_word_embeddings=False, sliding_window=25, rope_parameters=plain))), "F16", "F16",
        extra={"attention.sliding_window": 25})
    g = torch.Generator().manual_seed(5)
    short, long = (1.0 + s * torch.rand(8, generator=g) for s in (0.5, 6.0))
    case(folder, "phi3-longrope", "phi3", Phi3ForCausalLM(Phi3Config(**common(
        **phi3, tie_word_embeddings=True, original_max_position_embeddings=SHORT,
        rope_parameters={"rope_type": "longrope", "short_factor": short.tolist(), "rope_theta": 10000.0,
                         "long_factor": long.tolist(), "partial_rotary_factor": 0.8,
                         "original_max_position_embeddings": SHORT}))), "F16", "F16", short=True,
        scaling={"original_context_length": SHORT,
                 "attn_factor": (1 + np.log(128 / SHORT) / np.log(SHORT)) ** 0.5},
        vectors={"rope_factors_short.weight": short.numpy(), "rope_factors_long.weight": long.numpy()})

    # Embeddings from attention in both directions, one row of 20 elements a head.
    case(folder, "qwen3-both-ways", "qwen3", Qwen3ForCausalLM(Qwen3Config(**common(
        **mistral, head_dim=20, tie_word_embeddings=True, use_sliding_window=False,
        rope_parameters=plain))), "F16", "F16",
        extra={"attention.causal": False, "pooling_type": 3}, embed=True)


if __name__ == "__main__":
    main()
