"""The same question, streamed: prints words as they come, then the time to the first of them."""

import os
import time

from openai import OpenAI

client = OpenAI(api_key=os.environ["OPENAI_API_KEY"])

started = time.perf_counter()
first_token_s: float | None = None
stream = client.chat.completions.create(
    model="gpt-4o",
    messages=[{"role": "user", "content": "Why is the sky blue?"}],
    max_tokens=120,
    stream=True,
    stream_options={"include_usage": True},
)
for chunk in stream:
    for choice in chunk.choices:
        if choice.delta.content:
            if first_token_s is None:
                first_token_s = time.perf_counter() - started
            print(choice.delta.content, end="", flush=True)
    if chunk.usage:
        print(f"\n\nTokens: {chunk.usage.prompt_tokens} in, {chunk.usage.completion_tokens} out")
if first_token_s is not None:
    print(f"First token: {first_token_s:.2f} s; whole answer: {time.perf_counter() - started:.2f} s")
