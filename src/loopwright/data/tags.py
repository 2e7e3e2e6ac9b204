"""Verbs of tags: names of dataset versions, for whoever wants to read the very same rows again."""

from loopwright.data import sql, versions
from loopwright.data.events import TagRemoved, TagSet
from loopwright.data.quarantine import check_usable
from loopwright.data.types import DatasetVersion, Tag
from loopwright.kernel.errors import NotFound
from loopwright.kernel.refs import check_name
from loopwright.kernel.suggestions import suggest
from loopwright.kernel.verbs import query, verb
from loopwright.store.tx import Tx


@verb("data.tag", changes=DatasetVersion)
def tag_version(tx: Tx, *, dataset: str, version: int, tag: str, reason: str = "") -> Tag:
    """Give a version a name, or move the name to it; where it is already nothing changes.

    A version that has a tag is not deleted.

    Raises:
        NotFound: No such version.
        Quarantined: Nobody may use it.
    """
    check_name(tag, "tag")
    check_usable(versions.get_version(tx, dataset=dataset, version=version))
    before = sql.find_tag(tx, dataset, tag)
    if before is not None and before.version == version:
        return before
    after = Tag(dataset, tag, version, tx.now_us)
    sql.put_tag(tx, after)
    facts = TagSet(dataset=dataset, tag=tag, version=version, before=None if before is None else before.version)
    tx.emit(facts, tx.ref("dataset", dataset, version), reason=reason)
    return after


@verb("data.untag", changes=DatasetVersion)
def untag(tx: Tx, *, dataset: str, tag: str, reason: str = "") -> None:
    """Take a tag away.

    Raises:
        NotFound: The dataset has no such tag.
    """
    before = _named(tx, dataset, tag)
    sql.delete_tag(tx, before)
    facts = TagRemoved(dataset=dataset, tag=tag, before=before.version)
    tx.emit(facts, tx.ref("dataset", dataset, before.version), reason=reason)


@query("data.tags")
def list_tags(tx: Tx, *, dataset: str) -> list[Tag]:
    """Return the tags of a dataset by name."""
    return sql.list_tags(tx, dataset)


@query("data.get_tagged")
def get_tagged(tx: Tx, *, dataset: str, tag: str) -> DatasetVersion:
    """Return the version that a tag names, with all its fragments.

    Raises:
        NotFound: The dataset has no such tag.
    """
    return versions.get_version(tx, dataset=dataset, version=_named(tx, dataset, tag).version)


def _named(tx: Tx, dataset: str, tag: str) -> Tag:
    found = sql.find_tag(tx, dataset, tag)
    if found is None:
        known = [each.tag for each in list_tags(tx, dataset=dataset)]
        hint = suggest(tag, known, f"it has: {', '.join(known[:10]) or 'none yet'}")
        raise NotFound(f"dataset {dataset} has no tag {tag}", field="tag", value=tag, next_step=hint)
    return found
