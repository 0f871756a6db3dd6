"""Which attributes of a span hold what people and models said, and which what opens doors. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

REDACTED: Final = "[redacted]"

_CONTENT: Final = re.compile(
    # OpenTelemetry
    r"gen_ai\.(?:input\.messages|output\.messages|system_instructions|tool\.definitions|tool\.call\..*"
    r"|prompt(?:\.\d.*)?|completion(?:\.\d.*)?|retrieval\.(?:documents|query)\b.*|evaluation\.explanation"
    r"|task\.(?:input|output))\Z"
    # OpenInference
    r"|llm\.(?:input_messages|output_messages|tools|prompts|completions|choices|function_call"
    r"|prompt_template\.(?:template|variables)|request\.functions)\b"
    r"|(?:input|output)\.(?:value\Z|documents\b|images\b)|embedding\.(?:embeddings\.|text\Z)"
    r"|retrieval\.documents\.|reranker\.(?:query\Z|.*documents\b)|document\.(?:content|metadata)\Z"
    r"|tool\.parameters\Z|(?:annotation|evaluation)\.explanation\Z|(?:prompt|completion)\.text\Z"
    r"|audio\.transcript\Z"
    # OpenLLMetry, which watches databases of vectors and MCP too
    r"|traceloop\.(?:entity\.(?:input|output)|prompt\.(?:template|template_variables))\Z"
    r"|mcp\.(?:request\.argument|response\.value)\Z|db\.(?:query|search)\.result\b|db\..*\.where_document\Z"
)
_CREDENTIAL: Final = re.compile(
    r"(?:gen_ai|llm)\.(?:request[._])?(?:extra[-_])?headers\Z|(?:.*[._])?extra[-_]headers\Z"
    r"|(?:.*[._])?(?:proxy[-_])?authorization\Z|(?:.*[._])?(?:x[-_])?(?:goog[-_])?api[-_]?key\Z"
    r"|(?:.*[-._])?security[-_]token\Z|(?:.*[._])?(?:set[-_])?cookie\Z",
    re.IGNORECASE,
)


def without_content(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes but for those that hold what was said."""
    return {name: value for name, value in attributes.items() if _CONTENT.match(name) is None}


def without_credentials(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Attributes without the values of those that are named for credentials, such as headers that an HTTP
    client was told to write down: they are an app's own, and no secret that we would know."""
    found = [name for name in attributes if _CREDENTIAL.match(name) is not None]
    return {**attributes, **dict.fromkeys(found, REDACTED)} if found else attributes
