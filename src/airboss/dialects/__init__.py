"""What apps may speak besides chat (Anthropic's Messages, OpenAI's Responses), said as chat and back."""
