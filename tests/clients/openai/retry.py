"""A full queue: the package sees 503 (429) with Retry-After, and with retries all requests are answered."""

import os
import threading

import openai

client = openai.OpenAI(base_url=os.environ["TERN_URL"] + "/v1", api_key="none", max_retries=0, timeout=60)
patient = client.with_options(max_retries=20)
refused, answered, failed = [], [], []


def ask(c, keep):
    try:
        c.chat.completions.create(model="tern-stories", messages=[{"role": "user", "content": "Hi"}], max_tokens=400, extra_body={"ignore_eos": True})
        answered.append(1)
    except openai.APIStatusError as e:
        (keep if keep is not None else failed).append(e)


def together(c, n, keep):
    threads = [threading.Thread(target=ask, args=(c, keep)) for _ in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


together(client, 24, refused)
assert answered and refused, (len(answered), len(refused))
for e in refused:
    assert e.status_code in (429, 503) and int(e.response.headers["retry-after"]) >= 1, e
answered.clear()
together(patient, 6, None)
assert len(answered) == 6 and not failed, failed
print("ok retry")
