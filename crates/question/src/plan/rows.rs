//! An analyst's plan below an Aggregate, as rows: sources, joins, derivations by unit, conditions.
//!
//! While reading, a column is always `tN.column`, also over one dataset, and `borough` is a column of every source.

use std::collections::{BTreeMap, HashMap};

use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::expr::{Exists, InSubquery, WindowFunctionDefinition};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Aggregate, BinaryExpr, Distinct, Expr, LogicalPlan, Operator, Subquery, Window};
use loda_contract::{ColumnType, Role, Value};

use super::expr::{function, subquery};
use super::from::{ReadAggregate, ReadFigure, Reading};
use crate::draft::{Comparison, Figure, Join, JoinKind, PerUnit, Predicate, Rows, Scalar, Source, bare_name};
use crate::refusal::{Refusal, Rule};
use crate::scope::{Contracts, Scope};

pub(super) type Read<T> = Result<T, Refusal>;

/// The column that says which borough holds a record; it is of no contract.
pub const BOROUGH: &str = "borough";

/// A small public table of the coordinator's own, one row a borough, that stands for expressions over `borough`.
#[derive(Clone, Debug)]
pub struct Lookup {
    /// Name and type of each column; `None`: of a type that the algebra does not know.
    pub columns: Vec<(String, Option<ColumnType>)>,
    pub rows: Vec<Vec<Value>>,
}

/// What reading needs to know beside the plan.
pub struct Reader<'a> {
    pub contracts: Contracts<'a>,
    pub lookups: &'a dyn Fn(&str) -> Option<Lookup>,
}

/// Rows, and what each column of the plan is over their columns.
#[derive(Clone)]
pub(super) struct Input {
    rows: Rows,
    pub(super) columns: HashMap<Column, Read<Scalar>>,
}

/// Equalities between a subquery and the rows around it: the outer column, the inner scalar.
type Correlated = Vec<(Column, Scalar)>;

impl Reader<'_> {
    /// Whether an Aggregate over records has a unit among its keys, so that it makes one row for each.
    #[must_use]
    pub fn is_by_unit(&self, aggregate: &Aggregate) -> bool {
        let Ok(input) = self.read(&aggregate.input) else { return false };
        let Ok(scope) = input.scope(self) else { return false };
        let schema = aggregate.input.schema();
        aggregate.group_expr.iter().any(|key| match input.scalar(key, schema) {
            Ok(Scalar::Column(name)) => scope.unit_index(&name).is_some(),
            _ => false,
        })
    }

    pub(super) fn read(&self, plan: &LogicalPlan) -> Read<Input> {
        self.correlated(plan, &mut None)
    }

    /// Reads a plan; `outer` collects the equalities with what stands around a subquery.
    fn correlated(&self, plan: &LogicalPlan, outer: &mut Option<Correlated>) -> Read<Input> {
        match plan {
            LogicalPlan::TableScan(scan) => {
                let name = scan.table_name.table().to_owned();
                if let Some(lookup) = (self.lookups)(&name) {
                    return Ok(Input::of_lookup(&lookup, plan.schema().columns()));
                }
                if (self.contracts)(&name).is_none() {
                    return Err(Refusal::new(
                        Rule::Join,
                        format!("'{name}' is not a table of the boroughs"),
                        "Join it by its borough key, or join it to the results",
                    ));
                }
                let columns = plan.schema().columns().into_iter();
                let columns = columns.map(|c| (c.clone(), Ok(Scalar::Column(format!("t0.{}", c.name))))).collect();
                let rows = Rows::of(name, None);
                let mut input = Input { rows, columns };
                if scan.fetch.is_some() {
                    return Err(limit());
                }
                for filter in &scan.filters {
                    let predicate = input.predicate(filter, plan.schema())?;
                    input.narrow(predicate);
                }
                Ok(input)
            }
            LogicalPlan::Filter(filter) if self.is_comma_lookup(&filter.input) => {
                let LogicalPlan::Join(join) = filter.input.as_ref() else { return Err(not_a_key()) };
                let conditions: Vec<Expr> = split_conjunction(&filter.predicate).into_iter().cloned().collect();
                self.join(join, &conditions)
            }
            LogicalPlan::Filter(filter) => {
                let mut input = self.correlated(&filter.input, outer)?;
                for condition in split_conjunction(&filter.predicate) {
                    self.condition(&mut input, condition, filter.input.schema(), outer)?;
                }
                Ok(input)
            }
            LogicalPlan::Projection(projection) => {
                let input = self.correlated(&projection.input, outer)?;
                let named = plan.schema().columns().into_iter().zip(&projection.expr);
                let columns = named.map(|(c, e)| (c, input.scalar(e, projection.input.schema()))).collect();
                Ok(Input { columns, ..input })
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let mut input = self.correlated(&alias.input, outer)?;
                let inner = alias.input.schema().columns();
                let named = plan.schema().columns().into_iter().zip(inner);
                let columns = named.filter_map(|(outer, inner)| Some((outer, input.columns.remove(&inner)?)));
                Ok(Input { columns: columns.collect(), ..input })
            }
            // ORDER BY without LIMIT says nothing under an aggregate.
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.correlated(&sort.input, outer),
            LogicalPlan::Sort(_) | LogicalPlan::Limit(_) => Err(limit()),
            LogicalPlan::Join(join) => self.join(join, &[]),
            LogicalPlan::Aggregate(aggregate) => self.per_unit(aggregate),
            LogicalPlan::Distinct(Distinct::All(input)) => self.distinct(input, plan.schema()),
            LogicalPlan::Window(window) => self.window(window, plan.schema()),
            LogicalPlan::Union(_) => {
                Err(operator("UNION of records", "Count each table by itself, then UNION the results"))
            }
            LogicalPlan::Distinct(_) => Err(operator("DISTINCT ON", "Group by a unit in a subquery")),
            LogicalPlan::Values(_) | LogicalPlan::EmptyRelation(_) => {
                Err(operator("a table of the asker's own", "Ask of the catalogue's tables alone"))
            }
            LogicalPlan::Extension(_) => Err(operator(
                "a join of records with results",
                "Count first, then join, filter or compare the results with each other",
            )),
            _ => Err(operator("this operator", "Scan datasets, join them on units, filter and group")),
        }
    }

    /// One operand of a WHERE.
    fn condition(
        &self,
        input: &mut Input,
        condition: &Expr,
        schema: &DFSchema,
        outer: &mut Option<Correlated>,
    ) -> Read<()> {
        match condition {
            Expr::Not(inner) => match inner.as_ref() {
                Expr::InSubquery(of) => {
                    let of = Expr::InSubquery(InSubquery { negated: !of.negated, ..of.clone() });
                    return self.condition(input, &of, schema, outer);
                }
                Expr::Exists(of) => {
                    let of = Expr::Exists(Exists { negated: !of.negated, ..of.clone() });
                    return self.condition(input, &of, schema, outer);
                }
                _ => {}
            },
            Expr::InSubquery(of) => {
                let left = input.scalar(&of.expr, schema)?;
                let (inner, mut equal) = self.subquery(&of.subquery, input)?;
                let mut given = of.subquery.subquery.schema().columns().into_iter();
                let (Some(column), None) = (given.next(), given.next()) else { return Err(subquery()) };
                if of.negated
                    && let Scalar::Column(name) = &left
                    && !is_borough(name)
                    && input.scope(self)?.column(name).is_none_or(|c| c.nullable)
                {
                    return Err(Refusal::new(
                        Rule::Join,
                        format!("NOT IN compares '{}', which may be NULL: SQL then keeps no row", bare_name(name)),
                        "Use NOT EXISTS with an equality of the unit on both sides",
                    ));
                }
                equal.push((left, inner.column(&column)?));
                return self.exists(input, inner, &equal, of.negated);
            }
            Expr::Exists(of) => {
                let (inner, equal) = self.subquery(&of.subquery, input)?;
                return self.exists(input, inner, &equal, of.negated);
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
                if let Some(found) = outer {
                    let pair = match (left.as_ref(), right.as_ref()) {
                        (Expr::OuterReferenceColumn(_, column), inner)
                        | (inner, Expr::OuterReferenceColumn(_, column)) => {
                            Some((column.clone(), input.scalar(inner, schema)?))
                        }
                        _ => None,
                    };
                    if let Some(pair) = pair {
                        found.push(pair);
                        return Ok(());
                    }
                }
                if let (Ok(Scalar::Column(a)), Ok(Scalar::Column(b))) =
                    (input.scalar(left, schema), input.scalar(right, schema))
                    && input.is_key_pair(self, &a, &b)?
                {
                    return input.equate(&a, &b);
                }
            }
            _ => {}
        }
        let predicate = input.predicate(condition, schema)?;
        input.narrow(predicate);
        Ok(())
    }

    /// A subquery's rows, and its equalities with the rows around it.
    fn subquery(&self, of: &Subquery, around: &Input) -> Read<(Input, Vec<(Scalar, Scalar)>)> {
        let mut found = Some(Vec::new());
        let inner = self.correlated(&of.subquery, &mut found)?;
        let equal = found.unwrap_or_default().into_iter();
        let equal = equal.map(|(outer, inner)| Ok((around.column(&outer)?, inner))).collect::<Read<Vec<_>>>()?;
        Ok((inner, equal))
    }

    /// Keeps the rows for which the subquery has, or has not, a match.
    fn exists(&self, input: &mut Input, inner: Input, equal: &[(Scalar, Scalar)], negated: bool) -> Read<()> {
        let kind = if negated { JoinKind::Anti } else { JoinKind::Semi };
        if let Some(rows) = inner.lookup_rows() {
            return input.among(&inner, rows, equal, negated);
        }
        let mut on = Vec::new();
        let mut local = false;
        for pair in equal {
            match pair {
                (Scalar::Column(a), Scalar::Column(b)) if is_borough(a) && is_borough(b) => local = true,
                (Scalar::Column(a), Scalar::Column(b)) => on.push((a.clone(), b.clone())),
                _ => return Err(not_a_key()),
            }
        }
        let [(left, right)] = on.as_slice() else { return Err(not_a_key()) };
        let source = match inner.rows.dataset() {
            Some(name) => Source::Dataset {
                name: name.to_owned(),
                filter: inner.rows.filter.clone().map(|f| f.renamed(&|name| bare_name(&name).to_owned())),
            },
            None => Source::PerUnit(Box::new(PerUnit {
                rows: inner.clone().inner_rows(self)?,
                unit: right.clone(),
                keys: Vec::new(),
                values: Vec::new(),
            })),
        };
        let mut on = vec![(left.clone(), bare_name(right).to_owned())];
        if local {
            on.push((left.clone(), BOROUGH.to_owned()));
        }
        input.rows.joins.push(Join { kind, source, on });
        Ok(())
    }

    /// Whether this is `records, reference` without a condition yet: WHERE holds it.
    fn is_comma_lookup(&self, plan: &LogicalPlan) -> bool {
        let LogicalPlan::Join(join) = plan else { return false };
        let inner = join.join_type == datafusion::common::JoinType::Inner;
        let bare = join.on.is_empty() && join.filter.is_none();
        inner && bare && (self.lookup_of(&join.left).is_some() || self.lookup_of(&join.right).is_some())
    }

    fn join(&self, join: &datafusion::logical_expr::Join, also: &[Expr]) -> Read<Input> {
        use datafusion::common::JoinType;
        let (left_plan, right_plan, kind) = match join.join_type {
            JoinType::Inner => (&join.left, &join.right, JoinKind::Inner),
            JoinType::Left => (&join.left, &join.right, JoinKind::Left),
            JoinType::Right => (&join.right, &join.left, JoinKind::Left),
            _ => {
                return Err(Refusal::new(
                    Rule::Join,
                    "records are joined by a FULL or other outer join",
                    "Use JOIN, LEFT JOIN, EXISTS or NOT EXISTS on a unit",
                ));
            }
        };
        let on = join.on.iter().map(|(a, b)| {
            Expr::BinaryExpr(BinaryExpr { left: Box::new(a.clone()), op: Operator::Eq, right: Box::new(b.clone()) })
        });
        let filter = join.filter.iter().flat_map(|f| split_conjunction(f).into_iter().cloned());
        let conditions: Vec<Expr> = on.chain(filter).chain(also.iter().cloned()).collect();
        if let Some((lookup, names)) = self.lookup_of(right_plan) {
            return self.looked_up(self.read(left_plan)?, &lookup, names, kind, &conditions, &join.schema);
        }
        if let (Some((lookup, names)), JoinKind::Inner) = (self.lookup_of(left_plan), kind) {
            return self.looked_up(self.read(right_plan)?, &lookup, names, kind, &conditions, &join.schema);
        }
        let (mut left, right) = (self.read(left_plan)?, self.read(right_plan)?);
        let place = left.rows.joins.len() + 1;
        let right = right.moved(place);
        let Rows { first, joins, filter } = right.rows;
        if kind == JoinKind::Left && (!joins.is_empty() || (filter.is_some() && matches!(first, Source::PerUnit(_)))) {
            return Err(Refusal::new(
                Rule::Join,
                "the right side of a LEFT JOIN is itself a join, or filtered by what is counted for each unit",
                "Join the tables one after another, and use the condition in CASE or FILTER",
            ));
        }
        let (first, filter) = match (kind, first) {
            (JoinKind::Left, Source::Dataset { name, .. }) => {
                let filter = filter.map(|f| f.renamed(&|name| bare_name(&name).to_owned()));
                (Source::Dataset { name, filter }, None)
            }
            (_, first) => (first, filter),
        };
        left.rows.joins.push(Join { kind, source: first, on: Vec::new() });
        left.rows.joins.extend(joins);
        if let Some(filter) = filter {
            left.narrow(filter);
        }
        left.columns.extend(right.columns);
        for condition in &conditions {
            if let Expr::BinaryExpr(BinaryExpr { left: a, op: Operator::Eq, right: b }) = condition
                && let (Ok(Scalar::Column(a)), Ok(Scalar::Column(b))) =
                    (left.scalar(a, &join.schema), left.scalar(b, &join.schema))
                && (place_of(&a) == Some(place)) != (place_of(&b) == Some(place))
                && (kind == JoinKind::Left || left.is_key_pair(self, &a, &b)?)
            {
                left.equate(&a, &b)?;
                continue;
            }
            self.other_condition(&mut left, condition, &join.schema, kind, place)?;
        }
        if kind == JoinKind::Left {
            left.show_only_matches(place, &right_plan.schema().columns())?;
        }
        Ok(left)
    }

    /// A condition in ON that is not an equality of keys.
    fn other_condition(
        &self,
        input: &mut Input,
        condition: &Expr,
        schema: &DFSchema,
        kind: JoinKind,
        place: usize,
    ) -> Read<()> {
        if kind == JoinKind::Inner {
            return self.condition(input, condition, schema, &mut None);
        }
        let predicate = input.predicate(condition, schema)?;
        let mut columns = std::collections::BTreeSet::new();
        predicate.columns(&mut columns);
        let of_right = columns.iter().all(|c| place_of(c) == Some(place) && !is_borough(c));
        match input.rows.joins.last_mut().map(|j| &mut j.source) {
            Some(Source::Dataset { filter, .. }) if of_right => {
                let bare = predicate.renamed(&|name| bare_name(&name).to_owned());
                *filter = Predicate::both(filter.take(), Some(bare));
                Ok(())
            }
            _ => Err(Refusal::new(
                Rule::Join,
                "a LEFT JOIN is on more than keys and conditions on its right table",
                "Put conditions on the left table into WHERE",
            )),
        }
    }

    /// A reference table of the coordinator's, and the names that its columns have in the plan.
    fn lookup_of(&self, plan: &LogicalPlan) -> Option<(Lookup, Vec<Column>)> {
        match plan {
            LogicalPlan::TableScan(scan) if scan.filters.is_empty() && scan.fetch.is_none() => {
                let lookup = (self.lookups)(scan.table_name.table())?;
                let names = plan.schema().columns();
                (names.len() == lookup.columns.len()).then_some((lookup, names))
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let (lookup, _) = self.lookup_of(&alias.input)?;
                Some((lookup, plan.schema().columns()))
            }
            _ => None,
        }
    }

    /// Rows with a reference table joined by borough: each of its columns is an expression over `borough`.
    fn looked_up(
        &self,
        mut input: Input,
        lookup: &Lookup,
        names: Vec<Column>,
        kind: JoinKind,
        conditions: &[Expr],
        schema: &DFSchema,
    ) -> Read<Input> {
        let refused = || {
            Refusal::new(
                Rule::Join,
                "a reference table is joined to records by something other than its borough code",
                "Join it ON table.borough = reference.gss, or join it to the results",
            )
        };
        let is_name = |e: &Expr| match e {
            Expr::Column(c) => names.iter().position(|n| n == c),
            _ => None,
        };
        let mut key = None;
        let mut others = Vec::new();
        for condition in conditions {
            if let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition
                && key.is_none()
            {
                let found = match (is_name(left), is_name(right)) {
                    (Some(of), None) => Some((of, right)),
                    (None, Some(of)) => Some((of, left)),
                    _ => None,
                };
                if let Some((of, other)) = found
                    && let Ok(Scalar::Column(column)) = input.scalar(other, schema)
                    && is_borough(&column)
                {
                    key = Some((of, column));
                    continue;
                }
            }
            others.push(condition);
        }
        let (key, borough) = key.ok_or_else(refused)?;
        let mut by_key: BTreeMap<&Value, &Vec<Value>> = BTreeMap::new();
        for row in &lookup.rows {
            let value = row.get(key).filter(|v| matches!(v, Value::Text(_))).ok_or_else(refused)?;
            if by_key.insert(value, row).is_some() {
                return Err(refused());
            }
        }
        let of_borough = Scalar::Column(borough);
        let at = |value: &Value| Predicate::Compare {
            left: of_borough.clone(),
            op: Comparison::Equal,
            right: Scalar::Literal(value.clone(), ColumnType::Text),
        };
        for (number, (name, (_, column_kind))) in names.into_iter().zip(&lookup.columns).enumerate() {
            let Some(column_kind) = column_kind else {
                input.columns.insert(name, Err(function("a reference column of this type")));
                continue;
            };
            let branches = by_key.iter().map(|(value, row)| {
                let cell = row.get(number).cloned().unwrap_or(Value::Null);
                (at(value), Scalar::Literal(cell, *column_kind))
            });
            input.columns.insert(name, Ok(Scalar::Case { branches: branches.collect(), otherwise: None }));
        }
        if kind == JoinKind::Inner {
            input.narrow(Predicate::Or(by_key.keys().map(|value| at(value)).collect()));
        } else if !others.is_empty() {
            return Err(refused());
        }
        for condition in others {
            self.condition(&mut input, condition, schema, &mut None)?;
        }
        Ok(input)
    }

    /// GROUP BY a unit below another aggregate: one row for each unit.
    fn per_unit(&self, aggregate: &Aggregate) -> Read<Input> {
        let input = self.read(&aggregate.input)?;
        let schema = aggregate.input.schema();
        let mut values: Vec<Figure> = Vec::new();
        let mut shown = Vec::new();
        for expr in &aggregate.aggr_expr {
            let (figure, or_zero) = match input.figure(expr, schema)? {
                // A unit has a record at least: a count written as a sum is never NULL there.
                ReadFigure::One {
                    measure,
                    condition,
                    reading: Reading::Plain | Reading::SummedOnes | Reading::EachBorough,
                } => (Figure { measure, condition }, None),
                ReadFigure::One { measure, condition, reading: Reading::OrZero } => {
                    let scope = input.scope(self)?;
                    let kind = measure.columns().first().and_then(|c| scope.column(c)).map(|c| c.kind);
                    (Figure { measure, condition }, kind)
                }
                _ => {
                    return Err(Refusal::new(
                        Rule::Aggregate,
                        "a mean, variance or quantile of each unit is not a value to filter by",
                        "Use COUNT, COUNT(DISTINCT unit), SUM, MIN or MAX for each unit, bare",
                    ));
                }
            };
            let number = values.iter().position(|v| *v == figure).unwrap_or_else(|| {
                values.push(figure);
                values.len() - 1
            });
            let column = Scalar::Column(format!("t0.d{number}"));
            shown.push(match or_zero {
                None => column,
                Some(ColumnType::Decimal(scale)) => {
                    Scalar::Coalesce(vec![column, Scalar::Literal(Value::Decimal(0), ColumnType::Decimal(scale))])
                }
                Some(kind) => Scalar::Coalesce(vec![column, Scalar::Literal(Value::Integer(0), kind)]),
            });
        }
        let keys = aggregate.group_expr.iter().map(|k| input.scalar(k, schema)).collect::<Read<Vec<_>>>()?;
        input.by_unit(self, &keys, values, shown, &aggregate.schema.columns())
    }

    /// DISTINCT over records with a unit among its columns.
    fn distinct(&self, input: &LogicalPlan, schema: &DFSchema) -> Read<Input> {
        let inner = self.read(input)?;
        let keys = input.schema().columns().iter().map(|c| inner.column(c)).collect::<Read<Vec<_>>>()?;
        inner.by_unit(self, &keys, Vec::new(), Vec::new(), &schema.columns())
    }

    /// `aggregate(…) OVER (PARTITION BY unit)`: the rows, joined to one row for each unit of theirs.
    fn window(&self, window: &Window, schema: &DFSchema) -> Read<Input> {
        let refused = || {
            operator("a window over records", "Use OVER (PARTITION BY unit) bare, or windows over results of GROUP BY")
        };
        let mut input = self.read(&window.input)?;
        let inner_schema = window.input.schema();
        let names = schema.columns();
        let names = names.get(inner_schema.fields().len()..).unwrap_or_default();
        for (expr, name) in window.window_expr.iter().zip(names) {
            let Expr::WindowFunction(call) = expr else { return Err(refused()) };
            let params = &call.params;
            if !params.order_by.is_empty() || params.distinct {
                return Err(refused());
            }
            let WindowFunctionDefinition::AggregateUDF(function) = &call.fun else { return Err(refused()) };
            let as_aggregate = Expr::AggregateFunction(datafusion::logical_expr::expr::AggregateFunction::new_udf(
                std::sync::Arc::clone(function),
                params.args.clone(),
                false,
                params.filter.clone(),
                Vec::new(),
                None,
            ));
            let ReadFigure::One { measure, condition, reading: Reading::Plain | Reading::SummedOnes } =
                input.figure(&as_aggregate, inner_schema)?
            else {
                return Err(refused());
            };
            let keys = params.partition_by.iter().map(|k| input.scalar(k, inner_schema)).collect::<Read<Vec<_>>>()?;
            let before = Input { rows: input.rows.clone(), columns: HashMap::new() };
            let place = input.rows.joins.len() + 1;
            let unit = keys.iter().find_map(|k| match k {
                Scalar::Column(c) if !is_borough(c) => Some(c.clone()),
                _ => None,
            });
            let unit = unit.ok_or_else(refused)?;
            let figure = vec![Figure { measure, condition }];
            let columns: Vec<Column> = keys.iter().map(|_| Column::new_unqualified("key")).collect();
            let by_unit = before.by_unit(self, &keys, figure, Vec::new(), &columns)?;
            let source = by_unit.rows.first;
            if !matches!(&source, Source::PerUnit(p) if p.keys.is_empty()) {
                return Err(refused());
            }
            let mut on = vec![(unit.clone(), bare_name(&unit).to_owned())];
            if keys.iter().any(|k| matches!(k, Scalar::Column(c) if is_borough(c))) {
                on.push((unit.clone(), BOROUGH.to_owned()));
            }
            input.rows.joins.push(Join { kind: JoinKind::Inner, source, on });
            input.columns.insert(name.clone(), Ok(Scalar::Column(format!("t{place}.d0"))));
        }
        Ok(input)
    }
}

/// The dataset that stands for a reference table while a subquery over it is read, and its row number.
const LOOKUP: &str = "#lookup";
const ROW: &str = "t0.#row";

impl Input {
    /// A reference table: each column as an expression over the row's number.
    fn of_lookup(lookup: &Lookup, names: Vec<Column>) -> Self {
        let at = |row: usize| Predicate::Compare {
            left: Scalar::Column(ROW.to_owned()),
            op: Comparison::Equal,
            right: row_number(row),
        };
        let columns = names.into_iter().zip(&lookup.columns).enumerate().map(|(number, (name, (_, kind)))| {
            let Some(kind) = kind else { return (name, Err(function("a reference column of this type"))) };
            let branches = lookup.rows.iter().enumerate().map(|(row, cells)| {
                let cell = cells.get(number).cloned().unwrap_or(Value::Null);
                (at(row), Scalar::Literal(cell, *kind))
            });
            (name, Ok(Scalar::Case { branches: branches.collect(), otherwise: None }))
        });
        Self { columns: columns.collect(), rows: Rows::of(format!("{LOOKUP}{}", lookup.rows.len()), None) }
    }

    /// How many rows there are, where this is a reference table.
    fn lookup_rows(&self) -> Option<usize> {
        self.rows.dataset()?.strip_prefix(LOOKUP)?.parse().ok()
    }

    /// Keeps the boroughs that a subquery over a reference table names, or does not.
    fn among(&mut self, inner: &Self, rows: usize, equal: &[(Scalar, Scalar)], negated: bool) -> Read<()> {
        let [(left @ Scalar::Column(column), right)] = equal else { return Err(not_a_key()) };
        if !is_borough(column) {
            return Err(not_a_key());
        }
        let mut values = Vec::new();
        for row in 0..rows {
            let here = row_number(row);
            let kept = match &inner.rows.filter {
                Some(filter) => filter.fix(ROW, &here),
                None => Predicate::Constant(Some(true)),
            };
            if kept != Predicate::Constant(Some(true)) {
                continue;
            }
            match right.fix(ROW, &here).folded() {
                Scalar::Literal(value @ Value::Text(_), kind) => values.push((value, kind)),
                _ => return Err(not_a_key()),
            }
        }
        let named = Predicate::In { of: left.clone(), values };
        self.narrow(if negated { Predicate::Not(Box::new(named)) } else { named });
        Ok(())
    }

    fn narrow(&mut self, predicate: Predicate) {
        self.rows.filter = Predicate::both(self.rows.filter.take(), Some(predicate));
    }

    /// The columns and units of the rows, whatever their conditions.
    fn scope(&self, reader: &Reader<'_>) -> Read<Scope> {
        let open = within_boroughs(self.rows.clone()).map_predicates(&|_| Predicate::Constant(Some(true)));
        let mut scope = Scope::of(open.normal(), reader.contracts)?.1;
        if self.rows.dataset().is_some() {
            // While reading, one dataset's columns have the names they have among several.
            let named = |name: &str| format!("t0.{name}");
            for column in &mut scope.columns {
                column.name = named(&column.name);
            }
            for unit in &mut scope.units {
                unit.unit.column = unit.unit.column.as_deref().map(named);
            }
        }
        Ok(scope)
    }

    /// The rows one dataset's or several's, with the names that drafts have.
    pub(super) fn finished(
        self,
        reader: &Reader<'_>,
        keys: Vec<Scalar>,
        figures: Vec<ReadFigure>,
    ) -> Read<ReadAggregate> {
        let rows = self.in_one_borough_each(reader)?.rows;
        if rows.dataset().is_none() {
            return Ok(ReadAggregate { rows, keys, figures });
        }
        let bare = |name: String| bare_name(&name).to_owned();
        Ok(ReadAggregate {
            rows: rows.map_predicates(&|p| p.renamed(&bare)),
            keys: keys.into_iter().map(|k| k.renamed(&bare)).collect(),
            figures: figures.into_iter().map(|f| f.renamed(&bare)).collect(),
        })
    }

    /// The rows as they stand inside a draft.
    fn inner_rows(self, reader: &Reader<'_>) -> Read<Rows> {
        Ok(self.finished(reader, Vec::new(), Vec::new())?.rows)
    }

    /// The same input with its sources from a place on.
    fn moved(self, by: usize) -> Self {
        let name = |name: String| match place_of(&name) {
            Some(place) => format!("t{}.{}", place + by, bare_name(&name)),
            None => name,
        };
        let Rows { first, joins, filter } = self.rows;
        let joins = joins
            .into_iter()
            .map(|j| Join { on: j.on.into_iter().map(|(left, right)| (name(left), right)).collect(), ..j });
        let columns = self.columns.into_iter().map(|(c, s)| (c, s.map(|s| s.renamed(&name))));
        Self {
            rows: Rows { first, joins: joins.collect(), filter: filter.map(|f| f.renamed(&name)) },
            columns: columns.collect(),
        }
    }

    /// Whether two columns of different sources are a key that both have.
    fn is_key_pair(&self, reader: &Reader<'_>, a: &str, b: &str) -> Read<bool> {
        if place_of(a) == place_of(b) || (is_borough(a) != is_borough(b)) {
            return Ok(false);
        }
        Ok((is_borough(a) && is_borough(b)) || (self.names_key(reader, a) && self.names_key(reader, b)))
    }

    /// Whether a column names a unit or is a reference key.
    fn names_key(&self, reader: &Reader<'_>, name: &str) -> bool {
        let column =
            self.source_scope(reader, name).and_then(|s| s.column(&format!("t0.{}", bare_name(name))).cloned());
        matches!(column.map(|c| c.role), Some(Role::Unit(_) | Role::Reference(_)))
    }

    /// What the source of a column has, by itself.
    fn source_scope(&self, reader: &Reader<'_>, column: &str) -> Option<Scope> {
        let (_, source) = self.rows.sources().nth(place_of(column)?)?;
        let rows = Rows { first: source.clone(), joins: Vec::new(), filter: None };
        Self { rows, columns: HashMap::new() }.scope(reader).ok()
    }

    /// Adds an equality to the join of the later source.
    fn equate(&mut self, a: &str, b: &str) -> Read<()> {
        let (left, right) = if place_of(a) < place_of(b) { (a, b) } else { (b, a) };
        let place = place_of(right).and_then(|p| p.checked_sub(1));
        let join = place.and_then(|p| self.rows.joins.get_mut(p)).ok_or_else(not_a_key)?;
        // An equality of boroughs stays until the rows are finished: it says that units meet within one.
        join.on.push((left.to_owned(), bare_name(right).to_owned()));
        Ok(())
    }

    /// Takes the equalities of boroughs out of the joins, and holds that units cannot meet over boroughs.
    fn in_one_borough_each(mut self, reader: &Reader<'_>) -> Read<Self> {
        for join in &self.rows.joins {
            let local = join.on.iter().any(|(_, right)| right == BOROUGH);
            if !local && !join.on.iter().any(|(left, _)| self.is_exclusive(reader, left)) {
                let keys: Vec<&str> = join.on.iter().map(|(left, _)| bare_name(left)).collect();
                let names_key = join.on.iter().any(|(left, _)| self.names_key(reader, left));
                return Err(if names_key { linkage(&keys.join(", ")) } else { not_a_key() });
            }
        }
        self.rows = within_boroughs(self.rows);
        Ok(self)
    }

    /// Whether a unit that a column names can stand in one borough only.
    fn is_exclusive(&self, reader: &Reader<'_>, column: &str) -> bool {
        let Some(scope) = self.source_scope(reader, column) else { return false };
        let name = format!("t0.{}", bare_name(column));
        scope.unit_index(&name).and_then(|i| scope.units.get(i)).is_some_and(|u| u.unit.borough_exclusive)
    }

    /// Where a left join found no match, its table's columns are NULL, also those that are computed.
    fn show_only_matches(&mut self, place: usize, names: &[Column]) -> Read<()> {
        let join = place.checked_sub(1).and_then(|p| self.rows.joins.get(p));
        let key = join.and_then(|j| j.on.iter().find(|(_, right)| right != BOROUGH));
        let Some((_, key)) = key else { return Ok(()) };
        let matched = Predicate::Not(Box::new(Predicate::IsNull(Scalar::Column(format!("t{place}.{key}")))));
        for name in names {
            let Some(shown) = self.columns.get_mut(name) else { continue };
            *shown = match shown.clone() {
                Ok(Scalar::Column(column)) if is_borough(&column) => Err(Refusal::new(
                    Rule::Join,
                    "the borough of a LEFT JOIN's right table is read",
                    "Read the borough of the left table: it is the same where there is a match",
                )),
                Ok(Scalar::Column(column)) => Ok(Scalar::Column(column)),
                Ok(computed) => Ok(Scalar::Case { branches: vec![(matched.clone(), computed)], otherwise: None }),
                refused => refused,
            };
        }
        Ok(())
    }

    /// One row for each unit among the keys.
    fn by_unit(
        self,
        reader: &Reader<'_>,
        keys: &[Scalar],
        values: Vec<Figure>,
        shown: Vec<Scalar>,
        names: &[Column],
    ) -> Read<Self> {
        let scope = self.scope(reader)?;
        let (mut unit, mut dimensions, mut local) = (None, Vec::new(), false);
        for key in keys {
            let Scalar::Column(name) = key else {
                return Err(operator("a computed key beside a unit", "Group by the unit and by bare dimensions"));
            };
            if is_borough(name) {
                local = true;
            } else if scope.unit_index(name).is_some() && unit.is_none() {
                unit = Some(name.clone());
            } else {
                dimensions.push(name.clone());
            }
        }
        let unit = unit.ok_or_else(|| {
            operator(
                "an aggregate of records inside another, without a unit among its keys,",
                "Group the inner one by a unit (a person, a household, a property), or ask for one level of GROUP BY",
            )
        })?;
        if !local && !self.is_exclusive(reader, &unit) {
            return Err(linkage(&unit));
        }
        let mut columns = HashMap::new();
        let renamed = |name: &str| Scalar::Column(format!("t0.{}", bare_name(name)));
        let of_keys = keys.iter().map(|key| match key {
            Scalar::Column(name) => renamed(name),
            other => other.clone(),
        });
        for (name, scalar) in names.iter().zip(of_keys.chain(shown)) {
            columns.insert(name.clone(), Ok(scalar));
        }
        let bare_names = self.rows.dataset().is_some();
        let inside = |name: String| if bare_names { bare_name(&name).to_owned() } else { name };
        let values = values.into_iter().map(|v| v.renamed(&inside)).collect();
        let per_unit = PerUnit {
            unit: inside(unit),
            keys: dimensions.into_iter().map(inside).collect(),
            values,
            rows: self.inner_rows(reader)?,
        };
        let rows = Rows { first: Source::PerUnit(Box::new(per_unit)), joins: Vec::new(), filter: None };
        Ok(Self { rows, columns })
    }
}

impl Figure {
    fn renamed(self, name: &dyn Fn(String) -> String) -> Self {
        Self { measure: self.measure.renamed(name), condition: self.condition.map(|c| c.renamed(name)) }
    }
}

fn row_number(row: usize) -> Scalar {
    Scalar::Literal(Value::Integer(i64::try_from(row).unwrap_or(i64::MAX)), ColumnType::Integer)
}

fn place_of(name: &str) -> Option<usize> {
    name.strip_prefix('t')?.split_once('.')?.0.parse().ok()
}

fn is_borough(name: &str) -> bool {
    bare_name(name) == BOROUGH
}

/// The rows without the equalities of boroughs: a node holds one.
fn within_boroughs(rows: Rows) -> Rows {
    let joins = rows.joins.into_iter().map(|mut join| {
        join.on.retain(|(_, right)| right != BOROUGH);
        join
    });
    Rows { joins: joins.collect(), ..rows }
}

fn not_a_key() -> Refusal {
    Refusal::new(
        Rule::Join,
        "records are compared with others by something other than one unit that both have",
        "Use column IN (SELECT …) or EXISTS with an equality of the unit on both sides",
    )
}

fn linkage(column: &str) -> Refusal {
    let column = bare_name(column);
    Refusal::new(
        Rule::Linkage,
        format!("'{column}' may stand in several boroughs: recognising it over London needs linkage"),
        format!(
            "Add borough beside it (a.borough = b.borough, GROUP BY borough, {column}): within each borough it is exact"
        ),
    )
}

pub(super) fn limit() -> Refusal {
    Refusal::new(
        Rule::Rows,
        "LIMIT over records picks some of them",
        "Put ORDER BY and LIMIT after GROUP BY: they run on results",
    )
}

pub(super) fn operator(what: &str, advice: &str) -> Refusal {
    Refusal::new(Rule::Operator, format!("{what} is not in the algebra"), advice)
}
