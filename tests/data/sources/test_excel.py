"""Workbooks: one sheet of each."""

import io
import zipfile

import pytest

from loopwright.kernel.errors import InvalidInput
from tests.data.sources.conftest import Read

pytest.importorskip("fastexcel")

_TYPES = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def workbook(**sheets: list[list[object]]) -> bytes:
    """Write the least that is a workbook: texts inline, numbers as they are."""

    def cell(value: object) -> str:
        if isinstance(value, str):
            return f'<c t="inlineStr"><is><t>{value}</t></is></c>'
        return "<c/>" if value is None else f"<c><v>{value}</v></c>"

    parts = {
        f"xl/worksheets/sheet{number}.xml": f'<worksheet xmlns="{_MAIN}"><sheetData>'
        + "".join(f"<row>{''.join(map(cell, row))}</row>" for row in rows)
        + "</sheetData></worksheet>"
        for number, rows in enumerate(sheets.values(), 1)
    }
    listed = "".join(f'<sheet name="{name}" sheetId="{n}" r:id="r{n}"/>' for n, name in enumerate(sheets, 1))
    parts["xl/workbook.xml"] = f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets>{listed}</sheets></workbook>'
    related = "".join(
        f'<Relationship Id="r{n}" Type="{_OFFICE}/worksheet" Target="worksheets/sheet{n}.xml"/>'
        for n in range(1, len(sheets) + 1)
    )
    package = "http://schemas.openxmlformats.org/package/2006"
    parts["xl/_rels/workbook.xml.rels"] = f'<Relationships xmlns="{package}/relationships">{related}</Relationships>'
    parts["_rels/.rels"] = (
        f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" Type="{_OFFICE}/officeDocument" '
        'Target="xl/workbook.xml"/></Relationships>'
    )
    overrides = "".join(
        f'<Override PartName="/xl/worksheets/sheet{n}.xml" ContentType="{_TYPES}.worksheet+xml"/>'
        for n in range(1, len(sheets) + 1)
    )
    parts["[Content_Types].xml"] = (
        f'<Types xmlns="{package}/content-types"><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPES}.sheet.main+xml"/>{overrides}</Types>'
    )
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return body.getvalue()


def test_the_first_sheet_or_the_one_that_is_named(read: Read) -> None:
    book = workbook(May=[["id", "v"], [1, 2.5], [2, None]], June=[["id", "zip"], [3, "02116"]])
    assert read("excel", {"a.xlsx": book}).to_dicts() == [{"id": 1.0, "v": 2.5}, {"id": 2.0, "v": None}]
    rows = read("excel", {"a.xlsx": book}, sheet="June", types={"id": "Int64"})
    assert rows.to_dicts() == [{"id": 3, "zip": "02116"}]
    with pytest.raises(InvalidInput, match=r"a.xlsx has no sheet July.*one of May, June"):
        read("excel", {"a.xlsx": book}, sheet="July")


def test_numbers_of_a_sheet_become_codes_and_a_column_may_be_empty_in_one_file(read: Read) -> None:
    books = {"a.xlsx": workbook(s=[["id", "v"], [2116, 1.5]]), "b.xlsx": workbook(s=[["id", "v"], [12345678901, None]])}
    rows = read("excel", books, types={"id": "String"}).sort("id")
    assert rows.to_dicts() == [{"id": "12345678901", "v": None}, {"id": "2116", "v": 1.5}]
    with pytest.raises(InvalidInput, match=r"row 1, column v: 1.5 is no Int64"):
        read("excel", books, types={"v": "Int64"})


def test_what_is_no_workbook(read: Read) -> None:
    with pytest.raises(InvalidInput, match=r"a.xlsx is no workbook"):
        read("excel", {"a.xlsx": b"PK\x03\x04rest"})
