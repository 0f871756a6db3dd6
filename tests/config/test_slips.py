"""Slips of new users in `airboss.toml`: each is told with its line, the value seen and what was meant."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from airboss.config import MAX_CONFIG_BYTES, parse_config, warnings_of
from airboss.config.files import read_config
from airboss.domain.errors import ConfigError

BASE = """[providers.p]
kind = "KIND"
base_url = "https://llm.example.com/v1"

[models.m]
provider = "p"
model = "x"

[releases.r]
model = "m"
"""
DEPLOYED = '\n[deployments.d]\nrelease = "r"\n'


def refusal(text: str) -> str:
    """What is said of a configuration."""
    with pytest.raises(ConfigError) as caught:
        parse_config(text, source="a.toml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("params = { temprature = 0.2 }", 'no parameter is called "temprature"; did you mean "temperature"?'),
        ("params_force = { Top_P = 0.2 }", 'no parameter is called "Top_P"; did you mean "top_p"?'),
        ('params = { temperature = "warm" }', 'params.temperature is "warm"; expected a number from 0 to 2'),
        ("params = { temperature = 9.5 }", "r.params.temperature is 9.5; expected a number from 0 to 2"),
        ("params = { temperature = true }", "r.params.temperature is true; expected a number"),
        ("params = { max_tokens = 1.5 }", "params.max_tokens is 1.5; expected a whole number from 1 to"),
        ("params = { max_tokens = 0 }", "params.max_tokens is 0; expected a whole number from 1 to"),
        ("params = { stop = 3 }", "params.stop is 3; expected text in quotes, or a list of texts"),
        ("params = { tools = { a = 1 } }", "params.tools is a table; expected a list"),
        ("params = { user = 'me' }", '"user" is the request\'s own; leave it out'),
        ("params = { seed = inf }", "releases.r.params.seed is Decimal('Infinity'), which JSON cannot say"),
        (
            'examples = [{input = "a"}]',
            '[releases.r.examples[0]] lacks "output"; it needs input = …, output = …',
        ),
        (
            'examples = [{input = "a", output = 1}]',
            "releases.r.examples[0].output is 1; expected text in quotes",
        ),
        (
            'examples = [{input = "a", outptu = "b"}]',
            '"outptu" is not a key of [releases.r.examples[0]]; did you mean',
        ),
        ("examples = 3", "releases.r.examples is 3; expected a list"),
        ('prompt = "Hello {{ name"', 'releases.r.prompt: "{{ name" is not closed; write {{ name }}'),
        ('prompt = "Hello {{ name }, and {{ b }}"', 'releases.r.prompt: "{{ name" is not closed'),
    ],
)
def test_a_slip_in_a_release_is_told(line: str, message: str) -> None:
    """Whatever the provider is: parameters, examples and prompts that cannot be meant."""
    for kind in ("openai-compatible", "openai"):
        said = refusal(BASE.replace("KIND", kind) + line + "\n" + DEPLOYED)
        assert said.startswith("a.toml:11: ")
        assert message in said


def test_a_parameter_that_nobody_knows_is_sent_only_where_it_may_be_known() -> None:
    """A server of one's own may have any; it is said. Vendors have what they have."""
    line = "params = { wibble = 1 }\n"
    own = parse_config(BASE.replace("KIND", "openai-compatible") + line + DEPLOYED, source="a.toml")
    assert any("releases.r.params.wibble: no parameter of this name" in each for each in warnings_of(own))
    said = refusal(BASE.replace("KIND", "openai") + line + DEPLOYED)
    assert said.startswith('a.toml:11: releases.r.params.wibble: no parameter is called "wibble"; known: "')


@pytest.mark.parametrize(
    "line", ["guardrailConfig = { guardrailIdentifier = 'g' }", "safetySettings = [{ category = 'c' }]"]
)
def test_what_is_a_providers_own_may_be_forced(line: str) -> None:
    """Guardrails, say, so that no call goes without."""
    forced = f"params_force = {{ {line} }}\n"
    parse_config(BASE.replace("KIND", "gemini") + forced + DEPLOYED, source="a.toml")


def test_braces_that_are_no_variables_are_text() -> None:
    """JSON, code and LaTeX stay as they are; what looks like a variable and is none is said."""
    prompt = 'Answer {"a": {"b": {{}}}} or \\\\frac{{1}}{2}, {{ first name }}, {{ok}}, {{{ok}}}.'
    line = f"prompt = '''{prompt}'''\n"
    whole = parse_config(BASE.replace("KIND", "openai-compatible") + line + DEPLOYED, source="a.toml")
    odd = [each for each in warnings_of(whole) if each.startswith("releases.r.prompt")]
    assert len(odd) == 3
    assert any('"{{ first name }}" names no variable' in each for each in odd)


@pytest.mark.parametrize(
    ("rollout", "line", "message"),
    [
        (
            '{ metrics = ["eror_rate"] }',
            14,
            'metrics[0]: no metric is called "eror_rate"; did you mean "error_rate"?',
        ),
        (
            '{ metrics = ["zzz"] }',
            14,
            'no metric is called "zzz"; known: "cost", "error_rate", "latency_p50"',
        ),
        (
            '{ metrics = ["cost"], margin = { error_rate = 0.1 } }',
            14,
            'margin.error_rate: "error_rate" is not among',
        ),
        (
            "{ margin = { eror_rate = 0.1 } }",
            14,
            'margin.eror_rate: "eror_rate" is not among the metrics; did you mean "error_rate"?',
        ),
        ("{ steps = [1, 'b'] }", 14, 'rollout.steps[1] is "b"; expected a number'),
    ],
)
def test_a_slip_in_a_rollout_is_told(rollout: str, line: int, message: str) -> None:
    """Metrics and margins."""
    said = refusal(BASE.replace("KIND", "openai-compatible") + DEPLOYED + f"rollout = {rollout}\n")
    assert said.startswith(f"a.toml:{line}: deployments.d.rollout.")
    assert message in said


def test_a_mark_before_utf8_is_no_part_of_the_text(tmp_path: Path) -> None:
    """What Windows' editors put there is read over, in the file and in those that it names."""
    text = BASE.replace("KIND", "openai-compatible") + 'prompt = "p.md"\n' + DEPLOYED
    file = tmp_path / "airboss.toml"
    file.write_bytes(codecs.BOM_UTF8 + text.encode())
    (tmp_path / "p.md").write_bytes(codecs.BOM_UTF8 + b"Be kind.")
    assert parse_config(read_config(file), source="a.toml").releases["r"].prompt == "Be kind."


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            b'# fine\nx = "caf\xe9"\n',
            ':2: the byte 0xe9 after "x = \\"caf" is not UTF-8; save the file as UTF-8',
        ),
        ("x = 1".encode("utf-16"), ":1: this is UTF-16; save it as UTF-8"),
        (b"#" * (MAX_CONFIG_BYTES + 1), ": over 1,048,576 bytes, which no configuration"),
    ],
)
def test_what_is_no_text_is_told(tmp_path: Path, data: bytes, message: str) -> None:
    """Bytes that are not UTF-8 with their line; a file that is far too long without reading it all."""
    file = tmp_path / "airboss.toml"
    file.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        read_config(file)
    assert str(caught.value).startswith(f"{file}{message}")


def test_lines_are_those_of_the_file_though_a_prompt_is_put_in(tmp_path: Path) -> None:
    """A prompt of many lines moves nothing in what an error says; what is applied has its lines."""
    file = tmp_path / "airboss.toml"
    text = BASE.replace("KIND", "openai-compatible") + 'prompt = "p.md"\n' + DEPLOYED
    (tmp_path / "p.md").write_text("One.\n\nTwo.\nThree.\n")
    file.write_text(text)
    assert "Two.\nThree." in read_config(file)
    file.write_text(text + "retyr = 3\n")
    with pytest.raises(ConfigError, match=r'airboss\.toml:15: "retyr" is not a key'):
        read_config(file)


def test_a_choice_that_is_near_none_is_told_all_of_them_once() -> None:
    """They are not listed again as what is known."""
    with pytest.raises(ConfigError) as refused:
        parse_config('[keys.k.budget]\nusd = 1\nper = "30d"\n', source="a.toml")
    assert str(refused.value) == 'a.toml:3: keys.k.budget.per is "30d"; expected month | week | day'
