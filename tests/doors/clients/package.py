"""The Python package: answers are data frames that keep their statement, and refusals say what to ask instead."""

import os

import loda
import pandas

PEOPLE = "SELECT borough, tenure, COUNT(DISTINCT person_key) AS people FROM residents GROUP BY borough, tenure"
NEEDS = "SELECT borough, need, COUNT(*) AS n FROM social_care_clients GROUP BY borough, need"
shown = {"token": os.environ["LODA_TOKEN"], "ca": os.environ["LODA_CA"]}


def refused(connection, sql):
    try:
        connection.query(sql)
    except loda.Refused as refusal:
        return refusal
    raise AssertionError(f"{sql} was let through")


with loda.connect("https://" + os.environ["LODA_ADDRESS"], purpose="demo", **shown) as london:
    assert "residents" in london.tables(), london.tables()
    people = london.query(PEOPLE)
    assert isinstance(people, pandas.DataFrame) and people["people"].dtype == pandas.Int64Dtype()
    assert people.attrs["statement"]["complete"] and people.attrs["statement"]["purpose"] == "demo"
    rented = people[people["tenure"] == "Social rented"]
    assert isinstance(rented, loda.Answer) and rented.attrs["statement"]["complete"] and len(rented) == 4
    one = london.query("SELECT COUNT(*) AS n FROM residents WHERE tenure = ?", ("Social rented",))
    assert one["n"][0] > 100, one

    needs = london.query(NEEDS)
    withheld = needs["n"].isna()
    assert withheld.any() and not withheld.all()
    marks = needs.marks()
    assert (marks["n"][withheld] == "c").all() and marks["n"][~withheld].isna().any(), marks
    html = needs._repr_html_()
    assert html.count("[c]") >= withheld.sum() and "4 of 4 boroughs answered" in html, html

    wrong = refused(london, "SELECT COUNT(*) FROM residents WHERE tenure = 'Council'")
    assert wrong.rule == "no-such-value" and "Social rented" in wrong.words, wrong
    assert "residents" in refused(london, "SELECT COUNT(*) FROM resident").words

with loda.connect(os.environ["LODA_ADDRESS"], certificate=os.environ["LODA_CERTIFICATE"], key=os.environ["LODA_KEY"],
                  ca=os.environ["LODA_CA"]) as london:
    assert refused(london, PEOPLE).rule == "agreement"
    assert len(london.query(PEOPLE, purpose="demo")) == len(people)
print("the package loda", "asks, keeps the statement and the marks, and raises refusals with their rule")
