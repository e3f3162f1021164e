//! From `loda.fragment.v1` bytes to a draft, under limits. Whatever is not a canonical fragment is refused.

use loda_contract::{ColumnType, Grain, Value};
use loda_proto::fragment as pb;
use pb::logical_expr_node::Expr;
use pb::logical_plan_node::Plan;
use prost::Message;

use crate::derive::Question;
use crate::draft::{
    Arithmetic, Comparison, DatePart, Draft, Figure, Join, JoinKind, Measure, PerUnit, Predicate, Rows, Scalar, Source,
};
use crate::encode::{FIGURE, KEY, PRECISION, VALUE, join_type, op_name};
use crate::refusal::{Refusal, Rule};
use crate::scope::Contracts;

/// What a fragment may hold at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub bytes: usize,
    /// Expression nodes in all.
    pub nodes: usize,
    /// Nesting; a long AND chain is one level with many operands.
    pub depth: usize,
    /// Operands of one node.
    pub operands: usize,
}

/// The limits that nodes apply.
pub const LIMITS: Limits = Limits { bytes: 64 << 10, nodes: 4_000, depth: 24, operands: 1_024 };

type Decoded<T> = Result<T, Refusal>;

impl Draft {
    /// Decodes a draft.
    ///
    /// # Errors
    /// Rule `fragment`, with what was wrong in words; never a panic.
    pub fn decode(bytes: &[u8], limits: Limits) -> Decoded<Self> {
        if bytes.len() > limits.bytes {
            return Err(fault("the fragment is longer than the limit"));
        }
        let root = pb::LogicalPlanNode::decode(bytes).map_err(|_| fault("the bytes are not a fragment"))?;
        let mut decoder = Decoder { limits, nodes: 0 };
        decoder.draft(root)
    }
}

impl Question {
    /// Decodes, derives, and checks that the bytes are the canonical ones.
    ///
    /// # Errors
    /// Rule `fragment` where the bytes are not canonical, otherwise the rule that failed.
    pub fn decode(bytes: &[u8], limits: Limits, contracts: Contracts<'_>) -> Decoded<Self> {
        let draft = Draft::decode(bytes, limits)?;
        let question = Self::derive(draft, contracts)?;
        if question.encode() == bytes {
            return Ok(question);
        }
        Err(fault("the bytes are not canonical, or the schema is not the contract's"))
    }
}

pub(crate) fn fault(message: &str) -> Refusal {
    Refusal::new(Rule::Fragment, message, "Send the fragment that Prepare returned, unchanged")
}

struct Decoder {
    limits: Limits,
    nodes: usize,
}

impl Decoder {
    fn draft(&mut self, root: pb::LogicalPlanNode) -> Decoded<Draft> {
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

    fn figures(&mut self, exprs: Vec<pb::LogicalExprNode>, prefix: &str) -> Decoded<Vec<Figure>> {
        self.count_operands(exprs.len())?;
        let mut figures = Vec::new();
        for (number, expr) in exprs.into_iter().enumerate() {
            let expr = aliased(expr, prefix, number)?;
            figures.push(self.figure(expr)?);
        }
        Ok(figures)
    }

    /// Selection? over joins over placed sources, or over one bare scan.
    fn rows(&mut self, input: Option<Box<pb::LogicalPlanNode>>, depth: usize) -> Decoded<Rows> {
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

    /// What stands on the left, and the join with the place that its source says it has.
    fn join(&mut self, join: pb::JoinNode, depth: usize) -> Decoded<(Plan, (usize, Join))> {
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
            let bare =
                right.strip_prefix(&format!("t{place}.")).ok_or_else(|| fault("a join key is of another source"))?;
            on.push((column_name(left)?, bare.to_owned()));
        }
        Ok((plan_of(join.left)?, (place, Join { kind, source, on })))
    }

    /// A source under the name that its place gives it.
    fn placed(&mut self, plan: Plan, place: usize, depth: usize) -> Decoded<Source> {
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

    fn enter(&mut self, depth: usize) -> Decoded<()> {
        self.nodes = self.nodes.saturating_add(1);
        if depth > self.limits.depth || self.nodes > self.limits.nodes {
            return Err(fault("the fragment has more or deeper expressions than the limit"));
        }
        Ok(())
    }

    fn count_operands(&self, operands: usize) -> Decoded<()> {
        if operands > self.limits.operands {
            return Err(fault("an expression has more operands than the limit"));
        }
        Ok(())
    }

    fn figure(&mut self, expr: pb::LogicalExprNode) -> Decoded<Figure> {
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

    fn scalar(&mut self, expr: pb::LogicalExprNode, depth: usize) -> Decoded<Scalar> {
        self.enter(depth)?;
        match expr.expr.ok_or_else(|| fault("an expression is empty"))? {
            Expr::Column(column) => Ok(Scalar::Column(column_name(column)?)),
            Expr::Literal(value) => literal(value),
            Expr::Cast(cast) => {
                let kind = column_type(cast.arrow_type)?;
                let inner = required(cast.expr)?;
                let Some(Expr::ScalarUdf(call)) = inner.expr else { return Err(function("a cast")) };
                self.enter(depth + 1)?;
                self.date_function(call, kind, depth + 2)
            }
            Expr::ScalarUdf(call) => {
                self.count_operands(call.args.len())?;
                let mut args = Vec::new();
                for arg in call.args {
                    args.push(self.scalar(arg, depth + 1)?);
                }
                scalar_function(&call.fun_name, args)
            }
            Expr::Case(case) => {
                self.count_operands(case.when_then.len())?;
                let mut branches = Vec::new();
                for branch in case.when_then {
                    let when = branch.when.ok_or_else(|| fault("a CASE branch is empty"))?;
                    let then = branch.then.ok_or_else(|| fault("a CASE branch is empty"))?;
                    branches.push((self.predicate(when, depth + 1)?, self.scalar(then, depth + 1)?));
                }
                let otherwise = case.else_expr.map(|e| self.scalar(*e, depth + 1)).transpose()?.map(Box::new);
                Ok(Scalar::Case { branches, otherwise })
            }
            Expr::Alias(_) | Expr::AggregateUdf(_) | Expr::Cube(_) => Err(function("an expression inside another")),
            Expr::BinaryExpr(binary) => {
                let op = Arithmetic::ALL.into_iter().find(|op| op.wire() == binary.op);
                let op = op.ok_or_else(|| function("an operator as a value"))?;
                let mut operands = binary.operands.into_iter();
                let (Some(of), Some(by), None) = (operands.next(), operands.next(), operands.next()) else {
                    return Err(fault("arithmetic has more or fewer sides than two"));
                };
                let of = self.scalar(of, depth + 1)?;
                match self.scalar(by, depth + 1)? {
                    Scalar::Literal(Value::Integer(by), _) => Ok(Scalar::Arithmetic(op, Box::new(of), by)),
                    _ => Err(function("arithmetic with something other than a literal")),
                }
            }
            Expr::IsNull(_) | Expr::IsNotNull(_) | Expr::Not(_) | Expr::InList(_) => {
                Err(function("a condition as a value"))
            }
        }
    }

    fn date_function(&mut self, call: pb::ScalarUdfExprNode, kind: ColumnType, depth: usize) -> Decoded<Scalar> {
        let mut args = call.args.into_iter();
        let (Some(name), Some(of), None) = (args.next(), args.next(), args.next()) else {
            return Err(function("a date function with other arguments"));
        };
        let Scalar::Literal(Value::Text(name), _) = self.scalar(name, depth)? else {
            return Err(function("a date function whose part is not a literal"));
        };
        let of = Box::new(self.scalar(of, depth)?);
        match (call.fun_name.as_str(), kind) {
            ("date_trunc", ColumnType::Date) => {
                Grain::from_name(&name).map(|grain| Scalar::DateTrunc(grain, of)).ok_or_else(|| function("this grain"))
            }
            ("date_part", ColumnType::Integer) => DatePart::ALL
                .into_iter()
                .find(|p| *p.name() == *name)
                .map(|part| Scalar::DatePart(part, of))
                .ok_or_else(|| function("this date part")),
            _ => Err(function("a cast")),
        }
    }

    fn predicate(&mut self, expr: pb::LogicalExprNode, depth: usize) -> Decoded<Predicate> {
        self.enter(depth)?;
        match expr.expr.ok_or_else(|| fault("an expression is empty"))? {
            Expr::BinaryExpr(binary) => self.binary(binary, depth),
            Expr::IsNull(of) => Ok(Predicate::IsNull(self.scalar(required(of.expr)?, depth + 1)?)),
            Expr::IsNotNull(of) => {
                let of = self.scalar(required(of.expr)?, depth + 1)?;
                Ok(Predicate::Not(Box::new(Predicate::IsNull(of))))
            }
            Expr::Not(of) => Ok(Predicate::Not(Box::new(self.predicate(required(of.expr)?, depth + 1)?))),
            Expr::InList(list) => {
                self.count_operands(list.list.len())?;
                let of = self.scalar(required(list.expr)?, depth + 1)?;
                let mut values = Vec::new();
                for item in list.list {
                    match self.scalar(item, depth + 1)? {
                        Scalar::Literal(value, kind) => values.push((value, kind)),
                        _ => return Err(fault("an IN list holds something that is not a literal")),
                    }
                }
                Ok(Predicate::In { of, values })
            }
            Expr::Literal(value) => match literal(value)? {
                Scalar::Literal(Value::Boolean(truth), _) => Ok(Predicate::Constant(Some(truth))),
                Scalar::Literal(Value::Null, ColumnType::Boolean) => Ok(Predicate::Constant(None)),
                _ => Err(fault("a condition is a literal of another type")),
            },
            other => {
                let scalar = self.scalar(pb::LogicalExprNode { expr: Some(other) }, depth)?;
                Ok(Predicate::Truth(scalar))
            }
        }
    }

    fn binary(&mut self, binary: pb::BinaryExprNode, depth: usize) -> Decoded<Predicate> {
        self.count_operands(binary.operands.len())?;
        if let "And" | "Or" = binary.op.as_str() {
            let mut operands = Vec::new();
            for operand in binary.operands {
                operands.push(self.predicate(operand, depth + 1)?);
            }
            return Ok(if binary.op == "And" { Predicate::And(operands) } else { Predicate::Or(operands) });
        }
        let op = Comparison::ALL.into_iter().find(|c| op_name(c.sql()) == binary.op).ok_or_else(|| {
            Refusal::new(
                Rule::Predicate,
                "an operator is neither a comparison nor AND, OR",
                "Compare dimensions with literals, bare",
            )
        })?;
        let mut operands = binary.operands.into_iter();
        let (Some(left), Some(right), None) = (operands.next(), operands.next(), operands.next()) else {
            return Err(fault("a comparison has more or fewer sides than two"));
        };
        Ok(Predicate::Compare { left: self.scalar(left, depth + 1)?, op, right: self.scalar(right, depth + 1)? })
    }
}

fn plan_of(node: Option<Box<pb::LogicalPlanNode>>) -> Decoded<Plan> {
    node.and_then(|n| n.plan).ok_or_else(|| fault("an input is missing"))
}

fn dataset(scan: pb::CustomTableScanNode) -> Decoded<String> {
    name_of(scan.table_name)
}

fn name_of(table: Option<pb::TableReference>) -> Decoded<String> {
    match table.and_then(|t| t.reference) {
        Some(pb::table_reference::Reference::Bare(bare)) => Ok(bare.table),
        None => Err(fault("a table has no name")),
    }
}

fn place_of(plan: &Plan) -> Decoded<usize> {
    let Plan::SubqueryAlias(alias) = plan else { return Err(operator()) };
    let name = name_of(alias.alias.clone())?;
    let place = name.strip_prefix('t').and_then(|n| n.parse().ok());
    place.ok_or_else(|| fault("sources are not named by their places"))
}

fn column_name(column: pb::Column) -> Decoded<String> {
    if column.name.contains('.') {
        return Err(fault("a column's name holds a full stop"));
    }
    Ok(match column.relation {
        Some(relation) => format!("{}.{}", relation.relation, column.name),
        None => column.name,
    })
}

/// The product of two columns, one and the same or a pair.
fn product_of(binary: &pb::BinaryExprNode) -> Decoded<Measure> {
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

fn scalar_function(name: &str, args: Vec<Scalar>) -> Decoded<Scalar> {
    let mut args = args.into_iter();
    match (name, args.next(), args.next()) {
        ("upper", Some(of), None) => Ok(Scalar::Upper(Box::new(of))),
        ("lower", Some(of), None) => Ok(Scalar::Lower(Box::new(of))),
        ("coalesce", Some(first), Some(second)) => {
            Ok(Scalar::Coalesce([first, second].into_iter().chain(args).collect()))
        }
        _ => Err(function("this function")),
    }
}

fn literal(value: pb::ScalarValue) -> Decoded<Scalar> {
    use pb::scalar_value::Value as Wire;
    let (value, kind) = match value.value.ok_or_else(|| fault("a literal is empty"))? {
        Wire::BoolValue(b) => (Value::Boolean(b), ColumnType::Boolean),
        Wire::Utf8Value(t) => (Value::Text(t.into()), ColumnType::Text),
        Wire::Int64Value(i) => (Value::Integer(i), ColumnType::Integer),
        Wire::Date32Value(d) => (Value::Date(d), ColumnType::Date),
        Wire::Decimal128Value(d) => {
            let bytes: [u8; 16] = d.value.try_into().map_err(|_| fault("a decimal is not 16 bytes"))?;
            let scale = i8::try_from(d.s).ok().filter(|s| (0..=18).contains(s));
            let scale = scale.ok_or_else(|| fault("a decimal has an unknown scale"))?;
            if d.p != i64::from(PRECISION) {
                return Err(fault("a decimal has another precision"));
            }
            (Value::Decimal(i128::from_be_bytes(bytes)), ColumnType::Decimal(scale))
        }
        Wire::NullValue(kind) => (Value::Null, column_type(Some(kind))?),
    };
    Ok(Scalar::Literal(value, kind))
}

fn column_type(kind: Option<pb::ArrowType>) -> Decoded<ColumnType> {
    use pb::arrow_type::Kind;
    Ok(match kind.and_then(|k| k.kind).ok_or_else(|| fault("a type is missing"))? {
        Kind::Bool(_) => ColumnType::Boolean,
        Kind::Int64(_) => ColumnType::Integer,
        Kind::Utf8(_) => ColumnType::Text,
        Kind::Date32(_) => ColumnType::Date,
        Kind::Decimal128(d) => {
            let scale = i8::try_from(d.scale).ok().filter(|s| (0..=18).contains(s));
            ColumnType::Decimal(scale.ok_or_else(|| fault("a decimal has an unknown scale"))?)
        }
    })
}

fn aliased(expr: pb::LogicalExprNode, prefix: &str, number: usize) -> Decoded<pb::LogicalExprNode> {
    match expr.expr {
        Some(Expr::Alias(alias)) if alias.alias == format!("{prefix}{number}") => required(alias.expr),
        _ => Err(fault("keys and figures are not named by their positions")),
    }
}

fn required(expr: Option<Box<pb::LogicalExprNode>>) -> Decoded<pb::LogicalExprNode> {
    expr.map(|e| *e).ok_or_else(|| fault("an expression is missing"))
}

fn operator() -> Refusal {
    Refusal::new(
        Rule::Operator,
        "an operator over rows is not in the algebra",
        "Scan datasets, join them on units, filter and group",
    )
}

fn function(what: &str) -> Refusal {
    Refusal::new(
        Rule::Function,
        format!("{what} is not on the list of functions"),
        "Use date_trunc, date_part, upper, lower, coalesce or CASE over dimensions",
    )
}

fn aggregate_rule(what: &str) -> Refusal {
    Refusal::new(
        Rule::Aggregate,
        format!("{what} cannot be released"),
        "Use COUNT(*), COUNT(column), COUNT(DISTINCT unit), SUM or AVG of a measure",
    )
}
