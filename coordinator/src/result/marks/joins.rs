//! What a join makes of marked rows.

use std::sync::Arc;

use datafusion::common::{JoinType, Result};
use datafusion::logical_expr::{Case, Expr, Join, LogicalPlan, Projection, lit};

use super::expressions::first;
use super::words::{JOINED, JUDGED};
use super::{Doubts, Marked, Marker, bare};

impl Marker {
    pub(super) async fn join(&self, join: &Join) -> Result<Marked> {
        let (left, right) = (self.plan(&join.left).await?, self.plan(&join.right).await?);
        let mut on = Vec::with_capacity(join.on.len());
        for (a, b) in &join.on {
            on.push((self.without_subquery(a.clone()).await?, self.without_subquery(b.clone()).await?));
        }
        let mut filter = match &join.filter {
            Some(filter) => Some(self.without_subquery(filter.clone()).await?),
            None => None,
        };
        // Of an inner join, a condition that may be wrong is one on its rows.
        let mut after = None;
        if join.join_type == JoinType::Inner
            && let Some(of) = &filter
            && left.scope_with(&right).mark_of(of)?.is_some()
        {
            after = filter.take();
        }
        let doubt = self.doubt_of_pairs(&left, &right, &on, filter.as_ref()).await?;
        let joined = self.pair(join, left, right, on, filter, doubt).await?;
        match after {
            Some(predicate) => self.keep(joined, predicate).await,
            None => Ok(joined),
        }
    }

    /// Why it is not known which rows belong together.
    async fn doubt_of_pairs(
        &self,
        left: &Marked,
        right: &Marked,
        on: &[(Expr, Expr)],
        filter: Option<&Expr>,
    ) -> Result<Option<String>> {
        for (side, keys) in
            [(left, on.iter().map(|(a, _)| a).collect::<Vec<_>>()), (right, on.iter().map(|(_, b)| b).collect())]
        {
            let mut marks = vec![side.scope().mark_of_all(keys)?];
            for column in filter.iter().flat_map(|filter| filter.column_refs()) {
                marks.push(side.scope().mark_of(&Expr::Column(column.clone()))?);
            }
            if self.any(&side.plan, first(marks)).await?.is_some() {
                return Ok(Some(JOINED.to_owned()));
            }
        }
        let subquery = filter.map(|filter| left.scope_with(right).mark_of(filter)).transpose()?.flatten();
        let literal = matches!(subquery, Some(Expr::Literal(..)));
        Ok(literal.then(|| JOINED.to_owned()))
    }

    async fn pair(
        &self,
        join: &Join,
        left: Marked,
        right: Marked,
        on: Vec<(Expr, Expr)>,
        filter: Option<Expr>,
        doubt: Option<String>,
    ) -> Result<Marked> {
        let extends = |left_side: bool| match join.join_type {
            JoinType::Left => !left_side,
            JoinType::Right => left_side,
            JoinType::Full => true,
            _ => false,
        };
        let uncertain = |of: Option<String>| of.map(|_| JUDGED.to_owned());
        let unsure_left = uncertain(self.any(&left.plan, left.row_mark()).await?);
        let unsure_right = uncertain(self.any(&right.plan, right.row_mark()).await?);
        let (lost_left, lost_right) = (left.doubts.missing.clone(), right.doubts.missing.clone());
        // What the rows that are shown, and the rows that are not, depend on.
        let (row, missing) = match join.join_type {
            JoinType::LeftSemi => (unsure_right.clone(), lost_left.clone().or(lost_right.clone())),
            JoinType::RightSemi => (unsure_left.clone(), lost_right.clone().or(lost_left.clone())),
            JoinType::LeftAnti => (
                lost_right.clone().or(unsure_right.clone().filter(|_| join.null_aware)),
                lost_left.clone().or(unsure_right.clone()),
            ),
            JoinType::RightAnti => (lost_left.clone(), lost_right.clone().or(unsure_left.clone())),
            JoinType::LeftMark => (None, lost_left.clone()),
            JoinType::RightMark => (None, lost_right.clone()),
            other => {
                // Where a row beside it is not there, a row stands alone: that one may be missing as well.
                let alone_left = unsure_right.clone().filter(|_| matches!(other, JoinType::Left | JoinType::Full));
                let alone_right = unsure_left.clone().filter(|_| matches!(other, JoinType::Right | JoinType::Full));
                (None, lost_left.clone().or(lost_right.clone()).or(alone_left).or(alone_right))
            }
        };
        let of_mark = match join.join_type {
            JoinType::LeftMark => lost_right.clone().or(unsure_right).or(doubt.clone()),
            JoinType::RightMark => lost_left.clone().or(unsure_left).or(doubt.clone()),
            _ => None,
        };
        let is_mark = matches!(join.join_type, JoinType::LeftMark | JoinType::RightMark);
        let row = doubt.clone().filter(|_| !is_mark).or(row);
        let missing = doubt.filter(|_| !is_mark).or(missing);

        let shows = |is_left: bool| match join.join_type {
            JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => is_left,
            JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => !is_left,
            _ => true,
        };
        let left = self.side(left, lost_left.filter(|_| extends(true)))?;
        let right = self.side(right, lost_right.filter(|_| extends(false)))?;
        let mut marks = Vec::new();
        let mut rows = vec![row.as_deref().map(lit)];
        for side in [(true, &left), (false, &right)].into_iter().filter(|(is_left, _)| shows(*is_left)) {
            marks.extend(side.1.marks.iter().cloned());
            rows.push(side.1.rows.clone());
        }
        let (left, right) = (left.plan, right.plan);
        let on = on.into_iter().map(|(a, b)| Ok((bare(a)?, bare(b)?))).collect::<Result<_>>()?;
        let filter = filter.map(bare).transpose()?;
        let joined = Join::try_new(
            Arc::new(left),
            Arc::new(right),
            on,
            filter,
            join.join_type,
            join.join_constraint,
            join.null_equality,
            join.null_aware,
        )?;
        let mut columns: Vec<Expr> = join.schema.columns().into_iter().map(Expr::Column).collect();
        if is_mark {
            // The engine names the column of the answer by itself.
            let made = joined.schema.columns().into_iter().rfind(|column| column.name == "mark");
            if let (Some(made), Some(last)) = (made, columns.last_mut()) {
                *last = Expr::Column(made);
            }
            marks.push(of_mark.as_deref().map(lit));
        }
        debug_assert_eq!(marks.len(), columns.len(), "each column has a mark or none");
        let doubts = Doubts { missing, order: None };
        self.project(columns, LogicalPlan::Join(joined), marks, first(rows), doubts)
    }

    /// One side, with the marks of its columns as they are after the join. `lost`: why a row that finds none of this side
    /// may have lost it. Then NULL is not known to be the value.
    fn side(&self, side: Marked, lost: Option<String>) -> Result<Side> {
        let marks = side.values.iter().map(|mark| mark.clone().map(Expr::Column));
        let rows = side.row_mark();
        let Some(lost) = lost else { return Ok(Side { marks: marks.collect(), rows, plan: side.plan }) };
        let here = self.fresh();
        let all = side.plan.schema().columns().into_iter().map(Expr::Column);
        let shown: Vec<Expr> = all.chain([lit(true).alias(&here.name)]).collect();
        let absent = (Box::new(Expr::Column(here).is_null()), Box::new(lit(lost.as_str())));
        let absent = Expr::Case(Case::new(None, vec![absent], None));
        let marks = marks.map(|mark| first([mark, Some(absent.clone())])).collect();
        let plan = LogicalPlan::Projection(Projection::try_new(shown, Arc::new(side.plan))?);
        Ok(Side { marks, rows, plan })
    }
}

/// One side of a join.
struct Side {
    plan: LogicalPlan,
    /// The marks of its columns and rows after the join.
    marks: Vec<Option<Expr>>,
    rows: Option<Expr>,
}
