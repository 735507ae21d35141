"""The csv loader: columns by options, by a mapping file, by their usual names; and refusals."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trees import csv as tree

import options
from datasets.csv import CsvTable
from datasets.csv_columns import USUAL_FINDINGS, usual_findings
from datasets.split import Split
from registry import DATASETS


def read(root: Path, header: str, *lines: str, **fields: Any) -> Split:
    """The table of a folder with one csv file."""
    tree.write(root, lines, header)
    return CsvTable(**fields).table(root)


def test_loader_is_registered_and_keeps_what_is_not_its_own_to_itself() -> None:
    assert DATASETS.get("csv") is CsvTable
    assert CsvTable.terms == "restricted"


# Which column is what


@pytest.mark.parametrize(
    "header",
    ["path,patient_id,Edema", "Image Path,Patient ID,edema", "FILENAME,subject-id,EDEMA",
     "img,PatientID,Edema", "Image Index,Patient,Edema"],
)  # fmt: skip
def test_usual_names_are_understood(tmp_path: Path, header: str) -> None:
    table = read(tmp_path, header, "a.png,7,1")
    assert table.frame[["path", "patient_id", "image_id"]].to_numpy().tolist() == [
        ["a.png", "7", "a.png"]
    ]
    assert [name.casefold() for name in table.findings] == ["edema"]
    assert table.labels().tolist() == [[1]]


def test_columns_are_taken_from_options(tmp_path: Path) -> None:
    table = read(
        tmp_path,
        "bild,person,wasser,kennung,jahre,haus",
        *("a.png,7,1,x1,44,A", "b.png,8,0,x2,61,B"),
        **{"path": "bild", "patient": "person", "image": "kennung", "age": "jahre"},
        findings=("Edema=wasser",),
        attributes=("site=haus",),
    )
    assert table.frame["image_id"].tolist() == ["x1", "x2"]
    assert table.findings == ("Edema",) and table.attributes == ("site", "age_band")
    assert table.frame["site"].tolist() == ["A", "B"]
    assert table.frame["age_band"].tolist() == ["40-59", "60-79"]


def test_options_are_read_from_texts(tmp_path: Path) -> None:
    tree.write(tmp_path, ["a.png,7,1,0"], "file,person,wasser,luft")
    given = {"patient": "person", "findings": "Edema=wasser,luft"}
    loader = options.build(CsvTable, given, flag="--data", owner="csv")
    assert loader.table(tmp_path).findings == ("Edema", "luft")


def test_mapping_file_says_what_columns_and_values_mean(tmp_path: Path) -> None:
    (tmp_path / "mapping.yaml").write_text(
        "columns: {path: bild, patient: person, fold: teil}\n"
        "findings: {Edema: wasser}\n"
        "attributes: {sex: geschlecht, site: haus}\n"
        "values:\n"
        "  sex: {1: Female, 2: Male, 9: Unknown}\n"
        "  findings: {ja: 1, nein: 0, unklar: -1, n.b.: }\n"
        "  fold: {lernen: train, pruefen: test}\n"
    )
    table = read(
        tmp_path,
        "bild,person,wasser,geschlecht,haus,teil",
        *("a.png,1,ja,1,A,lernen", "b.png,2,NEIN,2.0,B,pruefen"),
        *("c.png,3,unklar,9,A,lernen", "d.png,4,n.b.,,A,"),
        mapping="mapping.yaml",
        uncertain=("ones",),
    )
    assert table.labels()[:3, 0].tolist() == [1, 0, 1] and np.isnan(table.labels()[3, 0])
    assert table.frame["sex"].tolist() == ["Female", "Male", "Unknown", "Unknown"]
    assert table.frame["fold"].tolist() == ["train", "test", "train", ""]
    assert table.attributes == ("sex", "site")


def test_mapping_file_may_lie_elsewhere_and_lists_keep_names(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    mapping = tmp_path / "m.yaml"
    mapping.write_text("findings: [wasser]\nfolder: scans\nfile: b.csv\n")
    tree.write(tmp_path / "data", ["a.png,1,1"], "path,patient,wasser", name="b.csv")
    tree.write(tmp_path / "data", ["z.png,1,1"], "path,patient,wasser", name="a.csv")
    table = CsvTable(mapping=str(mapping)).table(tmp_path / "data")
    assert table.findings == ("wasser",) and table.frame["path"].tolist() == ["scans/a.png"]


def test_mapping_file_may_explain_all_other_values_but_not_blanks(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text('values: {Edema: {wet: 1, "*": 0}}')
    lines = ["a,1,wet", "b,2,dry", "c,3,"]
    table = read(tmp_path, "path,patient,Edema", *lines, mapping="m.yaml")
    assert table.labels()[:2, 0].tolist() == [1, 0] and np.isnan(table.labels()[2, 0])


def test_options_go_before_the_mapping_file(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text("columns: {patient: id1}\nfindings: {Edema: e, Mass: m}\n")
    table = read(tmp_path, "path,id1,id2,e,m", "a.png,1,2,1,0", mapping="m.yaml", patient="id2",
                 findings=("Mass",))  # fmt: skip
    assert table.patients.tolist() == ["2"]
    assert table.findings == ("Mass",) and table.labels().tolist() == [[0]]


@pytest.mark.parametrize(
    ("field", "value"),
    [("path", "imge"), ("patient", "patiant_id"), ("age", "agee"), ("fold", "spilt")],
)
def test_wrong_column_is_answered_with_the_nearest(tmp_path: Path, field: str, value: str) -> None:
    with pytest.raises(ValueError, match=rf"column '{value}', but has none .* nearest: '"):
        read(tmp_path, "image,patient_id,age,split,Edema", "a,1,2,,1", **{field: value})


@pytest.mark.parametrize("field", ["findings", "attributes"])
def test_wrong_column_in_a_list_is_answered_with_the_nearest(tmp_path: Path, field: str) -> None:
    with pytest.raises(ValueError, match=r"'Oedema', but .* nearest: 'Edema'; its columns are: im"):
        read(tmp_path, "image,patient,Edema", "a,1,1", **{field: ("x=Oedema",)})


def test_table_without_patients_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a column of patients, .*--data patient=COLUMN.*=none"):
        read(tmp_path, "path,who,Edema", "a.png,1,1")


def test_images_may_be_said_to_be_of_different_patients(tmp_path: Path) -> None:
    table = read(tmp_path, "path,Edema", "a.png,1", "b.png,0", patient="none")
    assert table.patients.tolist() == ["a.png", "b.png"]
    assert table.notes == ("every image counts as a patient of its own",)


def test_patients_of_a_table_are_ignored_on_request_only(tmp_path: Path) -> None:
    table = read(tmp_path, "path,patient,Edema", "a.png,1,1", "b.png,1,0", patient="None")
    assert len(table.patients) == 2


def test_table_without_paths_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a column of image paths, .*\(bild, patient\).*path=COL"):
        read(tmp_path, "bild,patient", "a.png,1")


def test_table_without_known_findings_lists_columns_that_could_be(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"columns that hold labels: wasser, luft$"):
        read(tmp_path, "path,patient,wasser,luft,n", "a.png,1,1,0,3", "b.png,2,,1,4")


def test_columns_of_0_and_1_are_not_taken_for_findings_unasked(tmp_path: Path) -> None:
    table = read(tmp_path, "path,patient,Edema,smoker", "a.png,1,1,1")
    assert table.findings == ("Edema",)


def test_usual_findings_include_those_of_the_public_sets() -> None:
    header = ["Pleural_Thickening", "No Finding", "covid-19", "pleural effusion", "sex"]
    assert [*usual_findings(header)] == header[:4]
    assert len(set(USUAL_FINDINGS)) == len(USUAL_FINDINGS)


# The file


def test_two_tables_are_not_chosen_from(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv.gz"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"holds 2 \(a\.csv, b\.csv\.gz\); .*--data file=NAME"):
        CsvTable().table(tmp_path)


def test_list_of_persons_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "same_person.csv").write_text("patientid_a,patientid_b\n1,2\n")
    table = read(tmp_path, "path,patient,Edema", "a.png,1,1", "b.png,2,0", "c.png,3,0")
    assert table.frame["patient_id"].tolist() == ["1", "1", "3"]


def test_absent_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"x\.csv is not there"):
        CsvTable(file="x.csv").table(tmp_path)
    with pytest.raises(FileNotFoundError, match="holds none"):
        CsvTable().table(tmp_path)


def test_a_folder_or_a_spreadsheet_in_place_of_the_table_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "scans.csv").mkdir()
    with pytest.raises(FileNotFoundError, match=r"scans\.csv is a folder"):
        CsvTable(file="scans.csv").table(tmp_path)
    (tmp_path / "list.xlsx").write_bytes(b"PK")
    with pytest.raises(FileNotFoundError, match=r"holds none; save list\.xlsx as csv"):
        CsvTable().table(tmp_path)


def test_a_table_without_rows_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="but it has no rows"):
        read(tmp_path, "path,patient,Edema")


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_fields_may_be_parted_otherwise(tmp_path: Path, separator: str) -> None:
    lines = [line.replace(",", separator) for line in ("path,patient,Edema,note", "a,1,1,")]
    assert read(tmp_path, *lines).labels().tolist() == [[1]]


def test_compressed_table_is_read(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "list.csv.gz", "wt") as file:
        file.write("path;patient;Edema\na.png;1;1\n")
    assert CsvTable().table(tmp_path).patients.tolist() == ["1"]


def test_damaged_table_is_named(tmp_path: Path) -> None:
    (tmp_path / "list.csv.gz").write_bytes(b"no gzip at all")
    with pytest.raises(ValueError, match=r"list\.csv\.gz must be a csv file"):
        CsvTable().table(tmp_path)


def test_names_in_another_encoding_do_not_hinder(tmp_path: Path) -> None:
    data = "path,patient,Edema,Größe\na.png,1,1,groß\n".encode("cp1252")
    (tmp_path / "list.csv").write_bytes(data)
    assert CsvTable().table(tmp_path).labels().tolist() == [[1]]


# Labels


@pytest.mark.parametrize(
    ("text", "label"),
    [
        *[("1", 1), ("1.0", 1), ("True", 1), ("yes", 1), ("POSITIVE", 1), ("Y", 1)],
        *[("0", 0), ("0.0", 0), ("false", 0), ("No", 0), ("absent", 0)],
        *[("", np.nan), ("NaN", np.nan), ("n/a", np.nan), ("-1", np.nan), ("-1.0", np.nan)],
    ],
)
def test_words_of_labels(tmp_path: Path, text: str, label: float) -> None:
    table = read(tmp_path, "path,patient,Edema", f"a.png,1,{text}")
    assert table.labels()[0] == pytest.approx([label], nan_ok=True)


def test_uncertain_and_blank_labels_follow_their_policies(tmp_path: Path) -> None:
    lines = ["a.png,1,-1,-1", "b.png,2,,0"]
    table = read(tmp_path, "path,patient,Edema,Mass", *lines, blank="zero",
                 uncertain=("ones", "Mass=zeros"))  # fmt: skip
    assert table.labels().tolist() == [[1, 0], [0, 0]]


def test_word_that_is_no_label_names_row_and_value(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"column 'e' of .* row 2 \(line 3\) holds 'maybe'"):
        read(tmp_path, "path,patient,e", "a,1,1", "b,2,maybe", findings=("Edema=e",))


# Groups


def test_code_of_sex_is_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'Gender' .* M, F.* row 1 .* holds '1' \(2 such rows\)"):
        read(tmp_path, "path,patient,Gender,Edema", "a,1,1,1", "b,2,0,1")


def test_sex_is_spelled_out_and_others_are_unknown(tmp_path: Path) -> None:
    lines = [f"{i}.png,{i},{sex},1" for i, sex in enumerate(["M", "female", "O", "", "nan"])]
    table = read(tmp_path, "path,patient,Gender,Edema", *lines)
    assert table.frame["sex"].tolist() == ["Male", "Female", *["Unknown"] * 3]
    assert table.groups_of("sex") == ("Male", "Female", "Unknown")


def test_blank_group_is_unknown_and_stands_last(tmp_path: Path) -> None:
    lines = [f"{i}.png,{i},{site},1" for i, site in enumerate(["b", "", "Zurich", "a"])]
    table = read(tmp_path, "path,patient,site,Edema", *lines, attributes=("site",))
    assert table.groups_of("site") == ("Zurich", "a", "b", "Unknown")


def test_column_of_very_many_values_is_no_attribute(tmp_path: Path) -> None:
    lines = [f"{i}.png,{i},2020-01-{i},1" for i in range(51)]
    with pytest.raises(ValueError, match=r"at most 50 groups, but .* has 51 values"):
        read(tmp_path, "path,patient,date,Edema", *lines, attributes=("date",))


def test_age_that_is_not_known_is_its_own_group(tmp_path: Path) -> None:
    lines = [f"{i}.png,{i},{age},1" for i, age in enumerate(["044Y", "", "200", "50+"])]
    frame = read(tmp_path, "path,patient,Age,Edema", *lines).frame
    assert frame["age_band"].tolist() == ["40-59", "Unknown", "Unknown", "40-59"]


def test_column_without_any_age_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'Age' of .* ages in years, but row 1 .* '40 to 60'"):
        read(tmp_path, "path,patient,Age,Edema", "a,1,40 to 60,1")


def test_table_without_groups_has_none(tmp_path: Path) -> None:
    assert read(tmp_path, "path,patient,Edema", "a,1,1").attributes == ()


# Rows and paths


def test_every_row_is_kept_or_counted(tmp_path: Path) -> None:
    lines = ["a.png,1,1", ",2,1", "b.png,,1", "a.png,1,1", "c.png,3,0", "d.png,nan,1", "e.png,NA,1"]
    table = read(tmp_path, "path,patient,Edema", *lines)
    assert table.frame["path"].tolist() == ["a.png", "c.png"]
    assert table.dropped == {"no image path": 1, "no patient id": 3, "image listed before": 1}


def test_file_on_two_patients_makes_them_one_person(tmp_path: Path) -> None:
    lines = ["a.png,1,1", "a.png,2,1", "b.png,2,0"]
    table = read(tmp_path, "path,patient,Edema", *lines)
    assert table.frame["patient_id"].tolist() == ["1", "1"]


def test_ids_stay_text(tmp_path: Path) -> None:
    table = read(tmp_path, "path,patient,Edema", "a,007,1", "b,7,0", "c,311a,0")
    assert table.patients.tolist() == ["007", "311a", "7"]


def test_absolute_path_below_the_root_becomes_relative(tmp_path: Path) -> None:
    table = read(tmp_path, "path,patient,Edema", f"{tmp_path}/x/a.png,1,1", "y/b.png,2,1")
    assert table.frame["path"].tolist() == ["x/a.png", "y/b.png"]


def test_absolute_path_through_a_link_to_the_root_becomes_relative(tmp_path: Path) -> None:
    (tmp_path / "real" / "x").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    line = f"{tmp_path}/link/x/a.png,1,1"
    table = read(tmp_path / "real", "path,patient,Edema", line, folder="elsewhere")
    assert table.frame["path"].tolist() == ["x/a.png"]


@pytest.mark.parametrize("path", ["/etc/a.png", "../a.png", "x/../../a.png"])
def test_path_out_of_the_root_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(ValueError, match=r"image paths must lie below .*a\.png"):
        read(tmp_path, "path,patient,Edema", f"{path},1,1")


def test_folder_and_ending_complete_the_paths(tmp_path: Path) -> None:
    table = read(tmp_path, "path,patient,Edema", "a,1,1", "x\\b,2,1", "./c,3,1", folder="scans/",
                 ending=".png")  # fmt: skip
    assert table.frame["path"].tolist() == ["scans/a.png", "scans/x/b.png", "scans/c.png"]


def test_image_ids_must_differ(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'id' of .* holds 'x' at row 2"):
        read(tmp_path, "path,patient,id,Edema", "a,1,x,1", "b,2,x,1", image="id")


def test_first_image_of_a_patient_by_visit_or_else_by_row(tmp_path: Path) -> None:
    lines = ["a,1,10,1", "b,1,9,1", "c,2,1,1"]
    header = "path,patient,when,Edema"
    by_time = read(tmp_path, header, *lines, visit="when", one_image_per_patient=True)
    assert by_time.frame["path"].tolist() == ["b", "c"]
    assert by_time.dropped == {"later image of the patient": 1}
    by_row = read(tmp_path, header, *lines, one_image_per_patient=True)
    assert by_row.frame["path"].tolist() == ["a", "c"]


# Folds


def test_folds_are_read_by_their_words(tmp_path: Path) -> None:
    words = ["Training", "validate", "audit", "TEST", ""]
    lines = [f"{i}.png,{i},{word},1" for i, word in enumerate(words)]
    table = read(tmp_path, "path,patient,part,Edema", *lines, fold="part")
    assert table.frame["fold"].tolist() == ["train", "val", "audit", "test", ""]
    assert CsvTable(fold="part").default_split == "official"
    assert CsvTable().default_split == "patient"


def test_word_that_is_no_fold_is_refused_where_folds_were_asked_for(tmp_path: Path) -> None:
    lines = ["a,1,0,1", "b,2,1,1"]
    with pytest.raises(ValueError, match=r"'split' of .* name folds: .* row 1 .* holds '0'"):
        read(tmp_path, "path,patient,split,Edema", *lines, fold="split")
    assert "fold" not in read(tmp_path, "path,patient,split,Edema", *lines).frame


# Mapping files


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("colums: {}", "unknown key of .* 'colums'; did you mean 'columns'"),
        ("columns: {pateint: x}", "did you mean 'patient'"),
        ("columns: {path: nowhere}", "column 'nowhere'"),
        ("- a", "must hold keys with values"),
        ("findings: 3", "'findings' must map names to columns"),
        ("values: {sex: Female}", "'values' must map a name to its values"),
        ("a: [", "mapping must be YAML"),
    ],
)
def test_wrong_mapping_file_is_told(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "m.yaml").write_text(text)
    with pytest.raises((ValueError, KeyError), match=says):
        read(tmp_path, "path,patient,Edema", "a,1,1", mapping="m.yaml")


def test_absent_mapping_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"m\.yaml is not there"):
        read(tmp_path, "path,patient,Edema", "a,1,1", mapping="m.yaml")
