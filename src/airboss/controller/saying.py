"""The configuration's text brought to say a release that a deployment is to have. Pure."""

from __future__ import annotations

from airboss.config import Config, parse_config
from airboss.config.edit import pointing, with_model, with_release
from airboss.domain.release import Release
from airboss.releases.build import build_releases
from airboss.releases.said import as_config, missing_spread
from airboss.releases.standing import are_alike


def saying(
    text: str,
    config: Config,
    deployment: str,
    release: Release,
    *,
    engine_version: str,
    in_place: bool = False,
) -> str:
    """The text whose deployment says `release`, so that an export of it does too. Where no `[releases.NAME]`
    is that already, one is added under a name that is free; `in_place`: that of the deployment is replaced,
    if the release had its name and no other deployment has it. A spread whose shares are not said any more
    is added too. Raises ConfigError, as `as_config`."""
    catalog = build_releases(config, engine_version=engine_version)
    if are_alike(release, catalog.wanted(config, deployment)):
        return text
    for name, each in catalog.named.items():
        if are_alike(release, each):
            return pointing(text, deployment, name)
    spread = missing_spread(catalog, release)
    if spread is not None:
        text = with_model(text, *spread)
        config = parse_config(text, source=f"the shares of {release.name}")
        catalog = build_releases(config, engine_version=engine_version)
    name, number = release.name, 1
    shared = [each for each in config.deployments.values() if each.release == name]
    own = in_place and len(shared) == 1 and config.deployments[deployment].release == name
    while name in config.releases and not own:
        number += 1
        name = f"{release.name}-{number}"
    return pointing(with_release(text, name, as_config(catalog, release)), deployment, name)
