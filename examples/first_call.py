"""The usual first script: one question to a model, and how long the answer took.

It knows nothing of Airboss. `OPENAI_BASE_URL` and `OPENAI_API_KEY` come from the environment.
"""

import os
import time

from openai import OpenAI

client = OpenAI(api_key=os.environ["OPENAI_API_KEY"])

started = time.perf_counter()
response = client.chat.completions.create(
    model="gpt-4o",
    messages=[{"role": "user", "content": "Why is the sky blue?"}],
)
elapsed_s = time.perf_counter() - started

text = response.choices[0].message.content or ""
print(f"Response time: {elapsed_s:.2f} s")
print(f"Output length: {len(text)} characters")
print(text)
