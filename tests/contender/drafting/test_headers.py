"""Files without a row of names: known where all tells so, asked about where not, and read by place; no row is lost."""

import random

import pytest

from contender.contracts.contract import Contract
from contender.drafting.contract_draft import draft, write
from contender.drafting.headers import begins_with_values
from contender.errors import UsageError
from contender.ingestion.file_format import describe
from contender.ingestion.file_reader import read_chunks
from contender.ingestion.staging import declared, fitted, needed

NAMED = ["height,weight,sex", "2019,2020,2021", "h1,h2,h3"]


def rows_of(*columns, count=120, sign=","):
    chance = random.Random(3)
    return [sign.join(str(column(chance)) for column in columns) for _ in range(count)]


def numbers(low, high):
    return lambda chance: round(chance.uniform(low, high), 2)


def one_of(*values):
    return lambda chance: chance.choice(values)


FILES = {
    "flowers": rows_of(numbers(4, 8), numbers(2, 5), one_of("setosa", "virginica")),
    "census": rows_of(one_of(17, 39, 64), one_of("Private", "?", "State-gov"), one_of("<=50K", ">50K"), sign=", "),
    "loans": rows_of(one_of("A11", "A12", "A14"), one_of(6, 12, 48), one_of("A34", "A32"), one_of(1, 2), sign=" "),
    "houses": rows_of(numbers(0, 1), numbers(10, 99), numbers(5, 50), sign="   "),
    "dated": rows_of(one_of("2024-01-31", "2024-02-01"), numbers(0, 9), one_of("yes", "no"), sign=";"),
}


def landed(folder, lines, name="rows-1.data"):
    path = folder / name
    path.write_text("\n".join([*lines, ""]))
    return path


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_values_alone_is_known_and_each_row_counts(tmp_path, name):
    path = landed(tmp_path, FILES[name])
    assert begins_with_values(path)
    found = draft([path], name="made", target="column2", folder=tmp_path)
    contract = Contract.read(write(found, tmp_path))

    assert found.checked.rows == len(FILES[name])
    assert found.checked.quarantined == 0
    assert any(guess.what == "records.header" and guess.check for guess in found.guesses)
    columns = declared(contract, "records")
    form = fitted(path, describe(path, contract.records.header), columns, needed(contract, "records")).form
    (chunk,) = read_chunks(path, form)
    assert chunk.row_numbers == list(range(1, len(FILES[name]) + 1))
    first = FILES[name][0].replace(";", " ").replace(",", " ").split()
    assert contract.records.header == tuple(f"column{place}" for place in range(1, len(first) + 1))
    assert [values[0].strip() for values in chunk.columns.values()] == first


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("header", NAMED)
def test_a_row_of_names_is_none_of_values(tmp_path, name, header):
    sign = next(one for one in (";", ", ", ",", "   ", " ") if one in FILES[name][0])
    width = len([part for part in FILES[name][0].split(sign) if part])
    names = [*header.split(","), "more"][:width]
    assert not begins_with_values(landed(tmp_path, [sign.join(names), *FILES[name]]))


DOUBTFUL = {
    "letters alone": rows_of(*[one_of(*"abcd")] * 6),
    "years above numbers": ["2019,2020,2021", *rows_of(*[one_of(3, 7, 9, 12)] * 3)],
}


@pytest.mark.parametrize("name", DOUBTFUL)
def test_where_nothing_tells_a_person_is_asked_and_either_answer_holds(tmp_path, name):
    path = landed(tmp_path, DOUBTFUL[name])
    with pytest.raises(UsageError, match="begins with what looks like values .*--no-header .*--header"):
        draft([path], name="made", target="column2", folder=tmp_path)

    without = draft([path], name="made", target="column2", folder=tmp_path, header=False)
    assert without.checked.rows == len(DOUBTFUL[name])
    named = describe(path).header[1]
    assert (
        draft([path], name="made", target=named, folder=tmp_path, header=True).checked.rows == without.checked.rows - 1
    )


def test_names_that_a_person_gives_in_the_contract_are_those_of_the_places(tmp_path):
    path = landed(tmp_path, [*FILES["flowers"], "1.5,2.5"])
    form = describe(path, ["length", "width", "kind"])
    (chunk,) = read_chunks(path, form)
    assert list(chunk.columns) == ["length", "width", "kind"]
    assert [(row.row_number, row.reason) for row in chunk.bad] == [(121, "found 2 fields, needed 3")]
