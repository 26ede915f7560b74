#!/usr/bin/env python3
"""Write the expected output of models/tern-stories.gguf.

    make.py MODELS_DIR [--tokenizer DATA/tokenizer.json]

expected.json   "tokens": texts with their ids (no BOS added, no special tokens parsed);
                "chats": messages, the prompt they make and its ids;
                "cases": prompt ids and greedy ids (up to 64, up to the end of the answer).
logits_N.npy    float32 logits after the last prompt token of case N.

"certain" is the number of leading ids an implementation must match: up to
there float32 and float64 agree and the best logit leads the second by at
least 0.05 in both (rounding to int8 turns tiny differences into small ones,
so a closer race may go either way).  Logits differ for the same reason; on
"logits" see "logits_tolerance".

The ids come from the vocabulary in the GGUF file; --tokenizer also compares them with the training tokenizer's.
"""
import argparse
import json
import os
import sys

import jinja2
import numpy as np

LEAD = 0.05
TEXTS = ["", " ", "Once upon a time, there was a little girl named Lily.", "hello", "Hello world", "  two  spaces ",
         "\n", "\n\n", "line\nline\r\nline\n\n\n", "\tTab", "It's Tom's; they'll, I'm, we'VE", "12345 1 22 333 4444",
         "Zoë naïve café", "über große Straße", "日本語の物語", "emoji 🙂🐉!", "<|end|>", "a<b && c>d // {}", "...!?",
         "\"Hello,\" said Tom. \"How are you?\"\n\nLily smiled.", "supercalifragilisticexpialidocious", "\u00a0nbsp\u3000"]
CHATS = [
    [("user", "Tell me a story about a dog and a ball.")],
    [("user", "hello")],
    [("user", "Write a story about a girl named Lily."), ("assistant", "Once upon a time, there was a girl named Lily."),
     ("user", "What happened next?")],
    [("system", "You are a storyteller."), ("user", "Can you tell me a story where a boy learns to share?")],
]
PLAIN = ["", "Once upon a time, there was a little boy named Tim.", "The dragon was sad because"]


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("models")
    ap.add_argument("--tokenizer")
    args = ap.parse_args()
    sys.path.insert(0, args.models)
    from reference import Reference, Vocabulary
    here = os.path.dirname(os.path.abspath(__file__))
    path = os.path.join(args.models, "tern-stories.gguf")
    narrow, wide = Reference(path), Reference(path, np.float64)
    keys = narrow.keys
    vocab = Vocabulary(keys)
    bos = keys["tokenizer.ggml.bos_token_id"]
    stop = {keys["tokenizer.ggml.eos_token_id"], keys["tokenizer.ggml.eot_token_id"]}

    tokens = [{"text": t, "ids": vocab.encode(t)} for t in TEXTS]
    template = jinja2.Environment().from_string(keys["tokenizer.chat_template"])
    chats, prompts = [], []
    for turns in CHATS:
        messages = [{"role": r, "content": c} for r, c in turns]
        text = template.render(messages=messages, bos_token="<|endoftext|>", eos_token="<|endoftext|>", add_generation_prompt=True)
        chats.append({"messages": messages, "prompt": text, "ids": vocab.encode(text, True)})
        prompts.append(chats[-1]["ids"])
    prompts += [[bos] + vocab.encode(t) for t in PLAIN]

    if args.tokenizer:
        from tokenizers import Tokenizer
        tok = Tokenizer.from_file(args.tokenizer)
        for t in tokens:
            if "<|" not in t["text"]:  # it always parses special tokens
                assert tok.encode(t["text"], add_special_tokens=False).ids == t["ids"], t
        for c in chats:
            assert tok.encode(c["prompt"], add_special_tokens=False).ids == c["ids"], c

    cases = []
    for i, ids in enumerate(prompts):
        got, lead = narrow.greedy(ids, 64, stop)
        got64, lead64 = wide.greedy(ids, 64, stop)
        certain = 0
        while certain < min(len(got), len(got64)) and got[certain] == got64[certain] and min(lead[certain], lead64[certain]) >= LEAD:
            certain += 1
        logits, logits64 = narrow.forward(ids)[0, -1], wide.forward(ids)[0, -1]
        case = {"prompt_ids": ids, "ids": got, "certain": certain, "text": narrow.text(got)}
        if i in (0, 4, 5):
            case["logits"] = "logits_%d.npy" % i
            case["logits_tolerance"] = round(max(0.1, 3 * float(np.abs(logits - logits64).max())), 3)
            np.save(os.path.join(here, case["logits"]), logits.astype("<f4"))
        cases.append(case)
        print("case %d: certain %d of %d, logits float32 - float64 at most %.4f: %s" % (
            i, certain, len(got), np.abs(logits - logits64).max(), case["text"][:70].replace("\n", " ")))

    with open(os.path.join(here, "expected.json"), "w", encoding="utf-8") as f:
        rows = lambda items: ",\n  ".join(json.dumps(x, ensure_ascii=False) for x in items)
        f.write('{\n "tokens": [\n  %s\n ],\n "chats": [\n  %s\n ],\n "cases": [\n  %s\n ]\n}\n' % (rows(tokens), rows(chats), rows(cases)))


if __name__ == "__main__":
    main()
