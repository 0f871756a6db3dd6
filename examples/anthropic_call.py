"""One call with Anthropic's own client: `pip install anthropic`.

It knows nothing of Airboss. `ANTHROPIC_BASE_URL` is Airboss's root, without `/v1`, and `ANTHROPIC_API_KEY`
a key of Airboss's.
"""

import anthropic

client = anthropic.Anthropic()
message = client.messages.create(
    model="gpt-4o",
    max_tokens=300,
    messages=[{"role": "user", "content": "Say hello."}],
    metadata={"user_id": "ann"},
)

print("".join(block.text for block in message.content if block.type == "text"))
print(f"Tokens: {message.usage.input_tokens} in, {message.usage.output_tokens} out")
