"""Ids in a text that is kept are replaced, wherever they stand; words and counts are not."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pandas as pd
import pytest

from tracking.pseudonyms import Pseudonyms
from tracking.redaction import Redactor, WithoutIds

TABLE = pd.DataFrame(
    {
        "patient_id": ["10000032", "10000032", "10000764", "7", "Jane Q Doe"],
        "study_id": ["50414267", "50414268", "57375967", None, "e1"],
        "image_id": ["02aa804e-bde0afdd", "174413ec-4ec4c1f7", "p7-v1", "7-1", "scan (3)"],
        "path": [
            "files/p10/p10000032/s50414267/02aa804e-bde0afdd.jpg",
            "files/p10/p10000032/s50414268/174413ec-4ec4c1f7.jpg",
            "files/p10/p10000764/s57375967/view1.png",
            "files/p11/seven.npy#7",
            "files/p11/doe/scan (3).png",
        ],
    }
)


@pytest.fixture
def redact(tmp_path: Path) -> Redactor:
    return Redactor(Pseudonyms(tmp_path, "made"), [TABLE])


@pytest.mark.parametrize(
    ("text", "raw"),
    [
        ("patient '10000032' has none", "10000032"),
        ("patient=10000032;", "10000032"),
        ("subject_p10000764_v2", "10000764"),
        ("/data/mimic/files/p10/p10000032/s50414267/02aa804e-bde0afdd.jpg: cut", "50414267"),
        ("/data/mimic/files/p10/p10000032/s50414267/02aa804e-bde0afdd.jpg: cut", "02aa804e"),
        ("could not open s57375967", "57375967"),
        ("study 50414268 is bad", "50414268"),
        ("02aa804e-bde0afdd.png", "02aa804e"),
        ("image (p7-v1)", "p7-v1"),
        ("of Jane Q Doe, twice", "Doe"),
        ("'scan (3)' is dark", "scan (3)"),
        ("patient 7, image 7-1", "7-1"),
        ("patient 7.", "7"),
    ],
)
def test_an_id_is_replaced_wherever_it_stands(redact: Redactor, text: str, raw: str) -> None:
    told = redact(text)
    assert told != text
    assert raw not in re.sub("[0-9a-f]{16}", "", told)


@pytest.mark.parametrize(
    "text", ["epoch 70 of 700", "no image of p70-v1x", "files/p10 holds 3 folders", "view1x", ""]
)
def test_what_is_no_id_stays(redact: Redactor, text: str) -> None:
    assert redact(text) == text


def test_one_id_has_one_pseudonym_in_texts_and_tables(redact: Redactor) -> None:
    hidden = redact.names.of(TABLE["patient_id"])
    assert redact("patient 10000032") == f"patient {hidden[0]}"


def test_a_log_keeps_its_counts_and_loses_its_ids(
    redact: Redactor, caplog: pytest.LogCaptureFixture
) -> None:
    log = logging.getLogger("trilemma.test_redaction")
    log.addFilter(WithoutIds(redact))
    with caplog.at_level(logging.INFO, logger=log.name):
        log.info("epoch %d of %d: image %s", 7, 30, "p7-v1")
    assert caplog.messages[0].startswith("epoch 7 of 30: image ")
    assert "p7-v1" not in caplog.text
