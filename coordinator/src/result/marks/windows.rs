//! What a window makes of marked rows.

use datafusion::common::Result;
use datafusion::functions_aggregate::min_max::max_udaf;
use datafusion::logical_expr::expr::{NullTreatment, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::{Case, Expr, LogicalPlan, Window, WindowFrame, WindowFunctionDefinition, lit};

use super::expressions::first;
use super::{Doubts, Marked, Marker, bare, is_unordered};

impl Marker {
    pub(super) async fn window(&self, window: &Window) -> Result<Marked> {
        let input = self.plan(&window.input).await?;
        let exprs = self.without_subqueries(window.window_expr.clone()).await?;
        let columns = input.columns();
        let mut marks = input.values.iter().map(|mark| mark.clone().map(Expr::Column)).collect::<Vec<_>>();
        let pieces = exprs.iter().map(|expr| pieces_of(&input, expr)).collect::<Result<Vec<_>>>()?;
        let unordered: Vec<bool> = exprs.iter().map(is_unordered).collect();
        let (rows, order) = (input.row_mark(), input.doubts.order.clone());
        let doubts = Doubts { order: None, ..input.doubts };
        let exprs = exprs.into_iter().map(bare).collect::<Result<_>>()?;
        let mut plan = LogicalPlan::Window(Window::try_new(exprs, input.plan.into())?);
        let made = plan.schema().columns().into_iter().rev().take(window.window_expr.len()).map(Expr::Column);
        let made: Vec<Expr> = made.collect();
        let shown = columns.into_iter().chain(made.into_iter().rev()).collect();
        // The windows over marks, each once, with their columns.
        let mut over: Vec<(Expr, Option<Expr>)> = Vec::new();
        for (pieces, unordered) in pieces.into_iter().zip(unordered) {
            let mut of_value = Vec::new();
            for piece in pieces {
                of_value.push(match piece {
                    Piece::Row(mark) => Some(mark),
                    Piece::Over(window) => match over.iter().find(|(of, _)| *of == window) {
                        Some((_, column)) => column.clone(),
                        None => {
                            plan = LogicalPlan::Window(Window::try_new(vec![window.clone()], plan.into())?);
                            let column = plan.schema().columns().pop().map(Expr::Column);
                            over.push((window, column.clone()));
                            column
                        }
                    },
                });
            }
            of_value.push(doubts.missing.as_deref().map(lit));
            of_value.push(order.as_deref().filter(|_| unordered).map(lit));
            marks.push(first(of_value));
        }
        self.project(shown, plan, marks, rows, doubts)
    }
}

/// A part of the mark of a window's value.
enum Piece {
    /// A mark of the row itself.
    Row(Expr),
    /// A window over the marks of other rows.
    Over(Expr),
}

fn pieces_of(input: &Marked, expr: &Expr) -> Result<Vec<Piece>> {
    let function = match expr {
        Expr::Alias(alias) => return pieces_of(input, &alias.expr),
        Expr::WindowFunction(function) => function.as_ref(),
        other => return Ok(input.scope().mark_of(other)?.map(Piece::Row).into_iter().collect()),
    };
    let (scope, params) = (input.scope(), &function.params);
    // A row that may not be there, or that may stand elsewhere, moves all rows of its partition. A row that may belong
    // to another partition moves all rows.
    let order = scope.mark_of_all(params.order_by.iter().map(|key| &key.expr))?;
    let mut pieces = Vec::new();
    let partition = scope.mark_of_all(&params.partition_by)?;
    pieces.extend(partition.map(|mark| Piece::Over(whole(mark, Vec::new()))));
    let moved = [order, input.row_mark()].into_iter().flatten();
    pieces.extend(moved.map(|mark| Piece::Over(whole(mark, params.partition_by.clone()))));
    if let Some(filter) = &params.filter {
        let mark = scope.mark_of(filter)?;
        pieces.extend(mark.map(|mark| Piece::Over(whole(mark, params.partition_by.clone()))));
    }
    let keeps_nulls = params.null_treatment != Some(NullTreatment::IgnoreNulls);
    match &function.fun {
        WindowFunctionDefinition::AggregateUDF(_) => {
            let mark = scope.mark_of_all(&params.args)?.map(|mark| match &params.filter {
                Some(filter) => Expr::Case(Case::new(None, vec![(filter.clone(), Box::new(mark))], None)),
                None => mark,
            });
            pieces.extend(mark.map(|mark| Piece::Over(in_frame(mark, params))));
        }
        // The value of another row, with that row's mark.
        WindowFunctionDefinition::WindowUDF(of)
            if keeps_nulls && ["lag", "lead", "first_value", "last_value", "nth_value"].contains(&of.name()) =>
        {
            let mut args = params.args.iter();
            let value = args.next().map(|value| scope.mark_of(value)).transpose()?.flatten();
            pieces.extend(value.map(|mark| {
                let place = params.args.get(1).cloned();
                let args = std::iter::once(mark).chain(place).collect();
                let params = WindowFunctionParams { args, ..params.clone() };
                Piece::Over(Expr::WindowFunction(Box::new(WindowFunction { fun: function.fun.clone(), params })))
            }));
            for other in args {
                pieces.extend(scope.mark_of(other)?.map(Piece::Row));
            }
        }
        WindowFunctionDefinition::WindowUDF(_) => {
            let mark = scope.mark_of_all(&params.args)?;
            pieces.extend(mark.map(|mark| Piece::Over(whole(mark, params.partition_by.clone()))));
        }
    }
    Ok(pieces)
}

/// The largest mark of a partition.
fn whole(mark: Expr, partition_by: Vec<Expr>) -> Expr {
    let params = WindowFunctionParams {
        args: vec![mark],
        partition_by,
        order_by: Vec::new(),
        window_frame: WindowFrame::new(None),
        filter: None,
        null_treatment: None,
        distinct: false,
    };
    over_marks(params)
}

/// The largest mark of the rows that an aggregate over the same frame reads.
fn in_frame(mark: Expr, of: &WindowFunctionParams) -> Expr {
    let params =
        WindowFunctionParams { args: vec![mark], filter: None, null_treatment: None, distinct: false, ..of.clone() };
    over_marks(params)
}

fn over_marks(params: WindowFunctionParams) -> Expr {
    let fun = WindowFunctionDefinition::AggregateUDF(max_udaf());
    Expr::WindowFunction(Box::new(WindowFunction { fun, params }))
}
