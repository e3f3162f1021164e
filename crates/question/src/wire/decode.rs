//! From bytes to a draft, and from a draft to the question whose canonical bytes they are.
//!
//! The shape is fixed: one aggregate over an optional selection over joins over sources that are named by their places. A
//! plan of another shape is refused where it deviates, and never repaired.

use loda_contract::Value;
use loda_proto::fragment as pb;
use pb::logical_expr_node::Expr;
use pb::logical_plan_node::Plan;
use prost::Message;

use super::encode::{FIGURE, KEY, VALUE, join_type};
use super::expressions::{column_name, required};
use super::limits::{Decoder, Limits, fault};
use crate::derive::Question;
use crate::draft::column_name::{ColumnName, source_of};
use crate::draft::{Draft, Figure, Join, JoinKind, Measure, PerUnit, Rows, Scalar, Source};
use crate::refusal::{Checked, Refusal, Rule};
use crate::scope::Contracts;

impl Draft {
    /// Decodes a draft.
    ///
    /// # Errors
    /// Rule `fragment` with the fault in words, or the rule that the shape breaks; never a panic.
    pub fn decode(bytes: &[u8], limits: Limits) -> Checked<Self> {
        if bytes.len() > limits.bytes {
            return Err(fault("the fragment is longer than the limit"));
        }
        let root = pb::LogicalPlanNode::decode(bytes).map_err(|_| fault("the bytes are not a fragment"))?;
        Decoder::new(limits).draft(root)
    }
}

impl Question {
    /// Decodes, derives, and checks that the bytes are the canonical ones.
    ///
    /// # Errors
    /// Rule `fragment` where the bytes are not canonical, otherwise the rule that failed.
    pub fn decode(bytes: &[u8], limits: Limits, contracts: Contracts<'_>) -> Checked<Self> {
        let draft = Draft::decode(bytes, limits)?;
        let question = Self::derive(draft, contracts)?;
        if question.encode() == bytes {
            return Ok(question);
        }
        Err(fault("the bytes are not canonical, or the schema is not the contract's"))
    }
}

impl Decoder {
    fn draft(&mut self, root: pb::LogicalPlanNode) -> Checked<Draft> {
        let Some(Plan::Aggregate(aggregate)) = root.plan else {
            return Err(Refusal::new(
                Rule::Rows,
                "the fragment does not end in an aggregate, so it would list rows",
                "Ask for figures: COUNT, COUNT(DISTINCT unit), SUM or AVG",
            ));
        };
        let rows = self.rows(aggregate.input, 1)?;
        self.count_operands(aggregate.group_expr.len().max(aggregate.aggr_expr.len()))?;
        let mut keys = Vec::new();
        for (number, expr) in aggregate.group_expr.into_iter().enumerate() {
            let expr = aliased(expr, KEY, number)?;
            keys.push(self.scalar(expr, 1)?);
        }
        let figures = self.figures(aggregate.aggr_expr, FIGURE)?;
        Ok(Draft { rows, keys, figures })
    }

    fn figures(&mut self, exprs: Vec<pb::LogicalExprNode>, prefix: &str) -> Checked<Vec<Figure>> {
        self.count_operands(exprs.len())?;
        let mut figures = Vec::new();
        for (number, expr) in exprs.into_iter().enumerate() {
            let expr = aliased(expr, prefix, number)?;
            figures.push(self.figure(expr)?);
        }
        Ok(figures)
    }

    /// Selection? over joins over placed sources, or over one bare scan.
    fn rows(&mut self, input: Option<Box<pb::LogicalPlanNode>>, depth: usize) -> Checked<Rows> {
        self.enter(depth)?;
        let (input, filter) = match plan_of(input)? {
            Plan::Selection(selection) => {
                let filter = selection.expr.ok_or_else(|| fault("a filter is empty"))?;
                (plan_of(selection.input)?, Some(self.predicate(filter, depth + 1)?))
            }
            other => (other, None),
        };
        if let Plan::CustomScan(scan) = input {
            return Ok(Rows::of(dataset(scan)?, filter));
        }
        let mut joins = Vec::new();
        let mut input = input;
        loop {
            self.enter(depth)?;
            match input {
                Plan::Join(join) => {
                    let (left, join) = self.join(*join, depth)?;
                    joins.push(join);
                    input = left;
                }
                first => {
                    joins.reverse();
                    let first = self.placed(first, 0, depth)?;
                    for (place, (seen, _)) in (1..).zip(&joins) {
                        if *seen != place {
                            return Err(fault("sources are not named by their places"));
                        }
                    }
                    let joins = joins.into_iter().map(|(_, join)| join).collect();
                    return Ok(Rows { first, joins, filter });
                }
            }
        }
    }

    /// The left side, and the join with the place that its source says it has.
    fn join(&mut self, join: pb::JoinNode, depth: usize) -> Checked<(Plan, (usize, Join))> {
        let kind = pb::JoinType::try_from(join.join_type).ok();
        let kind = JoinKind::ALL.into_iter().find(|k| Some(join_type(*k)) == kind);
        let kind = kind.ok_or_else(|| {
            Refusal::new(
                Rule::Join,
                "a join of this type is not in the algebra",
                "Use an inner, left, semi or anti join",
            )
        })?;
        self.count_operands(join.left_join_key.len().max(join.right_join_key.len()))?;
        if join.left_join_key.len() != join.right_join_key.len() {
            return Err(fault("a join has more keys on one side"));
        }
        let right = plan_of(join.right)?;
        let place = place_of(&right)?;
        let source = self.placed(right, place, depth)?;
        let mut on = Vec::new();
        for (left, right) in join.left_join_key.into_iter().zip(join.right_join_key) {
            let (Some(Expr::Column(left)), Some(Expr::Column(right))) = (left.expr, right.expr) else {
                return Err(fault("a join key is not a column"));
            };
            let right = column_name(right)?;
            let ColumnName { source, name } = ColumnName::of(&right);
            if source != Some(place) {
                return Err(fault("a join key is of another source"));
            }
            on.push((column_name(left)?, name.to_owned()));
        }
        Ok((plan_of(join.left)?, (place, Join { kind, source, on })))
    }

    /// A source under the name that its place gives it.
    fn placed(&mut self, plan: Plan, place: usize, depth: usize) -> Checked<Source> {
        if place_of(&plan)? != place {
            return Err(fault("sources are not named by their places"));
        }
        let Plan::SubqueryAlias(alias) = plan else { return Err(operator()) };
        self.enter(depth)?;
        match plan_of(alias.input)? {
            Plan::CustomScan(scan) => Ok(Source::Dataset { name: dataset(scan)?, filter: None }),
            Plan::Selection(selection) => match plan_of(selection.input)? {
                Plan::CustomScan(scan) => {
                    let filter = selection.expr.ok_or_else(|| fault("a filter is empty"))?;
                    let filter = Some(self.predicate(filter, depth + 1)?);
                    Ok(Source::Dataset { name: dataset(scan)?, filter })
                }
                _ => Err(operator()),
            },
            Plan::Aggregate(aggregate) => {
                let rows = self.rows(aggregate.input, depth + 1)?;
                self.count_operands(aggregate.group_expr.len())?;
                let mut names = Vec::new();
                for expr in aggregate.group_expr {
                    let Some(Expr::Column(column)) = expr.expr else {
                        return Err(fault("a key of a subquery by unit is not a bare column"));
                    };
                    names.push(column_name(column)?);
                }
                let mut names = names.into_iter();
                let unit = names.next().ok_or_else(operator)?;
                let values = self.figures(aggregate.aggr_expr, VALUE)?;
                Ok(Source::PerUnit(Box::new(PerUnit { rows, unit, keys: names.collect(), values })))
            }
            Plan::Join(_) | Plan::SubqueryAlias(_) => Err(operator()),
        }
    }

    fn figure(&mut self, expr: pb::LogicalExprNode) -> Checked<Figure> {
        self.enter(1)?;
        let Some(Expr::AggregateUdf(call)) = expr.expr else {
            return Err(aggregate_rule("something that is not an aggregate"));
        };
        let condition = call.filter.map(|f| self.predicate(*f, 2)).transpose()?;
        let mut arguments = call.args.into_iter();
        let (Some(argument), None) = (arguments.next(), arguments.next()) else {
            return Err(aggregate_rule("an aggregate with more or fewer arguments than one"));
        };
        if let ("sum", false, Some(Expr::BinaryExpr(product))) = (call.fun_name.as_str(), call.distinct, &argument.expr)
        {
            let measure = product_of(product)?;
            self.enter(2)?;
            return Ok(Figure { measure, condition });
        }
        let measure = match (call.fun_name.as_str(), call.distinct, self.scalar(argument, 2)?) {
            ("count", false, Scalar::Literal(Value::Integer(1), _)) => Measure::Rows,
            ("count", true, Scalar::Column(name)) => Measure::Units(name),
            ("count", false, Scalar::Column(name)) => Measure::Present(name),
            ("sum", false, Scalar::Column(name)) => Measure::Sum(name),
            ("min", false, Scalar::Column(name)) => Measure::Least(name),
            ("max", false, Scalar::Column(name)) => Measure::Greatest(name),
            ("sum", _, _) => {
                return Err(Refusal::new(Rule::MeasureExpression, "SUM is given an expression", "Sum a bare measure"));
            }
            _ => return Err(aggregate_rule("this aggregate")),
        };
        Ok(Figure { measure, condition })
    }
}

fn plan_of(node: Option<Box<pb::LogicalPlanNode>>) -> Checked<Plan> {
    node.and_then(|n| n.plan).ok_or_else(|| fault("an input is missing"))
}

fn dataset(scan: pb::CustomTableScanNode) -> Checked<String> {
    name_of(scan.table_name)
}

fn name_of(table: Option<pb::TableReference>) -> Checked<String> {
    match table.and_then(|t| t.reference) {
        Some(pb::table_reference::Reference::Bare(bare)) => Ok(bare.table),
        None => Err(fault("a table has no name")),
    }
}

fn place_of(plan: &Plan) -> Checked<usize> {
    let Plan::SubqueryAlias(alias) = plan else { return Err(operator()) };
    let name = name_of(alias.alias.clone())?;
    source_of(&name).ok_or_else(|| fault("sources are not named by their places"))
}

/// The product of two columns, one and the same or a pair.
fn product_of(binary: &pb::BinaryExprNode) -> Checked<Measure> {
    let refused = || {
        Refusal::new(Rule::MeasureExpression, "SUM is given an expression", "Sum a bare measure, or a declared pair")
    };
    let [a, b] = binary.operands.as_slice() else { return Err(refused()) };
    let (Some(Expr::Column(a)), Some(Expr::Column(b)), "Multiply") = (&a.expr, &b.expr, binary.op.as_str()) else {
        return Err(refused());
    };
    let (a, b) = (column_name(a.clone())?, column_name(b.clone())?);
    Ok(if a == b { Measure::Square(a) } else { Measure::Product(a, b) })
}

fn aliased(expr: pb::LogicalExprNode, prefix: &str, number: usize) -> Checked<pb::LogicalExprNode> {
    match expr.expr {
        Some(Expr::Alias(alias)) if alias.alias == format!("{prefix}{number}") => required(alias.expr),
        _ => Err(fault("keys and figures are not named by their positions")),
    }
}

fn operator() -> Refusal {
    Refusal::new(
        Rule::Operator,
        "an operator over rows is not in the algebra",
        "Scan datasets, join them on units, filter and group",
    )
}

fn aggregate_rule(what: &str) -> Refusal {
    Refusal::new(
        Rule::Aggregate,
        format!("{what} cannot be released"),
        "Use COUNT(*), COUNT(column), COUNT(DISTINCT unit), SUM or AVG of a measure",
    )
}
