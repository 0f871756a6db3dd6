"""What the documents say is what the code does: settings, verbs, fields, errors, links and samples."""

from __future__ import annotations

import re
import tomllib
import types
import typing
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import msgspec
import pytest
import typer.main
from typer.core import TyperCommand, TyperGroup, TyperOption

from airboss.cli.verbs import command as cli
from airboss.config import Config, parse_config
from airboss.config.inline import inlined
from airboss.domain.errors import ApiError
from airboss.domain.record import Attempt, InferenceRecord, PolicyFinding
from airboss.telemetry.exposition import GAUGES, Exposition

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*.md")])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@cache
def sections(page: str) -> dict[str, str]:
    """The page's text by heading, the mark-up of headings taken off."""
    parts = re.split(r"^#+ (.+)\n", FENCE.sub("", (ROOT / page).read_text()), flags=re.MULTILINE)
    return {title.replace("`", ""): text for title, text in zip(parts[1::2], parts[2::2], strict=True)}


def rows(text: str) -> set[str]:
    """The names in the first column of a section's tables."""
    return set(re.findall(r"^\| `([^`]+)`", text, re.MULTILINE))


def fenced(language: str) -> list[tuple[str, str]]:
    """Each block of code in that language, with its page."""
    return [
        (page.relative_to(ROOT).as_posix(), found[2])
        for page in PAGES
        for found in FENCE.finditer(page.read_text())
        if found[1] == language
    ]


def structs_in(annotation: object) -> Iterator[type[msgspec.Struct]]:
    """The structs that a setting's type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        yield annotation
    elif isinstance(annotation, types.UnionType) or typing.get_origin(annotation):
        for part in typing.get_args(annotation):
            yield from structs_in(part)


@cache
def settings() -> dict[str, set[str]]:
    """Every section of airboss.toml as docs/configuration.md heads it, with the settings it takes."""
    found: dict[str, set[str]] = {}

    def visit(struct: type[msgspec.Struct], heading: str) -> None:
        fields = typing.get_type_hints(struct)
        found[heading] = {field.encode_name for field in msgspec.structs.fields(struct)}
        for name, annotation in fields.items():
            for inner in structs_in(annotation):
                if inner is not struct:  # what a tier costs is a price
                    visit(inner, name)

    for name, annotation in typing.get_type_hints(Config).items():
        heading = f"[{name}.NAME]" if typing.get_origin(annotation) is dict else f"[{name}]"
        for struct in structs_in(annotation):
            visit(struct, heading)
    return found


@pytest.mark.parametrize("heading", settings())
def test_every_setting_is_documented(heading: str) -> None:
    """docs/configuration.md lists exactly the settings that the section takes."""
    assert rows(sections("docs/configuration.md").get(heading, "")) == settings()[heading]


@cache
def verbs() -> dict[str, TyperCommand | TyperGroup]:
    """Every verb by the words that call it: `up`, `replica serve`."""
    found: dict[str, TyperCommand | TyperGroup] = {}

    def visit(command: object, words: tuple[str, ...]) -> None:
        if isinstance(command, TyperGroup):
            if command.invoke_without_command and words:
                found[" ".join(words)] = command
            for name, inner in command.commands.items():
                visit(inner, (*words, name))
        elif isinstance(command, TyperCommand) and not command.hidden:
            found[" ".join(words)] = command

    visit(typer.main.get_command(cli()), ())
    return found


def options(command: TyperCommand | TyperGroup) -> set[str]:
    """The options that a verb takes, long names, `--help` aside."""
    return {
        name
        for parameter in command.params
        if isinstance(parameter, TyperOption)
        for name in [*parameter.opts, *parameter.secondary_opts]
        if name.startswith("--") and name != "--help"
    }


def test_every_verb_is_documented() -> None:
    """docs/cli.md has each verb, with exactly the options that it takes in its table."""
    for verb, taken in verbs().items():
        text = sections("docs/cli.md").get(f"airboss {verb}")
        assert text is not None, f"docs/cli.md has no section `airboss {verb}`"
        documented = {name.split(" ")[0] for name in rows(text) if name.startswith("--")}
        assert documented == options(taken), verb


def test_no_verb_is_made_up() -> None:
    """docs/cli.md documents no verb that is not there."""
    documented = {title.removeprefix("airboss ") for title in sections("docs/cli.md") if "airboss " in title}
    assert documented <= set(verbs())


def test_commands_in_documents_exist() -> None:
    """Every `airboss` and `make` line in a block of shell calls what exists, with options it takes."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    known = verbs()
    wrong: list[str] = []
    for language in ("bash", "sh", "console"):
        for page, block in fenced(language):
            for call in re.finditer(r"(?:^|[ /])airboss ([a-z].*)$", block, re.MULTILINE):
                words = re.sub(r"\s+#.*", "", call[1]).split()
                verb = next((v for v in (" ".join(words[:2]), words[0]) if v in known), None)
                flags = {word.split("=")[0] for word in words if word.startswith("--")}
                if verb is None or not flags <= options(known[verb]) | {"--help"}:
                    wrong.append(f"{page}: airboss {call[1]}")
            wrong += [
                f"{page}: make {target}"
                for target in re.findall(r"^make ([a-z]+)", block, re.MULTILINE)
                if target not in targets
            ]
    assert not wrong, "\n".join(wrong)


def test_every_field_of_a_record_is_documented() -> None:
    """docs/records.md lists exactly the fields of a record, an attempt and a finding, in their order."""
    names = re.findall(r"^\| `([^`]+)`", (ROOT / "docs/records.md").read_text(), re.MULTILINE)
    structs = (InferenceRecord, Attempt, PolicyFinding)
    assert names == [name for struct in structs for name in struct.__struct_fields__]


def test_every_error_is_documented() -> None:
    """docs/api.md names each error's status and usual code in one row."""
    table = sections("docs/api.md")["Errors"]
    missing = [
        f"{kind.status} {kind.default_code}"
        for kind in ApiError.__subclasses__()
        if kind.default_code
        and not re.search(rf"^\| {kind.status} \| [^|]*`{kind.default_code}`", table, re.MULTILINE)
    ]
    assert not missing


def test_every_error_code_is_documented() -> None:
    """docs/api.md names every code that either plane answers with of its own."""
    ours = [
        path
        for path in (ROOT / "src").rglob("*.py")
        if "cli" not in path.parts and not path.name.startswith("fake")
    ]
    codes = {code for path in ours for code in re.findall(r"\bcode=\"(\w+)\"", path.read_text())}
    page = sections("docs/api.md")
    named = set(re.findall(r"`(\w+)`", page["Errors"] + page["The control plane"]))
    assert codes <= named, "name them where docs/api.md tells of errors"


def test_every_metric_is_documented() -> None:
    """docs/metrics.md lists exactly the metrics that /metrics has, with their types."""
    text = Exposition([], dict.fromkeys(GAUGES, 0.0)).written()[0].decode()
    page = (ROOT / "docs/metrics.md").read_text()
    documented = re.findall(r"^\| `(\w+)` \| (\w+) \|", page, re.MULTILINE)
    assert sorted(documented) == sorted(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))


def test_every_dependency_has_its_reason() -> None:
    """docs/dependencies.md lists what pyproject.toml asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = list(project["project"]["dependencies"])
    for group in project["dependency-groups"].values():
        wanted += group
    documented = rows((ROOT / "docs/dependencies.md").read_text())
    assert {re.split(r"[^\w-]", need)[0] for need in wanted} == documented


@pytest.mark.parametrize(("page", "block"), fenced("toml"))
def test_samples_of_configuration_parse(page: str, block: str) -> None:
    """Every block of TOML in the documents is a configuration that `airboss apply` would take."""
    files = {"jsonl": '{"input": "a", "output": "b"}'}
    text = inlined(block, source=page, read=lambda name: files.get(name.rpartition(".")[2], "Be kind."))
    assert parse_config(text, source=page)


@pytest.mark.parametrize(("page", "block"), fenced("python"))
def test_samples_of_python_are_examples(page: str, block: str) -> None:
    """Every block of Python in the documents stands in a file of examples/, which a test runs."""
    assert any(block in example.read_text() for example in ROOT.glob("examples/*.py")), page


def anchors(page: Path) -> set[str]:
    """The anchors that a page's headings make."""
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_links_resolve() -> None:
    """Every relative link leads to a file, and its anchor to a heading."""
    broken: list[str] = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", FENCE.sub("", page.read_text())):
            link = next(filter(None, target))
            if "://" in link or link.startswith("mailto:"):
                continue
            path, _, anchor = link.partition("#")
            file = (page.parent / path).resolve() if path else page
            if not file.exists() or (anchor and anchor not in anchors(file)):
                broken.append(f"{page.relative_to(ROOT)}: {link}")
    assert not broken, "\n".join(broken)


def test_every_page_can_be_found() -> None:
    """docs/index.md links each page of docs/."""
    linked = set(re.findall(r"\]\(([a-z-]+\.md)\)", (ROOT / "docs/index.md").read_text()))
    assert linked == {page.name for page in ROOT.glob("docs/*.md")} - {"index.md"}
