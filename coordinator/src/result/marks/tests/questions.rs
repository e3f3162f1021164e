//! Random questions of several steps, as SQL.

/// A generator of numbers (xorshift64*).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn of(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        for _ in 0..4 {
            random.below(2);
        }
        random
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(number).unwrap() % limit
    }

    pub(super) fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    pub(super) fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Text,
    Whole,
    Float,
    Truth,
}

/// SQL that is a relation, and its columns.
#[derive(Clone)]
pub(super) struct Relation {
    pub(super) sql: String,
    pub(super) columns: Vec<(String, Kind)>,
}

/// A question of several steps.
pub(super) struct Asker<'a> {
    pub(super) random: &'a mut Random,
    pub(super) names: usize,
}

impl Asker<'_> {
    fn name(&mut self) -> String {
        self.names += 1;
        format!("v{}", self.names)
    }

    pub(super) fn base(&mut self) -> Relation {
        let table = *self.random.one(&["t", "u"]);
        let (kinds, columns) =
            ([Kind::Text, Kind::Whole, Kind::Whole, Kind::Whole, Kind::Float], ["k", "g", "n", "m", "f"]);
        let names: Vec<String> = columns.iter().map(|_| self.name()).collect();
        let shown: Vec<String> = columns.iter().zip(&names).map(|(of, name)| format!("{of} AS {name}")).collect();
        let columns = names.into_iter().zip(kinds).collect();
        Relation { sql: format!("SELECT {} FROM {table}", shown.join(", ")), columns }
    }

    fn column(&mut self, of: &Relation, kind: Kind) -> Option<String> {
        let fit: Vec<&String> = of.columns.iter().filter(|(_, k)| *k == kind).map(|(name, _)| name).collect();
        if fit.is_empty() { None } else { Some((*self.random.one(&fit)).clone()) }
    }

    fn expr(&mut self, of: &Relation, kind: Kind, deep: usize) -> String {
        let column = self.column(of, kind);
        if deep == 0 || self.random.percent(30) {
            return match (column, kind) {
                (Some(column), _) if self.random.percent(85) => column,
                (_, Kind::Text) => (*self.random.one(&["'a'", "'b'", "'z'"])).to_owned(),
                (_, Kind::Whole) => self.random.below(30).to_string(),
                (_, Kind::Float) => format!("{}.5", self.random.below(30)),
                (_, Kind::Truth) => {
                    let (column, kind) = self.random.one(&of.columns).clone();
                    match kind {
                        Kind::Whole | Kind::Float => format!("({column} < {})", self.random.below(30)),
                        Kind::Text => format!("({column} < 'b')"),
                        Kind::Truth => column,
                    }
                }
            };
        }
        let deep = deep - 1;
        let choice = self.random.below(10);
        match (kind, choice) {
            (_, 0) => {
                let (when, a, b) =
                    (self.expr(of, Kind::Truth, deep), self.expr(of, kind, deep), self.expr(of, kind, deep));
                format!("CASE WHEN {when} THEN {a} ELSE {b} END")
            }
            (_, 1) => {
                let (a, b) = (self.expr(of, kind, deep), self.expr(of, kind, 0));
                format!("COALESCE({a}, {b})")
            }
            (_, 2) => format!("NULLIF({}, {})", self.expr(of, kind, deep), self.expr(of, kind, 0)),
            (Kind::Whole | Kind::Float, 3) if self.random.percent(30) => {
                let inner = self.base();
                let what = self.expr(&inner, kind, 1);
                let aggregate = *self.random.one(&["SUM", "MAX", "MIN"]);
                let filter = self.expr(&inner, Kind::Truth, 1);
                format!("(SELECT {aggregate}({what}) FROM ({}) s WHERE {filter})", inner.sql)
            }
            (Kind::Whole | Kind::Float, 4) => {
                let function = *self.random.one(&["GREATEST", "LEAST"]);
                format!("{function}({}, {})", self.expr(of, kind, deep), self.expr(of, kind, deep))
            }
            (Kind::Whole | Kind::Float, _) => {
                let op = *self.random.one(&["+", "-", "*"]);
                format!("({} {op} {})", self.expr(of, kind, deep), self.expr(of, kind, deep))
            }
            (Kind::Text, _) => format!("CONCAT({}, {})", self.expr(of, kind, deep), self.expr(of, kind, 0)),
            (Kind::Truth, 3) => format!("({} IS NULL)", self.expr(of, Kind::Whole, deep)),
            (Kind::Truth, 4) => format!("(NOT {})", self.expr(of, kind, deep)),
            (Kind::Truth, 5 | 6) => {
                let op = *self.random.one(&["AND", "OR"]);
                format!("({} {op} {})", self.expr(of, kind, deep), self.expr(of, kind, deep))
            }
            (Kind::Truth, _) => {
                let kind = *self.random.one(&[Kind::Whole, Kind::Whole, Kind::Float, Kind::Text]);
                let op = *self.random.one(&["<", ">", "<=", "<>", ">="]);
                format!("({} {op} {})", self.expr(of, kind, deep), self.expr(of, kind, deep))
            }
        }
    }

    fn some_columns(&mut self, of: &Relation, most: usize) -> Vec<(String, Kind)> {
        let many = self.random.below(most + 1);
        (0..many).map(|_| self.random.one(&of.columns).clone()).collect()
    }

    /// The relation after one more step.
    pub(super) fn step(&mut self, of: Relation) -> Relation {
        let from = self.name();
        match self.random.below(11) {
            0 | 1 => {
                let mut shown: Vec<(String, String, Kind)> = Vec::new();
                for _ in 0..=self.random.below(4) {
                    let kind = *self.random.one(&[Kind::Whole, Kind::Whole, Kind::Float, Kind::Text, Kind::Truth]);
                    let expr = self.expr(&of, kind, 2);
                    // The engine takes a constant for one after an outer join too, and then sorts wrongly by it.
                    if of.columns.iter().any(|(name, _)| expr.contains(name.as_str())) {
                        shown.push((expr, self.name(), kind));
                    }
                }
                for (column, kind) in self.some_columns(&of, 3) {
                    shown.push((column, self.name(), kind));
                }
                if shown.is_empty() {
                    return of;
                }
                select(&of, &from, &shown, "")
            }
            2 | 3 => {
                let condition = self.expr(&of, Kind::Truth, 2);
                Relation { sql: format!("SELECT * FROM ({}) {from} WHERE {condition}", of.sql), ..of }
            }
            4 | 5 => {
                let keys: Vec<_> =
                    self.some_columns(&of, 2).into_iter().map(|(c, kind)| (c, self.name(), kind)).collect();
                let mut shown = keys.clone();
                for _ in 0..=self.random.below(3) {
                    let (function, kind) = *self.random.one(&[
                        ("SUM", Kind::Whole),
                        ("MAX", Kind::Whole),
                        ("MIN", Kind::Float),
                        ("COUNT", Kind::Whole),
                        ("COUNT(DISTINCT ", Kind::Whole),
                        ("COUNT(*", Kind::Whole),
                    ]);
                    let what = self.expr(&of, kind, 1);
                    let call = match function {
                        "COUNT(*" => "COUNT(*)".to_owned(),
                        "COUNT(DISTINCT " => format!("COUNT(DISTINCT {what})"),
                        other => format!("{other}({what})"),
                    };
                    let filter = if self.random.percent(25) {
                        format!(" FILTER (WHERE {})", self.expr(&of, Kind::Truth, 1))
                    } else {
                        String::new()
                    };
                    shown.push((
                        format!("{call}{filter}"),
                        self.name(),
                        if function == "MIN" { Kind::Float } else { Kind::Whole },
                    ));
                }
                let by: Vec<&str> = keys.iter().map(|(column, ..)| column.as_str()).collect();
                let sets = by.len() == 2 && by[0] != by[1] && self.random.percent(20);
                let by = match by.len() {
                    0 => String::new(),
                    _ if sets => format!(" GROUP BY GROUPING SETS (({}), ({}))", by[0], by[1]),
                    _ => format!(" GROUP BY {}", by.join(", ")),
                };
                select(&of, &from, &shown, &by)
            }
            6 => {
                let function = match self.random.below(6) {
                    0 => "ROW_NUMBER()".to_owned(),
                    1 => "RANK()".to_owned(),
                    2 => format!("LAG({})", self.expr(&of, Kind::Whole, 1)),
                    3 => format!("FIRST_VALUE({})", self.expr(&of, Kind::Whole, 1)),
                    4 => "COUNT(*)".to_owned(),
                    _ => format!("SUM({})", self.expr(&of, Kind::Whole, 1)),
                };
                let partition = if self.random.percent(50) {
                    format!("PARTITION BY {} ", self.random.one(&of.columns).0.clone())
                } else {
                    String::new()
                };
                // An order by all columns is the only one that ties do not change.
                let order: Vec<&str> = of.columns.iter().map(|(name, _)| name.as_str()).collect();
                let over = format!("{function} OVER ({partition}ORDER BY {})", order.join(", "));
                let mut shown: Vec<_> = of.columns.iter().map(|(c, kind)| (c.clone(), c.clone(), *kind)).collect();
                shown.push((over, self.name(), Kind::Whole));
                select(&of, &from, &shown, "")
            }
            7 => {
                let mut other = self.base();
                if self.random.percent(40) {
                    other = self.step(other);
                }
                let beside = self.name();
                let kind = *self.random.one(&[Kind::Text, Kind::Whole]);
                let (Some(a), Some(b)) = (self.column(&of, kind), self.column(&other, kind)) else { return of };
                let join =
                    *self.random.one(&["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "IN", "NOT IN", "EXISTS"]);
                match join {
                    "IN" | "NOT IN" => {
                        let sql = format!(
                            "SELECT * FROM ({}) {from} WHERE {a} {join} (SELECT {b} FROM ({}) {beside})",
                            of.sql, other.sql
                        );
                        Relation { sql, ..of }
                    }
                    "EXISTS" => {
                        let not = if self.random.percent(50) { "NOT " } else { "" };
                        let sql = format!(
                            "SELECT * FROM ({}) {from} WHERE {not}EXISTS (SELECT 1 FROM ({}) {beside} WHERE {beside}.{b} = {from}.{a})",
                            of.sql, other.sql
                        );
                        Relation { sql, ..of }
                    }
                    _ => {
                        let columns: Vec<_> = of.columns.iter().chain(other.columns.iter().take(3)).cloned().collect();
                        let shown: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
                        let sql = format!(
                            "SELECT {} FROM ({}) {from} {join} ({}) {beside} ON {from}.{a} = {beside}.{b}",
                            shown.join(", "),
                            of.sql,
                            other.sql
                        );
                        Relation { sql, columns }
                    }
                }
            }
            8 => {
                let other = self.base();
                let of_kind = |asker: &mut Self, kind: Kind| asker.expr(&other, kind, 1);
                let same: Vec<String> = of.columns.iter().map(|(_, kind)| of_kind(self, *kind)).collect();
                let beside = self.name();
                let sql = format!(
                    "SELECT * FROM ({}) {from} UNION ALL SELECT {} FROM ({}) {beside}",
                    of.sql,
                    same.join(", "),
                    other.sql
                );
                Relation { sql, ..of }
            }
            9 => {
                let shown: Vec<_> =
                    self.some_columns(&of, 3).into_iter().map(|(c, kind)| (c, self.name(), kind)).collect();
                if shown.is_empty() {
                    return of;
                }
                let mut of = select(&of, &from, &shown, "");
                of.sql = of.sql.replacen("SELECT ", "SELECT DISTINCT ", 1);
                of
            }
            _ => {
                let order: Vec<&str> = of.columns.iter().map(|(name, _)| name.as_str()).collect();
                let offset =
                    if self.random.percent(30) { format!(" OFFSET {}", self.random.below(4)) } else { String::new() };
                let limit = if self.random.percent(80) || offset.is_empty() {
                    format!(" LIMIT {}", 1 + self.random.below(12))
                } else {
                    String::new()
                };
                let sql = format!("SELECT * FROM ({}) {from} ORDER BY {}{limit}{offset}", of.sql, order.join(", "));
                Relation { sql, ..of }
            }
        }
    }
}

fn select(of: &Relation, from: &str, shown: &[(String, String, Kind)], rest: &str) -> Relation {
    let list: Vec<String> = shown.iter().map(|(expr, name, _)| format!("{expr} AS {name}")).collect();
    let columns = shown.iter().map(|(_, name, kind)| (name.clone(), *kind)).collect();
    Relation { sql: format!("SELECT {} FROM ({}) {from}{rest}", list.join(", "), of.sql), columns }
}
