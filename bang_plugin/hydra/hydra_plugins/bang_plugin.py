"""Lets BANG's guards act from the beginning of fairseq-hydra-train, which imports ``common.user_dir`` late.

Hydra finds this module by its place, the namespace package ``hydra_plugins``, and imports it in every program that
uses Hydra. It does nothing unless the program is fairseq-hydra-train and the user's folder is this package, or imports
it.
"""

import functools
import os
import sys
from collections.abc import Callable
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.hydra_config import HydraConfig
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.utils import get_original_cwd
from omegaconf import DictConfig

COMMAND = "fairseq_cli.hydra_train"


class BangPlugin(SearchPathPlugin):
    """Hydra calls it once before it reads the configuration."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Guard the main function of fairseq-hydra-train; the search path stays as it is."""
        modules: list[Any] = [sys.modules.get(COMMAND), sys.modules["__main__"]]  # python -m names it __main__
        for module in modules:
            spec = getattr(module, "__spec__", None)
            if spec is not None and spec.name == COMMAND and not hasattr(module._hydra_main, "is_bang_guard"):
                module._hydra_main = _guarded(module._hydra_main)


def _guarded(hydra_main: Callable[..., Any]) -> Callable[..., Any]:
    """fairseq-hydra-train's main function."""

    @functools.wraps(hydra_main)
    def guarded(cfg: DictConfig, **kwargs: Any) -> Any:
        user_dir = HydraConfig.initialized() and cfg.common.user_dir
        if user_dir:
            from fairseq.utils import import_user_module

            given = os.path.join(get_original_cwd(), user_dir)
            if os.path.exists(given):  # else fairseq looks beside itself, where packages are installed
                cfg.common.user_dir = given
            import_user_module(cfg.common)
            if "bang_plugin" in sys.modules:
                # only now, since another copy of the package may be installed
                from bang_plugin.guards import hydra_run

                hydra_run.prepare(cfg)
        return hydra_main(cfg, **kwargs)

    guarded.is_bang_guard = True  # type: ignore[attr-defined]  # a mark, see above
    return guarded
