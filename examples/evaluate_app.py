"""Ask your own app each item of a dataset, and write what it answered for `airboss eval run --answers`.

airboss dataset export reviews --part validation | python evaluate_app.py > answers.jsonl
"""

import json
import sys
import time

from openai import OpenAI

client = OpenAI()


def my_app(question: str) -> str:
    """Your chain, agent or RAG app; here one call."""
    answer = client.chat.completions.create(
        model="gpt-4o",
        messages=[{"role": "user", "content": f"Answer with one word. {question}"}],
    )
    return answer.choices[0].message.content or ""


for line in sys.stdin:
    item, started = json.loads(line), time.perf_counter()
    try:
        said = {"answer": my_app(item["input"]["messages"][-1]["content"])}
    except Exception as error:  # noqa: BLE001 - whatever your app breaks on is no answer
        said = {"error": str(error)}
    print(json.dumps({"item": item["id"], "latency_ms": 1000 * (time.perf_counter() - started), **said}))
