"""A conversation that Airboss keeps: the second call sends only what is new."""

from openai import OpenAI

client = OpenAI()
first = client.responses.create(model="gpt-4o", input="My name is Ann.", max_output_tokens=60)
then = client.responses.create(model="gpt-4o", input="What is my name?", previous_response_id=first.id)
client.responses.delete(first.id)

print(then.output_text)
