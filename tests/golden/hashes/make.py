#!/usr/bin/env python3
"""Write hashes.json: what the models of this tree answer to prompts.json.

    make.py BUILD 'what changed and why'

BUILD is a build folder with tests.  Its test_engine_hashes generates 256 tokens
for each prompt and model; the file keeps a hash of the ids and one of the
logits (64-bit FNV-1a of what lies in memory).  The reason becomes a line of
CHANGELOG.md, beside a hash of all hashes by which the test finds it.

Nothing is written unless models/reference.py, plain numpy that shares no code
with the engine, agrees with every answer: it reads prompt and answer, and

* a greedy id is its best one, or less than CLOSE behind it, in float32 or in float64: where int8 inputs are rounded
  the other way these two differ by 0.08 in the mean and by up to 0.8 themselves,
* a sampled id is one that the sampler's filters may leave, with as much slack.

CLOSE is what int8 keys and values and the order of sums may move; the largest
distance found is printed.  "reference" has the ids that numpy generates itself
from each greedy prompt, up to LONGEST and as long as its float32 and float64
agree and the best logit leads the second by LEAD in both.
"""
import json
import os
import subprocess
import sys

import numpy as np

CLOSE, LEAD, LONGEST = 0.25, 0.25, 32
MASS = 0.02  # and what that may move of the probability before a top-p cut, where the next logit may be far off
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..", "..")
sys.path.insert(0, os.path.join(ROOT, "models"))
from reference import Reference


def fnv(data, h=0xcbf29ce484222325):
    for b in data:
        h = (h ^ b) * 0x100000001b3 & (1 << 64) - 1
    return h


def ends_of(keys):
    """Ids that end an answer: by their keys, and those of such texts."""
    ids = {keys.get("tokenizer.ggml.%s_token_id" % n) for n in ["eos", "eot", "eom"]} - {None}
    return ids | {i for i, t in enumerate(keys["tokenizer.ggml.tokens"]) if t in ("<|endoftext|>", "<|im_end|>", "<|end|>")}


def plain(rows, keys):
    """Logits as the sampler sees them: ends of answers are never chosen."""
    rows = rows.astype(np.float64)
    rows[:, sorted(ends_of(keys))] = -np.inf
    return rows


def distance(rows, answer):
    """Of each id from the best one."""
    return rows.max(1) - rows[np.arange(len(answer)), answer]


def penalise(rows, p, prompt, answer):
    """Penalties look at the last 64 ids."""
    for i in range(len(answer)):
        last = (prompt + answer[:i])[-64:]
        for t in set(last):
            v = rows[i, t]
            r = p.get("repeat_penalty", 1.0)
            v = v * r if v <= 0 else v / r
            rows[i, t] = v - last.count(t) * p.get("frequency_penalty", 0.0) - p.get("presence_penalty", 0.0)
    return rows


def possible(rows, p, answer):
    """How far each sampled id is from where the filters cut: the best over all filters, 0 is inside."""
    worst = 0.0
    for row, t in zip(rows, answer):
        cuts = []
        order = np.sort(row)[::-1]
        k = p.get("top_k", 40)
        if k > 0:
            cuts.append(order[min(k, len(order)) - 1])
        kept = order[:k] if k > 0 else order
        prob = np.exp(kept - kept[0])
        total = np.cumsum(prob / prob.sum())
        cuts.append(kept[min(len(kept) - 1, int(np.searchsorted(total, p.get("top_p", 0.95) + MASS)))])
        if p.get("min_p", 0.05) > 0:
            cuts.append(kept[0] + np.log(p.get("min_p", 0.05)))
        worst = max(worst, max(cuts) - row[t])
    return worst


def certain(narrow, wide, prompt, keys):
    """Greedy ids that both agree on clearly. Ends are not chosen, so the answer stops before them."""
    ends = ends_of(keys)
    got, lead = narrow.greedy(prompt, LONGEST, ends)
    got64, lead64 = wide.greedy(prompt, LONGEST, ends)
    n = 0
    while n < min(len(got), len(got64)) and got[n] == got64[n] and min(lead[n], lead64[n]) >= LEAD and got[n] not in ends:
        n += 1
    return got[:n]


def main():
    build, why = sys.argv[1:]
    with open(os.path.join(HERE, "prompts.json"), encoding="utf-8") as f:
        prompts = json.load(f)
    out = subprocess.run([os.path.abspath(os.path.join(build, "tests", "test_engine_hashes")), "--print"], cwd=ROOT,
                         stdout=subprocess.PIPE, check=True).stdout.decode()
    lines = [json.loads(x) for x in out.split("\n") if x.startswith("{")]
    models = []
    for file in dict.fromkeys(x["file"] for x in lines):
        path = os.path.join(ROOT, file)
        narrow, wide = Reference(path), Reference(path, np.float64)
        keys = wide.keys
        answers, far, out_of = [], 0.0, 0.0
        for x in (x for x in lines if x["file"] == file):
            p, prompt, answer = prompts[x["prompt"]], x["prompt_ids"], x["answer"]
            assert fnv(np.array(answer, "<i4").tobytes()) == int(x["ids"], 16)
            logits = lambda r: plain(r.forward(prompt + answer[:-1])[0, len(prompt) - 1:], keys)
            rows = logits(wide)
            entry = {"ids": x["ids"], "logits": x["logits"]}
            if "seed" in p:
                rows = penalise(rows, p, prompt, answer)
                if "typical_p" not in p:
                    out_of = max(out_of, possible(rows, p, answer))
            else:
                far = max(far, np.minimum(distance(rows, answer), distance(logits(narrow), answer)).max())
                entry["reference"] = certain(narrow, wide, prompt, keys)
                assert answer[:len(entry["reference"])] == entry["reference"], (file, x["prompt"])
            answers.append(entry)
        certain_ids = sum(len(a.get("reference", [])) for a in answers)
        print("%s: greedy ids at most %.3f behind numpy's best, sampled ones %.3f past a filter; %d ids certain" % (
            file, far, out_of, certain_ids))
        assert far < CLOSE and out_of < CLOSE
        models.append({"file": file, "answers": answers})
    digest = "%016x" % fnv("".join(a["ids"] + a["logits"] for m in models for a in m["answers"]).encode())

    with open(os.path.join(HERE, "hashes.json"), "w") as f:
        rows = lambda m: ",\n    ".join(json.dumps(a) for a in m["answers"])
        f.write('{\n "models": [\n' + ",\n".join('  {"file": "%s", "answers": [\n    %s]}' % (m["file"], rows(m)) for m in models) + "\n ]\n}\n")
    log = os.path.join(ROOT, "CHANGELOG.md")
    with open(log, encoding="utf-8") as f:
        text = f.read()
    if digest not in text:
        head = "### Answers\n\n"
        assert head in text, "CHANGELOG.md has no heading 'Answers'"
        text = text.replace(head, head + "* `%s` %s\n" % (digest, why), 1)
        with open(log, "w", encoding="utf-8") as f:
            f.write(text)
    print("answers", digest)


if __name__ == "__main__":
    main()
