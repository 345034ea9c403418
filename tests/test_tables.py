"""Tables: numbers in the model's units, and everything that is wrong, told at once and where."""

import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from vht.cohort.tables import TableFiles, read_cohort
from vht.errors import DataError
from vht.organs import organ

HEADER = "twin,time [h],observable,value,unit\n"
GOOD = HEADER + "1,0,c,1.5,mg/L\n1,1,c,2.5,mg/L\n"


@pytest.fixture
def read(tmp_path):
    def run(model="oral_drug", observables=None, since=None, interpolation=None, **tables):
        files = {}
        for name, content in tables.items():
            path = content if isinstance(content, pathlib.Path) else tmp_path / f"{name}.csv"
            if isinstance(content, str):
                path.write_text(content, "utf-8", newline="")
            elif isinstance(content, bytes):
                path.write_bytes(content)
            files[name] = path
        units = {"c": "mg/L"} if observables is None else observables
        return read_cohort(
            organ(model), TableFiles(**files), observables=units, since=since, interpolation=interpolation
        )

    return run


@pytest.fixture
def problems(read):
    """(row, column, message) of everything that is wrong."""

    def run(**arguments):
        with pytest.raises(DataError) as caught:
            read(**arguments)
        assert caught.value.problems
        return [(p.row, p.column, p.message) for p in caught.value.problems]

    return run


def only(found):
    assert len(found) == 1, found
    return found[0]


class TestUnits:
    def test_every_number_is_converted(self, read):
        data = read(
            measurements="twin,time [min],observable,value,unit,sd\nb,30,c,2,ug/mL,\nb,90,c,3,g/L,20\na,60,c,4,mg/L,0.5\n"
        )
        m = data.measurements
        assert data.twins == ("b", "a")
        np.testing.assert_array_equal(m.twin, [0, 0, 1])
        np.testing.assert_allclose(m.time, [0.5, 1.5, 1.0], rtol=1e-15)
        np.testing.assert_allclose(m.value, [2.0, 3000.0, 4.0], rtol=1e-15)
        np.testing.assert_allclose(m.sd, [np.nan, 20000.0, 0.5], rtol=1e-15)

    def test_equal_times_in_other_units_are_equal_numbers(self, read):
        # products with 1/60 and 24 are not: 414 min would be a time before 6.9 h
        def times(unit, numbers, other, others):
            measured = HEADER.replace("[h]", f"[{unit}]") + "".join(f"1,{n},c,1,mg/L\n" for n in numbers)
            schedule = f"twin,time [{other}],input,amount,unit\n" + "".join(f"1,{n},dose,1,mg\n" for n in others)
            data = read(measurements=measured, schedule=schedule)
            return data.measurements.time, data.schedule.doses["dose"].time[0]

        np.testing.assert_array_equal(*times("h", [n / 20 for n in range(2000)], "min", range(0, 6000, 3)))
        tenths = range(300)
        np.testing.assert_array_equal(*times("day", [n / 10 for n in tenths], "h", [24 * n / 10 for n in tenths]))
        np.testing.assert_array_equal(*times("s", range(0, 900, 3), "min", [n / 20 for n in tenths]))
        np.testing.assert_array_equal(*times("h", [n / 3 for n in tenths], "min", range(0, 6000, 20)))

    def test_units_in_headers(self, read):
        m = read(measurements="twin,time [day],observable,value [g/L],sd [mg/L]\n1,1,c,0.5,3\n").measurements
        assert (m.time[0], m.value[0], m.sd[0]) == (24.0, 500.0, 3.0)

    def test_units_of_time_in_a_column(self, read):
        m = read(
            measurements="twin,time,time_unit,observable,value,unit\n1,30,min,c,1,mg/L\n1,2,h,c,1,mg/L\n"
        ).measurements
        np.testing.assert_allclose(m.time, [0.5, 2.0], rtol=1e-15)

    def test_numbers_already_in_the_models_unit_are_untouched(self, read):
        values = [0.1, 1 / 3, 2.84, 1e-300, 123456789.123456789]
        rows = "".join(f"1,{i},c,{v!r},mg/L\n" for i, v in enumerate(values))
        np.testing.assert_array_equal(read(measurements=HEADER + rows).measurements.value, values)

    def test_doses_have_the_unit_of_an_amount(self, read):
        schedule = "twin,time [h],input,amount,unit,duration [min]\n1,0,dose,1,g,\n1,1,dose,20,mg,30\n"
        doses = read(measurements=GOOD, schedule=schedule).schedule.doses["dose"]
        np.testing.assert_allclose(doses.time, [[0.0, 1.0]])
        np.testing.assert_allclose(doses.amount, [[1000.0, 20.0]], rtol=1e-15)
        np.testing.assert_allclose(doses.duration, [[0.0, 0.5]], rtol=1e-15)

    def test_a_duration_without_a_unit_has_that_of_time(self, read):
        schedule = "twin,time,time_unit,input,amount,unit,duration\n1,0,min,dose,1,mg,90\n"
        assert read(measurements=GOOD, schedule=schedule).schedule.doses["dose"].duration[0, 0] == 1.5

    def test_unknown_unit(self, problems):
        row, column, message = only(problems(measurements=HEADER + "1,0,c,1,mgg/L\n"))
        assert (row, column) == (2, "unit")
        assert "`mgg/L` is unknown" in message and "Did you mean `mg/L`?" in message

    def test_mass_given_for_a_pressure_names_both(self, problems):
        row, column, message = only(
            problems(model="circulation", observables={"p": "mmHg"}, measurements=HEADER + "1,0,p,1,mmHg\n1,1,p,2,kg\n")
        )
        assert (row, column) == (3, "unit")
        assert "`kg` (mass)" in message and "`mmHg` (pressure)" in message

    def test_a_wrong_unit_of_many_rows_is_told_once(self, problems):
        rows = "".join(f"1,{i},c,1,kg\n" for i in range(1000))
        row, _, message = only(problems(measurements=HEADER + rows))
        assert row == 2 and "999 more rows" in message

    def test_wrong_unit_in_a_header(self, problems):
        row, column, message = only(problems(measurements="twin,time [mg],observable,value,unit\n1,0,c,1,mg/L\n"))
        assert (row, column) == (None, "time [mg]") and "(time)" in message

    @pytest.mark.parametrize("column", ["time", "value"])
    def test_no_unit_at_all(self, problems, column):
        header = {
            "time": "twin,time,observable,value,unit\n1,0,c,1,mg/L",
            "value": "twin,time [h],observable,value\n1,0,c,1",
        }
        _, named, message = only(problems(measurements=header[column]))
        assert named == column and "There is no unit" in message

    def test_a_unit_given_twice(self, problems):
        _, column, message = only(problems(measurements="twin,time [h],observable,value [mg/L],unit\n1,0,c,1,mg/L\n"))
        assert column == "unit" and "given twice" in message

    def test_amounts_say_the_unit_of_an_amount(self, problems):
        schedule = "twin,time [h],input,amount,unit\n1,0,dose,1,mg/h\n"
        _, _, message = only(problems(measurements=GOOD, schedule=schedule))
        assert "to `mg` (mass)" in message


class TestCells:
    @pytest.mark.parametrize("cell", ["x", "nan", "NaN", "inf", "-inf", "NA", "1e999", "0x10", "1_000", "--", "True"])
    def test_a_cell_that_is_no_number(self, problems, cell):
        row, column, message = only(problems(measurements=GOOD + f"1,2,c,{cell},mg/L\n"))
        assert (row, column) == (4, "value") and f"`{cell}`" in message

    @pytest.mark.parametrize("cell", ["1", "+1", "1.", ".5", "-2.5e-3", "1E5", " 7 "])
    def test_a_cell_that_is_one(self, read, cell):
        assert read(measurements=HEADER + f"1,0,c,{cell},mg/L\n").measurements.value[0] == float(cell)

    def test_decimal_comma(self, problems):
        _, _, message = only(problems(measurements=GOOD + '1,2,c,"3,5",mg/L\n'))
        assert "decimals are written with a point" in message

    @pytest.mark.parametrize("column", range(5))
    def test_an_empty_cell(self, problems, column):
        cells = ["1", "2", "c", "3", "mg/L"]
        cells[column] = " "
        row, named, message = only(problems(measurements=GOOD + ",".join(cells) + "\n"))
        assert row == 4 and named == HEADER.strip().split(",")[column] and "empty" in message

    def test_negative_time(self, problems):
        row, column, message = only(problems(measurements=GOOD + "1,-0.5,c,1,mg/L\n"))
        assert (row, column) == (4, "time [h]") and "-0.5" in message

    @pytest.mark.parametrize("sd", ["0", "-1"])
    def test_sd_that_is_not_positive(self, problems, sd):
        found = problems(measurements=f"twin,time [h],observable,value,unit,sd\n1,0,c,1,mg/L,{sd}\n")
        assert only(found)[:2] == (2, "sd")

    def test_negative_duration(self, problems):
        schedule = "twin,time [h],input,amount,unit,duration\n1,0,dose,1,mg,-1\n"
        assert only(problems(measurements=GOOD, schedule=schedule))[:2] == (2, "duration")

    def test_duplicate(self, problems):
        row, _, message = only(problems(measurements=GOOD + "2,0,c,1,mg/L\n1,0,c,9,g/L\n"))
        assert row == 5 and "same twin, time and observable as row 2" in message

    def test_replicates_are_no_duplicates(self, read, problems):
        header = HEADER.strip() + ",replicate\n"
        data = read(measurements=header + "1,0,c,1,mg/L,1\n1,0,c,1,mg/L,2\n1,0,c,3,mg/L,3\n")
        assert data.measurements.value.tolist() == [1.0, 1.0, 3.0]
        row, _, message = only(problems(measurements=header + "1,0,c,1,mg/L,1\n1,0,c,2,mg/L,1\n"))
        assert row == 3 and "number them in a column `replicate`" in message

    def test_a_bolus_and_infusions_may_begin_together(self, read, problems):
        header = "twin,time [h],input,amount,unit,duration [h]\n"
        rows = "1,2,dose,100,mg,\n1,2,dose,50,mg,3\n1,2,dose,50,mg,5\n"
        doses = read(measurements=GOOD, schedule=header + rows).schedule.doses["dose"]
        assert doses.time.tolist() == [[2.0, 2.0, 2.0]] and doses.amount.tolist() == [[100.0, 50.0, 50.0]]
        assert doses.duration.tolist() == [[0.0, 3.0, 5.0]]
        row, _, message = only(problems(measurements=GOOD, schedule=header + rows + "1,2,dose,1,mg,0\n"))
        assert row == 5 and "as row 2" in message

    def test_a_linear_input_may_jump(self, read, problems):
        header, rows = "time [min],input,value,unit\n", "0,insulin,5,uU/mL\n4,insulin,6,uU/mL\n4,insulin,9,uU/mL\n"
        given = {"model": "minimal_glucose", "measurements": GOOD, "signals": header + rows}
        signal = read(**given).schedule.signals["insulin"]
        assert signal.time.tolist() == [0.0, 4.0, 4.0] and signal.value.tolist() == [5.0, 6.0, 9.0]
        assert only(problems(**given, interpolation={"insulin": "hold"}))[0] == 4
        given["signals"] += "4,insulin,1,uU/mL\n"
        row, _, message = only(problems(**given))
        assert row == 5 and "as row 3" in message

    def test_duplicates_across_units_of_time(self, problems):
        table = "twin,time,time_unit,observable,value,unit\n1,1,h,c,1,mg/L\n1,60,min,c,1,mg/L\n"
        assert only(problems(measurements=table))[0] == 3

    def test_three_alike_are_two_problems(self, problems):
        found = problems(measurements=GOOD + "1,1,c,1,mg/L\n1,1,c,1,mg/L\n")
        assert [(row, "row 3" in message) for row, _, message in found] == [(4, True), (5, True)]

    def test_unknown_observable(self, problems):
        arguments = {"observables": {"concentration": "mg/L"}}
        row, column, message = only(problems(measurements=HEADER + "1,0,concentratoin,1,mg/L\n", **arguments))
        assert (row, column) == (2, "observable") and "Did you mean `concentration`?" in message

    def test_unknown_input(self, problems):
        schedule = "twin,time [h],input,amount,unit\n1,0,dsoe,1,mg\n"
        row, column, message = only(problems(measurements=GOOD, schedule=schedule))
        assert (row, column) == (2, "input") and "Did you mean `dose`?" in message


class TestFiles:
    def test_everything_at_once(self, problems):
        found = problems(
            measurements=HEADER + "1,0,c,1,mg/L\n1,-1,c,x,mg/L\n1,0,c,1,mmHg\n2,0,d,1,mg/L\n",
            schedule="twin,time [h],input,amount,unit\n1,0,dose,,mg\n3,0,dose,1,mg\n",
        )
        assert [(row, column) for row, column, _ in found] == [
            (3, "time [h]"),
            (3, "value"),
            (4, "unit"),
            (4, None),
            (5, "observable"),
            (None, "twin"),
            (2, "amount"),
            (3, "twin"),
        ]

    def test_at_most_twenty_are_printed(self, read):
        with pytest.raises(DataError) as caught:
            read(measurements=HEADER + "".join(f"1,{i},c,x,mg/L\n" for i in range(500)))
        lines = str(caught.value).splitlines()
        assert len(caught.value.problems) == 500 and len(lines) == 22
        assert lines[0].startswith("500 problems in") and lines[-1].strip() == "... and 480 more"

    def test_lines_are_counted_as_an_editor_does(self, problems):
        table = '\n"twin",time [h],observable,value,unit\n\n"one\ntwo",0,c,1,mg/L\n,,,,\n1,1,c,x,mg/L\n'
        assert only(problems(measurements=table))[:2] == (7, "value")

    @pytest.mark.parametrize("end", ["\n", "\r\n"])
    def test_line_ends_and_blank_rows(self, read, end):
        table = GOOD.replace("\n", end) + end + ",,,," + end
        assert len(read(measurements=table).measurements) == 2

    def test_byte_order_mark(self, read):
        assert len(read(measurements=b"\xef\xbb\xbf" + GOOD.encode()).measurements) == 2

    def test_names_beyond_ascii(self, read):
        assert read(measurements=GOOD.replace("1,0,c", "Åsa,0,c")).twins == ("Åsa", "1")

    def test_not_utf8(self, problems):
        row, _, message = only(problems(measurements=GOOD.encode() + "Åsa,0,c,1,mg/L\n".encode("latin-1")))
        assert row == 4 and "UTF-8" in message

    @pytest.mark.parametrize("mark,word", [(";", "semicolons"), ("\t", "tabs")])
    def test_other_separators(self, problems, mark, word):
        assert word in only(problems(measurements=GOOD.replace(",", mark)))[2]

    def test_a_row_of_another_length(self, problems):
        row, _, message = only(problems(measurements=GOOD + "1,2,c,1\n"))
        assert row == 4 and "4 cells" in message and "5" in message

    def test_no_file(self, problems, tmp_path):
        assert "no such file" in only(problems(measurements=tmp_path / "nothing.csv"))[2]

    def test_a_file_that_may_not_be_looked_at(self, problems, shut):
        message = only(problems(measurements=shut / "measurements.csv"))[2]
        assert message == "The file cannot be read: Permission denied."

    def test_a_folder(self, problems, tmp_path):
        assert "folder" in only(problems(measurements=tmp_path))[2]

    @pytest.mark.parametrize("content", ["", "\n\n", HEADER, HEADER + "\n,,,,\n"])
    def test_empty(self, problems, content):
        assert "empty" in only(problems(measurements=content))[2]

    def test_missing_column(self, problems):
        found = problems(measurements="twin,time [h],observable,valeu,unit\n1,0,c,1,mg/L\n")
        assert [column for _, column, _ in found] == ["value", "valeu"]
        assert "Is it `valeu`?" in found[0][2] and "Did you mean `value`?" in found[1][2]

    def test_unknown_column(self, problems):
        _, column, message = only(problems(measurements="twin,time [h],observable,value,unit,ds\n1,0,c,1,mg/L,1\n"))
        assert column == "ds" and "`sd`" in message

    def test_a_column_to_pass_over(self, read):
        assert len(read(measurements="twin,time [h],observable,value,unit,_note\n1,0,c,1,mg/L,x\n").measurements) == 1

    def test_a_column_twice(self, problems):
        _, column, message = only(problems(measurements="twin,time [h],observable,value,value,unit\n1,0,c,1,1,mg/L\n"))
        assert column == "value" and "twice" in message


class TestTwins:
    SCHEDULE = "twin,time [h],input,amount,unit\n"

    def test_a_twin_in_the_schedule_without_measurements(self, problems):
        row, column, message = only(
            problems(measurements=GOOD, schedule=self.SCHEDULE + "1,0,dose,1,mg\n7,0,dose,1,mg\n")
        )
        assert (row, column) == (3, "twin") and "`7`" in message

    def test_a_twin_without_a_schedule(self, problems):
        measured = GOOD + "2,0,c,1,mg/L\n"
        row, column, message = only(problems(measurements=measured, schedule=self.SCHEDULE + "1,0,dose,1,mg\n"))
        assert (row, column) == (None, "twin") and "`2`" in message and "amount of 0" in message

    def test_schedules_are_padded_and_in_order(self, read):
        measured = GOOD + "2,0,c,1,mg/L\n"
        schedule = self.SCHEDULE + "2,5,dose,1,mg\n1,0,dose,2,mg\n2,3,dose,3,mg\n"
        doses = read(measurements=measured, schedule=schedule).schedule.doses["dose"]
        np.testing.assert_array_equal(doses.time, [[0.0, np.inf], [3.0, 5.0]])
        np.testing.assert_array_equal(doses.amount, [[2.0, 0.0], [3.0, 1.0]])
        assert doses.duration is None

    def test_a_schedule_for_everyone(self, read):
        doses = read(measurements=GOOD, schedule="time [h],input,amount,unit\n8,dose,1,g\n0,dose,2,g\n").schedule.doses[
            "dose"
        ]
        np.testing.assert_array_equal(doses.time, [0.0, 8.0])
        np.testing.assert_array_equal(doses.amount, [2000.0, 1000.0])

    def test_twin_misspelt_is_not_a_schedule_for_everyone(self, problems):
        found = problems(measurements=GOOD, schedule="twn,time [h],input,amount,unit\n1,0,dose,1,g\n")
        assert [column for _, column, _ in found] == ["twin", "twn"]

    def test_signals(self, read):
        data = read(
            model="minimal_glucose",
            observables={"c": "mg/dL"},
            measurements="twin,time [min],observable,value,unit\n1,0,c,1,g/L\n",
            signals="twin,time [h],input,value,unit\n1,1,insulin,2,mU/L\n1,0,insulin,3,uU/mL\n",
            interpolation={"insulin": "hold"},
        )
        signal = data.schedule.signals["insulin"]
        np.testing.assert_allclose(signal.time, [[0.0, 60.0]])
        np.testing.assert_allclose(signal.value, [[3.0, 2.0]])
        assert signal.interpolation == "hold" and data.measurements.value[0] == pytest.approx(100.0)

    def test_covariates_in_the_order_of_the_twins(self, read):
        measured = GOOD + "2,0,c,1,mg/L\n"
        data = read(measurements=measured, covariates="twin,V [mL],initial.gut [g],F\n2,12000,2,1\n1,32000,1,0.5\n")
        assert data.twins == ("1", "2")
        np.testing.assert_allclose(data.columns["V"], [32.0, 12.0])
        np.testing.assert_allclose(data.columns["F"], [0.5, 1.0])
        np.testing.assert_allclose(data.initial["gut"], [1000.0, 2000.0])

    @pytest.mark.parametrize(
        "table,column,word",
        [
            ("twin,V\n1,3\n", "V", "header must say the unit"),
            ("twin,W [L]\n1,3\n", "W [L]", "unknown"),
            ("twin,V [kg]\n1,3\n", "V [kg]", "(mass)"),
            ("twin,V [L]\n1,3\n1,4\n", "twin", "in row 2 already"),
            ("twin,V [L]\n1,x\n", "V [L]", "`x`"),
            ("twin,V [L]\n1,3\n9,3\n", "twin", "`9`"),
        ],
    )
    def test_covariates_that_are_wrong(self, problems, table, column, word):
        _, named, message = only(problems(measurements=GOOD, covariates=table))
        assert named == column and word in message

    def test_since_leaves_measurements_out(self, read):
        data = read(measurements=GOOD, since={"c": 0.5})
        np.testing.assert_array_equal(data.measurements.time, [1.0])


class TestParquet:
    def write(self, path, **columns):
        pyarrow.parquet.write_table(pa.table(columns), path)
        return path

    def test_same_as_csv(self, read, tmp_path):
        path = self.write(
            tmp_path / "m.parquet",
            **{
                "twin": [1, 1, 2],
                "time [h]": [0, 1, 2],
                "observable": pa.array(["c", "c", "c"]).dictionary_encode(),
                "value": [1.5, 2.5, 3.5],
                "unit": pa.array(["mg/L", "g/L", "mg/L"], pa.large_string()),
                "sd": pa.array([None, 0.1, None], pa.float64()),
            },
        )
        data = read(measurements=path)
        assert data.twins == ("1", "2")
        np.testing.assert_array_equal(data.measurements.value, [1.5, 2500.0, 3.5])
        np.testing.assert_array_equal(data.measurements.sd, [np.nan, 100.0, np.nan])

    def test_rows_are_numbered_from_one(self, problems, tmp_path):
        columns = {"twin": ["1", None], "time [h]": [0.0, 1.0], "observable": ["c", "c"], "value": [1.0, float("nan")]}
        path = self.write(tmp_path / "m.parquet", **columns, unit=["mg/L", "mg/L"])
        assert [found[:2] for found in problems(measurements=path)] == [(2, "twin"), (2, "value")]

    def test_a_column_without_anything_in_it(self, read, tmp_path):
        columns = {"twin": ["1"], "time [h]": [0.0], "observable": ["c"], "value [mg/L]": [1.0], "sd": pa.nulls(1)}
        assert np.isnan(read(measurements=self.write(tmp_path / "m.parquet", **columns)).measurements.sd).all()

    def test_columns_that_hold_something_else(self, problems, tmp_path):
        columns = {"twin": [["1"]], "time [h]": [0.0], "observable": ["c"], "value [mg/L]": [1.0]}
        path = self.write(tmp_path / "m.parquet", **columns)
        assert only(problems(measurements=path))[1:] == (
            "twin",
            "The column must hold names, but holds list<element: string>.",
        )
        arrays = [pa.array(["1"]), pa.array([0.0]), pa.array(["c"]), pa.array([1.0]), pa.array([1.0])]
        names = ["twin", "time [h]", "observable", "value [mg/L]", "value [mg/L]"]
        pyarrow.parquet.write_table(pa.table(arrays, names=names), path)
        assert only(problems(measurements=path))[1:] == ("value [mg/L]", "A column is there twice.")

    def test_a_damaged_file(self, problems, tmp_path):
        path = tmp_path / "m.parquet"
        path.write_bytes(b"PAR1 and nothing else")
        assert "no Parquet file" in only(problems(measurements=path))[2]
