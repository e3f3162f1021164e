"""A client that was generated from the description: it asks, waits, fetches, and is refused with an advice."""

import os

from federation import AuthenticatedClient
from federation.api.catalogue import catalogue
from federation.api.questions import answer, ask, question, result
from federation.models import Problem, QuestionRequest

PEOPLE = "SELECT borough, COUNT(*) AS people FROM residents GROUP BY borough"

client = AuthenticatedClient(
    base_url="https://" + os.environ["LODA_ADDRESS"],
    token=os.environ["LODA_TOKEN"],
    verify_ssl=os.environ["LODA_CA"],
)
tables = catalogue.sync(client=client)
assert any(table.name == "residents" for table in tables.tables), tables
asked = ask.sync(client=client, body=QuestionRequest(sql=PEOPLE, purpose="demo"))
asked = question.sync(asked.id, client=client, wait=20)
assert asked.state == "answered", asked
page = result.sync(asked.id, client=client)
assert [column.name for column in page.columns] == ["borough", "people", "reason"], page
assert page.rows and all(len(row) == 3 for row in page.rows), page
at_once = answer.sync(client=client, sql=PEOPLE, purpose="demo")
assert at_once.startswith("borough,people"), at_once
wrong = ask.sync(client=client, body=QuestionRequest(sql="SELECT COUNT(*) FROM residentz", purpose="demo"))
assert isinstance(wrong, Problem) and "residents" in wrong.detail + wrong.advice, wrong
print("catalogue, ask, question, result, answer: as described")
