//! Whether a mapping takes each file by itself. Only then may new files be read alone.

use anyhow::{Context, bail, ensure};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, JoinType};
use datafusion::logical_expr::{Expr, LogicalPlan};

use crate::ingest::source::{FILE, Source};

/// Refuses a mapping in which the rows of one file depend on another file.
///
/// # Errors
/// The error names the step of the plan that combines files, and the fix.
pub(crate) fn ensure_file_by_file(plan: &LogicalPlan, source: &Source) -> anyhow::Result<()> {
    let mut scans = 0;
    plan.apply_with_subqueries(|node| {
        scans += usize::from(reads(node, &source.name));
        Ok(TreeNodeRecursion::Continue)
    })?;
    let within = || format!("source '{}' appends: each of its files is mapped by itself", source.name);
    ensure!(scans == 1, "{}, and the SELECT reads it {scans} times: read it once, or leave out `appends`", within());
    origin(plan, &source.name).with_context(within)?;
    Ok(())
}

fn reads(node: &LogicalPlan, source: &str) -> bool {
    matches!(node, LogicalPlan::TableScan(scan) if scan.table_name.table() == source)
}

/// Follows the source up through a plan. Returns the column with the file of each row, if it is still there.
fn origin(plan: &LogicalPlan, source: &str) -> anyhow::Result<Option<Column>> {
    if reads(plan, source) {
        return Ok(plan.schema().columns().into_iter().find(|column| column.name == FILE));
    }
    let inputs = plan.inputs();
    let mut below = None;
    for (place, input) in inputs.iter().enumerate() {
        if input.exists(|node| Ok(reads(node, source)))? {
            below = Some((place, origin(input, source)?));
        }
    }
    let Some((place, file)) = below else { bail!("it is read within an expression: join it instead") };
    let is_file =
        |expr: &Expr| file.as_ref().is_some_and(|file| matches!(expr, Expr::Column(column) if column == file));
    let kept = match plan {
        LogicalPlan::Projection(projection) => {
            let place = projection.expr.iter().position(|expr| match expr {
                Expr::Alias(alias) => is_file(&alias.expr),
                expr => is_file(expr),
            });
            place.and_then(|place| plan.schema().columns().into_iter().nth(place))
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let place = file.as_ref().and_then(|file| alias.input.schema().maybe_index_of_column(file));
            place.and_then(|place| plan.schema().columns().into_iter().nth(place))
        }
        LogicalPlan::Filter(_) => file,
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => file,
        LogicalPlan::Join(join) => {
            let kept = match join.join_type {
                JoinType::Inner => true,
                JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti => place == 0,
                JoinType::Right | JoinType::RightSemi | JoinType::RightAnti => place == 1,
                _ => false,
            };
            ensure!(
                kept,
                "an outer join keeps rows for which no file has any: put the source on the side that is kept"
            );
            file
        }
        LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.iter().any(is_file) => file,
        LogicalPlan::Window(window) if window.window_expr.iter().all(|expr| partitioned(expr, &is_file)) => file,
        LogicalPlan::Aggregate(_) | LogicalPlan::Window(_) | LogicalPlan::Distinct(_) => {
            bail!("the SELECT combines rows of all files: put {FILE} among the columns of GROUP BY or PARTITION BY")
        }
        LogicalPlan::Limit(_) | LogicalPlan::Sort(_) => bail!("LIMIT takes rows of all files: leave it out"),
        LogicalPlan::Union(_) => bail!("UNION would add the other rows with every file: join them instead"),
        other => bail!("the SELECT does with it what cannot be done by file ({})", other.display()),
    };
    Ok(kept)
}

fn partitioned(expr: &Expr, is_file: &impl Fn(&Expr) -> bool) -> bool {
    match expr {
        Expr::Alias(alias) => partitioned(&alias.expr, is_file),
        Expr::WindowFunction(window) => window.params.partition_by.iter().any(is_file),
        _ => false,
    }
}
