"""From a release document to a runtime in memory: model files and code on the gateway's own disk, loaded and warmed."""

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from loopwright.features import BoundView, DatasetPushSpec, FeaturePlan, bind_views, online
from loopwright.gateway.runtime import DeploymentRuntime
from loopwright.gateway.usercode import CodeShelf
from loopwright.gateway.variants import LoadedVariant, PlanReader, Predictor
from loopwright.kernel.clock import Clock
from loopwright.kernel.code import CodeRef
from loopwright.kernel.documents import digest_of
from loopwright.kernel.errors import Corrupt, InvalidInput
from loopwright.kernel.plugins import add_built_in, load_plugin
from loopwright.serving import RELEASE_SCHEMA, Release, Variant
from loopwright.store.blobs import BlobStore

add_built_in(
    "gateway_parts",
    {
        "features": "loopwright.gateway.plans:FeatureReader",
        "pushes": "loopwright.gateway.pushes:PushTarget",
    },
)

_NOT_NEEDED = {"lightgbm": ("pandas", "sklearn", "pyarrow", "matplotlib", "dask", "cffi")}
"""What a model library would import if it can, and prediction does without: 130 MB and a second for LightGBM."""


class Loader:
    """Loads releases; models and plans that a release shares with the one before are not loaded again.

    Args:
        root: The gateway's folder for models and code.
        blobs: Where they come from; not asked for what is on disk already.
        online_url: The online store.
        clock: Wall time.
    """

    def __init__(self, root: Path, blobs: BlobStore, online_url: str, clock: Clock) -> None:
        self._root, self._blobs, self._online_url, self._clock = root, blobs, online_url, clock
        self._code = CodeShelf(root / "code", blobs)
        self._models: dict[str, Predictor] = {}
        self._plans: dict[tuple[str, str], PlanReader] = {}
        self._store: online.OnlineStore | None = None

    def load(self, release: Release) -> DeploymentRuntime:
        """Return the release ready to answer.

        Raises:
            LoopwrightError: A file is missing or changed, code cannot be imported, or the model cannot be loaded.
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
        # Models come before user code, so that model libraries are imported without what only training needs.
        models = [self._model(variant) for variant in release.variants]
        variants = []
        for variant, model in zip(release.variants, models, strict=True):
            plan = self._plan(release, variant.plan) if variant.plan else None
            loaded = LoadedVariant(variant, model, plan, release.personal)
            loaded.warm()
            variants.append(loaded)
        return DeploymentRuntime(release, variants, self._clock)

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

    def keep_only(self, releases: list[Release]) -> None:
        """Forget models and plans that none of these releases uses, in memory and on disk."""
        used = {_model_key(variant) for release in releases for variant in release.variants}
        plans = {(release.project, digest) for release in releases for digest in release.plans}
        self._models = {key: model for key, model in self._models.items() if key in used}
        self._plans = {key: plan for key, plan in self._plans.items() if key in plans}
        folder = self._root / "models"
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.name not in used:
                shutil.rmtree(path, ignore_errors=True)

    def _plan(self, release: Release, digest: str) -> PlanReader:
        key = (release.project, digest)
        if key not in self._plans:
            plan = release.plans[digest]
            reader = load_plugin("gateway_parts", "features")
            self._plans[key] = reader(plan, release.project, self.function, self.store)
        return self._plans[key]

    def _model(self, variant: Variant) -> Predictor:
        key = _model_key(variant)
        if key not in self._models:
            flavour = load_plugin("flavours", variant.flavour)()
            with _without(_NOT_NEEDED.get(variant.flavour, ())):
                self._models[key] = flavour.load(self._files(key, variant), variant.signature)
        return self._models[key]

    def _files(self, key: str, variant: Variant) -> Path:
        folder = self._root / "models" / key
        if folder.is_dir():
            return folder
        draft = folder.with_name(f".{key}")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        for file in variant.files:
            place = draft / file.path
            if ".." in Path(file.path).parts or Path(file.path).is_absolute():
                raise Corrupt("a model file lies outside of its model", field="path", value=file.path)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(self._blobs.get(file.digest))
        draft.rename(folder)
        return folder


def views_of(releases: list[Release], project: str, dataset: str) -> tuple[DatasetPushSpec | None, list[BoundView]]:
    """Return a dataset as live plans know it, and every view over it, one per online key."""
    found: dict[str, BoundView] = {}
    spec: DatasetPushSpec | None = None
    plans: list[FeaturePlan] = [p for release in releases if release.project == project for p in release.plans.values()]
    for plan in plans:
        spec = next((one for one in plan.datasets if one.name == dataset), spec)
        for view in bind_views(plan, project):
            if view.dataset.name == dataset:
                found[view.key] = view
    return spec, list(found.values())


@contextmanager
def _without(names: Sequence[str]) -> Iterator[None]:
    """Make imports of these libraries fail meanwhile, where they are not imported yet."""
    hidden = [name for name in names if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def _model_key(variant: Variant) -> str:
    return digest_of([variant.flavour, variant.files, variant.signature])
