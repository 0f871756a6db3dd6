"""`airboss records score`: what you think of an answer."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from airboss.cli.api import reach
from airboss.cli.options import DEFAULT_DATA_DIR, DataDirOption, JsonOption, UrlOption
from airboss.cli.output import console, print_json
from airboss.domain.errors import InvalidRequest, WrongCall
from airboss.store.opinions import plainly, read_value


def score(
    record_id: Annotated[str, typer.Argument(metavar="ID", help="The record: the call's x-request-id.")],
    judgement: Annotated[
        str, typer.Argument(metavar="NAME=VALUE", help="right=yes, stars=4, tone=rude; a NAME with --undo.")
    ],
    *,
    comment: Annotated[str | None, typer.Option(help="Why, in your words.")] = None,
    correction: Annotated[
        str | None, typer.Option(help="What would have been right; empty takes it back.")
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take back what you said under NAME.")] = False,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
) -> None:
    """Judge an answer yourself. Judging again under the same name replaces what you said."""
    if not record_id.strip("./"):
        # Such a name would be another place of the API.
        raise WrongCall(f"no record {record_id!r}; `airboss records` lists the newest with their ids")
    body = read_judgement(judgement, undo=undo)
    if comment is not None:
        if undo:
            raise WrongCall("--undo leaves nothing to comment on; leave out --comment")
        body["comment"] = comment
    if correction is not None:
        body["correction"] = correction
    with reach(data_dir, url) as api:
        found = api.post(f"/api/v1/records/{quote(record_id, safe='')}/scores", body)
    if as_json:
        print_json(found)
        return
    stands = found["score"]
    if stands is None:
        others = " and ".join(found.get("others", ()))
        rest = f", but by {others}" if others else ", nor by anybody else"
        said = f"{record_id} has no judgement {body['name']!r} by you{rest}"
    else:
        said = f"{stands['name']} of {record_id} is {plainly(stands['value'])}, says {stands['by']}"
    if found.get("correction") is not None:
        said += "; your correction of it stands"
    console().print(said, markup=False, highlight=False, soft_wrap=True)


def read_judgement(text: str, *, undo: bool) -> dict[str, Any]:
    """`NAME=VALUE` as the admin API takes it: yes and no, numbers, and else labels. Raises WrongCall."""
    name, equals, value = text.partition("=")
    if undo:
        if equals:
            raise WrongCall(f"--undo takes a name alone: {name!r}")
        return {"name": name, "value": None}
    if not equals or not value:
        raise WrongCall(f"{text[:80]!r} is no judgement; write NAME=VALUE, such as right=yes or stars=4")
    try:
        return {"name": name, "value": read_value(value)}
    except InvalidRequest as error:
        raise WrongCall(error.message) from None
