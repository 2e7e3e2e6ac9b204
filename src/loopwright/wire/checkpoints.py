"""Opening the checkpoints of the event log as the settings say, for servers and for commands alike."""

from loopwright.config import Settings
from loopwright.governance import Checkpoints, read_keys
from loopwright.kernel.errors import InvalidInput
from loopwright.store.shelves import open_shelf
from loopwright.wire.credentials import checkpoint_key


def open_checkpoints(settings: Settings) -> Checkpoints:
    """Return the checkpoints of a platform.

    They are signed with the first key of ``LOOPWRIGHT_CHECKPOINT_KEY`` where that is set, else with one that is derived
    from the service token; both are known.

    Raises:
        InvalidInput: The key file cannot be read or holds no keys.
    """
    keys = [] if settings.checkpoint_key is None else _read_key_file(settings)
    if token := _service_token(settings):
        keys.append(checkpoint_key(token))
    where = settings.checkpoints_url or str(settings.state_dir / "checkpoints")
    return Checkpoints(open_shelf(where, "checkpoint"), keys, where)


def _read_key_file(settings: Settings) -> list[bytes]:
    file, field = settings.checkpoint_key, "LOOPWRIGHT_CHECKPOINT_KEY"
    assert file is not None
    try:
        return read_keys(file.read_text(), field)
    except OSError as error:
        raise InvalidInput(
            "this key file cannot be read", field=field, value=f"{file}: {error.strerror}", next_step="check its owner"
        ) from None


def _service_token(settings: Settings) -> str:
    file = settings.state_dir / "service.token"
    return settings.service_token or (file.read_text().strip() if file.exists() else "")
