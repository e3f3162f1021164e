//! What is made from withheld figures is NULL or says so, in each form in which an answer is read.

use loda::ClientError;
use loda_answer::reason::Marks;

use crate::pooled::{Pooled, holdings, text};
use crate::scenarios::ask;
use crate::support;

#[test]
fn a_value_that_is_made_from_a_withheld_figure_says_so() {
    support::run(async {
        let federation = support::synthetic().await.unwrap();
        let sql = "SELECT borough, need, COUNT(*) AS plain, CASE WHEN COUNT(*) < 10 THEN 'few' ELSE 'many' END AS size, \
                   COALESCE(COUNT(*), 0) AS n, GREATEST(COUNT(*), 5) AS most, COUNT(*) IS NULL AS gone \
                   FROM social_care_clients GROUP BY borough, need";
        let answer = ask(&federation.client, sql).await.unwrap();
        let (mut withheld, mut released) = (0, 0);
        for row in text(&answer.batches, 99) {
            let reason = row.last().filter(|reason| *reason != "NULL");
            let marks = Marks::read(reason.map(String::as_str));
            let made = ["size", "n", "most", "gone"].map(|name| marks.of(name, true));
            if row[2] == "NULL" {
                withheld += 1;
                assert!(made.iter().all(|mark| *mark == Some("c: made from a withheld figure")), "{row:?}");
                assert_eq!(marks.of("plain", true), Some("c"), "{row:?}");
            } else {
                released += usize::from(reason.is_none());
            }
        }
        assert!(withheld > 20 && released > 20, "{withheld} withheld, {released} released");
        // A reader of CSV sees it too.
        let mut csv = Vec::new();
        loda_answer::csv(&answer, &mut csv).unwrap();
        let csv = String::from_utf8(csv).unwrap();
        let marked = csv.lines().filter(|line| line.contains("size: made from a withheld figure")).count();
        assert_eq!(marked, withheld, "{csv:.600}");
    });
}

#[test]
fn rows_that_a_condition_cannot_judge_are_counted() {
    support::run(async {
        let federation = support::synthetic().await.unwrap();
        let of = |having: &str| {
            format!("SELECT borough, need, COUNT(*) AS n FROM social_care_clients GROUP BY borough, need{having}")
        };
        let all = ask(&federation.client, &of("")).await.unwrap();
        let unknown = text(&all.batches, 99).iter().filter(|row| row[2] == "NULL").count();
        let mut kept = 0;
        for having in [" HAVING COUNT(*) < 60", " HAVING COUNT(*) >= 60"] {
            let answer = ask(&federation.client, &of(having)).await.unwrap();
            kept += answer.rows();
            let note = format!("Of {unknown} rows it cannot be told whether a condition holds");
            assert!(answer.statement.notes.iter().any(|said| said.starts_with(&note)), "{:?}", answer.statement.notes);
        }
        assert_eq!(kept + unknown, all.rows());
        // What is made of the rows that are left says that some are missing.
        let sql = format!("SELECT COUNT(*) AS rows, SUM(n) AS people FROM ({}) t", of(" HAVING COUNT(*) >= 60"));
        let row = text(&ask(&federation.client, &sql).await.unwrap().batches, 99).remove(0);
        let lost = "lacks rows that could not be judged";
        assert_eq!(row[2], format!("{lost} | rows: {lost}"), "{row:?}");
        // A total over all of them says how many cells it lacks.
        let sql = format!("SELECT COUNT(*) AS rows, SUM(n) AS people FROM ({}) t", of(""));
        let row = text(&ask(&federation.client, &sql).await.unwrap().batches, 99).remove(0);
        assert_eq!(row[2], format!("lacks {unknown} of {} cells: withheld", all.rows()), "{row:?}");
    });
}

#[test]
fn a_quantile_is_a_number_or_says_why_not() {
    support::run(async {
        let federation = support::synthetic().await.unwrap();
        let keys =
            [("borough", 1), ("month", 1), ("date_trunc('quarter', month)", 1), ("code", 1), ("borough, code", 2)];
        for (key, at) in keys {
            let sql = format!("SELECT {key}, MEDIAN(cost) AS m, COUNT(cost) AS n FROM repairs GROUP BY {key}");
            let rows = text(&ask(&federation.client, &sql).await.unwrap().batches, 99);
            let is_number = |row: &[String]| row[at].parse::<f64>().is_ok_and(|m| (0.0..=5000.0).contains(&m));
            assert!(rows.iter().filter(|row| is_number(row)).count() * 5 > rows.len(), "{sql}: {rows:?}");
            for row in rows {
                assert!(is_number(&row) || row[at + 1] == "0" || row[at + 2] != "NULL", "{sql}: {row:?}");
            }
        }
    });
}

#[test]
fn arithmetic_is_as_people_expect() {
    support::run(async {
        let federation = support::synthetic().await.unwrap();
        let sql = "SELECT borough, COUNT(*) FILTER (WHERE sex = 'Female') / COUNT(*) AS share, \
                   COUNT(*) FILTER (WHERE sex = 'Female') AS women, COUNT(*) AS n FROM residents GROUP BY borough";
        let answer = ask(&federation.client, sql).await.unwrap();
        assert!(answer.rows() > 0);
        for row in text(&answer.batches, 4) {
            let [share, women, n] = [1, 2, 3].map(|place| row[place].parse::<f64>().unwrap());
            assert!((share - women / n).abs() < 1e-9 && share > 0.3 && share < 0.7, "{row:?}");
        }
        let errors = &answer.statement.errors;
        assert_eq!(errors.iter().map(|error| error.column.as_str()).collect::<Vec<_>>(), ["share", "women", "n"]);
        assert!(errors[0].standard_error > 0.0 && errors[0].standard_error < 0.05, "{errors:?}");
        // What is made after release has an error as well: a share of a total, and a change.
        let sql = "SELECT borough, 100.0 * n / SUM(n) OVER () AS share, n - LAG(n) OVER (ORDER BY borough) AS change FROM \
                   (SELECT borough, COUNT(*) AS n FROM residents GROUP BY borough) t";
        let errors = ask(&federation.client, sql).await.unwrap().statement.errors;
        let [share, change] = errors.as_slice() else { panic!("{errors:?}") };
        assert!(share.column == "share" && share.standard_error < 1.0, "{share:?}");
        assert!(change.standard_error > 1.0 && change.standard_error < 60.0, "{change:?}");
        // The divisor is a column of a reference table, and a condition that no row meets.
        for (sql, least) in [
            (
                "SELECT b.name, r.n * 1000 / b.population AS rate FROM (SELECT borough, COUNT(*) AS n FROM residents GROUP BY 1) r JOIN boroughs b ON b.gss = r.borough",
                1e-6,
            ),
            ("SELECT 'none' AS name, COUNT(*) / (COUNT(*) - COUNT(*)) AS rate FROM residents", f64::NAN),
        ] {
            for row in text(&ask(&federation.client, sql).await.unwrap().batches, 2) {
                let rate = row[1].parse::<f64>();
                assert!(if least.is_nan() { rate.is_err() } else { rate.unwrap().fract() > least }, "{sql}: {row:?}");
            }
        }
        let of = |sex: &str| format!("(SELECT COUNT(*) FROM residents WHERE sex = '{sex}')");
        let sql = format!("SELECT {} / {} AS share", of("Female"), of("Male"));
        let row = text(&ask(&federation.client, &sql).await.unwrap().batches, 1).remove(0);
        assert!((0.5..2.0).contains(&row[0].parse::<f64>().unwrap()), "{row:?}");
        // A rank is an unsigned number, and the difference of two may be negative.
        let sql = "SELECT RANK() OVER (ORDER BY n) - RANK() OVER (ORDER BY n DESC) AS moved FROM \
                   (SELECT borough, COUNT(*) AS n FROM residents GROUP BY borough) t";
        let moved = text(&ask(&federation.client, sql).await.unwrap().batches, 1);
        let moved: Vec<i64> = moved.iter().map(|row| row[0].parse().unwrap()).collect();
        assert!(moved.iter().all(|by| by.abs() < 33) && moved.iter().any(|by| *by < 0), "{moved:?}");
        let large = ask(&federation.client, "SELECT COUNT(*) * 3000000000 * 4000000000 AS n FROM residents").await;
        // A number that does not fit is no answer, and the asker is told why.
        assert!(matches!(large, Err(ClientError::Refused { .. })), "{:?}", large.err());
    });
}

#[test]
fn a_column_of_the_askers_is_never_taken_for_the_reason() {
    support::run(async {
        let federation = support::synthetic().await.unwrap();
        let sql =
            "SELECT need AS reason, borough AS note, COUNT(*) AS n FROM social_care_clients GROUP BY need, borough";
        let answer = ask(&federation.client, sql).await.unwrap();
        let names: Vec<&str> = answer.schema.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["reason", "note", "n", "loda_reason"]);
        let columns = loda_answer::cells::columns(&answer);
        assert_eq!(columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(), ["reason", "note", "n"]);
        assert_eq!(loda_answer::cells::note_name(&columns), "loda_note");
    });
}

/// A share or a difference of London figures covers the same boroughs above and below the line, and says how many.
#[test]
fn london_figures_that_are_combined_cover_the_same_boroughs() {
    support::run(async {
        let Some(federation) = support::real().await else { return };
        let holdings = holdings(federation).await;
        let pooled = Pooled::new(&holdings);
        let (mut lacking, mut reversed) = (0, 0);
        let mut asked: Vec<(&str, String, &str, String)> = Vec::new();
        for kind in ["Takeaway/sandwich shop", "Restaurant/Cafe/Canteen", "Retailers - other", "Pub/bar/nightclub"] {
            for rating in ["0", "1", "2"] {
                let over = format!("COUNT(*) FILTER (WHERE rating = '{rating}')");
                asked.push(("food_businesses", over, "COUNT(*)", format!("business_type = '{kind}'")));
            }
        }
        let unlicensed = "COUNT(*) FILTER (WHERE hmo_license = 'HMO - unlicensed')";
        for (dataset, over, under, filter) in [
            ("food_businesses", "COUNT(*) FILTER (WHERE new_rating_pending)", "COUNT(*)", "rating = '3'"),
            ("food_businesses", "SUM(hygiene_score)", "COUNT(hygiene_score)", "rating = '0'"),
            ("dwelling_fires", unlicensed, "COUNT(*)", "year = 2019"),
            ("dwelling_fires", unlicensed, "COUNT(*) FILTER (WHERE hmo = 'HMO')", "year >= 2015"),
            ("dwelling_fires", "COUNT(*) FILTER (WHERE hmo = 'HMO')", "COUNT(*)", "year = 2012"),
        ] {
            asked.push((dataset, over.to_owned(), under, filter.to_owned()));
        }
        for (dataset, over, under, filter) in &asked {
            let sql = format!(
                "SELECT {over} AS a, {under} AS b, {over} * 1.0 / {under} AS share, {under} - {over} AS rest \
                 FROM {dataset} WHERE {filter}"
            );
            let answer = ask(&federation.client, &sql).await.unwrap();
            let row = text(&answer.batches, 99).remove(0);
            let of =
                format!("SELECT borough, {over} AS a, {under} AS b FROM {dataset} WHERE {filter} GROUP BY borough");
            // What each borough releases, and what it has.
            let number = |text: &String| text.parse::<f64>().ok();
            let pairs = |rows: &[Vec<String>]| -> Vec<(String, Option<f64>, Option<f64>)> {
                rows.iter().map(|row| (row[0].clone(), number(&row[1]), number(&row[2]))).collect()
            };
            let released = pairs(&text(&ask(&federation.client, &of).await.unwrap().batches, 99));
            let truth = pairs(&text(&pooled.ask(&of).await, 99));
            let both: Vec<_> = released.iter().filter_map(|(of, a, b)| Some((of, (*a)?, (*b)?))).collect();
            let (a, b) = both.iter().fold((0.0, 0.0), |(a, b), (_, of_a, of_b)| (a + of_a, b + of_b));
            if both.is_empty() {
                assert_eq!(row[..4], ["NULL", "NULL", "NULL", "NULL"].map(str::to_owned), "{sql}");
                continue;
            }
            assert_eq!(
                (number(&row[0]), number(&row[1]), number(&row[3])),
                (Some(a), Some(b), Some(b - a)),
                "{sql}: {row:?}"
            );
            assert!((number(&row[2]).unwrap() - a / b).abs() < 1e-9, "{sql}: {row:?}");
            // Right for these boroughs, and marked with how many it lacks.
            let exact = truth.iter().filter(|(of, ..)| both.iter().any(|(other, ..)| *other == of));
            let (a, b) =
                exact.fold((0.0, 0.0), |(a, b), (_, of_a, of_b)| (a + of_a.unwrap_or(0.0), b + of_b.unwrap_or(0.0)));
            assert!((number(&row[2]).unwrap() - a / b).abs() < 1e-9, "{sql}: {row:?}, and the truth is {}", a / b);
            let lacks = 33 - both.len();
            assert_eq!(row[4].starts_with(&format!("lacks {lacks} of 33 boroughs")), lacks > 0, "{sql}: {row:?}");
            lacking += usize::from(lacks > 0);
            // A numerator that lacks boroughs over a denominator that lacks none.
            let naive = a / released.iter().filter_map(|(.., b)| *b).sum::<f64>();
            reversed += usize::from((naive - a / b).abs() > 0.1 * (a / b));
        }
        println!("{lacking} shares lack boroughs; {reversed} would be off by a tenth and more over all boroughs");
        assert!(lacking >= 5 && reversed >= 5);
    });
}

/// Tools ask for one sum under several types.
#[test]
fn a_sum_under_two_types_is_one_figure() {
    support::run(async {
        let federation = support::synthetic().await.unwrap();
        let sql = "SELECT borough, SUM(weekly_cost), SUM(CAST(weekly_cost AS DOUBLE)), AVG(CAST(weekly_cost AS DOUBLE)) AS m, \
                   AVG(weekly_cost) AS mean FROM social_care_clients GROUP BY borough HAVING SUM(CAST(weekly_cost AS DOUBLE)) > 1";
        let answer = ask(&federation.client, sql).await.unwrap();
        assert!(answer.rows() > 20);
        let number = |text: &str| text.parse::<f64>().unwrap();
        for row in text(&answer.batches, 99) {
            assert!((number(&row[1]) - number(&row[2])).abs() < 0.01, "{row:?}");
            assert!((number(&row[3]) - number(&row[4])).abs() < 0.01, "{row:?}");
        }
        assert_eq!(answer.schema.field(2).name(), "SUM(CAST(weekly_cost AS DOUBLE))");
    });
}
