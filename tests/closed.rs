//! Closed tables under attack: random lists and least squares, the same people counted again, hand-made bytes, refreshes.
//!
//! `LODA_CLOSED_QUESTIONS` sets how many questions the reconstruction asks (default 1,200).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use loda_contract::Contract;
use loda_demo::datasets::SYNTHETIC;
use loda_proto::fragment as pb;
use loda_question::table::{ColumnRef, Functional, Lowered, RowDomain, Table};
use loda_question::{LIMITS, Question};
use prost::Message;

use crate::pooled::{contract, holdings, text};
use crate::properties::asker::Asker;
use crate::properties::records;
use crate::scenarios::ask;
use crate::support::{self, Dice, Federation};

const BINARY: &str = env!("CARGO_BIN_EXE_loda-demo");

fn list(names: &[&String]) -> String {
    names.iter().map(|name| format!("'{}'", name.replace('\'', "''"))).collect::<Vec<_>>().join(", ")
}

/// Figures of a statement's one row, or of each of its rows; `None`: withheld.
async fn figures(federation: &Federation, sql: &str) -> Vec<Vec<String>> {
    let answer = ask(&federation.client, sql).await.unwrap_or_else(|e| panic!("{e}: {sql}"));
    text(&answer.batches, answer.schema.fields().len() - 1)
}

/// Least squares with bounds, cell after cell: Σ over a set of what each cell holds is what was answered.
fn solved(sets: &[Vec<usize>], answers: &[f64], cells: usize) -> Vec<f64> {
    let (mut shared, mut wanted) = (vec![0.0; cells * cells], vec![0.0; cells]);
    for (set, answer) in sets.iter().zip(answers) {
        for a in set {
            wanted[*a] += answer;
            set.iter().for_each(|b| shared[a * cells + b] += 1.0);
        }
    }
    let mut held = vec![0.5; cells];
    for _ in 0..2_000 {
        for cell in 0..cells {
            let row = &shared[cell * cells..(cell + 1) * cells];
            if row[cell] > 0.0 {
                let off = wanted[cell] - row.iter().zip(&held).map(|(a, b)| a * b).sum::<f64>();
                held[cell] = (held[cell] + off / row[cell]).max(0.0);
            }
        }
    }
    held
}

/// The attack that read a borough's exact table in 20 statements: random unions of wards and age bands, by sex, and
/// least squares. For people who are alone in ward and age the sex is guessed.
#[test]
fn random_unions_and_least_squares_name_nobody() {
    support::run(async {
        let federation = support::synthetic().await.unwrap();
        let exact = support::synthetic_unprotected().await.unwrap();
        let questions = support::rounds("LODA_CLOSED_QUESTIONS", 1_200);
        let mut scores = Vec::new();
        for federation in [federation, exact] {
            let holdings = holdings(federation).await;
            let (mut right, mut seen, mut commonest) = (0.0, 0, 0.0);
            for gss in ["E09000001", "E09000022"] {
                let held = holdings.iter().find(|h| h.dataset == "residents" && h.gss == gss).unwrap();
                let names: Vec<String> = contract("residents").columns.iter().map(|c| c.name.clone()).collect();
                let place = |name: &str| names.iter().position(|n| n == name).unwrap();
                let people = text(&held.rows, 99);
                let column = |name: &str| -> Vec<String> {
                    let of: BTreeSet<String> = people.iter().map(|row| row[place(name)].clone()).collect();
                    of.into_iter().collect()
                };
                let (wards, ages) = (column("ward"), column("age_band"));
                let cell = |row: &Vec<String>| {
                    let ward = wards.iter().position(|w| *w == row[place("ward")]).unwrap();
                    ward * ages.len() + ages.iter().position(|a| *a == row[place("age_band")]).unwrap()
                };
                let mut dice = Dice::new(7);
                let mut sets = Vec::new();
                let mut conditions = Vec::new();
                for _ in 0..questions / 2 {
                    let some = |of: &'_ [String], dice: &mut Dice| -> Vec<usize> {
                        let chosen: Vec<usize> = (0..of.len()).filter(|_| dice.one_in(2)).collect();
                        if chosen.is_empty() { vec![0] } else { chosen }
                    };
                    let (w, a) = (some(&wards, &mut dice), some(&ages, &mut dice));
                    let inside = |ward: usize, age: usize| w.contains(&ward) == a.contains(&age);
                    let cells = (0..wards.len()).flat_map(|ward| (0..ages.len()).map(move |age| (ward, age)));
                    sets.push(
                        cells
                            .filter(|(ward, age)| inside(*ward, *age))
                            .map(|(ward, age)| ward * ages.len() + age)
                            .collect(),
                    );
                    let named = |of: &[String], places: &[usize]| {
                        list(&places.iter().map(|place| &of[*place]).collect::<Vec<_>>())
                    };
                    conditions.push(format!(
                        "(ward IN ({})) = (age_band IN ({}))",
                        named(&wards, &w),
                        named(&ages, &a)
                    ));
                }
                let mut answers: BTreeMap<String, Vec<f64>> = BTreeMap::new();
                for some in conditions.chunks(15) {
                    let counted = some.iter().enumerate().map(|(i, c)| format!("COUNT(*) FILTER (WHERE {c}) AS f{i}"));
                    let counted = counted.collect::<Vec<_>>().join(", ");
                    let sql = format!(
                        "SELECT sex, {counted} FROM residents WHERE borough = '{gss}' GROUP BY sex ORDER BY sex"
                    );
                    for row in figures(federation, &sql).await {
                        let of = answers.entry(row[0].clone()).or_default();
                        of.extend(row[1..].iter().map(|n| n.parse::<f64>().unwrap_or(0.0)));
                    }
                }
                let found: BTreeMap<&String, Vec<f64>> = answers
                    .iter()
                    .map(|(sex, answers)| (sex, solved(&sets, answers, wards.len() * ages.len())))
                    .collect();
                let mut alone: BTreeMap<usize, usize> = BTreeMap::new();
                people.iter().for_each(|row| *alone.entry(cell(row)).or_default() += 1);
                for row in people.iter().filter(|row| alone[&cell(row)] == 1) {
                    let at = |sex: &str| found.get(&sex.to_owned()).map_or(0.0, |held| held[cell(row)]);
                    let (female, male) = (at("Female"), at("Male"));
                    // Where the two are as good as equal a coin decides.
                    right += match (female - male).abs() < 0.02 {
                        true => 0.5,
                        false => f64::from(u8::from((female > male) == (row[place("sex")] == "Female"))),
                    };
                    seen += 1;
                }
                let women =
                    people.iter().filter(|row| row[place("sex")] == "Female").count() as f64 / people.len() as f64;
                commonest += women.max(1.0 - women) / 2.0;
            }
            scores.push((right * 100.0 / f64::from(seen.max(1)), seen, commonest * 100.0));
        }
        let [(protected, seen, commonest), (exact, ..)] = scores[..] else { panic!() };
        println!(
            "{questions} random sets: the sex of {seen} people alone in ward and age is named for {protected:.1} %, \
             the commonest for {commonest:.1} %, from exact counts {exact:.1} %"
        );
        assert!(seen >= 10 && exact > 80.0, "the attack does not work on exact counts: {exact} of {seen}");
        let luck = 150.0 / f64::from(seen).sqrt();
        assert!(protected <= 53.0 + luck, "{protected}");
    });
}

/// A dataset with one row a unit, what joins it to itself, and another that holds some of the same units.
struct Register {
    dataset: &'static str,
    unit: &'static str,
    other: &'static str,
    columns: &'static [(&'static str, &'static [&'static str])],
}

const REGISTERS: [Register; 4] = [
    Register {
        dataset: "residents",
        unit: "person_key",
        other: "social_care_clients",
        columns: &[
            ("sex", &["Female", "Male"]),
            ("age_band", &["25-34", "45-54", "65-74"]),
            ("tenure", &["Social rented", "Private rented"]),
        ],
    },
    Register {
        dataset: "council_tax",
        unit: "uprn",
        other: "properties",
        columns: &[("band", &["A", "C", "D", "E"]), ("ward", &[]), ("moves_24m", &["0", "1"])],
    },
    Register {
        dataset: "properties",
        unit: "uprn",
        other: "council_tax",
        columns: &[("epc_band", &["C", "D", "E"]), ("hmo_licence", &["None", "Mandatory"])],
    },
    Register {
        dataset: "benefits",
        unit: "household_key",
        other: "pension_credit",
        columns: &[("benefit", &["Housing Benefit", "Council Tax Support"])],
    },
];

/// A set of units at one borough: columns and the values that they have.
type Asked = (&'static Register, &'static str, Vec<(&'static str, &'static str)>);

/// One set of units in as many words as there are.
fn wordings(of: &Register, gss: &str, conditions: &[(&str, &str)]) -> Vec<String> {
    let Register { dataset, unit, other, .. } = of;
    let literal = |value: &str| if value.parse::<i64>().is_ok() { value.to_owned() } else { format!("'{value}'") };
    let all = |prefix: &str| {
        let each = conditions.iter().map(|(column, value)| format!("{prefix}{column} = {}", literal(value)));
        each.collect::<Vec<_>>().join(" AND ")
    };
    let not_other = conditions.iter().map(|(column, value)| format!("NOT ({column} <> {})", literal(value)));
    let not_other = not_other.collect::<Vec<_>>().join(" AND ");
    let listed = conditions.iter().map(|(column, value)| format!("{column} IN ({0}, {0})", literal(value)));
    let listed = listed.collect::<Vec<_>>().join(" AND ");
    let (is, a, b) = (all(""), all("a."), all("b."));
    let names = conditions.iter().map(|(column, _)| *column).collect::<Vec<_>>().join(", ");
    let here = format!("borough = '{gss}'");
    let same = |other: &str| format!("a.{unit} = {other}.{unit} AND a.borough = {other}.borough");
    let values = conditions.iter().map(|(column, value)| match value.parse::<i64>() {
        Ok(n) => format!("{column} >= {n} AND {column} < {}", n + 1),
        Err(_) => format!("{column} LIKE '{value}'"),
    });
    let like = values.collect::<Vec<_>>().join(" AND ");
    vec![
        format!("SELECT COUNT(*) FROM {dataset} WHERE {here} AND {is}"),
        format!("SELECT COUNT(1) FROM {dataset} AS x WHERE {not_other} AND {here}"),
        format!("SELECT COUNT({unit}) FROM {dataset} WHERE {here} AND {listed}"),
        format!("SELECT COUNT(DISTINCT {unit}) FROM {dataset} WHERE {here} AND {like}"),
        format!("SELECT COUNT(DISTINCT (borough, {unit})) FROM {dataset} WHERE {is} AND {here}"),
        format!("SELECT COUNT(*) FILTER (WHERE {is}) FROM {dataset} WHERE {here}"),
        format!("SELECT SUM(CASE WHEN {is} THEN 1 ELSE 0 END) FROM {dataset} WHERE {here}"),
        format!("SELECT COUNT(CASE WHEN {is} THEN 1 END) FROM {dataset} WHERE {here}"),
        format!(
            "SELECT n FROM (SELECT {names}, COUNT(*) AS n FROM {dataset} WHERE {here} GROUP BY {names}) t WHERE {is}"
        ),
        format!(
            "SELECT n FROM (SELECT CASE WHEN {is} THEN 'in' ELSE 'out' END AS k, COUNT(*) AS n FROM {dataset} WHERE {here} \
             GROUP BY 1) t WHERE k = 'in'"
        ),
        format!(
            "SELECT MAX(n) FROM (SELECT {names}, COUNT(*) AS n FROM {dataset} WHERE {here} AND {is} GROUP BY ROLLUP ({names})) t"
        ),
        format!(
            "SELECT COUNT(*) FROM (SELECT DISTINCT borough, {unit}, {names} FROM {dataset}) t WHERE {here} AND {is}"
        ),
        format!(
            "SELECT COUNT(*) FROM (SELECT borough, {unit}, COUNT(*) AS n FROM {dataset} WHERE {is} GROUP BY borough, {unit}) t \
             WHERE {here} AND n >= 1"
        ),
        format!("SELECT COUNT(*) FROM {dataset} a JOIN {dataset} b ON {} WHERE a.{here} AND {b}", same("b")),
        format!("SELECT COUNT(*) FROM {dataset} a JOIN {dataset} b ON {} WHERE b.{here} AND {a} AND {b}", same("b")),
        format!("SELECT COUNT(*) FROM {dataset} a LEFT JOIN {dataset} b ON {} WHERE a.{here} AND {b}", same("b")),
        format!("SELECT COUNT(*) FROM {dataset} a LEFT JOIN {other} o ON {} WHERE a.{here} AND {a}", same("o")),
        format!(
            "SELECT COUNT(*) FROM {dataset} a WHERE a.{here} AND EXISTS (SELECT 1 FROM {dataset} b WHERE {} AND {b})",
            same("b")
        ),
        format!(
            "SELECT COUNT(*) FROM {dataset} a WHERE a.{here} AND {a} AND NOT EXISTS (SELECT 1 FROM {dataset} b WHERE {} AND NOT ({b}))",
            same("b")
        ),
    ]
}

/// The same people, worded and joined otherwise, for other purposes: one answer.
#[test]
fn nobody_draws_twice_for_the_same_people() {
    support::run(async {
        let federation = support::synthetic().await.unwrap();
        let wanted = usize::try_from(support::rounds("LODA_CLOSED_SETS", 40)).unwrap();
        let mut sets: Vec<Asked> = Vec::new();
        for gss in ["E09000022", "E09000004", "E09000012", "E09000033", "E09000008", "E09000030", "E09000003"] {
            for register in &REGISTERS {
                let single = |(column, values): &'static (&'static str, &'static [&'static str])| {
                    values.iter().map(move |value| vec![(*column, *value)])
                };
                let singles: Vec<Vec<(&str, &str)>> = register.columns.iter().flat_map(single).collect();
                for (place, one) in singles.iter().enumerate() {
                    sets.push((register, gss, one.clone()));
                    let others = singles.iter().skip(place + 1).filter(|other| other[0].0 != one[0].0);
                    sets.extend(others.map(|other| (register, gss, [one.clone(), other.clone()].concat())));
                }
            }
        }
        let step = (sets.len() / wanted).max(1);
        let (mut tried, mut released, mut asked, mut by_rule) = (0, 0, 0, BTreeMap::new());
        for (register, gss, conditions) in sets.into_iter().step_by(step).take(wanted) {
            let mut answers = BTreeMap::new();
            for (place, sql) in wordings(register, gss, &conditions).into_iter().enumerate() {
                let purpose = loda_demo::layout::PURPOSES[place % loda_demo::layout::PURPOSES.len()];
                let answer = federation.client.query(&sql, purpose, None, |_| {}).await;
                match answer {
                    Ok(answer) => {
                        tried += 1;
                        // A group that is withheld is no row.
                        let figure = text(&answer.batches, 1).into_iter().flatten().next().unwrap_or("NULL".to_owned());
                        answers.entry(figure).or_insert(sql);
                    }
                    Err(loda::ClientError::Refused { rule, .. }) => *by_rule.entry(rule).or_insert(0) += 1,
                    Err(fault) => panic!("{fault}: {sql}"),
                }
            }
            asked += 1;
            released += usize::from(!answers.contains_key("NULL"));
            assert_eq!(answers.len(), 1, "{gss} {conditions:?}: {answers:#?}");
        }
        println!("{asked} sets in {tried} wordings, one answer each; {released} of them released; refused {by_rule:?}");
        assert!(tried >= asked * 15 && released * 2 > asked);
    });
}

/// Every table that the contracts allow, by its row domain and columns.
fn enumerated(
    contracts: &dyn Fn(&str) -> Option<Arc<Contract>>,
    names: &[String],
) -> BTreeSet<(RowDomain, Vec<String>)> {
    let all: Vec<Arc<Contract>> = names.iter().filter_map(|name| contracts(name)).collect();
    let people: Vec<&Arc<Contract>> = all.iter().filter(|c| c.protection.may_be_about_people()).collect();
    let of_dataset = |contract: &Contract, via: Option<(&str, &str)>| {
        let names = contract
            .columns
            .iter()
            .map(|c| c.name.clone())
            .chain(contract.closure.derived.iter().map(|d| d.name.clone()));
        let names = names.map(Some).chain([None]);
        let reached = via.map(|(dataset, column)| (dataset.to_owned(), column.to_owned()));
        names
            .map(|column| ColumnRef { via: reached.clone(), dataset: contract.dataset.clone(), column })
            .collect::<Vec<_>>()
    };
    let domains: BTreeSet<&String> = people.iter().flat_map(|c| c.units.iter().map(|u| &u.domain)).collect();
    let mut candidates: Vec<(RowDomain, Functional, Vec<ColumnRef>)> = Vec::new();
    for domain in domains {
        let mut columns = Vec::new();
        for held in people.iter().filter(|c| c.unit(domain).is_some()) {
            columns.extend(of_dataset(held, None));
            for other in held.units.iter().filter(|u| u.domain != *domain) {
                let Some(by) = &other.column else { continue };
                for theirs in people.iter().filter(|c| c.unit(&other.domain).is_some()) {
                    columns.extend(of_dataset(theirs, Some((&held.dataset, by))));
                }
            }
        }
        candidates.push((RowDomain::Units(domain.clone()), Functional::Units(domain.clone()), columns));
    }
    for contract in people.iter().filter(|c| !c.one_row_a_unit()) {
        candidates.push((RowDomain::Rows(contract.dataset.clone()), Functional::Rows, of_dataset(contract, None)));
    }
    let mut tables = BTreeSet::new();
    for (domain, functional, columns) in candidates {
        let table = |columns: &[&ColumnRef]| {
            let columns = columns.iter().map(|c| (*c).clone());
            Table::new(domain.clone(), columns, [functional.clone()], contracts).ok()
        };
        // A column that is no table by itself is in none.
        let columns: Vec<&ColumnRef> = columns.iter().filter(|column| table(&[*column]).is_some()).collect();
        let mut found: Vec<Vec<&ColumnRef>> = vec![Vec::new()];
        while let Some(set) = found.pop() {
            let from = set.last().and_then(|last| columns.iter().position(|c| c == last)).map_or(0, |at| at + 1);
            let allowed = table(&set);
            if let Some(table) = &allowed {
                let names = table.columns().iter().map(|c| c.reference.to_string()).collect();
                tables.insert((domain.clone(), names));
            }
            if set.is_empty() || allowed.is_some() {
                found.extend(columns.iter().skip(from).map(|column| [set.as_slice(), &[*column]].concat()));
            }
        }
    }
    tables
}

fn place_of(table: &Table) -> (RowDomain, Vec<String>) {
    (table.domain().clone(), table.columns().iter().map(|c| c.reference.to_string()).collect())
}

/// Random questions reach no table but those that the contracts enumerate.
#[test]
fn random_questions_reach_the_enumerated_tables_alone() {
    let wanted = support::rounds("LODA_CLOSED_DRAFTS", 20_000);
    let contracts = records::contracts(true);
    let names: Vec<String> = contracts.keys().cloned().collect();
    let find = |name: &str| contracts.get(name).cloned();
    let allowed = enumerated(&find, &names);
    let (mut reached, mut bytes) = (BTreeSet::new(), BTreeSet::new());
    let (mut asked, mut refused) = (0_u64, 0_u64);
    let mut dice = Dice::new(support::seed());
    while asked < wanted {
        let mut asker = Asker { dice: &mut dice, contracts: &contracts };
        let draft = asker.draft();
        let lowered = asker.derive(draft).and_then(|question| Lowered::of(&question, &find));
        asked += 1;
        match lowered {
            Ok(lowered) => {
                for table in lowered.tables() {
                    assert!(allowed.contains(&place_of(table)), "{}", table.words());
                    reached.insert(place_of(table));
                    bytes.insert(table.encode());
                }
            }
            Err(_) => refused += 1,
        }
    }
    println!(
        "{asked} random questions ({refused} refused) reach {} of the {} tables that the contracts allow, in {} fragments",
        reached.len(),
        allowed.len(),
        bytes.len()
    );
    assert!(reached.len() > 10 && refused < asked);
}

/// Bytes made by hand are refused, unless they are a table of the contracts to the byte.
#[test]
fn hand_made_fragments_are_refused() {
    let wanted = support::rounds("LODA_CLOSED_FRAGMENTS", 10_000);
    let held: BTreeMap<String, Arc<Contract>> =
        SYNTHETIC.iter().map(|d| (d.name.to_owned(), contract(d.name))).collect();
    let contracts = |name: &str| held.get(name).cloned();
    let person = || RowDomain::Units("person".to_owned());
    let column = |name: &str| ColumnRef::parse(name).unwrap();
    let honest: Vec<Table> = [
        vec!["residents.sex", "residents.age_band"],
        vec!["residents.ward", "residents.age_band", "residents.sex"],
        vec!["residents.tenure", "social_care_clients.*"],
    ]
    .into_iter()
    .map(|columns| {
        let counted = [Functional::Units("person".to_owned())];
        Table::new(person(), columns.into_iter().map(column), counted, &contracts).unwrap()
    })
    .collect();
    let mut dice = Dice::new(support::seed());
    let mut refused = 0_u64;
    for round in 0..wanted {
        let table = dice.pick(&honest).encode();
        let mut forged = pb::LogicalPlanNode::decode(table.as_slice()).unwrap();
        let bytes = match round % 4 {
            // Bytes that flip, go and come.
            0 => {
                let mut bytes = table.clone();
                for _ in 0..=dice.below(3) {
                    let at = dice.index(bytes.len());
                    match dice.below(3) {
                        0 => bytes[at] ^= 1 << dice.below(8),
                        1 => drop(bytes.remove(at)),
                        _ => bytes.insert(at, u8::try_from(dice.below(256)).unwrap()),
                    }
                }
                bytes
            }
            _ => {
                for _ in 0..=dice.below(2) {
                    forge(&mut forged, &mut dice);
                }
                forged.encode_to_vec()
            }
        };
        match Table::decode(&bytes, LIMITS, &contracts) {
            Ok(found) => assert_eq!(found.encode(), bytes, "a table in other bytes than its own"),
            Err(_) => refused += 1,
        }
        // And no question of the old form passes in its place.
        if let Ok(question) = Question::decode(&bytes, LIMITS, &contracts) {
            assert!(!question.scope().protection.may_be_about_people() || !Table::is_meant(&bytes, LIMITS));
        }
    }
    println!("{refused} of {wanted} hand-made fragments refused; the others are tables of the contracts");
    assert!(refused * 10 > wanted * 9);
}

/// One thing of the asker's in a table's plan.
fn forge(plan: &mut pb::LogicalPlanNode, dice: &mut Dice) {
    use pb::logical_expr_node::Expr;
    use pb::logical_plan_node::Plan;
    let node = |expr| pb::LogicalExprNode { expr: Some(expr) };
    let bare = |name: &str| node(Expr::Column(pb::Column { name: name.to_owned(), relation: None }));
    let yes = || {
        node(Expr::Literal(loda_proto::fragment::ScalarValue {
            value: Some(loda_proto::fragment::scalar_value::Value::BoolValue(true)),
        }))
    };
    let compare = |name: &str| {
        node(Expr::BinaryExpr(pb::BinaryExprNode { operands: vec![bare(name), yes()], op: "Eq".to_owned() }))
    };
    let Some(Plan::Aggregate(aggregate)) = &mut plan.plan else { return };
    match dice.below(9) {
        // A condition between the register and its cells.
        0 => {
            let input = aggregate.input.take();
            let filter = pb::SelectionNode { input, expr: Some(compare("residents.sex")) };
            aggregate.input = Some(Box::new(pb::LogicalPlanNode { plan: Some(Plan::Selection(Box::new(filter))) }));
        }
        1 => aggregate.group_expr.push(compare("residents.sex")),
        2 => aggregate.group_expr = vec![bare("residents.sex")],
        3 => {
            for expr in &mut aggregate.group_expr {
                if let Some(Expr::Cube(cube)) = &mut expr.expr {
                    cube.expr.push(if dice.one_in(2) {
                        compare("residents.age_band")
                    } else {
                        bare("residents.person_key")
                    });
                }
            }
        }
        4 => {
            for expr in &mut aggregate.group_expr {
                if let Some(Expr::Cube(cube)) = &mut expr.expr {
                    cube.expr.reverse();
                }
            }
        }
        // A figure of some of the records.
        5 => {
            for expr in &mut aggregate.aggr_expr {
                if let Some(Expr::Alias(alias)) = &mut expr.expr
                    && let Some(Expr::AggregateUdf(call)) = alias.expr.as_mut().and_then(|e| e.expr.as_mut())
                {
                    call.filter = Some(Box::new(compare("residents.sex")));
                }
            }
        }
        6 => {
            for expr in &mut aggregate.aggr_expr {
                if let Some(Expr::Alias(alias)) = &mut expr.expr {
                    alias.alias = format!("f{}x", dice.below(10));
                }
            }
        }
        7 => {
            let again = aggregate.aggr_expr.first().cloned();
            aggregate.aggr_expr.extend(again);
        }
        _ => {
            for expr in &mut aggregate.group_expr {
                if let Some(Expr::Cube(cube)) = &mut expr.expr {
                    let more = ["residents.tenure", "electoral_roll.franchise", "residents.ward", "benefits.benefit"];
                    cube.expr.extend(more.iter().take(2 + dice.index(3)).map(|name| bare(name)));
                }
            }
        }
    }
}

/// Whatever is asked about people, what boroughs are sent is a table of the contracts: no literal, name or function of the
/// asker's is in it.
#[test]
fn nothing_of_an_askers_is_in_what_boroughs_are_sent() {
    support::run(async {
        let held: BTreeMap<String, Arc<Contract>> =
            SYNTHETIC.iter().map(|d| (d.name.to_owned(), contract(d.name))).collect();
        let contracts = |name: &str| held.get(name).cloned();
        let allowed = enumerated(&contracts, &held.keys().cloned().collect::<Vec<_>>());
        let parsed = SYNTHETIC.iter().map(|d| Contract::parse(d.contract, d.name).unwrap());
        let dry = loda_coordinator::Dry::new(parsed.collect(), vec!["E09000022".parse().unwrap()]).unwrap();
        let mut dice = Dice::new(support::seed());
        let columns = [
            ("residents", "person_key", "age_band", vec!["0-4", "25-34", "85 and over"]),
            ("residents", "person_key", "sex", vec!["Female", "Male"]),
            ("residents", "person_key", "tenure", vec!["Social rented", "Private rented"]),
            ("properties", "uprn", "epc_band", vec!["A", "D", "G"]),
            ("properties", "uprn", "hmo_licence", vec!["None", "Mandatory"]),
            ("council_tax", "uprn", "band", vec!["A", "D", "H"]),
            ("benefits", "household_key", "benefit", vec!["Housing Benefit", "Council Tax Support"]),
        ];
        let others =
            [("person_key", "social_care_clients"), ("uprn", "electoral_roll"), ("household_key", "pension_credit")];
        let (mut sent, mut refused, mut distinct) = (0, 0, BTreeSet::new());
        let wanted = support::rounds("LODA_CLOSED_STATEMENTS", 300);
        for _ in 0..wanted {
            let (dataset, unit, key, _) = dice.pick(&columns).clone();
            let of: Vec<_> = columns.iter().filter(|(d, ..)| *d == dataset).cloned().collect();
            let (_, _, column, values) = dice.pick(&of).clone();
            let value = *dice.pick(&values);
            let other = others.iter().find(|(of, _)| *of == unit).unwrap().1;
            let condition = match dice.below(7) {
                0 => format!("zq.{column} = '{value}'"),
                1 => format!("zq.{column} <> '{value}' OR zq.{column} IS NULL"),
                2 => format!("upper(zq.{column}) IN (upper('{value}'), 'ZQMARKER')"),
                3 => format!("CASE WHEN zq.{column} = '{value}' THEN 'ZQMARKER' ELSE 'x' END = 'ZQMARKER'"),
                4 => format!("zq.{column} >= '{value}' AND zq.{column} < 'ZQMARKER'"),
                5 => format!("zq.{column} LIKE '%{value}%' OR zq.{column} LIKE 'ZQMARKER%'"),
                _ => format!("NOT (zq.{column} IN ('{value}', 'ZQMARKER'))"),
            };
            let same = format!("zq.{unit} = zqo.{unit} AND zq.borough = zqo.borough");
            let from = match dice.below(5) {
                0 => format!("{dataset} AS zq LEFT JOIN {other} AS zqo ON {same}"),
                1 => format!("{dataset} AS zq JOIN {dataset} AS zqo ON {same}"),
                _ => format!("{dataset} AS zq"),
            };
            let exists = match dice.below(5) {
                0 => format!(" AND EXISTS (SELECT 1 FROM {other} AS zqo WHERE {same})"),
                1 => format!(" AND NOT EXISTS (SELECT 1 FROM {other} AS zqo WHERE {same})"),
                _ => String::new(),
            };
            let counted = match dice.below(3) {
                0 => format!("COUNT(DISTINCT zq.{unit})"),
                _ => "COUNT(*)".to_owned(),
            };
            let sql = format!(
                "SELECT zq.{key} AS zqmarker, {counted} FILTER (WHERE {condition}) AS zqmarker2 FROM {from} \
                 WHERE zq.borough = 'E09000022'{exists} GROUP BY zq.{key}"
            );
            let fragments = match dry.fragments(&sql).await {
                Ok(fragments) => fragments,
                // Rows that a join repeats, or more columns than a table has.
                Err(refusal) => {
                    assert_ne!(refusal.rule, loda_question::Rule::Fragment, "{sql}: {refusal}");
                    refused += 1;
                    continue;
                }
            };
            for bytes in fragments {
                let table = Table::decode(&bytes, LIMITS, &contracts).unwrap_or_else(|e| panic!("{e}: {sql}"));
                assert!(allowed.contains(&place_of(&table)), "{sql}");
                let lower = String::from_utf8_lossy(&bytes).to_lowercase();
                let there = value.len() > 3 && lower.contains(&value.to_lowercase());
                assert!(!lower.contains("zqmarker") && !there, "{sql}: {lower}");
                distinct.insert(bytes);
                sent += 1;
            }
        }
        println!(
            "{wanted} statements ({refused} refused): {sent} tables sent, {} of them different, of {} that the contracts allow",
            distinct.len(),
            allowed.len()
        );
        assert!(sent * 2 > wanted && distinct.len() < 200);
    });
}

/// Conditions that always hold, or that tell less than the column which they read, ask for no other table.
#[test]
fn what_a_condition_cannot_tell_is_no_column() {
    support::run(async {
        let parsed = SYNTHETIC.iter().map(|d| Contract::parse(d.contract, d.name).unwrap());
        let dry = loda_coordinator::Dry::new(parsed.collect(), vec!["E09000022".parse().unwrap()]).unwrap();
        let pairs = [
            // A value, where one is reached or not.
            (
                "SELECT COUNT(*) FROM electoral_roll e",
                "SELECT COUNT(*) FROM electoral_roll e LEFT JOIN properties p ON e.uprn = p.uprn WHERE p.above_shop OR NOT p.above_shop \
                 OR p.above_shop IS NULL",
            ),
            // One row of several.
            (
                "SELECT COUNT(DISTINCT uprn) FROM repairs WHERE code = 'Damp and mould'",
                "SELECT COUNT(DISTINCT uprn) FROM repairs WHERE code = 'Damp and mould' AND (cost >= 50 OR cost < 50) \
                 AND month >= DATE '2024-01-01'",
            ),
            // Beside a column whose classes a borough lists, and of such a column.
            (
                "SELECT COUNT(*) FROM council_tax WHERE ward = 'Lambeth 01'",
                "SELECT COUNT(*) FROM council_tax WHERE ward = 'Lambeth 01' AND (band = 'A' OR band <> 'A')",
            ),
            (
                "SELECT band, COUNT(*) FROM council_tax GROUP BY band",
                "SELECT band, COUNT(*) FROM council_tax WHERE ward <> 'x' OR ward = 'x' OR ward IS NULL GROUP BY band",
            ),
            (
                "SELECT COUNT(*) FROM residents",
                "SELECT COUNT(*) FROM residents r LEFT JOIN social_care_clients s ON r.person_key = s.person_key AND r.borough = s.borough \
                 WHERE s.need = 'Social support' OR s.need <> 'Social support' OR s.need IS NULL",
            ),
        ];
        for (plain, worded) in pairs {
            let [plain, other] = [dry.fragments(plain).await.unwrap(), dry.fragments(worded).await.unwrap()];
            let named = |fragments: &[Vec<u8>]| -> Vec<String> {
                fragments.iter().map(|f| String::from_utf8_lossy(f).into_owned()).collect()
            };
            assert_eq!(plain, other, "{worded}\n{:?}\n{:?}", named(&plain), named(&other));
        }
        // And what tells something apart stays.
        for sql in [
            "SELECT ward, COUNT(*) FROM council_tax GROUP BY ward",
            "SELECT COUNT(*) FROM council_tax WHERE ward > 'Lambeth 05'",
            "SELECT COUNT(*) FROM council_tax WHERE upper(ward) = 'LAMBETH 05'",
            "SELECT CASE WHEN ward IN ('Lambeth 01', 'Lambeth 02') THEN 'north' ELSE 'south' END, COUNT(*) FROM council_tax GROUP BY 1",
        ] {
            let fragments = dry.fragments(sql).await.unwrap();
            assert!(fragments.iter().any(|f| String::from_utf8_lossy(f).contains("council_tax.ward")), "{sql}");
        }
    });
}

/// A figure over places says "in part" where some place's cell is not released, and a list of places has all of them.
#[test]
fn figures_over_places_say_what_they_lack() {
    support::run(async {
        let federation = support::synthetic().await.unwrap();
        let holdings = holdings(federation).await;
        let (mut in_part, mut listed) = (0, 0);
        for gss in ["E09000002", "E09000003", "E09000004", "E09000022"] {
            for (dataset, figure) in
                [("pension_credit", "COUNT(*)"), ("residents", "COUNT(*)"), ("properties", "COUNT(DISTINCT uprn)")]
            {
                let of = |condition: &str| {
                    format!("SELECT {figure} AS n FROM {dataset} WHERE borough = '{gss}' AND {condition}")
                };
                let number = |rows: &[Vec<String>]| rows[0][0].parse::<f64>().unwrap_or(0.0);
                let total = number(
                    &figures(federation, &format!("SELECT {figure} FROM {dataset} WHERE borough = '{gss}'")).await,
                );
                for condition in ["ward IS NOT NULL", "ward <> 'nowhere'", "(ward >= 'A' OR ward < 'A')"] {
                    let answer = ask(&federation.client, &of(condition)).await.unwrap();
                    let row = text(&answer.batches, 9).remove(0);
                    let said = row[0].parse::<f64>().unwrap_or(0.0);
                    in_part += usize::from(row[1].contains("in part"));
                    assert!(
                        (said - total).abs() < 30.0 || row[1].contains("in part") || row[1].starts_with('c'),
                        "{gss} {dataset} {condition}: {row:?} of {total}"
                    );
                }
                let wards = holdings.iter().find(|h| h.dataset == "wards" && h.gss == gss).unwrap();
                let wards: usize = wards.rows.iter().map(|batch| batch.num_rows()).sum();
                let rows = figures(
                    federation,
                    &format!("SELECT ward, {figure} AS n FROM {dataset} WHERE borough = '{gss}' GROUP BY ward"),
                )
                .await;
                let named = rows.iter().filter(|row| row[0] != "NULL").count();
                listed += named;
                assert_eq!(named, wards, "{gss} {dataset}");
            }
        }
        println!("{in_part} figures in part, {listed} places listed");
        assert!(in_part > 0);
    });
}

/// What would draw the cells of an epoch anew, or with other data, is not served: another perturbation, another secret, an
/// `epochs.json` that is not the one that the log tells of.
#[test]
fn another_perturbation_secret_or_epochs_file_serves_nothing() {
    use loda_demo::layout::Layout;
    use loda_disclosure::TableParameters;
    use loda_node::{Config, Methods, Node};
    support::run(async {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::create(&support::options(dir.path(), 2, None), &mut |_| {}).unwrap();
        let gss = layout.boroughs[1].gss;
        let state = layout.node(gss).join("state");
        let handle = support::RUNTIME.handle().clone();
        let open = async |methods: Methods| {
            let config = Config::load(&layout.node(gss).join("node.toml")).unwrap();
            Node::open(config, methods, handle.clone()).await
        };
        let serves = async |methods: Methods| {
            let node = open(methods).await.unwrap();
            let listener = node.bind().await.unwrap();
            let serving = handle.spawn(async move { node.serve(listener).await.unwrap() });
            let request = loda_proto::v1::DescribeRequest { versions: loda_proto::VERSIONS.to_vec() };
            let mut client = support::node_client(&layout, gss, &layout.coordinator());
            let held = client.describe(request).await.unwrap().into_inner().datasets;
            serving.abort();
            let _ended = serving.await.is_err();
            held.iter().any(|held| held.name == "residents")
        };
        let standard = || Methods::standard().unwrap();
        assert!(serves(standard()).await);
        let other = TableParameters { variance: 4.0, ..TableParameters::default() };
        assert!(!serves(Methods::with(&other).unwrap()).await, "two perturbations of one epoch give the noise away");
        assert!(serves(standard()).await);
        // Last year's file, put back.
        let file = state.join("epochs.json");
        let epochs = std::fs::read_to_string(&file).unwrap();
        let mut old: serde_json::Value = serde_json::from_str(&epochs).unwrap();
        for pin in old["datasets"].as_object_mut().unwrap().values_mut() {
            for (key, value) in [("epoch", "2019Q4"), ("until", "2019Q4"), ("ends", "2020-01-01")] {
                pin[key] = value.into();
            }
        }
        std::fs::write(&file, old.to_string()).unwrap();
        assert!(!serves(standard()).await, "an older epochs.json draws the cells anew");
        // One that is lost over the same data comes to the same.
        std::fs::remove_file(&file).unwrap();
        assert!(serves(standard()).await);
        let key = state.join("record.key");
        let secret = std::fs::read_to_string(&key).unwrap();
        std::fs::write(&key, "0".repeat(64)).unwrap();
        let fault = open(standard()).await.err().unwrap().to_string();
        assert!(fault.contains("record.key is not the one"), "{fault}");
        std::fs::write(&key, secret).unwrap();
        assert!(serves(standard()).await);
    });
}

/// A node that starts again on other extracts within an epoch serves what it served, to the byte; and so does one that has
/// answered other tables in between. What lists the wards changes as little; and without `epochs.json` nobody knows what was
/// served, so nothing is.
#[test]
fn refreshes_and_restarts_within_an_epoch_change_no_byte() {
    use loda_demo::layout::Layout;
    support::run(async {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::create(&support::options(dir.path(), 2, None), &mut |_| {}).unwrap();
        let gss = layout.boroughs[1].gss;
        let folder = layout.node(gss);
        let handle = support::RUNTIME.handle().clone();
        let table = |columns: &[&str]| {
            let columns = columns.iter().map(|c| ColumnRef::parse(c).unwrap());
            let counted = [Functional::Units("person".to_owned())];
            Table::new(RowDomain::Units("person".to_owned()), columns, counted, &|name| Some(contract(name))).unwrap()
        };
        let (wanted, other) = (table(&["residents.sex", "residents.age_band"]), table(&["residents.ward"]));
        let (residents, wards) =
            ["residents", "wards"].map(|name| folder.join(format!("data/{gss}/{name}.csv"))).into();
        let doctor = || {
            let told =
                std::process::Command::new(BINARY).current_dir(&folder).args(["node", "doctor"]).output().unwrap();
            String::from_utf8(told.stdout).unwrap()
        };
        let mut answers = BTreeSet::new();
        for start in 0..4 {
            if start == 3 {
                std::fs::remove_file(folder.join("state/epochs.json")).unwrap();
            }
            let config = loda_node::Config::load(&folder.join("node.toml")).unwrap();
            let node =
                loda_node::Node::open(config, loda_node::Methods::standard().unwrap(), handle.clone()).await.unwrap();
            let listener = node.bind().await.unwrap();
            let serving = handle.spawn(async move { node.serve(listener).await.unwrap() });
            let client = || support::node_client(&layout, gss, &layout.coordinator());
            if start < 3 {
                for _ in 0..2 {
                    answers.insert(crate::protection::released_by(client(), gss, &wanted.encode()).await);
                    answers.insert(crate::protection::released_by(client(), gss, &other.encode()).await);
                }
            } else {
                let held = client()
                    .describe(loda_proto::v1::DescribeRequest { versions: loda_proto::VERSIONS.to_vec() })
                    .await
                    .unwrap()
                    .into_inner();
                assert!(held.datasets.iter().all(|d| d.name != "residents"), "{held:?}");
                assert!(held.datasets.iter().any(|d| d.name == "wards"), "{held:?}");
            }
            serving.abort();
            let _ended = serving.await.is_err();
            match start {
                0 => assert!(doctor().contains("ok    epoch of residents: snapshot 1 is served until"), "{}", doctor()),
                3 => assert!(doctor().contains("FAULT epoch of residents: its pinned snapshot"), "{}", doctor()),
                _ => assert!(doctor().contains("soon  epoch of residents: snapshot 1 is served until"), "{}", doctor()),
            }
            // Some move away, and others change their ages.
            let text = std::fs::read_to_string(&residents).unwrap();
            let kept = text.lines().enumerate().filter(|(n, _)| *n == 0 || n % (20 - start) != 3);
            let changed: String = kept.map(|(_, line)| format!("{}\n", line.replace(",25-34,", ",35-44,"))).collect();
            assert_ne!(changed, text);
            std::fs::write(&residents, changed).unwrap();
            let text = std::fs::read_to_string(&wards).unwrap();
            let (header, rest) = text.split_once('\n').unwrap();
            std::fs::write(&wards, format!("{header}\n{}", rest.split_once('\n').unwrap().1)).unwrap();
        }
        assert_eq!(answers.len(), 2);
    });
}
