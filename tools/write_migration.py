"""Write the migration from the newest revision to the tables as they are: ``python -m tools.write_migration "why"``.

Read the result before committing it: a renamed column looks like one dropped and one added.
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

from alembic.autogenerate import produce_migrations
from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.render import render_op
from alembic.operations.ops import MigrateOperation, ModifyTableOps
from alembic.runtime.migration import MigrationContext

from loopwright.rooms import import_rooms
from loopwright.store.columns import METADATA, Json
from loopwright.store.engine import Database
from loopwright.store.migrate import FOLDER, revisions, upgrade

HEAD = '''"""{why}."""

{imports}from alembic import op

revision = "{revision}"
down_revision = {before}


def upgrade() -> None:
    """Apply this revision."""
{calls}
'''


def _render_type(kind: str, item: object, _context: AutogenContext) -> str | bool:
    return "sa.Text()" if kind == "type" and isinstance(item, Json) else False


def _table_of(operation: MigrateOperation) -> str:
    return str(getattr(operation, "table_name", ""))


def write_migration(why: str, includes: Callable[[str], bool] = lambda _table: True) -> Path | None:
    """Write the next revision into the folder of migrations; return its file, None where nothing changed."""
    import_rooms()
    before = revisions()[-1] if revisions() else None
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/scratch.db")
        if before:
            upgrade(database, to=before)  # by the migrations themselves, not by the tables as they are
        with database.engine.connect() as connection:
            options: dict[str, Any] = {
                "compare_type": False,
                "render_item": _render_type,
                "sqlalchemy_module_prefix": "sa.",
            }
            options |= {"alembic_module_prefix": "op.", "user_module_prefix": None, "render_as_batch": False}
            options["include_name"] = lambda name, kind, _parents: kind != "table" or includes(name)
            options["include_object"] = lambda _object, name, kind, _reflected, _other: (
                kind != "table" or includes(name)
            )
            context = MigrationContext.configure(connection, opts={**options, "target_metadata": METADATA})
            found = produce_migrations(context, METADATA).upgrade_ops
            assert found is not None
            rendering = AutogenContext(context, METADATA, options)
            operations: list[MigrateOperation] = []
            for one in found.ops:
                operations += one.ops if isinstance(one, ModifyTableOps) else [one]
            parts = {
                table: [line for one in group for line in render_op(rendering, one)]
                for table, group in groupby(operations, key=_table_of)
            }
        database.close()
    return _write(why, before, parts) if parts else None


def _write(why: str, before: str | None, parts: dict[str, list[str]]) -> Path:
    revision = f"{int(before or 0) + 1:04}"
    calls = "\n".join(f"    _change_{table}()" for table in parts)
    imports = "import sqlalchemy as sa\n" if any("sa." in line for lines in parts.values() for line in lines) else ""
    before = f'"{before}"' if before else None
    text = HEAD.format(why=why, imports=imports, revision=revision, before=before, calls=calls)
    for table, lines in parts.items():
        text += f"\n\ndef _change_{table}() -> None:\n"
        text += "\n".join("    " + line.replace("\n", "\n    ") for line in lines) + "\n"
    place = FOLDER / "versions" / f"{revision}_{re.sub(r'[^a-z0-9]+', '_', why.lower()).strip('_')[:40]}.py"
    place.write_text(text)
    subprocess.run([sys.executable, "-m", "ruff", "format", "--quiet", str(place)], check=True)
    return place


if __name__ == "__main__":
    print(
        write_migration(" ".join(sys.argv[1:]) or "Follow the tables") or "the tables are as the newest revision says"
    )
