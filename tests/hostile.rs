//! Hand-made fragments and requests, as a compromised coordinator would send them. Each gets a typed refusal, the node
//! stays up, and nothing is read.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::{Result, TableReference, not_impl_err};
use datafusion::datasource::MemTable;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Extension, LogicalPlan};
use datafusion::prelude::SessionContext;
use datafusion_proto::bytes::logical_plan_to_bytes_with_extension_codec;
use datafusion_proto::logical_plan::LogicalExtensionCodec;
use loda_contract::{ColumnType, Value};
use loda_proto::fragment as pb;
use loda_proto::fragment::logical_expr_node::Expr;
use loda_proto::fragment::logical_plan_node::Plan;
use loda_proto::v1;
use loda_question::{Comparison, Draft, Figure, Measure, Predicate, Question, Rows, Scalar};
use prost::Message;

use crate::support::{self, Federation};

const NODE: &str = "E09000007";

fn request(fragment: Vec<u8>) -> v1::SubmitRequest {
    v1::SubmitRequest {
        query_id: uuid::Uuid::new_v4().to_string(),
        analyst: "spiffe://demo.london/analyst/demo".to_owned(),
        purpose: "demo".to_owned(),
        fragment,
        targets: vec![NODE.to_owned()],
        deadline_ms: 5_000,
        dry_run: false,
        signed: None,
        would_sign: false,
        log: None,
        question_id: String::new(),
    }
}

async fn refused_by(federation: &Federation, request: v1::SubmitRequest) -> String {
    let mut node = federation.node_client(NODE);
    let query_id = request.query_id.clone();
    let request = support::logged(&mut node, &federation.layout, request).await;
    let refusal = node.submit(request).await.unwrap().into_inner().refusal;
    let refusal = refusal.expect("a refusal");
    assert!(!refusal.message.is_empty() && !refusal.advice.is_empty());
    // No query started under this id.
    assert!(node.cancel(v1::CancelNodeRequest { query_id }).await.is_err());
    refusal.rule
}

/// A canonical question about people, as a base to spoil. By itself it is refused because it is about people.
fn fragment() -> pb::LogicalPlanNode {
    let column = |name: &str| Scalar::Column(name.to_owned());
    let female = Predicate::Compare {
        left: column("sex"),
        op: Comparison::Equal,
        right: Scalar::Literal(Value::Text("Female".into()), ColumnType::Text),
    };
    let filter = Predicate::Or(vec![female, Predicate::IsNull(column("tenure"))]);
    question(Draft {
        rows: Rows::of("residents", Some(filter)),
        keys: vec![column("age_band")],
        figures: vec![Figure { measure: Measure::Rows, condition: None }],
    })
}

fn question(draft: Draft) -> pb::LogicalPlanNode {
    let question = Question::derive(draft, &|name| Some(crate::pooled::contract(name))).unwrap();
    pb::LogicalPlanNode::decode(question.encode().as_slice()).unwrap()
}

/// A canonical question that a node runs.
async fn published(federation: &Federation) -> pb::LogicalPlanNode {
    let sql = "SELECT phase, COUNT(*) FROM schools WHERE ofsted = 'Good' GROUP BY phase";
    let prepared = federation.client.prepare(sql, "demo", false).await.unwrap();
    assert_eq!(prepared.refusal, None);
    pb::LogicalPlanNode::decode(prepared.fragments[0].bytes.as_slice()).unwrap()
}

fn column(name: &str) -> pb::LogicalExprNode {
    pb::LogicalExprNode { expr: Some(Expr::Column(pb::Column { name: name.to_owned(), relation: None })) }
}

fn text(value: &str) -> pb::LogicalExprNode {
    let value = Some(pb::scalar_value::Value::Utf8Value(value.to_owned()));
    pb::LogicalExprNode { expr: Some(Expr::Literal(pb::ScalarValue { value })) }
}

fn binary(op: &str, operands: Vec<pb::LogicalExprNode>) -> pb::LogicalExprNode {
    pb::LogicalExprNode { expr: Some(Expr::BinaryExpr(pb::BinaryExprNode { operands, op: op.to_owned() })) }
}

fn not(of: pb::LogicalExprNode) -> pb::LogicalExprNode {
    pb::LogicalExprNode { expr: Some(Expr::Not(Box::new(pb::Not { expr: Some(Box::new(of)) }))) }
}

fn aggregate(plan: &mut pb::LogicalPlanNode) -> &mut pb::AggregateNode {
    match &mut plan.plan {
        Some(Plan::Aggregate(aggregate)) => aggregate,
        other => panic!("{other:?}"),
    }
}

fn with_filter(plan: &pb::LogicalPlanNode, filter: pb::LogicalExprNode) -> Vec<u8> {
    let mut plan = plan.clone();
    if let Some(input) = &mut aggregate(&mut plan).input
        && let Some(Plan::Selection(selection)) = &mut input.plan
    {
        selection.expr = Some(filter);
    }
    plan.encode_to_vec()
}

fn call(plan: &mut pb::LogicalPlanNode) -> &mut pb::AggregateUdfExprNode {
    let Some(Expr::Alias(alias)) = &mut aggregate(plan).aggr_expr[0].expr else { panic!() };
    let Some(Expr::AggregateUdf(call)) = &mut alias.expr.as_mut().unwrap().expr else { panic!() };
    call
}

#[test]
fn hand_made_fragments_are_refused_by_their_rule() {
    support::run(async {
        let federation = support::synthetic().await.unwrap();
        let good = fragment();
        let changed = |change: &dyn Fn(&mut pb::LogicalPlanNode)| {
            let mut plan = good.clone();
            change(&mut plan);
            plan.encode_to_vec()
        };
        let deep = (0..60).fold(column("sex"), |inner, _| not(inner));
        let equal = |name: &str, value: &str| binary("Eq", vec![column(name), text(value)]);
        let cases: Vec<(&str, &str, Vec<u8>)> = vec![
            ("no bytes", "rows-stay-home", Vec::new()),
            ("random bytes", "fragment", vec![0xFF; 300]),
            ("oversize", "fragment", vec![0; 70_000]),
            ("a bare scan", "rows-stay-home", aggregate(&mut good.clone()).input.as_ref().unwrap().encode_to_vec()),
            ("min", "aggregate-not-allowed", changed(&|p| call(p).fun_name = "min".to_owned())),
            ("array_agg", "aggregate-not-allowed", changed(&|p| call(p).fun_name = "array_agg".to_owned())),
            ("no figures", "rows-stay-home", changed(&|p| aggregate(p).aggr_expr.clear())),
            (
                "sum of an expression",
                "measure-expression",
                changed(&|p| {
                    call(p).fun_name = "sum".to_owned();
                }),
            ),
            (
                "a unit's name as key",
                "joinable-key",
                changed(&|p| {
                    if let Some(Expr::Alias(alias)) = &mut aggregate(p).group_expr[0].expr {
                        alias.expr = Some(Box::new(column("person_key")));
                    }
                }),
            ),
            ("a unit's name compared", "joinable-key", with_filter(&good, equal("person_key", "P1"))),
            ("an unknown column", "unknown-name", with_filter(&good, equal("password", "x"))),
            ("modulo", "predicate-not-allowed", with_filter(&good, binary("Modulo", vec![column("sex"), text("x")]))),
            (
                "regular expression",
                "predicate-not-allowed",
                with_filter(&good, binary("RegexMatch", vec![column("sex"), text("F.*")])),
            ),
            ("depth bomb", "fragment", with_filter(&good, deep)),
            ("too many operands", "fragment", with_filter(&good, binary("Or", vec![equal("sex", "Female"); 1_100]))),
            ("not canonical", "fragment", with_filter(&good, binary("And", vec![equal("sex", "Female"); 2]))),
            (
                "another name for a figure",
                "fragment",
                changed(&|p| {
                    if let Some(Expr::Alias(alias)) = &mut aggregate(p).aggr_expr[0].expr {
                        alias.alias = "k0".to_owned();
                    }
                }),
            ),
            (
                "another type in the schema",
                "fragment",
                changed(&|p| {
                    let Some(Plan::Selection(selection)) = &mut aggregate(p).input.as_mut().unwrap().plan else {
                        panic!()
                    };
                    let Some(Plan::CustomScan(scan)) = &mut selection.input.as_mut().unwrap().plan else { panic!() };
                    scan.schema.as_mut().unwrap().columns[0].nullable = true;
                }),
            ),
            (
                "another dataset",
                "unknown-name",
                changed(&|p| {
                    let Some(Plan::Selection(selection)) = &mut aggregate(p).input.as_mut().unwrap().plan else {
                        panic!()
                    };
                    let Some(Plan::CustomScan(scan)) = &mut selection.input.as_mut().unwrap().plan else { panic!() };
                    let bare = pb::BareTableReference { table: "../log".to_owned() };
                    scan.table_name =
                        Some(pb::TableReference { reference: Some(pb::table_reference::Reference::Bare(bare)) });
                }),
            ),
            ("a truncated fragment", "fragment", {
                let mut bytes = good.encode_to_vec();
                bytes.pop();
                bytes
            }),
            ("an unknown field", "fragment", [good.encode_to_vec(), vec![0xF8, 0x07, 0x01]].concat()),
        ];
        for (name, rule, bytes) in cases {
            let found = refused_by(federation, request(bytes)).await;
            assert_eq!(found, rule, "{name}");
        }
        assert_eq!(refused_by(federation, request(good.encode_to_vec())).await, "closed-table");
        let bytes = published(federation).await.encode_to_vec();
        let requests: [(&str, v1::SubmitRequest); 6] = [
            ("not-a-target", v1::SubmitRequest { targets: vec!["E09000001".to_owned()], ..request(bytes.clone()) }),
            ("fragment", v1::SubmitRequest { query_id: "1".to_owned(), ..request(bytes.clone()) }),
            ("fragment", v1::SubmitRequest { analyst: "root".to_owned(), ..request(bytes.clone()) }),
            ("fragment", v1::SubmitRequest { purpose: "x\u{1b}[2J".to_owned(), ..request(bytes.clone()) }),
            ("agreement", v1::SubmitRequest { purpose: "curiosity".to_owned(), ..request(bytes.clone()) }),
            (
                "agreement",
                v1::SubmitRequest { analyst: "spiffe://demo.london/analyst/eve".to_owned(), ..request(bytes.clone()) },
            ),
        ];
        for (rule, request) in requests {
            let mut node = federation.node_client(NODE);
            let request = support::logged(&mut node, &federation.layout, request).await;
            let refusal = node.submit(request).await.unwrap().into_inner().refusal.expect("a refusal");
            assert_eq!(refusal.rule, rule);
        }
        // The node is up, and the intact fragment runs.
        let mut node = federation.node_client(NODE);
        let request = support::logged(&mut node, &federation.layout, request(bytes)).await;
        assert_eq!(node.submit(request).await.unwrap().into_inner().refusal, None);
    });
}

/// The number of lines in all logs of the federation that record work: accepted, failed or released fragments, and
/// questions.
fn log_lines(federation: &Federation) -> usize {
    let nodes = federation.layout.boroughs.iter().map(|b| federation.layout.node(b.gss).join("state/log.jsonl"));
    let logs = nodes.chain([federation.layout.coordinator().join("state/log.jsonl")]);
    let worked = |line: &&str| ["ACCEPT", "RELEASE", "FAIL", "INTENT"].iter().any(|kind| line.contains(kind));
    logs.map(|log| std::fs::read_to_string(log).unwrap_or_default().lines().filter(worked).count()).sum()
}

#[test]
fn hostile_sql_is_refused_by_its_rule_and_nothing_is_read() {
    support::run(async {
        // A separate federation, because the logs of shared ones grow meanwhile.
        let federation = Federation::of(33).await;
        let before = log_lines(&federation);
        let (mut count, mut wrong) = (0, Vec::new());
        for (rule, sql, line) in crate::scenarios::refusals("hostile.slt") {
            count += 1;
            match crate::scenarios::ask(&federation.client, &sql).await {
                Err(loda::ClientError::Refused { rule: found, message, advice }) => {
                    assert!(!message.is_empty() && !advice.is_empty(), "{line}: a refusal without advice");
                    if found != rule {
                        wrong.push(format!("{line}: expected {rule}, refused by {found}: {message}: {sql}"));
                    }
                }
                Err(other) => wrong.push(format!("{line}: {other}: {sql}")),
                Ok(_) => wrong.push(format!("{line}: answered: {sql}")),
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(federation.client.nodes().await.unwrap().nodes.iter().all(|n| n.reachable));
        assert_eq!(log_lines(&federation), before, "something was asked of a borough");
        println!("{count} hostile questions refused, each by its rule; nothing was asked of a borough");
        assert!(count >= 120);
    });
}

/// A codec that encodes a table as its name alone, as an attacker's own program would.
#[derive(Debug)]
struct NamesOnly;

impl LogicalExtensionCodec for NamesOnly {
    fn try_decode(&self, _: &[u8], _: &[LogicalPlan], _: &TaskContext) -> Result<Extension> {
        not_impl_err!("encoding only")
    }

    fn try_encode(&self, _: &Extension, _: &mut Vec<u8>) -> Result<()> {
        not_impl_err!("no extensions")
    }

    fn try_decode_table_provider(
        &self,
        _: &[u8],
        _: &TableReference,
        _: SchemaRef,
        _: &TaskContext,
    ) -> Result<Arc<dyn TableProvider>> {
        not_impl_err!("encoding only")
    }

    fn try_encode_table_provider(&self, _: &TableReference, _: Arc<dyn TableProvider>, _: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }
}

/// The hostile questions as plans in DataFusion's own encoding. They go past the coordinator, straight to a node.
#[test]
fn hostile_plans_as_bytes_are_refused_and_nothing_is_read() {
    support::run(async {
        let federation = Federation::of(7).await;
        let before = log_lines(&federation);
        let context = SessionContext::new();
        for dataset in &loda_demo::datasets::SYNTHETIC {
            let schema = loda_question::plan::arrow_schema(&crate::pooled::contract(dataset.name));
            let borough = Arc::new(Field::new("borough", DataType::Utf8, false));
            let fields: Vec<_> = std::iter::once(borough).chain(schema.fields().iter().cloned()).collect();
            let table = MemTable::try_new(Arc::new(Schema::new(fields)), vec![Vec::new()]).unwrap();
            context.register_table(dataset.name, Arc::new(table)).unwrap();
        }
        let (mut sent, mut unplannable) = (0, 0);
        let mut rules: std::collections::BTreeMap<String, usize> = std::collections::BTreeMap::new();
        for (_, sql, line) in crate::scenarios::refusals("hostile.slt") {
            // In a separate task, because the engine's planner panics on one of these.
            let (state, text) = (context.state(), sql.clone());
            let planned = tokio::spawn(async move { state.create_logical_plan(&text).await }).await;
            let Ok(Ok(plan)) = planned else {
                unplannable += 1;
                continue;
            };
            let optimised = context.state().optimize(&plan);
            for plan in [Some(plan), optimised.ok()].into_iter().flatten() {
                let Ok(bytes) = logical_plan_to_bytes_with_extension_codec(&plan, &NamesOnly) else { continue };
                let bytes = bytes.to_vec();
                let halved = bytes[..bytes.len() / 2].to_vec();
                for bytes in [bytes, halved] {
                    if bytes.len() > 200_000 {
                        // The transport refuses a message of this size.
                        let mut node = federation.node_client(NODE);
                        assert!(node.submit(request(bytes)).await.is_err(), "{line}");
                        continue;
                    }
                    let mut node = federation.node_client(NODE);
                    let asked = support::logged(&mut node, &federation.layout, request(bytes)).await;
                    let query_id = asked.query_id.clone();
                    let refusal =
                        node.submit(asked).await.unwrap_or_else(|e| panic!("{line}: {e}")).into_inner().refusal;
                    let refusal = refusal.unwrap_or_else(|| panic!("{line}: accepted: {sql}"));
                    assert!(node.cancel(v1::CancelNodeRequest { query_id }).await.is_err());
                    assert!(loda_question::Rule::from_name(&refusal.rule).is_some(), "{line}: {}", refusal.rule);
                    *rules.entry(refusal.rule).or_default() += 1;
                    sent += 1;
                }
            }
        }
        // A canonical fragment with random byte errors.
        let good = fragment().encode_to_vec();
        let mut dice = support::Dice::new(9);
        for _ in 0..300 {
            let mut bytes = good.clone();
            for _ in 0..1 + dice.below(4) {
                let at = dice.index(bytes.len());
                bytes[at] = dice.next().to_le_bytes()[0];
            }
            let random: Vec<u8> = (0..dice.below(300)).map(|_| dice.next().to_le_bytes()[0]).collect();
            for bytes in [bytes, random] {
                let mut node = federation.node_client(NODE);
                let dry = v1::SubmitRequest { dry_run: true, ..request(bytes) };
                let _judged = node.submit(dry).await.unwrap();
            }
        }
        assert!(federation.client.nodes().await.unwrap().nodes.iter().all(|n| n.reachable));
        assert_eq!(log_lines(&federation), before, "something was accepted");
        println!("{sent} hostile plans as bytes refused ({unplannable} have no plan), by rule: {rules:?}");
        assert!(sent >= 240);
    });
}

/// Fragments with joins and derivations by unit that no SQL produces.
#[test]
fn hand_made_joins_are_refused_by_their_rule() {
    use loda_question::{Join, JoinKind, PerUnit, Source};
    support::run(async {
        let federation = support::synthetic().await.unwrap();
        let electors = PerUnit {
            rows: Rows::of("electoral_roll", None),
            unit: "uprn".to_owned(),
            keys: Vec::new(),
            values: vec![Figure { measure: Measure::Rows, condition: None }],
        };
        let two = Predicate::Compare {
            left: Scalar::Column("t1.d0".to_owned()),
            op: Comparison::GreaterOrEqual,
            right: Scalar::Literal(Value::Integer(2), ColumnType::Integer),
        };
        let good = question(Draft {
            rows: Rows {
                first: Source::Dataset { name: "council_tax".to_owned(), filter: None },
                joins: vec![Join {
                    kind: JoinKind::Inner,
                    source: Source::PerUnit(Box::new(electors)),
                    on: vec![("t0.uprn".to_owned(), "uprn".to_owned())],
                }],
                filter: Some(two),
            },
            keys: Vec::new(),
            figures: vec![Figure { measure: Measure::Rows, condition: None }],
        });
        let changed = |change: &dyn Fn(&mut pb::JoinNode)| {
            let mut plan = good.clone();
            let Some(Plan::Selection(selection)) = &mut aggregate(&mut plan).input.as_mut().unwrap().plan else {
                panic!()
            };
            let Some(Plan::Join(join)) = &mut selection.input.as_mut().unwrap().plan else { panic!() };
            change(join);
            plan.encode_to_vec()
        };
        let named = |name: &str| {
            let bare = pb::BareTableReference { table: name.to_owned() };
            Some(pb::TableReference { reference: Some(pb::table_reference::Reference::Bare(bare)) })
        };
        let alias = |node: &mut Option<Box<pb::LogicalPlanNode>>, name: &str| {
            let Some(Plan::SubqueryAlias(alias)) = &mut node.as_mut().unwrap().plan else { panic!() };
            alias.alias = named(name);
        };
        let key = |name: &str, relation: &str| pb::LogicalExprNode {
            expr: Some(Expr::Column(pb::Column {
                name: name.to_owned(),
                relation: Some(pb::ColumnRelation { relation: relation.to_owned() }),
            })),
        };
        let nested = |levels: usize| {
            // A chain of joins that is deeper than any question allows.
            let mut plan = good.clone();
            let Some(Plan::Selection(selection)) = &mut aggregate(&mut plan).input.as_mut().unwrap().plan else {
                panic!()
            };
            let mut input = selection.input.take();
            for _ in 0..levels {
                let join = pb::JoinNode { left: input, ..Default::default() };
                input = Some(Box::new(pb::LogicalPlanNode { plan: Some(Plan::Join(Box::new(join))) }));
            }
            selection.input = input;
            plan.encode_to_vec()
        };
        let mut cases: Vec<(&str, &str, Vec<u8>)> = vec![
            ("a join of another type", "join-not-allowed", changed(&|j| j.join_type = 3)),
            ("a join type that is none", "join-not-allowed", changed(&|j| j.join_type = 77)),
            (
                "no keys",
                "join-not-allowed",
                changed(&|j| {
                    j.left_join_key.clear();
                    j.right_join_key.clear();
                }),
            ),
            ("more keys on one side", "fragment", changed(&|j| j.left_join_key.push(key("uprn", "t0")))),
            (
                "one key twice",
                "fragment",
                changed(&|j| {
                    j.left_join_key.push(key("uprn", "t0"));
                    j.right_join_key.push(key("uprn", "t1"));
                }),
            ),
            ("a key that is a dimension", "join-not-allowed", changed(&|j| j.left_join_key = vec![key("ward", "t0")])),
            ("a key that is a count", "join-not-allowed", changed(&|j| j.right_join_key = vec![key("d0", "t1")])),
            ("a key of nobody", "unknown-name", changed(&|j| j.left_join_key = vec![key("nobody", "t0")])),
            ("a key of another source", "fragment", changed(&|j| j.right_join_key = vec![key("uprn", "t0")])),
            ("a key of no source", "fragment", changed(&|j| j.left_join_key = vec![key("uprn", "people")])),
            ("a key of a source by another name", "fragment", changed(&|j| j.left_join_key = vec![key("uprn", "t00")])),
            ("a key of a source with a sign", "fragment", changed(&|j| j.left_join_key = vec![key("uprn", "t+0")])),
            ("a key of a source within another", "fragment", changed(&|j| j.left_join_key = vec![key("uprn", "x.t0")])),
            (
                "a key of a source without end",
                "fragment",
                changed(&|j| j.left_join_key = vec![key("uprn", "t99999999999999999999")]),
            ),
            ("a key of a source without a name", "fragment", changed(&|j| j.left_join_key = vec![key("uprn", "")])),
            ("a source at another place", "fragment", changed(&|j| alias(&mut j.right, "t2"))),
            ("a place written otherwise", "fragment", changed(&|j| alias(&mut j.right, "t01"))),
            ("a place with a sign", "fragment", changed(&|j| alias(&mut j.right, "t+1"))),
            ("a place that is none", "fragment", changed(&|j| alias(&mut j.right, "people"))),
            (
                "a source without a place",
                "operator-not-allowed",
                changed(&|j| {
                    let Some(Plan::SubqueryAlias(alias)) = j.right.take().unwrap().plan else { panic!() };
                    j.right = alias.input;
                }),
            ),
            ("no right side", "fragment", changed(&|j| j.right = None)),
            ("a full stop in a name", "fragment", changed(&|j| j.left_join_key = vec![key("t0.uprn", "t0")])),
            ("joins without end", "fragment", nested(40)),
            (
                "a value counted of something else",
                "aggregate-not-allowed",
                changed(&|j| {
                    let Some(Plan::SubqueryAlias(alias)) = &mut j.right.as_mut().unwrap().plan else { panic!() };
                    let Some(Plan::Aggregate(inner)) = &mut alias.input.as_mut().unwrap().plan else { panic!() };
                    let Some(Expr::Alias(alias)) = &mut inner.aggr_expr[0].expr else { panic!() };
                    let Some(Expr::AggregateUdf(call)) = &mut alias.expr.as_mut().unwrap().expr else { panic!() };
                    call.fun_name = "array_agg".to_owned();
                }),
            ),
            (
                "a derivation by a dimension",
                "unit-count",
                changed(&|j| {
                    let Some(Plan::SubqueryAlias(alias)) = &mut j.right.as_mut().unwrap().plan else { panic!() };
                    let Some(Plan::Aggregate(inner)) = &mut alias.input.as_mut().unwrap().plan else { panic!() };
                    inner.group_expr = vec![column("franchise")];
                }),
            ),
            (
                "a derivation by an expression",
                "fragment",
                changed(&|j| {
                    let Some(Plan::SubqueryAlias(alias)) = &mut j.right.as_mut().unwrap().plan else { panic!() };
                    let Some(Plan::Aggregate(inner)) = &mut alias.input.as_mut().unwrap().plan else { panic!() };
                    inner.group_expr = vec![binary("Plus", vec![column("uprn"), text("1")])];
                }),
            ),
        ];
        // Drafts without a derivation, which our encoder does not write: their canonical parts are put together here.
        let by = |rows: Rows, unit: &str, values: Vec<Figure>| {
            Source::PerUnit(Box::new(PerUnit { rows, unit: unit.to_owned(), keys: Vec::new(), values }))
        };
        let on = |a: &str, b: &str| vec![(a.to_owned(), b.to_owned())];
        let units = |unit: &str| vec![Figure { measure: Measure::Units(unit.to_owned()), condition: None }];
        let joined = |first: &str, kind, source, on| Rows {
            first: Source::Dataset { name: first.to_owned(), filter: None },
            joins: vec![Join { kind, source, on }],
            filter: None,
        };
        let dataset = |name: &str| Source::Dataset { name: name.to_owned(), filter: None };
        let drafts: Vec<(&str, &str, Draft)> = vec![
            (
                "a semi join on a reference key",
                "join-not-allowed",
                Draft {
                    rows: joined("council_tax", JoinKind::Semi, dataset("wards"), on("t0.ward_code", "ward_code")),
                    keys: Vec::new(),
                    figures: units("t0.uprn"),
                },
            ),
            (
                "people by property, then by person",
                "unit-count",
                Draft {
                    rows: joined(
                        "electoral_roll",
                        JoinKind::Left,
                        by(Rows::of("repairs", None), "uprn", Vec::new()),
                        on("t0.uprn", "uprn"),
                    ),
                    keys: Vec::new(),
                    figures: units("t0.franchise"),
                },
            ),
            (
                "the greatest of all",
                "aggregate-not-allowed",
                Draft {
                    rows: Rows::of("repairs", None),
                    keys: Vec::new(),
                    figures: vec![Figure { measure: Measure::Greatest("cost".to_owned()), condition: None }],
                },
            ),
            (
                "squares of each unit",
                "aggregate-not-allowed",
                Draft {
                    rows: Rows {
                        first: by(
                            Rows::of("repairs", None),
                            "uprn",
                            vec![Figure { measure: Measure::Square("cost".to_owned()), condition: None }],
                        ),
                        joins: Vec::new(),
                        filter: None,
                    },
                    keys: Vec::new(),
                    figures: units("t0.uprn"),
                },
            ),
        ];
        let known = |name: &str| Some(crate::pooled::contract(name));
        for (name, rule, draft) in drafts {
            let refusal = Question::derive(draft, &known).err().unwrap_or_else(|| panic!("{name}: derived"));
            assert_eq!(refusal.rule.name(), rule, "{name}: {refusal}");
        }
        cases.push(("the unspoilt fragment with a byte more", "fragment", [good.encode_to_vec(), vec![0]].concat()));
        for (name, rule, bytes) in cases {
            assert_eq!(refused_by(federation, request(bytes)).await, rule, "{name}");
        }
        // It is canonical and about people, but it is not a table.
        assert_eq!(refused_by(federation, request(good.encode_to_vec())).await, "closed-table");
    });
}

#[test]
fn an_edge_in_another_scale_is_not_an_edge() {
    support::run(async {
        let federation = support::synthetic().await.unwrap();
        let edge = Predicate::Compare {
            left: Scalar::Column("weekly_cost".to_owned()),
            op: Comparison::GreaterOrEqual,
            right: Scalar::Literal(Value::Decimal(50_000), ColumnType::Decimal(2)),
        };
        let good = question(Draft {
            rows: Rows::of("social_care_clients", Some(edge)),
            keys: vec![Scalar::Column("need".to_owned())],
            figures: vec![Figure { measure: Measure::Rows, condition: None }],
        });
        // The edge's digits with another scale are another amount.
        let value = pb::Decimal128 { value: 50_000_i128.to_be_bytes().to_vec(), p: 38, s: 1 };
        let literal = pb::ScalarValue { value: Some(pb::scalar_value::Value::Decimal128Value(value)) };
        let literal = pb::LogicalExprNode { expr: Some(Expr::Literal(literal)) };
        let bytes = with_filter(&good, binary("GtEq", vec![column("weekly_cost"), literal]));
        assert_eq!(refused_by(federation, request(bytes)).await, "band-edge");
    });
}

#[test]
fn an_id_never_runs_twice_nor_stands_for_two_questions() {
    support::run(async {
        let federation = support::synthetic().await.unwrap();
        let good = published(federation).await;
        let mut node = federation.node_client(NODE);
        let first = support::logged(&mut node, &federation.layout, request(good.encode_to_vec())).await;
        for _ in 0..2 {
            assert_eq!(node.submit(first.clone()).await.unwrap().into_inner().refusal, None);
        }
        let mut other = good.clone();
        let twice = aggregate(&mut other).aggr_expr[0].clone();
        if let Some(Plan::Aggregate(aggregate)) = &mut other.plan {
            let Some(Expr::Alias(mut alias)) = twice.expr else { panic!() };
            alias.alias = "f1".to_owned();
            aggregate.aggr_expr.push(pb::LogicalExprNode { expr: Some(Expr::Alias(alias)) });
        }
        let other_question = v1::SubmitRequest { fragment: other.encode_to_vec(), ..first.clone() };
        let other_purpose = v1::SubmitRequest { purpose: "housing-safety".to_owned(), ..first };
        for second in [other_question, other_purpose] {
            let refusal = node.submit(second).await.unwrap().into_inner().refusal.expect("a refusal");
            assert_eq!(refusal.rule, "fragment");
        }
    });
}

/// A captured coordinator with its key and its certificate, but with another log than it showed before.
#[test]
fn a_coordinator_whose_log_does_not_continue_is_told_nothing_and_fills_no_log() {
    support::run(async {
        let federation = Federation::of(1).await;
        let gss = federation.layout.boroughs[0].gss;
        let bytes = published(&federation).await.encode_to_vec();
        let mut node = federation.node_client(gss);
        let mut asked = async |log: Option<v1::LogHead>| {
            let request = v1::SubmitRequest { targets: vec![gss.to_owned()], log, ..request(bytes.clone()) };
            node.submit(request).await.unwrap().into_inner().refusal.map(|refusal| refusal.rule)
        };
        let mut other = federation.node_client(gss);
        let good = support::logged(&mut other, &federation.layout, request(Vec::new())).await.log.unwrap();
        assert_eq!(asked(Some(good.clone())).await, None);
        // From now on its log continues the one that was seen.
        let entries = good.entries;
        let good = v1::LogHead { at: entries, at_hash: good.hash.clone(), ..good };
        assert_eq!(asked(Some(good.clone())).await, None);
        let longer = v1::LogHead { entries: entries + 5, hash: vec![7; 32], ..good.clone() };
        let bad = [
            ("none", None),
            ("empty", Some(v1::LogHead { entries: 0, hash: Vec::new(), ..good.clone() })),
            ("of another key", Some(v1::LogHead { log: "0123456789abcdef".to_owned(), ..longer.clone() })),
            ("of no key", Some(v1::LogHead { log: String::new(), ..longer.clone() })),
            ("no hash", Some(v1::LogHead { hash: vec![7; 31], ..longer.clone() })),
            ("another as long", Some(v1::LogHead { hash: vec![7; 32], ..good.clone() })),
            ("another, longer", Some(v1::LogHead { at_hash: vec![7; 32], ..longer.clone() })),
            ("without a proof", Some(v1::LogHead { at: 0, at_hash: Vec::new(), ..longer.clone() })),
            ("a proof of nothing seen", Some(v1::LogHead { at: entries + 1, ..longer.clone() })),
            ("shorter", Some(v1::LogHead { at_hash: Vec::new(), ..longer.clone() })),
            ("at the end of numbers", Some(v1::LogHead { entries: u64::MAX, at: u64::MAX, ..longer.clone() })),
        ];
        for (what, head) in bad {
            assert_eq!(asked(head).await.as_deref(), Some("query-log"), "{what}");
            // The fragment may run at once, or wait for others.
            assert_ne!(asked(Some(good.clone())).await.as_deref(), Some("query-log"), "after {what}");
        }
        // A head that goes back and forth is logged a few times, not each time.
        let log = federation.layout.node(gss).join("state/log.jsonl");
        let of = |kind: &str| std::fs::read_to_string(&log).unwrap().lines().filter(|line| line.contains(kind)).count();
        let before = of("\"ADMIN\"");
        for _ in 0..150 {
            let forked = v1::LogHead { at_hash: vec![7; 32], ..longer.clone() };
            assert_eq!(asked(Some(forked)).await.as_deref(), Some("query-log"));
            assert_ne!(asked(Some(good.clone())).await.as_deref(), Some("query-log"));
        }
        let (changes, refusals) = (of("\"ADMIN\"") - before, of("\"REFUSE\""));
        println!("300 heads to and fro: {changes} changes and {refusals} refusals in the log");
        assert!(changes <= 60 && refusals <= 60, "{changes} {refusals}");
    });
}

/// The coordinator refuses a purpose that no node accepts. Its log holds at most 128 characters of it, so that entries
/// stay short.
#[test]
fn a_purpose_that_no_node_takes_is_refused_before_it_is_logged() {
    support::run(async {
        let federation = support::synthetic().await.unwrap();
        let log = federation.layout.coordinator().join("state/log.jsonl");
        for purpose in ["x".repeat(129), "\u{1}".repeat(100_000), "demo\n".to_owned(), "dëmo".to_owned()] {
            let said = federation.client.prepare("SELECT COUNT(*) FROM schools", &purpose, false).await;
            assert!(
                matches!(&said, Err(loda::ClientError::Refused { rule, .. }) if rule == "statement-not-allowed"),
                "{said:?}"
            );
        }
        let longest = std::fs::read_to_string(log).unwrap().lines().map(str::len).max().unwrap();
        assert!(longest < 100_000, "{longest}");
    });
}
