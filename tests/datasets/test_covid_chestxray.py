"""The covid-chestxray loader on miniature trees with every quirk, and on the real set if there."""

from __future__ import annotations

import csv
import gzip
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.covid_chestxray import CovidChestxray, finding_names
from datasets.folds import assign
from datasets.images import open_images, prepare
from datasets.split import Split
from registry import DATASETS

OLD = [
    *("patientid", "offset", "sex", "age", "finding", "survival", "view", "modality", "date"),
    *("location", "folder", "filename", "doi", "url", "license", "clinical_notes", "other_notes"),
    "",
]
NEW = [*OLD[:5], "RT_PCR_positive", *OLD[5:]]
PLAIN = {
    **{"patientid": "1", "sex": "M", "age": "50", "finding": "COVID-19", "view": "PA"},
    **{"modality": "X-ray", "date": "Mar 4, 2020", "folder": "images"},
    **{"url": "https://www.radiopaedia.org/cases/1", "license": "CC BY-NC-SA"},
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRILEMMA_CACHE", str(tmp_path / "cache"))


def tree(
    root: Path,
    rows: Sequence[Mapping[str, str]],
    header: Sequence[str] = tuple(OLD),
    images: bool = True,
) -> Path:
    """A folder in the layout of the set; rows are changes to a plain one, images are noise."""
    folder = root / "covid"
    (folder / "images").mkdir(parents=True)
    full = [{**PLAIN, "filename": f"{i}.png", **row} for i, row in enumerate(rows)]
    with (folder / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows([row.get(name, "") for name in header] for row in full)
    for i, row in enumerate(full):
        if images and row["filename"]:
            noise = np.random.default_rng(i).integers(0, 255, (40, 30), np.uint8)
            Image.fromarray(noise).save(folder / "images" / row["filename"], "PNG")
    return folder


def one(root: Path, **row: str) -> Split:
    return CovidChestxray().table(tree(root, [row]))


def test_loader_is_registered_and_says_how_it_may_be_used() -> None:
    loader = DATASETS.get("covid-chestxray")
    assert loader is CovidChestxray
    assert {"License:", "Access:"} <= set(str(loader.__doc__).split())
    assert loader.kind == "real" and loader.reidentification_allowed


# Rows


def test_plain_row_becomes_one_image(tmp_path: Path) -> None:
    row = one(tmp_path).frame.iloc[0]
    assert row["image_id"] == "0.png" and row["path"] == "images/0.png"
    assert row["patient_id"] == "1" and row["origin"] == "real"
    assert (row["sex"], row["age_band"], row["view"]) == ("Male", "40-59", "PA")
    assert row["site"] == "radiopaedia.org"


def test_ids_stay_text(tmp_path: Path) -> None:
    rows = [{"patientid": "311a"}, {"patientid": "007"}, {"patientid": "7"}]
    assert CovidChestxray().table(tree(tmp_path, rows)).patients.tolist() == ["007", "311a", "7"]


def test_every_row_is_kept_or_counted(tmp_path: Path) -> None:
    rows = [
        *({"view": view} for view in ("PA", "AP", "AP Supine", "AP Erect")),
        *({"view": "L"}, {"view": ""}, {"view": "Axial", "modality": "CT", "folder": "volumes"}),
        *({"folder": "volumes"}, {"finding": "todo"}, {"finding": "Unknown"}, {"finding": ""}),
        *({"patientid": ""}, {"filename": ""}),
    ]
    table = CovidChestxray().table(
        tree(tmp_path, [{"patientid": str(i)} | r for i, r in enumerate(rows)])
    )
    assert table.frame["view"].tolist() == ["PA", "AP", "AP Supine", "AP Erect"]
    assert table.dropped == {
        "lateral view": 1,
        "view not chosen": 1,
        "CT": 1,
        "not an X-ray image": 1,
        "finding not known (todo/Unknown)": 3,
        "no patient id or file name": 2,
    }
    assert len(table) + sum(table.dropped.values()) == len(rows)


def test_views_can_be_chosen(tmp_path: Path) -> None:
    folder = tree(tmp_path, [{"view": "PA"}, {"view": "AP"}, {"view": "L"}])
    table = CovidChestxray(views=("L", "PA")).table(folder)
    assert table.frame["path"].tolist() == ["images/0.png", "images/2.png"]
    assert table.groups_of("view") == ("L", "PA")


def test_absent_file_is_left_to_the_policy_of_preparation(tmp_path: Path) -> None:
    folder = tree(tmp_path, [{"patientid": "1"}, {"patientid": "2"}])
    (folder / "images" / "1.png").unlink()
    table = CovidChestxray().table(folder)
    assert len(table) == 2
    with pytest.raises(ValueError, match=r"images/1\.png: image file missing"):
        prepare(table, 32)
    assert prepare(table, 32, on_bad="drop").dropped == {"image file missing": 1}


def test_no_image_at_all_still_makes_a_table(tmp_path: Path) -> None:
    assert len(CovidChestxray().table(tree(tmp_path, [{}, {}], images=False))) == 2


def test_row_of_blanks_after_the_last_column_is_read(tmp_path: Path) -> None:
    folder = tree(tmp_path, [{"other_notes": 'quote "here", and\na new line'}])
    text = (folder / "metadata.csv").read_text(encoding="utf-8")
    (folder / "metadata.csv").write_text(text.rstrip("\n") + ",spilled,over\n", encoding="utf-8")
    assert len(CovidChestxray().table(folder)) == 1


def test_byte_order_mark_and_foreign_bytes_are_survived(tmp_path: Path) -> None:
    folder = tree(tmp_path, [{"clinical_notes": "38 degrees"}])
    data = (folder / "metadata.csv").read_bytes().replace(b"38 degrees", b"38 \xb0C")
    (folder / "metadata.csv").write_bytes(b"\xef\xbb\xbf" + data)
    assert CovidChestxray().table(folder).patients.tolist() == ["1"]


# Findings


@pytest.mark.parametrize(
    ("recorded", "names"),
    [
        ("COVID-19", {"COVID-19", "Viral", "Pneumonia"}),
        ("COVID-19, ARDS", {"COVID-19", "ARDS", "Viral", "Pneumonia"}),
        ("Pneumonia/Viral/COVID-19", {"COVID-19", "Viral", "Pneumonia"}),
        ("Pneumonia/Viral/Influenza/H1N1", {"H1N1", "Influenza", "Viral", "Pneumonia"}),
        ("Streptococcus", {"Streptococcus", "Bacterial", "Pneumonia"}),
        ("Lipoid", {"Lipoid", "Pneumonia"}),
        ("Pneumonia", {"Pneumonia"}),
        (
            "Mycoplasma Bacterial Pneumonia",
            {"Mycoplasma Bacterial Pneumonia", "Bacterial", "Pneumonia"},
        ),
        ("ARDS", {"ARDS"}),
        ("Tuberculosis", {"Tuberculosis"}),
        ("No Finding", {"No Finding"}),
    ],
)
def test_finding_stands_for_its_parents_too(recorded: str, names: set[str]) -> None:
    assert finding_names(recorded) == names


def test_flat_and_hierarchical_versions_give_the_same_labels(tmp_path: Path) -> None:
    flat = ["COVID-19", "Klebsiella", "No Finding", "Pneumocystis"]
    deep = [
        *("Pneumonia/Viral/COVID-19", "Pneumonia/Bacterial/Klebsiella", "No Finding"),
        "Pneumonia/Fungal/Pneumocystis",
    ]
    old = tree(tmp_path / "old", [{"finding": f} for f in flat])
    rows = [{"finding": f, "RT_PCR_positive": "Unclear"} for f in deep]
    new = tree(tmp_path / "new", rows, NEW)
    for folder in (old, new):
        table = CovidChestxray().table(folder)
        assert table.findings == ("COVID-19", "Pneumonia", "No Finding")
        assert table.labels().tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1], [0, 1, 0]]


def test_any_level_of_findings_can_be_chosen(tmp_path: Path) -> None:
    folder = tree(tmp_path, [{"finding": f} for f in ("COVID-19, ARDS", "Legionella")])
    table = CovidChestxray(findings=("ARDS", "Bacterial")).table(folder)
    assert table.labels().tolist() == [[1, 0], [0, 1]]


def test_misspelt_finding_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="did you mean 'Legionella'"):
        CovidChestxray(findings=("Legionela",)).table(tree(tmp_path, [{}]))


def test_finding_written_in_lower_case_counts(tmp_path: Path) -> None:
    assert one(tmp_path, finding="No finding").labels().tolist() == [[0, 0, 1]]


# People


@pytest.mark.parametrize(
    ("recorded", "band"),
    [
        *[("0", "0-19"), ("19", "0-19"), ("20", "20-39"), ("39.5", "20-39"), ("40", "40-59")],
        *[("60", "60-79"), ("79", "60-79"), ("80", "80+"), ("94", "80+")],
        *[("", "Unknown"), ("nan", "Unknown"), ("-1", "Unknown"), ("414", "Unknown")],
        *[("50+", "40-59"), ("early 40s", "40-59"), ("mid 50s", "40-59"), ("inf", "Unknown")],
    ],
)
def test_age_falls_into_fixed_bands(tmp_path: Path, recorded: str, band: str) -> None:
    assert one(tmp_path, age=recorded).frame["age_band"].tolist() == [band]


@pytest.mark.parametrize(
    ("recorded", "group"), [("M", "Male"), ("F", "Female"), ("", "Unknown"), ("f ", "Female")]
)
def test_recorded_sex_is_spelled_out(tmp_path: Path, recorded: str, group: str) -> None:
    assert one(tmp_path, sex=recorded).frame["sex"].tolist() == [group]


def test_groups_stand_in_order_and_absent_ones_are_left_out(tmp_path: Path) -> None:
    rows = [{"sex": "M", "age": "85"}, {"sex": "", "age": ""}, {"sex": "F", "age": "30"}]
    table = CovidChestxray().table(tree(tmp_path, rows))
    assert table.groups_of("sex") == ("Male", "Female", "Unknown")
    assert table.groups_of("age_band") == ("20-39", "80+", "Unknown")


def test_file_on_two_rows_is_one_image_of_one_person(tmp_path: Path) -> None:
    rows = [{"patientid": "285"}, {"patientid": "339", "filename": "0.png"}, {"patientid": "339"}]
    table = CovidChestxray().table(tree(tmp_path, rows))
    assert table.frame["patient_id"].tolist() == ["285", "285"]
    assert table.dropped == {"copy of another image": 1}


def test_lateral_shared_by_two_ids_unites_them(tmp_path: Path) -> None:
    rows = [
        *({"patientid": "1"}, {"patientid": "2"}),
        *({"patientid": p, "view": "L", "filename": "side.png"} for p in ("1", "2")),
    ]
    assert CovidChestxray().table(tree(tmp_path, rows)).patients.tolist() == ["1"]


def test_listed_same_persons_are_united(tmp_path: Path) -> None:
    folder = tree(tmp_path, [{"patientid": p} for p in ("97", "178", "311a")])
    (folder / "same_person.csv").write_text("patientid_a,patientid_b,evidence\n97,178,pixels\n")
    assert CovidChestxray().table(folder).patients.tolist() == ["311a", "97"]


# Images


def test_odd_files_are_read_as_pictures(tmp_path: Path) -> None:
    names = ["a.jpg", "b 50%.png", "c.PNG", "d.jpeg"]
    folder = tree(tmp_path, [{"filename": n, "patientid": n} for n in names], images=False)
    grey = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40), np.uint8))
    grey.save(folder / "images" / "a.jpg", "PNG")
    grey.rotate(90).convert("RGBA").save(folder / "images" / "b 50%.png")
    grey.rotate(180).convert("P").save(folder / "images" / "c.PNG")
    grey.rotate(270).convert("RGB").save(folder / "images" / "d.jpeg", "JPEG")
    table = prepare(CovidChestxray().table(folder), 32)
    pixels = open_images(table, 32).take()
    assert len(table) == 4 and (pixels.std(axis=(1, 2)) > 20).all()


# Wrong folders


def test_absent_metadata_says_how_to_get_the_set(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"must hold metadata\.csv .*git clone"):
        CovidChestxray().table(tmp_path)


def test_absent_images_folder_is_named(tmp_path: Path) -> None:
    folder = tree(tmp_path, [{}], images=False)
    (folder / "images").rmdir()
    with pytest.raises(FileNotFoundError, match="images is not there"):
        CovidChestxray().table(folder)


def test_absent_column_names_the_nearest(tmp_path: Path) -> None:
    header = ["patient_id" if name == "patientid" else name for name in OLD]
    with pytest.raises(ValueError, match=r"column 'patientid'.*nearest: 'patient_id'"):
        CovidChestxray().table(tree(tmp_path, [{}], header))


def test_empty_metadata_is_named(tmp_path: Path) -> None:
    folder = tree(tmp_path, [{}])
    (folder / "metadata.csv").write_text("")
    with pytest.raises(ValueError, match=r"metadata\.csv must be a csv file, but it is empty"):
        CovidChestxray().table(folder)


def test_table_without_frontal_views_is_refused_with_its_counts(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'lateral view': 1"):
        one(tmp_path, view="L")


def test_path_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="image paths must lie below"):
        CovidChestxray().table(tree(tmp_path, [{"filename": "../x.png"}], images=False))


# Sets of the same layout, and what is left of it

FIGURE1 = [
    *("patientid", "offset", "sex", "age", "finding", "survival", "temperature", "pO2 saturation"),
    *("view", "modality", "originalfile", "artifacts/distortion", "notes"),
]
ACTUALMED = ["imagename" if name == "originalfile" else name for name in FIGURE1]
LAST = (
    "patientid,offset,sex,age,finding,RT_PCR_positive,survival,intubated,intubation_present,"
    "went_icu,in_icu,needed_supplemental_O2,extubated,temperature,pO2_saturation,leukocyte_count,"
    "neutrophil_count,lymphocyte_count,view,modality,date,location,folder,filename,doi,url,license,"
    "clinical_notes,other_notes,"
)
"""The header of the last version, with the comma at its end."""


def figure1(root: Path, rows: Sequence[Mapping[str, str]], files: Sequence[str]) -> Path:
    """A folder like that of Figure1: files are called as patients, with any ending."""
    folder = tree(root, [{**row, "filename": ""} for row in rows], FIGURE1, images=False)
    for i, name in enumerate(files):
        noise = np.random.default_rng(i).integers(0, 255, (40, 30), np.uint8)
        Image.fromarray(noise).save(folder / "images" / name)
    return folder


def test_last_version_with_all_its_columns_is_read(tmp_path: Path) -> None:
    rows = [{"finding": "Pneumonia/Viral/COVID-19", "view": "AP Erect", "offset": "-3"}]
    table = CovidChestxray().table(tree(tmp_path, rows, LAST.split(",")))
    assert table.labels().tolist() == [[1, 1, 0]]
    assert table.frame["view"].tolist() == ["AP Erect"] and table.frame["visit"].tolist() == [-3]


def test_figure1_names_files_by_patient(tmp_path: Path) -> None:
    rows = [{"patientid": f"COVID-0000{i}", "view": "AP erect", "age": "50+"} for i in (1, 2)]
    folder = figure1(tmp_path, rows, ["COVID-00001.png", "COVID-00002.jpeg"])
    table = CovidChestxray().table(folder)
    assert table.frame["path"].tolist() == ["images/COVID-00001.png", "images/COVID-00002.jpeg"]
    assert table.frame["view"].tolist() == ["AP Erect"] * 2
    assert len(prepare(table, 32)) == 2


def test_figure1_parts_images_of_one_patient_by_a_letter(tmp_path: Path) -> None:
    rows = [{"patientid": f"COVID-0000{i}"} for i in ("3a", "3b", "4")]
    files = [f"COVID-0000{i}.jpg" for i in ("3a", "3b", "4")]
    table = CovidChestxray().table(figure1(tmp_path, rows, files))
    assert table.frame["patient_id"].tolist() == ["COVID-00003", "COVID-00003", "COVID-00004"]
    assert table.frame["image_id"].tolist() == files


def test_figure1_without_most_files_says_which(tmp_path: Path) -> None:
    rows = [{"patientid": f"COVID-0000{i}"} for i in range(1, 5)]
    table = CovidChestxray().table(figure1(tmp_path, rows, ["COVID-00001.jpg"]))
    with pytest.raises(ValueError, match=r"3 of 4 rows .*images/COVID-00002\.jpg: image file miss"):
        prepare(table, 32)
    assert prepare(table, 32, on_bad="drop").dropped == {"image file missing": 3}


def test_actualmed_names_its_files_in_another_column(tmp_path: Path) -> None:
    rows = [
        {"imagename": "0.png", "patientid": "ANON1", "sex": "", "age": "", "finding": "No finding"},
        {"imagename": "1.png", "patientid": "ANON2", "sex": "", "age": "", "finding": ""},
    ]
    table = CovidChestxray().table(tree(tmp_path, rows, ACTUALMED))
    assert table.frame["path"].tolist() == ["images/0.png"]
    assert table.labels().tolist() == [[0, 0, 1]]
    assert table.groups_of("sex") == table.groups_of("age_band") == ("Unknown",)
    assert table.dropped == {"finding not known (todo/Unknown)": 1}


def test_compressed_metadata_is_read(tmp_path: Path) -> None:
    folder = tree(tmp_path, [{}])
    text = (folder / "metadata.csv").read_bytes()
    (folder / "metadata.csv.gz").write_bytes(gzip.compress(text))
    (folder / "metadata.csv").unlink()
    assert len(CovidChestxray().table(folder)) == 1


# The real set


@pytest.fixture(scope="module")
def real() -> Path:
    named = os.environ.get("TRILEMMA_DATA")
    folder = Path(named or ".") / "covid-chestxray"
    if named is None or not (folder / "metadata.csv").is_file():
        pytest.skip("TRILEMMA_DATA names no folder that holds covid-chestxray/metadata.csv")
    return folder


def test_real_rows_are_all_accounted_for(real: Path) -> None:
    with (real / "metadata.csv").open(encoding="utf-8", errors="replace", newline="") as file:
        rows = sum(1 for _ in csv.DictReader(file))
    table = CovidChestxray().table(real)
    assert len(table) + sum(table.dropped.values()) == rows
    assert len(table) > 150 and len(table.patients) > 90


def test_real_images_are_all_read_save_absent_ones(real: Path) -> None:
    table = prepare(CovidChestxray().table(real), 64, on_bad="drop")
    assert "image unreadable" not in table.dropped
    pixels = open_images(table, 64).take()
    assert (pixels.std(axis=(1, 2)) > 10).all()


def test_real_people_are_in_one_fold_each(real: Path) -> None:
    table = prepare(CovidChestxray().table(real), 64, on_bad="drop")
    folds = assign(table)
    assert folds.audit_reuses_train
    with (real / "metadata.csv").open(encoding="utf-8", errors="replace", newline="") as file:
        ids = {row["filename"]: row["patientid"] for row in csv.DictReader(file)}
    where = {ids[i]: fold.name for fold in folds.all() for i in fold.frame["image_id"]}
    if not (real / "same_person.csv").is_file():
        return
    with (real / "same_person.csv").open(newline="") as file:
        for pair in csv.DictReader(file):
            a, b = where.get(pair["patientid_a"]), where.get(pair["patientid_b"])
            assert a is None or b is None or a == b
