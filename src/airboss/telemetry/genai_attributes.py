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
    # OpenLLMetry
    r"|traceloop\.(?:entity\.(?:input|output)|prompt\.(?:template|template_variables))\Z"
    # SDKs of their own
    r"|langfuse\.observation\.(?:input|output)\Z|mlflow\.(?:span(?:Inputs|Outputs)|chat\.tools)\Z"
    r"|ai\.(?:prompt|values?|embeddings?)\b|ai\.response\.(?:text|object|toolCalls|reasoning)\Z"
    r"|ai\.toolCall\.(?:args|result)\Z|ai\.schema\Z"
    # databases of vectors and MCP
    r"|mcp\.(?:request\.argument|response\.value)\Z|db\.(?:query|search)\.result\b|db\..*\.where_document\Z"
)
_NAMED: Final = re.compile(
    # what is read into records
    r"airboss\.|gen_ai\.(?:operation|provider|system|request|response|usage|agent|workflow|tool|conversation"
    r"|data_source|output\.type|token|openai|azure|aws|prompt\.(?:name|version)|evaluation|user|is_streaming)\b"
    r"|llm\.(?:model_name|provider|system|invocation_parameters|token_count|cost|is_streaming|finish_reason"
    r"|usage|user|request\.(?:model|model_name|type)|response\.(?:model|model_name|id))\b"
    r"|(?:embedding|reranker)\.(?:model_name|top_k)\Z|openinference\.|traceloop\.|openai\.|mcp\.(?:method|session)"
    r"|tool\.(?:name|id|description)\Z|graph\.node\.|metadata\Z|tag\.tags\Z"
    r"|session\.(?:id|previous_id)\Z|(?:end)?user\.(?:id|name|email|full_name|hash|roles?|scope)\Z"
    # what OpenTelemetry says of any program
    r"|(?:error\.type|exception\.(?:type|escaped)|code|thread|otel|service|telemetry|deployment|host|os"
    r"|process|container|k8s|cloud|faas|server|client|network|net|peer|tls|user_agent|http|url|rpc|messaging"
    r"|aws|azure|gcp"
    r"|db\.(?:system|namespace|name|collection|operation\.name|response\.status_code))\b"
    # of other SDKs' own
    r"|ai\.(?:model|usage|operationId|settings|telemetry\.functionId|telemetry\.metadata"
    r"|response\.(?:id|model|finishReason|timestamp))\b|(?:operation|resource)\.name\Z"
    r"|langfuse\.(?:user|session|environment|release|version|trace\.(?:name|tags)"
    r"|observation\.(?:type|level|model\.name|prompt|usage_details|cost_details))\b"
    r"|mlflow\.(?:spanType|spanFunctionName|traceRequestId|experimentId|llm\.(?:model|provider|cost)"
    r"|chat\.tokenUsage|message\.format|trace\.(?:user|session))\Z"
)
"""Where names stand that stand for something other than what was said."""
_SAYING: Final = re.compile(
    r"(?:.*[._])?"
    r"(?:messages?|prompts?|texts?|contents?|body|inputs?|outputs?|data|query|questions?|answers?|completions?"
    r"|choices|instructions?|thinking|reasoning|arg(?:ument)?s|parameters|results?|requests?|responses?|tools"
    r"|calls|documents|template|variables|objects?|value)(?:\.\d+)*\Z",
    re.IGNORECASE | re.DOTALL,
)
"""How names end, wherever they stand, that hold it: Google's ADK has `gcp.vertex.agent.llm_request`, and
Sentry `gen_ai.request.messages`."""
_CREDENTIAL: Final = re.compile(
    r"(?:gen_ai|llm)\.(?:request[._])?(?:extra[-_])?headers\Z|(?:.*[._])?extra[-_]headers\Z"
    r"|(?:.*[._])?(?:proxy[-_])?authorization\Z|(?:.*[._])?(?:x[-_])?(?:goog[-_])?api[-_]?key\Z"
    r"|(?:.*[-._])?security[-_]token\Z|(?:.*[._])?(?:set[-_])?cookie\Z",
    re.IGNORECASE | re.DOTALL,
)


def without_content(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes but for those that hold what was said."""
    return {name: value for name, value in attributes.items() if _CONTENT.match(name) is None}


def unsaid(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes where nothing that was said may be kept: numbers, and texts under names that are known to
    hold none. Who makes up a name may put anything there."""
    return {
        name: value
        for name, value in without_content(attributes).items()
        if isinstance(value, bool | int | float) or (_NAMED.match(name) and not _SAYING.match(name))
    }


def without_credentials(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Attributes without the values of those that are named for credentials, such as headers that an HTTP
    client was told to write down: they are an app's own, and no secret that we would know."""
    found = [name for name in attributes if _CREDENTIAL.match(name) is not None]
    return {**attributes, **dict.fromkeys(found, REDACTED)} if found else attributes
