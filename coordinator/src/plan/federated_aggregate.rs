//! One aggregate over records: the question to each borough, and how the output follows from the boroughs' figures.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::common::DFSchema;
use loda_contract::{ColumnType, Role, Value};
use loda_identity::Gss;
use loda_question::plan::{BOROUGH, FigureReading, ReadAggregate, ReadFigure, Spread};
use loda_question::table::Lowered;
use loda_question::{
    Comparison, Contracts, Draft, Figure, Fragment, Join, JoinKind, LIMITS, Measure, Moment, Predicate, Question,
    Refusal, Rows, Rule, Scalar, Scope, Source, bare_name, scale,
};

use crate::catalogue::{Catalogue, rows_stay_home};

/// The most cells that one part may have over all its boroughs together.
const CELL_LIMIT: u64 = 1_000_000;

/// One aggregate that boroughs answer.
#[derive(Clone)]
pub(crate) struct FederatedAggregate {
    /// The columns and units of the datasets in the question.
    pub(crate) scope: Scope,
    /// The group keys in the order of the output.
    pub(crate) keys: Vec<OutputKey>,
    /// The measure of each of the node's figures, and the number of decimals of its values.
    pub(crate) measures: Vec<Measure>,
    pub(crate) scales: Vec<i8>,
    /// The figures in the order of the output.
    pub(crate) outputs: Vec<Output>,
    /// The question to each borough. `None`: its filter cannot hold there, so the borough is not asked.
    pub(crate) questions: BTreeMap<Gss, Option<Arc<Question>>>,
    /// For data about people: the tables that each borough is asked for instead, and how its question follows from
    /// them.
    pub(crate) lowered: BTreeMap<Gss, Arc<Lowered>>,
    /// For each of the node's figures that is divided by another: the other figure.
    pub(crate) wholes: BTreeMap<usize, usize>,
    /// Sets of the node's figures that a London figure combines: they are formed over the same boroughs.
    pub(crate) combined: Vec<BTreeSet<usize>>,
    pub(crate) schema: Arc<DFSchema>,
}

/// The source of an output key.
#[derive(Clone)]
pub(crate) enum OutputKey {
    /// The borough alone decides the value.
    Borough(BTreeMap<Gss, Value>),
    /// A key of the node's cells.
    Node { index: usize, kind: ColumnType },
}

/// How an output figure follows from the node's figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    Figure { figure: usize, reading: FigureReading },
    Average { sum: usize, count: usize },
    Spread(Moments),
    Quantile(Bins),
}

/// The moments that a variance, covariance or correlation follows from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moments {
    pub(crate) spread: Spread,
    pub(crate) count: usize,
    /// One entry for one column, two for a pair of columns.
    pub(crate) sums: Vec<usize>,
    pub(crate) squares: Vec<usize>,
    pub(crate) product: Option<usize>,
}

/// The cumulative counts at declared edges that a quantile follows from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bins {
    pub(crate) per_mille: u32,
    pub(crate) lower: i128,
    pub(crate) upper: i128,
    /// Each edge in scaled units, and the figure that counts the values below it.
    pub(crate) below: Vec<(i128, usize)>,
    /// The figure that counts all values.
    pub(crate) total: usize,
    pub(crate) scale: i8,
}

impl Output {
    /// The node's figures that this output cannot do without.
    pub(crate) fn needs(&self) -> Vec<usize> {
        match self {
            Self::Figure { figure, .. } => vec![*figure],
            Self::Average { sum, count } => vec![*sum, *count],
            Self::Spread(moments) => {
                let parts = moments.sums.iter().chain(&moments.squares).chain(&moments.product);
                std::iter::once(&moments.count).chain(parts).copied().collect()
            }
            Self::Quantile(bins) => vec![bins.total],
        }
    }

    /// The node's figures that the value combines. An edge of a bin may be missing; what there is has to be of the same
    /// boroughs.
    pub(crate) fn combines(&self) -> Vec<usize> {
        match self {
            Self::Quantile(bins) => {
                std::iter::once(bins.total).chain(bins.below.iter().map(|(_, figure)| *figure)).collect()
            }
            other => other.needs(),
        }
    }
}

impl FederatedAggregate {
    /// Whether an output cell can add up several boroughs.
    pub(crate) fn is_london(&self) -> bool {
        let mut seen = BTreeSet::new();
        let asked = self.questions.iter().filter(|(_, q)| q.is_some());
        asked.into_iter().any(|(gss, _)| !seen.insert(self.borough_values(gss)))
    }

    /// Whether a group key uses the period column of a dataset. The boroughs then say which periods exist.
    pub(crate) fn is_by_period(&self) -> bool {
        let tables = self.lowered.values().flat_map(|lowered| lowered.tables());
        let mut periods = tables.flat_map(|table| table.datasets()).filter_map(|contract| contract.period());
        periods.any(|(_, column)| {
            let keys = self.questions.values().flatten().flat_map(|question| question.keys());
            keys.into_iter().any(|key| {
                let mut columns = BTreeSet::new();
                key.scalar.columns(&mut columns);
                columns.iter().any(|name| bare_name(name) == column.name)
            })
        })
    }

    /// An output figure as SQL writes it.
    pub(crate) fn figure_words(&self, output: &Output) -> String {
        let question = self.questions.values().flatten().next();
        let words = |figure: usize| question.and_then(|q| q.figure_sql(figure)).unwrap_or_default();
        match output {
            Output::Figure { figure, .. } => words(*figure),
            Output::Average { sum, .. } => words(*sum).replacen("SUM", "AVG", 1),
            Output::Spread(moments) => {
                let name = match moments.spread {
                    Spread::Variance { .. } => "VAR",
                    Spread::Deviation { .. } => "STDDEV",
                    Spread::Covariance { .. } => "COVAR",
                    Spread::Correlation => "CORR",
                };
                let of = moments.product.or(moments.sums.first().copied()).map(words).unwrap_or_default();
                of.replacen("SUM", name, 1).replacen(" * ", ", ", 1)
            }
            Output::Quantile(bins) => {
                let share = f64::from(bins.per_mille) / 1000.0;
                words(bins.total).replacen("COUNT", &format!("QUANTILE {share} OF "), 1)
            }
        }
    }

    /// The fragments that a borough gets.
    pub(crate) fn fragments(&self, gss: &Gss, question: &Arc<Question>) -> Vec<Fragment> {
        match self.lowered.get(gss) {
            Some(lowered) => lowered.tables().iter().map(|table| Fragment::Table(Arc::new(table.clone()))).collect(),
            None => vec![Fragment::Question(Arc::clone(question))],
        }
    }

    /// The decimals of the one measure of a spread, or of its two.
    pub(crate) fn scales_of(&self, moments: &Moments) -> (i8, i8) {
        let scale = |sum: &usize| self.scales.get(*sum).copied().unwrap_or(0);
        let first = moments.sums.first().map_or(0, scale);
        (first, moments.sums.get(1).map_or(first, scale))
    }

    /// Checks that an output counts no unit twice if two boroughs hold it.
    pub(crate) fn exclusive(&self, output: usize) -> Result<(), Refusal> {
        for figure in self.outputs.get(output).map(Output::needs).unwrap_or_default() {
            let Some(Measure::Units(column)) = self.measures.get(figure) else { continue };
            let unit = self.scope.unit_index(column).and_then(|i| self.scope.units.get(i));
            if unit.is_some_and(|u| !u.unit.borough_exclusive) {
                let column = bare_name(column);
                return Err(Refusal::new(
                    Rule::Linkage,
                    format!(
                        "'{column}' may stand in several boroughs, and is not recognised from one borough to another: \
                         each cannot be counted once over London"
                    ),
                    format!(
                        "COUNT(DISTINCT (borough, {column})) counts each once in every borough that holds it, exactly"
                    ),
                ));
            }
        }
        Ok(())
    }

    fn borough_values(&self, gss: &Gss) -> Vec<Option<&Value>> {
        self.keys
            .iter()
            .filter_map(|k| match k {
                OutputKey::Borough(values) => Some(values.get(gss)),
                OutputKey::Node { .. } => None,
            })
            .collect()
    }
}

/// Makes the part of a question for an Aggregate over records. Its figures are columns of `schema`.
///
/// # Errors
/// The rule that refuses the aggregate.
pub(crate) fn of(
    catalogue: &Catalogue,
    boroughs: &[Gss],
    read: &ReadAggregate,
    schema: &Arc<DFSchema>,
) -> Result<FederatedAggregate, Refusal> {
    let contracts = |name: &str| catalogue.contracts.get(name).cloned();
    let (mut keys, mut node_keys) = (Vec::new(), Vec::new());
    for key in &read.keys {
        let mut columns = BTreeSet::new();
        key.columns(&mut columns);
        let before = columns.len();
        columns.retain(|c| bare_name(c) != BOROUGH);
        if columns.len() == before {
            keys.push(None);
            node_keys.push(key.clone());
        } else if columns.is_empty() {
            let values = boroughs.iter().map(|gss| Ok((gss.clone(), borough_value(key, gss)?)));
            keys.push(Some(values.collect::<Result<BTreeMap<_, _>, Refusal>>()?));
        } else {
            return Err(Refusal::new(
                Rule::Operator,
                "a group key combines borough with another column",
                "Group by borough and by the other column separately",
            ));
        }
    }
    let (figures, outputs) = figures(read, &contracts)?;
    let of_borough = |m: &Measure| matches!(m, Measure::Units(name) if bare_name(name) == BOROUGH);
    if figures.iter().any(|f| of_borough(&f.measure)) {
        return Err(Refusal::new(
            Rule::UnitCount,
            "'borough' does not name a unit",
            "Group by borough and count the rows of the result",
        ));
    }
    let (mut questions, mut lowered) = (BTreeMap::new(), BTreeMap::new());
    let mut derived: Vec<(Draft, Arc<Question>, Option<Arc<Lowered>>)> = Vec::new();
    for gss in boroughs {
        let fix = |p: Predicate| in_borough(p, gss);
        let rows = read.rows.clone().map_predicates(&fix);
        let impossible = has_none(&rows.clone().normal());
        let fixed =
            figures.iter().map(|f| Figure { measure: f.measure.clone(), condition: f.condition.clone().map(fix) });
        let draft = Draft { rows, keys: node_keys.clone(), figures: fixed.collect() };
        // The question is derived even if the borough is not asked: whether it is allowed does not depend on the
        // borough.
        let known = derived.iter().find(|(known, ..)| *known == draft);
        let (question, tables) = match known {
            Some((_, question, tables)) => (Arc::clone(question), tables.clone()),
            None => {
                let question = Arc::new(Question::derive(draft.clone(), &contracts)?);
                // A question that a node would refuse for its size is refused here.
                Question::decode(&question.encode(), LIMITS, &contracts).map_err(too_large)?;
                let people = question.scope().protection.may_be_about_people();
                let tables = if people { Some(Arc::new(Lowered::of(&question, &contracts)?)) } else { None };
                derived.push((draft, Arc::clone(&question), tables.clone()));
                (question, tables)
            }
        };
        if let Some(tables) = tables {
            lowered.insert(gss.clone(), tables);
        }
        questions.insert(gss.clone(), (!impossible).then_some(question));
    }
    let (_, any, _) = derived.first().ok_or_else(rows_stay_home)?;
    let scales = any.figures().iter().map(|f| match f.measure {
        Measure::Sum(_) | Measure::Square(_) | Measure::Product(..) => any.moment(f).map_or(0, Moment::scale),
        _ => 0,
    });
    let part = FederatedAggregate {
        scope: any.scope().clone(),
        keys: output_keys(keys, Some(any)),
        scales: scales.collect(),
        measures: figures.iter().map(|f| f.measure.clone()).collect(),
        outputs,
        questions,
        lowered,
        wholes: BTreeMap::new(),
        combined: Vec::new(),
        schema: Arc::clone(schema),
    };
    limits(&part)?;
    Ok(part)
}

fn borough_value(key: &Scalar, gss: &Gss) -> Result<Value, Refusal> {
    let here = Scalar::Literal(Value::Text(gss.to_string().into()), ColumnType::Text);
    let mut columns = BTreeSet::new();
    key.columns(&mut columns);
    let fixed = columns.iter().fold(key.clone(), |key, column| key.fix(column, &here));
    match fixed.folded() {
        Scalar::Literal(value, _) => Ok(value),
        _ => {
            Err(Refusal::new(Rule::Function, "a group key over borough is not a plain expression", "Group by borough"))
        }
    }
}

fn output_keys(keys: Vec<Option<BTreeMap<Gss, Value>>>, question: Option<&Arc<Question>>) -> Vec<OutputKey> {
    let mut index = 0;
    keys.into_iter()
        .map(|key| {
            key.map_or_else(
                || {
                    let kind = question.and_then(|q| q.keys().get(index)).map_or(ColumnType::Text, |k| k.kind);
                    let node = OutputKey::Node { index, kind };
                    index += 1;
                    node
                },
                OutputKey::Borough,
            )
        })
        .collect()
}

/// Whether rows cannot exist, for any data. A borough without possible rows is not asked.
fn has_none(rows: &Rows) -> bool {
    let never = |filter: &Option<Predicate>| matches!(filter, Some(Predicate::Constant(Some(false) | None)));
    let source = |source: &Source| match source {
        Source::Dataset { filter, .. } => never(filter),
        Source::PerUnit(per_unit) => has_none(&per_unit.rows),
    };
    let needed = |join: &&Join| matches!(join.kind, JoinKind::Inner | JoinKind::Semi);
    never(&rows.filter) || source(&rows.first) || rows.joins.iter().filter(needed).any(|j| source(&j.source))
}

fn too_large(refusal: Refusal) -> Refusal {
    if refusal.rule != Rule::Fragment {
        return refusal;
    }
    let advice = format!(
        "Shorten lists and conditions: a question to a borough holds {} KiB, {} expressions, {} in one list, {} deep",
        LIMITS.bytes >> 10,
        LIMITS.nodes,
        LIMITS.operands,
        LIMITS.depth
    );
    Refusal { advice, ..refusal }
}

/// A condition at one borough, where the value of `borough` is known.
fn in_borough(predicate: Predicate, gss: &Gss) -> Predicate {
    let here = Scalar::Literal(Value::Text(gss.to_string().into()), ColumnType::Text);
    let mut columns = BTreeSet::new();
    predicate.columns(&mut columns);
    columns.iter().filter(|c| bare_name(c) == BOROUGH).fold(predicate, |p, column| p.fix(column, &here))
}

/// The node's figures, each once, and how the outputs follow from them.
fn figures(read: &ReadAggregate, contracts: Contracts<'_>) -> Result<(Vec<Figure>, Vec<Output>), Refusal> {
    let mut figures: Vec<Figure> = Vec::new();
    let mut index = |measure: Measure, condition: Option<Predicate>| {
        let figure = Figure { measure, condition };
        figures.iter().position(|f| *f == figure).unwrap_or_else(|| {
            figures.push(figure);
            figures.len() - 1
        })
    };
    let mut outputs = Vec::with_capacity(read.figures.len());
    for figure in &read.figures {
        outputs.push(match figure {
            ReadFigure::One { measure, condition, reading } => {
                Output::Figure { figure: index(measure.clone(), condition.clone()), reading: *reading }
            }
            ReadFigure::Average { column, condition } => Output::Average {
                sum: index(Measure::Sum(column.clone()), condition.clone()),
                count: index(Measure::Present(column.clone()), condition.clone()),
            },
            ReadFigure::Spread { spread, columns, condition } => {
                let mut each = |measure: &dyn Fn(String) -> Measure| -> Vec<usize> {
                    columns.iter().map(|c| index(measure(c.clone()), condition.clone())).collect()
                };
                let counts = each(&Measure::Present);
                let sums = each(&Measure::Sum);
                let squares = match spread {
                    Spread::Covariance { .. } => Vec::new(),
                    _ => each(&Measure::Square),
                };
                let product = match columns.as_slice() {
                    [a, b] if a < b => Some(index(Measure::Product(a.clone(), b.clone()), condition.clone())),
                    [a, b] => Some(index(Measure::Product(b.clone(), a.clone()), condition.clone())),
                    _ => None,
                };
                let count = counts.first().copied().unwrap_or_default();
                Output::Spread(Moments { spread: *spread, count, sums, squares, product })
            }
            ReadFigure::Quantile { column, per_mille, condition } => {
                let measure = Question::measure(&read.rows, column, contracts)?;
                let Role::Measure { lower, upper, edges, .. } = &measure.role else { return Err(rows_stay_home()) };
                let total = index(Measure::Present(column.clone()), condition.clone());
                let below = edges.iter().filter(|e| *lower < **e && **e < *upper).map(|edge| {
                    let value = match measure.kind {
                        ColumnType::Decimal(_) => Value::Decimal(*edge),
                        _ => Value::Integer(i64::try_from(*edge).unwrap_or(i64::MAX)),
                    };
                    let low = Predicate::Compare {
                        left: Scalar::Column(column.clone()),
                        op: Comparison::Less,
                        right: Scalar::Literal(value, measure.kind),
                    };
                    (*edge, index(Measure::Present(column.clone()), Predicate::both(condition.clone(), Some(low))))
                });
                Output::Quantile(Bins {
                    per_mille: *per_mille,
                    lower: *lower,
                    upper: *upper,
                    below: below.collect(),
                    total,
                    scale: scale(measure.kind),
                })
            }
        });
    }
    Ok((figures, outputs))
}

fn limits(part: &FederatedAggregate) -> Result<(), Refusal> {
    let asked = part.questions.values().flatten();
    let cells = asked.clone().filter_map(|q| q.grid()).fold(0_u64, u64::saturating_add);
    if cells > CELL_LIMIT {
        return Err(Refusal::new(
            Rule::Grid,
            format!("the question spans {cells} cells over {} boroughs; the limit is {CELL_LIMIT}", asked.count()),
            "Ask for fewer boroughs at a time (WHERE borough IN …), or band a key",
        ));
    }
    if !part.is_london() {
        return Ok(());
    }
    let each_borough = |output: &Output| matches!(output, Output::Figure { reading: FigureReading::EachBorough, .. });
    let mut once = part.outputs.iter().enumerate().filter(|(_, output)| !each_borough(output));
    once.try_for_each(|(place, _)| part.exclusive(place))
}
