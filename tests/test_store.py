"""Results: a folder holds a whole result, or what was there before."""

import errno
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
import xarray

from vht.cohort import store
from vht.cohort.store import MARKER, check_output, new_result
from vht.errors import StudyError


def write(path, text="one", **settings):
    with new_result(path, **settings) as folder:
        (folder / "a.txt").write_text(text)
        (folder / "sub").mkdir()
        (folder / "sub" / "b.txt").write_text(text)


def everything(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


class TestWhole:
    def test_it_is_there_when_the_block_ends(self, tmp_path):
        path = tmp_path / "new" / "result"
        with new_result(path) as folder:
            (folder / "a.txt").write_text("one")
            assert not path.exists()
        assert everything(tmp_path) == ["new", "new/result", f"new/result/{MARKER}", "new/result/a.txt"]

    def test_an_empty_folder_may_be_used(self, tmp_path):
        (tmp_path / "r").mkdir()
        write(tmp_path / "r")
        assert (tmp_path / "r" / "a.txt").exists()

    @pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), SystemExit(143)])
    def test_nothing_is_left_after_an_error(self, tmp_path, error):
        with pytest.raises(type(error)), new_result(tmp_path / "deep" / "er" / "r") as folder:
            (folder / "a.txt").write_text("half")
            raise error
        assert everything(tmp_path) == []

    def test_the_earlier_result_stays_after_an_error(self, tmp_path):
        write(tmp_path / "r", "one")
        before = everything(tmp_path)
        with pytest.raises(ValueError), new_result(tmp_path / "r", overwrite=True) as folder:
            (folder / "a.txt").write_text("half")
            raise ValueError
        assert everything(tmp_path) == before and (tmp_path / "r" / "a.txt").read_text() == "one"

    def test_the_earlier_result_stays_if_the_renaming_fails(self, tmp_path, monkeypatch):
        write(tmp_path / "r", "one")
        before = everything(tmp_path / "r")
        rename = os.rename

        def fails(source, target, **more):
            if str(target) == str(tmp_path / "r") and not str(source).endswith(".old"):
                raise OSError(errno.EIO, "Input/output error")
            return rename(source, target, **more)

        monkeypatch.setattr(os, "rename", fails)
        with pytest.raises(StudyError, match=r"Input/output error\. The new result is in .*r-2\."):
            write(tmp_path / "r", "two", overwrite=True)
        assert everything(tmp_path / "r") == before and (tmp_path / "r" / "a.txt").read_text() == "one"
        assert everything(tmp_path / "r-2") == before and (tmp_path / "r-2" / "a.txt").read_text() == "two"

    def test_a_full_disk(self, tmp_path):
        message = r"No space left.*Free some space.*Nothing was left"
        with pytest.raises(StudyError, match=message) as caught, new_result(tmp_path / "r"):
            raise OSError(errno.ENOSPC, "No space left on device")
        assert isinstance(caught.value.__cause__, OSError)
        assert everything(tmp_path) == []


class TestOverwrite:
    def test_refused(self, tmp_path):
        write(tmp_path / "r", "one")
        with pytest.raises(StudyError, match=r"earlier result.*--overwrite"):
            check_output(tmp_path / "r")
        with pytest.raises(StudyError):
            write(tmp_path / "r", "two")
        assert (tmp_path / "r" / "a.txt").read_text() == "one"

    def test_replaced(self, tmp_path):
        write(tmp_path / "r", "one")
        with new_result(tmp_path / "r", overwrite=True) as folder:
            assert (tmp_path / "r" / "a.txt").read_text() == "one"
            (folder / "c.txt").write_text("two")
        assert everything(tmp_path) == ["r", f"r/{MARKER}", "r/c.txt"]

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_a_folder_that_is_not_ours(self, tmp_path, overwrite):
        (tmp_path / "r").mkdir()
        (tmp_path / "r" / "thesis.tex").write_text("years of work")
        with pytest.raises(StudyError, match=r"no result of vht.*thesis\.tex"):
            write(tmp_path / "r", overwrite=overwrite)
        assert everything(tmp_path) == ["r", "r/thesis.tex"]

    def test_a_file_of_the_user_in_a_result(self, tmp_path):
        write(tmp_path / "r", "one")
        (tmp_path / "r" / "notes.txt").write_text("mine")
        with pytest.raises(StudyError, match=r"notes\.txt"):
            write(tmp_path / "r", "two", overwrite=True)
        assert (tmp_path / "r" / "notes.txt").read_text() == "mine"

    def test_a_file_of_the_user_further_down(self, tmp_path):
        write(tmp_path / "r", "one")
        (tmp_path / "r" / "sub" / "remarks.txt").write_text("mine")
        with pytest.raises(StudyError, match=r"`sub/remarks\.txt`, which vht did not write"):
            write(tmp_path / "r", "two", overwrite=True)
        assert (tmp_path / "r" / "sub" / "remarks.txt").read_text() == "mine"

    def test_the_marker_of_an_earlier_version(self, tmp_path):
        write(tmp_path / "r", "one")
        (tmp_path / "r" / MARKER).write_text('{"files": ["a.txt", "sub"]}')
        write(tmp_path / "r", "two", overwrite=True)
        assert (tmp_path / "r" / "sub" / "b.txt").read_text() == "two"

    def test_a_damaged_marker_is_no_licence(self, tmp_path):
        write(tmp_path / "r", "one")
        (tmp_path / "r" / MARKER).write_text("{")
        with pytest.raises(StudyError, match="did not write"):
            write(tmp_path / "r", "two", overwrite=True)

    def test_a_file(self, tmp_path):
        (tmp_path / "r").write_text("x")
        with pytest.raises(StudyError, match="is a file"):
            check_output(tmp_path / "r", overwrite=True)
        with pytest.raises(StudyError, match="is a file"):
            check_output(tmp_path / "r" / "below")

    def test_below_a_folder_that_is_shut(self, shut):
        with pytest.raises(StudyError, match=r"r cannot be written: Permission denied\."):
            check_output(shut / "above" / "r")

    def test_through_a_link(self, tmp_path):
        write(tmp_path / "real", "one")
        (tmp_path / "link").symlink_to(tmp_path / "real")
        write(tmp_path / "link", "two", overwrite=True)
        assert (tmp_path / "link").is_symlink() and (tmp_path / "real" / "a.txt").read_text() == "two"


class TestMeanwhile:
    """What others write to the place while a result is made stays, and the result is kept under another name."""

    def test_another_result(self, tmp_path):
        message = r"r holds an earlier result.*--overwrite.*The new result is in .*r-2\."
        with pytest.raises(StudyError, match=message), new_result(tmp_path / "r") as folder:
            (folder / "a.txt").write_text("slow")
            write(tmp_path / "r", "quick")
        assert (tmp_path / "r" / "a.txt").read_text() == "quick" and (tmp_path / "r-2" / "a.txt").read_text() == "slow"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["r", "r-2"]
        write(tmp_path / "r-2", "again", overwrite=True)

    def test_a_file_in_the_empty_folder(self, tmp_path):
        (tmp_path / "r").mkdir()
        message = r"no result of vht.*`notes\.txt`.*The new result is in .*r-2\."
        with pytest.raises(StudyError, match=message), new_result(tmp_path / "r") as folder:
            (folder / "a.txt").write_text("one")
            (tmp_path / "r" / "notes.txt").write_text("mine")
        assert everything(tmp_path / "r") == ["notes.txt", "r-2", f"r-2/{MARKER}", "r-2/a.txt"]

    def test_a_file_in_the_earlier_result(self, tmp_path):
        write(tmp_path / "r", "one")
        before = everything(tmp_path / "r")
        with (
            pytest.raises(StudyError, match=r"`notes\.txt`.*did not write"),
            new_result(tmp_path / "r", overwrite=True) as folder,
        ):
            (folder / "a.txt").write_text("two")
            (tmp_path / "r" / "notes.txt").write_text("mine")
        assert everything(tmp_path / "r") == sorted([*before, "notes.txt"])
        assert everything(tmp_path / "r-2") == [MARKER, "a.txt"]


# a file system of its own in `r`, in a process that alone sees it
MOUNTED = """
import pathlib, sys
from vht.cohort.store import new_result
for text in ("one", "two"):
    with new_result("r", overwrite=True) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "a.txt").write_text(text)
    print(*sorted(str(path) for path in pathlib.Path("r").rglob("*")), pathlib.Path("r/sub/a.txt").read_text())
"""


class TestFolderThatStays:
    def test_the_working_directory(self, tmp_path, monkeypatch):
        path = tmp_path / "r"
        path.mkdir()
        monkeypatch.chdir(path)
        for text in ("one", "two"):
            write(".", text, overwrite=True)
            assert everything(pathlib.Path(".")) == everything(path) == [MARKER, "a.txt", "sub", "sub/b.txt"]
            assert (path / "sub" / "b.txt").read_text() == text and os.listdir(tmp_path) == ["r"]

    def test_an_error_while_entries_are_moved(self, tmp_path, monkeypatch):
        path = tmp_path / "r"
        write(path, "one")
        monkeypatch.chdir(path)
        before, rename = everything(path), os.rename

        def fails(source, target, **more):
            if pathlib.Path(target) == path / "a.txt" and not pathlib.Path(source).parent.name.endswith(".old"):
                raise OSError(errno.EIO, "Input/output error")
            return rename(source, target, **more)

        monkeypatch.setattr(os, "rename", fails)
        with pytest.raises(StudyError, match=r"Input/output error\. The new result is in .*r-2\."):
            write(path, "two", overwrite=True)
        assert (path / "a.txt").read_text() == (path / "sub" / "b.txt").read_text() == "one"
        assert everything(path) == sorted([*before, "r-2", *(f"r-2/{name}" for name in before)])

    def test_it_is_empty_again_after_an_error(self, tmp_path):
        (tmp_path / "r").mkdir()
        folder = (tmp_path / "r").stat().st_ino
        with pytest.raises(ValueError), new_result(tmp_path / "r") as new:
            assert new.parent == tmp_path / "r"
            raise ValueError
        assert everything(tmp_path) == ["r"] and (tmp_path / "r").stat().st_ino == folder

    def test_a_mount_point(self, tmp_path):
        (tmp_path / "r").mkdir()
        alone = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
        mount = "mount -t tmpfs none r"
        try:
            subprocess.run([*alone, mount], cwd=tmp_path, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("nothing may be mounted here")
        command = [*alone, f'{mount} && exec "$0" -c "$1"', sys.executable, MOUNTED]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.stdout.splitlines() == [f"r/{MARKER} r/sub r/sub/a.txt {text}" for text in ("one", "two")], (
            done.stderr
        )


class TestFiles:
    def test_a_table_in_both_forms(self, tmp_path):
        import pyarrow as pa

        table = pa.table({"twin": ["a,b", 'c"d'], "estimate": pa.array([1 / 3, None]), "n": [1, 2]})
        store.write_table(tmp_path / "t", table)
        assert pyarrow.parquet.read_table(tmp_path / "t.parquet").equals(table)
        assert pyarrow.csv.read_csv(tmp_path / "t.csv").equals(table)

    def test_plain_csv_where_nothing_needs_quotes(self, tmp_path):
        import pyarrow as pa

        store.write_table(
            tmp_path / "t", pa.table({"twin": ["a"], "unit": ["mL/(uU*min)"], "x": pa.array([None], pa.float64())})
        )
        assert (tmp_path / "t.csv").read_text() == "twin,unit,x\na,mL/(uU*min),\n"

    def test_a_dataset(self, tmp_path):
        names = np.array(["one", "Åsa"])
        data = xarray.Dataset(
            {"p": (("twin", "time"), np.eye(2, 3), {"units": "mmHg"})}, {"twin": names, "time": [0.0, 1.0, 2.0]}
        )
        store.write_dataset(tmp_path / "d.zarr", data)
        with xarray.open_zarr(tmp_path / "d.zarr") as found:
            assert found["twin"].values.tolist() == ["one", "Åsa"]
            assert found["p"].attrs["units"] == "mmHg"
            np.testing.assert_array_equal(found["p"], np.eye(2, 3))

    def test_versions(self):
        assert {"python", "vht", "jax", "numpy"} <= set(store.versions())

    def test_settings_are_json_whatever_they_hold(self):
        document = {"a": float("inf"), "b": [np.float64(1.5), np.int64(2)], "c": {"d": float("nan")}}
        assert json.loads(json.dumps(store._finite(document), allow_nan=False)) == {
            "a": "inf",
            "b": [1.5, 2],
            "c": {"d": "nan"},
        }
