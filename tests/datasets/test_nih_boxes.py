"""Lesion boxes of NIH ChestX-ray14, as tables and as masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from trees import nih_cxr14 as tree

from datasets.nih_boxes import box_masks, lesion_boxes
from datasets.nih_cxr14 import NihCxr14
from datasets.split import Split

HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,"


def boxes_of(root: Path, *lines: str) -> None:
    (root / "BBox_List_2017.csv").write_text("\n".join([HEADER, *lines]) + "\n")


def listed(root: Path, *images: int) -> Split:
    lines = [f"{tree.name(i, 0)},Mass,0,{i},50,M,PA,{tree.REST}" for i in images]
    tree.write_table(root, "Data_Entry_2017_v2020.csv", tree.HEADER_2020, lines)
    return NihCxr14(findings=("Mass", "Infiltration")).table(root)


def test_boxes_are_read_past_the_commas_of_the_header(tmp_path: Path) -> None:
    boxes_of(tmp_path, "00000001_000.png,Mass,225.08,547.5,86,79")
    box = lesion_boxes(tmp_path).iloc[0]
    assert (box["image_id"], box["finding"]) == ("00000001_000.png", "Mass")
    assert box[["x", "y", "width", "height"]].tolist() == [225.08, 547.5, 86, 79]


def test_infiltrate_is_the_finding_infiltration(tmp_path: Path) -> None:
    boxes_of(tmp_path, "00000001_000.png,Infiltrate,1,1,2,2")
    assert lesion_boxes(tmp_path)["finding"].tolist() == ["Infiltration"]


@pytest.mark.parametrize("box", ["-1,0,5,5", "0,0,0,5", "1000,0,25,5"])
def test_box_outside_its_image_names_the_row(tmp_path: Path, box: str) -> None:
    boxes_of(tmp_path, "a.png,Mass,1,1,2,2", f"b.png,Mass,{box}")
    with pytest.raises(ValueError, match=r"within 1024 x 1024 pixels, but row 2 of"):
        lesion_boxes(tmp_path)


def test_absent_table_of_boxes_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"BBox_List_2017\.csv"):
        lesion_boxes(tmp_path)


def test_mask_covers_each_pixel_that_a_box_touches(tmp_path: Path) -> None:
    # At 32 px one pixel is 32 of the original: x 64 to 97 touches columns 2 and 3, y 96 to 128
    # row 3 alone.
    boxes_of(tmp_path, f"{tree.name(1, 0)},Mass,64,96,33,32")
    masks = box_masks(listed(tmp_path, 1), lesion_boxes(tmp_path), 32)
    assert masks.shape == (1, 2, 32, 32)
    assert np.argwhere(masks[0, 0]).tolist() == [[3, 2], [3, 3]]
    assert not masks[0, 1].any()


def test_masks_stand_in_the_order_of_rows(tmp_path: Path) -> None:
    boxes_of(tmp_path, f"{tree.name(2, 0)},Mass,0,0,9,9", f"{tree.name(1, 0)},Infiltrate,0,0,9,9")
    masks = box_masks(listed(tmp_path, 1, 2), lesion_boxes(tmp_path), 32)
    assert masks.any(axis=(2, 3)).tolist() == [[False, True], [True, False]]


def test_image_without_a_box_is_refused(tmp_path: Path) -> None:
    boxes_of(tmp_path, f"{tree.name(1, 0)},Mass,0,0,9,9")
    with pytest.raises(ValueError, match=r"1 of 2 have none, such as '00000002_000\.png'"):
        box_masks(listed(tmp_path, 1, 2), lesion_boxes(tmp_path), 32)


def test_real_boxes_lie_in_images_that_have_the_finding(real_data: Path) -> None:
    boxes = lesion_boxes(real_data / "nih-cxr14")
    assert len(boxes) == 984 and boxes["image_id"].nunique() == 880
    table = NihCxr14().table(real_data / "nih-cxr14").frame.set_index("image_id")
    for finding, images in boxes.groupby("finding")["image_id"]:
        assert (table.loc[images, str(finding)] == 1).all(), finding
