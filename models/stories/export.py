#!/usr/bin/env python3
"""Export a tern-stories checkpoint to GGUF (architecture bitnet-b1.58).

    export.py RUN/final.pt DATA/tokenizer.json tern-stories.gguf [--check DATA/dev.npy]

The ternary codes and multipliers written are those the training used, not
recomputed from rounded weights.  --check reads the file back with the numpy
reference and compares its logits with the training model's.
"""
import argparse
import json
import os
import sys

import numpy as np
import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from gguf_io import I32, STR, TYPE_F16, TYPE_Q8_0, Writer  # noqa: E402

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>\\n' + message['content'] + '<|end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}")
DESCRIPTION = ("A very small BitNet b1.58 model (ternary weights, int8 activations) trained from scratch on "
               "TinyStories. It writes short stories for children, plainly or on request in a chat.")


def add_tokenizer(w, path):
    with open(path, encoding="utf-8") as f:
        tok = json.load(f)
    vocab = sorted(tok["model"]["vocab"].items(), key=lambda kv: kv[1])
    assert [i for _, i in vocab] == list(range(len(vocab))) and tok["model"]["ignore_merges"]
    ids = dict(vocab)
    special = {t["id"] for t in tok["added_tokens"]}
    w.text("tokenizer.ggml.model", "gpt2")
    w.text("tokenizer.ggml.pre", "llama-bpe")
    w.array("tokenizer.ggml.tokens", STR, [t for t, _ in vocab])
    w.array("tokenizer.ggml.token_type", I32, [3 if i in special else 1 for _, i in vocab])
    w.array("tokenizer.ggml.merges", STR, [m if isinstance(m, str) else " ".join(m) for m in tok["model"]["merges"]])
    w.u32("tokenizer.ggml.bos_token_id", ids["<|endoftext|>"])
    w.u32("tokenizer.ggml.eos_token_id", ids["<|endoftext|>"])
    w.u32("tokenizer.ggml.eot_token_id", ids["<|end|>"])
    w.u32("tokenizer.ggml.padding_token_id", ids["<|endoftext|>"])
    w.flag("tokenizer.ggml.add_bos_token", True)
    w.flag("tokenizer.ggml.add_eos_token", False)
    w.text("tokenizer.chat_template", CHAT_TEMPLATE)
    return len(vocab)


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("checkpoint")
    ap.add_argument("tokenizer")
    ap.add_argument("out")
    ap.add_argument("--embedding", choices=("f16", "q8_0"), default="f16")
    ap.add_argument("--check", help="rows of token ids to compare logits on")
    args = ap.parse_args()
    from bits import ternary
    from train import Config, Model
    import train

    state = torch.load(args.checkpoint, map_location="cpu")
    c = Config(**state["config"])
    model = Model(c)
    model.load_state_dict(state["model"])
    w = Writer()
    w.shape("bitnet-b1.58", c, "relu2")
    w.text("general.name", "tern-stories")
    w.text("general.description", DESCRIPTION)
    w.text("general.license", "MIT")
    w.u32("general.dataset.count", 1)
    w.text("general.dataset.0.name", "TinyStories (CDLA-Sharing-1.0)")
    w.u32("general.file_type", 40)
    w.u32("general.quantization_version", 2)
    assert add_tokenizer(w, args.tokenizer) == c.vocab

    zeros = total = 0
    w.dense("token_embd.weight", model.token_embd.detach().numpy(), TYPE_F16 if args.embedding == "f16" else TYPE_Q8_0)
    w.dense("output_norm.weight", model.output_norm.detach().numpy())
    for i, block in enumerate(model.blk):
        for name, p in block.named_parameters():
            if p.ndim == 1:
                w.dense("blk.%d.%s.weight" % (i, name), p.detach().numpy())
            else:
                t, scale = ternary(p.detach())
                codes = t.round().to(torch.int8).numpy()
                zeros, total = zeros + int((codes == 0).sum()), total + codes.size
                w.ternary("blk.%d.%s.weight" % (i, name), codes, float(scale))
    w.save(args.out)
    print("%s: %d bytes, %.2f M ternary weights, %.1f %% zero; step %d, %.2f M tokens seen" % (
        args.out, os.path.getsize(args.out), total / 1e6, 100 * zeros / total, state["step"], state["tokens"] / 1e6))

    if args.check:
        from reference import Reference
        rows = np.load(args.check)[:4, :256].astype(np.int64) & 0x7FFF
        got = Reference(args.out).forward(rows)
        for kind in (torch.bfloat16, torch.float32):
            train.MATMUL = kind
            with torch.no_grad():
                want = model(torch.from_numpy(rows)).numpy()
            d = np.abs(got - want)
            print("logits against the training model in %s: mean difference %.5f, largest %.4f; same best token %.2f %%" % (
                str(kind).split(".")[1], d.mean(), d.max(), 100 * (got.argmax(-1) == want.argmax(-1)).mean()))


if __name__ == "__main__":
    main()
