#!/usr/bin/env python3
"""Write expected.json: greedy output of the small models in models/test.

    make.py MODELS_DIR          (the folder models/, which holds reference.py)

The empty prompts carry the output published with the models, which had been
computed in float64; this script checks that its own float64 reference gives
the same ids.  "certain" is the number of leading ids an implementation must
match: up to there float32 and float64 agree and the best logit leads the
second by at least 0.05 in both (rounding to int8 turns tiny differences into
small ones, so a closer race may go either way).
"""
import json
import os
import sys

import numpy as np

LEAD = 0.05
PUBLISHED = {
    "bitnet-tinystories-1M.gguf":
        "403 407 261 378 432 383 286 261 376 298 315 421 395 317 426 338 401 396 267 337 335 311 267 422 419 269 352 379 "
        "261 420 277 264 322 265 262 433 422 426 385 328 432 358 394 261 370 432 262 415",
    "bitnet-tinystories-3M.gguf":
        "403 407 261 378 432 383 286 261 376 298 315 421 395 317 426 338 401 396 267 337 410 408 419 292 411 269 344 444 "
        "427 421 414 276 265 263 304 341 261 420 277 264 311 426 385 328 432 358 394 261",
    "stories260K.gguf":
        "403 407 261 378 432 383 286 261 376 298 315 421 395 317 426 338 401 396 267 337 410 408 419 292 411 322 265 282 "
        "295 433 426 385",
}
PROMPTS = ["", "Once upon a time", "Tim had a red ball.", "The dog was", "One day, a cat", "Lily and Tom",
           "She was happy because", "A zebra named Zoë ate 3 cakes.\n\"Hi!\""]


def encode(keys, text):
    """SPM: a space before the text, then always the pair of highest score; bytes where there is no piece."""
    tokens, scores = keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.scores"]
    types = keys["tokenizer.ggml.token_type"]
    ids = {t: i for i, t in enumerate(tokens) if types[i] == 1}
    parts = list(" ".join(["", text]).replace(" ", "\u2581")) if text else []
    while True:
        best = max(((scores[ids[a + b]], -i) for i, (a, b) in enumerate(zip(parts, parts[1:])) if a + b in ids), default=None)
        if best is None:
            break
        i = -best[1]
        parts[i:i + 2] = [parts[i] + parts[i + 1]]
    out = [keys["tokenizer.ggml.bos_token_id"]]
    for p in parts:
        out += [ids[p]] if p in ids else [tokens.index("<0x%02X>" % b) for b in p.encode()]
    return out


def main():
    models = sys.argv[1]
    sys.path.insert(0, models)
    from reference import Reference
    result = {}
    for name, published in PUBLISHED.items():
        path = os.path.join(models, "test", name)
        narrow, wide = Reference(path), Reference(path, np.float64)
        cases = []
        for prompt in PROMPTS:
            ids = encode(narrow.keys, prompt)
            count = len(published.split()) if not prompt else 48
            got32, lead32 = narrow.greedy(ids, count)
            got64, lead64 = wide.greedy(ids, count)
            if not prompt:
                assert got64 == [int(i) for i in published.split()], name
            certain = 0
            while certain < count and got32[certain] == got64[certain] and min(lead32[certain], lead64[certain]) >= LEAD:
                certain += 1
            cases.append({"prompt": prompt, "prompt_ids": ids, "ids": got64, "certain": certain,
                          "text": wide.text(got64), "least_lead": round(min(lead64), 4)})
            print(name, repr(prompt), "certain", certain, "of", count, "float32 agrees:", got32 == got64)
        result[name] = cases
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "expected.json"), "w", encoding="utf-8") as f:
        f.write("{\n")
        for i, (name, cases) in enumerate(result.items()):
            f.write(' "%s": [\n  ' % name + ",\n  ".join(json.dumps(c, ensure_ascii=False) for c in cases) + "\n ]")
            f.write(",\n" if i + 1 < len(result) else "\n")
        f.write("}\n")


if __name__ == "__main__":
    main()
