"""Statements that ibis and SQLAlchemy generate for questions of analysts, one a line after the tool's name.

The rule that refuses a statement stands between them, where one should.
"""

import datetime

import ibis
import sqlalchemy as sa
from ibis import _
from sqlalchemy.dialects import postgresql

COLUMNS = {
    "residents": dict.fromkeys(
        ["borough", "borough_name", "person_key", "household_key", "age_band", "sex", "ward", "tenure"], "string"
    ),
    "social_care_clients": {
        **dict.fromkeys(["borough", "person_key", "age_band", "need", "setting"], "string"),
        "weekly_cost": "decimal(38,2)",
    },
    "damp_sensors": {
        **dict.fromkeys(["borough", "uprn", "room", "rh_band"], "string"),
        "month": "date",
        "hours_over_70": "int64",
    },
    "boroughs": {"gss": "string", "name": "string"},
}


def with_ibis():
    people, care, damp, boroughs = (ibis.table(columns, name=name) for name, columns in COLUMNS.items())
    by_borough = people.group_by("borough").agg(n=_.count())
    old = ["65-74", "75-84", "85 and over"]
    yield "", by_borough
    yield "", people.group_by("borough").agg(n=_.person_key.nunique())
    rented = people.filter(_.tenure == "Social rented")
    yield "", rented.group_by("borough").agg(n=_.count()).order_by(ibis.desc("n")).limit(5)
    yield "", people.group_by("tenure").agg(n=_.count()).mutate(share=_.n / _.n.sum())
    yield "", people.group_by("borough").agg(s=(_.sex == "Female").mean())
    yield "", people.group_by("borough").agg(s=(_.sex == "Female").sum())
    yield "", people.group_by("borough").agg(n=_.count(where=_.sex == "Female"), all=_.count()).mutate(p=_.n / _.all)
    yield "", people.filter(_.age_band.isin(old)).count()
    yield "", people.filter(_.tenure.like("Own%")).group_by("tenure").agg(n=_.count())
    yield "", people.filter(_.tenure.startswith("Own")).group_by("tenure").agg(n=_.count())
    yield "", people.filter(_.tenure.lower() == "social rented").group_by("borough").agg(n=_.count())
    yield "", people.group_by(k=_.tenure.upper()).agg(n=_.count())
    yield "", care.group_by("need").agg(m=_.weekly_cost.mean(), s=_.weekly_cost.sum(), n=_.count())
    yield "", care.group_by("need").agg(sd=_.weekly_cost.std())
    yield "", care.group_by("need").agg(q=_.weekly_cost.quantile(0.5))
    yield "", care.group_by("need").agg(q=_.weekly_cost.median())
    yield "aggregate-not-allowed", care.agg(lo=_.weekly_cost.min())
    yield "", damp.group_by(_.month.truncate("Q").name("q")).agg(n=_.uprn.nunique())
    first_quarter = damp.filter(_.month.between(ibis.date("2024-01-01"), ibis.date("2024-03-31")))
    yield "", first_quarter.agg(n=_.uprn.nunique())
    yield "", by_borough.join(boroughs, _.borough == boroughs.gss)[["name", "n"]].order_by("name")
    yield "", people.join(boroughs, people.borough == boroughs.gss).group_by("name").agg(n=_.count())
    yield "", by_borough.filter(_.n > 100)
    of_age = people.mutate(old=ibis.cases((_.age_band == "85 and over", "old"), else_="other"))
    yield "", of_age.group_by("old").agg(n=_.count())
    yield "", people.tenure.value_counts()
    yield "", people.tenure.topk(3)
    yield "", people[["tenure"]].distinct()
    yield "rows-stay-home", people.limit(5)
    yield "", people.limit(0)
    yield "", people.tenure.nunique()
    yield "", by_borough.mutate(r=ibis.row_number().over(order_by=ibis.desc("n")))
    yield "", by_borough.mutate(rank=_.n.rank())
    yield "", people.count()
    yield "", by_borough.union(people.group_by("borough").agg(n=_.household_key.nunique()))


def with_sqlalchemy():
    kinds = {"string": sa.String, "date": sa.Date, "int64": sa.BigInteger, "decimal(38,2)": sa.Numeric}
    people, care, damp, boroughs = (
        sa.table(name, *(sa.column(column, kinds[kind]) for column, kind in columns.items()))
        for name, columns in COLUMNS.items()
    )
    f, is_female = sa.func, people.c.sex == "Female"
    by_borough = sa.select(people.c.borough, f.count().label("n")).group_by(people.c.borough)
    yield "", by_borough
    yield "", by_borough.having(f.count() > 100).order_by(sa.desc("n")).limit(5).offset(2)
    yield "", sa.select(f.count()).select_from(people).where(people.c.tenure.in_(["Social rented", "Private rented"]))
    yield "", sa.select(f.count()).select_from(people).where(people.c.tenure.ilike("%rented%"))
    by_tenure = sa.select(people.c.tenure).group_by(people.c.tenure)
    yield "", by_tenure.add_columns(f.sum(sa.case((is_female, 1), else_=0)).label("women"))
    yield "", by_tenure.add_columns((f.sum(sa.case((is_female, 1.0), else_=0.0)) / f.count()).label("share"))
    by_need = sa.select(care.c.need).group_by(care.c.need)
    cost = care.c.weekly_cost
    yield "", by_need.add_columns(f.avg(cost), f.sum(sa.cast(cost, sa.Float)))
    yield "", by_need.add_columns(f.sum(cost), f.sum(sa.cast(cost, sa.Double)), f.avg(sa.cast(cost, sa.Double)))
    quarter = f.date_trunc("quarter", damp.c.month)
    yield "", sa.select(quarter.label("q"), f.count(sa.distinct(damp.c.uprn))).group_by(quarter)
    year = sa.extract("year", damp.c.month)
    yield "derived-value", sa.select(year.label("y"), f.count(sa.distinct(damp.c.uprn))).group_by(year)
    since = damp.c.month >= datetime.date(2024, 1, 1)
    until = damp.c.month < datetime.date(2024, 4, 1)
    yield "", sa.select(f.count(sa.distinct(damp.c.uprn))).where(since).where(until)
    joined = people.join(boroughs, people.c.borough == boroughs.c.gss)
    yield "", sa.select(boroughs.c.name, f.count().label("n")).select_from(joined).group_by(boroughs.c.name)
    yield "", sa.select(people.c.tenure).distinct()
    yield "", sa.select(people).limit(0)
    yield "", sa.select(people).where(sa.literal(0) == 1)
    yield "", sa.select(f.count(sa.distinct(people.c.tenure)))
    yield "", sa.select(f.max(people.c.age_band))
    t = by_borough.subquery()
    yield "", sa.select(t.c.borough, t.c.n, (t.c.n * 1.0 / f.sum(t.c.n).over()).label("share"))
    yield "", sa.select(f.avg(t.c.n))
    yield "", sa.select(boroughs.c.name, t.c.n).select_from(boroughs.outerjoin(t, t.c.borough == boroughs.c.gss))
    yield "", sa.select(t.c.borough, f.coalesce(t.c.n, 0))


def line(tool, rule, sql):
    print(tool, rule, " ".join(sql.split()), sep="\t")


for rule, expression in with_ibis():
    line("ibis", rule, ibis.to_sql(expression, dialect="postgres"))
for rule, statement in with_sqlalchemy():
    literal = {"literal_binds": True}
    line("SQLAlchemy", rule, str(statement.compile(dialect=postgresql.dialect(), compile_kwargs=literal)))
