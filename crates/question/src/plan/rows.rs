//! An analyst's plan below an Aggregate, as rows: sources, joins, subqueries, conditions.
//!
//! The operators of a plan hold each other, so their readers share a file. The reader knows a closed list of them; LIMIT,
//! UNION, DISTINCT ON, tables of the asker's own and every other operator over records are refused.
//!
//! *Attack: a table of the asker's own.* Joined to records, a list of units would pick them one by one. Only datasets of the
//! contracts and the coordinator's reference tables are read.

use datafusion::common::{Column, DFSchema, ExprSchema};
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Aggregate, BinaryExpr, Distinct, Expr, LogicalPlan, Operator, Subquery};

use super::input::{BOROUGH, BOROUGH_NAME, Input, Lookup, Reader, borough_name, is_borough, place_of};
use super::refusals::{Read, limit, not_a_key, operator, subquery};
use crate::draft::{Join, JoinKind, PerUnit, Predicate, Rows, Scalar, Source, bare_name};
use crate::refusal::{Refusal, Rule};

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

    /// A plan as rows.
    ///
    /// # Errors
    /// The rule that its shape breaks.
    pub(super) fn read(&self, plan: &LogicalPlan) -> Read<Input> {
        self.correlated(plan, &mut None)
    }

    /// Reads a plan; `outer` collects a subquery's equalities with the rows around it.
    fn correlated(&self, plan: &LogicalPlan, outer: &mut Option<Correlated>) -> Read<Input> {
        match plan {
            LogicalPlan::TableScan(scan) => {
                let name = scan.table_name.table().to_owned();
                if let Some(lookup) = (self.lookups)(&name) {
                    return Ok(Input::of_lookup(&lookup, plan.schema().columns()));
                }
                let Some(contract) = (self.contracts)(&name) else {
                    return Err(Refusal::new(
                        Rule::Join,
                        format!("'{name}' is not a table of the boroughs"),
                        "Join it by its borough key, or join it to the results",
                    ));
                };
                let own = |name: &str| contract.columns.iter().any(|c| c.name == name);
                let columns = plan.schema().columns().into_iter().map(|c| {
                    let scalar = match c.name.as_str() {
                        BOROUGH_NAME if !own(BOROUGH_NAME) => borough_name(&format!("t0.{BOROUGH}"), self.names),
                        name => Scalar::Column(format!("t0.{name}")),
                    };
                    (c, Ok(scalar))
                });
                let columns = columns.collect();
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
                let schema = filter.input.schema();
                let conditions = split_conjunction(&filter.predicate);
                for condition in conditions.into_iter().filter(|condition| !always_holds(condition, schema)) {
                    self.condition(&mut input, condition, schema, outer)?;
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
            LogicalPlan::Aggregate(aggregate) => self.read(&aggregate.input)?.per_unit(self, aggregate),
            LogicalPlan::Distinct(Distinct::All(input)) => {
                self.read(input)?.distinct(self, input.schema(), plan.schema())
            }
            LogicalPlan::Window(window) => self.read(&window.input)?.window(self, window, plan.schema()),
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
                if let Some((a, b)) = self.keys(input, left, right, schema)
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

    /// The columns of an equality on which rows may be joined. The names of two boroughs stand for the boroughs.
    fn keys(&self, input: &Input, a: &Expr, b: &Expr, schema: &DFSchema) -> Option<(String, String)> {
        match (input.scalar(a, schema).ok()?, input.scalar(b, schema).ok()?) {
            (Scalar::Column(a), Scalar::Column(b)) if is_borough(&a) == is_borough(&b) => Some((a, b)),
            (a, b) => Some((self.named_borough(&a)?, self.named_borough(&b)?)),
        }
    }

    /// The borough whose name an expression is.
    fn named_borough(&self, name: &Scalar) -> Option<String> {
        let mut columns = std::collections::BTreeSet::new();
        name.columns(&mut columns);
        columns.pop_first().filter(|column| is_borough(column) && *name == borough_name(column, self.names))
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
        if let Some(lookup) = self.lookup_of(right_plan) {
            return self.with_lookup(self.read(left_plan)?, lookup, kind, &conditions, &join.schema);
        }
        if let (Some(lookup), JoinKind::Inner) = (self.lookup_of(left_plan), kind) {
            return self.with_lookup(self.read(right_plan)?, lookup, kind, &conditions, &join.schema);
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
                && let Some((a, b)) = self.keys(&left, a, b, &join.schema)
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

    /// Rows with a reference table, and the other conditions of the join.
    fn with_lookup(
        &self,
        input: Input,
        (lookup, names): (Lookup, Vec<Column>),
        kind: JoinKind,
        conditions: &[Expr],
        schema: &DFSchema,
    ) -> Read<Input> {
        let (mut input, others) = input.looked_up(&lookup, names, kind, conditions, schema)?;
        for condition in others {
            self.condition(&mut input, condition, schema, &mut None)?;
        }
        Ok(input)
    }
}

/// Whether a condition says of a column that it has a value, and the contract says so already. Tools write it of all keys.
fn always_holds(condition: &Expr, schema: &DFSchema) -> bool {
    let has_value = |column: &Column| schema.field_from_column(column).is_ok_and(|field| !field.is_nullable());
    matches!(condition, Expr::IsNotNull(of) if matches!(&**of, Expr::Column(column) if has_value(column)))
}
