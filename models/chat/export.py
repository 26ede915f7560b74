#!/usr/bin/env python3
"""Export a checkpoint of train.py to GGUF.

    export.py RUN/last.pt DATA/vocab.json tern-chat.gguf [--type iq1_bn] [--check SHARDS]

With sub-norms and squared ReLU the architecture is bitnet-b1.58, without
sub-norms and with SiLU llama.  The width of 576 is no multiple of 128, so the
ternary matrices are IQ2_BN (2 bits) or IQ1_BN (1.6 bits), a multiplier for
each row.  --check reads the file with the numpy reference and compares its
logits with the training model's on some conversations.
"""
import argparse
import os
import sys

import numpy as np
import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from gguf_io import I32, STR, TYPE_IQ1_BN, TYPE_IQ2_BN, TYPE_Q4_0, TYPE_Q8_0, Writer  # noqa: E402
from model import Config, Model, ternary  # noqa: E402
import model as student  # noqa: E402
from vocab import Vocabulary  # noqa: E402

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")
DESCRIPTION = ("A small ternary (BitNet b1.58) chat model, distilled from SmolLM2-135M-Instruct. It makes many mistakes; "
               "do not rely on what it says.")


def add_tokenizer(w, vocab):
    special = set(vocab.special)
    w.text("tokenizer.ggml.model", "gpt2")
    w.text("tokenizer.ggml.pre", "smollm")
    w.array("tokenizer.ggml.tokens", STR, vocab.tokens)
    w.array("tokenizer.ggml.token_type", I32, [3 if i in special else 1 for i in range(len(vocab.tokens))])
    w.array("tokenizer.ggml.merges", STR, vocab.merges)
    w.u32("tokenizer.ggml.bos_token_id", vocab.ids["<|endoftext|>"])
    w.u32("tokenizer.ggml.eos_token_id", vocab.ids["<|im_end|>"])
    w.u32("tokenizer.ggml.eot_token_id", vocab.ids["<|im_end|>"])
    w.u32("tokenizer.ggml.padding_token_id", vocab.ids["<|endoftext|>"])
    w.flag("tokenizer.ggml.add_bos_token", False)
    w.flag("tokenizer.ggml.add_eos_token", False)
    w.text("tokenizer.chat_template", CHAT_TEMPLATE)


def neighbours(x, heads):
    """Rows of q or k for architecture llama, whose rotary pairs are neighbours."""
    n = x.shape[0] // heads
    return x.reshape(heads, 2, n // 2, *x.shape[1:]).swapaxes(1, 2).reshape(x.shape)


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("checkpoint")
    ap.add_argument("vocab")
    ap.add_argument("out")
    ap.add_argument("--type", choices=("iq2_bn", "iq1_bn"), default="iq2_bn")
    ap.add_argument("--name", default="tern-chat")
    ap.add_argument("--check", help="folder of shards to compare logits on")
    args = ap.parse_args()
    state = torch.load(args.checkpoint, map_location="cpu")
    vocab = Vocabulary.load(args.vocab)
    c = Config(**state["config"])
    model = Model(c)
    model.load_state_dict(state["model"])
    if c.sub_norms != (c.activation == "relu2"):
        sys.exit("no architecture has sub-norms without squared ReLU, or squared ReLU without them")
    a = "bitnet-b1.58" if c.sub_norms else "llama"
    w = Writer()
    w.shape(a, c, c.activation)
    w.text("general.name", args.name)
    w.text("general.description", DESCRIPTION)
    w.text("general.license", "Apache-2.0")
    w.u32("general.base_model.count", 1)
    w.text("general.base_model.0.name", "SmolLM2-135M-Instruct (HuggingFaceTB, Apache-2.0)")
    w.u32("general.dataset.count", 3)
    w.text("general.dataset.0.name", "conversations written by SmolLM2-135M-Instruct (Apache-2.0)")
    w.text("general.dataset.1.name", "TinyStories (CDLA-Sharing-1.0)")
    w.text("general.dataset.2.name", "questions with answers, written for this model (MIT)")
    w.f32("general.sampling.temp", 0.6)  # small models lose the thread at 0.8, and repeat themselves at 0
    w.f32("general.sampling.penalty_repeat", 1.1)
    w.u32("general.quantization_version", 2)
    add_tokenizer(w, vocab)

    kind = TYPE_IQ2_BN if args.type == "iq2_bn" else TYPE_IQ1_BN
    zeros = total = 0
    w.dense("token_embd.weight", model.token_embd.detach().numpy(), TYPE_Q8_0 if c.embedding == "q8_0" else TYPE_Q4_0)
    w.dense("output_norm.weight", model.output_norm.detach().numpy())
    for i, block in enumerate(model.blk):
        for name, p in block.named_parameters():
            if p.ndim == 1:
                w.dense("blk.%d.%s.weight" % (i, name), p.detach().numpy())
                continue
            codes, scale = ternary(p.detach(), c.row_scales)
            codes, scale = codes.round().to(torch.int8).numpy(), scale.numpy()
            if a == "llama" and name in ("attn_q", "attn_k"):
                heads = c.heads if name == "attn_q" else c.kv_heads
                codes, scale = neighbours(codes, heads), neighbours(scale, heads)
            zeros, total = zeros + int((codes == 0).sum()), total + codes.size
            w.ternary("blk.%d.%s.weight" % (i, name), codes, scale, kind)
    w.save(args.out)
    print("%s: %d bytes, %.2f M ternary weights, %.1f %% zero, %.2f M of the embedding; step %d, %.2f M tokens seen" % (
        args.out, os.path.getsize(args.out), total / 1e6, 100 * zeros / total, model.token_embd.numel() / 1e6,
        state["step"], state["tokens"] / 1e6))

    if args.check:
        from reference import Reference
        from rows import shard_documents
        documents = [d.ids[:96] for d in shard_documents(args.check) if len(d.ids) >= 96][:4]
        rows = np.stack(documents).astype(np.int64)
        reference = Reference(args.out)
        got = reference.forward(rows)
        with torch.no_grad():  # the embedding as the file has it
            model.token_embd.copy_(torch.from_numpy(np.array(reference.t["token_embd.weight"])))
        for matmul in (torch.bfloat16, torch.float32):
            student.MATMUL = matmul
            with torch.no_grad():
                ids = torch.from_numpy(rows)
                want = model(ids, torch.ones_like(ids), 1.0).numpy()
            d = np.abs(got - want)
            print("logits against the training model in %s: mean difference %.5f, largest %.4f; same best token %.2f %%" % (
                str(matmul).split(".")[1], d.mean(), d.max(), 100 * (got.argmax(-1) == want.argmax(-1)).mean()))


if __name__ == "__main__":
    main()
