"""From a release document and its files on the disk to a runtime in memory."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from loopwright.features import BoundView, DatasetPushSpec, bind_views, online
from loopwright.gateway.answering.runtime import DeploymentRuntime
from loopwright.gateway.answering.variants import LoadedVariant, PlanReader, Predictor
from loopwright.gateway.marks import Marker, NoMarker
from loopwright.gateway.releases.files import code_folder, model_key
from loopwright.gateway.releases.usercode import CodeShelf
from loopwright.kernel.clock import Clock
from loopwright.kernel.code import CodeRef
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.plugins import add_built_in, load_plugin
from loopwright.registry import FLAVOURS
from loopwright.serving import RELEASE_SCHEMA, Release, Variant

add_built_in(
    "gateway_parts",
    {
        "features": "loopwright.gateway.answering.plans:FeatureReader",
        "pushes": "loopwright.gateway.taking.pushes:PushTarget",
    },
)

LIBRARIES = {"lightgbm": "lightgbm", "onnx": "onnxruntime", "sklearn": "sklearn"}
"""What a flavour imports when it loads its first model."""
_NOT_NEEDED = {"lightgbm": ("pandas", "sklearn", "pyarrow", "matplotlib", "dask", "cffi")}
"""What a model library would import if it can, and prediction does without: 130 MB and a second for LightGBM."""


class Loader:
    """Loads releases whose files are on the disk; models that a release shares with one before are not loaded again.

    Args:
        root: The gateway's folder.
        clock: Wall time.
        project: Whose user code may run here; empty in the gateway itself, where none does.
        online_url: That project's online store.
    """

    def __init__(self, root: Path, clock: Clock, project: str = "", online_url: str = "") -> None:
        self._root, self._online_url, self._clock = root, online_url, clock
        self._code = CodeShelf(code_folder(root, project))
        self._models: dict[str, Predictor] = {}
        self._plans: dict[tuple[str, str], PlanReader] = {}
        self._store: online.OnlineStore | None = None

    def load(self, release: Release, marker: Marker | None = None) -> DeploymentRuntime:
        """Return the release ready to answer.

        Raises:
            LoopwrightError: Code cannot be imported, or the model cannot be loaded.
        """
        check_form(release)
        # Models come before user code, so that model libraries are imported without what only training needs.
        marker = marker or NoMarker()
        models = []
        for index, variant in enumerate(release.variants):
            marker.enter(index)
            models.append(self._model(variant))
        variants = []
        for index, (variant, model) in enumerate(zip(release.variants, models, strict=True)):
            marker.enter(index)
            plan = self._plan(release, variant.plan) if variant.plan else None
            variants.append(LoadedVariant(variant, model, plan, release.personal))
        marker.leave()
        return DeploymentRuntime(release, variants, self._clock, marker)

    def push_target(self, spec: DatasetPushSpec, views: list[BoundView], personal: set[str]) -> Any:
        """Return what takes pushed rows of a dataset; ``personal`` columns are left out of the log."""
        return load_plugin("gateway_parts", "pushes")(spec, views, self.function, self.store, personal)

    def function(self, code: CodeRef) -> Callable[..., Any]:
        """Return a user function by name."""
        return self._code.function(code)

    @property
    def store(self) -> online.OnlineStore:
        """The online store, opened when it is first needed."""
        if self._store is None:
            self._store = online.open_online_store(self._online_url)
        return self._store

    def keep_only(self, releases: Sequence[Release]) -> None:
        """Forget models and plans that none of these releases uses."""
        used = {model_key(variant) for release in releases for variant in release.variants}
        plans = {(release.project, digest) for release in releases for digest in release.plans}
        self._models = {key: model for key, model in self._models.items() if key in used}
        self._plans = {key: plan for key, plan in self._plans.items() if key in plans}

    def _plan(self, release: Release, digest: str) -> PlanReader:
        key = (release.project, digest)
        if key not in self._plans:
            plan = release.plans[digest]
            reader = load_plugin("gateway_parts", "features")
            self._plans[key] = reader(plan, release.project, self.function, self.store)
        return self._plans[key]

    def _model(self, variant: Variant) -> Predictor:
        key = model_key(variant)
        if key not in self._models:
            flavour = load_plugin(FLAVOURS, variant.flavour)()
            with hiding_optional_libraries(LIBRARIES.get(variant.flavour, "")):
                self._models[key] = flavour.load(self._root / "models" / key, variant.signature)
        return self._models[key]


def views_of(releases: Sequence[Release], project: str, dataset: str) -> tuple[DatasetPushSpec | None, list[BoundView]]:
    """Return a dataset as live plans know it, and every view over it, one per online key."""
    views: dict[str, BoundView] = {}
    spec: DatasetPushSpec | None = None
    plans = [plan for release in releases if release.project == project for plan in release.plans.values()]
    for plan in plans:
        spec = next((known for known in plan.datasets if known.name == dataset), spec)
        for view in bind_views(plan, project):
            if view.dataset.name == dataset:
                views[view.key] = view
    return spec, list(views.values())


def check_form(release: Release) -> None:
    """Make sure that this gateway reads a release as it was meant.

    Raises:
        InvalidInput: It is written in another form, or has no variants.
    """
    if release.schema not in (RELEASE_SCHEMA, RELEASE_SCHEMA - 1):
        raise InvalidInput(
            "this release is written in another form",
            field="schema",
            value=release.schema,
            rule=f"{RELEASE_SCHEMA - 1} or {RELEASE_SCHEMA}",
            next_step="bring gateway and server to the same version",
        )
    if not release.variants:
        raise InvalidInput("this release has no variants", field="variants", rule="at least one")


@contextmanager
def hiding_optional_libraries(library: str) -> Iterator[None]:
    """Make imports of what a library could do without fail meanwhile, where they are not imported yet."""
    hidden = [name for name in _NOT_NEEDED.get(library, ()) if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
