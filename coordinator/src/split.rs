//! Each aggregate over records becomes a leaf that boroughs answer; what has no such form is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError, Result};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{Aggregate, Distinct, Extension, LogicalPlan};
use loda_contract::{ColumnType, Contract, Protection, Value};
use loda_identity::Gss;
use loda_question::plan::{ReadFigure, Reading, read_aggregate};
use loda_question::{Draft, Figure, LIMITS, Measure, Predicate, Question, Refusal, Rule, Scalar};

use crate::catalogue::{BOROUGH, Catalogue, is_federated, rows_stay_home};
use crate::federated::{Federated, NOTE};
use crate::lineage::{self, Figures};
use crate::notes;

/// The most cells that one part may have over all its boroughs.
const CELL_LIMIT: u64 = 1_000_000;

/// Questions to the boroughs in one statement at most.
const PART_LIMIT: usize = 8;

/// Splits one question.
pub(crate) struct Split {
    catalogue: Arc<Catalogue>,
    boroughs: Vec<Gss>,
    parts: Mutex<Vec<Part>>,
}

/// A question split: what boroughs answer, and what follows.
pub(crate) struct SplitPlan {
    pub(crate) plan: LogicalPlan,
    pub(crate) parts: Vec<Part>,
    /// For each column of the plan, whether it rests on figures of boroughs.
    pub(crate) rests: Vec<bool>,
    /// For each column of the plan, whether it rests on figures that may be withheld.
    pub(crate) withholds: Vec<bool>,
    /// Whether cells are combined again after the merge.
    pub(crate) combines: bool,
}

/// One aggregate that boroughs answer.
#[derive(Clone)]
pub(crate) struct Part {
    pub(crate) contract: Arc<Contract>,
    /// Each group key in the order of the output.
    pub(crate) keys: Vec<OutputKey>,
    /// What each of the node's figures measures.
    pub(crate) measures: Vec<Measure>,
    /// Each figure in the order of the output.
    pub(crate) outputs: Vec<Output>,
    /// The question to each borough; `None`: its filter cannot hold there, so it is not asked.
    pub(crate) questions: BTreeMap<Gss, Option<Arc<Question>>>,
    pub(crate) schema: Arc<DFSchema>,
}

/// Where an output key comes from.
#[derive(Clone)]
pub(crate) enum OutputKey {
    /// From the borough alone: its value for each.
    Borough(BTreeMap<Gss, Value>),
    /// A key of the node's cells.
    Node { index: usize, kind: ColumnType },
}

/// How an output figure follows from the node's figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    Figure { figure: usize, reading: Reading },
    Average { sum: usize, count: usize },
}

impl Part {
    /// Whether some output cells may add up several boroughs.
    pub(crate) fn is_london(&self) -> bool {
        let mut seen = BTreeSet::new();
        let asked = self.questions.iter().filter(|(_, q)| q.is_some());
        asked.into_iter().any(|(gss, _)| !seen.insert(self.borough_values(gss)))
    }

    /// An output figure as SQL writes it.
    pub(crate) fn figure_words(&self, output: Output) -> String {
        let question = self.questions.values().flatten().next();
        let words = |figure: usize| question.and_then(|q| q.figure_sql(figure)).unwrap_or_default();
        match output {
            Output::Figure { figure, .. } => words(figure),
            Output::Average { sum, .. } => words(sum).replacen("SUM", "AVG", 1),
        }
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

impl Split {
    pub(crate) fn new(catalogue: Arc<Catalogue>, boroughs: Vec<Gss>) -> Self {
        Self { catalogue, boroughs, parts: Mutex::new(Vec::new()) }
    }

    /// Splits an analysed plan.
    ///
    /// # Errors
    /// A refusal, as an external error where DataFusion carries it.
    pub(crate) fn split(self, plan: LogicalPlan) -> Result<SplitPlan> {
        let plan = plan.transform_up_with_subqueries(|node| self.node(node))?.data;
        let parts = self.parts.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut combines = false;
        plan.apply_with_subqueries(|node| {
            match node {
                LogicalPlan::TableScan(_) if reads_records(node) => return refuse(rows_stay_home()),
                LogicalPlan::Aggregate(_) | LogicalPlan::Window(_) | LogicalPlan::Subquery(_) => combines = true,
                _ => {}
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        let methods: BTreeSet<&str> = parts
            .iter()
            .map(|p| p.contract.protection)
            .filter(|p| *p != Protection::Public)
            .map(Protection::name)
            .collect();
        if methods.len() > 1 {
            return refuse(Refusal::new(
                Rule::MixedMethods,
                format!(
                    "one question mixes datasets protected by {}",
                    methods.into_iter().collect::<Vec<_>>().join(" and ")
                ),
                "Ask them one by one: mixed exact and perturbed figures can be differenced",
            ));
        }
        let rests = lineage::rests_on_figures(&plan, Figures::All);
        let withholds = lineage::rests_on_figures(&plan, Figures::Protected);
        Ok(SplitPlan { plan, combines: combines && !parts.is_empty(), parts, rests, withholds })
    }

    fn node(&self, node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        match &node {
            LogicalPlan::Aggregate(aggregate) if holds_records(&aggregate.input)? => {
                self.aggregate(aggregate).map(Transformed::yes)
            }
            LogicalPlan::Distinct(
                Distinct::All(input) | Distinct::On(datafusion::logical_expr::DistinctOn { input, .. }),
            ) if holds_records(input)? => refuse(Refusal::new(
                Rule::Rows,
                "DISTINCT over records lists them",
                "Group by the columns and ask for COUNT(*)",
            )),
            _ => notes::carry(node),
        }
    }

    fn aggregate(&self, aggregate: &Aggregate) -> Result<LogicalPlan> {
        let part = self.part(aggregate).or_else(refuse)?;
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let number = parts.len();
        if number >= PART_LIMIT {
            return refuse(Refusal::new(
                Rule::Operator,
                format!("the statement asks the boroughs more than {PART_LIMIT} questions at once"),
                "Ask for several figures in one SELECT, with FILTER, or ask several times",
            ));
        }
        let note = Arc::new(Field::new(format!("{NOTE}{number}"), DataType::Utf8, true));
        let all_nullable =
            part.schema.iter().map(|(q, f)| (q.cloned(), Arc::new(f.as_ref().clone().with_nullable(true))));
        let fields = all_nullable.chain([(None, note)]).collect();
        let schema = Arc::new(DFSchema::new_with_metadata(fields, std::collections::HashMap::new())?);
        let words = part.questions.values().flatten().next().map_or_else(String::new, |q| q.sql());
        let protected = part.contract.protection != Protection::Public;
        parts.push(part);
        Ok(LogicalPlan::Extension(Extension {
            node: Arc::new(Federated {
                part: number,
                words: words.into(),
                schema,
                keys: aggregate.group_expr.len(),
                protected,
            }),
        }))
    }

    fn part(&self, aggregate: &Aggregate) -> std::result::Result<Part, Refusal> {
        let read = read_aggregate(aggregate)?;
        let contract = self.catalogue.contracts.get(&read.dataset).ok_or_else(rows_stay_home)?;
        let (mut keys, mut node_keys) = (Vec::new(), Vec::new());
        for key in &read.keys {
            let mut columns = BTreeSet::new();
            key.columns(&mut columns);
            if !columns.remove(BOROUGH) {
                keys.push(None);
                node_keys.push(key.clone());
            } else if columns.is_empty() {
                let values = self.boroughs.iter().map(|gss| Ok((gss.clone(), borough_value(key, gss)?)));
                keys.push(Some(values.collect::<std::result::Result<BTreeMap<_, _>, Refusal>>()?));
            } else {
                return Err(Refusal::new(
                    Rule::Operator,
                    "a group key combines borough with another column",
                    "Group by borough and by the other column separately",
                ));
            }
        }
        let (figures, outputs) = figures(&read.figures);
        if figures.iter().any(|f| f.measure == Measure::Units(BOROUGH.to_owned())) {
            return Err(Refusal::new(
                Rule::UnitCount,
                "'borough' does not name a unit",
                "Group by borough and count the rows of the result",
            ));
        }
        let mut questions = BTreeMap::new();
        let mut derived: Vec<(Draft, Arc<Question>)> = Vec::new();
        for gss in &self.boroughs {
            let here = Scalar::Literal(Value::Text(gss.to_string()), ColumnType::Text);
            let fix = |p: &Predicate| p.fix(BOROUGH, &here);
            let filter = read.filter.as_ref().map(fix);
            let impossible = matches!(filter, Some(Predicate::Constant(Some(false) | None)));
            let fixed =
                figures.iter().map(|f| Figure { measure: f.measure.clone(), condition: f.condition.as_ref().map(fix) });
            let draft =
                Draft { dataset: read.dataset.clone(), filter, keys: node_keys.clone(), figures: fixed.collect() };
            // Derived even where the borough is not asked: a question is allowed or not, wherever it goes.
            let known = derived.iter().find(|(known, _)| *known == draft).map(|(_, question)| Arc::clone(question));
            let question = match known {
                Some(question) => question,
                None => {
                    let question = Arc::new(Question::derive(draft.clone(), Arc::clone(contract))?);
                    // What a node would refuse for its size is refused here.
                    Question::decode(&question.encode(), LIMITS, |_| Some(Arc::clone(contract)))?;
                    derived.push((draft, Arc::clone(&question)));
                    question
                }
            };
            questions.insert(gss.clone(), (!impossible).then_some(question));
        }
        let part = Part {
            contract: Arc::clone(contract),
            keys: output_keys(keys, questions.values().flatten().next()),
            measures: figures.iter().map(|f| f.measure.clone()).collect(),
            outputs,
            questions,
            schema: Arc::clone(&aggregate.schema),
        };
        limits(&part, &figures)?;
        Ok(part)
    }
}

fn borough_value(key: &Scalar, gss: &Gss) -> std::result::Result<Value, Refusal> {
    let here = Scalar::Literal(Value::Text(gss.to_string()), ColumnType::Text);
    match key.fix(BOROUGH, &here).folded() {
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

/// The node's figures, each once, and how the outputs follow from them.
fn figures(read: &[ReadFigure]) -> (Vec<Figure>, Vec<Output>) {
    let mut figures: Vec<Figure> = Vec::new();
    let mut index = |figure: Figure| {
        figures.iter().position(|f| *f == figure).unwrap_or_else(|| {
            figures.push(figure);
            figures.len() - 1
        })
    };
    let outputs = read
        .iter()
        .map(|figure| match figure {
            ReadFigure::One { measure, condition, reading } => {
                let figure = index(Figure { measure: measure.clone(), condition: condition.clone() });
                Output::Figure { figure, reading: *reading }
            }
            ReadFigure::Average { column, condition } => {
                let sum = Figure { measure: Measure::Sum(column.clone()), condition: condition.clone() };
                let count = Figure { measure: Measure::Present(column.clone()), condition: condition.clone() };
                Output::Average { sum: index(sum), count: index(count) }
            }
        })
        .collect();
    (figures, outputs)
}

fn limits(part: &Part, figures: &[Figure]) -> std::result::Result<(), Refusal> {
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
    for figure in figures {
        if let Measure::Units(column) = &figure.measure
            && part.contract.unit_of_column(column).is_some_and(|u| !u.borough_exclusive)
        {
            return Err(Refusal::new(
                Rule::UnitCount,
                format!("'{column}' may stand in several boroughs: counting each once over London needs linkage"),
                format!("Add borough to GROUP BY: a {column} then counts once in each borough that holds it"),
            ));
        }
    }
    Ok(())
}

/// Whether records of a federated table come out of a plan.
fn holds_records(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply(|node| {
        found |= reads_records(node);
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

fn reads_records(node: &LogicalPlan) -> bool {
    match node {
        LogicalPlan::TableScan(scan) => source_as_provider(&scan.source).is_ok_and(|p| is_federated(p.as_ref())),
        _ => false,
    }
}

fn refuse<T>(refusal: Refusal) -> Result<T> {
    Err(DataFusionError::External(Box::new(refusal)))
}
