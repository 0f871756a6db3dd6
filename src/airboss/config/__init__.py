"""`airboss.toml`: its types, and the one way to read it.

`parse_config` gives a `Config` that is whole and consistent or raises `ConfigError`; nothing else makes one.
"""

from airboss.config.alarms_default import all_alarms
from airboss.config.checks import warnings_of
from airboss.config.models import ModelConfig, ReplicaRange
from airboss.config.parse import MAX_CONFIG_BYTES, parse_config
from airboss.config.summed import SummaryConfig
from airboss.config.types import (
    AlarmConfig,
    Config,
    DeploymentConfig,
    DriftConfig,
    EmailConfig,
    GatewayConfig,
    KeyConfig,
    MaintenanceConfig,
    NotifierConfig,
    OidcConfig,
    ProviderConfig,
    ReleaseConfig,
    ReplicasConfig,
    ScoringConfig,
    ShadowConfig,
    StoreConfig,
    TlsConfig,
)

__all__ = [
    "MAX_CONFIG_BYTES",
    "AlarmConfig",
    "Config",
    "DeploymentConfig",
    "DriftConfig",
    "EmailConfig",
    "GatewayConfig",
    "KeyConfig",
    "MaintenanceConfig",
    "ModelConfig",
    "NotifierConfig",
    "OidcConfig",
    "ProviderConfig",
    "ReleaseConfig",
    "ReplicaRange",
    "ReplicasConfig",
    "ScoringConfig",
    "ShadowConfig",
    "StoreConfig",
    "SummaryConfig",
    "TlsConfig",
    "all_alarms",
    "parse_config",
    "warnings_of",
]
