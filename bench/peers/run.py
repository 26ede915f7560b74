#!/usr/bin/env python3
"""Compare tern with other engines that are built already, in turns on one machine.

    bench/peers/run.py CONFIG.json [--rounds 3] [--prompt 128] [--gen 32] [--threads 2] [--depth 0]
                       [--only WORD,...] [--max-other 15] [--tries 3] [--wrap COMMAND] [--out FILE.json]
    bench/peers/run.py --tern PROGRAM,MODEL --peer NAME,PROGRAM,MODEL[,ARGUMENT...] ...

Every engine runs once a round as a process of its own, with its own warm-up; rounds start with
another engine each, so that no one always comes first. What the machine is busy with besides is
measured during each run; a run beside more than --max-other percent is repeated. The ratio of two
engines is the median over the rounds of their ratio within a round: the memory of a shared machine may
be slow in one round and fast in the next.

The configuration is {"engines": [{"name", "kind", "program", "model", "args", "depth", "version"}]}:
kind is "tern" or "llama-bench" (llama.cpp's program and its descendants'); depth is how that program
takes tokens already in the context, "-d" or "-gp", absent when it cannot; version is for programs
that do not tell theirs. bench/peers/example.json is one. Nothing but Python's own library is needed.
"""

import argparse
import datetime
import json
import os
import platform
import resource
import shlex
import statistics
import subprocess
import sys

PROMPT, GENERATE = "prompt", "generate"


# ---- the machine --------------------------------------------------------------------------------


def cpu_name():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        for line in f:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def jiffies():
    """Busy and all time of all CPUs; time that the host took (steal) counts as busy."""
    with open("/proc/stat", encoding="utf-8") as f:
        v = [int(x) for x in f.readline().split()[1:9]]
    return sum(v) - v[3] - v[4], sum(v)


def children_seconds():
    r = resource.getrusage(resource.RUSAGE_CHILDREN)
    return r.ru_utime + r.ru_stime


class Watch:
    """What others used of the machine while a block ran, in percent of it."""

    def __enter__(self):
        self.busy, self.all = jiffies()
        self.own = children_seconds()
        return self

    def __exit__(self, *_):
        busy, everything = jiffies()
        own = (children_seconds() - self.own) * os.sysconf("SC_CLK_TCK")
        self.other = 100 * max(0.0, busy - self.busy - own) / max(1, everything - self.all)


# ---- engines ------------------------------------------------------------------------------------


class Failed(Exception):
    pass


def run(command, wrap):
    try:
        done = subprocess.run(wrap + command, capture_output=True, text=True, check=False)
    except OSError as e:
        raise Failed(f"{command[0]}: {e.strerror}") from None
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip()[-300:]}")
    # some print lines of their own, first or in between
    text = "\n".join(line for line in done.stdout.split("\n") if not line.startswith("WARNING:"))
    try:
        return json.JSONDecoder().raw_decode(text[text.find("["):])[0]
    except (ValueError, IndexError):
        raise Failed(f"{' '.join(command)}: no JSON on standard output") from None


def run_tern(e, o):
    """{(test, depth): tokens a second}, and what the engine says of itself."""
    depths = ",".join(str(d) for d in o.depths)
    rows = run(
        [e["program"], "bench", "-m", e["model"], "-p", str(o.prompt), "-n", str(o.gen), "-t",
         str(o.threads), "-d", depths, "-r", "1", "--no-walls", "-q", "--json", *e.get("args", [])],
        o.wrap)
    speed = {(r["test"], r["depth"]): r["median_tok_s"] for r in rows}
    return speed, {"peak_rss_bytes": max(r.get("peak_rss_bytes", 0) for r in rows)}


def run_llama_bench(e, o):
    base = [e["program"], "-m", e["model"], "-t", str(o.threads), "-r", "1", "-o", "json",
            *e.get("args", [])]
    speed, info = {}, {}
    for depth in o.depths:
        flag = e.get("depth")
        if depth == 0:
            command = base + ["-p", str(o.prompt), "-n", str(o.gen)]
        elif flag == "-d":
            command = base + ["-p", str(o.prompt), "-n", str(o.gen), "-d", str(depth)]
        elif flag == "-gp":  # generation after a prompt, the prompt's time left out
            command = base + ["-p", "0", "-n", "0", "-gp", f"{depth},{o.gen}"]
        else:
            continue
        for r in run(command, o.wrap):
            test = GENERATE if r["n_gen"] else PROMPT
            speed[(test, depth)] = r["avg_ts"]
            info["version"] = f"{r.get('build_commit', '?')} (build {r.get('build_number', '?')})"
    return speed, info


KINDS = {"tern": run_tern, "llama-bench": run_llama_bench}


def version_of(e):
    if "version" in e or e["kind"] != "tern":
        return e.get("version", "")
    out = subprocess.run([e["program"], "version", "--json"], capture_output=True, text=True,
                         check=False)
    version = json.loads(out.stdout)["version"] if out.returncode == 0 else "?"
    git = subprocess.run(["git", "-C", os.path.dirname(os.path.abspath(e["program"])), "rev-parse",
                          "--short", "HEAD"], capture_output=True, text=True, check=False)
    return f"{version} {git.stdout.strip()}".strip()


def read_bandwidth(engines, o):
    """GB/s of all threads as tern measures it, to tell rounds apart."""
    for e in engines:
        if e["kind"] == "tern":
            out = subprocess.run(o.wrap + [e["program"], "doctor", "--json"], capture_output=True,
                                 text=True, check=False)
            if out.returncode == 0:
                return json.loads(out.stdout)["memory"]["read_bytes_per_s_all_threads"] * 1e-9
    return None


# ---- rounds -------------------------------------------------------------------------------------


def measure(e, o):
    """The least disturbed of several tries."""
    best = None
    for _ in range(o.tries):
        with Watch() as w:
            speed, info = KINDS[e["kind"]](e, o)
        if best is None or w.other < best["other_percent"]:
            best = {"speed": speed, "info": info, "other_percent": w.other}
        if w.other <= o.max_other:
            break
    return best


def rounds(engines, o):
    results = {e["name"]: [] for e in engines}
    bandwidth = []
    for e in engines:  # the page cache is warm for all
        with open(e["model"], "rb") as f:
            while f.read(1 << 24):
                pass
    for i in range(o.rounds):
        bandwidth.append(None if o.no_bandwidth else read_bandwidth(engines, o))
        for j in range(len(engines)):
            e = engines[(i + j) % len(engines)]
            r = measure(e, o)
            results[e["name"]].append((i, r))
            shown = "  ".join(f"{t} at {d}: {v:.1f}" for (t, d), v in sorted(r["speed"].items()))
            print(f"round {i + 1}: {e['name']}: {shown}  (others {r['other_percent']:.0f} %)",
                  file=sys.stderr, flush=True)
    return {k: [r for _, r in sorted(v, key=lambda x: x[0])] for k, v in results.items()}, bandwidth


# ---- tables -------------------------------------------------------------------------------------


def column(results, name, key):
    return [r["speed"].get(key) for r in results[name]]


def ratio(results, ours, theirs, key):
    """Median over rounds of ours / theirs; None when one of them lacks the test."""
    pairs = zip(column(results, ours, key), column(results, theirs, key))
    ratios = [a / b for a, b in pairs if a and b]
    return statistics.median(ratios) if ratios else None


def cell(values):
    values = [v for v in values if v]
    if not values:
        return ""
    return f"{statistics.median(values):.1f} ({min(values):.1f}..{max(values):.1f})"


def keys_of(o):
    return [(t, d) for d in o.depths for t in (PROMPT, GENERATE)]


def title(key, o):
    n = o.prompt if key[0] == PROMPT else o.gen
    return f"{key[0]} {n}" + (f" at {key[1]}" if key[1] else "")


def print_tables(engines, results, bandwidth, o):
    keys = [k for k in keys_of(o) if any(any(column(results, e["name"], k)) for e in engines)]
    ours = next((e["name"] for e in engines if e["kind"] == "tern"), None)
    now = datetime.datetime.now(datetime.timezone.utc)
    print(f"{now:%Y-%m-%d %H:%M} UTC, {cpu_name()}, {os.cpu_count()} CPUs, Linux "
          f"{platform.release()}; {o.threads} threads, {o.rounds} rounds in turns, medians "
          f"(lowest..highest) in tokens a second\n")
    heads = [title(k, o) for k in keys]
    print("| engine | version | " + " | ".join(heads) + " | others |")
    print("|---|---|" + "---:|" * len(keys) + "---:|")
    for e in engines:
        runs = results[e["name"]]
        version = version_of(e) or runs[0]["info"].get("version", "")
        cells = [cell(column(results, e["name"], k)) for k in keys]
        worst = max(r["other_percent"] for r in runs)
        print(f"| {e['name']} | {version} | " + " | ".join(cells) + f" | {worst:.0f} % |")
    if ours:
        print(f"\n| {ours} is so many times as fast as | " + " | ".join(heads) + " |")
        print("|---|" + "---:|" * len(keys))
        for e in engines:
            if e["name"] != ours:
                ratios = [ratio(results, ours, e["name"], k) for k in keys]
                print(f"| {e['name']} | "
                      + " | ".join("" if r is None else f"{r:.2f}" for r in ratios) + " |")
    known = [b for b in bandwidth if b]
    if known:
        print(f"\nMemory was read at {min(known):.0f}..{max(known):.0f} GB/s, measured before each "
              f"round. 'others' is what other programs used of the machine in the worst run.")


# ---- the command line ---------------------------------------------------------------------------


def engines_of(o):
    engines = []
    if o.config:
        with open(o.config, encoding="utf-8") as f:
            engines += json.load(f)["engines"]
    if o.tern:
        program, model = o.tern.split(",", 1)
        engines.insert(0, {"name": "tern", "kind": "tern", "program": program, "model": model})
    for text in o.peer:
        name, program, model, *args = text.split(",")
        engines.append({"name": name, "kind": "llama-bench", "program": program, "model": model,
                        "args": args})
    if o.only:
        engines = [e for e in engines if any(w in e["name"] for w in o.only.split(","))]
    return engines


def problem(engines):
    """Why these cannot be measured; None when they can."""
    if not engines:
        return "no engines: name a configuration, or --tern and --peer"
    names = [e.get("name") for e in engines]
    for e in engines:
        for key in ("name", "kind", "program", "model"):
            if key not in e:
                return f"{e.get('name', 'an engine')}: '{key}' is missing"
        if e["kind"] not in KINDS:
            return f"{e['name']}: kind '{e['kind']}', expected {' or '.join(KINDS)}"
        if names.count(e["name"]) > 1:
            return f"{e['name']}: named twice"
        for path in (e["program"], e["model"]):
            if not os.path.exists(path):
                return f"{e['name']}: {path} does not exist"
    return None


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    p.add_argument("config", nargs="?")
    p.add_argument("--tern", metavar="PROGRAM,MODEL")
    p.add_argument("--peer", action="append", default=[], metavar="NAME,PROGRAM,MODEL[,ARG...]")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--prompt", type=int, default=128)
    p.add_argument("--gen", type=int, default=32)
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--depth", default="0", help="tokens already in the context, as 0,512")
    p.add_argument("--only", help="engines whose name has one of these words")
    p.add_argument("--max-other", type=float, default=15, help="percent; more repeats the run")
    p.add_argument("--tries", type=int, default=3)
    p.add_argument("--no-bandwidth", action="store_true", help="do not measure memory reads")
    p.add_argument("--wrap", default="", help="a command to run each engine through")
    p.add_argument("--out", help="write all samples as JSON")
    o = p.parse_args()
    o.wrap = shlex.split(o.wrap)
    o.depths = [int(d) for d in o.depth.split(",")]
    engines = engines_of(o)
    why = problem(engines)
    if why:
        p.error(why)
    try:
        results, bandwidth = rounds(engines, o)
    except Failed as e:
        sys.exit(f"run.py: {e}")
    print_tables(engines, results, bandwidth, o)
    if o.out:
        rows = [{"engine": name, "round": i, "test": t, "depth": d, "tok_s": v,
                 "other_percent": r["other_percent"], **r["info"]}
                for name, runs in results.items() for i, r in enumerate(runs)
                for (t, d), v in sorted(r["speed"].items())]
        with open(o.out, "w", encoding="utf-8") as f:
            json.dump({"cpu": cpu_name(), "cpus": os.cpu_count(), "threads": o.threads,
                       "read_gb_per_s": bandwidth, "rows": rows}, f, indent=1)
            f.write("\n")


if __name__ == "__main__":
    main()
