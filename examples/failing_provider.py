"""Does my program cope with a provider that fails? Ask the one in the package, which fails on demand."""

from openai import OpenAI

from airboss.testing import FakeProvider

with FakeProvider() as provider:
    client = OpenAI(base_url=provider.url, api_key="any", max_retries=2)
    provider.script("429;retry_after=0", "reset")  # the third call is answered well
    response = client.chat.completions.create(
        model="gpt-4o",
        messages=[{"role": "user", "content": "Are you there?"}],
    )
    print(f"{provider.stats().requests} requests, then: {response.choices[0].message.content}")
