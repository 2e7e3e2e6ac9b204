"""Which kind of contract a file holds, told by what stands in it."""

from loopwright.data.contracts import expectations, odcs, pandera_schemas
from loopwright.data.contracts.documents import read_document
from loopwright.data.contracts.translation import Translation
from loopwright.kernel.errors import InvalidInput, shorten

_KINDS = (
    "a contract of the Open Data Contract Standard (kind: DataContract), a schema of pandera as to_yaml or to_json "
    "writes it (schema_type), or a suite of Great Expectations as JSON (expectations)"
)


def read_contract(body: bytes) -> list[Translation]:
    """Return what a contract says of each of its tables; nothing of it is run.

    Raises:
        InvalidInput: It is none that is known, or cannot be read.
        TooLarge: It is larger or deeper than contracts are.
    """
    document = read_document(body)
    if not isinstance(document, dict):
        told = shorten(type(document).__name__)
        raise InvalidInput("this is no contract that is known", field="file", value=told, rule=_KINDS)
    if odcs.is_contract(document):
        return odcs.read_tables(document)
    if pandera_schemas.is_schema(document):
        return [pandera_schemas.read_schema(document)]
    if expectations.is_suite(document):
        return [expectations.read_suite(document)]
    told = shorten(", ".join(map(str, document)) or "nothing")
    raise InvalidInput("this is no contract that is known", field="file, its keys", value=told, rule=_KINDS)
