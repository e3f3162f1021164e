//! Hand-made fragments and requests, as a coordinator gone bad would send them: each a typed refusal, the
//! node up, nothing read.

use loda_proto::fragment as pb;
use loda_proto::fragment::logical_expr_node::Expr;
use loda_proto::fragment::logical_plan_node::Plan;
use loda_proto::v1;
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
        authority: None,
    }
}

async fn refused_by(federation: &Federation, request: v1::SubmitRequest) -> String {
    let mut node = federation.node_client(NODE);
    let query_id = request.query_id.clone();
    let refusal = node.submit(request).await.unwrap().into_inner().refusal;
    let refusal = refusal.expect("a refusal");
    assert!(!refusal.message.is_empty() && !refusal.advice.is_empty());
    // Nothing was begun under this id.
    assert!(node.watch(v1::WatchNodeRequest { query_id }).await.is_err());
    refusal.rule
}

/// A canonical fragment to spoil.
async fn fragment(federation: &Federation) -> pb::LogicalPlanNode {
    let sql = "SELECT age_band, COUNT(*) FROM residents WHERE sex = 'Female' OR tenure IS NULL GROUP BY age_band";
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
        let good = fragment(federation).await;
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
        let bytes = good.encode_to_vec();
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
            let refusal = node.submit(request).await.unwrap().into_inner().refusal.expect("a refusal");
            assert_eq!(refusal.rule, rule);
        }
        // The node is up, and the unspoilt fragment runs.
        let mut node = federation.node_client(NODE);
        assert_eq!(node.submit(request(bytes)).await.unwrap().into_inner().refusal, None);
    });
}

#[test]
fn an_edge_in_another_scale_is_not_an_edge() {
    support::run(async {
        let federation = support::synthetic().await.unwrap();
        let sql = "SELECT need, COUNT(*) FROM social_care_clients WHERE weekly_cost >= 500 GROUP BY need";
        let prepared = federation.client.prepare(sql, "demo", false).await.unwrap();
        assert_eq!(prepared.refusal, None);
        let good = pb::LogicalPlanNode::decode(prepared.fragments[0].bytes.as_slice()).unwrap();
        // The edge's units under another scale would be another amount.
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
        let good = fragment(federation).await;
        let first = request(good.encode_to_vec());
        let mut node = federation.node_client(NODE);
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
