"""What is raised over files that cannot be read; Polars is imported only where it has been needed."""


def reader_errors() -> tuple[type[BaseException], ...]:
    """Return what Polars raises over files: a panic, no ``Exception``, over some that were cut or changed."""
    import polars as pl

    return pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError
