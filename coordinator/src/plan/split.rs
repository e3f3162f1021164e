//! Replaces each aggregate over records by a leaf that boroughs answer. A plan with no such form is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result};
use datafusion::datasource::source_as_provider;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Aggregate, Distinct, Expr, Extension, LogicalPlan, Projection};
use loda_contract::{Contract, Protection};
use loda_identity::{Gss, PeerId};
use loda_question::plan::{Beside, ReadAggregate, read_aggregate};
use loda_question::{Fragment, Refusal, Rule};
use tokio::time::Instant;

use crate::catalogue::{Catalogue, is_federated, rows_stay_home};
use crate::plan::advice::engine_errors::refuse;
use crate::plan::arithmetic;
use crate::plan::combined;
use crate::plan::domains::{Domains, Sources};
use crate::plan::federated_aggregate::{self, FederatedAggregate};
use crate::plan::federated_node::Federated;
use crate::plan::forms::{beside_results, divided, in_known_forms, on_grain, outer_rows, tabulated};
use crate::plan::lineage;

/// The most questions to the boroughs in one statement.
const PART_LIMIT: usize = 8;

/// The tables that a question may name, and the boroughs that are asked.
#[derive(Clone)]
pub(crate) struct Tables {
    catalogue: Arc<Catalogue>,
    boroughs: Vec<Gss>,
    /// The code and the name of each borough.
    names: Arc<[(String, String)]>,
}

impl Tables {
    pub(crate) fn split(&self) -> Split {
        Split { tables: self.clone(), parts: Mutex::new(Vec::new()) }
    }

    pub(crate) fn domains(&self) -> Domains<'_> {
        Domains::of(&self.catalogue, &self.names)
    }
}

/// Splits one question.
pub(crate) struct Split {
    tables: Tables,
    parts: Mutex<Vec<FederatedAggregate>>,
}

/// A split question: the parts for boroughs, and the plan after the merge.
pub(crate) struct SplitPlan {
    pub(crate) plan: LogicalPlan,
    pub(crate) parts: Vec<FederatedAggregate>,
    /// For each column of the plan: whether it depends on figures from boroughs.
    pub(crate) rests: Vec<bool>,
    /// Whether the question is an EXPLAIN.
    pub(crate) explain: bool,
    /// What a reader has to know of how the question was read.
    pub(crate) notes: Vec<String>,
}

/// A fragment, and the boroughs that get exactly these bytes.
pub(crate) struct Bundle {
    pub(crate) part: usize,
    /// For data about people: the position of this table among the tables that the boroughs' questions need.
    pub(crate) table: usize,
    pub(crate) fragment: Fragment,
    pub(crate) boroughs: Vec<Gss>,
}

pub(crate) fn bundles(split: &SplitPlan) -> Vec<Bundle> {
    let mut bundles: Vec<Bundle> = Vec::new();
    for (part, of) in split.parts.iter().enumerate() {
        let mut by_bytes: BTreeMap<(usize, Vec<u8>), usize> = BTreeMap::new();
        for (gss, question) in &of.questions {
            let Some(question) = question else { continue };
            for (table, fragment) in of.fragments(gss, question).into_iter().enumerate() {
                let index = *by_bytes.entry((table, fragment.encode())).or_insert_with(|| {
                    bundles.push(Bundle { part, table, fragment, boroughs: Vec::new() });
                    bundles.len() - 1
                });
                if let Some(bundle) = bundles.get_mut(index) {
                    bundle.boroughs.push(gss.clone());
                }
            }
        }
    }
    bundles
}

impl Split {
    pub(crate) fn new(catalogue: Arc<Catalogue>, boroughs: Vec<Gss>) -> Self {
        let name = |gss: &Gss| (gss.to_string(), gss.name().unwrap_or(gss.as_str()).to_owned());
        let names = boroughs.iter().map(name).collect();
        Tables { catalogue, boroughs, names }.split()
    }

    pub(crate) fn tables(&self) -> Tables {
        self.tables.clone()
    }

    /// Splits an analysed plan. `state` coerces the types of the steps after the merge.
    ///
    /// # Errors
    /// A refusal, as the external error that DataFusion carries.
    pub(crate) fn split(self, plan: LogicalPlan, state: &SessionState) -> Result<SplitPlan> {
        let (plan, notes) = on_grain(plan, &self.tables.domains(), &are_records)?;
        let plan = tabulated(plan, &self.tables.domains(), state, &are_records)?;
        // Above a leaf, the columns of a step may be NULL where they were not before.
        let plan = plan.transform_up_with_subqueries(|node| self.node(node))?.data;
        let used = lineage::used_names(&plan)?;
        let plan = plan.transform_down_with_subqueries(|node| self.published(node, &used))?.data;
        let plan = plan.transform_up_with_subqueries(|node| Ok(Transformed::yes(node.recompute_schema()?)))?.data;
        plan.apply_with_subqueries(|node| {
            match node {
                // Records grouped by unit, with no aggregate above to count them, would give one row for each unit.
                LogicalPlan::Aggregate(aggregate) if holds_records(&aggregate.input)? => {
                    return refuse(self.part(aggregate).err().unwrap_or_else(rows_stay_home));
                }
                LogicalPlan::TableScan(_) if reads_records(node) => return refuse(rows_stay_home()),
                _ => {}
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        let plan = arithmetic::exact(plan)?;
        let plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})?;
        let mut parts = self.parts.into_inner().unwrap_or_else(PoisonError::into_inner);
        combined::tell(&plan, &mut parts)?;
        let methods: BTreeSet<&str> =
            parts.iter().map(|p| p.scope.protection).filter(|p| !p.is_public()).map(Protection::name).collect();
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
        let rests = lineage::rests_on_figures(&plan);
        Ok(SplitPlan { plan, parts, rests, explain: false, notes })
    }

    fn node(&self, node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        match &node {
            LogicalPlan::Aggregate(aggregate) if holds_records(&aggregate.input)? => {
                if self.is_by_unit(aggregate) {
                    return Ok(Transformed::no(node));
                }
                match self.grouped(aggregate) {
                    Ok(plan) => Ok(Transformed::yes(plan)),
                    // Published records can be read, and this is done with them after the merge.
                    Err(_) if self.are_published(&aggregate.input)? => Ok(Transformed::no(node)),
                    Err(refusal) => Err(refusal),
                }
            }
            LogicalPlan::Distinct(Distinct::All(input)) if holds_records(input)? => {
                let keys: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
                let as_aggregate = Aggregate::try_new(Arc::clone(input), keys.clone(), Vec::new())?;
                if self.is_by_unit(&as_aggregate) {
                    return Ok(Transformed::no(node));
                }
                match self.groups(input, keys) {
                    Ok(plan) => Ok(Transformed::yes(plan)),
                    Err(_) if self.are_published(input)? => Ok(Transformed::no(node)),
                    Err(refusal) => Err(refusal),
                }
            }
            LogicalPlan::Distinct(Distinct::On(on))
                if holds_records(&on.input)? && !self.are_published(&on.input)? =>
            {
                refuse(Refusal::new(
                    Rule::Rows,
                    "DISTINCT ON over records lists them",
                    "Group by the columns and ask for COUNT(*)",
                ))
            }
            // Conditions, joins and windows on records wait for the aggregate above them.
            _ => Ok(Transformed::no(node)),
        }
    }

    /// Plans an aggregate over records.
    fn grouped(&self, aggregate: &Aggregate) -> Result<LogicalPlan> {
        if let Some(outer) = outer_rows(aggregate, &holds_records, &self.tables.names)? {
            let matched = self.grouped(&outer.matched)?;
            return outer.joined(matched);
        }
        if let Some(beside) = beside_results(aggregate, &holds_records)? {
            let counted = self.grouped(&beside.counted)?;
            return beside.joined(counted);
        }
        match aggregate.group_expr.as_slice() {
            [Expr::GroupingSet(sets)] => self.grouping_sets(aggregate, sets),
            keys if aggregate.aggr_expr.is_empty() && !keys.is_empty() => self.groups(&aggregate.input, keys.to_vec()),
            _ => self.aggregate(aggregate),
        }
    }

    pub(crate) fn contract(&self, dataset: &str) -> Option<&Contract> {
        self.tables.catalogue.contracts.get(dataset).map(AsRef::as_ref)
    }

    /// Whether all records that a plan reads are published, and it reads some.
    pub(crate) fn are_published(&self, plan: &LogicalPlan) -> Result<bool> {
        let contracts = &self.tables.catalogue.contracts;
        let (mut some, mut all) = (false, true);
        plan.apply_with_subqueries(|node| {
            if let Some(dataset) = dataset_of(node) {
                some = true;
                all &= contracts.get(dataset).is_some_and(|contract| contract.protection.is_public());
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(some && all)
    }

    /// Whether an Aggregate makes one row for each unit, which an aggregate above it counts.
    fn is_by_unit(&self, aggregate: &Aggregate) -> bool {
        self.tables.catalogue.reading(&self.tables.names, |reader| reader.is_by_unit(aggregate))
    }

    pub(crate) fn read(&self, aggregate: &Aggregate) -> std::result::Result<ReadAggregate, Refusal> {
        self.tables.catalogue.reading(&self.tables.names, |reader| read_aggregate(aggregate, reader))
    }

    pub(crate) fn part(&self, aggregate: &Aggregate) -> std::result::Result<FederatedAggregate, Refusal> {
        self.part_of(&self.read(aggregate)?, &aggregate.schema)
    }

    pub(crate) fn part_of(
        &self,
        read: &ReadAggregate,
        schema: &Arc<DFSchema>,
    ) -> std::result::Result<FederatedAggregate, Refusal> {
        federated_aggregate::of(&self.tables.catalogue, &self.tables.boroughs, read, schema)
    }

    /// The two sides of an aggregate that joins people to published records.
    pub(crate) fn sides(&self, read: &ReadAggregate) -> Option<std::result::Result<Beside, Refusal>> {
        Beside::of(read, &|name| self.tables.catalogue.contracts.get(name).cloned())
    }

    pub(crate) fn aggregate(&self, aggregate: &Aggregate) -> Result<LogicalPlan> {
        let domains = self.tables.domains();
        let node = LogicalPlan::Aggregate(aggregate.clone());
        let sources = Sources::of_node(&node, &domains);
        if let Some(parts) = divided(aggregate, &|expr| sources.is_of_dimension(expr))? {
            let figures = parts.figures.as_ref().map(|figures| self.aggregate(figures)).transpose()?;
            return parts.joined(self.aggregate(&parts.cells)?, figures);
        }
        if let Some((read, columns)) = in_known_forms(aggregate)? {
            let input = Arc::new(self.aggregate(&read)?);
            return Ok(LogicalPlan::Projection(Projection::try_new(columns, input)?));
        }
        let read = self.read(aggregate).or_else(refuse)?;
        if let Some(beside) = self.sides(&read) {
            return self.beside(beside.or_else(refuse)?, aggregate);
        }
        let part = self.part_of(&read, &aggregate.schema).or_else(refuse)?;
        self.leaf(part, aggregate.group_expr.len())
    }

    /// Makes the leaf for a part.
    pub(crate) fn leaf(&self, part: FederatedAggregate, keys: usize) -> Result<LogicalPlan> {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let number = parts.len();
        if number >= PART_LIMIT {
            return refuse(Refusal::new(
                Rule::Operator,
                format!("the statement asks the boroughs more than {PART_LIMIT} questions at once"),
                "Ask for several figures in one SELECT, with FILTER, or ask several times",
            ));
        }
        let all_nullable =
            part.schema.iter().map(|(q, f)| (q.cloned(), Arc::new(f.as_ref().clone().with_nullable(true))));
        let schema = Arc::new(DFSchema::new_with_metadata(all_nullable.collect(), std::collections::HashMap::new())?);
        let words = part.questions.values().flatten().next().map_or_else(String::new, |q| q.sql());
        parts.push(part);
        let node = Arc::new(Federated { part: number, words: words.into(), schema, keys });
        Ok(LogicalPlan::Extension(Extension { node }))
    }
}

/// Whether a plan returns records of a federated table.
fn holds_records(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply(|node| {
        found |= reads_records(node);
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// Whether the rows of a plan are records, and not yet groups of them.
fn are_records(plan: &LogicalPlan) -> bool {
    let mut found = false;
    // The closure never fails.
    let _walked = plan.apply(|node| {
        found |= reads_records(node);
        Ok(match node {
            _ if found => TreeNodeRecursion::Stop,
            LogicalPlan::Aggregate(_) | LogicalPlan::Distinct(_) => TreeNodeRecursion::Jump,
            _ => TreeNodeRecursion::Continue,
        })
    });
    found
}

pub(crate) fn reads_records(node: &LogicalPlan) -> bool {
    dataset_of(node).is_some()
}

/// The dataset whose records a scan reads.
pub(crate) fn dataset_of(node: &LogicalPlan) -> Option<&str> {
    let LogicalPlan::TableScan(scan) = node else { return None };
    let federated = source_as_provider(&scan.source).is_ok_and(|p| is_federated(p.as_ref()));
    federated.then(|| scan.table_name.table())
}

/// A planned question that is ready to run.
pub(crate) struct Prepared {
    pub(crate) owner: PeerId,
    pub(crate) purpose: String,
    pub(crate) sql: String,
    /// The boroughs that it was planned for.
    pub(crate) boroughs: Vec<Gss>,
    pub(crate) split: SplitPlan,
    pub(crate) made: Instant,
}

impl Prepared {
    pub(crate) fn new(owner: PeerId, purpose: String, sql: String, boroughs: Vec<Gss>, split: SplitPlan) -> Arc<Self> {
        Arc::new(Self { owner, purpose, sql, boroughs, split, made: Instant::now() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::Limits;
    use crate::plan::federated_aggregate::Output;
    use crate::plan::planner::Planner;

    const STOCK: &str = include_str!("../../../crates/contract/examples/library_stock.toml");

    async fn split(sql: &str) -> std::result::Result<SplitPlan, Refusal> {
        split_as(STOCK, sql).await
    }

    async fn split_as(contract: &str, sql: &str) -> std::result::Result<SplitPlan, Refusal> {
        let contract = Contract::parse(contract, "library_stock.toml").unwrap();
        let catalogue = Arc::new(Catalogue::of(vec![contract]));
        let planner = Planner::new(&catalogue, &Limits::default()).unwrap();
        planner.plan(sql, Split::new(catalogue, boroughs(&["E09000007", "E09000012", "E09000022"]))).await
    }

    fn boroughs(codes: &[&str]) -> Vec<Gss> {
        codes.iter().map(|code| code.parse().unwrap()).collect()
    }

    #[tokio::test]
    async fn boroughs_with_the_same_question_get_the_same_bytes_once() {
        let plan = split("SELECT branch, COUNT(*) FROM library_stock GROUP BY branch").await.unwrap();
        let [bundle] = bundles(&plan).try_into().ok().unwrap();
        assert_eq!(bundle.boroughs, boroughs(&["E09000007", "E09000012", "E09000022"]));
        assert_eq!(plan.parts.len(), 1);
        assert_eq!(plan.rests, [false, true]);
        assert!(plan.parts[0].is_london());
    }

    #[tokio::test]
    async fn a_borough_that_the_filter_rules_out_is_not_asked() {
        let sql = "SELECT borough, COUNT(*) FROM library_stock WHERE borough <> 'E09000012' GROUP BY borough";
        let plan = split(sql).await.unwrap();
        let asked: Vec<Gss> = bundles(&plan).into_iter().flat_map(|bundle| bundle.boroughs).collect();
        assert_eq!(asked, boroughs(&["E09000007", "E09000022"]));
        // Each cell belongs to one borough.
        assert!(!plan.parts[0].is_london());
    }

    #[tokio::test]
    async fn each_aggregate_over_records_is_a_part_and_the_rest_follows_the_merge() {
        let plan = split(
            "SELECT branch, AVG(loans) AS mean, COUNT(*) * 1.0 / (SELECT COUNT(*) FROM library_stock) AS share \
             FROM library_stock GROUP BY branch HAVING COUNT(*) > 10",
        );
        let plan = plan.await.unwrap();
        assert_eq!(plan.parts.len(), 2);
        let averages: Vec<&Output> =
            plan.parts.iter().flat_map(|part| &part.outputs).filter(|o| matches!(o, Output::Average { .. })).collect();
        let [Output::Average { sum, count }] = averages.as_slice() else { panic!("{averages:?}") };
        assert_eq!(averages[0].needs(), [*sum, *count]);
    }

    #[tokio::test]
    async fn only_published_records_are_listed() {
        let threshold = STOCK.replace("protection = \"public\"", "protection = \"threshold\"");
        for sql in ["SELECT * FROM library_stock", "SELECT branch FROM library_stock ORDER BY loans LIMIT 1"] {
            assert_eq!(split_as(&threshold, sql).await.err().unwrap().rule, Rule::Rows, "{sql}");
            assert_eq!(split(sql).await.unwrap().parts.len(), 1, "{sql}");
        }
        // What the algebra knows is asked as a figure, and the rest is made of rows.
        for (sql, open) in [
            ("SELECT branch, SUM(loans) AS n FROM library_stock GROUP BY branch", false),
            ("SELECT branch, MAX(loans) AS n FROM library_stock GROUP BY branch", true),
            ("SELECT branch, SUM(loans) OVER (PARTITION BY branch) AS n FROM library_stock", true),
        ] {
            let plan = split(sql).await.unwrap();
            let of_rows = plan.plan.exists(|node| Ok(matches!(node, LogicalPlan::Unnest(_)))).unwrap();
            assert_eq!(of_rows, open, "{sql}");
        }
    }
}
