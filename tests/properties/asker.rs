//! Random questions of the algebra.

use std::collections::BTreeMap;
use std::sync::Arc;

use loda_contract::{Column, ColumnType, Contract, Domain, Role, Value};
use loda_question::{
    Arithmetic, Comparison, Draft, Figure, Join, JoinKind, Measure, PerUnit, Predicate, Question, Refusal, Rows,
    Scalar, Scope, Source,
};

use crate::support::Dice;

/// Makes random questions of the algebra.
pub struct Asker<'a> {
    pub dice: &'a mut Dice,
    pub contracts: &'a BTreeMap<String, Arc<Contract>>,
}

impl Asker<'_> {
    pub fn derive(&self, draft: Draft) -> Result<Question, Refusal> {
        Question::derive(draft, &|name| self.contracts.get(name).cloned())
    }

    pub fn scope(&self, rows: &Rows) -> Scope {
        let unit = if rows.first == dataset("homes", None)
            || matches!(&rows.first, Source::PerUnit(p) if p.unit.ends_with("household_key"))
        {
            "household_key"
        } else {
            "person_key"
        };
        let figure = Figure { measure: Measure::Units(rows.name(0, unit)), condition: None };
        let question = self.derive(Draft { rows: rows.clone(), keys: Vec::new(), figures: vec![figure] });
        question.unwrap_or_else(|e| panic!("{e}: {rows:?}")).scope().clone()
    }

    fn filtered(&mut self, name: &str) -> Option<Predicate> {
        let scope = self.scope(&Rows::of(name, None));
        (!self.dice.one_in(3)).then(|| self.predicate(&scope, 1))
    }

    fn per_unit(&mut self, rows: Rows, unit: &str, keyed: bool) -> Source {
        let scope = self.scope(&rows);
        let mut values = Vec::new();
        for _ in 0..1 + self.dice.below(3) {
            let measure = self.measure(&scope, true);
            let condition = self.dice.one_in(3).then(|| self.predicate(&scope, 0));
            values.push(Figure { measure, condition });
        }
        let dimension = scope.columns.iter().find(|c| matches!(c.role, Role::Dimension(_))).map(|c| c.name.clone());
        let keys = if keyed { dimension.into_iter().collect() } else { Vec::new() };
        Source::PerUnit(Box::new(PerUnit { unit: rows.name(0, unit), rows, keys, values }))
    }

    /// Rows that a question may have. Other rows have no unit to protect.
    fn rows(&mut self) -> Rows {
        loop {
            let rows = self.any_rows();
            let counted = Figure { measure: Measure::Rows, condition: None };
            let draft = Draft { rows: Rows { filter: None, ..rows.clone() }, keys: Vec::new(), figures: vec![counted] };
            match self.derive(draft) {
                Err(refusal) if refusal.message.contains("leaves nothing to protect") => {}
                _ => break self.narrowed(rows),
            }
        }
    }

    fn narrowed(&mut self, mut rows: Rows) -> Rows {
        let scope = self.scope(&rows);
        if !self.dice.one_in(3) {
            rows.filter = Some(self.predicate(&scope, 2));
        }
        rows
    }

    fn any_rows(&mut self) -> Rows {
        let on = |unit: &str| vec![(format!("t0.{unit}"), unit.to_owned())];
        match self.dice.below(11) {
            0 => Rows::of("people", None),
            1 => Rows::of("events", None),
            2 | 3 => {
                let kind = *self.dice.pick(&JoinKind::ALL);
                let source = dataset("events", self.filtered("events"));
                joined("people", Join { kind, source, on: on("person_key") })
            }
            4 => {
                let kind = *self.dice.pick(&JoinKind::ALL);
                let source = dataset("homes", self.filtered("homes"));
                joined("people", Join { kind, source, on: on("household_key") })
            }
            5 | 6 => {
                let kind = *self.dice.pick(&[JoinKind::Inner, JoinKind::Left]);
                let inner = Rows::of("events", self.filtered("events"));
                let keyed = self.dice.one_in(4);
                let source = self.per_unit(inner, "person_key", keyed);
                joined("people", Join { kind, source, on: on("person_key") })
            }
            7 => {
                let inner = Rows::of("people", self.filtered("people"));
                let first = self.per_unit(inner, "household_key", false);
                Rows { first, joins: Vec::new(), filter: None }
            }
            8 => {
                let kind = *self.dice.pick(&[JoinKind::Inner, JoinKind::Left]);
                let inner = Rows::of("people", self.filtered("people"));
                let source = self.per_unit(inner, "household_key", false);
                joined("homes", Join { kind, source, on: on("household_key") })
            }
            9 => {
                let events = Join { kind: JoinKind::Inner, source: dataset("events", None), on: on("person_key") };
                let first = self.per_unit(joined("people", events), "person_key", false);
                Rows { first, joins: Vec::new(), filter: None }
            }
            _ => {
                let mut rows = joined(
                    "people",
                    Join { kind: JoinKind::Inner, source: dataset("homes", None), on: on("household_key") },
                );
                let kind = *self.dice.pick(&JoinKind::ALL);
                let source = dataset("events", self.filtered("events"));
                rows.joins.push(Join { kind, source, on: on("person_key") });
                rows
            }
        }
    }

    pub fn draft(&mut self) -> Draft {
        let rows = self.rows();
        let scope = self.scope(&Rows { filter: None, ..rows.clone() });
        let keys = (0..self.dice.below(3)).map(|_| self.key(&scope)).collect();
        let mut figures = Vec::new();
        for _ in 0..1 + self.dice.below(4) {
            let measure = self.measure(&scope, false);
            let condition = self.dice.one_in(2).then(|| self.predicate(&scope, 1));
            figures.push(Figure { measure, condition });
        }
        Draft { rows, keys, figures }
    }

    pub fn measure(&mut self, scope: &Scope, per_unit: bool) -> Measure {
        let measures: Vec<&Column> = scope.columns.iter().filter(|c| matches!(c.role, Role::Measure { .. })).collect();
        let units: Vec<&Column> = scope.columns.iter().filter(|c| matches!(c.role, Role::Unit(_))).collect();
        let of = |dice: &mut Dice| measures[dice.index(measures.len())].name.clone();
        let unit = units[self.dice.index(units.len())].name.clone();
        match (self.dice.below(8), measures.is_empty()) {
            (0 | 1, _) | (_, true) => Measure::Units(unit),
            (2 | 3, _) => Measure::Rows,
            (4, _) => Measure::Present(of(self.dice)),
            (5, _) if per_unit => Measure::Least(of(self.dice)),
            (6, _) if per_unit => Measure::Greatest(of(self.dice)),
            (5, _) => Measure::Square(of(self.dice)),
            (6, _) if !scope.pairs.is_empty() => {
                let (a, b) = scope.pairs[0].clone();
                Measure::Product(a, b)
            }
            _ => Measure::Sum(of(self.dice)),
        }
    }

    pub fn key(&mut self, scope: &Scope) -> Scalar {
        let dimensions: Vec<Column> =
            scope.columns.iter().filter(|c| matches!(c.role, Role::Dimension(_))).cloned().collect();
        let texts = |t: &str| Scalar::Literal(Value::Text(t.into()), ColumnType::Text);
        if dimensions.is_empty() || self.dice.one_in(4) {
            let when = self.predicate(scope, 1);
            let otherwise = self.dice.one_in(2).then(|| Box::new(texts("no")));
            return Scalar::Case { branches: vec![(when, texts("yes"))], otherwise };
        }
        let column = &dimensions[self.dice.index(dimensions.len())];
        let of = Scalar::Column(column.name.clone());
        match column.kind {
            ColumnType::Integer if self.dice.one_in(2) => Scalar::Arithmetic(Arithmetic::Divide, Box::new(of), 5),
            ColumnType::Date if self.dice.one_in(2) => Scalar::DateTrunc(loda_contract::Grain::Quarter, Box::new(of)),
            ColumnType::Text if self.dice.one_in(2) => Scalar::Coalesce(vec![of, texts("none")]),
            _ => of,
        }
    }

    pub fn predicate(&mut self, scope: &Scope, depth: u32) -> Predicate {
        if depth > 0 && self.dice.one_in(2) {
            let operands = (0..2).map(|_| self.predicate(scope, depth - 1)).collect();
            return match self.dice.below(3) {
                0 => Predicate::And(operands),
                1 => Predicate::Or(operands),
                _ => Predicate::Not(Box::new(Predicate::And(operands))),
            };
        }
        let usable: Vec<Column> = scope
            .columns
            .iter()
            .filter(|c| match &c.role {
                Role::Dimension(_) => true,
                Role::Measure { edges, .. } => !edges.is_empty(),
                Role::Unit(_) => c.nullable,
                _ => false,
            })
            .cloned()
            .collect();
        if usable.is_empty() {
            return Predicate::Constant(Some(true));
        }
        let column = &usable[self.dice.index(usable.len())];
        let of = Scalar::Column(column.name.clone());
        let op = *self.dice.pick(&Comparison::ALL);
        match &column.role {
            Role::Unit(_) => Predicate::IsNull(of),
            _ if column.nullable && self.dice.one_in(5) => Predicate::IsNull(of),
            Role::Measure { edges, .. } => {
                let edge = edges[self.dice.index(edges.len())];
                let value = match column.kind {
                    ColumnType::Decimal(_) => Value::Decimal(edge),
                    _ => Value::Integer(i64::try_from(edge).unwrap()),
                };
                let op = if self.dice.one_in(2) { Comparison::Less } else { Comparison::GreaterOrEqual };
                Predicate::Compare { left: of, op, right: Scalar::Literal(value, column.kind) }
            }
            Role::Dimension(domain) => {
                let values = domain.values().unwrap();
                let value = values[self.dice.index(values.len())].clone();
                if matches!(domain, Domain::Booleans) {
                    return Predicate::Truth(of);
                }
                if self.dice.one_in(3) {
                    let other = values[self.dice.index(values.len())].clone();
                    return Predicate::In { of, values: vec![(value, column.kind), (other, column.kind)] };
                }
                Predicate::Compare { left: of, op, right: Scalar::Literal(value, column.kind) }
            }
            _ => Predicate::Constant(Some(true)),
        }
    }
}

pub fn dataset(name: &str, filter: Option<Predicate>) -> Source {
    Source::Dataset { name: name.to_owned(), filter }
}

pub fn joined(first: &str, join: Join) -> Rows {
    Rows { first: dataset(first, None), joins: vec![join], filter: None }
}
