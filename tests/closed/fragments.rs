//! The fragments that boroughs get are tables that the contracts allow, to the byte. They contain nothing from an
//! asker.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use loda_contract::Contract;
use loda_demo::datasets::SYNTHETIC;
use loda_proto::fragment as pb;
use loda_question::table::{ColumnRef, Functional, Lowered, RowDomain, Table};
use loda_question::{LIMITS, Question};
use prost::Message;

use crate::pooled::contract;
use crate::properties::asker::Asker;
use crate::properties::records;
use crate::support::{self, Dice};

/// All tables that the contracts allow, by row domain and columns.
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
        // A column that is not an allowed table alone is in no table.
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

/// Random questions reach only tables that the contracts enumerate.
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

/// Hand-made bytes are refused, unless they are exactly a table of the contracts.
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
            // Bytes that are flipped, removed or inserted.
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
        // No question of the old form passes in its place.
        if let Ok(question) = Question::decode(&bytes, LIMITS, &contracts) {
            assert!(!question.scope().protection.may_be_about_people() || !Table::is_meant(&bytes, LIMITS));
        }
    }
    println!("{refused} of {wanted} hand-made fragments refused; the others are tables of the contracts");
    assert!(refused * 10 > wanted * 9);
}

/// Puts one thing from an asker into a table's plan.
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
        // A figure over some of the records.
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

/// For any question about people, the fragments are tables of the contracts. They contain no literal, name or function
/// of the asker.
#[test]
fn nothing_of_an_askers_is_in_what_boroughs_are_sent() {
    support::run(async {
        let held: BTreeMap<String, Arc<Contract>> =
            SYNTHETIC.iter().map(|d| (d.name.to_owned(), contract(d.name))).collect();
        let contracts = |name: &str| held.get(name).cloned();
        let allowed = enumerated(&contracts, &held.keys().cloned().collect::<Vec<_>>());
        let parsed = SYNTHETIC.iter().map(|d| Contract::parse(&support::wide(d), d.name).unwrap());
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
                // Rows that a join repeats, or more columns than a table may have.
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
