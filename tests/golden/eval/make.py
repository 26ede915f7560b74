#!/usr/bin/env python3
"""Questions of our own in the words of each set, and what lm-evaluation-harness makes of them.

    python make.py         (needs lm-eval, torch, transformers)

rows/TASK.jsonl    rows as the hub's data sets have them
other/TASK.*       the same questions as collections and llama.cpp have them
prompts.json       what the harness asks: of each question the contexts and continuations; -shots:
                   of the questions behind the first two, which are examples
results.json       log-likelihoods and figures for tests/golden/folders/qwen2, contexts of at most
                   LENGTH tokens, in float32
answers.json       what its filters find in answers to GSM8K, and whether that counts
intervals.json     Wilson's intervals by SciPy
"""
import csv
import json
import os
import random
import tempfile

import harness

HERE = os.path.dirname(os.path.abspath(__file__))
MODEL = os.path.join(HERE, "..", "folders", "qwen2")
LENGTH = 400

ANIMALS = "tern gull heron otter badger mole hare newt toad swift".split()
PLACES = "marsh harbour meadow attic quarry orchard cellar dune".split()
THINGS = "a kettle|two oars|the last map|a jar of bees|an old lamp|some rope".split("|")
DOES = "sleeps|digs for roots|waits for the tide|builds a nest|counts the boats|hides".split("|")


def arc(r):
    n = 4 if r.random() < 0.9 else 3
    labels = "ABCD"[:n] if r.random() < 0.8 else "1234"[:n]
    texts = r.sample([f"It {d} in the {p}." for d in DOES for p in PLACES] + THINGS, n)
    return {"question": f"What does a {r.choice(ANIMALS)} do in the {r.choice(PLACES)}?",
            "choices": {"text": texts, "label": list(labels)}, "answerKey": r.choice(labels)}


def hellaswag(r):
    wiki = r.random() < 0.3
    a = f"A {r.choice(ANIMALS)} comes to the {r.choice(PLACES)} with {r.choice(THINGS)}."
    if wiki:
        a = f"[header] How to feed a {r.choice(ANIMALS)} [title] Find {r.choice(THINGS)}.  [step] Be calm."
    return {"activity_label": r.choice(["Feeding birds", "Keeping a MARSH"]), "ctx_a": a,
            "ctx_b": "" if wiki else r.choice(["it", "the Keeper", "then he"]),
            "endings": [f"{d}{r.choice(['.', ' [substeps] again.', ', and so on.'])}"
                        for d in r.sample(DOES, 4)],
            "label": str(r.randrange(4))}


def winogrande(r):
    a, b = r.sample(ANIMALS, 2)
    return {"sentence": f"The {a} feared the {b} because the _ {r.choice(DOES)} at night. ",
            "option1": a, "option2": b, "answer": str(r.randrange(1, 3))}


def piqa(r):
    return {"goal": f"How do I carry {r.choice(THINGS)} over the {r.choice(PLACES)}?",
            "sol1": f"Ask the {r.choice(ANIMALS)} first.", "sol2": f"With both hands, caf\u00e9 closed.",
            "label": r.randrange(2)}


def boolq(r):
    return {"passage": f"The {r.choice(ANIMALS)} lives in the {r.choice(PLACES)} and {r.choice(DOES)}.",
            "question": f"is it true that the {r.choice(ANIMALS)} {r.choice(DOES)}", "label": r.randrange(2)}


def lambada(r):
    return {"text": f"\u201cWho has {r.choice(THINGS)}?\u201d she asked.\n\nNobody but the "
                    f"{r.choice(ANIMALS)} knew the {r.choice(PLACES)}"}


def truthfulqa(r):
    best, *wrong = [f"The {x} {r.choice(DOES)}" for x in r.sample(ANIMALS, 4)]
    right = [best, "Nothing; it is a story".replace(";", ","), "I have no comment"]
    order = right[1:] + [best] if r.random() < 0.5 else right
    return {"question": f"What happens to a {r.choice(ANIMALS)} in the {r.choice(PLACES)}?",
            "mc1_targets": {"choices": [best] + wrong, "labels": [1] + [0] * len(wrong)},
            "mc2_targets": {"choices": order + wrong, "labels": [1] * len(order) + [0] * len(wrong)}}


def gsm8k(r):
    a, b = r.randrange(2, 900), r.randrange(2, 900)
    return {"question": f"A {r.choice(ANIMALS)} has {a:,} shells and finds {b}. How many has it now?",
            "answer": f"It has {a} + {b} = <<{a}+{b}={a + b}>>{a + b} shells.\n#### {a + b:,}"}


MAKERS = {"arc": (arc, 100), "hellaswag": (hellaswag, 100), "winogrande": (winogrande, 12),
          "piqa": (piqa, 8), "boolq": (boolq, 8), "lambada": (lambada, 8), "truthfulqa": (truthfulqa, 6),
          "gsm8k": (gsm8k, 6)}
ANSWERS = ["", "It is 5.", "so 12 + 3 = 15\n#### 15", "#### -1,234.50.", "#### $18", "####18", "#### x #### 7",
           "-", "-.", "- 3", "a 3-4 b", "$1,000 and 2", "no number", "3.", "..", "#### 1\n#### 2\n", "1,5,",
           "##### 8 and .5", "x=-7", "-$9", "#### 15.", "It is 15. Then #### 20 and 15"]


def write_rows(task, rows):
    with open(os.path.join(HERE, "rows", task + ".jsonl"), "w") as f:
        for row in rows:
            f.write(json.dumps(row, ensure_ascii=False) + "\n")


def write_other(task, rows):
    if task == "gsm8k":
        return
    if task == "truthfulqa":
        with open(os.path.join(HERE, "other", task + ".csv"), "w", newline="", encoding="utf-8-sig") as f:
            w = csv.writer(f)
            w.writerow(["Type", "Question", "Best Answer", "Correct Answers", "Incorrect Answers"])
            for x in rows:
                m = x["mc2_targets"]
                right, wrong = ([c for c, k in zip(m["choices"], m["labels"]) if k == v] for v in (1, 0))
                w.writerow(["a \"type\",\nof two lines", x["question"], x["mc1_targets"]["choices"][0],
                            "; ".join(right), ";".join(wrong) + "; "])
        return
    with open(os.path.join(HERE, "other", task + (".txt" if task == "hellaswag" else ".jsonl")), "w") as f:
        for x in rows:
            if task == "hellaswag":
                scene = f"{x['activity_label']}: {x['ctx_a']} {x['ctx_b'].capitalize()}"
                f.write("\n".join([scene, x["label"], *x["endings"]]) + "\n")
                continue
            if task == "arc":
                o = {"query": "Question: " + x["question"], "choices": x["choices"]["text"],
                     "gold": x["choices"]["label"].index(x["answerKey"])}
            elif task == "piqa":
                o = {"choices": [x["sol1"], x["sol2"]], "gold": x["label"],
                     "query": f"Question: {x['goal']}\n"}
            elif task == "boolq":
                o = {"query": f"Passage: {x['passage']}\nQuestion: {x['question']}?",
                     "choices": ["no", "yes"], "gold": x["label"]}
            elif task == "winogrande":
                before, behind = x["sentence"].split("_")
                o = {"context_options": [before + x["option1"], before + x["option2"]],
                     "continuation": behind.strip(), "gold": int(x["answer"]) - 1}
            else:
                before, word = x["text"].rsplit(" ", 1)
                o = {"context": before, "continuation": word}
            f.write(json.dumps(o) + "\n")


def prompts_of(items):
    """[[context, ...], [continuation, ...]], a context alone where all have it."""
    out = []
    for item in items:
        contexts, texts = [a[0] for a in item["asked"]], [a[1] for a in item["asked"]]
        if not isinstance(texts[0], str):
            texts = []
        out.append([contexts if len(set(contexts)) > 1 else contexts[:1], texts])
    return out


class Asking(harness.lm_eval.api.model.LM):
    """Answers nothing of use: only what it is asked matters."""

    def loglikelihood(self, requests):
        return [(-1.0, False) for _ in requests]

    def loglikelihood_rolling(self, requests):
        return [-1.0 for _ in requests]

    def generate_until(self, requests):
        return ["" for _ in requests]


def extraction():
    from lm_eval.api.metrics import exact_match_hf_evaluate
    from lm_eval.filters.extraction import RegexFilter
    filters = {"strict": RegexFilter(r"#### (\-?[0-9\.\,]+)"),
               "flexible": RegexFilter(r"(-?[$0-9.,]{2,})|(-?[0-9]+)", group_select=-1)}
    out = []
    for text in ANSWERS:
        entry = {"text": text, "answer": "15 = 15\n#### 15"}
        for name, f in filters.items():
            entry[name] = f.apply([[text]], [{}])[0][0]
            entry[name + "_match"] = float(exact_match_hf_evaluate(
                predictions=[entry[name]], references=[entry["answer"]], ignore_case=True,
                regexes_to_ignore=[",", "\\$", "(?s).*#### ", "\\.$"])["exact_match"])
        out.append(entry)
    return out


def intervals():
    from scipy.stats import binomtest
    return [[k, n, *binomtest(k, n).proportion_ci(method="wilson")]
            for k, n in ((0, 1), (1, 1), (0, 20), (3, 20), (50, 100), (99, 100), (1256, 10042))]


def main():
    r = random.Random(5)
    for folder in ("rows", "other"):
        os.makedirs(os.path.join(HERE, folder), exist_ok=True)
    prompts, results = {}, {}
    model = harness.HFLM(pretrained=MODEL, device="cpu", dtype="float32", batch_size=4, max_length=LENGTH)
    for task, (make, n) in MAKERS.items():
        rows = [make(r) for _ in range(n)]
        write_rows(task, rows)
        write_other(task, rows)
        path = os.path.join(HERE, "rows", task + ".jsonl")
        parts = [task] if task != "truthfulqa" else ["truthfulqa_mc1", "truthfulqa_mc2"]
        for part in parts:
            asked = harness.collect(harness.run(Asking(), part, path))["items"]
            prompts[part] = prompts_of(asked[:6])
            if task != "gsm8k":
                c = harness.collect(harness.run(model, part, path))
                results[part] = {"figures": c["figures"], "items": [
                    {"log_probs": [round(x[0], 5) for x in i["responses"]],
                     "greedy": [x[1] for x in i["responses"]], **i["scores"]} for i in c["items"]]}
        if task != "truthfulqa":
            with tempfile.TemporaryDirectory() as folder:
                lines = open(path).readlines()
                first, rest = (os.path.join(folder, x + ".jsonl") for x in ("first", "rest"))
                open(first, "w").writelines(lines[:2])
                open(rest, "w").writelines(lines[2:5])
                asked = harness.collect(harness.run(Asking(), task, rest, shots=2, shots_file=first))
                prompts[task + "-shots"] = prompts_of(asked["items"])
    for name, value in (("prompts", prompts), ("results", results), ("answers", extraction()),
                        ("intervals", intervals())):
        with open(os.path.join(HERE, name + ".json"), "w") as f:
            json.dump(value, f, ensure_ascii=False, indent=None if name == "results" else 0)
            f.write("\n")


if __name__ == "__main__":
    main()
