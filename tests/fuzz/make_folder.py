#!/usr/bin/env python3
"""Make the seeds of the target folder: one small model of each family that folders are read of. Needs nothing
but Python. Inputs that once failed stand beside them under other names."""
import json
from pathlib import Path

FOLDER = Path(__file__).parent / "corpus" / "folder"
SIZES = {"F32": 4, "F16": 2, "BF16": 2, "U8": 1}
D, FF, HEADS, KV, HEAD, VOCAB = 16, 32, 2, 1, 8, 8
NORM = "BF16"


def model(kind="BF16", packed=False, bias=False, fused=False, head=False, qk=False, sub=None, around=False, inside=False,
          layers=1, names="model.", extra=None):
    t = {names + "embed_tokens.weight": (kind, [VOCAB, D]), names + "norm.weight": (NORM, [D])}
    for i in range(layers):
        p = f"{names}layers.{i}."

        def linear(name, rows, cols, p=p):
            t[p + name + ".weight"] = ("U8", [rows // 4, cols]) if packed else (kind, [rows, cols])
            if packed:
                t[p + name + ".weight_scale"] = ("BF16", [1])
            if bias and "_proj" in name and name[10] in "qkv":
                t[p + name + ".bias"] = (kind, [rows])
            if inside:
                t[p + name + ".norm.weight"] = (NORM, [cols])
        if fused:
            linear("self_attn.qkv_proj", (HEADS + 2 * KV) * HEAD, D)
            linear("mlp.gate_up_proj", 2 * FF, D)
        else:
            linear("self_attn.q_proj", HEADS * HEAD, D)
            linear("self_attn.k_proj", KV * HEAD, D)
            linear("self_attn.v_proj", KV * HEAD, D)
            linear("mlp.gate_proj", FF, D)
            linear("mlp.up_proj", FF, D)
        linear("self_attn.o_proj", D, HEADS * HEAD)
        linear("mlp.down_proj", D, FF)
        t[p + "input_layernorm.weight"] = t[p + "post_attention_layernorm.weight"] = (NORM, [D])
        if around:
            t[p + "pre_feedforward_layernorm.weight"] = t[p + "post_feedforward_layernorm.weight"] = (NORM, [D])
        if qk:
            t[p + "self_attn.q_norm.weight"] = t[p + "self_attn.k_norm.weight"] = (NORM, [HEAD])
        if sub:
            t[p + sub[0]], t[p + sub[1]] = (NORM, [D]), (NORM, [FF])
    if head:
        t["lm_head.weight"] = (kind, [VOCAB, D])
    t |= extra or {}
    out, at = {}, 0
    for name, (k, shape) in t.items():
        n = SIZES[k]
        for d in shape:
            n *= d
        out[name] = {"dtype": k, "shape": shape, "data_offsets": [at, at + n]}
        at += n
    return out


def seed(name, config, tensors, pooling=None, letter="h"):
    config = {"hidden_size": D, "intermediate_size": FF, "num_attention_heads": HEADS, "num_key_value_heads": KV, "head_dim": HEAD,
              "vocab_size": VOCAB, "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "num_hidden_layers": 1,
              "hidden_act": "silu"} | config
    records = ["c" + json.dumps(config, separators=(",", ":")), letter + json.dumps(tensors, separators=(",", ":"))]
    if pooling:
        records.append("p" + json.dumps(pooling, separators=(",", ":")))
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / name).write_bytes("\x1e".join(records).encode())


SUB = ("self_attn.attn_sub_norm.weight", "mlp.ffn_sub_norm.weight")
OLD_SUB = ("self_attn.inner_attn_ln.weight", "mlp.ffn_layernorm.weight")
HALF = HEAD // 2
seed("bitnet-packed", {"architectures": ["BitNetForCausalLM"], "model_type": "bitnet", "hidden_act": "relu2", "tie_word_embeddings": True,
                       "rope_theta": 5e5, "quantization_config": {"quant_method": "bitnet", "linear_class": "autobitlinear",
                                                                  "modules_to_not_convert": ["lm_head"]}}, model(packed=True, sub=SUB))
seed("bitnet-masters", {"architectures": ["BitnetForCausalLM"], "model_type": "llama", "tie_word_embeddings": True, "weight_bits": 1},
     model("F16", sub=OLD_SUB))
seed("llama-packed", {"model_type": "llama", "quantization_config": {"quant_method": "bitnet", "modules_to_not_convert": None}},
     model(packed=True, head=True))
seed("llama3", {"model_type": "llama", "tie_word_embeddings": True, "rope_scaling": {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}},
     model("F32", extra={"model.layers.0.self_attn.rotary_emb.inv_freq": ("F32", [HALF])}))
seed("llama-linear", {"model_type": "llama", "rope_scaling": {"type": "linear", "factor": 2.0}}, model(head=True), letter="n")
seed("mistral", {"model_type": "mistral", "sliding_window": 4}, model(head=True))
seed("qwen2-yarn", {"model_type": "qwen2", "use_sliding_window": False, "sliding_window": 4, "tie_word_embeddings": True, "rope_scaling": {
    "type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "beta_fast": 32.0, "beta_slow": 1.0}}, model(bias=True))
seed("qwen3-embedding", {"model_type": "qwen3", "tie_word_embeddings": True,
                         "quantization_config": {"quant_method": "bitnet", "quantization_mode": "online"}},
     model(qk=True, inside=True, names=""), {"pooling_mode_cls_token": False, "pooling_mode_lasttoken": True})
seed("gemma3", {"model_type": "gemma3_text", "hidden_act": None, "hidden_activation": "gelu_pytorch_tanh", "num_hidden_layers": 2,
                "sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"], "query_pre_attn_scalar": 8,
                "rope_theta": 1e6, "rope_local_base_freq": 1e4}, model(qk=True, around=True, layers=2))
seed("gemma3-parts", {"model_type": "gemma3", "text_config": {
    "model_type": "gemma3_text", "hidden_size": D, "intermediate_size": FF, "num_attention_heads": HEADS, "num_key_value_heads": KV,
    "head_dim": HEAD, "vocab_size": VOCAB, "num_hidden_layers": 1, "hidden_activation": "gelu_pytorch_tanh", "sliding_window": 4,
    "sliding_window_pattern": 2, "rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e6},
                                                     "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}}}},
     model(qk=True, around=True, names="model.language_model.",
           extra={"model.vision_tower.x.weight": ("BF16", [2]), "model.multi_modal_projector.y": ("F32", [1])}))
seed("phi3-longrope", {"model_type": "phi3", "original_max_position_embeddings": 16, "rope_scaling": {
    "type": "longrope", "short_factor": [1.0] * HALF, "long_factor": [2.0] * HALF}}, model(fused=True, head=True))
