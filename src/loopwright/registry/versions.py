"""Verbs of model versions: register, import, read."""

import math
from collections.abc import Sequence

import msgspec

from loopwright import features, tracking
from loopwright.governance import lineage, require_job
from loopwright.kernel.digests import MaybeDigest
from loopwright.kernel.documents import digest_of, to_builtins
from loopwright.kernel.errors import Conflict, InvalidInput, NotFound
from loopwright.kernel.plugins import plugin_names
from loopwright.kernel.refs import check_name, parse_ref
from loopwright.kernel.verbs import query, verb
from loopwright.registry import sql
from loopwright.registry.events import ModelImported, VersionRegistered
from loopwright.registry.flavours import FLAVOURS
from loopwright.registry.types import ModelFile, ModelVersion, Signature
from loopwright.store import sql as store_sql
from loopwright.store.blobs.base import check_digest
from loopwright.store.tombstones import missing
from loopwright.store.tx import Tx
from loopwright.store.types import BlobRef


def model_digest(flavour: str, files: Sequence[ModelFile], signature: Signature) -> str:
    """Return the name of a model's content: its flavour, the digest of each file, and the signature."""
    return digest_of([flavour, sorted([file.path, file.digest] for file in files), signature])


def check_files(files: Sequence[ModelFile]) -> None:
    """Let files pass whose paths stay inside a folder.

    Raises:
        InvalidInput: There are none, two share a path, or one is absolute or climbs out.
    """
    paths = [file.path for file in files]
    if not files or len(set(paths)) != len(paths):
        raise InvalidInput("a model has files, each at a path of its own", field="files", value=paths)
    for file in files:
        check_digest(file.digest)
        parts = file.path.split("/")
        if len(file.path) > 200 or "\\" in file.path or any(part in ("", ".", "..") for part in parts):
            raise InvalidInput(
                "this path cannot be used", field="files", value=file.path, rule="relative, with /, without . and .."
            )


@verb("registry.register", changes=ModelVersion, internal=True)
def register(
    tx: Tx,
    *,
    model: str,
    flavour: str,
    files: list[ModelFile],
    signature: Signature,
    metrics: dict[str, float | None] | None = None,
    service: str = "",
    plan_digest: MaybeDigest = "",
    run: str = "",
    training_set: str = "",
    code_digest: MaybeDigest = "",
    refit_of: int | None = None,
    monitoring_profile: MaybeDigest = "",
    idempotency: str = "",
) -> ModelVersion:
    """Add the next version of a model that the platform trained; its files are stored as blobs already.

    Only the platform says that it trained something: gates, approvals and ``why`` rest on this. What people bring comes
    by ``registry.import_model``.

    Args:
        model: Its name; a new one needs no declaration.
        flavour: The plugin that can load it.
        files: Relative paths and digests.
        signature: Inputs in the model's order, task and classes.
        metrics: Of the held-out rows; those that are no number are left out.
        service: The feature service it reads.
        plan_digest: The feature plan it was trained with.
        run: Ref or id of the run.
        training_set: Ref of the training set.
        code_digest: The packed code.
        refit_of: The version whose recipe was fitted again on all rows.
        monitoring_profile: Digest of the reference profile.
        idempotency: A token; registering again under it returns the first version.

    Raises:
        Conflict: The token belongs to another artifact.
        NotFound: Run, training set, code or, where a job says so, files are not there.
    """
    require_job(tx, "register a version as trained by the platform", "register_trained")
    _check_lineage(tx, run, training_set, code_digest)
    _check_stored(tx, files)
    draft = ModelVersion(
        model,
        0,
        flavour,
        files,
        model_digest(flavour, files, signature),
        signature,
        _finite(metrics or {}),
        service,
        plan_digest,
        run=_full_ref(tx, f"run:{run}" if run and ":" not in run else run),
        training_set=_full_ref(tx, training_set),
        code_digest=code_digest,
        refit_of=refit_of,
        monitoring_profile=monitoring_profile,
    )
    return _add(tx, draft, idempotency)


def _check_lineage(tx: Tx, run: str, training_set: str, code_digest: str) -> None:
    """Refuse a version that would rest on what is not there."""
    if run:
        tracking.get_run(tx, run_id=parse_ref(run, field="run").name if ":" in run else run)
    if training_set:
        named = parse_ref(training_set, tx.project, "training_set")
        features.training_set(tx, service=named.name, version=named.version)
    if code_digest and store_sql.find_blob(tx.connection, tx.project, code_digest) is None:
        raise NotFound("this project has no such code", field="code_digest", value=code_digest)


def _check_stored(tx: Tx, files: Sequence[ModelFile]) -> None:
    """Refuse files that a job names and its project does not have: it says what user code said.

    What a step made is the project's from its end on, and a name alone opens nothing.
    """
    for file in files if tx.bounds is not None else ():
        if store_sql.find_blob(tx.connection, tx.project, file.digest) is None:
            raise NotFound("this project has no such file", field="files", value=file.digest)


def _add(tx: Tx, draft: ModelVersion, token: str) -> ModelVersion:
    """Give a version its number and store it; under a token that is known already return the first."""
    check_name(draft.model, "model")
    check_files(draft.files)
    _check_flavour(draft.flavour)
    sql.lock_model(tx, draft.model, tx.wall_us)
    known = _find_registered(tx, draft.model, token, draft.digest)
    if known is not None:
        return known
    version = msgspec.structs.replace(
        draft,
        version=sql.next_version(tx, draft.model),
        created_by=tx.actor,
        event_at=tx.now_us,
        recorded_at=tx.wall_us,
    )
    _store(tx, version, token)
    return version


def _find_registered(tx: Tx, model: str, token: str, digest: str) -> ModelVersion | None:
    """Return the version that was registered under a token already."""
    known = sql.find_version(tx, model, token=token) if token else None
    if known is not None and known.digest != digest:
        raise Conflict("this token belongs to another artifact", field="idempotency", value=token)
    return known


def _finite(metrics: dict[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if value is not None and math.isfinite(value)}


def _full_ref(tx: Tx, ref: str) -> str:
    return str(parse_ref(ref, tx.project)) if ref else ""


@verb("registry.import_model", changes=ModelVersion)
def import_model(
    tx: Tx,
    *,
    model: str,
    flavour: str,
    files: list[ModelFile],
    signature: Signature,
    reason: str,
    metrics: dict[str, float | None] | None = None,
    service: str = "",
    plan_digest: MaybeDigest = "",
    idempotency: str = "",
) -> ModelVersion:
    """Add a version that was trained elsewhere; ``reason`` says where it comes from.

    ``service`` and ``plan_digest`` name the features it reads, where the platform looks them up.
    """
    if not reason.strip():
        raise InvalidInput("an import needs a reason", field="reason", rule="say where the model comes from")
    digest, known = model_digest(flavour, files, signature), _finite(metrics or {})
    draft = ModelVersion(model, 0, flavour, files, digest, signature, known, service, plan_digest, source="imported")
    made = _add(tx, draft, idempotency)
    tx.emit(ModelImported(digest=made.digest), tx.ref("model", model, made.version), reason=reason)
    return made


@query("registry.get_version")
def get_version(
    tx: Tx, *, model: str, version: int | None = None, alias: str | None = None, idempotency: str | None = None
) -> ModelVersion:
    """Return a version by number, by alias or by the token it was registered under, else the newest one."""
    if alias is not None:
        named = sql.find_alias(tx, model, alias)
        if named is None:
            raise NotFound(
                f"{model} has no alias {alias}", field="alias", value=alias, next_step="see registry.aliases"
            )
        version = named.version
    registered = sql.find_version(tx, model, version=version, token=idempotency)
    if registered is None:
        raise _unknown(tx, model, version)
    return registered


def _unknown(tx: Tx, model: str, version: int | None) -> NotFound:
    """Return the error that names the versions there are; of a model without any, the models there are."""
    newest = sql.find_version(tx, model)
    if newest is not None:
        numbers = "version 1" if newest.version == 1 else f"versions 1 to {newest.version}"
        hint = f"{model} has {numbers}"
    else:
        names = ", ".join(model.model for model in sql.list_models(tx))
        hint = f"models with versions: {names}" if names else "no model has a version yet: loopwright start PIPELINE"
    shown = model if version is None else f"{model}/{version}"
    unknown = NotFound(f"no model version {shown}", field="version", value=version, next_step=hint)
    return unknown if newest is not None and version is None else missing(tx, "model", model, version, unknown)


@query("registry.versions")
def list_versions(tx: Tx, *, model: str, before: int | None = None, limit: int = 100) -> list[ModelVersion]:
    """Return the versions of a model, newest first; ``before`` is the last number of the page before."""
    return sql.list_versions(tx, model, before=before, limit=max(1, min(limit, 1000)))


def _check_flavour(flavour: str) -> None:
    known = plugin_names(FLAVOURS)
    if flavour not in known:
        raise InvalidInput("no such flavour", field="flavour", value=flavour, rule=f"one of {', '.join(known)}")


def _store(tx: Tx, version: ModelVersion, token: str) -> None:
    if version.refit_of is not None:
        get_version(tx, model=version.model, version=version.refit_of)
    sql.insert_version(tx, version, token or None)
    tx.keep_blobs(*(BlobRef(file.digest, file.size_bytes) for file in version.files))
    ref = tx.ref("model", version.model, version.version)
    refit_of = version.refit_of and tx.ref("model", version.model, version.refit_of)
    code = version.code_digest and tx.ref("code", version.code_digest)
    for relation, parent in (
        ("made_by", version.run),
        ("trained_on", version.training_set),
        ("built_from", code),
        ("refit_of", refit_of),
    ):
        if parent:
            lineage.link(tx, ref, relation, parent)
    facts = VersionRegistered(
        model=version.model,
        version=version.version,
        digest=version.digest,
        source=version.source,
        refit_of=version.refit_of,
        metrics=version.metrics,
        files_digest=digest_of(to_builtins(version.files)),
    )
    tx.emit(facts, ref)
