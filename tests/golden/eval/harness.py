#!/usr/bin/env python3
"""Results of lm-evaluation-harness for questions in a local file: its own tasks, with the data set
replaced. Needs lm-eval, torch and transformers.

    python harness.py MODEL_FOLDER TASK ROWS.jsonl OUT.json [--limit N] [--max-length N]

ROWS.jsonl holds rows as the hub's data set has them. OUT.json gets what the harness asked, the
log-likelihoods and its figures.
"""
import argparse
import json
import os
import tempfile

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import lm_eval
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

TASKS = os.path.join(os.path.dirname(lm_eval.__file__), "tasks")
FILES = {"hellaswag": "hellaswag/hellaswag.yaml", "winogrande": "winogrande/default.yaml",
         "arc": "arc/arc_easy.yaml", "piqa": "piqa/piqa.yaml", "boolq": "super_glue/boolq/default.yaml",
         "lambada": "lambada/lambada_openai.yaml", "truthfulqa_mc1": "truthfulqa/truthfulqa_mc1.yaml",
         "truthfulqa_mc2": "truthfulqa/truthfulqa_mc2.yaml", "gsm8k": "gsm8k/gsm8k.yaml"}


def local_task(folder, task, rows, shots_file=None):
    """The harness's definition with another source of rows; examples are the first of shots_file."""
    name = task + "_local"
    splits = {"test": os.path.abspath(rows)}
    lines = [f"include: {os.path.join(TASKS, FILES[task])}", f"task: {name}", "dataset_path: json",
             "dataset_name: null", "test_split: test", "validation_split: null", "tag: null"]
    if shots_file:
        splits["train"] = os.path.abspath(shots_file)
        lines += ["training_split: train", "fewshot_split: train",
                  "fewshot_config:", "  sampler: first_n", "  split: train"]
    else:
        lines += ["training_split: null", "fewshot_split: null", "num_fewshot: 0"]
    lines += ["dataset_kwargs:", "  data_files:"] + [f"    {k}: {v}" for k, v in splits.items()]
    with open(os.path.join(folder, name + ".yaml"), "w") as f:
        f.write("\n".join(lines) + "\n")
    return name


def run(model, task, rows, limit=None, shots=0, shots_file=None):
    with tempfile.TemporaryDirectory() as folder:
        name = local_task(folder, task, rows, shots_file)
        return lm_eval.simple_evaluate(model=model, tasks=[name], num_fewshot=shots, limit=limit,
                                       task_manager=TaskManager(include_path=folder),
                                       bootstrap_iters=0, log_samples=True)


def collect(result):
    """One entry a question, in the file's order."""
    (name, samples), = result["samples"].items()
    out = {"figures": {k.split(",")[0] + ("" if k.endswith(",none") else "," + k.split(",")[1]): v
                       for k, v in result["results"][name].items() if isinstance(v, float)}, "items": []}
    samples = {s["doc_id"]: s for s in reversed(samples)}  # a question stands there once for each filter
    for _, s in sorted(samples.items()):
        asked = [list(a) if not isinstance(a, dict) else list(a.values())
                 for a in (s["arguments"].values() if isinstance(s["arguments"], dict) else s["arguments"])]
        out["items"].append({
            "asked": asked, "target": s["target"],
            "responses": [[r if isinstance(r, str) else [float(r[0]), bool(r[1] in (True, "True"))]
                           for r in answer][0] if isinstance(answer, list) else answer
                          for answer in s["resps"]],
            "filtered": s["filtered_resps"],
            "scores": {k: s[k] for k in ("acc", "acc_norm", "exact_match") if k in s}})
    return out


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model")
    p.add_argument("task")
    p.add_argument("rows")
    p.add_argument("out")
    p.add_argument("--limit", type=int)
    p.add_argument("--max-length", type=int)
    a = p.parse_args()
    model = HFLM(pretrained=a.model, device="cpu", dtype="float32", batch_size=8, max_length=a.max_length)
    out = collect(run(model, a.task, a.rows, a.limit))
    json.dump(out, open(a.out, "w"))
    print(out["figures"])


if __name__ == "__main__":
    main()
