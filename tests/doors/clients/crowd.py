"""Many analysts at once, each asking one question after another: half of them over HTTP, half over Flight SQL."""

import http.client
import json
import os
import ssl
import threading
import time

import adbc_driver_flightsql.dbapi as flight

ADDRESS, CA, SECONDS = os.environ["LODA_ADDRESS"], os.environ["LODA_CA"], float(os.environ["LODA_SECONDS"])
QUESTIONS = [
    "SELECT borough, tenure, COUNT(DISTINCT person_key) AS people FROM residents GROUP BY borough, tenure",
    "SELECT borough, age_band, sex, COUNT(DISTINCT person_key) AS people FROM residents GROUP BY borough, age_band, sex",
    "SELECT borough, tenure, COUNT(DISTINCT person_key) AS people FROM residents WHERE age_band <> '85 and over' "
    "GROUP BY borough, tenure",
]
times, faults = {"HTTP": [], "Flight SQL": []}, []
end = time.monotonic() + SECONDS


def over_http(token, number):
    context = ssl.create_default_context(cafile=CA)
    line = http.client.HTTPSConnection(ADDRESS, context=context, timeout=90)
    head = {"Authorization": "Bearer " + token, "Content-Type": "application/json"}

    def ask(method, path, body=None):
        line.request(method, path, body, head)
        answer = line.getresponse()
        return answer.status, answer.read()

    while time.monotonic() < end:
        began = time.monotonic()
        status, body = ask("POST", "/v1/questions", json.dumps({"sql": QUESTIONS[number % len(QUESTIONS)]}))
        assert status == 201, (status, body)
        place = "/v1/questions/" + json.loads(body)["id"]
        status, body = ask("GET", place + "?wait=60")
        assert json.loads(body)["state"] == "answered", body
        status, body = ask("GET", place + "/result?format=csv")
        assert status == 200 and body.count(b"\n") > 4, (status, body)
        times["HTTP"].append(time.monotonic() - began)
        number += 1


def over_flight(token, number):
    options = {
        "adbc.flight.sql.client_option.tls_root_certs": open(CA).read(),
        "adbc.flight.sql.authorization_header": "Bearer " + token,
    }
    with flight.connect("grpc+tls://" + ADDRESS, db_kwargs=options, autocommit=True) as connection:
        while time.monotonic() < end:
            began = time.monotonic()
            with connection.cursor() as cursor:
                cursor.execute(QUESTIONS[number % len(QUESTIONS)])
                assert cursor.fetch_arrow_table().num_rows > 4
            times["Flight SQL"].append(time.monotonic() - began)
            number += 1


def kept(run, token, number):
    try:
        run(token, number)
    except BaseException as fault:
        faults.append(repr(fault))


tokens = os.environ["LODA_TOKENS"].split()
crowd = [
    threading.Thread(target=kept, args=(over_http if number % 2 else over_flight, token, number))
    for number, token in enumerate(tokens)
]
for one in crowd:
    one.start()
for one in crowd:
    one.join()
for door, spent in times.items():
    spent.sort()
    at = lambda share: spent[min(len(spent) - 1, int(len(spent) * share))] * 1000
    print(f"{door}: {len(spent)} questions in {SECONDS:.0f} s, p50 {at(0.5):.0f} ms, p99 {at(0.99):.0f} ms")
print(f"{len(tokens)} analysts at once, {len(faults)} errors", *faults[:3])
assert not faults and all(times.values())
