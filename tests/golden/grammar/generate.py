#!/usr/bin/env python3
"""Answers of a model under every schema of schemas.json, at a high temperature: jsonschema must find every one
that ended valid.

    generate.py TERN [MODEL [SEEDS]]      needs the package jsonschema
"""
import json
import subprocess
import sys
from pathlib import Path

import jsonschema

tern, model, seeds = sys.argv[1], sys.argv[2:3], int(sys.argv[3]) if len(sys.argv) > 3 else 3
n_whole = n_cut = 0
for row in json.loads((Path(__file__).parent / "schemas.json").read_text()):
    schema = row["schema"]
    check = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)
    for seed in range(seeds):
        out = subprocess.run([tern, "run", *model, "-no-cnv", "-p", "Answer:", "-j", json.dumps(schema), "--temp", "2", "--top-k", "0",
                              "--top-p", "1", "--min-p", "0", "-n", "200", "-s", str(seed), "--json"],
                             check=True, capture_output=True).stdout
        answer = json.loads(out)
        if answer["finish"] != "eog":
            n_cut += 1
            continue
        n_whole += 1
        try:
            check.validate(json.loads(answer["text"]))
        except Exception as e:
            sys.exit(f"{schema}\n{answer['text']!r}\n{e}")
print(f"{n_whole} answers, all valid; {n_cut} were cut by their length")
