"""The model FOLDER, which recommends temperature 0.6 and top-k 1, served."""
import json
import os

from serve import Server, check, run_all


def ask(s, body):
    status, _, reply = s.ask("POST", "/completion", dict(body, prompt="abc", n_predict=4, seed=5))
    check(status == 200, f"{status}: {reply}")
    return json.loads(reply)["generation_settings"]


def served():
    with Server(os.environ["FOLDER"]) as s:
        props = json.loads(s.ask("GET", "/props")[2])["default_generation_settings"]["params"]
        check((props["temperature"], props["top_k"], props["top_p"]) == (0.6, 1, 0.95), f"props: {props}")
        said = ask(s, {})
        check((said["temperature"], said["top_k"]) == (0.6, 1), f"nothing asked: {said}")
        said = ask(s, {"temperature": 0.8})
        check((said["temperature"], said["top_k"]) == (0.8, 1), f"a temperature asked: {said}")


run_all([served])
